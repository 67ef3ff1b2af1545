use super::Targets;
use super::decide::{Turn, after};
use super::targets::Progress;
use crate::action::{Action, Desired, Order, SiteAction, TrafficAction};
use crate::law::Law;
use crate::plan::Plan;
use crate::record::{Cursor, Mode, OutcomeKind};
use crate::state::{ClusterState, Rejected, Site, Traffic};
use crate::topology::{NodeIx, SiteIx};

/// Where a run is: the cluster as it knows it, its own memory of the targets, and its place in the plan. What the decision core
/// decides on, and what the explorer visits.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RunState {
    /// The cluster.
    pub cluster: ClusterState,
    /// How far the run has come on each target.
    pub targets: Targets,
    /// The place in the plan.
    pub cursor: Cursor,
}

impl RunState {
    /// Begins a plan in a state.
    pub fn begin(cluster: ClusterState) -> Self {
        Self { cluster, targets: Targets::default(), cursor: Cursor::START }
    }

    /// Begins a plan: one that carries a run on goes on desiring of the balancers what the run has made of them.
    pub fn of(plan: &Plan) -> Self {
        let mut run = Self::begin(plan.start.clone());
        if plan.carries_on.is_none() {
            return run;
        }
        let nodes: Vec<NodeIx> = plan.start.nodes().map(|(node, _)| node).collect();
        for node in nodes {
            let (now, configured) = (plan.start.members(node), plan.configured().members(node));
            // Of a node that no balancer is there for nothing tells what the run wanted.
            let unseen = now.iter().all(|member| member.traffic == Traffic::Gone);
            let desired = if unseen || now == configured {
                Desired::Unchanged
            } else if now.iter().all(|member| member.is_out()) {
                Desired::Out
            } else if now.iter().all(|member| member.traffic == member.admitted()) {
                Desired::Admitted
            } else {
                Desired::Unchanged
            };
            run.targets.desire(node, desired);
        }
        run
    }

    /// Marks what holds from the moment an order's intent is recorded.
    pub fn begin_order(&mut self, law: Law<'_>, order: Order) {
        let Cursor { stage, step, mode, .. } = self.cursor;
        if mode == Mode::Forward && !matches!(order.action(), Action::Traffic(TrafficAction::Reassert { .. })) {
            self.targets.record((stage, step), order);
        }
        if let (Action::Traffic(action), Some(node)) = (order.action(), order.node()) {
            if let TrafficAction::Reassert { .. } = action {
                return self.targets.begin_reassert(node);
            }
            if let Some(desired) = action.desires() {
                self.targets.desire(node, desired);
            }
        }
        order.begin(law, &mut self.cluster);
        self.targets.set(order, Progress::InFlight);
    }

    /// Enters the outcome of an act or a look.
    ///
    /// # Errors
    /// [`Rejected`] when it is said to be done and that cannot follow the state: its progress is what it was, and nobody knows
    /// what became of it.
    pub fn resolve(&mut self, law: Law<'_>, order: Order, outcome: OutcomeKind) -> Result<(), Rejected> {
        if outcome == OutcomeKind::Done {
            order.complete(law, &mut self.cluster)?;
        }
        if let (Action::Traffic(action), Some(node)) = (order.action(), order.node()) {
            if let TrafficAction::Reassert { .. } = action {
                self.targets.end_reassert(node, outcome == OutcomeKind::Done);
                return Ok(());
            }
            // What failed is not insisted on: the rollback begins from how the node is.
            if outcome == OutcomeKind::NotDone && action.desires().is_some() {
                self.targets.desire(node, Desired::Unchanged);
            }
        }
        let progress = match (outcome, self.targets.progress(order)) {
            (OutcomeKind::Done, _) => Progress::Done,
            (OutcomeKind::Unknown, Progress::Unknown { looks }) => Progress::Unknown { looks: looks.saturating_add(1) },
            (OutcomeKind::Unknown, _) => Progress::Unknown { looks: 0 },
            (OutcomeKind::NotDone, progress) => {
                Progress::NotDone { looked: matches!(progress, Progress::Unknown { .. }) }
            }
        };
        self.targets.set(order, progress);
        Ok(())
    }

    /// Goes on at another place: a retry keeps what is done on the other targets; every other move begins afresh. What is in
    /// flight stays in flight.
    pub fn enter(&mut self, to: Cursor, turn: Turn) {
        match turn {
            Turn::Retry => self.targets.retry(),
            Turn::NextStep | Turn::StepFailed | Turn::Precondition | Turn::LawWouldBreak => self.targets.reset(),
            Turn::DomainLost => self.targets.reset_what_is_known(),
        }
        match to.mode {
            Mode::Forward => self.targets.go_forward(),
            Mode::Compensating | Mode::Withdrawing => self.targets.go_back((to.stage, to.step)),
            Mode::Reacting | Mode::Ended(_) => {}
        }
        self.cursor = to;
    }

    /// Goes on, after the run ended for a person, at the step where it ended and in the direction that it had: what is done there
    /// stays done, what did not happen is tried again. A stage that was taken back begins anew.
    /// What was lost since the plan was made is looked for anew.
    pub fn try_again(&mut self, plan: &Plan, withdrawn: bool) {
        self.cluster.set_losses(plan.start.lost());
        let Cursor { stage, step, phase, .. } = self.cursor;
        self.mark_unknown();
        if withdrawn || !self.targets.goes_back() {
            let step = if withdrawn { 0 } else { step };
            let to = Cursor { stage, step, phase: 0, attempt: 0, mode: Mode::Forward };
            if withdrawn {
                return self.enter(to, Turn::StepFailed);
            }
            self.targets.retry_all();
            self.enter(to, Turn::Retry);
        } else {
            self.targets.retry_all();
            self.enter(Cursor { stage, step, phase, attempt: 0, mode: Mode::Compensating }, Turn::Retry);
        }
    }

