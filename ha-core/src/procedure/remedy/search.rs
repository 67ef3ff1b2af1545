//! The search: what needs no host first, then the fewest hosts, then the least capacity. Bounded, and the same each time.

use std::cell::Cell;

use super::amendment::{self, Amendment};
use super::near::{Change, Near};
use super::{Amended, Remedy, host};
use crate::law::Invariant;
use crate::plan::Plan;
use crate::procedure::propose::Advice;
use crate::procedure::{PlanError, Procedure, Proposal, Snapshot};
use crate::safety::{Counterexample, prove, prove_with};
use crate::topology::{Name, Topology};

/// How many hosts are tried at most.
const MOST_HOSTS: usize = 2;
/// How many changes of a plan are made together at most.
const MOST_CHANGES: usize = 3;
/// How many plans, of those that get further than the refused one, are changed once more.
const BEAM: usize = 4;

/// Proves a plan; one that breaks the law by itself is told from that alone, before any fault is looked at.
fn try_plan(topology: &Topology, plan: &Plan) -> Result<(), Box<Counterexample>> {
    prove_with(topology, plan, 0)?;
    prove(topology, plan).map(|_| ())
}

/// How many plans may still be tried: fewer of large ones, and of very large ones none.
struct Budget {
    left: Cell<usize>,
    /// Whether more was wanted than there was.
    overdrawn: Cell<bool>,
}

/// Of a plan that was there before.
const BY_HAND: usize = 400;
/// Of a plan that a procedure has made: it has tried its own order.
const OF_A_PROCEDURE: usize = 60;
/// Of a plan with spares more.
const BESIDE_SPARES: usize = 100;
/// With hosts more: their capacity is halved some ten times in each pool.
const WITH_HOSTS: usize = 1_000;
/// How much is proven at most, in nodes times steps; with hosts, which are tried last, ten times as much.
const MOST_WORK: usize = 60_000;

impl Budget {
    fn of(topology: &Topology, plan: &Plan, most: usize) -> Self {
        let size = topology.nodes().count() * plan.steps().max(1);
        let work = if most == WITH_HOSTS { 10 * MOST_WORK } else { MOST_WORK };
        Self { left: Cell::new((work / size).min(most)), overdrawn: Cell::new(false) }
    }

    fn spend(&self) -> Option<()> {
        let Some(left) = self.left.get().checked_sub(1) else {
            self.overdrawn.set(true);
            return None;
        };
        self.left.set(left);
        Some(())
    }

    /// Tells whether nothing more may be tried, and that more was wanted.
    fn is_spent(&self) -> bool {
        self.overdrawn.set(self.overdrawn.get() || self.left.get() == 0);
        self.left.get() == 0
    }

    /// Says what a search that has found nothing has not tried.
    fn untried(&self) -> &'static str {
        if self.overdrawn.get() { ", as far as that was tried" } else { "" }
    }
}

/// Finds a remedy for a refused procedure: of the request and the topology, and of the plan that was refused last.
pub(in crate::procedure) fn for_procedure(
    procedure: &dyn Procedure,
    seen: Snapshot<'_>,
    (plan, refused): (&Plan, &Counterexample),
    advice: &Advice,
) -> Remedy {
    if advice.by_hand {
        return for_plan(seen.topology, plan, refused);
    }
    let budget = Budget::of(seen.topology, plan, OF_A_PROCEDURE);
    let for_hosts = Budget::of(seen.topology, plan, WITH_HOSTS);
    let declared = undeclared(plan);
    let holds_within = |amendments: &[Amendment], budget: Option<&Budget>| {
        let mut amended = Amended::of(seen);
        amendments.iter().try_for_each(|amendment| amendment.apply(&mut amended)).is_some()
            && is_provable(procedure, amended.snapshot(), budget).is_ok()
    };
    let holds = |amendments: &[Amendment]| holds_within(amendments, Some(&for_hosts));
    let given = |amendments: Vec<Amendment>| {
        let message = amendment::message(seen.topology, plan, &amendments);
        Remedy::new(amendments, message)
    };
    // That is one plan, or as many as the procedure has just tried.
    if !declared.is_empty() && holds_within(&declared, None) {
        return given(declared);
    }
    let mut bases = vec![Vec::new()];
    if !declared.is_empty() {
        bases.push(declared);
    }
    let of_the_plan = if is_short_of_capacity(refused) {
        with_more_capacity(seen.topology, plan, refused, &budget)
    } else {
        changed(seen.topology, plan, refused, &budget)
    };
    if let Some(amendments) = of_the_plan {
        return given(amendments);
    }
    for count in 1..=MOST_HOSTS {
        for (base, spare) in bases.iter().flat_map(|base| [true, false].map(|spare| (base, spare))) {
            if let Some(amendments) = with_hosts(seen.topology, base, (count, spare), holds) {
                return given(amendments);
            }
        }
    }
    let untried = if budget.overdrawn.get() { &budget } else { &for_hosts };
    Remedy::none(why_none(procedure, seen, (refused, &advice.text), (untried.untried(), &for_hosts)))
}

