//! What follows the loss of a failure domain: the lost nodes are held out, what is left is brought to one release, and spares take
//! the places of members where the law needs them.

use std::time::Duration;

use super::step::{is_admitted_as_spare, renewal, step};
use super::{Planned, site};
use crate::action::{Action, FilesAction, KnownGood, ServerAction, TrafficAction, WorkAction};
use crate::law::{self, Law, Phase};
use crate::machine::RunState;
use crate::plan::{CarriesOn, ChangeCommands, Degraded, DegradedWindow, Draft, Ends, Goal, Plan, Stage};
use crate::safety::prove;
use crate::state::{
    CloneStage, CloneStep, ClusterState, Facts, LoanKind, MemberState, Process, ReleaseId, ServerDomain, Traffic, Work,
};
use crate::topology::{AfterLoss, Node, NodeIx, Permille, Topology};

/// Plans the change of a run anew from what a loss has left, and proves it: finished with what is left, or taken back.
///
/// # Errors
/// What is in the way, where neither can be proven, or the change is one of files or routes: a person decides.
pub(crate) fn carry_on(topology: &Topology, plan: &Plan, run: &RunState, back: bool) -> Result<Planned, String> {
    if plan.goal.site.is_some() {
        return site::carry_on(topology, plan, run, back);
    }
    let mut steps = plan.stages.iter().flat_map(|stage| &stage.steps);
    let holds_files = steps.any(|step| matches!(step.action, Action::Files(action) if action != FilesAction::Release));
    if plan.goal.generation.is_some() || plan.goal.exposure.is_some() || holds_files {
        return Err("a change of shared files or routes is not carried on by itself".into());
    }
    let forward_only = match plan.carries_on() {
        Some(carried) => carried.forward_only,
        None => !run.targets.goes_back() && !run.may_return(plan),
    };
    let state = &run.cluster;
    let is_served = |to: ReleaseId| {
        let mut members = topology.members().filter(|(_, node)| !state.is_lost(node.domain));
        members.any(|(index, _)| state.node(index).release == Some(to) && law::is_exposed(state, index))
    };
    // What follows a loss is no change: it is brought to its end.
    let secures = plan.goal.release.is_none() && !plan.goes_back() && !back && !plan.start.lost().is_empty();
    // What consumers have already is kept where that can be proven; what they have not is taken back.
    let aims = match plan.goal.release {
        _ if back || is_moot(topology, plan, state) => vec![Aim::GoBack],
        Some(to) if !forward_only && (plan.goes_back() || run.targets.goes_back()) => {
            vec![Aim::GoBack, Aim::Finish(to)]
        }
        Some(to) if forward_only => vec![Aim::Finish(to)],
        Some(to) if is_served(to) => vec![Aim::Finish(to), Aim::GoBack],
        Some(to) => vec![Aim::GoBack, Aim::Finish(to)],
        None => vec![Aim::GoBack],
    };
    let recovery = |aim| Recovery {
        procedure: &plan.procedure,
        topology,
        facts: &plan.facts,
        start: state,
        known_good: &plan.known_good,
        began: plan.configured(),
        commands: &plan.commands,
        aim,
        windows: &plan.windows,
    };
    let finished = |aim, mut draft: Draft| {
        let mut carried = CarriesOn::new(plan.configured().clone(), aim == Aim::GoBack && !secures);
        carried.forward_only = forward_only;
        draft.carries_on = Some(Box::new(carried));
        draft.ends = recovery(aim).ends(plan);
        let next = Plan::from(draft);
        // Who is asked back, or was not approved, does not ask for that once more.
        if back { next } else { next.with_approvals_after(topology, plan, |stage, step| run.lies_ahead(stage, step)) }
    };
    let mut refused =
        String::from("what is left does not carry what is required after a loss, with every usable spare");
    // What needs no window comes first, whichever way it leads.
    let may_be_unprotected = topology.policy().after_loss == AfterLoss::Finish;
    for unprotected in [false, true].into_iter().filter(|unprotected| !unprotected || may_be_unprotected) {
        for aim in &aims {
            for draft in recovery(*aim).drafts() {
                let draft = if unprotected { recovery(*aim).unprotected(draft) } else { draft };
                let plan = finished(*aim, draft);
                match prove(topology, &plan) {
                    Ok(proof) => return Ok(Planned::new(plan, proof)),
                    Err(counterexample) => refused = counterexample.violation.to_string(),
                }
            }
        }
    }
    let otherwise = if may_be_unprotected { "" } else { ", or resume with policy.after_loss = \"finish\"" };
    Err(format!("{refused}; bring what is lost back and resume{otherwise}"))
}

