//! Plan and proof of a rolling patch of 10 to 1,000 nodes, and the same 10-node plan in stateright, in one run.

#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark that cannot go on has failed")]

mod peer;

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use ha_core::plan::Plan;
use ha_core::procedure::{Planned, Snapshot, plan};
use ha_core::safety::prove;
use ha_core::state::{ClusterState, Facts};
use ha_testkit::world::{Shape, World};
use peer::Peer;
use stateright::{Checker, Model};

/// How many nodes, and what each can carry of the load, in ten-thousandths: a sixth of them can be missed.
const FLEET: [(usize, u64); 6] = [(10, 1_200), (20, 600), (40, 300), (100, 120), (300, 40), (1_000, 12)];

/// A cluster where all members serve, seen at rest.
fn seen(members: usize, capacity: u64) -> (World, ClusterState, Facts) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut shape = Shape::active_active(members, capacity);
        shape.peak_load = 10_000;
        let world = shape.world().unwrap();
        let seen = world.engine().observe().await.unwrap();
        (world, seen.state, seen.facts)
    })
}

fn planned(members: usize, capacity: u64) -> (World, Planned) {
    let (world, state, facts) = seen(members, capacity);
    let planned = plan(&world.patch_to("2.0"), Snapshot::new(world.topology(), &state, &facts)).unwrap();
    (world, planned)
}

/// Reads a size of this process from /proc, in MiB.
fn mib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Says how much more memory something needs at its peak than there was before, in MiB.
fn needs<T>(act: impl FnOnce() -> T) -> (T, u64) {
    // Sets the highest resident size back to the present one.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = mib("VmRSS:");
    let made = act();
    (made, mib("VmHWM:").saturating_sub(before))
}

/// One exploration of the whole plan.
#[derive(Clone, Copy)]
struct Run {
    states: usize,
    seconds: f64,
}

impl Run {
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    fn count(self) -> f64 {
        self.states as f64
    }

    fn rate(self) -> f64 {
        self.count() / self.seconds
    }

    fn median(mut runs: Vec<Self>) -> Self {
        runs.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        runs[runs.len() / 2]
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} states in {:.2} ms, {:.0} a second", self.states, self.seconds * 1e3, self.rate())
    }
}

/// Checks the plan with stateright.
fn stateright_run(world: &World, plan: &Plan) -> Run {
    let peer = Peer { topology: world.topology().clone(), plan: plan.clone() };
    let began = Instant::now();
    let checker = peer.checker().threads(1).spawn_bfs().join();
    let seconds = began.elapsed().as_secs_f64();
    checker.assert_properties();
    Run { states: checker.unique_state_count(), seconds }
}

fn our_run(world: &World, plan: &Plan) -> Run {
    let began = Instant::now();
    let proof = prove(world.topology(), plan).unwrap();
    Run { states: proof.states, seconds: began.elapsed().as_secs_f64() }
}

/// Prints how long plan and proof of a fleet take, the median of some turns, and what they need of memory.
fn fleet() {
    let rounds = 5;
    for (members, capacity) in FLEET {
        let (world, state, facts) = seen(members, capacity);
        let request = world.patch_to("2.0");
        let once = || {
            let began = Instant::now();
            let planned = plan(&request, Snapshot::new(world.topology(), &state, &facts)).unwrap();
            let run = Run { states: planned.proof().states, seconds: began.elapsed().as_secs_f64() };
            (run, planned)
        };
        let ((_, planned), memory) = needs(once);
        let run = Run::median((0..rounds).map(|_| once().0).collect());
        println!(
            "{members} nodes in {} stages, proven {:?}: plan and proof {:.1} ms, {} states, {memory} MiB",
            planned.plan().stages().len(),
            planned.proof().method,
            run.seconds * 1e3,
            run.states
        );
    }
}

fn proof(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan and proof");
    group.sample_size(10);
    let (world, state, facts) = seen(10, 1_200);
    let request = world.patch_to("2.0");
    group.bench_function("10 nodes", |bench| {
        bench.iter(|| black_box(plan(&request, Snapshot::new(world.topology(), &state, &facts)).unwrap()));
    });
    let (large, large_state, large_facts) = seen(100, 120);
    group.bench_function("100 nodes, in waves", |bench| {
        bench.iter(|| black_box(plan(&request, Snapshot::new(large.topology(), &large_state, &large_facts)).unwrap()));
    });
    group.finish();
    fleet();
    let (world, planned) = planned(10, 1_200);
    println!("10 nodes: {} steps, {} states", planned.plan().steps(), planned.proof().states);
    let rounds = 9;
    let ours: Vec<Run> = (0..rounds).map(|_| our_run(&world, planned.plan())).collect();
    let theirs: Vec<Run> = (0..rounds).map(|_| stateright_run(&world, planned.plan())).collect();
    let (ours, theirs) = (Run::median(ours), Run::median(theirs));
    println!("here:       {ours}");
    println!("stateright: {theirs}");
    println!(
        "to the same verdict {:.1} x faster (alike losses and rollbacks are folded: {:.1} x fewer states, each at {:.1} x \
         the rate)",
        theirs.seconds / ours.seconds,
        theirs.count() / ours.count(),
        ours.rate() / theirs.rate()
    );
}

criterion_group!(benches, proof);
criterion_main!(benches);
