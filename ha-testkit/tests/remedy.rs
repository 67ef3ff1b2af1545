//! A remedy that is given makes the plan provable, and no smaller one does; where none is given, none of those that come to mind
//! does.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::plan::Plan;
use ha_core::procedure::{
    Amendment, HandOverRequest, OutageRequest, PlanError, Procedure, Remedy, RetireNodeRequest, Snapshot, plan,
    remedy_for,
};
use ha_core::safety::{Counterexample, prove};
use ha_core::topology::Topology;
use ha_testkit::golden::{cases, recoveries};
use ha_testkit::simulate::{Random, mutants};
use ha_testkit::world::{Shape, World};

const FIRST_SEED: u64 = 19_000;

fn how_many(default: u64) -> u64 {
    std::env::var("HA_REMEDIES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What the tables of golden cases say of the remedies: none needs a host, and some are known by their words.
const WORDS: [(&str, &str); 7] = [
    ("update without a spare", "insert a stage: start, gate, admit on spare1"),
    ("update, sharing re-enabled for all nodes at once", "move stage 4 (re-enable file sharing) behind stage"),
    ("upgrade, the scripts run at once against the shared database", "bring the schema to expanded"),
    ("patch, admitted before it is tested", "in stage 2 (change a passive node) insert \"gate\" before step 5 (admit)"),
    (
        "active/active at 75 % each, the spare not serving",
        "in stage 1 (bring a spare as the members are now) insert \"admit\"",
    ),
    ("hand-over, while files are still copied", "insert a stage: hold sync on esb1, esb2"),
    (
        "loss of a site, promoted before it is fenced",
        "move stage 1 (let the other site's database take writes) behind stage 2",
    ),
];

/// What only the returning site has would be lost: no search decides that.
const FOR_A_PERSON: &str = "way back to a site, which never followed the other";

#[tokio::test(start_paused = true)]
async fn each_literal_reading_has_a_remedy_without_a_host_and_with_it_the_plan_is_proven_and_runs() {
    let mut refusals = 0;
    for case in cases().await.unwrap().into_iter().chain(recoveries().await.unwrap()) {
        let Err(refused) = prove(case.topology(), &case.plan) else { continue };
        refusals += 1;
        let remedy = remedy_for(case.topology(), &case.plan, &refused);
        ha_testkit::figures!("{}: {remedy}", case.name);
        if case.name == FOR_A_PERSON {
            assert!(
                remedy.is_none() && remedy.to_string().contains("I9 one site: site north is quarantined"),
                "{remedy}"
            );
            continue;
        }
        let amended = remedy.amend(case.topology(), &case.plan);
        let Some((topology, amended)) = amended else { panic!("{}: {remedy}\n{refused}", case.name) };
        assert_eq!((remedy.hosts(), amended.goal()), (0, case.plan.goal()), "{}: {remedy}", case.name);
        // An amended plan is a procedure: what was proven by hand is planned, and can be run.
        let seen = Snapshot::new(&topology, amended.start(), amended.facts());
        let planned = plan(&amended, seen).unwrap_or_else(|error| panic!("{}: {remedy}\n{error}", case.name));
        assert_eq!(planned.plan().digest(), amended.digest());
        if let Some((_, words)) = WORDS.iter().find(|(name, _)| *name == case.name) {
            assert!(remedy.to_string().contains(words), "{}: {remedy}", case.name);
        }
    }
    assert!(refusals >= 24, "{refusals}");
}

/// A small cluster, often with too little for what is asked of it.
fn shape(random: &mut Random) -> Shape {
    let members = 2 + random.below(3);
    let capacity = [340, 400, 500, 750, 1000][random.below(5)];
    let mut shape = Shape::active_active(members, capacity);
    if random.once_in(3) {
        shape.members[random.below(members)] = [200, 600, 1000][random.below(3)];
    }
    if members > 2 && random.once_in(4) {
        shape.together = vec![1 + random.below(members - 1)];
    }
    shape.serve = if random.once_in(2) { members - 1 } else { members };
    shape.spares = if random.once_in(3) { vec![[100, 250, 500][random.below(3)]] } else { Vec::new() };
    shape.balancers = 1 + random.below(2);
    shape.work = random.once_in(4);
    shape
}

/// Asks something of a cluster that fits it.
fn asked(random: &mut Random, shape: &mut Shape) -> &'static str {
    let what = ["patch", "update", "upgrade", "add service", "outage", "retire", "hand over"][random.below(7)];
    shape.files = matches!(what, "update" | "add service" | "hand over");
    shape.exposure = what == "add service";
    shape.database = what == "upgrade";
    what
}

fn request(what: &str, world: &World) -> Box<dyn Procedure> {
    match what {
        "patch" => Box::new(world.patch_to("2.0")),
        "update" => Box::new(world.update_to(2)),
        "upgrade" => Box::new(world.upgrade_to("2.0")),
        "add service" => Box::new(world.add_service()),
        "outage" => Box::new(OutageRequest::of("esb1")),
        "retire" => Box::new(RetireNodeRequest::of("esb2")),
        _ => Box::new(HandOverRequest::to("esb2")),
    }
}

/// What is refused: the plan, why, and what would help.
type Refused = (Box<Plan>, Box<Counterexample>, Box<Remedy>);

/// Plans a procedure for a cluster of a shape; `None` where it is not refused by the proof.
async fn refused(shape: &Shape, what: &str) -> Option<(World, Refused)> {
    let world = shape.world().ok()?;
    if what == "outage" {
        world.lose("esb1");
    }
    let procedure = request(what, &world);
    match world.engine().plan(procedure.as_ref()).await {
        Err(ha_core::engine::RunError::Plan {
            source: PlanError::Unprovable { plan, counterexample, remedy }, ..
        }) => Some((world, (plan, counterexample, remedy))),
        Ok(_) | Err(_) => None,
    }
}

#[derive(Debug, Default)]
struct Count {
    refused: u64,
    hosts: [u64; 3],
    members: u64,
    of_the_plan: u64,
    none: u64,
}

#[tokio::test(start_paused = true)]
async fn a_remedy_that_is_given_makes_what_was_refused_provable_and_one_less_does_not() {
    let (wanted, mut seed, mut count) = (how_many(8), FIRST_SEED, Count::default());
    while count.refused < wanted {
        let mut random = Random::new(seed);
        seed += 1;
        let mut shape = shape(&mut random);
        let what = asked(&mut random, &mut shape);
        let Some((world, refused)) = refused(&shape, what).await else { continue };
        count.refused += 1;
        check(&format!("seed {}: {what} of {shape:?}", seed - 1), (&shape, what), &world, &refused, &mut count).await;
    }
    ha_testkit::figures!("{count:?} of {} clusters", seed - FIRST_SEED);
    assert!(count.hosts[1] > 2, "{count:?}");
}

async fn check(name: &str, (shape, what): (&Shape, &str), world: &World, refused: &Refused, count: &mut Count) {
    let (refused_plan, counterexample, remedy) = refused;
    let name = format!("{name}\n{counterexample}remedy: {remedy}");
    if remedy.is_none() {
        count.none += 1;
        assert!(remedy.to_string().starts_with("none is known: "), "{name}");
        for (spares, capacity) in [1, 2].into_iter().flat_map(|count| [400, 1000, 2000].map(|it| (count, it))) {
            let mut wider = shape.clone();
            wider.spares.extend(vec![capacity; spares]);
            assert!(self::refused(&wider, what).await.is_some(), "{spares} spares of {capacity} help {name}");
        }
        return;
    }
    count.hosts[remedy.hosts()] += 1;
    let found = world.engine().observe().await.unwrap();
    // Whether a route is free is only observed for who asks for it.
    let from_plan = what == "add service";
    let (state, facts) =
        if from_plan { (refused_plan.start(), refused_plan.facts()) } else { (&found.state, &found.facts) };
    let seen = Snapshot::new(world.topology(), state, facts);
    if let Some(amended) = remedy.apply(seen) {
        let planned = plan(request(what, world).as_ref(), amended.snapshot());
        assert!(planned.is_ok(), "{name}\n{}", planned.unwrap_err());
    } else {
        count.of_the_plan += 1;
        let (topology, amended) = remedy.amend(world.topology(), refused_plan).unwrap();
        assert!(prove(&topology, &amended).is_ok(), "{name}");
    }
    count.members += u64::from(remedy.amendments().iter().any(|one| matches!(one, Amendment::Member { .. })));
    // To the letter, and with one less: the cluster that has the spares, observed anew.
    let spares: Vec<u64> = remedy.amendments().iter().filter_map(spare).collect();
    if !spares.is_empty() && remedy.apply(seen).is_some() {
        let mut wider = shape.clone();
        wider.spares.extend(&spares);
        let followed = self::refused(&wider, what).await;
        assert!(followed.is_none(), "{name}\nfollowed: {}", followed.unwrap().1.1);
        let mut less = shape.clone();
        less.spares.extend(spares.iter().map(|capacity| capacity - 1).filter(|capacity| *capacity > 0));
        assert!(self::refused(&less, what).await.is_some(), "one less is enough: {name}");
    }
}

fn spare(amendment: &Amendment) -> Option<u64> {
    if let Amendment::Spare { capacities, .. } = amendment { capacities.first().copied() } else { None }
}

/// Breaks a proven plan in one place, as who writes plans by hand would.
#[tokio::test(start_paused = true)]
async fn a_plan_with_one_thing_wrong_gets_a_remedy_or_none_that_lies_near_helps() {
    let wanted = how_many(12);
    let (mut tried, mut given, mut seed) = (0, 0, FIRST_SEED);
    let mut none: Vec<String> = Vec::new();
    while tried < wanted {
        let mut random = Random::new(seed);
        seed += 1;
        let mut shape = shape(&mut random);
        shape.spares.push(1000);
        let what = ["patch", "update", "upgrade", "hand over"][random.below(4)];
        (shape.files, shape.database) = (matches!(what, "update" | "hand over"), what == "upgrade");
        let Ok(world) = shape.world() else { continue };
        let Ok(planned) = world.engine().plan(request(what, &world).as_ref()).await else { continue };
        let all = mutants(planned.plan());
        for _ in 0..4 {
            let mutant = random.pick(&all).unwrap();
            let Err(refused) = prove(world.topology(), &mutant.plan) else { continue };
            tried += 1;
            let remedy = remedy_for(world.topology(), &mutant.plan, &refused);
            let name = format!("seed {}: {what}, {}: {remedy}\n{refused}", seed - 1, mutant.name);
            if let Some((topology, amended)) = remedy.amend(world.topology(), &mutant.plan) {
                given += 1;
                assert!(prove(&topology, &amended).is_ok(), "{name}");
                assert_eq!(amended.goal(), planned.plan().goal(), "{name}");
                let last = |plan: &Plan| plan.point_of_no_return() + 1;
                assert!(last(&amended) >= mutant.plan.point_of_no_return(), "less can be rolled back: {name}");
            } else {
                assert!(remedy.is_none() && nothing_near_helps(world.topology(), &mutant.plan), "{name}");
                none.push(name);
            }
        }
    }
    ha_testkit::figures!("plans with one thing wrong: {tried}, {given} with a remedy; none for\n{}", none.join("\n"));
    assert!(given * 10 >= tried * 8, "{given} of {tried}");
}

/// Tries every plan that differs by one step or stage dropped, doubled or swapped.
fn nothing_near_helps(topology: &Topology, plan: &Plan) -> bool {
    mutants(plan).iter().all(|near| near.name.contains("dropped") || prove(topology, &near.plan).is_err())
}

#[tokio::test(start_paused = true)]
async fn the_same_refusal_gets_the_same_remedy_and_one_that_fits_another_plan_is_not_applied() {
    let shape = Shape::active_active(2, 750);
    let (world, (refused_plan, _, remedy)) = refused(&shape, "patch").await.unwrap();
    let (_, (_, _, again)) = refused(&shape, "patch").await.unwrap();
    assert_eq!((&remedy, remedy.hosts()), (&again, 1));
    assert_eq!(
        remedy.to_string(),
        "add one spare of capacity 750, in a failure domain of its own (node.spare = true), as the members are now"
    );
    // The same plan, as if it were written by hand: the spare is brought in it.
    let refusal = prove(world.topology(), &refused_plan).unwrap_err();
    let by_hand = remedy_for(world.topology(), &refused_plan, &refusal);
    let text = by_hand.to_string();
    assert!(
        text.contains("add one spare of capacity 750") && text.contains("start, gate, admit on new-spare1.1"),
        "{text}"
    );
    let (topology, amended) = by_hand.amend(world.topology(), &refused_plan).unwrap();
    assert!(by_hand.hosts() == 1 && prove(&topology, &amended).is_ok());
    // What asks for another topology is no edit of the plan alone: the topology comes with it.
    let (topology, _) = remedy.amend(world.topology(), &refused_plan).unwrap();
    assert_eq!(topology.nodes().count(), 3);
    let other = Shape::active_passive().world().unwrap();
    let planned = other.engine().plan(&other.patch_to("2.0")).await.unwrap();
    let mut swapped = ha_core::plan::Draft::from(planned.plan().clone());
    swapped.stages.swap(0, 1);
    let swapped = Plan::from(swapped);
    let of_another = remedy_for(other.topology(), &swapped, &prove(other.topology(), &swapped).unwrap_err());
    assert!(
        !of_another.is_none()
            && of_another
                .amend(
                    world.topology(),
                    &Plan::from(ha_core::plan::Draft::new(
                        "nothing",
                        world.topology(),
                        refused_plan.start().clone(),
                        refused_plan.facts().clone(),
                        ha_core::plan::Goal::unchanged()
                    ))
                )
                .is_none()
    );
    let seen = world.engine().observe().await.unwrap();
    assert!(of_another.apply(Snapshot::new(world.topology(), &seen.state, &seen.facts)).is_none());
}
