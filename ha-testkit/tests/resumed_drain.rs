//! An order whose outcome nobody knows is looked up: a run that another controller goes on with drains as the first would have,
//! and the machine decides what the explorer has proven.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::action::{Action, Order, TrafficAction};
use ha_core::journal::Journal;
use ha_core::law::Law;
use ha_core::machine::{Decision, RunState, decide};
use ha_core::record::{End, OutcomeKind, Record};
use ha_core::state::Traffic;
use ha_testkit::simulate::{Outcome, simulate_death};
use ha_testkit::world::{Controller, Death, Shape};

fn is_reassert(record: &Record) -> bool {
    let Record::Intent { order, .. } = record else { return false };
    matches!(order.action(), Action::Traffic(TrafficAction::Reassert { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_resumed_run_drains_as_the_first_controller_would_have() {
    let mut wrong = Vec::new();
    for death in (1..30).flat_map(|at| [Death::Before(at), Death::After(at)]) {
        let world = Shape::active_active(3, 1000).world().unwrap();
        ["esb1", "esb2", "esb3"].iter().for_each(|node| world.cut_on_maintenance(node));
        let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
        let outcome = simulate_death(&world, planned, &[], &Controller::dying(death), &async |_| {}).await;
        let Outcome::Ran { end, served, .. } = outcome else { panic!("{outcome:?}") };
        let entries = world.store().read(&"run".into()).await.unwrap();
        let reasserted = entries.iter().filter(|entry| is_reassert(&entry.record)).count();
        if end != End::AllNew || served.lost > 0 || reasserted > 0 {
            wrong.push(format!("{death:?}: {end}, {reasserted} re-applied, {:?}", served.reasons));
        }
    }
    assert!(wrong.is_empty(), "{} runs:\n{}", wrong.len(), wrong.join("\n"));
}

/// Seen before: the machine re-applied the admission, and the explorer, which forgets it where it is the configured state, looked.
#[tokio::test(start_paused = true)]
async fn an_admission_or_a_take_out_in_doubt_that_happened_on_one_balancer_is_looked_up() {
    let world = Shape::active_active(3, 1000).with_balancers(2).world().unwrap();
    let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
    let (topology, plan) = (world.topology(), planned.plan());
    let law = Law::new(topology, plan.facts());
    let mut run = RunState::begin(plan.start().clone());
    let mut in_doubt: Vec<Order> = Vec::new();
    loop {
        match decide(topology, plan, &run) {
            Decision::Act(order) => {
                run.begin_order(law, order);
                if matches!(order.action(), Action::Traffic(TrafficAction::Admit | TrafficAction::TakeOut)) {
                    let mut lost = run.clone();
                    let node = order.node().unwrap();
                    let mut first = true;
                    lost.cluster.set_traffic_everywhere(node, |member| {
                        match (std::mem::take(&mut first), member.traffic) {
                            (true, Traffic::Out) => member.admitted(),
                            (true, _) => Traffic::Out,
                            (false, traffic) => traffic,
                        }
                    });
                    lost.mark_unknown();
                    assert_eq!(decide(topology, plan, &lost), Decision::Look(order));
                    in_doubt.push(order);
                }
                run.resolve(law, order, OutcomeKind::Done).unwrap();
            }
            Decision::Move(to, turn) => run.enter(to, turn),
            Decision::End(end) => break assert_eq!(end, End::AllNew),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(in_doubt.len(), 6, "{in_doubt:?}");
}
