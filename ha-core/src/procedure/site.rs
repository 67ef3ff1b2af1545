//! What the changes of sites have in common: bringing the servers of a site, leading consumers from one to another, and the window
//! that follows from what was measured.

use std::time::Duration;

use super::recover::phase_of;
use super::step::{reload_exposure, step};
use super::{PlanError, Planned};
use crate::action::{Action, FilesAction, KnownGood, ServerAction, SiteAction, TrafficAction, WorkAction};
use crate::law::{self, Law};
use crate::machine::RunState;
use crate::plan::{CarriesOn, ChangeCommands, Degraded, DegradedWindow, Draft, Goal, Plan, Stage, Step};
use crate::safety::prove;
use crate::state::{ClusterState, Facts, GenerationId, MemberState, Process, ReleaseId, Site, Work};
use crate::topology::{Node, NodeIx, Permille, Role, SiteIx, Topology};

/// The names of the two procedures that lead consumers to another site: a run that meets a loss goes on by its name.
pub(super) const SITE_LOSS: &str = "site loss";
pub(super) const FAIL_BACK: &str = "fail back";

/// Tells whether a procedure leads consumers to another site.
pub(crate) fn is_change_of_sites(procedure: &str) -> bool {
    [SITE_LOSS, FAIL_BACK].contains(&procedure)
}

/// How often a step of a change of sites is tried: nobody serves meanwhile.
const ATTEMPTS: u8 = 3;

/// A change from one site to another, from a state on.
#[derive(Clone, Copy, Debug)]
pub(super) struct SiteChange<'a> {
    pub(super) topology: &'a Topology,
    pub(super) facts: &'a Facts,
    pub(super) state: &'a ClusterState,
    pub(super) commands: &'a ChangeCommands,
    pub(super) from: SiteIx,
    pub(super) to: SiteIx,
    /// Whether writes that only the returning site has may go.
    pub(super) discard: bool,
}

