//! Plan and proof: how long they take, how many states a second, and the same plan in a general model checker.

#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark that cannot go on has failed")]

fn main() {
    for (members, capacity) in [(10_usize, 120_u64), (100, 12)] {
        let shape = ha_testkit::world::Shape::active_active(members, capacity);
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        rt.block_on(async {
            let world = ha_testkit::world::World::from_toml_str(&shape.to_toml()).unwrap();
            let seen = world.engine().observe().await.unwrap();
            let began = std::time::Instant::now();
            let planned =
                ha_core::procedure::patch(world.topology(), &seen.state, &seen.facts, &world.patch_to("2.0")).unwrap();
            println!(
                "{members}: plan+proof {:?}; {} steps, {} stages, {} states {} transitions",
                began.elapsed(),
                planned.plan.steps(),
                planned.plan.stages.len(),
                planned.proof.states,
                planned.proof.transitions
            );
            let began = std::time::Instant::now();
            let proof = ha_core::safety::prove(world.topology(), &planned.plan).unwrap();
            println!(
                "   proof alone {:?} = {:.2} us a state",
                began.elapsed(),
                began.elapsed().as_secs_f64() * 1e6 / proof.states as f64
            );
        });
    }
}
