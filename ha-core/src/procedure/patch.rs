use super::change::{Change, Kind};
use super::request::declare;
use super::{PatchRequest, PlanError, Planned};
use crate::plan::{ChangeCommands, Goal};
use crate::state::{ClusterState, Facts, ReleaseId};
use crate::topology::Topology;

/// Plans a patch and proves the plan.
///
/// The members that stand by come first, then those that serve, in waves as large as the law allows: take out, stop,
/// apply, start, test, admit, watch. Whether a spare is needed is not a rule here: the plan is tried without one, and
/// only where the law refuses that are the smallest declared spares that prove it brought before the first change, and
/// retired after the last.
///
/// # Errors
/// [`PlanError`]; nothing was changed.
pub fn patch(
    topology: &Topology,
    start: &ClusterState,
    facts: &Facts,
    request: &PatchRequest,
) -> Result<Planned, PlanError> {
    let (facts, to) = server_change(facts, request)?;
    let change = Change {
        procedure: "patch",
        topology,
        start,
        facts,
        goal: Goal::release(to),
        commands: ChangeCommands::new(request.apply.clone(), request.restore.clone()),
        kind: Kind::Server { to, test_domain: request.test_domain },
        before: Vec::new(),
        after: Vec::new(),
    };
    change.derive()
}

/// Reads what a change of the servers asks for.
pub(super) fn server_change(facts: &Facts, request: &PatchRequest) -> Result<(Facts, ReleaseId), PlanError> {
    if request.release.trim().is_empty() || request.apply.is_empty() || request.restore.is_empty() {
        let what = "release, apply and restore must not be empty; without a restore there is no way back";
        return Err(PlanError::Incomplete(what.into()));
    }
    let mut facts = facts.clone();
    let to = facts.releases.enter(&request.release).map_err(|error| PlanError::Incomplete(error.to_string()))?;
    declare(&mut facts.releases, &request.facts)?;
    Ok((facts, to))
}
