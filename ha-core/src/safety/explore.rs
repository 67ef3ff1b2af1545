use std::collections::{HashMap, VecDeque};

use super::{Counterexample, Proof};
use crate::action::{self, Order};
use crate::law::{self, Invariant, Violation};
use crate::machine::{Decision, Turn, decide, enter, resolve};
use crate::plan::Plan;
use crate::record::{Cursor, End, Mode, OutcomeKind};
use crate::state::{ClusterState, Process, Progress};
use crate::topology::{DomainIx, Topology};

/// Explores a plan: the fault-free run and every single fault at every moment, the rollback paths included.
///
/// Deterministic: the same topology and plan give the same verdict.
///
/// # Errors
/// The shortest way to a state that breaks the law.
pub fn prove(topology: &Topology, plan: &Plan) -> Result<Proof, Box<Counterexample>> {
    let mut explorer = Explorer {
        topology,
        plan,
        found: Vec::new(),
        places: HashMap::new(),
        open: VecDeque::new(),
        transitions: 0,
        faults: 0,
        margin_now: u64::MAX,
        margin_settled: None,
    };
    explorer.visit(Spot { state: plan.start.clone(), cursor: Cursor::START, faults_left: 1 }, None, String::new())?;
    while let Some(number) = explorer.open.pop_front() {
        explorer.follow(number)?;
    }
    Ok(Proof {
        plan: plan.digest(),
        states: explorer.found.len(),
        transitions: explorer.transitions,
        faults: explorer.faults,
        lowest_margin_now: explorer.margin_now,
        lowest_margin_settled: explorer.margin_settled,
    })
}

/// A state of the product that is explored: the cluster, the place in the plan, and the faults that may still come.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Spot {
    state: ClusterState,
    cursor: Cursor,
    faults_left: u8,
}

struct Found {
    spot: Spot,
    from: Option<usize>,
    event: String,
}

struct Explorer<'a> {
    topology: &'a Topology,
    plan: &'a Plan,
    found: Vec<Found>,
    places: HashMap<Spot, usize>,
    open: VecDeque<usize>,
    transitions: usize,
    faults: usize,
    margin_now: u64,
    margin_settled: Option<u64>,
}

type Step = Result<(), Box<Counterexample>>;

