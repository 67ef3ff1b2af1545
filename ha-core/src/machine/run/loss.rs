//! What a run does about losses: suspicion, the verdict, and the change that is planned anew.

use std::sync::Arc;
use std::time::Duration;

use super::super::RunState;
use super::super::decide::{Decision, newly_lost};
use super::super::words::Command;
use super::RunMachine;
use crate::law::{consumers_wait, is_exposed, no_site_serves};
use crate::plan::Plan;
use crate::record::{End, Record, Why};
use crate::state::{LoanKind, MemberState, Process, Target, Traffic};
use crate::topology::NodeIx;

/// How long a plan may take to be found and proven. Past it a person decides, as where there is none.
const REPLAN_LIMIT: Duration = Duration::from_secs(30);

/// How far the run is with planning its change anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Replanning {
    /// It is not asked for.
    No,
    /// It is asked for.
    Asked {
        /// When it is given up.
        until: Duration,
    },
    /// There is no plan from here: the run ends as it would have.
    Refused,
}

impl Replanning {
    pub(super) fn until(self) -> Option<Duration> {
        match self {
            Self::Asked { until } => Some(until),
            Self::No | Self::Refused => None,
        }
    }
}

impl RunMachine {
    /// Tells whether a node looks dead that should serve, or a balancer says so of one, and has not for `lost_after`: nothing
    /// new begins.
    pub(super) fn is_suspicious(&self, now: Duration) -> bool {
        let lost_after = self.topology.policy.lost_after;
        let is_new = |since: &Option<Duration>| since.is_some_and(|since| now.saturating_sub(since) < lost_after);
        let suspected = self.dead_since.iter().any(Option::is_some) || self.down_since.iter().any(is_new);
        suspected && newly_lost(&self.plan, &self.run.cluster).is_none()
    }

    /// Notes which nodes a balancer says are down. What an order is changing may be down on its way.
    pub(super) fn note_down(&mut self, now: Duration) {
        for (index, node) in self.topology.nodes() {
            let is_down = |member: &MemberState| member.traffic == Traffic::Down;
            let down = self.run.cluster.members(index).iter().any(is_down)
                && !self.run.cluster.is_lost(node.domain)
                && !self.run.targets.is_changing(Target::Traffic(index))
                && !self.run.targets.is_changing(Target::Server(index));
            let since = &mut self.down_since[index.index()];
            *since = if down { Some(since.unwrap_or(now)) } else { None };
        }
    }

    /// Notes which nodes look dead that should serve. One that has for `lost_after` takes its failure domain with it;
    /// until then nothing new begins.
    pub(super) fn suspect(&mut self, now: Duration) {
        let lost_after = self.topology.policy.lost_after;
        let mut lost = None;
        for (index, node) in self.topology.nodes() {
            let state = self.run.cluster.node(index);
            let open = |kind: LoanKind| state.loans.contains(kind);
            // A spare that stands in is no loan any more, and is missed as a member is.
            let stands_in = is_exposed(&self.run.cluster, index);
            let should_serve =
                if node.spare { open(LoanKind::SpareRunning) || stands_in } else { !open(LoanKind::Stopped) };
            // One that did not serve when the plan was made is missed from its test on.
            let served = self.plan.start.node(index).process.is_ready() || state.is_tested();
            let settled = served && !state.under_change && !self.run.targets.is_changing(Target::Server(index));
            let is_goal = node.site.is_some() && node.site == self.plan.goal.site;
            let matters = self.topology.is_home(node) || is_goal || self.law().is_in_service(&self.run.cluster, index);
            let dead = matters
                && !self.run.cluster.is_lost(node.domain)
                && should_serve
                && settled
                && !state.process.is_ready();
            let since = &mut self.dead_since[index.index()];
            *since = if dead { Some(since.unwrap_or(now)) } else { None };
            if since.is_some_and(|since| now.saturating_sub(since) >= lost_after) {
                lost = lost.or(Some(node.domain));
            }
        }
        if let Some(domain) = lost
            && newly_lost(&self.plan, &self.run.cluster).is_none()
        {
            self.run.cluster.set_lost(domain);
            self.record(Record::DomainLost { domain });
        }
    }

    /// Asks for the plan with which the run goes on, once nothing is under way and all is written down.
    pub(super) fn ask_for_a_plan(&mut self, now: Duration, back: bool) -> Option<Command> {
        if !self.unwritten.is_empty() {
            return self.write();
        }
        if self.is_waiting() {
            return None;
        }
        self.replanning = Replanning::Asked { until: now.saturating_add(REPLAN_LIMIT) };
        Some(Command::Replan { back })
    }

