use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Plan, Stage};
use crate::action::Action;
use crate::topology::{ApprovalPoint, OnNoApproval, Topology};

/// A step before which the run waits for a person's approval, and what follows when nobody gives it.
///
/// # Examples
///
/// ```
/// use ha_core::plan::Plan;
///
/// /// Says before which steps somebody has to be there, counted from 1 on as the plan's text does.
/// fn appointments(plan: &Plan) -> Vec<String> {
///     let each = plan.approvals().iter();
///     each.map(|one| format!("{} before step {}.{}", one.point, one.stage + 1, one.step + 1)).collect()
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlanApproval {
    /// Why there.
    pub point: ApprovalPoint,
    /// The stage, from 0 on.
    pub stage: u16,
    /// The step in it, from 0 on.
    pub step: u16,
    /// How long the run waits, from when it asks first.
    #[serde(with = "crate::millis", rename = "within_ms")]
    #[cfg_attr(feature = "schemars", schemars(with = "u64"))]
    pub within: Duration,
    /// What follows then.
    pub then: OnNoApproval,
}

impl PlanApproval {
    /// Says it for people, as the renderings do.
    pub(super) fn message(&self) -> String {
        format!("approval ({}): waits for a person, at most {:?}, then {}", self.point, self.within, self.then)
    }
}

impl Plan {
    /// Lists the steps before which the run waits for an approval, each once, in their order.
    pub fn approvals(&self) -> &[PlanApproval] {
        &self.approvals
    }

    /// The same by numbers, as the renderings count.
    pub(super) fn approval_at(&self, stage: usize, step: usize) -> Option<&PlanApproval> {
        self.approvals.iter().find(|one| (usize::from(one.stage), usize::from(one.step)) == (stage, step))
    }

    /// Returns the approval that a step needs.
    pub(crate) fn approval_before(&self, stage: u16, step: u16) -> Option<&PlanApproval> {
        self.approvals.iter().find(|one| (one.stage, one.step) == (stage, step))
    }

    /// Notes where the policy of the topology asks for approvals. It is part of what is proven and run: whoever makes a plan
    /// calls it before the proof.
    #[must_use]
    pub(crate) fn with_approvals(mut self, topology: &Topology) -> Self {
        self.approvals = asked(&self, topology);
        self
    }

    /// The same for a plan with which a run goes on after a loss. What the plan `before` asked for at a step that the run has not
    /// come to is asked for again: before the point of no return, where this plan has its step, all else before the first step.
    /// Who goes back asks for nothing of that.
    #[must_use]
    pub(crate) fn with_approvals_after(
        self,
        topology: &Topology,
        before: &Self,
        lies_ahead: impl Fn(u16, u16) -> bool,
    ) -> Self {
        let mut next = self.with_approvals(topology);
        let ahead = |one: &&PlanApproval| !next.goes_back() && lies_ahead(one.stage, one.step);
        let ahead: Vec<PlanApproval> = before.approvals.iter().filter(ahead).copied().collect();
        for one in ahead {
            let place = match one.point {
                ApprovalPoint::PointOfNoReturn => {
                    let same = before.step(one.stage.into(), one.step.into()).map(|step| step.action);
                    same.and_then(|action| next.find_step(action))
                }
                ApprovalPoint::SiteChange | ApprovalPoint::Start => Some((0, 0)).filter(|_| !next.stages.is_empty()),
                // It is asked for as the policy says now.
                ApprovalPoint::AfterLoss => None,
            };
            if let Some((stage, step)) = place
                && next.approval_before(stage, step).is_none()
            {
                next.approvals.push(PlanApproval { stage, step, ..one });
            }
        }
        next.approvals.sort_by_key(|one| (one.stage, one.step));
        next
    }

    fn find_step(&self, action: Action) -> Option<(u16, u16)> {
        let steps = |stage: &Stage| stage.steps.iter().position(|step| step.action == action);
        let mut stages = self.stages.iter().enumerate();
        let (stage, step) = stages.find_map(|(number, stage)| Some((number, steps(stage)?)))?;
        Some((u16::try_from(stage).ok()?, u16::try_from(step).ok()?))
    }

    /// Tells whether the policy asks for an approval that the plan does not have, as where it was made before.
    pub(crate) fn lacks_approval(&self, topology: &Topology) -> Option<ApprovalPoint> {
        let there = |asked: &PlanApproval| self.approval_before(asked.stage, asked.step).is_some();
        asked(self, topology).into_iter().find(|asked| !there(asked)).map(|asked| asked.point)
    }
}

/// One approval a step: the point that says most of it.
fn asked(plan: &Plan, topology: &Topology) -> Vec<PlanApproval> {
    let policy = topology.policy();
    let first = plan.carries_on.is_none();
    let no_return = plan.point_of_no_return;
    let place = |point: &ApprovalPoint| match point {
        ApprovalPoint::SiteChange => (first && plan.goal.site.is_some()).then_some(0),
        // What follows a loss begins behind its point of no return: what lay ahead of the plan before is asked for again.
        ApprovalPoint::PointOfNoReturn => (first && no_return < plan.stages.len()).then_some(no_return),
        ApprovalPoint::AfterLoss => (!first).then_some(0),
        ApprovalPoint::Start => first.then_some(0),
    };
    let order =
        [ApprovalPoint::SiteChange, ApprovalPoint::AfterLoss, ApprovalPoint::PointOfNoReturn, ApprovalPoint::Start];
    let mut found: Vec<PlanApproval> = Vec::new();
    for point in order.into_iter().filter(|point| policy.approve.contains(point)) {
        let stage =
            place(&point).filter(|stage| *stage < plan.stages.len()).and_then(|stage| u16::try_from(stage).ok());
        if let Some(stage) = stage.filter(|stage| !found.iter().any(|known| known.stage == *stage)) {
            let (within, then) = (policy.approve_within, policy.on_no_approval);
            found.push(PlanApproval { point, stage, step: 0, within, then });
        }
    }
    found.sort_by_key(|one| one.stage);
    found
}