impl Explorer<'_> {
    fn visit(&mut self, spot: Spot, from: Option<usize>, event: String) -> Step {
        self.transitions += 1;
        if self.places.contains_key(&spot) {
            return Ok(());
        }
        let number = self.found.len();
        let broken = self.broken(&spot);
        self.places.insert(spot.clone(), number);
        self.found.push(Found { spot, from, event });
        if let Some(violation) = broken {
            return Err(Box::new(Counterexample { trace: self.trace(number), violation }));
        }
        self.open.push_back(number);
        Ok(())
    }

    fn broken(&mut self, spot: &Spot) -> Option<Violation> {
        let (has, state) = (law::capacity(self.topology, &spot.state), &spot.state);
        if state.lost().is_none() {
            let broken = law::quiet(self.topology, state).into_iter().next();
            if broken.is_none() {
                self.margin_now = self.margin_now.min(has - self.topology.owed_now());
            }
            return broken.or_else(|| self.bad_end(spot));
        }
        // Until the reaction has ended the fault may have broken capacity; what is exposed must be tested all the same.
        let Mode::Ended(_) = spot.cursor.mode else { return law::tested(self.topology, state).err() };
        let broken = law::settled(self.topology, state).into_iter().next();
        if broken.is_none() {
            let margin = has - self.topology.owed_after_loss();
            self.margin_settled = Some(self.margin_settled.map_or(margin, |least| least.min(margin)));
        }
        broken.or_else(|| self.bad_end(spot))
    }

    /// An end must be what it is called: all new, or all old, with nothing open; the fault-free run ends all new.
    fn bad_end(&self, spot: &Spot) -> Option<Violation> {
        let Mode::Ended(end) = spot.cursor.mode else { return None };
        let violation = |facts: String| Some(Violation { invariant: Invariant::Repaid, facts });
        if let End::NeedsOperator(_) = end {
            return if spot.faults_left > 0 { violation(format!("a run without a fault {end}")) } else { None };
        }
        if let Err(open) = law::repaid(self.topology, &spot.state) {
            return Some(open);
        }
        for (index, node) in self.topology.members() {
            let known = self.plan.known_good.get(index.index()).copied().flatten().map(|known| known.release);
            let owed = if end == End::AllNew { Some(self.plan.to) } else { known };
            if owed.is_some() && spot.state.node(index).release != owed {
                return violation(format!("the run ended {end}, and {} has another release", node.name));
            }
        }
        None
    }

    fn follow(&mut self, number: usize) -> Step {
        let spot = self.found[number].spot.clone();
        if let Mode::Ended(_) = spot.cursor.mode {
            return Ok(());
        }
        if spot.faults_left > 0 {
            for domain in self.topology.domains() {
                self.lose(number, &spot, domain)?;
            }
        }
        match decide(self.topology, self.plan, &spot.state, spot.cursor) {
            Decision::Act(order) => self.act(number, spot, order),
            Decision::Look(order) => {
                let truth = if action::holds(self.topology, &spot.state, order) {
                    OutcomeKind::Done
                } else {
                    OutcomeKind::NotDone
                };
                let event = format!("a look at {}: {truth:?}", self.words(order));
                let mut next = spot;
                resolve(self.topology, &mut next.state, order, truth);
                self.visit(next, Some(number), event)
            }
            // Orders end inside one transition here, so there is never one in flight to wait for.
            Decision::Await => Ok(()),
            Decision::Move(to, turn) => {
                let mut next = spot;
                enter(&mut next.state, turn);
                next.cursor = to;
                self.visit(next, Some(number), if turn == Turn::NextStep { String::new() } else { turn.to_string() })
            }
            Decision::End(end) => {
                let mut next = spot;
                next.cursor.mode = Mode::Ended(end);
                self.visit(next, Some(number), format!("the run ends: {end}"))
            }
        }
    }

    fn act(&mut self, number: usize, spot: Spot, order: Order) -> Step {
        let words = self.words(order);
        if let (action::Verb::Stop, Err(violation)) = (order.verb, law::drained(self.topology, &spot.state, order.node))
        {
            let mut trace = self.trace(number);
            trace.push(words);
            return Err(Box::new(Counterexample { trace, violation }));
        }
        let mut begun = spot.clone();
        action::begin(self.topology, &mut begun.state, order);
        let mut done = begun.clone();
        resolve(self.topology, &mut done.state, order, OutcomeKind::Done);
        self.visit(done.clone(), Some(number), words.clone())?;
        if spot.faults_left == 0 {
            return Ok(());
        }
        let after_fault = |state: ClusterState| Spot { state, cursor: spot.cursor, faults_left: spot.faults_left - 1 };
        let mut outcomes = vec![(begun.state.clone(), OutcomeKind::NotDone, format!("{words} does nothing"))];
        for partial in action::partial_effects(&begun.state, order) {
            outcomes.push((partial.clone(), OutcomeKind::NotDone, format!("{words} happens in part and fails")));
            outcomes.push((partial, OutcomeKind::Unknown, format!("{words} happens in part, nobody knows")));
        }
        outcomes.push((begun.state.clone(), OutcomeKind::Unknown, format!("{words} does nothing, nobody knows")));
        for (mut state, outcome, event) in outcomes {
            self.faults += 1;
            resolve(self.topology, &mut state, order, outcome);
            self.visit(after_fault(state), Some(number), event)?;
        }
        let mut unseen = done;
        unseen.state.node_mut(order.node).progress = Progress::Unknown { looks: 0 };
        self.faults += 1;
        self.visit(after_fault(unseen.state), Some(number), format!("{words} happens, nobody knows"))
    }

    fn lose(&mut self, number: usize, spot: &Spot, domain: DomainIx) -> Step {
        let mut next = spot.clone();
        next.faults_left -= 1;
        next.state.set_lost(domain);
        let nodes: Vec<_> = self.topology.nodes_of(domain).collect();
        for node in nodes {
            next.state.node_mut(node).process = Process::Absent;
        }
        self.faults += 1;
        let event = format!("failure domain {} is lost", self.topology.domains[domain.index()]);
        self.visit(next, Some(number), event)
    }

    fn words(&self, order: Order) -> String {
        format!("{} {}", order.verb, self.topology.node(order.node).name)
    }

    fn trace(&self, number: usize) -> Vec<String> {
        let mut events = Vec::new();
        let mut at = Some(number);
        while let Some(found) = at.and_then(|number| self.found.get(number)) {
            if !found.event.is_empty() {
                events.push(found.event.clone());
            }
            at = found.from;
        }
        events.reverse();
        events
    }
}
