use crate::plan::Plan;
use crate::safety::Proof;

/// A plan with its proof. The two cannot be taken apart: what is run is what was proven.
///
/// # Examples
/// ```compile_fail
/// # use ha_core::{plan::Plan, procedure::Planned};
/// fn another(mut planned: Planned, plan: Plan) {
///     planned.plan = plan;
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    plan: Plan,
    proof: Proof,
}

impl Planned {
    pub(super) fn new(plan: Plan, proof: Proof) -> Self {
        Self { plan, proof }
    }

    /// Returns the plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns its proof.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Takes both out for a run; `None` when the proof is of another plan.
    pub(crate) fn into_proven(self) -> Option<(Plan, Proof)> {
        (self.plan.digest() == self.proof.plan).then_some((self.plan, self.proof))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Draft, Goal};
    use crate::safety::prove;
    use crate::state::{ClusterState, Facts, MemberKind, MemberState, NodeState, Process, ReleaseSet, Traffic};
    use crate::topology::Topology;

    const TOPOLOGY: &str = r#"
[cluster]
name = "orders"
[policy]
peak_load = 1000
[pool]
name = "esb"
serve = 2
[[balancer]]
name = "lb1"
backend = "fake"
[[node]]
name = "esb1"
capacity = 1000
host = { backend = "fake" }
probe = { backend = "fake" }
[[node]]
name = "esb2"
capacity = 1000
host = { backend = "fake" }
probe = { backend = "fake" }
"#;

    #[test]
    fn a_proof_of_another_plan_is_not_run() {
        let topology = Topology::from_toml_str(TOPOLOGY).unwrap();
        let mut facts = Facts::default();
        let release = facts.releases.enter("1.0").unwrap();
        let mut tested = ReleaseSet::default();
        tested.insert(release);
        let node = NodeState::new(Process::Ready { warm: true }, Some(release), tested);
        let member = MemberState::new(MemberKind::Primary, Traffic::In);
        let start = ClusterState::new(&topology, vec![node; 2], vec![member; 2]);
        let plan = Plan::from(Draft::new("nothing", &topology, start, facts, Goal::unchanged()));
        let proof = prove(&topology, &plan).unwrap();
        let mut edited = Draft::from(plan.clone());
        edited.goal = Goal::of_release(release);
        assert!(Planned::new(plan.clone(), proof.clone()).into_proven().is_some());
        assert!(Planned::new(edited.into(), proof).into_proven().is_none());
    }
}
