use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;
use hashbrown::HashSet;

use super::event::{Event, Happened};
use super::{Counterexample, Proof};
use crate::action::{self, Order, Verb};
use crate::law::{Invariant, Law, Phase, Violation};
use crate::machine::{Decision, Turn, decide, enter, put_in_doubt, refusal, resolve};
use crate::plan::{Degraded, Plan};
use crate::record::{Cursor, End, Mode, OutcomeKind};
use crate::state::{ClusterState, Process, Progress, Said, ServerDomain};
use crate::topology::{BalancerIx, DomainIx, Topology};

/// Proves that a plan holds the law in every state that it can reach: the fault-free run, every single fault at every
/// moment, and every way back.
///
/// Deterministic: the same topology and plan give the same verdict.
///
/// # Errors
/// The shortest way to a state that breaks the law.
pub fn prove(topology: &Topology, plan: &Plan) -> Result<Proof, Box<Counterexample>> {
    prove_with(topology, plan, 1)
}

/// Proves a plan against up to `faults` faults in one run.
///
/// # Errors
/// The shortest way to a state that breaks the law.
pub fn prove_with(topology: &Topology, plan: &Plan, faults: u8) -> Result<Proof, Box<Counterexample>> {
    // A plan that breaks the law by itself is shown without a fault.
    explore(topology, plan, faults).map_err(|found| match explore(topology, plan, 0) {
        Err(without_fault) if faults > 0 => without_fault,
        Err(_) | Ok(_) => found,
    })
}

fn explore(topology: &Topology, plan: &Plan, faults: u8) -> Result<Proof, Box<Counterexample>> {
    let mut explorer = Explorer {
        topology,
        plan,
        law: Law::new(topology, &plan.facts),
        budget: faults,
        found: Vec::new(),
        open: VecDeque::new(),
        seen: HashSet::with_hasher(FixedState::with_seed(0)),
        hashers: [FixedState::with_seed(1), FixedState::with_seed(2)],
        words: Vec::new(),
        proof: Proof::begin(topology, plan, faults),
    };
    let start = Spot { state: plan.start.clone(), cursor: Cursor::START, faults_left: faults, back: false };
    explorer.visit(start, None, Event::Begun)?;
    while let Some((number, spot)) = explorer.open.pop_front() {
        explorer.follow(number, spot)?;
    }
    explorer.proof.states = explorer.found.len();
    Ok(explorer.proof)
}

/// A state of the product that is explored: the cluster, the place in the plan, the faults that may still come, and
/// whether a person has asked for the way back.
#[derive(Clone, Debug)]
struct Spot {
    state: ClusterState,
    cursor: Cursor,
    faults_left: u8,
    back: bool,
}

/// How a state was reached. The state itself is forgotten once it was followed; two hashes of 64 bits stand for it.
struct Found {
    from: Option<usize>,
    event: Event,
}

struct Explorer<'a> {
    topology: &'a Topology,
    plan: &'a Plan,
    law: Law<'a>,
    budget: u8,
    found: Vec<Found>,
    open: VecDeque<(usize, Spot)>,
    seen: HashSet<(u64, u64), FixedState>,
    hashers: [FixedState; 2],
    words: Vec<u64>,
    proof: Proof,
}

type Step = Result<(), Box<Counterexample>>;

