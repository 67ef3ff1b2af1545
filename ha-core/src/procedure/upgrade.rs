use std::time::Duration;

use super::change::{Change, Kind};
use super::patch::server_change;
use super::{PlanError, Procedure, Proposal, Snapshot, UpgradeRequest};
use crate::plan::{ChangeCommands, Goal};
use crate::state::{Facts, ReleaseId, Schema, SchemaChange, SchemaVerdict};

/// Upgrades a version over a shared database: as a patch, with the schema expanded and backfilled before the first new node,
/// while both releases can use it, and contracted after the last old node and the spare are gone: from there on the run goes
/// forward only.
///
/// Scripts that break the release in use, and cannot be split, are run on a clone of the database, where the request declares for how
/// long writes may be refused: the source refuses them from before it is copied on, the members change to the migrated clone one
/// after another, and it takes writes when the last of them has: the point of no return. The source is kept, and refuses writes.
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
            SchemaVerdict::NeedsWindow => match self.window {
                Some(at_most) => return self.change(seen, cloned(seen, facts, to, at_most)?, to, Way::Clone(at_most)),
                None => return Err(PlanError::NeedsWindow { reasons: scripts.reasons.clone() }),
            },
        };
        self.change(seen, facts, to, Way::Shared { now, end })
    }
}

/// Where the scripts are run.
#[derive(Clone, Copy)]
enum Way {
    /// On the database that both releases use.
    Shared { now: Schema, end: Schema },
    /// On a clone.
    Clone(Duration),
}

impl UpgradeRequest {
    fn change<'a>(
        &'a self,
        seen: Snapshot<'a>,
        facts: Facts,
        to: ReleaseId,
        way: Way,
    ) -> Result<Proposal<'a>, PlanError> {
        let (end, window) = match way {
            Way::Shared { end, .. } => (end, None),
            Way::Clone(at_most) => (Schema::Contracted, Some(at_most)),
        };
        let steps = |schemas: &[Schema]| match way {
            Way::Shared { now, end } => {
                schemas.iter().copied().filter(|schema| now < *schema && *schema <= end).collect()
            }
            Way::Clone(_) => Vec::new(),
        };
        let change = Change {
            procedure: "upgrade",
            topology: seen.topology,
            start: seen.state,
            facts,
            goal: Goal::of_release(to).with_schema(end),
            commands: ChangeCommands::new(self.change.apply.clone(), self.change.restore.clone()),
            kind: Kind::Server { to, test_domain: self.change.test_domain },
            before: steps(&[Schema::Expanded, Schema::Backfilled]),
            after: steps(&[Schema::Contracted]),
            window,
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

/// Enters that the new release uses the clone.
fn cloned(seen: Snapshot<'_>, mut facts: Facts, to: ReleaseId, at_most: Duration) -> Result<Facts, PlanError> {
    if at_most.is_zero() {
        return Err(PlanError::Incomplete("the window is 0: writes are refused while the database is cloned".into()));
    }
    let Some(clone) = &mut facts.clone else {
        let what = "the scripts need a clone of the database, and where it is to be is not declared, or cannot be read: add \
                    clone_url to [database], the URL of an empty database (only backend = \"migrate\" clones, commands cannot), and see \
                    the notes of the observation";
        return Err(PlanError::Incomplete(what.into()));
    };
    if !seen.state.copies.is_single() {
        return Err(PlanError::NotReady {
            node: "the database".into(),
            what: seen.state.copies.to_string(),
            fix: format!("the clone must be an empty database: empty {}, then plan again", clone.url),
        });
    }
    if seen.state.nodes().any(|(_, node)| node.release == Some(to)) {
        let what = "some node has the new release already, and does not use the clone: bring it back first".into();
        return Err(PlanError::Incomplete(what));
    }
    clone.release = Some(to);
    Ok(facts)
}