/// Finds a remedy for a refused plan: of the plan itself, then with spares.
pub(super) fn for_plan(topology: &Topology, plan: &Plan, refused: &Counterexample) -> Remedy {
    let budget = Budget::of(topology, plan, BY_HAND);
    let beside_spares = Budget::of(topology, plan, BESIDE_SPARES);
    let declared = undeclared(plan);
    let found = Some(declared)
        .filter(|declared| !declared.is_empty() && proves(topology, plan, declared))
        .or_else(|| changed(topology, plan, refused, &budget))
        .or_else(|| with_spares_and_changes(topology, (plan, refused), &beside_spares));
    match found {
        Some(amendments) => {
            let message = amendment::message(topology, plan, &amendments);
            Remedy::new(amendments, message)
        }
        None => Remedy::none(format!(
            "none is known: no single change of the plan makes it provable, nor several at the places where the law breaks, nor one \
             or two spares more, whatever their capacity{}; in the way is: {}",
            if budget.overdrawn.get() { budget.untried() } else { beside_spares.untried() },
            refused.violation
        )),
    }
}

/// Says why there is none: what is in the way, and what still is with the most that was tried.
fn why_none(
    procedure: &dyn Procedure,
    seen: Snapshot<'_>,
    (refused, advice): (&Counterexample, &str),
    (untried, budget): (&str, &Budget),
) -> String {
    let mut amended = Amended::of(seen);
    let hosts = hosts(seen.topology, (MOST_HOSTS, true), &host::largest(seen.topology));
    let applied = hosts.iter().try_for_each(|amendment| amendment.apply(&mut amended));
    let applied = applied.filter(|()| is_short_of_capacity(refused) && !budget.is_spent());
    let still = applied.and_then(|()| is_provable(procedure, amended.snapshot(), Some(budget)).err());
    let still = still.map_or_else(String::new, |still| format!(", and with two large spares more: {still}"));
    format!(
        "none is known: no declaration, no change of the plan, and no further spare or member, whatever its capacity, makes it \
         provable{untried}; in the way is: {}{still}; {advice}",
        refused.violation
    )
}

/// Plans with an amended cluster; the error says what is in the way, or that no more may be tried.
fn is_provable(procedure: &dyn Procedure, seen: Snapshot<'_>, budget: Option<&Budget>) -> Result<(), String> {
    if budget.is_some_and(Budget::is_spent) {
        return Err("nothing more was tried".into());
    }
    let Proposal { plans, .. } = procedure.propose(seen).map_err(|error: PlanError| error.to_string())?;
    let mut refused = String::from("no plan is proposed");
    for plan in plans {
        if budget.is_some_and(|budget| budget.spend().is_none()) {
            break;
        }
        match try_plan(seen.topology, &plan) {
            Ok(()) => return Ok(()),
            Err(found) => refused = found.violation.to_string(),
        }
    }
    Err(refused)
}