    /// Tells whether a plan is asked for; one that does not come in time is given up. The guard looks on meanwhile.
    pub(super) fn waits_for_a_plan(&mut self, now: Duration) -> bool {
        let Some(until) = self.replanning.until() else { return false };
        if now >= until {
            self.replanned(Err(format!("no plan was proven in {REPLAN_LIMIT:?}; bring what is lost back and resume")));
        }
        now < until
    }

    /// Takes the plan that was asked for. One that comes late is not used: a person may have been told already.
    pub(super) fn replanned(&mut self, plan: Result<Arc<Plan>, String>) {
        match (self.replanning, plan) {
            (Replanning::No | Replanning::Refused, _) => {}
            (Replanning::Asked { .. }, Ok(plan)) => self.carry_on(plan),
            (Replanning::Asked { .. }, Err(why)) => {
                self.replanning = Replanning::Refused;
                // Who asked for the rollback, and was told that it is taken, is not gone forward with.
                self.hands.stop |= self.hands.back && self.hands.asked_back;
                let message = format!("the change cannot be planned anew from what is left: {why}");
                self.record(Record::Turned { to: self.run.cursor, message });
            }
        }
    }

    /// Tells whether the run is planned anew instead of ending here, and whether only to go back: after a loss, once traffic is
    /// secured; after a failure of a plan that would have finished the change; where a person asks for the rollback of one, or
    /// of a change of sites whose database was promoted.
    pub(super) fn carries_on_instead(&self, decision: Decision) -> Option<bool> {
        let finishes =
            self.plan.carries_on().is_some() && !self.plan.goes_back() && self.run.no_way_back(&self.plan).is_none();
        let plans = self.run.plans_its_way_back(&self.plan);
        match (self.replanning, decision) {
            (Replanning::Asked { .. } | Replanning::Refused, _) => None,
            (Replanning::No, Decision::End(End::NeedsOperator(Why::DomainLost(_)))) => Some(self.hands.asked_back),
            (Replanning::No, Decision::End(End::NeedsOperator(Why::PastReturn))) if finishes => Some(true),
            (Replanning::No, _) if self.hands.back && (finishes || plans) && self.is_settled() => Some(true),
            (Replanning::No, _) => None,
        }
    }

    /// Goes on with a new plan of the same run: what is lent stays lent.
    fn carry_on(&mut self, plan: Arc<Plan>) {
        self.record(Record::Replanned { plan: Box::new((*plan).clone()) });
        self.run = RunState::of(&plan);
        (self.plan, self.replanning) = (plan, Replanning::No);
        self.gated.clear();
        self.dead_since.fill(None);
        self.unread_since = None;
        // What was seen, or is being looked at, is from before the plan.
        self.watches.order_ended();
    }

    /// A step on a node whose host does not answer any more, of which nobody can find out what became of it, was met by the loss of
    /// the host: returns whether that is so, and notes it.
    pub(super) fn lose_what_does_not_answer(&mut self, end: End) -> bool {
        let stuck = match end {
            End::NeedsOperator(why) => {
                matches!(
                    why,
                    Why::OutcomeUnknown | Why::CompensationFailed | Why::LawWouldBreak | Why::PastReturn | Why::Held
                )
            }
            End::AllNew | End::AllOld => false,
        };
        if !stuck || newly_lost(&self.plan, &self.run.cluster).is_some() {
            return false;
        }
        let dark = no_site_serves(&self.run.cluster) && !consumers_wait(&self.run.cluster);
        // Who cannot be brought while no site serves is left out: the others may carry what is required.
        let left_out = |node: &NodeIx| {
            self.plan.goal.site.is_some_and(|site| self.topology.node(*node).site == Some(site)) && dark
        };
        let silent = |node: &NodeIx| self.run.cluster.node(*node).process == Process::Unknown || left_out(node);
        let failed = self.run.targets.failed().filter_map(|order| order.node());
        // A step may never have begun because its node does not answer.
        let next = self.plan.stages.get(usize::from(self.run.cursor.stage)).into_iter().flat_map(|stage| &stage.nodes);
        let failed = failed.chain(next.copied());
        let lent =
            self.run.cluster.nodes().filter(|(_, node)| node.loans.iter().next().is_some()).map(|(node, _)| node);
        let Some(node) = failed.chain(lent).find(silent) else { return false };
        let domain = self.topology.node(node).domain;
        self.run.cluster.set_lost(domain);
        self.record(Record::DomainLost { domain });
        true
    }
}
