use std::fmt::Write as _;

use crate::action::{self, Order};
use crate::law::Law;
use crate::plan::Plan;
use crate::topology::Topology;

/// Renders a plan as a table: for each step what serves once it is done, above what is owed, and what the worst loss would
/// leave then, above what is owed after a loss. Negative where the plan would break the law.
pub fn margins(topology: &Topology, plan: &Plan) -> String {
    let law = Law::new(topology, &plan.facts);
    let mut state = plan.start.clone();
    let mut text =
        String::from("  step  what                                        serves   to spare  after a loss\n");
    for (number, stage) in plan.stages.iter().enumerate() {
        if number == plan.point_of_no_return {
            text.push_str("        -- point of no return: from here on forward only --\n");
        }
        let targets: Vec<&str> = stage.targets.iter().map(|node| topology.node(*node).name.as_str()).collect();
        let _ = writeln!(text, "  {:<4}  {} [{}]", number + 1, stage.name, targets.join(", "));
        for (index, step) in stage.steps.iter().enumerate() {
            for node in &stage.targets {
                let order = Order { node: *node, verb: step.verb };
                action::begin(law, &mut state, order);
                action::complete(law, &mut state, order);
            }
            let serves = law.capacity(&state);
            let spare = i128::from(serves) - i128::from(topology.owed_now());
            let left = law.worst_loss(&state).map_or(0, |(left, _)| left);
            let after = i128::from(left) - i128::from(topology.owed_after_loss());
            let place = format!("{}.{}", number + 1, index + 1);
            let _ = writeln!(text, "  {place:<6}  {:<42} {serves:>7}   {spare:>8}  {after:>12}", step.verb.name());
        }
    }
    text
}