/// Tells whether all that was to be changed is lost, and the rest had the goal's release when the run began: nothing is left to
/// finish, as where the member that was brought back is lost again.
fn is_moot(topology: &Topology, plan: &Plan, state: &ClusterState) -> bool {
    let is_lost = |node: NodeIx| state.is_lost(topology.node(node).domain);
    let known = |node: NodeIx| plan.known_good[node.index()].map(|known| known.release);
    let mut living = topology.members().map(|(node, _)| node).filter(|node| !is_lost(*node));
    let had_it = living.all(|node| known(node).is_some_and(|release| Some(release) == plan.goal.release));
    let changes = |stage: &&Stage| stage.steps.iter().any(|step| matches!(step.action, Action::Server(_)));
    let mut changed = plan.stages.iter().filter(changes).flat_map(|stage| stage.nodes.iter().copied());
    had_it && changed.all(|node| topology.node(node).spare || is_lost(node))
}

/// Returns in which phase a plan begins that starts in a state.
pub(super) fn phase_of(topology: &Topology, facts: &Facts, start: &ClusterState) -> Phase {
    let law = Law::new(topology, facts);
    let holds = |phase: &Phase| law.check(start, *phase).is_ok();
    [Phase::Quiet, Phase::Settled].into_iter().find(holds).unwrap_or(Phase::Shaken)
}

/// Where the living members are brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Aim {
    /// To the release of the change.
    Finish(ReleaseId),
    /// To what each had when the run began.
    GoBack,
}

/// A recovery from a state in which failure domains are lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery<'a> {
    pub(super) procedure: &'a str,
    pub(super) topology: &'a Topology,
    pub(super) facts: &'a Facts,
    pub(super) start: &'a ClusterState,
    pub(super) known_good: &'a [Option<KnownGood>],
    /// How the balancers are configured.
    pub(super) began: &'a ClusterState,
    pub(super) commands: &'a ChangeCommands,
    pub(super) aim: Aim,
    pub(super) windows: &'a [DegradedWindow],
}

/// Who stands by and who stands in when the recovery has ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Lineup {
    /// The members that are ready and out of traffic.
    standby: Vec<NodeIx>,
    /// The spares in the places of lost members.
    stand_in: Vec<NodeIx>,
}

