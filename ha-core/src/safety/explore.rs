use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;
use hashbrown::HashSet;

use super::classes::by_class;
use super::event::{Event, Happened};
use super::{Counterexample, Method, Proof};
use crate::action::{Action, Order, ServerAction, TrafficAction};
use crate::law::{Invariant, Law, Phase, Violation};
use crate::machine::{Decision, RunState, Turn, decide, newly_lost, refusal};
use crate::plan::Plan;
use crate::record::{Cursor, End, Mode, OutcomeKind};
use crate::state::{MemberKind, MemberState, Rejected, Traffic};
use crate::topology::{BalancerIx, DomainIx, MemberIx, NodeIx, Topology};

/// Proves that a plan holds the law in every state that it can reach: the fault-free run, every single fault at every
/// moment, orders in flight included, and every rollback.
///
/// Deterministic: the same topology and plan give the same verdict. In a large wave nodes that nothing tells apart are
/// counted ([`Method::ByClass`]): verdict and margins are those of [`prove_with`], which visits every state.
///
/// # Errors
/// The shortest way to a state that breaks the law; without a way, what is wrong with a plan that is none ([`Plan::check`]).
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::action::ServerAction;
/// use ha_core::plan::{Draft, Goal, Plan, Stage, Step};
/// use ha_core::safety::prove;
///
/// # let (topology, state, facts) = observed::cluster()?;
/// let esb1 = topology.find("esb1").ok_or("no such node")?;
/// let stop = Stage::new("stop", vec![esb1], vec![Step::new(ServerAction::Stop, topology.policy())]);
/// let plan = Plan::from(Draft::new("stop", &topology, state, facts, Goal::unchanged()).with_stage(stop));
/// // It takes requests still: the plan is refused, with the shortest way there.
/// let counterexample = prove(&topology, &plan).unwrap_err();
/// assert_eq!(counterexample.faults, 0);
/// println!("{counterexample}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn prove(topology: &Topology, plan: &Plan) -> Result<Proof, Box<Counterexample>> {
    check(topology, plan)?;
    match by_class(topology, plan) {
        Some((few, of_few)) => {
            let proof = explore_in_order(&few, &of_few, 1)?;
            Ok(Proof { plan: plan.digest(), method: Method::ByClass, ..proof })
        }
        None => explore_in_order(topology, plan, 1),
    }
}

/// Proves a plan against up to `faults` faults in one run, state by state.
///
/// # Errors
/// As for [`prove`].
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::procedure::{PatchRequest, Snapshot, plan};
/// use ha_core::safety::prove_with;
///
/// # let (topology, state, facts) = observed::cluster()?;
/// # let patch = PatchRequest::new("2.0", vec!["apply".into()], vec!["restore".into()]).with_beside("1.0");
/// # let planned = plan(&patch, Snapshot::new(&topology, &state, &facts))?;
/// let without_faults = prove_with(&topology, planned.plan(), 0)?;
/// assert!(without_faults.states < planned.proof().states);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn prove_with(topology: &Topology, plan: &Plan, faults: u8) -> Result<Proof, Box<Counterexample>> {
    check(topology, plan)?;
    explore_in_order(topology, plan, faults)
}

fn check(topology: &Topology, plan: &Plan) -> Result<(), Box<Counterexample>> {
    plan.check(topology).map_err(|bad| {
        let violation = Violation::new(Invariant::Order, bad.to_string());
        Box::new(Counterexample { trace: Vec::new(), violation, faults: 0, at: None })
    })
}

fn explore_in_order(topology: &Topology, plan: &Plan, faults: u8) -> Result<Proof, Box<Counterexample>> {
    // A plan that breaks the law by itself is shown without a fault.
    explore(topology, plan, faults).map_err(|found| match explore(topology, plan, 0) {
        Err(without_fault) if faults > 0 => without_fault,
        Err(_) | Ok(_) => found,
    })
}

/// How many states are visited at most where a plan is proven from its middle on.
const MOST_STATES: usize = 1_000_000;

/// Proves the rest of a plan from a state of its run on, state by state, against every single fault; `None` where there are too
/// many states for that.
///
/// # Errors
/// As for [`prove`].
pub(crate) fn prove_rest(
    topology: &Topology,
    plan: &Plan,
    from: &RunState,
) -> Result<Option<Proof>, Box<Counterexample>> {
    check(topology, plan)?;
    explore_from(topology, plan, from.clone(), 1, MOST_STATES)
}

