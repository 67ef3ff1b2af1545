use super::{PLAN_FORMAT, Plan, PlanApproval, Stage, Step};
use crate::law::{self, Law, Phase};
use crate::topology::Topology;

/// Refuses a plan that is none, as one that was edited by hand: it says where, and why.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::plan::{Draft, Goal, Plan, Stage};
///
/// # let (topology, state, facts) = observed::cluster()?;
/// let draft = Draft::new("nothing", &topology, state, facts, Goal::unchanged());
/// let plan = Plan::from(draft.with_stage(Stage::new("nothing", Vec::new(), Vec::new())));
/// let refused = plan.check(&topology).unwrap_err();
/// assert_eq!(refused.to_string(), "stage 1 (nothing) has no steps; plan again");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}; plan again")]
pub struct BadPlan(String);

impl Plan {
    /// Checks that a plan is one for this topology: of a known format, each of its steps with targets and a deadline. Says nothing
    /// of the law.
    ///
    /// # Errors
    /// The first thing that is wrong, with its stage and step, counted from 1 on.
    pub fn check(&self, topology: &Topology) -> Result<(), BadPlan> {
        let demand = |holds: bool, what: &str| if holds { Ok(()) } else { Err(BadPlan(what.into())) };
        if self.format > PLAN_FORMAT {
            let format = self.format;
            return Err(BadPlan(format!("the plan has format {format}, this library knows up to {PLAN_FORMAT}")));
        }
        demand(self.is_for(topology), "the plan was made for another topology")?;
        let count = topology.nodes().count();
        let known_good = self.known_good.iter().flatten().filter_map(|known_good| known_good.writer);
        let fits = self.start.fits(topology) && self.known_good.len() == count;
        demand(
            fits && known_good.into_iter().all(|node| node.index() < count),
            "the state that the plan starts from is not one of its topology",
        )?;
        let began = self.carries_on.as_ref().is_none_or(|carried| carried.began.fits(topology));
        demand(began, "the state that the run began with is not one of its topology")?;
        let claims = self.phase == Phase::Quiet || !self.start.lost().is_empty() || self.misses_a_member(topology);
        demand(claims, "the plan's phase asks less than the law does where no failure domain is lost at its start")?;
        demand(self.point_of_no_return <= self.stages.len(), "the point of no return is behind the last stage")?;
        demand(self.stages.len() < usize::from(u16::MAX), "the plan has more than 65,534 stages")?;
        let there =
            |one: &PlanApproval| self.step(one.stage.into(), one.step.into()).is_some() && !one.within.is_zero();
        demand(self.approvals.iter().all(there), "an approval is before no step, or nobody could give it in time")?;
        self.stages.iter().enumerate().try_for_each(|(at, stage)| check_stage(topology, at + 1, stage))
    }
}

impl Plan {
    /// Tells whether a member is out of traffic at the plan's start, and what a quiet state requires is short: what was lost is not
    /// back yet.
    fn misses_a_member(&self, topology: &Topology) -> bool {
        let is_out = |node| !law::is_exposed(&self.start, node);
        topology.members().any(|(node, _)| is_out(node))
            && Law::new(topology, &self.facts).check(&self.start, Phase::Quiet).is_err()
    }
}

fn check_stage(topology: &Topology, number: usize, stage: &Stage) -> Result<(), BadPlan> {
    let bad = |what: String| Err(BadPlan(format!("stage {number} ({}) {what}", stage.name)));
    if stage.steps.is_empty() {
        return bad("has no steps".into());
    }
    if stage.steps.len() >= usize::from(u16::MAX) {
        return bad("has more than 65,534 steps".into());
    }
    for (at, node) in stage.nodes.iter().enumerate() {
        if node.index() >= topology.nodes().count() {
            return bad(format!("has a target that the topology does not have, number {}", node.index()));
        }
        if stage.nodes[..at].contains(node) {
            return bad(format!("has {} twice among its targets", topology.node(*node).name));
        }
    }
    stage.steps.iter().enumerate().try_for_each(|(at, step)| match wrong_with(stage, step) {
        Some(what) => {
            Err(BadPlan(format!("stage {number} ({}), step {} ({}): {what}", stage.name, at + 1, step.action)))
        }
        None => Ok(()),
    })
}

fn wrong_with(stage: &Stage, step: &Step) -> Option<&'static str> {
    if stage.nodes.is_empty() && step.action.shared().is_none() {
        Some("it has no target")
    } else if step.deadline.is_zero() {
        Some("its deadline is 0, so that it could never be done")
    } else if step.attempts == 0 {
        Some("it may be tried 0 times, so that it could never be done")
    } else {
        None
    }
}
