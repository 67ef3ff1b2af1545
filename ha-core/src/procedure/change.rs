use std::time::Duration;

use super::step::{home_serves, is_admitted_as_spare, reload_exposure, renewal, step};
use super::{PlanError, Proposal, Snapshot};
use crate::action::{
    Action, ExposureAction, FilesAction, KnownGood, SchemaAction, ServerAction, TrafficAction, WorkAction,
};
use crate::law::{self, Law};
use crate::plan::{ChangeCommands, Degraded, DegradedWindow, Draft, Goal, OnFailure, Plan, Stage, Step};
use crate::state::{
    CloneStep, ClusterState, Facts, GenerationId, Process, ReleaseId, Schema, ServerDomain, Sync, Traffic, Work,
};
use crate::topology::{NodeIx, OnDrainDeadline, Topology};

const TAKE_OUT: Action = Action::Traffic(TrafficAction::TakeOut);
const ADMIT: Action = Action::Traffic(TrafficAction::Admit);
const STOP: Action = Action::Server(ServerAction::Stop);
const START: Action = Action::Server(ServerAction::Start);
const GATE: Action = Action::Server(ServerAction::Gate);
const HOLD: Action = Action::Files(FilesAction::Hold);
const RELEASE: Action = Action::Files(FilesAction::Release);
const EXPOSE: Action = Action::Exposure(ExposureAction::Expose);

/// A rolling change of all members: what the procedures that patch, upgrade and update have in common.
pub(super) struct Change<'a> {
    pub(super) procedure: &'static str,
    pub(super) topology: &'a Topology,
    pub(super) start: &'a ClusterState,
    pub(super) facts: Facts,
    pub(super) goal: Goal,
    pub(super) commands: ChangeCommands,
    pub(super) kind: Kind,
    /// Schema states that are reached before the first node changes.
    pub(super) before: Vec<Schema>,
    /// Schema states that are reached after the last: past the point of no return.
    pub(super) after: Vec<Schema>,
    /// For how long at most the database may refuse writes: it is cloned then.
    pub(super) window: Option<Duration>,
}

/// What changes on each node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The server itself, stopped meanwhile.
    Server { to: ReleaseId, test_domain: bool },
    /// The shared files, under the running server.
    Files { to: GenerationId },
}

