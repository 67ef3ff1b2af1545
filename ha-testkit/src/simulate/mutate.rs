use ha_core::plan::{Draft, Plan};

/// A proven plan with one thing wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mutant {
    /// What was done to it.
    pub name: String,
    /// The plan.
    pub plan: Plan,
}

/// Lists every plan with one step dropped, duplicated, swapped with the next or kept from one of its targets, and every
/// plan with one stage dropped or swapped with the next.
///
/// # Examples
///
/// ```
/// use ha_core::safety::prove;
/// use ha_testkit::simulate::mutants;
/// use ha_testkit::world::World;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = World::active_passive();
/// let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
/// let refused = mutants(planned.plan()).into_iter().filter(|mutant| prove(world.topology(), &mutant.plan).is_err());
/// assert!(refused.count() > 0);
/// # });
/// ```
pub fn mutants(plan: &Plan) -> Vec<Mutant> {
    let mut made = Vec::new();
    let mut add = |name: String, change: &dyn Fn(&mut Draft)| {
        let mut mutant = Draft::from(plan.clone());
        change(&mut mutant);
        let mutant = Plan::from(mutant);
        if mutant != *plan {
            made.push(Mutant { name, plan: mutant });
        }
    };
    for (at, stage) in plan.stages().iter().enumerate() {
        for (step, described) in stage.steps.iter().enumerate() {
            let place = format!("{}.{} {}", at + 1, step + 1, described.action);
            // A stage without steps is no plan: its only step is dropped with it.
            if stage.steps.len() > 1 {
                add(format!("{place} dropped"), &|plan| {
                    plan.stages[at].steps.remove(step);
                });
            }
            add(format!("{place} duplicated"), &|plan| {
                let again = plan.stages[at].steps[step];
                plan.stages[at].steps.insert(step, again);
            });
            if step + 1 < stage.steps.len() {
                add(format!("{place} swapped with the next"), &|plan| plan.stages[at].steps.swap(step, step + 1));
            }
            if stage.nodes.len() > 1 {
                add(format!("{place} kept from its last target"), &|plan| keep_from_last_target(plan, at, step));
            }
        }
        let place = format!("stage {}", at + 1);
        add(format!("{place} dropped"), &|plan| {
            plan.stages.remove(at);
            plan.point_of_no_return -= usize::from(at < plan.point_of_no_return);
        });
        if at + 1 < plan.stages().len() {
            add(format!("{place} swapped with the next"), &|plan| plan.stages.swap(at, at + 1));
        }
    }
    made
}

/// Splits a stage so that one step is not applied to its last target.
fn keep_from_last_target(plan: &mut Draft, at: usize, step: usize) {
    let mut before = plan.stages[at].clone();
    let mut only = before.clone();
    let mut after = before.clone();
    before.steps.truncate(step);
    only.steps = vec![only.steps[step]];
    only.nodes.pop();
    after.steps.drain(..=step);
    let parts: Vec<_> = [before, only, after].into_iter().filter(|stage| !stage.steps.is_empty()).collect();
    let added = parts.len() - 1;
    plan.stages.splice(at..=at, parts);
    if at < plan.point_of_no_return {
        plan.point_of_no_return += added;
    }
}
