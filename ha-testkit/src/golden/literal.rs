//! The literal readings, made from the corrected plans by undoing what corrects them.

use ha_core::action::Verb;
use ha_core::plan::{Plan, Stage, Step};
use ha_core::state::Schema;
use ha_core::topology::{NodeIx, Topology};

use super::Planned;

fn is_spare(topology: &Topology, node: NodeIx) -> bool {
    topology.node(node).spare
}

fn has(stage: &Stage, verb: impl Fn(Verb) -> bool) -> bool {
    stage.steps.iter().any(|step| verb(step.verb))
}

fn migrates(stage: &Stage) -> bool {
    has(stage, |verb| matches!(verb, Verb::Migrate { .. }))
}

/// Takes every stage out that brings or retires a spare.
pub(super) fn without_spares(Planned { world, plan, .. }: &Planned) -> Plan {
    let mut plan = plan.clone();
    let keep = |stage: &Stage| {
        let only_spares = stage.targets.iter().all(|node| is_spare(world.topology(), *node));
        !only_spares || has(stage, |verb| verb == Verb::Release)
    };
    plan.point_of_no_return -= plan.stages.iter().take(plan.point_of_no_return).filter(|stage| !keep(stage)).count();
    plan.stages.retain(keep);
    plan
}

pub(super) fn update_without_spare(planned: &Planned) -> Plan {
    without_spares(planned)
}

/// "Enable file sharing": for the active node and the spare at once, while the active one serves.
pub(super) fn update_with_sharing_for_all(Planned { world, plan, .. }: &Planned) -> Plan {
    let mut plan = plan.clone();
    let deploys = |stage: &Stage| has(stage, |verb| matches!(verb, Verb::Deploy { .. }));
    let Some(place) = plan.stages.iter().position(deploys) else { return plan };
    let writer = plan.stages[place].targets.clone();
    let others: Vec<NodeIx> =
        world.topology().nodes().map(|(index, _)| index).filter(|index| !writer.contains(index)).collect();
    let release = Step::new(Verb::Release, world.topology().policy());
    plan.stages.insert(place + 1, Stage::new("re-enable file sharing", others, vec![release]));
    plan.point_of_no_return += 1;
    plan
}

fn with_contract_before(plan: &Plan, place: impl Fn(&Stage) -> bool, skip: usize) -> Plan {
    let mut plan = plan.clone();
    let contract = |stage: &Stage| has(stage, |verb| verb == Verb::Migrate { to: Schema::Contracted });
    let Some(found) = plan.stages.iter().position(contract) else { return plan };
    let stage = plan.stages.remove(found);
    let places = plan.stages.iter().enumerate().filter(|(_, stage)| place(stage)).map(|(index, _)| index);
    let at = places.clone().nth(skip).unwrap_or(0);
    plan.stages.insert(at, stage);
    plan.point_of_no_return = at;
    plan
}

/// "Run the migration scripts in the passive node": on a database that the active node uses too.
pub(super) fn upgrade_with_breaking_scripts(Planned { plan, .. }: &Planned) -> Plan {
    let mut plan = with_contract_before(plan, migrates, 0);
    plan.stages.retain(|stage| !has(stage, |verb| matches!(verb, Verb::Migrate { to } if to != Schema::Contracted)));
    plan
}

pub(super) fn upgrade_contracted_before_the_second_node(Planned { plan, .. }: &Planned) -> Plan {
    with_contract_before(plan, |stage| has(stage, |verb| matches!(verb, Verb::Apply { .. })), 1)
}

pub(super) fn upgrade_contracted_before_the_spare_has_left(Planned { world, plan, .. }: &Planned) -> Plan {
    let retires = |stage: &Stage| {
        stage.targets.iter().all(|node| is_spare(world.topology(), *node)) && has(stage, |verb| verb == Verb::Stop)
    };
    with_contract_before(plan, retires, 0)
}

fn without(plan: &Plan, verb: Verb) -> Plan {
    let mut plan = plan.clone();
    for stage in &mut plan.stages {
        if has(stage, |verb| matches!(verb, Verb::Apply { .. })) {
            stage.steps.retain(|step| step.verb != verb);
        }
    }
    plan
}

pub(super) fn patch_admitted_untested(Planned { plan, .. }: &Planned) -> Plan {
    without(plan, Verb::Gate)
}

pub(super) fn patch_without_drain(Planned { plan, .. }: &Planned) -> Plan {
    without(plan, Verb::TakeOut)
}

/// The spare is there, and no balancer sends it anything.
pub(super) fn with_an_idle_spare(Planned { world, plan, .. }: &Planned) -> Plan {
    let mut plan = plan.clone();
    for stage in &mut plan.stages {
        if stage.targets.iter().all(|node| is_spare(world.topology(), *node)) {
            stage.steps.retain(|step| step.verb != Verb::Admit);
        }
    }
    plan
}
