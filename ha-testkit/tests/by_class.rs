//! Counting nodes that are alike gives the verdict of visiting every state, for plans that hold and for plans with one thing
//! wrong.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ha_core::plan::Plan;
use ha_core::safety::{Counterexample, Method, PoolMargins, Proof, prove, prove_with};
use ha_core::topology::Topology;
use ha_testkit::simulate::{Procedure, Random, mutants};
use ha_testkit::world::Shape;

/// How many plans of one cluster are tried beside the right one.
const EACH: usize = 24;
const FIRST_SEED: u64 = 7_000_000;

/// A cluster with waves of four nodes and more.
fn shape(random: &mut Random) -> (Shape, Procedure) {
    let members = 6 + random.below(5);
    let capacity = [170, 200, 250, 300, 340, 500][random.below(6)];
    let mut shape = Shape::active_active(members, capacity);
    if random.once_in(3) {
        shape.members[random.below(members)] = capacity * 2;
    }
    if random.once_in(4) {
        shape.together = vec![1 + random.below(members - 1)];
    }
    shape.serve = if random.once_in(4) { members - 1 } else { members };
    shape.spares = vec![capacity; random.below(3)];
    shape.balancers = 1 + random.below(2);
    shape.work = random.once_in(4);
    shape.second_pool = random.once_in(4).then(|| u16::try_from(members).unwrap());
    let procedures = [Procedure::Patch, Procedure::PatchInTestDomain, Procedure::Update, Procedure::Upgrade];
    let procedure = procedures[random.below(4)];
    shape.files = procedure == Procedure::Update;
    shape.database = procedure == Procedure::Upgrade;
    (shape, procedure)
}

/// What a proof says beside how it was come to.
#[derive(Debug, PartialEq)]
enum Verdict {
    Holds(Vec<PoolMargins>),
    Breaks { faults: usize, invariant: ha_core::law::Invariant },
}

fn verdict(proof: &Result<Proof, Box<Counterexample>>) -> Verdict {
    match proof {
        Ok(proof) => Verdict::Holds(proof.pools.clone()),
        Err(refused) => Verdict::Breaks { faults: refused.faults.min(1), invariant: refused.violation.invariant },
    }
}

#[derive(Default)]
struct Count {
    clusters: u64,
    tried: u64,
    hold: u64,
    different: Vec<String>,
}

fn compare(name: &str, topology: &Topology, plan: &Plan, count: &Mutex<Count>) {
    let (by_class, by_state) = (prove(topology, plan), prove_with(topology, plan, 1));
    let (counted, visited) = (verdict(&by_class), verdict(&by_state));
    let mut count = count.lock().unwrap();
    count.tried += 1;
    count.hold += u64::from(by_state.is_ok());
    if counted != visited {
        let refused = [by_class, by_state].map(|proof| proof.err().map(|refused| refused.to_string()));
        count.different.push(format!("{name}: by class {counted:?}, by state {visited:?}\n{refused:?}"));
    }
}

#[test]
fn what_is_proven_by_class_is_what_every_state_says() {
    let wanted = std::env::var("HA_CLASSES").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let (seed, count) = (AtomicU64::new(FIRST_SEED), Mutex::new(Count::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while count.lock().unwrap().clusters < wanted {
                    try_seed(seed.fetch_add(1, Ordering::Relaxed), &count);
                }
            });
        }
    });
    let Count { clusters, tried, hold, different } = count.into_inner().unwrap();
    ha_testkit::figures!(
        "by class: {tried} plans of {clusters} clusters, {hold} of them hold, {} told apart from state by state",
        different.len()
    );
    assert!(different.is_empty(), "{} different:\n{}", different.len(), different.join("\n"));
}

fn try_seed(seed: u64, count: &Mutex<Count>) {
    let mut random = Random::new(seed);
    let (shape, procedure) = shape(&mut random);
    let Ok(world) = shape.world() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let Ok(planned) = runtime.block_on(procedure.plan(&world)) else { return };
    if planned.proof().method != Method::ByClass {
        return;
    }
    count.lock().unwrap().clusters += 1;
    compare(&format!("{shape:?} {procedure:?}"), world.topology(), planned.plan(), count);
    let mutants = mutants(planned.plan());
    for _ in 0..EACH {
        let mutant = random.pick(&mutants).unwrap();
        compare(&format!("{shape:?} {procedure:?}: {}", mutant.name), world.topology(), &mutant.plan, count);
    }
}