/// Lists the declarations that are missing: that the new release may serve beside each that is there.
fn undeclared(plan: &Plan) -> Vec<Amendment> {
    let (Some(to), releases) = (plan.goal.release, &plan.facts.releases) else { return Vec::new() };
    let mut others = Vec::new();
    for other in plan.start.nodes().filter_map(|(_, node)| node.release) {
        if other != to && !releases.may_serve_beside(other, to) && !others.contains(&other) {
            others.push(other);
        }
    }
    let name = |id| releases.name(id).to_owned();
    others.into_iter().map(|other| Amendment::Beside { release: name(to), other: name(other) }).collect()
}

/// Names hosts of these capacities.
fn hosts(topology: &Topology, (count, spare): (usize, bool), capacities: &[u64]) -> Vec<Amendment> {
    let mut made = Vec::new();
    for number in 1..=count {
        let what = format!("{}{number}.", if spare { "new-spare" } else { "new-member" });
        let Some(name): Option<Name> = host::free_name(topology, &what) else { return Vec::new() };
        let capacities = capacities.to_vec();
        made.push(if spare { Amendment::Spare { name, capacities } } else { Amendment::Member { name, capacities } });
    }
    made
}

/// Finds the least capacity of so many hosts that helps: in each pool in turn, by bisection, so that one less does not. Of plans so
/// large that no more may be tried it is enough, and may be more than the least.
fn with_hosts(
    topology: &Topology,
    base: &[Amendment],
    of: (usize, bool),
    holds: impl Fn(&[Amendment]) -> bool,
) -> Option<Vec<Amendment>> {
    let with = |capacities: &[u64]| -> Vec<Amendment> {
        base.iter().cloned().chain(hosts(topology, of, capacities)).collect()
    };
    let mut capacities = host::largest(topology);
    if !holds(&with(&capacities)) {
        return None;
    }
    for pool in 0..capacities.len() {
        let (mut too_little, mut enough) = (0, capacities[pool]);
        while enough > too_little + 1 {
            let half = too_little + (enough - too_little) / 2;
            capacities[pool] = half;
            if holds(&with(&capacities)) { enough = half } else { too_little = half }
        }
        capacities[pool] = enough;
    }
    Some(with(&capacities))
}

fn proves(topology: &Topology, plan: &Plan, amendments: &[Amendment]) -> bool {
    amendment::amend(topology, plan, amendments).is_some_and(|(topology, plan)| try_plan(&topology, &plan).is_ok())
}

/// Brings one or two spares more into the plan, where capacity is what is short, and changes what else is in the way.
fn with_spares_and_changes(
    topology: &Topology,
    (plan, refused): (&Plan, &Counterexample),
    budget: &Budget,
) -> Option<Vec<Amendment>> {
    let for_hosts = Budget::of(topology, plan, WITH_HOSTS);
    if !is_short_of_capacity(refused) {
        return None;
    }
    let largest = host::largest(topology);
    for count in 1..=MOST_HOSTS {
        let added = hosts(topology, (count, true), &largest);
        let (wider, with_them) = amendment::amend(topology, plan, &added)?;
        let near = Near { topology: &wider, plan: &with_them };
        let brought = near.spares().pop()?;
        let (_, with_brought) = amendment::amend(&wider, &with_them, &brought)?;
        budget.spend()?;
        let rest = match try_plan(&wider, &with_brought) {
            Ok(()) => Vec::new(),
            Err(refused) => match changed(&wider, &with_brought, &refused, budget) {
                Some(rest) => rest,
                None => continue,
            },
        };
        let of = |capacities: &[u64]| -> Vec<Amendment> {
            hosts(topology, (count, true), capacities).into_iter().chain(brought.clone()).chain(rest.clone()).collect()
        };
        let holds = |made: &[Amendment]| {
            let capacities = made.iter().find_map(|one| one.capacities().map(<[u64]>::to_vec));
            capacities.is_some_and(|capacities| for_hosts.spend().is_some() && proves(topology, plan, &of(&capacities)))
        };
        let least = with_hosts(topology, &[], (count, true), holds)?;
        return Some(least.into_iter().chain(brought).chain(rest).collect());
    }
    None
}

