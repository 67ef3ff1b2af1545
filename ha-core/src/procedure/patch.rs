use super::change::{Change, Kind};
use super::request::declare;
use super::{PatchRequest, PlanError, Procedure, Proposal, Snapshot};
use crate::plan::{ChangeCommands, Goal};
use crate::state::{Facts, ReleaseId};

/// Patches the members: those that stand by come first, then those that serve, in waves as large as the law allows: take out,
/// stop, apply, start, test, admit, watch. Whether a spare is needed is not a rule here: the plan is tried without one, and
/// only where the law refuses that are the smallest declared spares that prove it brought before the first change, and
/// retired after the last.
impl Procedure for PatchRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        let (facts, to) = server_change(seen.facts, self)?;
        let change = Change {
            procedure: "patch",
            topology: seen.topology,
            start: seen.state,
            facts,
            goal: Goal::of_release(to),
            commands: ChangeCommands::new(self.apply.clone(), self.restore.clone()),
            kind: Kind::Server { to, test_domain: self.test_domain },
            before: Vec::new(),
            after: Vec::new(),
            window: None,
        };
        change.propose()
    }
}

/// Reads what a change of the servers asks for.
pub(super) fn server_change(facts: &Facts, request: &PatchRequest) -> Result<(Facts, ReleaseId), PlanError> {
    if request.release.trim().is_empty() || request.apply.is_empty() || request.restore.is_empty() {
        let what = "release, apply and restore must not be empty; without a restore there is no rollback";
        return Err(PlanError::Incomplete(what.into()));
    }
    let mut facts = facts.clone();
    let to = facts.releases.enter(&request.release).map_err(|error| PlanError::Incomplete(error.to_string()))?;
    declare(&mut facts.releases, &request.facts)?;
    Ok((facts, to))
}