fn explore(topology: &Topology, plan: &Plan, faults: u8) -> Result<Proof, Box<Counterexample>> {
    let proof = explore_from(topology, plan, RunState::of(plan), faults, usize::MAX)?;
    Ok(proof.unwrap_or_else(|| Proof::begin(topology, plan, faults)))
}

fn explore_from(
    topology: &Topology,
    plan: &Plan,
    run: RunState,
    faults: u8,
    most: usize,
) -> Result<Option<Proof>, Box<Counterexample>> {
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
        nodes_of: topology.domains().map(|domain| topology.nodes_of(domain).collect()).collect(),
        proof: Proof::begin(topology, plan, faults),
    };
    let back = run.targets.goes_back();
    let start = ExploredState { run, faults_left: faults, back };
    explorer.visit(start, None, Event::Begun)?;
    while let Some((number, state)) = explorer.open.pop_front() {
        explorer.follow(number, state)?;
        if explorer.found.len() > most {
            return Ok(None);
        }
    }
    explorer.proof.states = explorer.found.len();
    Ok(Some(explorer.proof))
}

/// A state of the product that is explored: the cluster, the place in the plan, the faults that may still come, and
/// whether a person has asked for the rollback.
#[derive(Clone, Debug)]
pub(super) struct ExploredState {
    pub(super) run: RunState,
    pub(super) faults_left: u8,
    pub(super) back: bool,
}

/// How a state was reached. The state itself is forgotten once it was followed; two hashes of 64 bits stand for it.
struct Predecessor {
    from: Option<usize>,
    event: Event,
}

pub(super) struct Explorer<'a> {
    pub(super) topology: &'a Topology,
    pub(super) plan: &'a Plan,
    pub(super) law: Law<'a>,
    pub(super) budget: u8,
    found: Vec<Predecessor>,
    open: VecDeque<(usize, ExploredState)>,
    seen: HashSet<(u64, u64), FixedState>,
    hashers: [FixedState; 2],
    words: Vec<u64>,
    /// The nodes of each failure domain.
    nodes_of: Vec<Vec<NodeIx>>,
    pub(super) proof: Proof,
}

type Step = Result<(), Box<Counterexample>>;

