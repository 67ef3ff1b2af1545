use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ha_core::machine::monitor::{MonitorEvent, MonitorPolicy};

use super::noise::{Checks, Harm, Noise, Random, Simulation};

/// How many seeds a test takes: `HA_SEEDS`, or a number that a test run can spare.
fn seeds(default: u64) -> u64 {
    std::env::var("HA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Does something for each seed, on all CPUs; returns what came of it in the order of the seeds.
fn each<T: Send>(seeds: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                seed if seed < seeds => done.push((seed, work(seed))),
                _ => return done,
            }
        }
    };
    let mut all: Vec<(u64, T)> = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(take)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    all.sort_by_key(|(seed, _)| *seed);
    all.into_iter().map(|(_, done)| done).collect()
}

fn is_alarm(event: &MonitorEvent) -> bool {
    matches!(event, MonitorEvent::NodeLost { .. } | MonitorEvent::Flapping { .. } | MonitorEvent::SiteLost { .. })
}

const HOUR: u64 = 3_600_000;
const FAST: Checks = Checks { every: 500, fall: 2 };

/// 1 to 5 % of the samples are wrong, every 15 s on average there is a burst of 1.5 s or a pause of a server below `dead_after`.
fn noise(random: &mut Random) -> Noise {
    Noise { permille: random.from(10, 50), pause: 15, burst: 1_500, longest_gc: 1_900 }
}

/// What came of an hour of noise.
struct Hour {
    false_alarms: Vec<String>,
    /// How often each kind of event was told.
    told: BTreeMap<&'static str, u64>,
    /// Wrong samples, bursts and pauses, stalls of the monitor.
    wrong: (u64, u64, u64),
}

fn hour(seed: u64, policy: MonitorPolicy) -> Hour {
    let mut random = Random::new(seed);
    let size = (usize::try_from(random.from(2, 5)).unwrap(), usize::try_from(random.from(1, 2)).unwrap());
    let checks = Checks { every: 500 * random.from(1, 4), fall: u8::try_from(random.from(2, 3)).unwrap() };
    let mut simulation = Simulation::with_policy(seed, size, noise(&mut random), checks, policy);
    simulation.pass(HOUR, |_| false);
    let alarms = simulation.events.iter().filter(|(_, event)| is_alarm(event));
    let false_alarms = alarms.map(|(at, event)| format!("seed {seed} at {at} ms: {event}")).collect();
    let mut told = BTreeMap::new();
    simulation.events.iter().for_each(|(_, event)| *told.entry(event.kind()).or_default() += 1);
    Hour { false_alarms, told, wrong: simulation.wrong }
}

#[test]
fn an_hour_of_noise_loses_no_node() {
    let seeds = seeds(120);
    let done = each(seeds, |seed| hour(seed, MonitorPolicy::default()));
    let (mut kinds, mut wrong) = (BTreeMap::<&str, u64>::new(), (0, 0, 0));
    let mut alarms = Vec::new();
    for Hour { false_alarms, told, wrong: went_wrong } in done {
        alarms.extend(false_alarms);
        told.into_iter().for_each(|(kind, count)| *kinds.entry(kind).or_default() += count);
        wrong = (wrong.0 + went_wrong.0, wrong.1 + went_wrong.1, wrong.2 + went_wrong.2);
    }
    ha_testkit::figures!(
        "{seeds} hours of noise: {} wrong samples, {} bursts and pauses, {} stalls of the monitor; {} false alarms; told: {kinds:?}",
        wrong.0,
        wrong.1,
        wrong.2,
        alarms.len()
    );
    assert!(alarms.is_empty(), "{} false alarms:\n{}", alarms.len(), alarms.join("\n"));
}

/// The noise is not harmless: a monitor that is sure after less than a burst is wrong in the same hours.
#[test]
fn a_monitor_that_is_sure_too_soon_is_wrong_in_the_same_hours() {
    let hasty = MonitorPolicy::default().with_dead_after(Duration::from_millis(500));
    let alarms: usize = each(8, |seed| hour(seed, hasty.clone()).false_alarms.len()).into_iter().sum();
    ha_testkit::figures!("8 hours of the same noise with dead_after = 500 ms: {alarms} false alarms");
    assert!(alarms > 8, "{alarms} false alarms");
}

/// Does harm to one node of four after a time, and returns after how many milliseconds that was found, and whether the
/// monitor was stalled meanwhile.
fn found_after(seed: u64, harm: Harm, noise: Noise, checks: Checks) -> Result<(u64, bool), String> {
    let mut random = Random::new(seed ^ 0xfeed);
    let mut simulation = Simulation::new(seed, (4, 2), noise, checks);
    simulation.pass(random.from(60_000, 120_000), |_| false);
    let node = usize::try_from(random.from(0, 3)).unwrap();
    simulation.harm(node, harm);
    let (began, name) = (simulation.now(), simulation.name(node));
    simulation.pass(600_000, is_alarm);
    let alarm = simulation.events.iter().find(|(_, event)| is_alarm(event));
    match alarm {
        Some((at, MonitorEvent::NodeLost { node, .. })) if *node == name && *at >= began => {
            Ok((at - began, simulation.was_stalled_since(began)))
        }
        other => Err(format!("seed {seed}, {harm:?} of {name} at {began} ms: {other:?}")),
    }
}

#[test]
fn a_true_loss_is_found_in_seconds_under_noise_too() {
    let quiet = Noise { permille: 0, pause: 0, burst: 0, longest_gc: 0 };
    let seeds = seeds(300);
    // Losses, noise, checks of the balancers, and what they take at worst: without noise that is a bound.
    let slow = Checks { every: 2_000, fall: 3 };
    for (harm, checks, bound) in [
        (Harm::Process, FAST, 3_000),
        (Harm::Host, FAST, 1_000 + 4_000),
        (Harm::Link, FAST, 1_000 + 4_000),
        (Harm::Hang, FAST, 1_000 + 12_500),
        (Harm::Process, slow, 6_000 + 1_500),
        (Harm::Host, slow, 6_000 + 4_000),
    ] {
        for (noisy, limit) in [(false, bound), (true, 60_000)] {
            let found = each(seeds, |seed| {
                let noise = if noisy { noise(&mut Random::new(seed)) } else { quiet };
                found_after(seed, harm, noise, checks)
            });
            let missed: Vec<&String> = found.iter().filter_map(|found| found.as_ref().err()).collect();
            assert!(missed.is_empty(), "{} of {seeds}: {missed:#?}", missed.len());
            let mut times: Vec<(u64, bool)> = found.into_iter().flatten().collect();
            times.sort_unstable();
            let (median, worst) = (times[times.len() / 2].0, times[times.len() - 1].0);
            let awake = times.iter().filter(|(_, stalled)| !stalled).map(|(time, _)| *time).max().unwrap();
            ha_testkit::figures!(
                "{harm:?}, checks every {} ms, fall {}, {}: found after {median} ms (median), {awake} ms (worst), {worst} ms (worst \
                 with the monitor stalled meanwhile) of {seeds}",
                checks.every,
                checks.fall,
                if noisy { "noise" } else { "no noise" }
            );
            assert!(worst <= limit, "{harm:?}: {worst} ms, at most {limit} ms");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_hour() {
    for seed in 0..4 {
        let run = || {
            let mut simulation = Simulation::new(seed, (3, 1), noise(&mut Random::new(seed)), FAST);
            simulation.pass(HOUR / 6, |_| false);
            simulation.events
        };
        assert_eq!(run(), run(), "seed {seed}");
    }
}
