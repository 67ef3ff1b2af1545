//! `plan` and `prove`: what would be done, and why that is safe. Both look at the cluster and change nothing.

use std::path::Path;

use ha_core::engine::{Engine, RunError};
use ha_core::plan::Plan;
use ha_core::procedure::{PlanError, Planned, Procedure};
use ha_core::safety::{Counterexample, margins};
use ha_core::topology::Topology;

use super::show::is_part_unseen;
use crate::cli::Common;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::out::{Out, Tone};
use crate::{cluster, json, store};

/// What became of a plan.
enum Verdict {
    Proven(Box<Planned>),
    Refused { plan: Box<Plan>, counterexample: Box<Counterexample>, remedy: String },
}

pub(super) async fn plan(common: &Common, out: &Out, file: &Path, mermaid: bool) -> Result<Exit, Failure> {
    let (engine, verdict) = verdict_on(common, file).await?;
    match &verdict {
        Verdict::Proven(planned) if mermaid => {
            out.raw(&planned.plan().to_mermaid(engine.topology())).map(|()| Exit::Done)
        }
        Verdict::Proven(_) | Verdict::Refused { .. } if out.json => told_as_json(out, &verdict),
        Verdict::Proven(planned) => {
            out.text(&text_of(engine.topology(), planned))?;
            if let Some(marked) = cluster::marked(&common.cluster) {
                out.line(&format!("note: {marked}"))?;
            }
            out.line("next: `hactl run` with the same file")?;
            Ok(Exit::Done)
        }
        Verdict::Refused { plan, counterexample, remedy } => {
            Err(refusal(engine.topology(), plan, counterexample, remedy, false))
        }
    }
}

pub(super) async fn prove(common: &Common, out: &Out, file: &Path) -> Result<Exit, Failure> {
    let (engine, verdict) = verdict_on(common, file).await?;
    if out.json {
        return told_as_json(out, &verdict);
    }
    match &verdict {
        Verdict::Proven(planned) => {
            out.text(&margins(engine.topology(), planned.plan()))?;
            out.line(&planned.proof().to_string())?;
            out.line(&out.toned(Tone::Good, "proven"))?;
            Ok(Exit::Done)
        }
        Verdict::Refused { plan, counterexample, remedy } => {
            Err(refusal(engine.topology(), plan, counterexample, remedy, true))
        }
    }
}

/// Shows a proven plan.
pub(super) fn text_of(topology: &Topology, planned: &Planned) -> String {
    format!("{}{}\n", planned.plan().to_text(topology), planned.proof())
}

async fn verdict_on(common: &Common, file: &Path) -> Result<(Engine, Verdict), Failure> {
    let (topology, change) = (cluster::load(&common.cluster)?, cluster::load_change(file)?);
    cluster::check_names(&topology, &change, file)?;
    // What drills have measured is recorded.
    let path = common.journal();
    let store = if path.exists() { Some(store::to_read(&path)?) } else { None };
    let engine = cluster::engine(&common.cluster, topology, store)?;
    let verdict = match engine.plan(&change as &dyn Procedure).await {
        Ok(planned) => Verdict::Proven(Box::new(planned)),
        Err(RunError::Plan { source: PlanError::Unprovable { plan, counterexample, remedy }, .. }) => {
            Verdict::Refused { plan, counterexample, remedy: remedy.to_string() }
        }
        Err(error) => return Err(no_plan(&engine, error).await),
    };
    Ok((engine, verdict))
}

/// Says why there is no plan. What was noted of the cluster may be advice: another look tells whether part of it cannot be seen.
pub(super) async fn no_plan(engine: &Engine, error: RunError) -> Failure {
    use PlanError::{AtRest, Missing, NotReady};
    match error {
        RunError::Plan { source: source @ (AtRest(_) | NotReady { .. } | Missing(_)), seen } if !seen.is_empty() => {
            let unseen = engine.observe().await.is_ok_and(|seen| is_part_unseen(engine.topology(), &seen));
            Failure::of_plan(&source, &seen, unseen)
        }
        error => Failure::of_run(error),
    }
}

fn told_as_json(out: &Out, verdict: &Verdict) -> Result<Exit, Failure> {
    let (told, exit) = match verdict {
        Verdict::Proven(planned) => {
            let proof = Some(planned.proof().clone());
            (json::Planned { proven: true, plan: planned.plan().clone(), proof, refused: None }, Exit::Done)
        }
        Verdict::Refused { plan, counterexample, remedy } => {
            let refused = json::RefusedPlan {
                trace: counterexample.trace.clone(),
                violation: counterexample.violation.to_string(),
                faults: counterexample.faults,
                remedy: remedy.clone(),
            };
            let plan = Plan::clone(plan);
            (json::Planned { proven: false, plan, proof: None, refused: Some(refused) }, Exit::Refused)
        }
    };
    out.value(&told)?;
    Ok(exit)
}

fn refusal(
    topology: &Topology,
    plan: &Plan,
    counterexample: &Counterexample,
    remedy: &str,
    with_margins: bool,
) -> Failure {
    let margins = if with_margins { format!("\n{}", margins(topology, plan)) } else { String::new() };
    let what = format!("{margins}{}  remedy: {remedy}", indented(&counterexample.to_string()));
    Failure::new(
        Exit::Refused,
        format!("refused: {}", what.trim_start_matches(' ')),
        "take up the remedy, then plan again",
    )
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