impl SiteChange<'_> {
    /// Lists the stages that follow the loss of the one site: it is fenced, the other is promoted and brought, and consumers are led
    /// there as soon as it carries what it must.
    pub(super) fn after_a_loss(&self) -> Vec<Stage> {
        let mut stages = Vec::new();
        if self.site(self.from) != Site::Quarantined {
            stages.push(self.on_site("fence the lost site", [SiteAction::Fence { site: self.from }]));
        }
        if !self.site(self.to).writes() {
            stages.push(
                self.on_site("let the other site's database take writes", [SiteAction::Promote { site: self.to }]),
            );
        }
        let open = self.on_site("lead consumers to the other site", [SiteAction::Open { site: self.to }]);
        let serves = self.site(self.to) == Site::Serving;
        let (needed, others) = self.needed();
        stages.extend(self.bring(&needed));
        if !serves {
            stages.push(open);
        }
        stages.extend(self.bring_wave("bring the servers that are left", &others));
        stages.extend(self.resume_work());
        stages
    }

    /// Lists the stages that lead consumers back to a site that was lost, and how many of them can be taken back.
    pub(super) fn back(&self) -> (Vec<Stage>, usize) {
        let (mut stages, mut no_return) = (Vec::new(), 0);
        let serves = self.site(self.to) == Site::Serving;
        if !serves {
            stages.extend(self.rebuilt());
            let members: Vec<NodeIx> = self.living(self.to).collect();
            stages.extend(self.bring(&members));
            let (from, to) = (self.from, self.to);
            let mut switch = Vec::new();
            if self.site(from) == Site::Serving {
                switch.push(SiteAction::Hold { site: from });
            }
            if self.site(from).writes() {
                switch.push(SiteAction::Demote { site: from });
            }
            if !self.site(to).writes() {
                switch.push(SiteAction::Promote { site: to });
            }
            stages.push(self.on_site("change over while consumers wait", switch));
            // Who cannot lead them there cannot lead them back either.
            no_return = stages.len();
            stages.push(self.on_site("lead consumers back", [SiteAction::Open { site: to }]));
        }
        stages.extend(self.resume_work());
        stages.extend(self.stand_by());
        (stages, no_return)
    }

    /// Lists the stages that lead consumers to where they were, when they cannot be led on.
    fn as_before(&self) -> Vec<Stage> {
        let from = self.from;
        let mut back = Vec::new();
        if self.site(self.to).writes() {
            // What it has taken by itself meanwhile has to be where consumers are led: the other follows it first.
            back.push(SiteAction::Hold { site: self.to });
            if !self.site(from).writes() {
                back.push(SiteAction::Follow { site: from, to: self.standing_by(from), discard: false });
            }
            back.push(SiteAction::Demote { site: self.to });
        }
        if !self.site(from).writes() {
            back.push(SiteAction::Promote { site: from });
        }
        if self.site(from) != Site::Serving {
            back.push(SiteAction::Open { site: from });
        }
        let mut stages = Vec::new();
        if !back.is_empty() {
            stages.push(self.on_site("lead consumers to where they were", back));
        }
        let lost = self.topology.members_in(self.to).filter(|(_, node)| self.state.is_lost(node.domain));
        let lost: Vec<NodeIx> = lost.map(|(index, _)| index).collect();
        if !lost.is_empty() {
            let isolate = vec![self.step(TrafficAction::Isolate.into())];
            stages.push(Stage::new("hold what is lost out of every balancer", lost, isolate));
        }
        stages.extend(self.retired(self.to));
        stages
    }

    /// Brings the database and the servers of the returning site to what the other has.
    fn rebuilt(&self) -> Vec<Stage> {
        let mut stages = Vec::new();
        if !self.is_rebuilt() {
            return stages;
        }
        // What came back by itself has the old data.
        stages.extend(self.retired(self.to));
        let follow = SiteAction::Follow { site: self.to, to: self.standing_by(self.to), discard: self.discard };
        stages.push(self.on_site("let the returning site follow the other", [follow]));
        stages
    }

    /// Makes the site that has served the standby of the other.
    fn stand_by(&self) -> Vec<Stage> {
        let to = self.standing_by(self.from);
        if self.site(self.from) == to {
            return Vec::new();
        }
        let mut stages = if to == Site::Hot { Vec::new() } else { self.retired(self.from) };
        let follow = SiteAction::Follow { site: self.from, to, discard: false };
        stages.push(self.on_site("let the site that has served stand by", [follow]));
        stages
    }

    /// Takes the servers of a site out of its balancers and stops them.
    fn retired(&self, site: SiteIx) -> Vec<Stage> {
        let runs = |node: &NodeIx| !matches!(self.state.node(*node).process, Process::Stopped | Process::Absent);
        let exposed: Vec<NodeIx> = self.living(site).filter(|node| law::is_exposed(self.state, *node)).collect();
        let running: Vec<NodeIx> = self.living(site).filter(runs).collect();
        let name = &self.topology.site(site).name;
        let steps = |actions: &[Action]| actions.iter().map(|action| self.step(*action)).collect();
        let (both, only): (Vec<_>, Vec<_>) = running.iter().copied().partition(|node| exposed.contains(node));
        let idle: Vec<NodeIx> = exposed.into_iter().filter(|node| !running.contains(node)).collect();
        let (out, stop) = (Action::from(TrafficAction::TakeOut), Action::from(ServerAction::Stop));
        let waves = [(both, vec![out, stop]), (only, vec![stop]), (idle, vec![out])];
        let waves = waves.into_iter().filter(|(nodes, _)| !nodes.is_empty());
        waves
            .map(|(nodes, actions)| Stage::new(format!("stop the servers of site {name}"), nodes, steps(&actions)))
            .collect()
    }

    /// Splits the living members of the site into those with which it carries what it must, in their order, and the others.
    fn needed(&self) -> (Vec<NodeIx>, Vec<NodeIx>) {
        let members: Vec<NodeIx> = self.living(self.to).collect();
        let law = Law::new(self.topology, self.facts);
        let mut next = self.state.clone();
        if let Some(known) = next.sites.get_mut(self.to.index()) {
            known.site = Site::Promoted;
        }
        for (count, node) in members.iter().enumerate() {
            if law.site_carries(&next, self.to) {
                let (needed, others) = members.split_at(count);
                return (needed.to_vec(), others.to_vec());
            }
            let state = next.node_mut(*node);
            state.process = Process::Ready { warm: self.topology.node(*node).warm_up == Permille::WHOLE };
            if let Some(release) = state.release {
                state.tested.insert(release);
            }
            next.set_traffic_everywhere(*node, MemberState::admitted);
        }
        (members, Vec::new())
    }

    /// Brings servers in order: the first, which may have to prepare what the others share, by itself.
    fn bring(&self, nodes: &[NodeIx]) -> Vec<Stage> {
        let Some((first, others)) = nodes.split_first() else { return Vec::new() };
        let mut stages = self.bring_wave("bring the first server", &[*first]);
        stages.extend(self.bring_wave("bring the other servers", others));
        stages
    }

    fn bring_wave(&self, name: &str, nodes: &[NodeIx]) -> Vec<Stage> {
        let mut waves: Vec<(Vec<Action>, Vec<NodeIx>)> = Vec::new();
        for node in nodes {
            let actions = self.what_brings(*node);
            match waves.iter_mut().find(|(known, _)| *known == actions) {
                Some((_, nodes)) => nodes.push(*node),
                None => waves.push((actions, vec![*node])),
            }
        }
        let waves = waves.into_iter().filter(|(actions, _)| !actions.is_empty());
        waves
            .map(|(actions, nodes)| {
                Stage::new(name, nodes, actions.into_iter().map(|action| self.step(action)).collect())
            })
            .collect()
    }

    fn what_brings(&self, node: NodeIx) -> Vec<Action> {
        let state = self.state.node(node);
        let runs = state.process.is_ready() && !self.is_stopped_before(node);
        let mut actions = Vec::new();
        if !runs {
            if let Some(to) = self.members_release().filter(|release| state.release != Some(*release)) {
                actions.push(ServerAction::Apply { to }.into());
            }
            if let Some(to) = self.members_generation().filter(|generation| state.generation != Some(*generation)) {
                actions.push(FilesAction::Deploy { to }.into());
            }
            actions.push(ServerAction::Start.into());
        }
        if !(runs && state.is_tested()) {
            actions.push(ServerAction::Gate.into());
        }
        let admitted = self.state.members(node).iter().all(|member| member.traffic == member.admitted());
        if !(runs && admitted) {
            actions.push(TrafficAction::Admit.into());
        }
        actions
    }

    /// Tells whether a node is stopped by the plan before it is brought: its site is rebuilt.
    fn is_stopped_before(&self, node: NodeIx) -> bool {
        self.topology.node(node).site == Some(self.to) && self.is_rebuilt()
    }

    fn is_rebuilt(&self) -> bool {
        matches!(self.site(self.to), Site::Quarantined | Site::Cold) && self.site(self.from).writes()
    }

    /// Resumes the pulled work of the site that serves.
    fn resume_work(&self) -> Vec<Stage> {
        let pulls = |node: &NodeIx| {
            self.topology.node(*node).component(Role::Work).is_some() && self.state.node(*node).work != Work::On
        };
        let nodes: Vec<NodeIx> = self.living(self.to).filter(pulls).collect();
        if nodes.is_empty() {
            return Vec::new();
        }
        vec![Stage::new("pull work again", nodes, vec![self.step(WorkAction::Resume.into())])]
    }

    /// Returns the release that the site has which is replaced: what the other is brought to, where it is known and differs.
    pub(super) fn members_release(&self) -> Option<ReleaseId> {
        let mut releases = self.living(self.from).filter_map(|node| self.state.node(node).release);
        let first = releases.next()?;
        releases.all(|release| release == first).then_some(first)
    }

    pub(super) fn members_generation(&self) -> Option<GenerationId> {
        self.topology.files()?;
        let mut all = self.living(self.from).filter_map(|node| self.state.node(node).generation);
        let first = all.next()?;
        all.all(|generation| generation == first).then_some(first)
    }

    pub(super) fn living(&self, site: SiteIx) -> impl Iterator<Item = NodeIx> {
        let members = self.topology.members_in(site).filter(|(_, node)| !self.state.is_lost(node.domain));
        members.map(|(index, _)| index)
    }

    /// What a site is beside the one that serves.
    fn standing_by(&self, site: SiteIx) -> Site {
        Site::standing_by(self.topology.site(site).role)
    }

    pub(super) fn site(&self, site: SiteIx) -> Site {
        self.state.sites.get(site.index()).map_or(Site::Quarantined, |known| known.site)
    }

    /// A server that did not start is started once more: nothing of it serves meanwhile.
    fn step(&self, action: Action) -> Step {
        let step = step(action, self.topology.policy());
        if action == ServerAction::Start.into() { step.with_attempts(2) } else { step }
    }

    fn on_site(&self, name: &str, actions: impl IntoIterator<Item = SiteAction>) -> Stage {
        let step = |action: SiteAction| self.step(action.into()).with_attempts(ATTEMPTS);
        Stage::new(name, Vec::new(), actions.into_iter().map(step).collect())
    }

    /// Closes a plan of these stages.
    pub(super) fn draft(&self, procedure: &str, stages: Vec<Stage>, no_return: usize, what: Degraded) -> Draft {
        let goal = Goal::of_site(self.to);
        let mut draft = Draft::new(procedure, self.topology, self.state.clone(), self.facts.clone(), goal);
        draft.phase = phase_of(self.topology, self.facts, self.state);
        draft.commands = self.commands.clone();
        for (index, _) in self.topology.members_in(self.to) {
            draft.known_good[index.index()] = known_out(self.state, index);
        }
        draft.windows = vec![self.window(&stages, what), reload_exposure()];
        draft.point_of_no_return = no_return;
        draft.stages = stages;
        draft
    }

    /// Computes for how long at most no site serves: the sum over the steps until consumers are led on, each as long as the last
    /// drill has measured it, doubled, or as its deadline allows where no drill has.
    fn window(&self, stages: &[Stage], what: Degraded) -> DegradedWindow {
        let steps: Vec<Action> = stages.iter().flat_map(|stage| &stage.steps).map(|step| step.action).collect();
        let opens = |action: &Action| matches!(action, Action::Site(SiteAction::Open { .. }));
        let holds = |action: &Action| matches!(action, Action::Site(SiteAction::Hold { .. }));
        let until = steps.iter().position(opens).map_or(steps.len(), |at| at + 1);
        let from = if what == Degraded::ConsumersWait { steps.iter().position(holds).unwrap_or(0) } else { 0 };
        let each = steps[from.min(until)..until].iter().map(|action| self.term(*action));
        DegradedWindow::new(what, each.fold(Duration::ZERO, Duration::saturating_add))
    }

    fn term(&self, action: Action) -> Duration {
        let measured = self.facts.drill.as_ref().and_then(|drill| drill.took(action.name()));
        measured.map_or_else(
            || action.deadline(self.topology.policy()),
            |took| took.saturating_mul(2).max(Duration::from_secs(1)),
        )
    }
}

