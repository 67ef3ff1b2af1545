//! The safety law, written again from the wording of DESIGN.md sections 3 to 5, small and slow, and sharing nothing with the
//! law, the actions' effects and the explorer of ha-core: of a plan it reads orders, targets and values, of a topology what is
//! declared. On random clusters and plans, the planner's own and mutated ones, both must say the same: accepted, or refused.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clone;
mod driven;
mod generate;
mod model;
mod moves;
mod orders;
mod reaction;
mod walk;
mod wording;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use ha_core::plan::{Draft, Plan};
use ha_core::safety::prove;
use ha_core::topology::Topology;
use ha_testkit::simulate::Random;

use generate::{Entry, Host, Sketch, mutated, shorter};
use walk::{Waves, judge};
use wording::Rule;

/// How many clusters a test takes: `HA_SEEDS`, or a number that a test run can spare.
fn seeds(default: u64) -> u64 {
    std::env::var("HA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// So many clusters, of which not every one can be changed, make 5,000 plans.
const LONG: u64 = 2_200;

/// Mutated plans for each of the planner's own.
const MUTANTS: usize = 5;

#[derive(Default)]
struct Tally {
    clusters: usize,
    cases: usize,
    accepted: usize,
    moments: usize,
    /// By what the checker says is broken.
    refused: BTreeMap<String, usize>,
    /// Plans that break the law where a later order of a wave is ahead of an earlier one: the explorer lets the orders of a
    /// wave happen in their order only, a fault apart. Known, and counted.
    waves: usize,
    differences: Vec<String>,
}

/// Whether the wording and the product say the same of a plan; `Some(true)` where the wording alone accepts it.
fn differ(topology: &Topology, plan: &Plan) -> Option<bool> {
    let (ours, theirs) = (judge(topology, plan, Waves::AtOnce).is_ok(), prove(topology, plan).is_ok());
    (ours != theirs).then_some(ours)
}

/// Shares seeds among all CPUs, and returns what each thread has made of its part.
fn on_all_cpus<T: Default + Send>(end: u64, each: impl Fn(u64, &mut T) + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut made = T::default();
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                seed if seed < end => each(seed, &mut made),
                _ => return made,
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn try_cluster(seed: u64, tally: &mut Tally) {
    let mut random = Random::new(seed);
    let sketch = Sketch::random(&mut random);
    let Some((topology, own)) = sketch.plan() else { return };
    tally.clusters += 1;
    let mut plans = vec![("the planner's own".to_string(), own.clone())];
    plans.extend(mutated(&own, &mut random, MUTANTS));
    for (number, (name, plan)) in plans.into_iter().enumerate() {
        tally.cases += 1;
        let (ours, theirs) = (judge(&topology, &plan, Waves::AtOnce), prove(&topology, &plan));
        match &ours {
            Ok(moments) => (tally.accepted, tally.moments) = (tally.accepted + 1, tally.moments + moments),
            Err(refused) => *tally.refused.entry(format!("{:?}", refused.rule)).or_default() += 1,
        }
        if ours.is_ok() == theirs.is_ok() {
            continue;
        }
        if judge(&topology, &plan, Waves::InOrder).is_ok() == theirs.is_ok() {
            tally.waves += 1;
        } else {
            tally
                .differences
                .push(format!("seed {seed}, plan {number} ({name}): {}", minimised(&sketch, &topology, &plan)));
        }
    }
}

/// Makes a difference small, and describes it.
fn minimised(sketch: &Sketch, topology: &Topology, plan: &Plan) -> String {
    let side = differ(topology, plan);
    let (mut sketch, mut topology, mut plan) = (sketch.clone(), topology.clone(), plan.clone());
    'again: loop {
        for less in shorter(&plan) {
            if differ(&topology, &less) == side {
                plan = less;
                continue 'again;
            }
        }
        break;
    }
    // Of the planner's own plans the cluster can be made smaller too.
    if sketch.plan().is_some_and(|(topology, own)| differ(&topology, &own) == side) {
        'smaller: loop {
            for less in sketch.smaller() {
                if let Some((declared, own)) = less.plan()
                    && differ(&declared, &own) == side
                {
                    (sketch, topology, plan) = (less, declared, own);
                    continue 'smaller;
                }
            }
            break;
        }
    }
    let ours = match judge(&topology, &plan, Waves::AtOnce) {
        Ok(moments) => format!("accepted after {moments} moments"),
        Err(refused) => format!("refused: {:?}\n    {}", refused.rule, refused.moment.join("\n    ")),
    };
    let theirs = match prove(&topology, &plan) {
        Ok(_) => "proven".to_string(),
        Err(refused) => refused.to_string(),
    };
    format!("{sketch:#?}\n{}\n  wording: {ours}\n  product: {theirs}", plan.to_text(&topology))
}

#[test]
fn the_wording_and_the_product_say_the_same_of_every_plan() {
    let mut all = Tally::default();
    let wanted = seeds(190);
    for tally in on_all_cpus(wanted, try_cluster) {
        all.clusters += tally.clusters;
        all.cases += tally.cases;
        all.accepted += tally.accepted;
        all.moments += tally.moments;
        all.waves += tally.waves;
        tally.refused.into_iter().for_each(|(rule, count)| *all.refused.entry(rule).or_default() += count);
        all.differences.extend(tally.differences);
    }
    ha_testkit::figures!(
        "independent checker: {} cases on {} clusters, {} agreed, {} known differences inside waves, {} other differences; {} accepted in {} moments, refused by rule: {:?}",
        all.cases,
        all.clusters,
        all.cases - all.differences.len() - all.waves,
        all.waves,
        all.differences.len(),
        all.accepted,
        all.moments,
        all.refused
    );
    assert!(wanted < LONG || all.cases >= 5_000, "{} cases", all.cases);
    let shown: Vec<&str> = all.differences.iter().take(8).map(String::as_str).collect();
    assert!(all.differences.is_empty(), "{} differences:\n{}", all.differences.len(), shown.join("\n\n"));
}

/// "Our commands never lower an I1 or I2 sum below the last quiet state's, less the lost domain's part; I3 to I7 bind our
/// commands": judged on the reactions of the decision core itself.
#[test]
fn no_command_of_a_reaction_breaks_what_binds_it() {
    let (mut judged, mut broken) = (driven::Judged::default(), Vec::new());
    for (part, found) in on_all_cpus(seeds(200), |seed, (judged, found): &mut (driven::Judged, Vec<String>)| {
        let sketch = Sketch::random(&mut Random::new(seed));
        let Some((topology, plan)) = sketch.plan().filter(|(topology, plan)| prove(topology, plan).is_ok()) else {
            return;
        };
        let what = driven::judge_reactions(&topology, &plan, judged);
        found.extend(what.map(|what| format!("seed {seed}: {what}\n{}", plan.to_text(&topology))));
    }) {
        judged.add(&part);
        broken.extend(found);
    }
    ha_testkit::figures!(
        "reactions judged by the wording: {} plans, {} faults, {} commands, {} plans with a command that breaks what binds it",
        judged.plans,
        judged.faults,
        judged.commands,
        broken.len()
    );
    assert!(broken.is_empty(), "{} plans:\n{}", broken.len(), broken[..broken.len().min(6)].join("\n"));
}

/// The first command of a reaction to a fault in a proven plan that breaks what binds it.
fn broken_reaction(sketch: &Sketch) -> Option<String> {
    let (topology, plan) = sketch.plan().unwrap();
    prove(&topology, &plan).unwrap_or_else(|refused| panic!("{refused}"));
    driven::judge_reactions(&topology, &plan, &mut driven::Judged::default())
}

#[test]
fn what_a_balancer_has_lost_is_re_applied_without_lowering_capacity_to_zero() {
    let mut sketch = Sketch::of(vec![Host::of(1000, 1), Host::of(1000, 2)], Entry::of(1));
    sketch.spares = vec![Host::of(1000, 3)];
    assert_eq!(broken_reaction(&sketch), None);
}

#[test]
fn a_reaction_admits_nobody_who_carries_less_than_the_backup_that_took_over() {
    let backup = Host { backup: true, ..Host::of(600, 2) };
    let small = [Host::of(100, 3), Host::of(1000, 4), Host::of(1000, 5)];
    let members = [Host::of(1000, 1), backup].into_iter().chain(small).collect();
    let pool = Entry { now: 100, after_loss: Some(900), ..Entry::of(1) };
    assert_eq!(broken_reaction(&Sketch::of(members, pool)), None);
}

/// Going back over a cold and a warm node at once: while the warm one drains and the cold one is still in, the loss of the third
/// leaves half a node, and no backup takes over. In their order the cold one is out by then.
#[test]
fn the_wording_sees_a_later_order_of_a_wave_ahead_of_an_earlier_one() {
    let cold = |rack| Host { cold: 500, ..Host::of(1000, rack) };
    let backup = |rack| Host { backup: true, ..Host::of(1000, rack) };
    let mut sketch = Sketch::of(vec![cold(1), backup(2), cold(3)], Entry::of(3));
    sketch.spares = vec![backup(4)];
    let (topology, own) = sketch.plan().unwrap();
    let mut draft = Draft::from(own);
    draft.point_of_no_return = 2;
    let plan = Plan::from(draft);
    let refused = judge(&topology, &plan, Waves::AtOnce).unwrap_err();
    assert_eq!(refused.rule, Rule::OneMoreFailure, "{}", refused.moment.join("\n"));
    judge(&topology, &plan, Waves::InOrder).unwrap_or_else(|refused| panic!("{}", refused.moment.join("\n")));
}
