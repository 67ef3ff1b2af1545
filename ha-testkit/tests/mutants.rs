//! Every proven plan with one thing wrong: what a tool without a law would break with it, the explorer refuses.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::safety::prove;
use ha_testkit::golden::{Expected, cases};
use ha_testkit::simulate::{harm_of, mutants};
use ha_testkit::world::Shape;

struct Count {
    tried: usize,
    harmful: usize,
    refused: usize,
    harmless_refused: usize,
    survivors: Vec<String>,
}

fn shapes() -> Vec<(&'static str, Shape)> {
    vec![
        ("active/passive", Shape::active_passive()),
        ("active/passive, two balancers, pulled work", Shape::active_passive().with_balancers(2).with_work()),
        ("2 x 0.75 and a spare", Shape::active_active(2, 750).with_spares(&[750])),
        ("4 x 0.5 in waves", Shape::active_active(4, 500)),
        ("6 x 0.5 in waves", Shape::active_active(6, 500)),
    ]
}

fn try_all(
    name: &str,
    shape: &Shape,
    topology: &ha_core::topology::Topology,
    plan: &ha_core::plan::Plan,
    count: &mut Count,
) {
    assert_eq!(harm_of(shape, plan), Vec::<String>::new(), "{name}: the proven plan itself");
    for mutant in mutants(plan) {
        count.tried += 1;
        let harm = harm_of(shape, &mutant.plan);
        let refused = prove(topology, &mutant.plan).is_err();
        match (harm.is_empty(), refused) {
            (false, true) => (count.harmful, count.refused) = (count.harmful + 1, count.refused + 1),
            (false, false) => {
                count.harmful += 1;
                count.survivors.push(format!("{name}: {}: {}", mutant.name, harm[0]));
            }
            (true, true) => count.harmless_refused += 1,
            (true, false) => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_explorer_refuses_what_a_tool_without_a_law_would_break() {
    let mut count = Count { tried: 0, harmful: 0, refused: 0, harmless_refused: 0, survivors: Vec::new() };
    for (name, shape) in shapes() {
        let plain = shape.world().unwrap();
        let plan = plain
            .engine()
            .plan(&plain.patch_to("2.0"))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .plan()
            .clone();
        try_all(&format!("patch {name}"), &shape, plain.topology(), &plan, &mut count);
        let plan = plain
            .engine()
            .plan(&plain.patch_to("2.0").in_test_domain_first())
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .plan()
            .clone();
        try_all(&format!("patch in the test domain first {name}"), &shape, plain.topology(), &plan, &mut count);
        let files = shape.clone().with_files();
        let world = files.world().unwrap();
        let plan = world
            .engine()
            .plan(&world.update_to(2))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .plan()
            .clone();
        try_all(&format!("update {name}"), &files, world.topology(), &plan, &mut count);
        let service = shape.clone().with_files().with_exposure();
        let world = service.world().unwrap();
        let plan = world
            .engine()
            .plan(&world.add_service())
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .plan()
            .clone();
        try_all(&format!("add a service {name}"), &service, world.topology(), &plan, &mut count);
        let database = shape.clone().with_database();
        let world = database.world().unwrap();
        let plan = world
            .engine()
            .plan(&world.upgrade_to("2.0"))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .plan()
            .clone();
        try_all(&format!("upgrade {name}"), &database, world.topology(), &plan, &mut count);
    }
    ha_testkit::figures!(
        "mutants of plans: {} tried, {} harmful, {} of them refused; {} harmless ones refused as well",
        count.tried,
        count.harmful,
        count.refused,
        count.harmless_refused
    );
    for survivor in &count.survivors {
        ha_testkit::figures!("survivor: {survivor}");
    }
    assert!(count.harmful > 200, "{}", count.harmful);
    assert!(
        count.refused * 100 >= count.harmful * 99,
        "{} of {}:\n{}",
        count.refused,
        count.harmful,
        count.survivors.join("\n")
    );
}

#[tokio::test(start_paused = true)]
async fn each_literal_reading_does_the_harm_that_it_is_refused_for() {
    for case in cases().await.unwrap() {
        let harm = harm_of(&case.shape, &case.plan);
        match case.expected {
            Expected::Proven => assert_eq!(harm, Vec::<String>::new(), "{}", case.name),
            _ => {
                assert!(!harm.is_empty(), "{}: refused, and does no harm", case.name);
                ha_testkit::figures!("{}: {}", case.name, harm[0]);
            }
        }
    }
}