/// Tells whether more capacity may be what is missing.
fn is_short_of_capacity(refused: &Counterexample) -> bool {
    use Invariant::{Now, OneMoreFailure, Rollback, Settled};
    [Now, OneMoreFailure, Rollback, Settled].contains(&refused.violation.invariant)
}

/// Changes a plan that a procedure has made, where capacity is what is short: its order was derived, and moving steps brings none.
fn with_more_capacity(
    topology: &Topology,
    plan: &Plan,
    refused: &Counterexample,
    budget: &Budget,
) -> Option<Vec<Amendment>> {
    if budget.is_spent() {
        return None;
    }
    let changes = Near { topology, plan }.more_capacity(refused.at?);
    one_more(&Tried::of(topology, plan, refused), changes, budget).ok()
}

/// A plan on the way: what was changed, and where the law breaks then.
struct Tried {
    amendments: Vec<Amendment>,
    topology: Topology,
    plan: Plan,
    refused: Counterexample,
}

impl Tried {
    fn of(topology: &Topology, plan: &Plan, refused: &Counterexample) -> Self {
        let (topology, plan, refused) = (topology.clone(), plan.clone(), refused.clone());
        Self { amendments: Vec::new(), topology, plan, refused }
    }
}

/// Changes a plan until it is provable: at the place where the law breaks, then once more on those plans that get further; then with
/// one change anywhere. What turns out to be needless is left out again.
fn changed(topology: &Topology, plan: &Plan, refused: &Counterexample, budget: &Budget) -> Option<Vec<Amendment>> {
    if budget.is_spent() {
        return None;
    }
    let whole = Tried::of(topology, plan, refused);
    let needed = |found| only_what_is_needed(topology, plan, found);
    let mut open = Vec::new();
    for depth in 0..MOST_CHANGES {
        let mut further = Vec::new();
        for tried in if depth == 0 { std::slice::from_ref(&whole) } else { &open[..] } {
            if budget.is_spent() {
                return None;
            }
            let near = Near { topology: &tried.topology, plan: &tried.plan };
            match one_more(tried, near.at(tried.refused.at?), budget) {
                Ok(found) => return Some(needed(found)),
                Err(refused) => further.extend(refused),
            }
        }
        // The sort is stable: of those that get as far the preferred one is first.
        further.sort_by_key(|tried: &Tried| std::cmp::Reverse(distance(&tried.refused)));
        further.truncate(BEAM);
        open = further;
    }
    one_more(&whole, Near { topology, plan }.anywhere(), budget).ok().map(needed)
}

/// Tries one change more: the plan that is proven, or those that get further than before.
fn one_more(
    tried: &Tried,
    changes: impl IntoIterator<Item = Change>,
    budget: &Budget,
) -> Result<Vec<Amendment>, Vec<Tried>> {
    let mut further = Vec::new();
    for change in changes {
        let Some((topology, plan)) = amendment::amend(&tried.topology, &tried.plan, &change) else { continue };
        if budget.spend().is_none() {
            break;
        }
        let amendments: Vec<Amendment> = tried.amendments.iter().cloned().chain(change).collect();
        match try_plan(&topology, &plan) {
            Ok(()) => return Ok(amendments),
            Err(refused) if distance(&refused) > distance(&tried.refused) => {
                further.push(Tried { amendments, topology, plan, refused: *refused });
            }
            Err(_) => {}
        }
    }
    Err(further)
}

/// How far a plan gets before it breaks the law: one that needs a fault for that gets further than one that breaks it by itself.
fn distance(refused: &Counterexample) -> (bool, Option<(usize, usize)>) {
    (refused.faults > 0, refused.at)
}

/// Leaves out, one after another, what the plan is provable without.
fn only_what_is_needed(topology: &Topology, plan: &Plan, mut amendments: Vec<Amendment>) -> Vec<Amendment> {
    let mut at = amendments.len();
    while at > 0 && amendments.len() > 1 {
        at -= 1;
        let mut fewer = amendments.clone();
        fewer.remove(at);
        if proves(topology, plan, &fewer) {
            amendments = fewer;
        }
    }
    amendments
}
