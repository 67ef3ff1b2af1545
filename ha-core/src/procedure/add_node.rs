use serde::{Deserialize, Serialize};

use super::hand_over::find_member;
use super::recover::phase_of;
use super::step::{home_serves, is_admitted_as_spare, release_of_the_others, step, without_what_is_gone};
use super::{PlanError, Procedure, Proposal, Snapshot};
use crate::action::{Action, FilesAction, ProvisionAction, ServerAction, TrafficAction};
use crate::law;
use crate::plan::{Draft, Ends, Goal, Plan, Stage};
use crate::state::{Process, ReleaseId, Sync};
use crate::topology::{NodeIx, Permille, Role};

/// Asks that a declared node becomes a member. The topology lists it, the balancers have it and hold it out, and its server is
/// stopped or not even installed. It is brought to the members' installation by digest, where the topology declares what installs
/// (`[node.provision]`); it gets what the writer has over its file sync; then it is started, tested past the balancers and admitted.
/// Where all members serve it serves, elsewhere it stands by.
///
/// What changes is server configuration, and the implementation code on the new node; nothing on the other members, and no
/// database. It goes forward only: until the node is admitted nothing depends on it, and one that fails its test stays as it is,
/// held out. No window is declared.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::AddNodeRequest;
///
/// assert_eq!(AddNodeRequest::of("esb3").node, "esb3");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AddNodeRequest {
    /// The node that becomes a member.
    pub node: String,
}

impl AddNodeRequest {
    /// Asks that a node becomes a member.
    pub fn of(node: impl Into<String>) -> Self {
        Self { node: node.into() }
    }
}

impl Procedure for AddNodeRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        home_serves(seen)?;
        let node = find_member(seen.topology, &self.node)?;
        let start = without_what_is_gone(seen, node);
        let seen = Snapshot { state: &start, ..seen };
        let to = release_of_the_others(seen, node)?;
        let admits = is_admitted_as_spare(seen.topology, seen.state, node);
        self.check(seen, node, admits)?;
        let like = self.like(seen, node, to)?;
        let advice = "the node stays held out; bring what is named above into order, then plan again";
        Ok(Proposal::one(self.plan(seen, node, (to, like), admits), advice))
    }
}

impl AddNodeRequest {
    fn not_ready(&self, what: impl Into<String>, fix: &str) -> PlanError {
        PlanError::NotReady { node: self.node.clone(), what: what.into(), fix: fix.into() }
    }

    fn check(&self, seen: Snapshot<'_>, node: NodeIx, admits: bool) -> Result<(), PlanError> {
        let (topology, state) = (seen.topology, seen.state);
        let known = state.node(node);
        let serves = known.process.is_ready() && known.is_tested();
        let exposed = law::is_exposed(state, node);
        if serves && (exposed || (!admits && known.sync != Sync::Held)) {
            let what = if exposed { "serves" } else { "stands by" };
            return Err(PlanError::AlreadySo { what: format!("{} {what}", self.node) });
        }
        if exposed {
            let fix = "hold it out on every balancer first: it gets nothing before it is tested";
            return Err(self.not_ready("it may get requests", fix));
        }
        if known.process == Process::Unknown {
            return Err(self.not_ready("its state could not be read", "make its host and probe reachable"));
        }
        if topology.files().is_none() {
            return Ok(());
        }
        match law::writer(state) {
            None => Err(self.not_ready("nobody writes the shared files", "hand them to a member (HandOverRequest)")),
            Some(writer) if writer == node => {
                Err(self.not_ready("it writes the shared files", "hand them to another member first (HandOverRequest)"))
            }
            Some(_) if known.sync == Sync::None => {
                let fix = "set the file sync into it up, as a reader, then plan again";
                Err(self.not_ready("no file sync brings it what the writer has", fix))
            }
            Some(_) => Ok(()),
        }
    }

    /// Finds the member whose installation the node gets; `None` where it has the release already, and nothing installs on it.
    fn like(&self, seen: Snapshot<'_>, node: NodeIx, to: ReleaseId) -> Result<Option<NodeIx>, PlanError> {
        let (topology, state) = (seen.topology, seen.state);
        let known = state.node(node);
        if topology.node(node).component(Role::Provision).is_none() {
            let release = seen.facts.releases.name(to);
            let there = known.process != Process::Absent && known.release == Some(to) && !known.half_changed;
            let fix = "declare what installs on it ([node.provision]), or install it by hand, then plan again";
            return if there {
                Ok(None)
            } else {
                Err(self.not_ready(format!("release {release} of the members is not installed on it"), fix))
            };
        }
        let mut members = topology.members().filter(|(index, it)| {
            let member = state.node(*index);
            let same = member.process.is_ready() && member.is_tested() && member.release == Some(to);
            *index != node && same && it.component(Role::Provision).is_some()
        });
        let like = members.next().map(|(index, _)| Some(index));
        let fix = "declare [node.provision] on a member that serves: its digest says what the node has to have";
        like.ok_or_else(|| self.not_ready("no member tells what is to be installed on it", fix))
    }

    fn plan(&self, seen: Snapshot<'_>, node: NodeIx, (to, like): (ReleaseId, Option<NodeIx>), admits: bool) -> Plan {
        let Snapshot { topology, state, facts, .. } = seen;
        let policy = topology.policy();
        let stage = |name: &str, actions: Vec<Action>| {
            Stage::new(name, vec![node], actions.into_iter().map(|action| step(action, policy)).collect())
        };
        let known = state.node(node);
        // It stays out, whatever a balancer that loses its state has of it.
        let mut bring: Vec<Action> = vec![TrafficAction::TakeOut.into()];
        let starts = like.is_some() || !known.process.is_ready();
        if starts && !matches!(known.process, Process::Stopped | Process::Absent) {
            bring.push(ServerAction::Stop.into());
        }
        bring.extend(like.map(|like| Action::from(ProvisionAction::Install { to, like })));
        if topology.files().is_some() {
            bring.push(FilesAction::Release.into());
        }
        let mut test: Vec<Action> = Vec::new();
        if starts {
            test.push(ServerAction::Start.into());
        }
        test.push(ServerAction::Gate.into());
        let (name, mut join): (_, Vec<Action>) = if admits {
            ("let it serve", vec![TrafficAction::Admit.into()])
        } else {
            ("let it stand by", vec![TrafficAction::StandBy.into()])
        };
        let cold = topology.node(node).warm_up < Permille::WHOLE;
        if admits && (cold || !policy.soak.is_zero()) {
            join.push(ServerAction::Soak.into());
        }
        let mut draft = Draft::new("add node", topology, state.clone(), facts.clone(), Goal::unchanged());
        let place = if admits { "in traffic" } else { "standing by" };
        draft.ends = Ends::new(
            format!("added: {} is a member, {place}", self.node),
            format!("as before: {} is not added", self.node),
        );
        draft.phase = phase_of(topology, facts, state);
        draft.stages = vec![
            stage("bring the node to where the members are", bring),
            stage("start and test it", test),
            stage(name, join),
        ];
        // Nothing depends on it before it is admitted: where a step fails it stays held out, and nothing is to be taken back.
        draft.point_of_no_return = 0;
        draft.known_good[node.index()] = None;
        Plan::from(draft)
    }
}