/// Plans a change of sites anew from what one more loss has left.
///
/// # Errors
/// Why nothing can be proven: a person decides.
pub(super) fn carry_on(topology: &Topology, plan: &Plan, run: &RunState, back: bool) -> Result<Planned, String> {
    let Some(to) = plan.goal.site else { return Err("the plan leads to no site".into()) };
    let state = &run.cluster;
    let was =
        |site: &SiteIx| plan.configured().sites.get(site.index()).is_some_and(|known| known.site == Site::Serving);
    let others: Vec<SiteIx> = topology.site_indices().filter(|site| *site != to).collect();
    let from = others.iter().copied().find(was).or(others.first().copied()).ok_or("there is no other site")?;
    let (facts, commands) = (&plan.facts, &plan.commands);
    // What a person has let go, and nothing else.
    let lets_go =
        |step: &Step| matches!(step.action, Action::Site(SiteAction::Follow { site, discard: true, .. }) if site == to);
    let discard = plan.stages.iter().flat_map(|stage| &stage.steps).any(lets_go);
    let change = SiteChange { topology, facts, state, commands, from, to, discard };
    let (mut drafts, serves) = (Vec::new(), change.site(to) == Site::Serving);
    if plan.procedure == SITE_LOSS {
        drafts.push((change.draft(SITE_LOSS, change.after_a_loss(), 0, Degraded::NoSite), false));
    } else {
        let (stages, _) = change.back();
        let forward = change.draft(FAIL_BACK, stages, 0, Degraded::ConsumersWait);
        let mut undone = change.draft(FAIL_BACK, change.as_before(), 0, Degraded::ConsumersWait);
        undone.goal = Goal::of_site(from);
        if serves && back {
            return Err("consumers are led there already".into());
        } else if serves {
            drafts.push((forward, false));
        } else if back {
            drafts.push((undone, true));
        } else if run.targets.goes_back() {
            drafts.extend([(undone, true), (forward, false)]);
        } else {
            drafts.extend([(forward, false), (undone, true)]);
        }
    }
    let mut refused = String::new();
    for (mut draft, is_back) in drafts {
        draft.known_good.clone_from(&plan.known_good);
        draft.ends = plan.ends.clone();
        // Until consumers are led there, they can be led to where they were.
        let forward_only = !is_back && (serves || plan.procedure == SITE_LOSS);
        let carried = CarriesOn { forward_only, ..CarriesOn::new(plan.configured().clone(), is_back) };
        draft.carries_on = Some(Box::new(carried));
        let mut next = Plan::from(draft);
        if !back {
            next = next.with_approvals_after(topology, plan, |stage, step| run.lies_ahead(stage, step));
        }
        match prove(topology, &next) {
            Ok(proof) => return Ok(Planned::new(next, proof)),
            Err(counterexample) => refused = counterexample.violation.to_string(),
        }
    }
    Err(format!("{refused}; bring what is lost back and resume"))
}

