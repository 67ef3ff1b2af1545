use serde::{Deserialize, Serialize};

use super::recover::phase_of;
use super::step::{home_serves, release_of_the_others, reload_exposure, renewal, step, without_what_is_gone};
use super::{PlanError, Procedure, Proposal, Snapshot};
use crate::action::{Action, KnownGood, ServerAction, TrafficAction};
use crate::law;
use crate::plan::{ChangeCommands, Draft, Ends, Goal, Plan, Stage};
use crate::state::{ClusterState, Process, ReleaseId};
use crate::topology::{Node, NodeIx, Topology};

/// Asks for the return of a member that was lost: it is brought to the release of the members that serve, tested out of traffic, and
/// admitted as a member again; then the spare that stood in for it is retired. It comes back as the passive node where members
/// stand by: nothing fails back by itself.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::RejoinRequest;
///
/// // The others were patched meanwhile: this brings the node to their release.
/// let script = |what: &str| vec!["bin/patch.sh".to_string(), what.to_string()];
/// let rejoin = RejoinRequest::of("esb1").with_change(script("apply"), script("restore"));
/// assert_eq!(rejoin.node, "esb1");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RejoinRequest {
    /// The member that comes back.
    pub node: String,
    /// Installs the release of the others, where it has another one; needed only then.
    #[serde(default)]
    pub apply: Vec<String>,
    /// Brings the release in `HA_RELEASE` back.
    #[serde(default)]
    pub restore: Vec<String>,
}

impl RejoinRequest {
    /// Asks for the return of a member that has the release of the others.
    pub fn of(node: impl Into<String>) -> Self {
        Self { node: node.into(), apply: Vec::new(), restore: Vec::new() }
    }

    /// Says how it gets the release of the others.
    #[must_use]
    pub fn with_change(mut self, apply: Vec<String>, restore: Vec<String>) -> Self {
        (self.apply, self.restore) = (apply, restore);
        self
    }
}

impl Procedure for RejoinRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        home_serves(seen)?;
        let node = self.returning(seen)?;
        let to = self.release(seen, node)?;
        let mut pools = seen.topology.pools();
        let all_serve = pools.all(|(pool, it)| usize::from(it.serve) >= seen.topology.members_of(pool).count());
        let ways = if all_serve { &[false][..] } else { &[true, false] };
        let start = without_what_is_gone(seen, node);
        let seen = Snapshot { state: &start, ..seen };
        let stand_ins: Vec<NodeIx> = stand_ins(seen.topology, seen.state).collect();
        // While others stay lost the spares may be needed in their places.
        let fewest = if start.lost().is_empty() { stand_ins.len() } else { 0 };
        let retired = (fewest..=stand_ins.len()).rev().map(|count| stand_ins.split_at(count));
        let plans: Vec<Plan> = retired
            .flat_map(|spares| ways.iter().map(move |stands_by| (spares, *stands_by)))
            .map(|(spares, stands_by)| self.plan(seen, node, to, (stands_by, !all_serve), spares))
            .collect();
        let advice = "the node stays held out; bring what is named above into order, then plan again";
        Ok(Proposal::new(plans.into_iter(), advice))
    }
}

impl RejoinRequest {
    /// Finds the node, and makes sure that it can come back.
    fn returning(&self, seen: Snapshot<'_>) -> Result<NodeIx, PlanError> {
        let (topology, state) = (seen.topology, seen.state);
        let Some(node) = topology.find(&self.node) else {
            let known: Vec<&str> = topology.members().map(|(_, node)| node.name.as_str()).collect();
            return Err(PlanError::Incomplete(format!(
                "there is no node {}; the members are {}",
                self.node,
                known.join(", ")
            )));
        };
        let not_ready = |what: &str, fix: &str| {
            Err(PlanError::NotReady { node: self.node.clone(), what: what.into(), fix: fix.into() })
        };
        if topology.node(node).spare {
            return not_ready("it is a spare", "name the member whose place a spare has taken");
        }
        if law::is_exposed(state, node) {
            let fix = "hold it out on every balancer first: what comes back is tested before it gets requests";
            return not_ready("it may get requests", fix);
        }
        match state.node(node).process {
            Process::Unknown => not_ready("its state could not be read", "make its host and probe reachable"),
            Process::Absent => not_ready("no server is installed on it", "install it, then plan again"),
            Process::Stopped | Process::Starting | Process::Ready { .. } | Process::Sick => Ok(node),
        }
    }

    /// Returns the release that it gets: the one that the other members have.
    fn release(&self, seen: Snapshot<'_>, node: NodeIx) -> Result<ReleaseId, PlanError> {
        let to = release_of_the_others(seen, node)?;
        if seen.state.node(node).release != Some(to) && (self.apply.is_empty() || self.restore.is_empty()) {
            let what = format!(
                "{} does not have release {} of the other members: say how it gets it (RejoinRequest::with_change)",
                self.node,
                seen.facts.releases.name(to)
            );
            return Err(PlanError::Incomplete(what));
        }
        Ok(to)
    }