impl Explorer<'_> {
    fn visit(&mut self, mut state: ExploredState, from: Option<usize>, event: Event) -> Step {
        self.proof.transitions += 1;
        // Where the configured state is admitted, nothing tells whether the run said so too.
        let start = self.plan.configured();
        let configured = |node| start.members(node).iter().all(|member| member.traffic == member.admitted());
        state.run.targets.forget_configured(configured);
        let cursor = state.run.cursor;
        let step = self.plan.step(cursor.stage.into(), cursor.step.into());
        let orders = step.zip(self.plan.stages.get(usize::from(cursor.stage)));
        let orders = orders.into_iter().flat_map(|(step, stage)| stage.orders(step.action));
        state.run.targets.forget_recorded(cursor, orders);
        // Once a fault has come, nobody asks any more why the run is being rolled back.
        state.back &= state.faults_left == self.budget;
        let fingerprint = self.fingerprint(&state);
        if !self.seen.insert(fingerprint) {
            return Ok(());
        }
        let number = self.found.len();
        let broken = self.broken(&state);
        self.found.push(Predecessor { from, event });
        if let Some(violation) = broken {
            return Err(self.counterexample((number, cursor), None, violation));
        }
        self.open.push_back((number, state));
        Ok(())
    }

    /// Two hashes of 64 bits stand for a state that was visited. A field that is not named here does not compile.
    fn fingerprint(&mut self, state: &ExploredState) -> (u64, u64) {
        let ExploredState { run: RunState { cluster, targets, cursor }, faults_left, back } = state;
        self.words.clear();
        cluster.pack(&mut self.words);
        match cursor.packed() {
            Some(place) => self.words.push(place),
            None => self.words.push(self.hashers[0].hash_one(cursor) | 1 << 63),
        }
        self.words.push(u64::from(*faults_left) << 1 | u64::from(*back));
        let of = |hasher: &FixedState| {
            let mut hasher = hasher.build_hasher();
            for word in &self.words {
                hasher.write_u64(*word);
            }
            targets.hash(&mut hasher);
            hasher.finish()
        };
        (of(&self.hashers[0]), of(&self.hashers[1]))
    }

    fn follow(&mut self, number: usize, state: ExploredState) -> Step {
        if let Mode::Ended(_) = state.run.cursor.mode {
            return Ok(());
        }
        if state.faults_left > 0 {
            self.outside_faults(number, &state)?;
        }
        self.ask_for_the_rollback(number, &state)?;
        self.end_what_is_in_flight(number, &state)?;
        match decide(self.topology, self.plan, &state.run) {
            Decision::Act(order) => self.act(number, state, order),
            Decision::Look(order) => {
                let holds = state.run.is_done(self.law, order);
                let truth = if holds { OutcomeKind::Done } else { OutcomeKind::NotDone };
                self.resolved(number, state, order, truth, Event::Looked(order, truth))
            }
            // What is in flight ends, as above; nothing else can happen.
            Decision::Await => Ok(()),
            Decision::Move(to, turn) => {
                if matches!(turn, Turn::LawWouldBreak | Turn::Precondition) {
                    self.must_not_be_refused(number, &state)?;
                }
                let mut next = state;
                next.run.enter(to, turn);
                self.visit(next, Some(number), Event::Turned(turn))
            }
            Decision::End(end) => {
                if matches!(end, End::NeedsOperator(_)) {
                    self.must_not_be_refused(number, &state)?;
                }
                let mut next = state;
                next.run.cursor.mode = Mode::Ended(end);
                self.visit(next, Some(number), Event::Ended(end))
            }
        }
    }

    /// Enters an outcome. An effect that cannot follow its state is a flaw of the plan.
    fn resolved(&mut self, number: usize, state: ExploredState, order: Order, is: OutcomeKind, event: Event) -> Step {
        let cursor = state.run.cursor;
        let mut next = state;
        match next.run.resolve(self.law, order, is) {
            Ok(()) => self.visit(next, Some(number), event),
            Err(rejected) => Err(self.counterexample((number, cursor), Some(event), illegal(order, rejected))),
        }
    }

    /// What the world does whatever the run is about to do.
    fn outside_faults(&mut self, number: usize, state: &ExploredState) -> Step {
        if newly_lost(self.plan, &state.run.cluster).is_none() && self.may_lose_one_more(state) {
            let mut lost = Vec::new();
            for domain in self.topology.domains().filter(|domain| !state.run.cluster.is_lost(*domain)) {
                if !self.nodes_of[domain.index()].iter().all(|node| self.is_one(*node)) {
                    continue;
                }
                let alike = self.alike(&state.run, domain);
                if !lost.contains(&alike) {
                    self.lose(number, state, domain)?;
                    lost.push(alike);
                }
            }
        }
        for (balancer, _) in self.topology.balancers() {
            self.forget(number, state, balancer)?;
        }
        Ok(())
    }

    /// Tells whether a node stands for itself only. What happens to one of many happens to a neighbour that is explored.
    fn is_one(&self, node: NodeIx) -> bool {
        self.topology.node(node).stands_for == 1
    }

    /// A plan that begins with a domain lost promises nothing for one more until I2 holds again.
    fn may_lose_one_more(&self, state: &ExploredState) -> bool {
        self.plan.phase == Phase::Quiet || self.law.one_more_failure(&state.run.cluster).is_ok()
    }

    /// I8: from every state that no fault has touched, before the point of no return or at it with nothing behind it begun, a
    /// person may ask for the rollback.
    fn ask_for_the_rollback(&mut self, number: usize, state: &ExploredState) -> Step {
        let cursor = state.run.cursor;
        // A run that has done nothing yet goes back to how it was, whatever that was; a way back that is planned anew is proven then.
        let plan = self.plan;
        let returns = plan.point_of_no_return > 0 && state.run.may_return(plan) && !state.run.plans_its_way_back(plan);
        if state.back || state.faults_left < self.budget || cursor.mode != Mode::Forward || !returns {
            return Ok(());
        }
        let mut next = state.clone();
        next.run.enter(Cursor { mode: Mode::Compensating, phase: 0, attempt: 0, ..cursor }, Turn::StepFailed);
        next.back = true;
        self.visit(next, Some(number), Event::AskedBack)
    }

    /// An order that was in flight when a fault came ends at any moment after it.
    fn end_what_is_in_flight(&mut self, number: usize, state: &ExploredState) -> Step {
        if !state.run.targets.has_step_in_flight() {
            return Ok(());
        }
        let in_flight: Vec<Order> = state.run.targets.in_flight().collect();
        for order in in_flight {
            let lost = |node| state.run.cluster.is_lost(self.topology.node(node).domain);
            // The balancers can still be told of a node that is gone; nobody can reach the node itself.
            let reaches_node = !matches!(order.action(), Action::Traffic(_) | Action::Schema(_) | Action::Exposure(_));
            if reaches_node && order.node().is_some_and(lost) {
                for is in [OutcomeKind::NotDone, OutcomeKind::Unknown] {
                    self.resolved(number, state.clone(), order, is, Event::Failed(order, Happened::Not))?;
                }
            } else {
                self.resolved(number, state.clone(), order, OutcomeKind::Done, Event::Finished(order))?;
            }
        }
        Ok(())
    }

    fn act(&mut self, number: usize, state: ExploredState, order: Order) -> Step {
        let place = (number, state.run.cursor);
        if let (Action::Server(ServerAction::Stop), Some(node)) = (order.action(), order.node())
            && let Err(violation) = self.law.drained(&state.run.cluster, node)
        {
            return Err(self.counterexample(place, Some(Event::Acted(order)), violation));
        }
        let phase = self.phase(&state);
        let before = (phase != Phase::Quiet).then(|| state.run.clone());
        let mut begun = state;
        begun.run.begin_order(self.law, order);
        let mut done = begun.clone();
        if let Err(rejected) = done.run.resolve(self.law, order, OutcomeKind::Done) {
            return Err(self.counterexample(place, Some(Event::Acted(order)), illegal(order, rejected)));
        }
        let lowers = before.and_then(|before| match phase {
            Phase::Shaken => self.lowered(&before, &done.run),
            Phase::Settled if self.plan.is_unprotected() => None,
            Phase::Settled => self.law.keeps_reserve(&before.cluster, &done.run.cluster).err(),
            Phase::Quiet => None,
        });
        if let Some(violation) = lowers {
            return Err(self.counterexample(place, Some(Event::Acted(order)), violation));
        }
        if begun.faults_left > 0 && order.node().is_none_or(|node| self.is_one(node)) {
            self.step_faults(number, &begun, &done, order)?;
            self.faults_in_flight(number, &begun, order)?;
        }
        self.visit(done, Some(number), Event::Acted(order))
    }

    /// What the world does while the order is in flight.
    fn faults_in_flight(&mut self, number: usize, begun: &ExploredState, order: Order) -> Step {
        if matches!(order.action(), Action::Traffic(TrafficAction::Reassert { .. })) {
            return Ok(());
        }
        self.outside_faults(number, begun)
    }

    /// The step does nothing, happens in part or happens, and is reported as failed, or nobody knows.
    fn step_faults(&mut self, number: usize, begun: &ExploredState, done: &ExploredState, order: Order) -> Step {
        let partial = order.partial_effects(self.law, &begun.run.cluster);
        let whole = [(begun.run.cluster.clone(), Happened::Not), (done.run.cluster.clone(), Happened::Fully)];
        for (cluster, happened) in whole.into_iter().chain(partial.into_iter().map(|state| (state, Happened::Partly))) {
            let mut after = begun.clone();
            (after.run.cluster, after.faults_left) = (cluster, begun.faults_left - 1);
            let mut failed = after.clone();
            // What did not happen is refused by no state.
            let _ = failed.run.resolve(self.law, order, OutcomeKind::NotDone);
            self.visit(failed, Some(number), Event::Failed(order, happened))?;
            // The call was lost, or the controller died before it wrote the outcome down.
            after.run.mark_unknown();
            self.visit(after, Some(number), Event::Lost(order, happened))?;
            self.proof.faults += 2;
        }
        Ok(())
    }

    /// Tells domains apart by what is in them. After a loss the run never goes on along its plan, so that of domains whose nodes
    /// have the same capacity and are in the same state one speaks for all.
    fn alike(&self, run: &RunState, domain: DomainIx) -> (u64, u64) {
        let of = |hasher: &FixedState| {
            let each = |node| {
                let declared = self.topology.node(node);
                let said = self.plan.known_good.get(node.index()).map(Option::is_some);
                let is = (declared.warm_up, declared.spare, declared.site, said);
                let mut hasher = hasher.build_hasher();
                declared.ports.iter().for_each(|port| (port.pool, port.capacity).hash(&mut hasher));
                (run.cluster.node(node), run.cluster.members(node), self.plan.configured().members(node), is)
                    .hash(&mut hasher);
                run.targets.hash_node(node, &mut hasher);
                hasher.finish()
            };
            self.nodes_of[domain.index()].iter().copied().map(each).fold(0_u64, u64::wrapping_add)
        };
        (of(&self.hashers[0]), of(&self.hashers[1]))
    }

    fn lose(&mut self, number: usize, state: &ExploredState, domain: DomainIx) -> Step {
        let mut next = state.clone();
        next.faults_left -= 1;
        next.run.cluster.lose(domain, self.nodes_of[domain.index()].iter().copied());
        self.proof.faults += 1;
        self.visit(next, Some(number), Event::DomainLost(domain))
    }

    /// A balancer instance that is restarted has its configured state again: that in which the run found it. So has one that was
    /// gone and comes back.
    fn forget(&mut self, number: usize, state: &ExploredState, balancer: BalancerIx) -> Step {
        let mut next = state.clone();
        next.faults_left -= 1;
        for seat in self.topology.seats_on(balancer) {
            let configured = self.configured(seat.member, seat.node);
            // What was down when the run began is configured to be in, and is again once its server answers.
            let runs = next.run.cluster.node(seat.node).process.is_ready();
            let is_in = configured.traffic == Traffic::Down && runs;
            let traffic = if is_in { configured.admitted() } else { configured.traffic };
            next.run.cluster.set_member(seat.member, MemberState::new(configured.kind, traffic));
        }
        self.proof.faults += 1;
        self.visit(next, Some(number), Event::Forgot(balancer))
    }

    /// Returns how a member is configured: as the plan has found it. Where its balancer was gone then, as another one of the pool
    /// had it, and where all were, a spare out and a member in.
    fn configured(&self, member: MemberIx, node: NodeIx) -> MemberState {
        let start = self.plan.configured();
        let is_there = |member: MemberIx| start.member(member).traffic != Traffic::Gone;
        if is_there(member) {
            return start.member(member);
        }
        let pool = self.topology.memberships(node).find(|(of, ..)| *of == member).map(|(_, port, _)| port.pool);
        let mut others = self.topology.memberships(node).filter(|(_, port, _)| Some(port.pool) == pool);
        let as_another = others.find(|(other, ..)| is_there(*other)).map(|(other, ..)| start.member(other));
        let spare = self.topology.node(node).spare;
        let kind = if spare { MemberKind::Backup } else { MemberKind::Primary };
        as_another.unwrap_or(MemberState::new(kind, if spare { Traffic::Out } else { Traffic::In }))
    }

    /// A plan whose own next step the machine refuses, without a fault, is no plan.
    fn must_not_be_refused(&self, number: usize, state: &ExploredState) -> Step {
        if state.faults_left < self.budget || state.run.cursor.mode != Mode::Forward {
            return Ok(());
        }
        match refusal(self.topology, self.plan, &state.run) {
            Some((order, violation)) => {
                Err(self.counterexample((number, state.run.cursor), Some(Event::Refused(order)), violation))
            }
            None => Ok(()),
        }
    }

    fn counterexample(
        &self,
        (number, cursor): (usize, Cursor),
        last: Option<Event>,
        violation: Violation,
    ) -> Box<Counterexample> {
        let mut events = Vec::new();
        events.extend(last);
        let mut at = Some(number);
        while let Some(found) = at.and_then(|number| self.found.get(number)) {
            events.push(found.event);
            at = found.from;
        }
        events.reverse();
        let trace = events.iter().filter_map(|event| event.message(self.topology, self.plan)).collect();
        let faults = events.iter().filter(|event| event.is_fault()).count();
        let at = Some((usize::from(cursor.stage), usize::from(cursor.step)));
        Box::new(Counterexample { trace, violation, faults, at })
    }
}

fn illegal(order: Order, rejected: Rejected) -> Violation {
    Violation::new(Invariant::Order, format!("{} cannot follow the state of the cluster: {rejected}", order.name()))
}