impl Explorer<'_> {
    fn visit(&mut self, mut spot: Spot, from: Option<usize>, event: Event) -> Step {
        self.proof.transitions += 1;
        self.normalize(&mut spot.state);
        // Once a fault has come, nobody asks any more why the run is on its way back.
        spot.back &= spot.faults_left == self.budget;
        let fingerprint = self.fingerprint(&spot);
        if !self.seen.insert(fingerprint) {
            return Ok(());
        }
        let number = self.found.len();
        let broken = self.broken(&spot);
        self.found.push(Found { from, event });
        if let Some(violation) = broken {
            return Err(self.counterexample(number, None, violation));
        }
        self.open.push_back((number, spot));
        Ok(())
    }

    /// Two hashes of 64 bits stand for a state that was visited.
    fn fingerprint(&mut self, spot: &Spot) -> (u64, u64) {
        self.words.clear();
        spot.state.pack(&mut self.words);
        match spot.cursor.packed() {
            Some(place) => self.words.push(place),
            None => self.words.push(self.hashers[0].hash_one(spot.cursor) | 1 << 63),
        }
        self.words.push(u64::from(spot.faults_left) << 1 | u64::from(spot.back));
        let of = |hasher: &FixedState| {
            let mut hasher = hasher.build_hasher();
            for word in &self.words {
                hasher.write_u64(*word);
            }
            hasher.finish()
        };
        (of(&self.hashers[0]), of(&self.hashers[1]))
    }

    /// Where a balancer that forgets admits a node again, nothing tells whether the run said so too.
    fn normalize(&self, state: &mut ClusterState) {
        for (index, _) in self.topology.nodes() {
            let configured = || self.plan.start.rows(index).iter().all(|row| row.traffic == row.admitted());
            if state.node(index).said == Said::Admitted && !state.node(index).moving && configured() {
                state.node_mut(index).said = Said::Nothing;
            }
        }
    }

    fn broken(&mut self, spot: &Spot) -> Option<Violation> {
        let state = &spot.state;
        match self.phase(spot) {
            Phase::Quiet => {
                for ((index, pool), noted) in self.topology.pools().zip(&mut self.proof.pools) {
                    let (now, after) = (pool.required_now(), pool.required_after_loss());
                    let (capacity, worst) = (self.law.capacity(state, index), self.law.worst_loss(state, index));
                    let left = worst.map_or(after, |(left, _)| left);
                    if capacity < now || left < after {
                        return self.law.check(state, Phase::Quiet).err();
                    }
                    noted.now.note(capacity, now);
                    noted.one_more_failure.note(left, after);
                }
                if let Err(violation) = self.law.bound(state) {
                    return Some(violation);
                }
            }
            Phase::Shaken => {
                if let Err(violation) = self.law.check(state, Phase::Shaken) {
                    return Some(violation);
                }
                for ((index, _), noted) in self.topology.pools().zip(&mut self.proof.pools) {
                    noted.note_shaken(self.law.capacity(state, index));
                }
                if let Some(undeclared) = self.undeclared_exposure(state) {
                    return Some(undeclared);
                }
            }
            Phase::Settled => {
                if let Err(violation) = self.law.check(state, Phase::Settled) {
                    return Some(violation);
                }
                for ((index, pool), noted) in self.topology.pools().zip(&mut self.proof.pools) {
                    noted.settled.note(self.law.capacity(state, index), pool.required_after_loss());
                }
            }
        }
        self.bad_end(spot)
    }

    fn phase(&self, spot: &Spot) -> Phase {
        if spot.state.lost().is_some() {
            return if matches!(spot.cursor.mode, Mode::Ended(_)) { Phase::Settled } else { Phase::Shaken };
        }
        if spot.state.forgotten().next().is_some() && !matches!(spot.cursor.mode, Mode::Ended(_)) {
            return Phase::Shaken;
        }
        Phase::Quiet
    }

    /// A balancer that forgets may expose a node whose changed server runs untested: the plan has to say so. A stopped
    /// server refuses, and the balancer goes on to the next.
    fn undeclared_exposure(&mut self, state: &ClusterState) -> Option<Violation> {
        let untested = state.forgotten().find(|index| {
            let node = state.node(*index);
            crate::law::is_exposed(state, *index)
                && node.process != Process::Stopped
                && node.process != Process::Absent
                && !(node.is_tested() && node.server_domain == ServerDomain::Production)
        })?;
        let declared = self.plan.windows.iter().find(|window| window.what == Degraded::ReloadExposure);
        if let Some(window) = declared {
            self.proof.use_window(window);
            return None;
        }
        let name = &self.topology.node(untested).name;
        let facts = format!("a balancer that forgets sends requests to {name}, which is under change and runs");
        Some(Violation::new(Invariant::Tested, facts))
    }

    /// An end must be what it is called: all new, or all old, with nothing open; the fault-free run ends all new, and
    /// the way back all old.
    fn bad_end(&self, spot: &Spot) -> Option<Violation> {
        let Mode::Ended(end) = spot.cursor.mode else { return None };
        let untouched = spot.faults_left == self.budget;
        match end {
            End::NeedsOperator(_) if spot.back && untouched => {
                return Some(Violation::new(Invariant::WayBack, format!("the way back without a fault {end}")));
            }
            End::NeedsOperator(_) if untouched => {
                return Some(Violation::new(Invariant::Repaid, format!("a run without a fault {end}")));
            }
            End::NeedsOperator(_) => return None,
            End::AllNew | End::AllOld => {}
        }
        if let Err(open) = self.law.repaid(&spot.state) {
            return Some(open);
        }
        if end == End::AllOld && !spot.back && untouched {
            return Some(Violation::new(Invariant::Order, "a run without a fault turns back and ends all old"));
        }
        let wrong = if end == End::AllNew { self.not_new(&spot.state) } else { self.not_old(&spot.state) };
        let invariant = if end == End::AllOld { Invariant::WayBack } else { Invariant::Repaid };
        wrong.map(|facts| Violation::new(invariant, format!("the run ended {end}, and {facts}")))
    }

    fn not_new(&self, state: &ClusterState) -> Option<String> {
        let goal = self.plan.goal;
        if goal.schema.is_some_and(|schema| schema != state.schema) {
            return Some(format!("the schema is {}", state.schema));
        }
        for (index, node) in self.topology.members() {
            let stands = state.node(index);
            if goal.release.is_some() && stands.release != goal.release {
                return Some(format!("{} has another release", node.name));
            }
            if goal.generation.is_some() && stands.generation != goal.generation {
                return Some(format!("{} has other files", node.name));
            }
        }
        None
    }

    fn not_old(&self, state: &ClusterState) -> Option<String> {
        for (index, node) in self.topology.members() {
            let Some(known) = self.plan.known_good.get(index.index()).copied().flatten() else { continue };
            let stands = state.node(index);
            if stands.release != Some(known.release) {
                return Some(format!("{} has another release", node.name));
            }
            if stands.generation != Some(known.generation) {
                return Some(format!("{} has other files", node.name));
            }
        }
        None
    }

    fn follow(&mut self, number: usize, spot: Spot) -> Step {
        if let Mode::Ended(_) = spot.cursor.mode {
            return Ok(());
        }
        if spot.faults_left > 0 {
            self.outside_faults(number, &spot)?;
        }
        self.ask_for_the_way_back(number, &spot)?;
        match decide(self.topology, self.plan, &spot.state, spot.cursor) {
            Decision::Act(order) => self.act(number, spot, order),
            Decision::Look(order) => {
                let holds = action::holds(self.law, &spot.state, order);
                let truth = if holds { OutcomeKind::Done } else { OutcomeKind::NotDone };
                let mut next = spot;
                resolve(self.law, &mut next.state, order, truth);
                self.visit(next, Some(number), Event::Looked(order, truth))
            }
            // Orders end inside one transition here, so there is never one in flight to wait for.
            Decision::Await => Ok(()),
            Decision::Move(to, turn) => {
                if matches!(turn, Turn::LawWouldBreak | Turn::Precondition) {
                    self.must_not_be_refused(number, &spot)?;
                }
                let mut next = spot;
                enter(&mut next.state, turn);
                next.cursor = to;
                self.visit(next, Some(number), Event::Turned(turn))
            }
            Decision::End(end) => {
                if matches!(end, End::NeedsOperator(_)) {
                    self.must_not_be_refused(number, &spot)?;
                }
                let mut next = spot;
                next.cursor.mode = Mode::Ended(end);
                self.visit(next, Some(number), Event::Ended(end))
            }
        }
    }

    /// What the world does whatever the run is about to do.
    fn outside_faults(&mut self, number: usize, spot: &Spot) -> Step {
        if spot.state.lost().is_none() {
            let mut lost = Vec::new();
            for domain in self.topology.domains() {
                let alike = self.alike(&spot.state, domain);
                if !lost.contains(&alike) {
                    self.lose(number, spot, domain)?;
                    lost.push(alike);
                }
            }
        }
        for (balancer, _) in self.topology.balancers() {
            self.forget(number, spot, balancer)?;
        }
        Ok(())
    }

    /// I8: from every state before the point of no return that no fault has touched, a person may ask for the way back.
    fn ask_for_the_way_back(&mut self, number: usize, spot: &Spot) -> Step {
        let before = usize::from(spot.cursor.stage) < self.plan.point_of_no_return;
        if spot.back || spot.faults_left < self.budget || spot.cursor.mode != Mode::Forward || !before {
            return Ok(());
        }
        let mut next = spot.clone();
        enter(&mut next.state, Turn::StepFailed);
        next.cursor = Cursor { mode: Mode::Compensating, phase: 0, attempt: 0, ..spot.cursor };
        next.back = true;
        self.visit(next, Some(number), Event::AskedBack)
    }

    fn act(&mut self, number: usize, spot: Spot, order: Order) -> Step {
        if let (Verb::Stop, Err(violation)) = (order.verb, self.law.drained(&spot.state, order.node)) {
            return Err(self.counterexample(number, Some(Event::Acted(order)), violation));
        }
        let mut begun = spot;
        action::begin(self.law, &mut begun.state, order);
        if begun.faults_left == 0 {
            resolve(self.law, &mut begun.state, order, OutcomeKind::Done);
            return self.visit(begun, Some(number), Event::Acted(order));
        }
        let mut done = begun.clone();
        resolve(self.law, &mut done.state, order, OutcomeKind::Done);
        self.step_faults(number, &begun, &done, order)?;
        self.visit(done, Some(number), Event::Acted(order))
    }

    /// The step does nothing, happens in part or happens, and is reported as failed, or nobody knows.
    fn step_faults(&mut self, number: usize, begun: &Spot, done: &Spot, order: Order) -> Step {
        let partial = action::partial_effects(&begun.state, order);
        let mut extents = vec![(begun.state.clone(), Happened::Not), (done.state.clone(), Happened::Fully)];
        extents.extend(partial.into_iter().map(|state| (state, Happened::Partly)));
        for (state, happened) in extents {
            let spot = Spot { state, cursor: begun.cursor, faults_left: begun.faults_left - 1, back: begun.back };
            let mut failed = spot.clone();
            resolve(self.law, &mut failed.state, order, OutcomeKind::NotDone);
            self.visit(failed, Some(number), Event::Failed(order, happened))?;
            let mut lost = spot;
            // The call was lost, or the controller died before it wrote the outcome down.
            let node = lost.state.node_mut(order.node);
            (node.progress, node.moving) = (begun.state.node(order.node).progress, begun.state.node(order.node).moving);
            put_in_doubt(&mut lost.state);
            self.visit(lost, Some(number), Event::Lost(order, happened))?;
            self.proof.faults += 2;
        }
        Ok(())
    }

    /// Tells domains apart by what stands in them. After a loss the run never goes on along its plan, so that of domains
    /// whose nodes have the same capacity and stand the same one speaks for all.
    fn alike(&self, state: &ClusterState, domain: DomainIx) -> (u64, u64) {
        let of = |hasher: &FixedState| {
            let each = |node| {
                let declared = self.topology.node(node);
                let said = self.plan.known_good.get(node.index()).map(Option::is_some);
                let is = (declared.warm_up, declared.spare, declared.site, said);
                let mut hasher = hasher.build_hasher();
                declared.ports.iter().for_each(|port| (port.pool, port.capacity).hash(&mut hasher));
                (state.node(node), state.rows(node), self.plan.start.rows(node), is).hash(&mut hasher);
                hasher.finish()
            };
            self.topology.nodes_of(domain).map(each).fold(0_u64, u64::wrapping_add)
        };
        (of(&self.hashers[0]), of(&self.hashers[1]))
    }

    fn lose(&mut self, number: usize, spot: &Spot, domain: DomainIx) -> Step {
        let mut next = spot.clone();
        next.faults_left -= 1;
        next.state.set_lost(domain);
        for node in self.topology.nodes_of(domain) {
            next.state.node_mut(node).process = Process::Absent;
        }
        self.proof.faults += 1;
        self.visit(next, Some(number), Event::DomainLost(domain))
    }

    /// A balancer instance that is restarted has its configured state again: that in which the run found it.
    fn forget(&mut self, number: usize, spot: &Spot, balancer: BalancerIx) -> Step {
        let mut next = spot.clone();
        next.faults_left -= 1;
        for (index, _) in self.topology.pools() {
            for entrance in self.topology.entrances(index).iter().filter(|entrance| entrance.balancer == balancer) {
                for seat in &entrance.seats {
                    next.state.set_traffic(seat.row, self.plan.start.row(seat.row).traffic);
                }
            }
        }
        self.proof.faults += 1;
        self.visit(next, Some(number), Event::Forgot(balancer))
    }

    /// A plan whose own next step the machine refuses, without a fault, is no plan.
    fn must_not_be_refused(&self, number: usize, spot: &Spot) -> Step {
        if spot.faults_left < self.budget || spot.cursor.mode != Mode::Forward {
            return Ok(());
        }
        match refusal(self.topology, self.plan, &spot.state, spot.cursor) {
            Some(violation) => Err(self.refused(number, spot, violation)),
            None => Ok(()),
        }
    }

    fn refused(&self, number: usize, spot: &Spot, violation: Violation) -> Box<Counterexample> {
        let stage = self.plan.stages.get(usize::from(spot.cursor.stage));
        let step = self.plan.step(usize::from(spot.cursor.stage), usize::from(spot.cursor.step));
        let node = stage
            .and_then(|stage| stage.targets.iter().find(|node| spot.state.node(**node).progress == Progress::Idle));
        let order = node.zip(step).map(|(node, step)| Order { node: *node, verb: step.verb });
        self.counterexample(number, order.map(Event::Refused), violation)
    }

    fn counterexample(&self, number: usize, last: Option<Event>, violation: Violation) -> Box<Counterexample> {
        let mut events = Vec::new();
        events.extend(last);
        let mut at = Some(number);
        while let Some(found) = at.and_then(|number| self.found.get(number)) {
            events.push(found.event);
            at = found.from;
        }
        events.reverse();
        let trace = events.iter().filter_map(|event| event.words(self.topology, self.plan)).collect();
        Box::new(Counterexample { trace, violation, faults: events.iter().filter(|event| event.is_fault()).count() })
    }
}