    fn plan(
        &self,
        seen: Snapshot<'_>,
        node: NodeIx,
        to: ReleaseId,
        (stands_by, some_stand_by): (bool, bool),
        (retired, kept): (&[NodeIx], &[NodeIx]),
    ) -> Plan {
        let Snapshot { topology, state, facts, .. } = seen;
        let step = |action: Action| step(action, topology.policy());
        let stage = |name: &str, node: NodeIx, actions: Vec<Action>| {
            Stage::new(name, vec![node], actions.into_iter().map(step).collect())
        };
        let known = state.node(node);
        // It stays out, whatever a balancer that loses its state has of it.
        let mut actions: Vec<Action> = vec![TrafficAction::TakeOut.into()];
        if known.release != Some(to) || known.half_changed {
            if known.process != Process::Stopped {
                actions.push(ServerAction::Stop.into());
            }
            actions.extend([ServerAction::Apply { to }, ServerAction::Start].map(Action::from));
        } else if !known.process.is_ready() {
            if known.process != Process::Stopped {
                actions.push(ServerAction::Stop.into());
            }
            actions.push(ServerAction::Start.into());
        }
        actions.push(ServerAction::Gate.into());
        actions.push(if stands_by { TrafficAction::StandBy.into() } else { TrafficAction::Admit.into() });
        if !stands_by && !topology.policy().soak.is_zero() {
            actions.push(ServerAction::Soak.into());
        }
        // Who serves since the loss is not what the balancers are configured for: one that loses its state is told again.
        let serves = |(index, it): &(NodeIx, &Node)| {
            law::is_exposed(state, *index) && state.node(*index).is_tested() && (it.spare || some_stand_by)
        };
        let serving: Vec<NodeIx> = topology.nodes().filter(serves).map(|(index, _)| index).collect();
        let mut stages = Vec::new();
        if !serving.is_empty() {
            let admit = vec![step(TrafficAction::Admit.into())];
            stages.push(Stage::new("keep in traffic what serves", serving, admit));
        }
        let still_out = |(index, it): &(NodeIx, &Node)| {
            let gone = !it.spare && topology.is_home(it) && !state.node(*index).process.is_ready();
            *index != node && gone && !law::is_exposed(state, *index)
        };
        let still_out: Vec<NodeIx> = topology.nodes().filter(still_out).map(|(index, _)| index).collect();
        if !still_out.is_empty() {
            stages.push(Stage::new("keep out what is not back", still_out, vec![step(TrafficAction::TakeOut.into())]));
        }
        stages.push(stage("bring the member back", node, actions));
        for spare in kept {
            stages.push(stage(
                "leave the spare in the place of a lost member",
                *spare,
                vec![TrafficAction::StandIn.into()],
            ));
        }
        for spare in retired {
            let mut retire: Vec<Action> = vec![TrafficAction::TakeOut.into(), ServerAction::Stop.into()];
            let renews = state.node(*spare).release != Some(to) && !self.apply.is_empty();
            if renews {
                retire.extend(renewal(to));
            }
            stages.push(stage("retire the spare that stood in", *spare, retire));
        }
        let mut draft = Draft::new("rejoin", topology, state.clone(), facts.clone(), Goal::of_release(to));
        draft.ends = Ends::new("back: the member serves or stands by again", "as before: the member is held out");
        draft.commands = ChangeCommands::new(self.apply.clone(), self.restore.clone());
        draft.phase = phase_of(topology, facts, state);
        // The node is out of traffic and stays so where a step fails: nothing of it is to be taken back.
        draft.point_of_no_return = 0;
        draft.stages = stages;
        // The spare is out and changed while a balancer that loses its state may have it in.
        draft.windows.push(reload_exposure());
        for (index, known) in draft.known_good.iter_mut().enumerate() {
            let spare = topology.nodes().nth(index).is_some_and(|(_, node)| node.spare);
            let changes = index == node.index() || !spare || retired.iter().any(|spare| spare.index() == index);
            *known = known.filter(|_: &KnownGood| changes);
        }
        Plan::from(draft)
    }
}

/// Lists the spares that run and are not held out, or are ready: they stand in for somebody.
fn stand_ins<'a>(topology: &'a Topology, state: &'a ClusterState) -> impl Iterator<Item = NodeIx> + 'a {
    let spares = topology.spares().map(|(index, _)| index);
    spares.filter(|spare| law::is_exposed(state, *spare) || state.node(*spare).process.is_ready())
}
