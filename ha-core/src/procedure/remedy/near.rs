//! The plans that lie near a refused one: those that differ by one change.

use std::time::Duration;

use super::amendment::{Amendment, no_return_stays};
use crate::action::{Action, FilesAction, SchemaAction, ServerAction, SiteAction, TrafficAction, WorkAction};
use crate::law::{self, Phase};
use crate::plan::{Degraded, DegradedWindow, Plan, Stage, Step};
use crate::procedure::step::{is_admitted_as_spare, reload_exposure, step};
use crate::state::{Process, Schema, Site, Sync, Work};
use crate::topology::{NodeIx, Topology};

/// What is made together, and counts as one change.
pub(super) type Change = Vec<Amendment>;

/// Up to so many nodes each may get a stage of its own at the end.
const FEW: usize = 16;

/// A plan, and what may be changed in it.
#[derive(Clone, Copy)]
pub(super) struct Near<'a> {
    pub(super) topology: &'a Topology,
    pub(super) plan: &'a Plan,
}

impl Near<'_> {
    /// Lists the changes at the place where the law breaks, in the order in which they are preferred: files are held, a stage or a
    /// step is moved, a wave is split, a step is added, a spare that is declared is brought, a window is declared.
    pub(super) fn at(self, place: (usize, usize)) -> Vec<Change> {
        let (stage, at) = (place.0.min(self.plan.stages.len()), place.1);
        let mut changes = self.holds(stage);
        changes.extend(self.as_the_others());
        changes.extend(self.moves_of_stage(stage));
        changes.extend(self.moves_of_steps(stage, Some(at)));
        changes.extend(self.splits(stage));
        changes.extend(self.admits(stage));
        changes.extend(self.added_steps(stage, [at, at + 1, usize::MAX]));
        changes.extend(self.stages_at_the_end());
        changes.extend(self.gates());
        changes.extend(self.drains());
        changes.extend(self.hands_writer(stage));
        changes.extend(self.expands(stage));
        changes.extend(self.site_steps(stage, at));
        changes.extend(self.spares());
        changes.extend(self.windows());
        changes
    }

    /// Lists the changes that bring capacity to the place where it is short.
    pub(super) fn more_capacity(self, place: (usize, usize)) -> Vec<Change> {
        let stage = place.0.min(self.plan.stages.len());
        self.splits(stage).into_iter().chain(self.admits(stage)).chain(self.spares()).collect()
    }

    /// Lists the changes anywhere, each made when it is asked for: there may be very many.
    pub(super) fn anywhere(self) -> impl Iterator<Item = Change> {
        let stages = 0..self.plan.stages.len();
        let to = stages.clone();
        let moved = stages.clone().flat_map(move |from| to.clone().flat_map(move |to| self.move_stage(from, to)));
        let steps = stages.clone().flat_map(move |stage| self.moves_of_steps(stage, None));
        let holds = stages.clone().flat_map(move |stage| self.holds(stage));
        let splits = stages.clone().flat_map(move |stage| self.splits(stage));
        let added = stages.flat_map(move |stage| {
            let count = self.plan.stages[stage].steps.len();
            self.added_steps(stage, 0..=count)
        });
        holds.chain(moved).chain(steps).chain(splits).chain(added)
    }

    fn stage(self, name: &str, nodes: Vec<NodeIx>, actions: &[Action]) -> Stage {
        Stage::new(name, nodes, actions.iter().map(|action| step(*action, self.topology.policy())).collect())
    }

    fn holds(self, stage: usize) -> Vec<Change> {
        let synced = self.plan.start.nodes().filter(|(_, node)| node.sync != Sync::None).map(|(index, _)| index);
        let synced: Vec<NodeIx> = synced.collect();
        if self.topology.files().is_none() || synced.is_empty() {
            return Vec::new();
        }
        let hold = self.stage("hold every file sync", synced, &[FilesAction::Hold.into()]);
        vec![vec![Amendment::AddStage { at: stage, stage: hold, forward_only: false }]]
    }

    /// A step that a stage lacks and one like it has, after the same step; and a stage for members that the plan forgets, like that of
    /// another one.
    fn as_the_others(self) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        let stages = || self.plan.stages.iter().enumerate();
        let changed = |stage: &Stage| stage.steps.iter().any(|step| changes_a_node(step.action));
        for (number, stage) in stages().filter(|(_, stage)| !stage.nodes.is_empty()) {
            for (_, like) in stages().filter(|(other, like)| *other != number && changed(like)) {
                let lacks = |step: &Step| stage.steps.iter().all(|there| there.action != step.action);
                let lacking: Vec<usize> = (0..like.steps.len()).filter(|at| lacks(&like.steps[*at])).collect();
                if lacking.len() * 2 >= like.steps.len() {
                    continue;
                }
                for at in lacking {
                    let before = like.steps[..at].iter().rev();
                    let place = |step: &Step| stage.steps.iter().position(|there| there.action == step.action);
                    let at_there = before.filter_map(place).next().map_or(0, |place| place + 1);
                    let change = vec![Amendment::AddStep { stage: number, at: at_there, step: like.steps[at] }];
                    if !changes.contains(&change) {
                        changes.push(change);
                    }
                }
            }
        }
        let reached = |node: NodeIx| stages().any(|(_, stage)| changed(stage) && stage.nodes.contains(&node));
        let forgotten = self.topology.members().map(|(node, _)| node).filter(|node| !reached(*node));
        let forgotten: Vec<NodeIx> = forgotten.collect();
        for (number, like) in stages().filter(|(_, like)| changed(like) && !forgotten.is_empty()) {
            for at in [number, number + 1] {
                let stage = Stage::new(like.name.clone(), forgotten.clone(), like.steps.clone());
                changes.push(vec![Amendment::AddStage { at, stage, forward_only: false }]);
            }
        }
        changes
    }

    /// A stage that is moved later takes the point of no return with it where it is the first one behind it; or leaves it where it is.
    /// It never comes earlier: less could be rolled back then.
    fn move_stage(self, from: usize, to: usize) -> Vec<Change> {
        if from == to {
            return Vec::new();
        }
        let no_return = self.plan.point_of_no_return;
        let stays = no_return_stays(no_return, from, to);
        let mut places = vec![stays];
        if from == no_return && to > from && stays != to {
            places.insert(0, to);
        }
        let to_move = |point_of_no_return| vec![Amendment::MoveStage { from, to, point_of_no_return }];
        places.into_iter().map(to_move).collect()
    }

    fn moves_of_stage(self, stage: usize) -> Vec<Change> {
        let count = self.plan.stages.len();
        if stage >= count {
            return Vec::new();
        }
        let later = (stage + 1..count).flat_map(|to| self.move_stage(stage, to));
        let behind = (stage + 1..count).flat_map(|from| self.move_stage(from, stage));
        let earlier = (0..stage).rev().flat_map(|from| self.move_stage(from, stage));
        let before = (0..stage).rev().flat_map(|to| self.move_stage(stage, to));
        later.chain(behind).chain(earlier).chain(before).collect()
    }

    /// The moves inside a stage; only those of one step, where it is named.
    fn moves_of_steps(self, stage: usize, only: Option<usize>) -> Vec<Change> {
        let count = self.plan.stages.get(stage).map_or(0, |stage| stage.steps.len());
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        let wanted = pairs.filter(|(from, to)| from != to && only.is_none_or(|only| only == *from || only == *to));
        wanted.map(|(from, to)| vec![Amendment::MoveStep { stage, from, to }]).collect()
    }

    /// The wave in halves, quarters and so on; then every wave so.
    fn splits(self, stage: usize) -> Vec<Change> {
        let sizes = |largest: usize| {
            std::iter::successors(Some(largest.div_ceil(2)), |size| (*size > 1).then(|| size.div_ceil(2)))
        };
        let count = |stage: &Stage| stage.nodes.len();
        let one = self.plan.stages.get(stage).filter(|stage| count(stage) > 1);
        let alone = one.into_iter().flat_map(|found| sizes(count(found)));
        let mut changes: Vec<Change> = alone.map(|at_most| vec![Amendment::Split { stage, at_most }]).collect();
        let changed = |stage: &Stage| stage.steps.iter().any(|step| step.action == TrafficAction::TakeOut.into());
        let all = || self.plan.stages.iter().enumerate().rev().filter(|(_, stage)| changed(stage));
        let largest = all().map(|(_, stage)| count(stage)).max().unwrap_or(0);
        for at_most in if largest > 1 { sizes(largest).collect() } else { Vec::new() } {
            let waves = all().filter(|(_, stage)| count(stage) > at_most);
            // From the last to the first, so that the places of the others stay.
            changes.push(waves.map(|(stage, _)| Amendment::Split { stage, at_most }).collect());
        }
        changes
    }

    /// What was brought before, and takes no requests, is admitted.
    fn admits(self, stage: usize) -> Vec<Change> {
        let admit = Action::from(TrafficAction::Admit);
        let brought = |stage: &Stage| {
            let starts = stage.steps.iter().any(|step| step.action == ServerAction::Gate.into());
            let admits = stage.steps.iter().any(|step| step.action == admit);
            starts && !admits && stage.nodes.iter().all(|node| !law::is_exposed(&self.plan.start, *node))
        };
        let before = self.plan.stages.iter().enumerate().take(stage).filter(|(_, stage)| brought(stage));
        let add = |(stage, found): (usize, &Stage)| {
            let step = step(admit, self.topology.policy());
            vec![Amendment::AddStep { stage, at: found.steps.len(), step }]
        };
        before.map(add).collect()
    }

    fn actions(self) -> Vec<Action> {
        let goal = self.plan.goal;
        let mut actions: Vec<Action> = Vec::new();
        actions.extend([ServerAction::Gate, ServerAction::Start, ServerAction::Stop].map(Action::from));
        let traffic = [TrafficAction::TakeOut, TrafficAction::Admit, TrafficAction::StandBy, TrafficAction::Isolate];
        actions.extend(traffic.map(Action::from));
        if self.plan.start.nodes().any(|(_, node)| node.work != Work::None) {
            actions.extend([WorkAction::Quiesce, WorkAction::Resume].map(Action::from));
        }
        if self.topology.files().is_some() {
            actions.extend([FilesAction::Hold, FilesAction::Release].map(Action::from));
            actions.extend(goal.generation.map(|to| Action::from(FilesAction::Deploy { to })));
        }
        actions.extend(goal.release.map(|to| Action::from(ServerAction::Apply { to })));
        actions
    }

    fn added_steps(self, stage: usize, places: impl IntoIterator<Item = usize> + Clone) -> Vec<Change> {
        let Some(found) = self.plan.stages.get(stage).filter(|stage| !stage.nodes.is_empty()) else {
            return Vec::new();
        };
        let count = found.steps.len();
        let mut places: Vec<usize> = places.into_iter().map(|place| place.min(count)).collect();
        places.dedup();
        let add = |action: Action| {
            let step = step(action, self.topology.policy());
            let is_there = |at: &usize| found.steps.get(*at).is_some_and(|there| there.action == action);
            let places = places.iter().copied().filter(move |at| !is_there(at));
            places.map(move |at| vec![Amendment::AddStep { stage, at, step }]).collect::<Vec<_>>()
        };
        self.actions().into_iter().flat_map(add).collect()
    }

    /// What is still open at the end is closed there.
    fn stages_at_the_end(self) -> Vec<Change> {
        let members: Vec<NodeIx> = self.topology.members().map(|(index, _)| index).collect();
        if members.len() > FEW {
            return Vec::new();
        }
        let ends = [TrafficAction::Admit.into(), WorkAction::Resume.into(), FilesAction::Release.into()];
        let at = self.plan.stages.len();
        let of = |action: Action| {
            let add = move |node: NodeIx| {
                let stage = self.stage("bring it to where it belongs", vec![node], &[action]);
                vec![Amendment::AddStage { at, stage, forward_only: false }]
            };
            members.iter().copied().map(add).collect::<Vec<_>>()
        };
        let mut changes: Vec<Change> = ends.into_iter().flat_map(of).collect();
        if self.topology.files().is_some() {
            let all: Vec<NodeIx> =
                self.plan.start.nodes().filter(|(_, it)| it.sync != Sync::None).map(|(at, _)| at).collect();
            let stage = self.stage("release the file syncs", all, &[FilesAction::Release.into()]);
            changes.push(vec![Amendment::AddStage { at, stage, forward_only: false }]);
        }
        changes
    }

    /// Every node is tested before it is admitted.
    fn gates(self) -> Vec<Change> {
        let gate = step(ServerAction::Gate.into(), self.topology.policy());
        let mut all = Vec::new();
        for (number, stage) in self.plan.stages.iter().enumerate() {
            let is = |step: &Step, any: &[Action]| any.contains(&step.action);
            let Some(starts) = stage.steps.iter().rposition(|step| is(step, &[ServerAction::Start.into()])) else {
                continue;
            };
            let used = [TrafficAction::Admit, TrafficAction::StandBy, TrafficAction::StandIn].map(Action::from);
            let used = |step: &Step| is(step, &used) || is(step, &[ServerAction::Stop.into()]);
            let after = stage.steps.iter().skip(starts).position(used);
            let admitted = after.map_or(stage.steps.len(), |place| starts + place);
            let tested = stage.steps[starts..admitted].iter().any(|step| is(step, &[gate.action]));
            if !tested {
                all.push(Amendment::AddStep { stage: number, at: admitted, step: gate });
            }
        }
        if all.is_empty() { Vec::new() } else { vec![all] }
    }

    /// Every node is taken out of traffic before it is stopped.
    fn drains(self) -> Vec<Change> {
        let drain = step(TrafficAction::TakeOut.into(), self.topology.policy());
        let mut all = Vec::new();
        for (number, stage) in self.plan.stages.iter().enumerate() {
            let stops = stage.steps.iter().position(|step| step.action == ServerAction::Stop.into());
            if let Some(at) = stops.filter(|at| stage.steps[..*at].iter().all(|step| step.action != drain.action)) {
                all.push(Amendment::AddStep { stage: number, at, step: drain });
            }
        }
        if all.is_empty() { Vec::new() } else { vec![all] }
    }

    fn hands_writer(self, stage: usize) -> Vec<Change> {
        let Some(writer) = law::writer(&self.plan.start).filter(|_| self.topology.files().is_some()) else {
            return Vec::new();
        };
        let Some(next) = crate::procedure::hand_over::successor(self.topology, &self.plan.start, writer) else {
            return Vec::new();
        };
        let hand = self.stage("hand the writer over", vec![next], &[FilesAction::HandWriter.into()]);
        let at = |at| vec![Amendment::AddStage { at, stage: hand.clone(), forward_only: false }];
        (0..=stage).map(at).collect()
    }

    /// The schema is expanded and backfilled first, and what removes something is put off.
    fn expands(self, stage: usize) -> Vec<Change> {
        let to = |stage: &Stage| {
            stage.steps.first().is_some_and(|step| {
                matches!(step.action, Action::Schema(SchemaAction::Migrate { to: Schema::Contracted }))
            })
        };
        if self.topology.database().is_none() || !self.plan.stages.get(stage).is_some_and(to) {
            return Vec::new();
        }
        let migrate = |at: usize, to: Schema| {
            let stage = self.stage("prepare the database", Vec::new(), &[SchemaAction::Migrate { to }.into()]);
            Amendment::AddStage { at, stage, forward_only: false }
        };
        let prepared = [migrate(stage, Schema::Expanded), migrate(stage + 1, Schema::Backfilled)];
        let last = self.plan.stages.len() + 1;
        let put_off = |to: usize| {
            let moved = Amendment::MoveStage { from: stage + 2, to, point_of_no_return: to };
            prepared.iter().cloned().chain([moved]).collect()
        };
        (stage + 3..=last).map(put_off).chain([prepared.to_vec()]).collect()
    }

    /// What a change of sites needs before it.
    fn site_steps(self, stage: usize, at: usize) -> Vec<Change> {
        let mut changes = Vec::new();
        for (site, known) in self.topology.site_indices().zip(&self.plan.start.sites) {
            let follows = [Site::Hot, Site::Warm, known.site].map(|to| SiteAction::Follow { site, to, discard: false });
            let plain = [SiteAction::Fence { site }, SiteAction::Hold { site }, SiteAction::Demote { site }];
            for action in plain.into_iter().chain(follows).map(Action::from) {
                let one = self.stage("change the sites", Vec::new(), &[action]);
                let add = |at| vec![Amendment::AddStage { at, stage: one.clone(), forward_only: false }];
                changes.extend((0..=stage).rev().map(add));
                if self.plan.stages.get(stage).is_some_and(|found| at <= found.steps.len()) {
                    let step = step(action, self.topology.policy());
                    changes.push(vec![Amendment::AddStep { stage, at, step }]);
                }
            }
        }
        changes
    }

    /// Each spare that is declared and not used is brought first, and retired where the rollback window closes; then all of them.
    pub(super) fn spares(self) -> Vec<Change> {
        let start = ServerAction::Start.into();
        let used = |node: NodeIx| {
            let starts = |stage: &&Stage| stage.steps.iter().any(|step| step.action == start);
            self.plan.stages.iter().filter(starts).any(|stage| stage.nodes.contains(&node))
        };
        let able = |node: NodeIx| {
            let known = self.plan.start.node(node);
            known.release.is_some() && matches!(known.process, Process::Stopped | Process::Ready { .. })
        };
        let spares = self.topology.spares().filter(|(node, _)| able(*node) && !used(*node));
        let spares: Vec<NodeIx> = spares.map(|(node, _)| node).collect();
        let mut changes: Vec<Change> = spares.iter().map(|node| self.with_spares(&[*node])).collect();
        if spares.len() > 1 {
            changes.push(self.with_spares(&spares));
        }
        changes
    }

    fn with_spares(self, spares: &[NodeIx]) -> Change {
        let mut made = Vec::new();
        for (number, spare) in spares.iter().enumerate() {
            let mut actions = vec![ServerAction::Start.into(), ServerAction::Gate.into()];
            if is_admitted_as_spare(self.topology, &self.plan.start, *spare) {
                actions.push(TrafficAction::Admit.into());
            }
            let stage = self.stage("bring a spare as the members are now", vec![*spare], &actions);
            made.push(Amendment::AddStage { at: number, stage, forward_only: false });
        }
        let at = self.plan.point_of_no_return + spares.len();
        let retire = [TrafficAction::TakeOut.into(), ServerAction::Stop.into()];
        let stage = self.stage("close the rollback window and retire the spare", spares.to_vec(), &retire);
        made.push(Amendment::AddStage { at, stage, forward_only: true });
        made
    }

    fn windows(self) -> Vec<Change> {
        let all: Duration = self.plan.stages.iter().flat_map(|stage| &stage.steps).map(|step| step.deadline).sum();
        let waits = [Degraded::WritesRefused, Degraded::ConsumersWait, Degraded::NoSite];
        let mut windows = vec![reload_exposure()];
        windows.extend(waits.map(|what| DegradedWindow::new(what, all)));
        if self.plan.phase != Phase::Quiet {
            windows.push(DegradedWindow::new(Degraded::OneMoreFailure, all));
        }
        let declared = |window: &DegradedWindow| self.plan.windows.iter().any(|known| known.what == window.what);
        windows.into_iter().filter(|window| !declared(window)).map(|window| vec![Amendment::Window(window)]).collect()
    }
}

/// Tells whether an action brings a node what a plan is for.
fn changes_a_node(action: Action) -> bool {
    let brings = |files: FilesAction| matches!(files, FilesAction::Deploy { .. } | FilesAction::Release);
    match action {
        Action::Server(action) => matches!(action, ServerAction::Apply { .. }),
        Action::Files(action) => brings(action),
        Action::Provision(_) => true,
        Action::Traffic(_)
        | Action::Work(_)
        | Action::Schema(_)
        | Action::Exposure(_)
        | Action::Clone(_)
        | Action::Site(_) => false,
    }
}
