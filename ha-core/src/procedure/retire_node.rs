use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hand_over::{find_member, may_write, stages as hand_over, successor};
use super::recover::phase_of;
use super::step::{home_serves, reload_exposure, step, without_what_is_gone};
use super::{PlanError, Procedure, Proposal, Snapshot};
use crate::action::{Action, FilesAction, ProvisionAction, ServerAction, TrafficAction, WorkAction};
use crate::law;
use crate::plan::{Degraded, DegradedWindow, Draft, Ends, Goal, OnFailure, Plan, Stage};
use crate::state::{Process, Work};
use crate::topology::{NodeIx, OnDrainDeadline, Role};

/// Asks that a member leaves: what it does for the others is handed over first, the right to write shared files and the work that
/// only it pulls; it is drained on every balancer, its sessions end as the policy says, its server is stopped, nothing is copied to
/// it any more, and so it stays. On the balancers it is held out from then on; take it out of their configuration, and out of the
/// topology, before they are reloaded: a balancer that is reloaded sends to what it is configured for, and finds it closed.
///
/// What is left must carry what is required, now and after one more failure: otherwise the law refuses the plan, and the remedy is
/// to add a node first ([`AddNodeRequest`](super::AddNodeRequest)).
///
/// What changes is server configuration: balancers, file syncs and the node itself. It can be rolled back from every step; only
/// where another node pulls its work from then on, or its installation is removed, it goes forward only from there. While it is
/// stopped and a balancer loses its runtime state, that one may send to it: the window of every change.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::RetireNodeRequest;
///
/// let retire = RetireNodeRequest::of("esb1").with_writer("esb3");
/// assert!(!retire.remove); // it may be added again
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RetireNodeRequest {
    /// The member that leaves.
    pub node: String,
    /// The member that writes the shared files after it, where it does; `None` chooses one, of those that stand by first.
    #[serde(default)]
    pub writer: Option<String>,
    /// The member that pulls work after it, where only it does; `None` chooses one.
    #[serde(default)]
    pub work: Option<String>,
    /// Whether what is installed on it is removed too, by what the topology declares for that. Default no.
    #[serde(default)]
    pub remove: bool,
}

impl RetireNodeRequest {
    /// Asks that a member leaves.
    pub fn of(node: impl Into<String>) -> Self {
        Self { node: node.into(), writer: None, work: None, remove: false }
    }

    /// Says who writes the shared files after it.
    #[must_use]
    pub fn with_writer(mut self, node: impl Into<String>) -> Self {
        self.writer = Some(node.into());
        self
    }

    /// Says who pulls work after it.
    #[must_use]
    pub fn with_work(mut self, node: impl Into<String>) -> Self {
        self.work = Some(node.into());
        self
    }

    /// Removes what is installed on it too: the point of no return.
    #[must_use]
    pub fn and_remove(mut self) -> Self {
        self.remove = true;
        self
    }
}

impl Procedure for RetireNodeRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        home_serves(seen)?;
        let node = find_member(seen.topology, &self.node)?;
        let start = without_what_is_gone(seen, node);
        let seen = Snapshot { state: &start, ..seen };
        self.check(seen, node)?;
        let heirs = Heirs { writer: self.next_writer(seen, node)?, work: self.next_puller(seen, node)? };
        let (topology, state) = (seen.topology, seen.state);
        let waits = |index: &NodeIx| {
            let known = state.node(*index);
            *index != node && known.process.is_ready() && known.is_tested() && !law::is_exposed(state, *index)
        };
        let waiting: Vec<NodeIx> = topology.members().map(|(index, _)| index).filter(waits).collect();
        let mut sets = vec![Vec::new()];
        sets.extend(waiting.iter().map(|one| vec![*one]));
        if waiting.len() > 1 {
            sets.push(waiting);
        }
        let plans: Vec<Plan> = sets.iter().map(|admitted| self.plan(seen, node, heirs, admitted)).collect();
        let advice = "what is left must carry what is required (pool.peak_load, pool.survive_one)";
        Ok(Proposal::new(plans.into_iter(), advice))
    }
}

/// Who does what the node did for the others.
#[derive(Clone, Copy, Debug)]
struct Heirs {
    writer: Option<NodeIx>,
    work: Option<NodeIx>,
}

impl RetireNodeRequest {
    fn check(&self, seen: Snapshot<'_>, node: NodeIx) -> Result<(), PlanError> {
        let (declared, known) = (seen.topology.node(node), seen.state.node(node));
        let not_ready = |what: &str, fix: &str| {
            Err(PlanError::NotReady { node: self.node.clone(), what: what.into(), fix: fix.into() })
        };
        if self.remove && declared.component(Role::Provision).is_none() {
            return not_ready("nothing is declared that removes it", "declare [node.provision], or retire it without");
        }
        let gone = |process| matches!(process, Process::Stopped | Process::Absent);
        let held = !law::is_exposed(seen.state, node) && !known.sync.is_open() && law::writer(seen.state) != Some(node);
        match known.process {
            Process::Unknown => not_ready(
                "its state could not be read",
                "make its host reachable; one that is lost is followed up (OutageRequest) and taken out of the topology",
            ),
            process if gone(process) && held && (!self.remove || process == Process::Absent) => {
                Err(PlanError::AlreadySo { what: format!("{} is out of traffic, stopped and held", self.node) })
            }
            Process::Absent | Process::Stopped | Process::Starting | Process::Ready { .. } | Process::Sick => Ok(()),
        }
    }