    /// Goes on behind the step where the run ended for a person. Where what it was to bring about `holds`, it counts as done: what
    /// it lends is lent, what it desires is desired, and a rollback takes it back.
    pub fn skip(&mut self, law: Law<'_>, plan: &Plan, holds: bool) {
        self.cluster.set_losses(plan.start.lost());
        self.cursor = Cursor { phase: 0, attempt: 0, mode: Mode::Forward, ..self.cursor };
        let place = (usize::from(self.cursor.stage), usize::from(self.cursor.step));
        let orders: Vec<Order> = match (plan.stages.get(place.0), plan.step(place.0, place.1)) {
            (Some(stage), Some(step)) if holds => stage.orders(step.action).collect(),
            (_, _) => Vec::new(),
        };
        for order in orders {
            self.begin_order(law, order);
            // It holds: where the records do not tell how it came about, the look before the run goes on does.
            if self.resolve(law, order, OutcomeKind::Done).is_err() {
                self.targets.set(order, Progress::Done);
            }
        }
        self.enter(after(plan, self.cursor), Turn::StepFailed);
    }

    /// Tells whether the run can turn back from here: it is before its plan's point of no return, or right at it, where nothing
    /// that comes behind it has begun.
    pub fn may_return(&self, plan: &Plan) -> bool {
        let at = usize::from(self.cursor.stage).cmp(&plan.point_of_no_return);
        // What a plan that carries a run on had found done is not in it.
        at.is_lt() || (at.is_eq() && self.is_before(self.cursor.stage, 0) && plan.carries_on.is_none())
    }

    /// Tells whether a step lies ahead: the run has not come to it, or stands at it and nothing of it has begun.
    pub(crate) fn is_before(&self, stage: u16, step: u16) -> bool {
        let here = (self.cursor.stage, self.cursor.step);
        here < (stage, step) || (here == (stage, step) && !self.targets.has_begun_any(here))
    }

    /// Tells whether a step is still to be begun by a plan that goes on from here: it lies ahead, or the run goes back.
    pub(crate) fn lies_ahead(&self, stage: u16, step: u16) -> bool {
        self.targets.goes_back() || self.is_before(stage, step)
    }

    /// Tells whether the way back from here is planned anew: a database that was promoted has a copy that follows it only once one
    /// was made to, and no step of the plan has that as its compensation.
    pub(crate) fn plans_its_way_back(&self, plan: &Plan) -> bool {
        let goal = plan.goal.site.and_then(|site| self.cluster.sites.get(site.index()));
        // Until consumers are led there, its database takes writes and they wait.
        let is_promoted = goal.is_some_and(|known| known.site.writes() && known.site != Site::Serving);
        is_promoted && plan.carries_on.is_none() && !self.targets.goes_back() && self.may_return(plan)
    }

    /// Tells whether nobody knows if a database was promoted that the run has asked to be: until that is found out, nothing is taken
    /// back that a second one would come of.
    pub(crate) fn promotion_in_doubt(&self) -> bool {
        self.targets.unsettled().any(promotes)
    }

    /// Tells whether a database that was asked to be promoted was not in its time, which may have come since. One that refused is not
    /// meant.
    pub(crate) fn promotion_given_up(&self) -> bool {
        let is_late = |order| self.targets.progress(order) == Progress::NotDone { looked: true };
        self.targets.failed().any(|order| promotes(order) && is_late(order))
    }

    /// Says why the run cannot go back any more; `None` where it can, or does.
    pub fn no_way_back(&self, plan: &Plan) -> Option<String> {
        let returns = match plan.carries_on() {
            Some(carried) => carried.back || !(carried.forward_only || self.serves_from(plan.goal.site)),
            None => self.targets.goes_back() || self.may_return(plan),
        };
        let stage = usize::from(self.cursor.stage);
        let name = plan.stages.get(stage).map_or("its end", |stage| stage.name.as_str());
        let refused = || {
            format!(
                "it is past its point of no return (stage {}, {name}) and only goes forward: pause it, or abort it and decide",
                stage + 1
            )
        };
        (!returns).then(refused)
    }

    fn serves_from(&self, site: Option<SiteIx>) -> bool {
        let known = site.and_then(|site| self.cluster.sites.get(site.index()));
        known.is_some_and(|known| known.site == Site::Serving)
    }

    /// Tells whether what a step is to bring about holds on all its targets.
    pub fn holds(&self, law: Law<'_>, plan: &Plan, (stage, step): (u16, u16)) -> bool {
        let stage = plan.stages.get(usize::from(stage));
        let step = stage.and_then(|stage| Some((stage, stage.steps.get(usize::from(step))?)));
        step.is_some_and(|(stage, step)| stage.orders(step.action).all(|order| order.holds(law, &self.cluster)))
    }

    /// Tells whether an order is done already: its effect holds, its loans are repaid, and what it desires of the balancers is
    /// desired, since the guard watches only that.
    pub fn is_done(&self, law: Law<'_>, order: Order) -> bool {
        let takes_out = order.action() == Action::Traffic(TrafficAction::TakeOut);
        let desired = |node| self.targets.desired(node) == Desired::Out;
        (!takes_out || order.node().is_some_and(desired)) && order.holds(law, &self.cluster)
    }

    /// Marks as unknown what a controller had in flight when it died: nobody knows what became of it.
    pub fn mark_unknown(&mut self) {
        self.targets.mark_unknown();
    }
}

fn promotes(order: Order) -> bool {
    matches!(order.action(), Action::Site(SiteAction::Promote { .. }))
}
