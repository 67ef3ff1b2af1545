//! A procedure of your own: a rolling restart, planned, proven and run on a simulated cluster like ours.
//!
//! ```text
//! cargo run --release --example custom_procedure
//! ```
//!
//! `--no-drain` leaves the drain out: the plan is refused with the shortest way to harm, and nothing is run. Needs nothing: the
//! cluster is simulated. Exit code 1 when a request failed or the plan was refused.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use ha_core::action::{Action, ServerAction, TrafficAction};
use ha_core::plan::{Degraded, DegradedWindow, Draft, Ends, Goal, Stage, Step};
use ha_core::procedure::{PlanError, Procedure, Proposal, Snapshot};
use ha_testkit::world::Shape;

/// Restarts every member, one after another.
#[derive(Debug)]
struct RollingRestart {
    drain: bool,
}

impl Procedure for RollingRestart {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        let drain = self.drain.then_some(Action::Traffic(TrafficAction::TakeOut));
        let restart = [ServerAction::Stop, ServerAction::Start, ServerAction::Gate].map(Action::Server);
        let actions: Vec<Action> = drain.into_iter().chain(restart).chain([TrafficAction::Admit.into()]).collect();
        let steps: Vec<Step> = actions.into_iter().map(|action| Step::new(action, seen.topology.policy())).collect();
        // A balancer that loses its runtime state may send requests to a server that is not tested yet, for so long.
        let window = DegradedWindow::new(Degraded::ReloadExposure, Duration::from_millis(500));
        let (state, facts) = (seen.state.clone(), seen.facts.clone());
        let mut draft =
            Draft::new("rolling restart", seen.topology, state, facts, Goal::unchanged()).with_window(window);
        draft.ends = Ends::new("all restarted", "as before");
        for (node, member) in seen.topology.members() {
            draft = draft.with_stage(Stage::new(format!("restart {}", member.name), vec![node], steps.clone()));
        }
        Ok(Proposal::one(draft, "add a member, so that one can be missed"))
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    let drain = !std::env::args().any(|argument| argument == "--no-drain");
    match restart(&RollingRestart { drain }).await {
        Ok(failed) => ExitCode::from(u8::from(failed > 0)),
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns how many requests failed.
async fn restart(procedure: &RollingRestart) -> Result<u64, Box<dyn Error>> {
    let world = Shape::active_active(3, 1000).world()?;
    let (engine, clients) = (world.engine(), world.clients());
    let planned = engine.plan(procedure).await?;
    println!("{}{}", planned.plan().to_text(engine.topology()), planned.proof());
    let report = engine.run("restart-1".into(), planned).await?.wait().await?;
    let served = clients.stop().await;
    println!("{report}{} requests were sent, {} failed", served.sent, served.lost);
    Ok(served.lost)
}
