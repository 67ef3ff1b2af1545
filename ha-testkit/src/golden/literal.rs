//! The literal readings, made from the corrected plans by undoing what corrects them.

use ha_core::action::{Action, ExposureAction, FilesAction, SchemaAction, ServerAction, TrafficAction};
use ha_core::plan::{Draft, Plan, Stage, Step};
use ha_core::state::{CloneStep, Schema};
use ha_core::topology::{NodeIx, Topology};

use super::Planned;

fn has(stage: &Stage, action: impl Fn(Action) -> bool) -> bool {
    stage.steps.iter().any(|step| action(step.action))
}

fn migrates(stage: &Stage) -> bool {
    has(stage, |action| matches!(action, Action::Schema(SchemaAction::Migrate { .. })))
}

fn applies(stage: &Stage) -> bool {
    has(stage, |action| matches!(action, Action::Server(ServerAction::Apply { .. })))
}

const CONTRACT: Action = Action::Schema(SchemaAction::Migrate { to: Schema::Contracted });

fn only_spares(topology: &Topology, stage: &Stage) -> bool {
    !stage.nodes.is_empty() && stage.nodes.iter().all(|node| topology.node(*node).spare)
}

/// Takes every stage out that brings or retires a spare.
pub(super) fn without_spares(Planned { world, plan, .. }: &Planned) -> Plan {
    let mut plan = Draft::from(plan.clone());
    let keep = |stage: &Stage| {
        !only_spares(world.topology(), stage) || has(stage, |action| action == FilesAction::Release.into())
    };
    plan.point_of_no_return -= plan.stages.iter().take(plan.point_of_no_return).filter(|stage| !keep(stage)).count();
    plan.stages.retain(keep);
    plan.into()
}

pub(super) fn update_without_spare(planned: &Planned) -> Plan {
    without_spares(planned)
}

/// "Enable file sharing": for the active node and the spare at once, while the active one serves.
pub(super) fn update_with_sharing_for_all(Planned { world, plan, .. }: &Planned) -> Plan {
    let mut plan = Draft::from(plan.clone());
    let deploys = |stage: &Stage| has(stage, |action| matches!(action, Action::Files(FilesAction::Deploy { .. })));
    let Some(place) = plan.stages.iter().position(deploys) else { return plan.into() };
    let writer = plan.stages[place].nodes.clone();
    let others: Vec<NodeIx> =
        world.topology().nodes().map(|(index, _)| index).filter(|index| !writer.contains(index)).collect();
    let release = Step::new(FilesAction::Release, world.topology().policy());
    plan.stages.insert(place + 1, Stage::new("re-enable file sharing", others, vec![release]));
    plan.point_of_no_return += 1;
    plan.into()
}

/// "Do a test and expose": once the service is on the node where it was deployed, and has passed its test there.
pub(super) fn service_exposed_after_one_test(Planned { plan, .. }: &Planned) -> Plan {
    let deploys = |stage: &Stage| has(stage, |action| matches!(action, Action::Files(FilesAction::Deploy { .. })));
    with_expose_at(plan, |stages| stages.iter().position(deploys).map_or(0, |place| place + 1))
}

pub(super) fn service_exposed_before_the_spare_has_left(Planned { world, plan, .. }: &Planned) -> Plan {
    let retires = |stage: &Stage| {
        only_spares(world.topology(), stage) && has(stage, |action| action == ServerAction::Stop.into())
    };
    with_expose_at(plan, |stages| stages.iter().position(retires).unwrap_or(0))
}

fn with_expose_at(plan: &Plan, place: impl Fn(&[Stage]) -> usize) -> Plan {
    let mut plan = Draft::from(plan.clone());
    let exposes = |stage: &Stage| has(stage, |action| action == ExposureAction::Expose.into());
    let Some(found) = plan.stages.iter().position(exposes) else { return plan.into() };
    let stage = plan.stages.remove(found);
    let place = place(&plan.stages);
    plan.stages.insert(place, stage);
    plan.into()
}

fn with_contract_before(plan: &Plan, place: impl Fn(&Stage) -> bool, skip: usize) -> Draft {
    let mut plan = Draft::from(plan.clone());
    let contract = |stage: &Stage| has(stage, |action| action == CONTRACT);
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
    plan.stages.retain(|stage| !migrates(stage) || has(stage, |action| action == CONTRACT));
    plan.into()
}

pub(super) fn upgrade_contracted_before_the_second_node(Planned { plan, .. }: &Planned) -> Plan {
    with_contract_before(plan, applies, 1).into()
}

pub(super) fn upgrade_contracted_before_the_spare_has_left(Planned { world, plan, .. }: &Planned) -> Plan {
    let retires = |stage: &Stage| {
        only_spares(world.topology(), stage) && has(stage, |action| action == ServerAction::Stop.into())
    };
    with_contract_before(plan, retires, 0).into()
}

/// Takes writes to the clone as soon as one node uses it, while another one serves from the source.
pub(super) fn clone_opened_early(Planned { plan, .. }: &Planned) -> Plan {
    with_open_at(plan, |stages| stages.iter().position(applies).map_or(0, |place| place + 1))
}

/// Takes writes to the clone while the spare may be served from the source.
pub(super) fn clone_opened_beside_the_spare(Planned { world, plan, .. }: &Planned) -> Plan {
    let retires = |stage: &Stage| {
        only_spares(world.topology(), stage) && has(stage, |action| action == ServerAction::Stop.into())
    };
    with_open_at(plan, |stages| stages.iter().position(retires).unwrap_or(0))
}

fn with_open_at(plan: &Plan, place: impl Fn(&[Stage]) -> usize) -> Plan {
    let mut plan = Draft::from(plan.clone());
    let opens = |stage: &Stage| has(stage, |action| action == CloneStep::Open.into());
    let Some(at) = plan.stages.iter().position(opens) else { return plan.into() };
    let open = plan.stages.remove(at);
    let place = place(&plan.stages);
    plan.stages.insert(place, open);
    plan.point_of_no_return = place;
    plan.into()
}

fn without(plan: &Plan, action: Action) -> Plan {
    let mut plan = Draft::from(plan.clone());
    for stage in &mut plan.stages {
        if applies(stage) {
            stage.steps.retain(|step| step.action != action);
        }
    }
    plan.into()
}

pub(super) fn patch_admitted_untested(Planned { plan, .. }: &Planned) -> Plan {
    without(plan, ServerAction::Gate.into())
}

/// No node is tested before it is used.
pub(super) fn without_gates(Planned { plan, .. }: &Planned) -> Plan {
    let mut plan = Draft::from(plan.clone());
    for stage in &mut plan.stages {
        stage.steps.retain(|step| step.action != ServerAction::Gate.into());
    }
    plan.into()
}

/// The spare leaves first, then the member that it stood in for comes back.
pub(super) fn stand_in_retired_first(Planned { plan, .. }: &Planned) -> Plan {
    let mut plan = Draft::from(plan.clone());
    plan.stages.reverse();
    plan.into()
}

pub(super) fn patch_without_drain(Planned { plan, .. }: &Planned) -> Plan {
    without(plan, TrafficAction::TakeOut.into())
}

/// The spare is there, and no balancer sends it anything.
pub(super) fn with_an_idle_spare(Planned { world, plan, .. }: &Planned) -> Plan {
    let mut plan = Draft::from(plan.clone());
    for stage in &mut plan.stages {
        if only_spares(world.topology(), stage) {
            stage.steps.retain(|step| step.action != TrafficAction::Admit.into());
        }
    }
    plan.into()
}
