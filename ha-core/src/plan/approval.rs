use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Plan;
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
        // What follows a loss begins behind its point of no return: what can go back is planned anew.
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