impl Recovery<'_> {
    /// Lists the plans to try: those at whose end one more loss is survived before those at whose end it is not, and with few spares
    /// before many.
    pub(super) fn drafts(&self) -> Vec<Draft> {
        let law = Law::new(self.topology, self.facts);
        let mut lineups = Vec::new();
        for standby in self.standbys() {
            for stand_in in self.sets_of_spares() {
                lineups.push(Lineup { standby: standby.clone(), stand_in });
            }
        }
        let of = |lineup: &Lineup| {
            let end = self.end(lineup);
            law.settled(&end).is_ok().then(|| law.one_more_failure(&end).is_err())
        };
        let mut ranked: Vec<(bool, Lineup)> =
            lineups.into_iter().filter_map(|lineup| of(&lineup).map(|short| (short, lineup))).collect();
        ranked.sort_by_key(|(short, lineup)| (*short, lineup.stand_in.len()));
        ranked.truncate(MOST_PLANS);
        ranked.iter().map(|(_, lineup)| self.draft(lineup)).collect()
    }

    /// Declares that one more loss is not survived while a node that is left is changed.
    fn unprotected(&self, mut draft: Draft) -> Draft {
        let policy = self.topology.policy();
        let each = [policy.drain_deadline, policy.stop_deadline, policy.command_deadline, policy.ready_deadline];
        let at_most = each.into_iter().fold(Duration::from_secs(30), Duration::saturating_add);
        draft.windows.retain(|window| window.what != Degraded::OneMoreFailure);
        draft.windows.push(DegradedWindow::new(Degraded::OneMoreFailure, at_most));
        if draft.phase == Phase::Quiet {
            draft.phase = Phase::Settled;
        }
        draft
    }

    /// Says what its ends are called, in the words of the plan that it carries on.
    fn ends(&self, plan: &Plan) -> Ends {
        let mut ends = plan.ends.clone();
        let schema = plan.goal.schema.filter(|schema| self.facts.on_clone().is_none() && *schema != self.start.schema);
        if let Some(schema) = schema {
            ends.reached = format!("{}, the schema stays {} instead of {schema}", ends.reached, self.start.schema);
        }
        ends
    }

    pub(super) fn draft(&self, lineup: &Lineup) -> Draft {
        let goal = match self.aim {
            Aim::Finish(to) => Goal::of_release(to),
            Aim::GoBack => Goal::unchanged(),
        };
        let mut draft = Draft::new(self.procedure, self.topology, self.start.clone(), self.facts.clone(), goal);
        draft.phase = phase_of(self.topology, self.facts, self.start);
        draft.known_good = self.known_good.to_vec();
        draft.commands = self.commands.clone();
        draft.stages = self.stages(lineup);
        // A failure is planned anew, not compensated: what the run had done before the loss is not in this plan.
        draft.point_of_no_return = 0;
        draft.windows = self.windows.to_vec();
        draft
    }

    fn stages(&self, lineup: &Lineup) -> Vec<Stage> {
        let mut stages = Vec::new();
        let lost: Vec<NodeIx> = self.nodes(|node| self.start.is_lost(node.domain)).collect();
        stages.push(self.stage("hold what is lost out of every balancer", lost, [TrafficAction::Isolate.into()]));
        let members: Vec<NodeIx> = self.living_members().collect();
        let (exposed, out): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|node| law::is_exposed(self.start, *node) && self.must_restart(*node));
        for node in out {
            let actions = self.member(node, lineup);
            if !actions.is_empty() {
                stages.push(self.stage("bring a member to where it belongs", vec![node], actions));
            }
        }
        for spare in &lineup.stand_in {
            let mut actions = self.bring(*spare);
            if is_admitted_as_spare(self.topology, self.start, *spare) || lineup.must_serve(self) {
                actions.push(TrafficAction::Admit.into());
            }
            actions.push(TrafficAction::StandIn.into());
            stages.push(self.stage("put a spare into the place of a lost member", vec![*spare], actions));
        }
        for node in exposed {
            stages.push(self.stage("change an active node", vec![node], self.member(node, lineup)));
        }
        let retired = self.nodes(|node| node.spare && !self.start.is_lost(node.domain));
        let retired = retired.filter(|spare| !lineup.stand_in.contains(spare) && self.is_in_use(*spare));
        for spare in retired {
            let actions = [TrafficAction::TakeOut.into(), ServerAction::Stop.into()];
            let renewed = self.renewal(spare);
            stages.push(self.stage("retire a spare", vec![spare], actions.into_iter().chain(renewed)));
        }
        stages.extend(self.end_of_clone());
        stages
    }

    /// Brings the copies of a database that is being cloned to where the members are brought.
    fn end_of_clone(&self) -> Option<Stage> {
        let copies = self.start.copies;
        if self.facts.on_clone().is_none() || copies.is_single() || copies.clone == CloneStage::Open {
            return None;
        }
        Some(match self.aim {
            Aim::Finish(_) => self.stage("take writes to the clone", Vec::new(), [CloneStep::Open.into()]),
            Aim::GoBack => {
                let back = [CloneStep::Drop, CloneStep::Thaw].map(Action::from);
                self.stage("give the database back to its writers", Vec::new(), back)
            }
        })
    }

    fn stage(&self, name: &str, nodes: Vec<NodeIx>, actions: impl IntoIterator<Item = Action>) -> Stage {
        let policy = self.topology.policy();
        Stage::new(name, nodes, actions.into_iter().map(|action| step(action, policy)).collect())
    }

    /// Lists what brings a member to its release and to its place; nothing where it is there.
    fn member(&self, node: NodeIx, lineup: &Lineup) -> Vec<Action> {
        let state = self.start.node(node);
        let (stands_by, exposed) = (lineup.standby.contains(&node), law::is_exposed(self.start, node));
        let restart = self.must_restart(node);
        let in_place = if stands_by {
            !exposed
        } else {
            self.start.members(node).iter().all(|member| member.traffic == member.admitted())
        };
        let lent = state.loans.iter().next().is_some();
        if !restart && state.is_tested() && in_place && !lent {
            return Vec::new();
        }
        let quiesces = restart && state.work == Work::On;
        let mut actions = Vec::new();
        if exposed && (restart || stands_by) {
            actions.push(TrafficAction::TakeOut.into());
        }
        actions.extend(quiesces.then_some(Action::Work(WorkAction::Quiesce)));
        actions.extend(self.bring(node));
        if stands_by {
            actions.push(TrafficAction::StandBy.into());
        } else {
            actions.push(TrafficAction::Admit.into());
            let cold = self.topology.node(node).warm_up < Permille::WHOLE;
            let soaks = restart && (cold || !self.topology.policy().soak.is_zero());
            actions.extend(soaks.then_some(Action::Server(ServerAction::Soak)));
        }
        let resumes = quiesces || state.loans.contains(LoanKind::WorkPaused);
        actions.extend(resumes.then_some(Action::Work(WorkAction::Resume)));
        actions
    }

    /// Lists what makes a node, out of traffic, ready and tested with its release.
    fn bring(&self, node: NodeIx) -> Vec<Action> {
        let state = self.start.node(node);
        let mut actions = Vec::new();
        if self.must_restart(node) {
            if !matches!(state.process, Process::Stopped | Process::Absent) {
                actions.push(ServerAction::Stop.into());
            }
            actions.extend(self.install(node));
            actions.push(ServerAction::Start.into());
        }
        actions.push(ServerAction::Gate.into());
        actions
    }

    /// Lists what installs a node's release. A change that may be there in half is taken back first.
    fn install(&self, node: NodeIx) -> Vec<Action> {
        let state = self.start.node(node);
        let known = self.known_good[node.index()].map(|known| known.release);
        let Some(to) = self.release_of(node) else { return Vec::new() };
        let restore = |to| Action::Server(ServerAction::Restore { to });
        match (state.half_changed || state.release.is_none(), known) {
            (true, Some(known)) if known != to => vec![restore(known), ServerAction::Apply { to }.into()],
            (true, _) => vec![restore(to)],
            (false, _) if state.release == Some(to) => Vec::new(),
            (false, Some(known)) if known == to => vec![restore(to)],
            (false, _) => vec![ServerAction::Apply { to }.into()],
        }
    }

    /// Brings a retired spare, which is stopped by then, to the release of the members: the next change finds it as they are.
    fn renewal(&self, spare: NodeIx) -> Vec<Action> {
        let Aim::Finish(to) = self.aim else { return Vec::new() };
        if self.start.node(spare).release == Some(to) && !self.start.node(spare).half_changed {
            return Vec::new();
        }
        renewal(to).into()
    }

    /// Returns the release that a node has at the end.
    fn release_of(&self, node: NodeIx) -> Option<ReleaseId> {
        let (state, known) = (self.start.node(node), self.known_good[node.index()].map(|known| known.release));
        match self.aim {
            Aim::Finish(to) if !self.topology.node(node).spare => Some(to),
            // A spare that can be trusted stays as it is: it is the reserve meanwhile.
            Aim::Finish(to) => state.release.filter(|_| !state.half_changed).or(Some(to)),
            Aim::GoBack => known.or(state.release),
        }
    }

    fn must_restart(&self, node: NodeIx) -> bool {
        let state = self.start.node(node);
        !state.process.is_ready()
            || state.server_domain == ServerDomain::Test
            || state.half_changed
            || state.release.is_none()
            || state.release != self.release_of(node)
    }

    fn is_in_use(&self, spare: NodeIx) -> bool {
        let state = self.start.node(spare);
        state.loans.iter().next().is_some() || law::is_exposed(self.start, spare)
    }

    fn nodes(&self, of: impl Fn(&Node) -> bool) -> impl Iterator<Item = NodeIx> {
        let home = self.topology.nodes().filter(move |(_, node)| self.topology.is_home(node) && of(node));
        home.map(|(index, _)| index)
    }

    fn living_members(&self) -> impl Iterator<Item = NodeIx> {
        let living = self.nodes(|node| !node.spare && !self.start.is_lost(node.domain));
        living.filter(|node| !self.is_joining(*node))
    }

    /// Tells whether a node was about to become a member and is none yet: it is left as it is, held out.
    fn is_joining(&self, node: NodeIx) -> bool {
        let state = self.start.node(node);
        let tested = state.process.is_ready() && state.is_tested();
        self.known_good[node.index()].is_none() && !law::is_exposed(self.start, node) && !tested
    }

    /// Lists who may stand by: as many members as did when the run began, less the lost ones; and, should the rest not carry what it
    /// must, nobody.
    fn standbys(&self) -> Vec<Vec<NodeIx>> {
        let held_out = |node: &NodeIx| self.began.members(*node).iter().all(|member| member.is_out());
        let members = self.nodes(|node| !node.spare).filter(|node| !self.is_joining(*node));
        let stood_by = members.filter(held_out).count();
        let lost = self.nodes(|node| !node.spare && self.start.is_lost(node.domain)).count();
        let mut out: Vec<NodeIx> = self.living_members().filter(|node| !law::is_exposed(self.start, *node)).collect();
        let count = stood_by.saturating_sub(lost).min(out.len());
        let standby = out.split_off(out.len() - count);
        if standby.is_empty() { vec![standby] } else { vec![standby, Vec::new()] }
    }

    /// Lists the sets of spares that may stand in: none, those in use, each of the others beside them, all.
    fn sets_of_spares(&self) -> Vec<Vec<NodeIx>> {
        let usable =
            |spare: &NodeIx| self.release_of(*spare).is_some() && self.start.node(*spare).process != Process::Absent;
        let living = self.nodes(|node| node.spare && !self.start.is_lost(node.domain)).filter(usable);
        let (used, idle): (Vec<_>, Vec<_>) = living.partition(|spare| self.is_in_use(*spare));
        let mut sets = vec![Vec::new(), used.clone()];
        sets.extend(used.iter().map(|spare| vec![*spare]));
        sets.extend(idle.iter().map(|spare| used.iter().copied().chain([*spare]).collect()));
        sets.push(used.into_iter().chain(idle).collect());
        sets.dedup();
        sets
    }

    /// Returns the state in which the recovery ends.
    fn end(&self, lineup: &Lineup) -> ClusterState {
        let mut end = self.start.clone();
        let mut put = |node: NodeIx, traffic: &dyn Fn(MemberState) -> Traffic| {
            let release = self.release_of(node);
            let state = end.node_mut(node);
            (state.process, state.server_domain) = (Process::Ready { warm: true }, ServerDomain::Production);
            (state.under_change, state.half_changed, state.release) = (false, false, release);
            if let Some(release) = release {
                state.tested.insert(release);
            }
            end.set_traffic_everywhere(node, traffic);
        };
        for node in self.living_members() {
            let stands_by = lineup.standby.contains(&node);
            put(node, &|member| if stands_by { Traffic::Out } else { member.admitted() });
        }
        for spare in &lineup.stand_in {
            let serves = is_admitted_as_spare(self.topology, self.start, *spare) || lineup.must_serve(self);
            put(*spare, &|member| if serves { member.admitted() } else { Traffic::Out });
        }
        for node in self.nodes(|node| self.start.is_lost(node.domain)) {
            end.set_traffic_everywhere(node, |_| Traffic::Out);
        }
        for spare in self.nodes(|node| node.spare).filter(|spare| !lineup.stand_in.contains(spare)) {
            end.set_traffic_everywhere(spare, |_| Traffic::Out);
            if self.is_in_use(spare) {
                end.node_mut(spare).process = Process::Stopped;
            }
        }
        end
    }
}

impl Lineup {
    /// Tells whether the spares that stand in must serve: where no member is left that does.
    fn must_serve(&self, recovery: &Recovery<'_>) -> bool {
        recovery.living_members().all(|node| self.standby.contains(&node))
    }
}

/// How many plans are tried a direction: each takes as long as its proof.
const MOST_PLANS: usize = 8;
