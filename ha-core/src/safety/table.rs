use std::fmt::Write as _;

use crate::law::Law;
use crate::plan::Plan;
use crate::topology::Topology;

/// Renders a plan as a table: for each step what serves once it is done, above what is required, and what the worst loss
/// would leave then, above what is required after a loss. Negative where the plan would break the law. Where there are several
/// pools, each has a line of its own.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::procedure::{PatchRequest, Snapshot, plan};
/// use ha_core::safety::margins;
///
/// # let (topology, state, facts) = observed::cluster()?;
/// # let patch = PatchRequest::new("2.0", vec!["apply".into()], vec!["restore".into()]).with_beside("1.0");
/// # let planned = plan(&patch, Snapshot::new(&topology, &state, &facts))?;
/// let table = margins(&topology, planned.plan());
/// assert!(table.contains("take out"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn margins(topology: &Topology, plan: &Plan) -> String {
    let law = Law::new(topology, &plan.facts);
    let mut state = plan.start.clone();
    let mut text =
        String::from("  step  what                                        serves   to spare  after a loss\n");
    for (number, stage) in plan.stages.iter().enumerate() {
        if number == plan.point_of_no_return {
            text.push_str("        -- point of no return: from here on forward only --\n");
        }
        let targets: Vec<&str> = stage.nodes.iter().map(|node| topology.node(*node).name.as_str()).collect();
        let _ = writeln!(text, "  {:<4}  {} [{}]", number + 1, stage.name, targets.join(", "));
        for (index, step) in stage.steps.iter().enumerate() {
            for order in stage.orders(step.action) {
                order.begin(law, &mut state);
                // What cannot follow its state does not happen; the explorer refuses such a plan.
                let _ = order.complete(law, &mut state);
            }
            let several = topology.pools().count() > 1;
            for (row, (pool, declared)) in topology.pools().enumerate() {
                let serves = law.capacity(&state, pool);
                let spare = i128::from(serves) - i128::from(declared.required_now());
                let left = law.worst_loss(&state, pool).map_or(0, |(left, _)| left);
                let after = i128::from(left) - i128::from(declared.required_after_loss());
                let place = if row == 0 { format!("{}.{}", number + 1, index + 1) } else { String::new() };
                let action = if row == 0 { step.action.name() } else { "" };
                let what = if several { format!("{action:<20} pool {}", declared.name) } else { action.to_string() };
                let _ = writeln!(text, "  {place:<6}  {what:<42} {serves:>7}   {spare:>8}  {after:>12}");
            }
        }
    }
    text
}
