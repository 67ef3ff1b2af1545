use serde::{Deserialize, Serialize};

use super::PlanError;
use crate::action::{KnownGood, Verb};
use crate::law;
use crate::plan::{ChangeCommands, OnFailure, PLAN_FORMAT, Plan, Stage, Step};
use crate::safety::{Proof, prove};
use crate::state::{ClusterState, Process, ReleaseId, Releases, RowKind, Traffic};
use crate::topology::{NodeIx, OnDrainDeadline, Topology};

/// Asks for a patch: every member gets `release`, by running a command on its stopped server.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PatchRequest {
    /// The release as the patched server prints it.
    pub release: String,
    /// Installs it. Run with `HA_NODE` and `HA_RELEASE` set; it must write what the version command reads last.
    pub apply: Vec<String>,
    /// Brings the release in `HA_RELEASE` back, whatever half of the patch is there.
    pub restore: Vec<String>,
}

impl PatchRequest {
    /// Asks for a patch.
    pub fn new(release: impl Into<String>, apply: Vec<String>, restore: Vec<String>) -> Self {
        Self { release: release.into(), apply, restore }
    }
}

/// A plan with its proof.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Its proof.
    pub proof: Proof,
}

/// Plans a patch and proves the plan.
///
/// The members that stand by come first, then those that serve, one at a time: take out, stop, apply, start, test,
/// admit, watch. Whether a spare is needed is not a rule here: the plan is tried without one, and only where the law
/// refuses that the smallest declared spare that proves it is brought before the first change and retired after the
/// last.
///
/// # Errors
/// [`PlanError`]; nothing was changed.
pub fn patch(
    topology: &Topology,
    start: &ClusterState,
    releases: &Releases,
    request: &PatchRequest,
) -> Result<Planned, PlanError> {
    if request.release.trim().is_empty() || request.apply.is_empty() || request.restore.is_empty() {
        let what = "release, apply and restore must not be empty; without a restore there is no way back";
        return Err(PlanError::Incomplete(what.into()));
    }
    let mut releases = releases.clone();
    let to = releases.enter(&request.release).map_err(|error| PlanError::Incomplete(error.to_string()))?;
    check_start(topology, start, &releases, to)?;
    let commands = ChangeCommands::new(request.apply.clone(), request.restore.clone());
    let make = |spare: Option<NodeIx>| build(topology, start, &releases, to, &commands, spare);
    let refusal = match prove_plan(topology, make(None)) {
        Ok(planned) => return Ok(planned),
        Err(refusal) => refusal,
    };
    let mut spares: Vec<_> = topology.spares().filter(|(index, _)| is_usable_spare(start, *index)).collect();
    spares.sort_by_key(|(_, node)| node.capacity);
    let mut last = None;
    for (spare, _) in &spares {
        match prove_plan(topology, make(Some(*spare))) {
            Ok(planned) => return Ok(planned),
            Err(refusal) => last = Some(refusal),
        }
    }
    let smallest = topology.members().map(|(_, node)| node.capacity).min().unwrap_or(1);
    let needed = topology.owed_after_loss().max(smallest);
    let remedy = if spares.is_empty() {
        format!(
            "add one spare of capacity {needed} in a failure domain of its own (node.spare = true), at the old release"
        )
    } else {
        format!(
            "none of the declared spares is enough; give one a capacity of {needed} and a failure domain of its own"
        )
    };
    Err(PlanError::Unprovable { counterexample: last.unwrap_or(refusal), remedy })
}

fn prove_plan(topology: &Topology, plan: Plan) -> Result<Planned, Box<crate::safety::Counterexample>> {
    let proof = prove(topology, &plan)?;
    Ok(Planned { plan, proof })
}

fn check_start(topology: &Topology, start: &ClusterState, releases: &Releases, to: ReleaseId) -> Result<(), PlanError> {
    for (index, node) in topology.nodes() {
        for (balancer, instance) in topology.balancers() {
            if start.row(index, balancer).traffic == Traffic::Unknown {
                return Err(PlanError::NotReady {
                    node: node.name.to_string(),
                    what: format!("balancer {} cannot say how it stands, or its check fails there", instance.name),
                    fix: "correct the names of pool and member, the balancer's socket, or the server; then plan again"
                        .into(),
                });
            }
        }
    }
    for (index, node) in topology.members() {
        let stands = start.node(index);
        let (what, fix) = match (stands.process, stands.release) {
            (Process::Ready { .. }, Some(_)) if stands.is_tested() => continue,
            (Process::Ready { .. }, Some(_)) => ("its test does not pass", "repair it, then plan again"),
            (Process::Ready { .. }, None) => ("its release cannot be read", "repair its version command or probe"),
            (Process::Unknown, _) => ("it could not be seen how it stands", "make its host and probe reachable"),
            (Process::Absent | Process::Stopped | Process::Starting | Process::Sick, _) => {
                ("its server does not serve", "start or repair it, then plan again")
            }
        };
        return Err(PlanError::NotReady { node: node.name.to_string(), what: what.into(), fix: fix.into() });
    }
    for (index, node) in topology.spares() {
        if law::is_exposed(start, index) {
            return Err(PlanError::NotReady {
                node: node.name.to_string(),
                what: "it is a spare and is not held out on every balancer".into(),
                fix: "put its row into maintenance; it may be the residue of an earlier run".into(),
            });
        }
    }
    let broken = law::quiet(topology, start);
    if !broken.is_empty() {
        return Err(PlanError::AtRest(broken));
    }
    if topology.members().all(|(index, _)| start.node(index).release == Some(to)) {
        return Err(PlanError::NothingToDo { release: releases.name(to).into() });
    }
    Ok(())
}

