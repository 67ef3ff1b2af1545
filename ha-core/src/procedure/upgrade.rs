use super::change::{Change, Kind};
use super::patch::server_change;
use super::{PlanError, Planned, UpgradeRequest};
use crate::plan::{ChangeCommands, Goal};
use crate::state::{ClusterState, Facts, Schema};
use crate::topology::Topology;

/// Plans a version upgrade over a shared database and proves the plan.
///
/// As a patch, with the schema expanded and backfilled before the first new node, while both releases can use it, and
/// contracted after the last old node and the spare are gone: from there on the run goes forward only.
///
/// # Errors
/// [`PlanError`]; nothing was changed.
pub fn upgrade(
    topology: &Topology,
    start: &ClusterState,
    facts: &Facts,
    request: &UpgradeRequest,
) -> Result<Planned, PlanError> {
    if topology.database.is_none() {
        let what = "the topology declares no [database]: without one an upgrade is a patch";
        return Err(PlanError::Incomplete(what.into()));
    }
    let (facts, to) = server_change(facts, &request.change)?;
    if start.schema > Schema::Backfilled {
        let what = format!("the schema is {}: an earlier contraction has to be finished first", start.schema);
        return Err(PlanError::Incomplete(what));
    }
    let before = [Schema::Expanded, Schema::Backfilled].into_iter().filter(|schema| *schema > start.schema).collect();
    let end = if request.contract { Schema::Contracted } else { Schema::Backfilled };
    let change = Change {
        procedure: "upgrade",
        topology,
        start,
        facts,
        goal: Goal::release(to).with_schema(end),
        commands: ChangeCommands::new(request.change.apply.clone(), request.change.restore.clone()),
        kind: Kind::Server { to, test_domain: request.change.test_domain },
        before,
        after: if request.contract { vec![Schema::Contracted] } else { Vec::new() },
    };
    change.derive()
}