    fn next_writer(&self, seen: Snapshot<'_>, node: NodeIx) -> Result<Option<NodeIx>, PlanError> {
        if law::writer(seen.state) != Some(node) {
            return Ok(None);
        }
        let next = match &self.writer {
            Some(name) => Some(find_member(seen.topology, name)?),
            None => successor(seen.topology, seen.state, node),
        };
        match next.filter(|next| *next != node) {
            Some(next) => may_write(seen, next).map(|()| Some(next)),
            None => Err(PlanError::NotReady {
                node: self.node.clone(),
                what: "it writes the shared files, and no other member is ready and tested to write them".into(),
                fix: "bring one that is (AddNodeRequest, RejoinRequest), then plan again".into(),
            }),
        }
    }

    /// Finds who pulls work after the node; `None` where it pulls none, or another one pulls too.
    fn next_puller(&self, seen: Snapshot<'_>, node: NodeIx) -> Result<Option<NodeIx>, PlanError> {
        let (topology, state) = (seen.topology, seen.state);
        let pulls = |index: NodeIx| state.node(index).work == Work::On;
        let others = || topology.members().map(|(index, _)| index).filter(|index| *index != node);
        if !pulls(node) || others().any(pulls) {
            return Ok(None);
        }
        let able = |index: &NodeIx| {
            let known = state.node(*index);
            known.work == Work::Off && known.process.is_ready() && known.is_tested()
        };
        let named = self.work.as_ref().map(|name| find_member(topology, name)).transpose()?;
        let next = match named {
            Some(named) => Some(named).filter(able),
            None => others().find(able),
        };
        next.map(Some).ok_or_else(|| PlanError::NotReady {
            node: self.node.clone(),
            what: "only it pulls work, and no other member that could is ready, tested and quiet".into(),
            fix: "declare [node.work] on another member, or name one (RetireNodeRequest::with_work)".into(),
        })
    }

    fn plan(&self, seen: Snapshot<'_>, node: NodeIx, heirs: Heirs, admitted: &[NodeIx]) -> Plan {
        let Snapshot { topology, state, facts, .. } = seen;
        let policy = topology.policy();
        let stage = |name: &str, node: NodeIx, actions: Vec<Action>| {
            Stage::new(name, vec![node], actions.into_iter().map(|action| step(action, policy)).collect())
        };
        let known = state.node(node);
        let mut stages = Vec::new();
        for standby in admitted {
            let actions = [TrafficAction::TakeOut.into(), ServerAction::Gate.into(), TrafficAction::Admit.into()];
            stages.push(stage("admit a member that stands by", *standby, actions.into()));
        }
        if let Some(next) = heirs.writer {
            stages.extend(hand_over(seen, next, false, Some(node)));
        } else if known.sync.is_open() {
            stages.push(stage("hold the file sync into the node", node, vec![FilesAction::Hold.into()]));
        }
        let gone = matches!(known.process, Process::Stopped | Process::Absent);
        let mut out: Vec<Action> = Vec::new();
        if !gone || law::is_exposed(state, node) {
            out.push(TrafficAction::TakeOut.into());
        }
        if known.work.may_run() {
            out.push(WorkAction::Quiesce.into());
        }
        if !gone {
            out.push(ServerAction::Stop.into());
        }
        if !out.is_empty() {
            let mut out = stage("take the node out of traffic and stop it", node, out);
            if policy.on_drain_deadline == OnDrainDeadline::Hold {
                let drains = out.steps.iter_mut().filter(|step| step.action == TrafficAction::TakeOut.into());
                drains.for_each(|step| step.on_failure = OnFailure::Hold);
            }
            stages.push(out);
        }
        let mut forward_only = None;
        if let Some(next) = heirs.work {
            forward_only = Some(stages.len());
            stages.push(stage("let another member pull its work", next, vec![WorkAction::Resume.into()]));
        }
        if self.remove {
            forward_only = forward_only.or(Some(stages.len()));
            stages.push(stage("remove its installation", node, vec![ProvisionAction::Remove.into()]));
        }
        stages.push(stage("leave it out", node, vec![ProvisionAction::Retire.into()]));
        let mut draft = Draft::new("retire node", topology, state.clone(), facts.clone(), Goal::unchanged());
        let removed = if self.remove { ", its installation removed" } else { "" };
        let reached = format!(
            "retired: {} is held out, stopped{removed}, and to be taken out of the topology and the balancers",
            self.node
        );
        draft.ends = Ends::new(reached, format!("as before: {} is a member", self.node));
        draft.phase = phase_of(topology, facts, state);
        draft.point_of_no_return = forward_only.unwrap_or(stages.len());
        draft.stages = stages;
        if state.members(node).iter().any(|member| !member.is_out()) {
            draft.windows.push(reload_exposure());
        }
        if heirs.work.is_some() {
            let each = [policy.drain_deadline, policy.stop_deadline, Duration::from_secs(30)];
            draft.windows.push(DegradedWindow::new(Degraded::PulledWork, each.iter().sum()));
        }
        Plan::from(draft)
    }
}
