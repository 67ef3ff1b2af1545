use super::change::{Change, Kind};
use super::patch::server_change;
use super::{PlanError, Procedure, Proposal, Snapshot, UpgradeRequest};
use crate::plan::{ChangeCommands, Goal};
use crate::state::{Schema, SchemaChange, SchemaVerdict};

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
        let scripts = reviewed(seen)?;
        let now = seen.state.schema;
        if now == Schema::Contracting || (now == Schema::Contracted && scripts.verdict != SchemaVerdict::Nothing) {
            let what = format!("the schema is {now}: an earlier contraction has to be finished first");
            return Err(PlanError::Incomplete(what));
        }
        let end = match scripts.verdict {
            SchemaVerdict::Nothing => now,
            SchemaVerdict::Splittable if self.contract => Schema::Contracted,
            SchemaVerdict::ExpandOnly | SchemaVerdict::Splittable => Schema::Backfilled,
            SchemaVerdict::NeedsWindow => return Err(PlanError::NeedsWindow { reasons: scripts.reasons.clone() }),
        };
        let way =
            |schemas: &[Schema]| schemas.iter().copied().filter(|schema| now < *schema && *schema <= end).collect();
        let change = Change {
            procedure: "upgrade",
            topology: seen.topology,
            start: seen.state,
            facts,
            goal: Goal::of_release(to).with_schema(end),
            commands: ChangeCommands::new(self.change.apply.clone(), self.change.restore.clone()),
            kind: Kind::Server { to, test_domain: self.change.test_domain },
            before: way(&[Schema::Expanded, Schema::Backfilled]),
            after: way(&[Schema::Contracted]),
        };
        change.propose()
    }
}

/// What waits for the database; what could not be judged is not planned over.
fn reviewed<'a>(seen: Snapshot<'a>) -> Result<&'a SchemaChange, PlanError> {
    seen.facts.schema_change.as_ref().ok_or_else(|| PlanError::NotReady {
        node: "the database".into(),
        what: "its migration scripts could not be reviewed".into(),
        fix: "see the notes of the observation, then plan again".into(),
    })
}