impl<'a> Change<'a> {
    /// Proposes the plan without a spare, then with the smallest declared spares.
    pub(super) fn propose(self) -> Result<Proposal<'a>, PlanError> {
        home_serves(Snapshot::new(self.topology, self.start, &self.facts))?;
        self.check_start()?;
        let sets = self.sets_of_spares();
        let plans = sets.into_iter().map(move |set| self.plan(&set));
        Ok(Proposal::new(plans, "what is in the way is named above"))
    }

    /// Lists the sets of declared spares that are tried: none, each alone, the smallest first, then the largest together.
    fn sets_of_spares(&self) -> Vec<Vec<NodeIx>> {
        let mut spares: Vec<_> = self.topology.spares().filter(|(index, _)| self.is_usable_spare(*index)).collect();
        spares.sort_by_key(|(_, node)| node.ports.iter().map(|port| port.capacity).max());
        let spares: Vec<NodeIx> = spares.into_iter().map(|(spare, _)| spare).collect();
        let singles = spares.iter().map(|spare| vec![*spare]);
        let several = (2..=spares.len()).map(|count| spares.iter().rev().take(count).copied().collect());
        std::iter::once(Vec::new()).chain(singles).chain(several).collect()
    }

    fn is_usable_spare(&self, spare: NodeIx) -> bool {
        let node_state = self.start.node(spare);
        node_state.release.is_some() && matches!(node_state.process, Process::Stopped | Process::Ready { .. })
    }

    fn law(&self) -> Law<'_> {
        Law::new(self.topology, &self.facts)
    }

    fn check_start(&self) -> Result<(), PlanError> {
        let not_ready = |node: NodeIx, what: String, fix: &str| PlanError::NotReady {
            node: self.topology.node(node).name.to_string(),
            what,
            fix: fix.into(),
        };
        for (index, _) in self.topology.nodes() {
            for (member, port, balancer) in self.topology.memberships(index) {
                let traffic = self.start.member(member).traffic;
                if traffic == Traffic::Gone {
                    let instance = &self.topology.balancer(balancer).name;
                    let fix = "bring it back, or take it out of the topology; then plan again";
                    return Err(not_ready(index, format!("balancer {instance} is gone"), fix));
                }
                if matches!(traffic, Traffic::Unknown | Traffic::Down) {
                    let (prefix, instance) = (self.topology.prefix(port.pool), self.topology.balancer(balancer));
                    let what = format!(
                        "{prefix}balancer {} does not report its state, or its check fails there",
                        instance.name
                    );
                    let fix = "correct the names of pool and member, the balancer's socket, or the server; then plan \
                               again";
                    return Err(not_ready(index, what, fix));
                }
            }
        }
        for (index, _) in self.topology.members() {
            let node_state = self.start.node(index);
            let (what, fix) = match (node_state.process, node_state.release) {
                (Process::Ready { .. }, Some(_)) if node_state.is_tested() => continue,
                (Process::Ready { .. }, Some(_)) => ("its test does not pass", "repair it, then plan again"),
                (Process::Ready { .. }, None) => ("its release cannot be read", "repair its version command or probe"),
                (Process::Unknown, _) => ("its state could not be read", "make its host and probe reachable"),
                (Process::Absent | Process::Stopped | Process::Starting | Process::Sick, _) => {
                    ("its server does not serve", "start or repair it, then plan again")
                }
            };
            return Err(not_ready(index, what.into(), fix));
        }
        for (index, _) in self.topology.spares() {
            if law::is_exposed(self.start, index) {
                let what = "it is a spare and is not held out on every balancer".into();
                let fix = "resume or take back the run that has not ended, if there is one, which puts it back; else put it into maintenance there";
                return Err(not_ready(index, what, fix));
            }
        }
        let broken = self.law().broken(self.start);
        if !broken.is_empty() {
            return Err(PlanError::AtRest(broken));
        }
        if self.topology.members().all(|(index, _)| !self.must_change(index)) {
            let name = match self.kind {
                Kind::Server { to, .. } => format!("release {}", self.facts.releases.name(to)),
                Kind::Files { to } => format!("generation {}", self.facts.generations.sequence(to)),
            };
            return Err(PlanError::NothingToDo { what: name });
        }
        Ok(())
    }

    fn must_change(&self, node: NodeIx) -> bool {
        let node_state = self.start.node(node);
        match self.kind {
            Kind::Server { to, .. } => node_state.release != Some(to),
            Kind::Files { to } => node_state.generation != Some(to),
        }
    }

    fn is_admitted(&self, node: NodeIx) -> bool {
        self.start.members(node).iter().any(|member| !member.is_out())
    }

    fn step(&self, action: Action) -> Step {
        let policy = &self.topology.policy;
        let step = step(action, policy);
        if action == TAKE_OUT && policy.on_drain_deadline == OnDrainDeadline::Hold {
            return step.with_on_failure(OnFailure::Hold);
        }
        step
    }

    fn stage(&self, name: &str, nodes: Vec<NodeIx>, actions: impl IntoIterator<Item = Action>) -> Stage {
        Stage::new(name, nodes, actions.into_iter().map(|action| self.step(action)).collect())
    }

    fn migrate(&self, name: &str, to: Schema) -> Stage {
        self.stage(name, Vec::new(), [SchemaAction::Migrate { to }.into()])
    }

    fn plan(&self, spares: &[NodeIx]) -> Plan {
        let mut stages = Vec::new();
        let mut state = self.start.clone();
        for spare in spares {
            let mut actions = vec![START, GATE];
            if is_admitted_as_spare(self.topology, self.start, *spare) {
                actions.push(ADMIT);
            }
            self.settle(&mut state, &[*spare], actions.contains(&ADMIT));
            stages.push(self.stage("bring a spare as the members are now", vec![*spare], actions));
        }
        let order = self.order();
        let first = order.first().copied();
        for schema in &self.before {
            stages.push(self.migrate("prepare the database", *schema));
            // Before anything is filled or changed: the old release works on the expanded schema, or all goes back.
            if *schema == Schema::Expanded {
                let ready = self.topology.members().map(|(index, _)| index);
                let ready = ready.filter(|index| self.start.node(*index).process.is_ready()).collect();
                stages.push(self.stage("test every member on the expanded schema", ready, [GATE]));
            }
        }
        stages.extend(self.window.into_iter().flat_map(|at_most| self.clone_database(at_most)));
        let shared = matches!(self.kind, Kind::Files { .. }) && self.topology.files().is_some();
        if shared {
            stages.extend(self.hold_files(first));
        }
        for wave in self.waves(&order, state) {
            let mut stage = self.wave(&wave, shared);
            // Who has the service keeps it dark; the one that did not take it has its old set again, and a person decides.
            if self.goal.exposure.is_some() && wave.first() != order.first() {
                stage.steps = stage.steps.into_iter().map(|step| step.with_on_failure(OnFailure::Withdraw)).collect();
            }
            stages.push(stage);
        }
        let mut point_of_no_return = stages.len();
        if self.window.is_some() {
            // What uses the source is stopped before the clone takes writes: nobody is served from it any more.
            if !spares.is_empty() {
                stages.push(self.stage("retire the spare", spares.to_vec(), [TAKE_OUT, STOP]));
            }
            point_of_no_return = stages.len();
            stages.extend(self.open_clone());
            let renewal = self.renewal(spares);
            if !renewal.is_empty() {
                stages.push(self.stage("bring the spare to what the members have", spares.to_vec(), renewal));
            }
        } else if !spares.is_empty() {
            let name = "close the rollback window and retire the spare";
            let retire = [TAKE_OUT, STOP].into_iter().chain(self.renewal(spares));
            stages.push(self.stage(name, spares.to_vec(), retire));
        }
        stages.extend(self.after.iter().map(|schema| self.migrate("finish the database", *schema)));
        if shared {
            stages.extend(self.release_files(&order));
        }
        if self.goal.exposure.is_some() {
            stages.extend(self.expose());
        }
        if self.can_return_to_the_end() {
            point_of_no_return = stages.len();
        }
        let mut draft = Draft::new(self.procedure, self.topology, self.start.clone(), self.facts.clone(), self.goal);
        draft.known_good = self.known_good(spares);
        draft.commands = self.commands.clone();
        draft.stages = stages;
        draft.point_of_no_return = point_of_no_return;
        draft.windows = self.windows();
        draft.into()
    }

    /// Brings the spares of this run, out of traffic, to the new release, tested before they are stopped again: the next change
    /// finds them as the members are then. Others stay as they are: one that is ready is a reserve, and a small one among
    /// backups would lower what is left after a loss.
    fn renewal(&self, spares: &[NodeIx]) -> Vec<Action> {
        match self.kind {
            Kind::Server { to, .. } if spares.iter().any(|spare| self.must_change(*spare)) => renewal(to).into(),
            Kind::Server { .. } | Kind::Files { .. } => Vec::new(),
        }
    }

    fn known_good(&self, spares: &[NodeIx]) -> Vec<Option<KnownGood>> {
        let writer = law::writer(self.start);
        let of = |(index, node): (NodeIx, &crate::topology::Node)| {
            let node_state = self.start.node(index);
            let shared = self.topology.files().is_some();
            if !self.topology.is_home(node) || (node.spare && !spares.contains(&index) && !shared) {
                return None;
            }
            let (release, generation) = (node_state.release?, node_state.generation?);
            // A rollback from behind its retirement needs the spare as the run had it: the members are changed back beside it.
            let serves_meanwhile = spares.contains(&index) && is_admitted_as_spare(self.topology, self.start, index);
            let admitted = self.is_admitted(index)
                || ((self.can_return_to_the_end() || self.window.is_some()) && serves_meanwhile);
            Some(KnownGood::new(release, admitted).with_files(generation, writer))
        };
        self.topology.nodes().map(of).collect()
    }

    fn windows(&self) -> Vec<DegradedWindow> {
        let mut windows = Vec::new();
        if self.topology.members().any(|(index, _)| self.is_admitted(index)) {
            windows.push(reload_exposure());
        }
        let pulls: Vec<NodeIx> =
            self.topology.members().map(|(index, _)| index).filter(|index| self.pulls(*index)).collect();
        if pulls.len() == 1 {
            let policy = &self.topology.policy;
            let each = [policy.stop_deadline, policy.command_deadline, policy.ready_deadline, Duration::from_secs(30)];
            windows.push(DegradedWindow::new(Degraded::PulledWork, each.iter().sum()));
        }
        windows.extend(self.window.map(|at_most| DegradedWindow::new(Degraded::WritesRefused, at_most)));
        windows
    }

    fn pulls(&self, node: NodeIx) -> bool {
        self.start.node(node).work == Work::On
    }

    /// Lists the members to change: those that stand by first.
    fn order(&self) -> Vec<NodeIx> {
        let law = self.law();
        let members = self.topology.members().map(|(index, _)| index).filter(|index| self.must_change(*index));
        let (active, mut passive): (Vec<_>, Vec<_>) = members.partition(|index| law.is_serving(self.start, *index));
        // Where nobody stands by, whoever writes the shared files goes first: the others get them from there.
        let writer = law::writer(self.start);
        let mut active = active;
        active.sort_by_key(|index| Some(*index) != writer);
        passive.sort_by_key(|index| Some(*index) != writer);
        passive.into_iter().chain(active).collect()
    }

    /// Splits the order into waves, each as large as the law allows; a member that is to stand by at the end has a wave
    /// of its own.
    fn waves(&self, order: &[NodeIx], mut state: ClusterState) -> Vec<Vec<NodeIx>> {
        let mut waves: Vec<Vec<NodeIx>> = Vec::new();
        let mut wave: Vec<NodeIx> = Vec::new();
        for (place, node) in order.iter().enumerate() {
            let alone = self.stands_by(order, place) || place == 0 && self.topology.files().is_some();
            let mut larger = wave.clone();
            larger.push(*node);
            if !wave.is_empty() && (alone || !self.can_be_out(&state, &larger)) {
                self.settle(&mut state, &wave, true);
                waves.push(std::mem::take(&mut wave));
            }
            wave.push(*node);
            if alone {
                self.settle(&mut state, &wave, !self.stands_by(order, place));
                waves.push(std::mem::take(&mut wave));
            }
        }
        if !wave.is_empty() {
            waves.push(wave);
        }
        waves
    }

    fn can_be_out(&self, state: &ClusterState, wave: &[NodeIx]) -> bool {
        let mut out = state.clone();
        for node in wave {
            out.set_traffic_everywhere(*node, |_| Traffic::Out);
            out.node_mut(*node).process = Process::Stopped;
        }
        let law = self.law();
        law.now(&out).is_ok() && law.one_more_failure(&out).is_ok()
    }

    /// Foresees the state of nodes when they have been changed or brought.
    fn settle(&self, state: &mut ClusterState, nodes: &[NodeIx], admitted: bool) {
        for node in nodes {
            let node_state = state.node_mut(*node);
            node_state.process = Process::Ready { warm: true };
            node_state.server_domain = ServerDomain::Production;
            if let Some(release) = node_state.release {
                node_state.tested.insert(release);
            }
            if admitted {
                state.set_traffic_everywhere(*node, crate::state::MemberState::admitted);
            }
        }
    }

    /// Tells whether the member at a place of the order stands by at the end: as many as stood by, held out, before.
    fn stands_by(&self, order: &[NodeIx], place: usize) -> bool {
        let held_out = order.iter().filter(|index| !self.is_admitted(**index)).count();
        order.len() - place <= held_out && held_out <= order.len() - held_out
    }

    fn wave(&self, wave: &[NodeIx], shared: bool) -> Stage {
        let order = self.order();
        let place = wave.first().and_then(|node| order.iter().position(|index| index == node)).unwrap_or(0);
        let works = wave.iter().any(|node| self.pulls(*node));
        let mut actions = vec![TAKE_OUT];
        actions.extend(works.then_some(Action::Work(WorkAction::Quiesce)));
        match self.kind {
            Kind::Server { to, test_domain } => {
                actions.extend([STOP, ServerAction::Apply { to }.into()]);
                if test_domain {
                    actions.extend([ServerAction::StartInTest.into(), GATE, STOP]);
                }
                actions.extend([START, GATE]);
            }
            Kind::Files { to } if place == 0 || !shared => {
                actions.extend([FilesAction::Deploy { to }.into(), GATE]);
            }
            Kind::Files { .. } => actions.extend([RELEASE, GATE]),
        }
        if self.stands_by(&order, place) {
            actions.push(TrafficAction::StandBy.into());
        } else {
            actions.push(ADMIT);
            let cold = wave.iter().any(|node| self.topology.node(*node).warm_up < crate::topology::Permille::WHOLE);
            if cold || !self.topology.policy.soak.is_zero() {
                actions.push(ServerAction::Soak.into());
            }
        }
        actions.extend(works.then_some(Action::Work(WorkAction::Resume)));
        let serving = wave.iter().any(|node| self.law().is_serving(self.start, *node));
        let name = match (wave.len(), serving) {
            (1, true) => "change an active node",
            (1, false) => "change a passive node",
            (_, true) => "change a wave of active nodes",
            (_, false) => "change a wave of passive nodes",
        };
        self.stage(name, wave.to_vec(), actions)
    }

    /// Nothing is copied from here on but what the plan asks for; the first node to change writes.
    fn hold_files(&self, first: Option<NodeIx>) -> Vec<Stage> {
        let synced = self.start.nodes().filter(|(_, node)| node.sync != Sync::None).map(|(index, _)| index).collect();
        let mut stages = vec![self.stage("hold every file sync", synced, [HOLD])];
        if let Some(to) = first.filter(|to| law::writer(self.start) != Some(*to)) {
            stages.push(self.stage("hand the writer over", vec![to], [FilesAction::HandWriter.into()]));
        }
        stages
    }

    /// The node that is passive now writes, and every file sync comes from it.
    fn release_files(&self, order: &[NodeIx]) -> Vec<Stage> {
        let (Some(first), last) = (order.first().copied(), order.last().copied()) else { return Vec::new() };
        let swapped = last.filter(|_| self.stands_by(order, order.len() - 1) && order.len() > 1);
        let mut stages = Vec::new();
        if let Some(passive) = swapped {
            let readers: Vec<NodeIx> = order.iter().copied().filter(|node| *node != first).collect();
            stages.push(self.stage("hold the file syncs again", readers, [HOLD]));
            stages.push(self.stage(
                "hand the writer to the passive node",
                vec![passive],
                [FilesAction::HandWriter.into()],
            ));
        }
        let writer = swapped.unwrap_or(first);
        let done = |index: NodeIx| swapped.is_none() && order.contains(&index);
        let shares =
            |index: NodeIx| self.start.node(index).sync != Sync::None || law::writer(self.start) == Some(index);
        let rest: Vec<NodeIx> = self
            .topology
            .nodes()
            .map(|(index, _)| index)
            .filter(|index| *index != writer && !done(*index) && shares(*index))
            .collect();
        if !rest.is_empty() {
            stages.push(self.stage("release the file syncs", rest, [RELEASE]));
        }
        stages
    }

    /// Clones the database, which refuses writes from here on, and migrates the clone. The members pass their tests meanwhile, or all
    /// goes back before anything was copied: a rollback tests them in the same state.
    fn clone_database(&self, at_most: Duration) -> [Stage; 3] {
        let ready = self.topology.members().map(|(index, _)| index);
        let ready = ready.filter(|index| self.start.node(*index).process.is_ready()).collect();
        let stages = [
            self.stage("refuse writes to the database", Vec::new(), [CloneStep::Freeze.into()]),
            self.stage("test every member while writes are refused", ready, [GATE]),
            self.stage(
                "clone the database and migrate the clone",
                Vec::new(),
                [CloneStep::Copy, CloneStep::Compare, CloneStep::Migrate].map(Action::from),
            ),
        ];
        stages.map(|mut stage| {
            stage.steps.iter_mut().for_each(|step| step.deadline = step.deadline.min(at_most));
            stage
        })
    }

    /// Lets writes in where all members are: into the clone.
    fn open_clone(&self) -> [Stage; 2] {
        let members = self.topology.members().map(|(index, _)| index).collect();
        [
            self.stage("take writes to the clone", Vec::new(), [CloneStep::Open.into()]),
            self.stage("test every member while the clone takes writes", members, [GATE]),
        ]
    }

    /// Where nothing is exposed before the end, nobody depends on the change until then: it can be rolled back to its last step.
    fn can_return_to_the_end(&self) -> bool {
        self.goal.exposure.is_some()
    }

    /// Leads consumers to the service, and tests every member that takes requests then.
    fn expose(&self) -> [Stage; 2] {
        let members = self.topology.members().map(|(index, _)| index).collect();
        [
            self.stage("expose the service", Vec::new(), [EXPOSE]),
            self.stage("test every member with the service exposed", members, [GATE]),
        ]
    }
}