/// Finds a site by name.
pub(super) fn find(topology: &Topology, name: &str) -> Result<SiteIx, PlanError> {
    topology.find_site(name).ok_or_else(|| {
        let known: Vec<&str> = topology.sites().iter().map(|site| site.name.as_str()).collect();
        let known = if known.is_empty() { "none is declared ([[site]])".into() } else { known.join(", ") };
        PlanError::Incomplete(format!("there is no site {name}; the sites are: {known}"))
    })
}

/// Says that a site is not ready.
pub(super) fn not_ready(
    topology: &Topology,
    site: SiteIx,
    what: impl Into<String>,
    fix: impl Into<String>,
) -> PlanError {
    let node = format!("site {}", topology.site(site).name);
    PlanError::NotReady { node, what: what.into(), fix: fix.into() }
}

/// Makes sure that something leads consumers and that each of these sites has its copy of the database.
pub(super) fn check_declared(topology: &Topology, sites: &[SiteIx]) -> Result<(), PlanError> {
    if topology.switch().is_none() {
        return Err(PlanError::Incomplete("nothing leads consumers from one site to another: declare [switch]".into()));
    }
    for site in sites {
        if topology.site(*site).component(Role::Replica).is_none() {
            let fix = "declare what drives it as [site.replica]";
            return Err(not_ready(topology, *site, "no copy of the database is declared for it", fix));
        }
    }
    Ok(())
}

