//! The run of each procedure, drawn from the plan that the planner makes and from what the decision core does with it.

use std::fmt::Write as _;

use ha_core::record::{Cursor, End, Mode, Why};

use super::canonical::Canonical;
use super::chart::{Chart, OUTSIDE};
use super::run::{Fault, Went, drive, reason};

/// Draws the run: its stages, where a step that fails in each leads, and what the loss of a failure domain leads to.
pub(crate) fn run(of: &Canonical) -> String {
    let Canonical { topology, plan, .. } = of;
    let mut chart = Chart::default();
    for (number, stage) in plan.stages().iter().enumerate() {
        chart.state(&format!("do{}", number + 1), &format!("{} - {}", number + 1, stage.name));
    }
    let straight = drive(topology, plan, &[]);
    chart.edge(OUTSIDE, "do1", "");
    draw(of, &mut chart, &straight);
    // One step of each stage is made to fail, whatever is tried: each in turn.
    let moments = straight.len() * 3;
    let mut failing: Vec<Vec<Went>> =
        (0..moments).map(|moment| drive(topology, plan, &[(moment, Fault::Fails { always: true })])).collect();
    failing.sort_by_key(|went| went.iter().find(|went| is_turn(went)).map(|went| (went.from.stage, went.from.step)));
    for went in &failing {
        for place in went.iter().filter_map(|went| undoing(went.to.ok()?.0)) {
            let stage = usize::from(place.stage) + 1;
            chart.state(&format!("undo{stage}"), &format!("undo {stage}"));
        }
    }
    // From the first stage on, and the way back after the way there.
    failing.iter().for_each(|went| draw(of, &mut chart, went));
    chart.sort();
    let mut text = String::from("stateDiagram-v2\n  state \"the run\" as run {\n");
    text += &chart.lines("    ");
    if plan.point_of_no_return() < plan.stages().len() {
        let _ = writeln!(text, "    note right of do{} : point of no return", plan.point_of_no_return() + 1);
    }
    text.push_str("  }\n");
    // Whatever is lost at whatever moment, the reaction comes first.
    let lost: Vec<DomainLost> = topology
        .domains()
        .filter(|domain| !plan.start().is_lost(*domain))
        .flat_map(|domain| (0..moments).map(move |moment| (moment, domain)))
        .filter_map(|(moment, domain)| reaction(&drive(topology, plan, &[(moment, Fault::Loss(domain))])))
        .collect();
    assert!(lost.len() > plan.steps(), "{}: {} losses", of.name, lost.len());
    let mut reactions = Chart::default();
    reactions.state("reacting", "reacting, traffic is secured first");
    reactions.edge("run", "reacting", "a failure domain is lost");
    for end in lost {
        match end.0 {
            End::NeedsOperator(Why::DomainLost(_)) => {
                reactions.state("replanned", "planned anew from what is left, or a person decides");
                reactions.edge("reacting", "replanned", "secured");
            }
            End::NeedsOperator(why) => {
                reactions.edge("reacting", OUTSIDE, &format!("needs an operator ({})", reason(why)))
            }
            End::AllNew | End::AllOld => panic!("a loss is no end of its own"),
        }
    }
    text + &reactions.lines("  ")
}

/// How a run ended that met a loss.
struct DomainLost(End);

fn reaction(went: &[Went]) -> Option<DomainLost> {
    let reacts = went.iter().any(|went| went.to.is_ok_and(|(to, _)| to.mode == Mode::Reacting));
    let end = went.last()?.to.err()?;
    reacts.then_some(DomainLost(end))
}

fn is_turn(went: &Went) -> bool {
    !matches!(went.to, Ok((to, _)) if to.mode == Mode::Forward)
}

fn undoing(to: Cursor) -> Option<Cursor> {
    matches!(to.mode, Mode::Compensating | Mode::Withdrawing).then_some(to)
}

/// Draws each change of the stage or of the direction.
fn draw(of: &Canonical, chart: &mut Chart, went: &[Went]) {
    let place = |cursor: Cursor| match cursor.mode {
        Mode::Forward => format!("do{}", cursor.stage + 1),
        Mode::Compensating | Mode::Withdrawing => format!("undo{}", cursor.stage + 1),
        Mode::Reacting | Mode::Ended(_) => panic!("no domain was lost"),
    };
    let ends = of.plan.ends();
    for went in went {
        let from = place(went.from);
        match went.to {
            Ok((to, _)) if place(to) == from => {}
            Ok((to, _)) => {
                let label = match (went.from.mode, to.mode) {
                    (Mode::Forward, Mode::Forward) => "done",
                    (Mode::Forward, Mode::Withdrawing) => "failed, only this stage is undone",
                    (Mode::Forward, _) => "failed",
                    _ => "undone",
                };
                chart.edge(&from, &place(to), label);
            }
            Err(End::AllNew) => chart.edge(&from, OUTSIDE, &format!("done ({})", words(&ends.reached))),
            Err(End::AllOld) => chart.edge(&from, OUTSIDE, &format!("undone ({})", words(&ends.rolled_back))),
            Err(End::NeedsOperator(why)) => {
                chart.edge(&from, OUTSIDE, &format!("needs an operator ({})", reason(why)));
            }
        }
    }
}

fn words(end: &str) -> String {
    end.replace(':', " -")
}

/// Says what the plan declares: its point of no return and its windows.
pub(crate) fn facts(of: &Canonical) -> String {
    let plan = &of.plan;
    let stages = plan.stages();
    let point = match stages.get(plan.point_of_no_return()) {
        None => "none: it is rolled back from every step".to_string(),
        Some(stage) if plan.point_of_no_return() == 0 => {
            format!("from the beginning (stage 1, \"{}\"): it goes forward only", stage.name)
        }
        Some(stage) => {
            format!("before stage {} of {}, \"{}\"", plan.point_of_no_return() + 1, stages.len(), stage.name)
        }
    };
    let mut text = format!("- Point of no return: {point}.\n");
    for window in plan.windows() {
        let _ = writeln!(text, "- Window: {}, at most {:?} each time.", window.what, window.at_most);
    }
    if plan.windows().is_empty() {
        text.push_str("- Windows: none.\n");
    }
    text
}
