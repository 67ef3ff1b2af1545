//! What the procedures have in common: steps with their attempts, and what a spare does.

use super::{PlanError, Snapshot};
use crate::action::{Action, ServerAction};
use crate::law;
use crate::machine::GUARD_INTERVAL;
use crate::plan::{Degraded, DegradedWindow, Step};
use crate::state::{ClusterState, MemberKind, Process, ReleaseId, Site, Traffic};
use crate::topology::{NodeIx, Policy, Topology};

/// Describes a step. What leaves a server half-changed is tried once; all else once more, and an installation too: it replaces
/// whatever is there.
pub(super) fn step(action: Action, policy: &Policy) -> Step {
    let once = action.puts_under_change() && !matches!(action, Action::Provision(_));
    Step::new(action, policy).with_attempts(if once { 1 } else { 2 })
}

/// Declares that a balancer which loses its runtime state may send requests to who is held out: until it is looked at once it
/// answers, and as long for what is read and set then.
pub(super) fn reload_exposure() -> DegradedWindow {
    DegradedWindow::new(Degraded::ReloadExposure, GUARD_INTERVAL * 2)
}

/// Makes sure that the site serves whose servers a procedure changes: the one that serves at rest.
pub(super) fn home_serves(seen: Snapshot<'_>) -> Result<(), PlanError> {
    let Some(home) = seen.topology.home() else { return Ok(()) };
    match seen.state.sites.get(home.index()).map(|known| known.site) {
        None | Some(Site::Serving) => Ok(()),
        Some(site) => Err(PlanError::NotReady {
            node: format!("site {}", seen.topology.site(home).name),
            what: format!("it is {site}, and its servers are what this procedure changes"),
            fix: "lead consumers back to it first (FailBackRequest); where it is lost and no site serves, to another one \
                  (SiteLossRequest)"
                .into(),
        }),
    }
}

/// Brings a stopped spare, out of traffic, to a release, and stops it again once it is tested: the next change finds it as the
/// members are then.
pub(super) fn renewal(to: ReleaseId) -> [Action; 4] {
    [ServerAction::Apply { to }, ServerAction::Start, ServerAction::Gate, ServerAction::Stop].map(Action::from)
}

/// Tells whether a spare that is used is admitted: in each of its pools on a backup member, where it takes over by itself when
/// the others are gone, or where all members serve, so that one that is missing leaves no gap. Elsewhere it waits, held out. A
/// balancer that is gone does not tell how it is configured: another one of the pool does.
pub(super) fn is_admitted_as_spare(topology: &Topology, state: &ClusterState, spare: NodeIx) -> bool {
    let is_known = |member| state.member(member).traffic != Traffic::Gone;
    topology.memberships(spare).all(|(member, port, _)| {
        let serve = usize::from(topology.pool(port.pool).serve);
        let all_serve = serve >= topology.members_of(port.pool).count();
        let by_another = || topology.memberships(spare).any(|(known, of, _)| of.pool == port.pool && is_known(known));
        let is_backup = || state.member(member).kind == MemberKind::Backup;
        all_serve || if is_known(member) { is_backup() } else { by_another() }
    })
}

/// Returns the state in which the other members that do not answer, and are held out, count as lost: they are not asked for.
pub(super) fn without_what_is_gone(seen: Snapshot<'_>, node: NodeIx) -> ClusterState {
    let (topology, mut state) = (seen.topology, seen.state.clone());
    for domain in topology.domains().filter(|domain| *domain != topology.node(node).domain) {
        let gone =
            |node: NodeIx| seen.state.node(node).process == Process::Unknown && !law::is_exposed(seen.state, node);
        if topology.nodes_of(domain).all(gone) {
            state.set_lost(domain);
        }
    }
    state
}

/// Returns the release that a node gets which joins the members: the one that the others have.
pub(super) fn release_of_the_others(seen: Snapshot<'_>, node: NodeIx) -> Result<ReleaseId, PlanError> {
    let others = seen.topology.members().map(|(index, _)| index).filter(|index| *index != node);
    let serving = others.filter(|index| seen.state.node(*index).is_tested());
    let mut releases: Vec<ReleaseId> = serving.filter_map(|index| seen.state.node(index).release).collect();
    releases.sort_unstable();
    releases.dedup();
    let name = |id: ReleaseId| seen.facts.releases.name(id).to_owned();
    match releases[..] {
        [one] => Ok(one),
        [] => {
            let what = "no other member serves, so that nobody says which release it needs";
            Err(PlanError::Incomplete(what.into()))
        }
        _ => {
            let all: Vec<String> = releases.into_iter().map(name).collect();
            let what = format!("the other members have several releases: {}; bring them to one first", all.join(", "));
            Err(PlanError::Incomplete(what))
        }
    }
}