/// Makes sure that the members of a site can be used, and that they carry together what is required after a loss.
pub(super) fn check_members(change: &SiteChange<'_>, site: SiteIx) -> Result<(), PlanError> {
    let topology = change.topology;
    for (index, node) in topology.members_in(site).filter(|(_, node)| !change.state.is_lost(node.domain)) {
        let fix = |node: &Node| format!("make {} reachable, or install its server, then plan again", node.name);
        match change.state.node(index).process {
            Process::Unknown => {
                return Err(not_ready(topology, site, format!("{} cannot be read", node.name), fix(node)));
            }
            Process::Absent => {
                return Err(not_ready(topology, site, format!("no server is installed on {}", node.name), fix(node)));
            }
            Process::Stopped | Process::Starting | Process::Ready { .. } | Process::Sick => {}
        }
    }
    for (pool, declared) in topology.pools().filter(|(_, pool)| pool.site == Some(site)) {
        let living = topology.members_of(pool).filter(|(_, node, _)| !change.state.is_lost(node.domain));
        let has = living.map(|(.., port)| port.capacity).fold(0, u64::saturating_add);
        let required = declared.required_after_loss();
        if has < required {
            let what = format!("its pool {} has capacity {has}, {required} is required after a loss", declared.name);
            return Err(not_ready(topology, site, what, "add nodes to it, or declare what is true as pool.peak_load"));
        }
    }
    if !topology.pools().any(|(_, pool)| pool.site == Some(site)) {
        return Err(not_ready(topology, site, "it has no pool", "declare its entrance as [[pool]] with site"));
    }
    Ok(())
}

/// Names where a rollback of the servers of a site leads: out of traffic, with what they have.
pub(super) fn known_out(state: &ClusterState, node: NodeIx) -> Option<KnownGood> {
    let known = state.node(node).release.map(|release| KnownGood::new(release, false).stopped());
    known.map(|known| state.node(node).generation.map_or(known, |generation| known.with_files(generation, None)))
}