fn is_usable_spare(start: &ClusterState, spare: NodeIx) -> bool {
    let stands = start.node(spare);
    stands.release.is_some() && matches!(stands.process, Process::Stopped | Process::Ready { .. })
}

fn build(
    topology: &Topology,
    start: &ClusterState,
    releases: &Releases,
    to: ReleaseId,
    commands: &ChangeCommands,
    spare: Option<NodeIx>,
) -> Plan {
    let policy = &topology.policy;
    let step = |verb: Verb| {
        let step = Step::new(verb, policy).with_attempts(if verb.changes_node() { 1 } else { 2 });
        match (verb, policy.on_drain_deadline) {
            (Verb::TakeOut, OnDrainDeadline::Hold) => step.with_on_failure(OnFailure::Hold),
            _ => step,
        }
    };
    let mut known_good = vec![None; topology.nodes.len()];
    let admitted = |node: NodeIx| start.rows(node).iter().any(|row| row.traffic != Traffic::Out);
    for (index, _) in topology.members() {
        known_good[index.index()] = start.node(index).release.map(|release| KnownGood::new(release, admitted(index)));
    }
    let mut stages = Vec::new();
    if let Some(spare) = spare {
        known_good[spare.index()] = start.node(spare).release.map(|release| KnownGood::new(release, false));
        let verbs = if spare_is_admitted(topology, start, spare) {
            vec![Verb::Start, Verb::Gate, Verb::Admit]
        } else {
            vec![Verb::Start, Verb::Gate]
        };
        let name = "bring the spare at the old release";
        stages.push(Stage::new(name, vec![spare], verbs.into_iter().map(step).collect()));
    }
    let serving = |node: &NodeIx| law::is_serving(start, *node);
    let (active, passive): (Vec<_>, Vec<_>) = topology
        .members()
        .map(|(index, _)| index)
        .filter(|index| start.node(*index).release != Some(to))
        .partition(serving);
    let held_out = topology.members().filter(|(index, _)| !admitted(*index)).count();
    let order: Vec<NodeIx> = passive.iter().chain(&active).copied().collect();
    for (place, node) in order.iter().enumerate() {
        let stands_by = order.len() - place <= held_out && held_out <= active.len();
        let mut verbs = vec![Verb::TakeOut, Verb::Stop, Verb::Apply { to }, Verb::Start, Verb::Gate];
        if stands_by {
            verbs.push(Verb::StandBy);
        } else {
            verbs.push(Verb::Admit);
            if !policy.soak.is_zero() {
                verbs.push(Verb::Soak);
            }
        }
        let role = if serving(node) { "patch the active node" } else { "patch the passive node" };
        stages.push(Stage::new(role, vec![*node], verbs.into_iter().map(step).collect()));
    }
    let point_of_no_return = stages.len();
    if let Some(spare) = spare {
        let verbs = [Verb::TakeOut, Verb::Stop];
        stages.push(Stage::new(
            "close the rollback window and retire the spare",
            vec![spare],
            verbs.map(step).to_vec(),
        ));
    }
    Plan {
        format: PLAN_FORMAT,
        procedure: "patch".into(),
        cluster: topology.name.clone(),
        topology: Plan::digest_of(topology),
        releases: releases.clone(),
        to,
        start: start.clone(),
        known_good,
        commands: commands.clone(),
        stages,
        point_of_no_return,
    }
}

/// Tells whether the spare is admitted for the run: on a backup row, where it takes over by itself when the others are
/// gone, or where all members serve, so that a drained one leaves no gap. Elsewhere it waits, held out.
fn spare_is_admitted(topology: &Topology, start: &ClusterState, spare: NodeIx) -> bool {
    let all_serve = usize::from(topology.pool.serve) >= topology.members().count();
    all_serve || start.rows(spare).iter().all(|row| row.kind == RowKind::Backup)
}
