use super::change::{Change, Kind};
use super::patch::server_change;
use super::{PlanError, Procedure, Proposal, Snapshot, UpgradeRequest};
use crate::plan::{ChangeCommands, Goal};
use crate::state::Schema;

/// Upgrades a version over a shared database: as a patch, with the schema expanded and backfilled before the first new node,
/// while both releases can use it, and contracted after the last old node and the spare are gone: from there on the run goes
/// forward only.
impl Procedure for UpgradeRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        if seen.topology.database().is_none() {
            let what = "the topology declares no [database]: without one an upgrade is a patch";
            return Err(PlanError::Incomplete(what.into()));
        }
        let (facts, to) = server_change(seen.facts, &self.change)?;
        if seen.state.schema > Schema::Backfilled {
            let what = format!("the schema is {}: an earlier contraction has to be finished first", seen.state.schema);
            return Err(PlanError::Incomplete(what));
        }
        let before =
            [Schema::Expanded, Schema::Backfilled].into_iter().filter(|schema| *schema > seen.state.schema).collect();
        let end = if self.contract { Schema::Contracted } else { Schema::Backfilled };
        let change = Change {
            procedure: "upgrade",
            topology: seen.topology,
            start: seen.state,
            facts,
            goal: Goal::of_release(to).with_schema(end),
            commands: ChangeCommands::new(self.change.apply.clone(), self.change.restore.clone()),
            kind: Kind::Server { to, test_domain: self.change.test_domain },
            before,
            after: if self.contract { vec![Schema::Contracted] } else { Vec::new() },
        };
        change.propose()
    }
}
