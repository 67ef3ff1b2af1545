//! Walks a plan through everything that can happen to it: each order begins, is half-way and ends in any order inside its wave;
//! each single fault at each of these moments; the reaction and the rollback that follow. Slow on purpose: every moment is a
//! value, and is judged by the wording once.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use ha_core::plan::{Degraded, Plan};
use ha_core::state::Schema;
use ha_core::topology::Topology;

use super::clone::Made;
use super::model::{At, Cluster, State};
use super::orders::{Order, read};
use super::wording::{Rule, Sums};

/// Why a plan is refused: what is broken, and everything that happened until then.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) rule: Rule,
    pub(crate) moment: Vec<String>,
}

/// A moment of a run.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Run {
    pub(super) state: State,
    /// What the guard re-applies where a balancer forgets it, for each node.
    pub(super) wishes: Vec<Option<At>>,
    pub(super) place: Place,
    /// How far each order of the place has come.
    pub(super) fates: Vec<Fate>,
    /// The nodes on which the orders of this step have begun, also of the step at which the run turned back: what is not
    /// recorded is not compensated. `None` once it has gone back to an earlier step, of which all are.
    pub(super) recorded: Option<Vec<usize>>,
    /// The one fault has come.
    pub(super) fault: bool,
    /// A person has asked for the rollback, and no fault came.
    pub(super) asked: bool,
    /// It goes back to the beginning of its stage only.
    pub(super) withdrawing: bool,
    /// Between a loss, or a balancer that forgets, and the end of the reaction: what no command of ours may go below.
    pub(super) floor: Option<Sums>,
    pub(super) end: Option<End>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Place {
    pub(super) stage: usize,
    pub(super) step: usize,
    /// While going back: which order of each compensation.
    pub(super) phase: Option<usize>,
    pub(super) attempt: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Fate {
    Idle,
    /// The intent is recorded; what has happened of it is in the state. At most one order of a wave is seen half-way.
    Flying {
        half: bool,
    },
    Done,
    NotDone {
        looked: bool,
    },
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum End {
    AllNew,
    AllOld,
    Operator,
}

/// What led from one moment to the next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Begins(Order),
    HalfWay(Order),
    Ends(Order),
    NeverEnds(Order),
    Fails(Order),
    HappensAndFails(Order),
    AnswerLost(Order),
    Dies,
    AskedBack,
    DomainLost(usize),
    Forgets(usize),
    Reapplied(usize, At),
    Secured(usize),
    Turns(&'static str),
    Over(End),
}

pub(super) type Next = (Event, Run);

pub(super) struct Walk<'a> {
    pub(super) cluster: Cluster<'a>,
    pub(super) plan: &'a Plan,
    pub(super) waves: Waves,
    seen: HashSet<Run, BuildHasherDefault<Quick>>,
    open: VecDeque<(usize, Run)>,
    trail: Vec<(usize, Option<Event>)>,
}

/// Moments are told apart by what they are; this only spreads them, at a third of the standard hasher's time.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number.cast_unsigned() as u64);
    }
}

/// How the orders of a wave follow each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Waves {
    /// As DESIGN.md says: all at once, each as fast as it is.
    AtOnce,
    /// Each once the one before has ended, while no fault has come.
    InOrder,
}

/// Judges a plan by the wording of DESIGN.md; returns how many moments were looked at.
pub(crate) fn judge(topology: &Topology, plan: &Plan, waves: Waves) -> Result<usize, Refused> {
    let cluster = Cluster::read(topology, plan);
    let state = Cluster::seen(plan.start());
    let place = Place { stage: 0, step: 0, phase: None, attempt: 0 };
    let mut run = Run {
        wishes: vec![None; state.nodes.len()],
        state,
        place,
        fates: Vec::new(),
        recorded: Some(Vec::new()),
        fault: false,
        asked: false,
        withdrawing: false,
        floor: None,
        end: None,
    };
    let mut walk = Walk { cluster, plan, waves, seen: HashSet::default(), open: VecDeque::new(), trail: Vec::new() };
    run.fates = vec![Fate::Idle; walk.orders(&run).len()];
    walk.visit(0, None, run)?;
    while let Some((number, run)) = walk.open.pop_front() {
        let (next, refused) = walk.next(&run);
        for (event, run) in next {
            walk.visit(number, Some(event), run)?;
        }
        if let Some(rule) = refused {
            return Err(walk.refused(number, rule));
        }
    }
    Ok(walk.trail.len())
}

impl Walk<'_> {
    /// The orders of a place: of the step, or of its compensation.
    pub(super) fn orders(&self, run: &Run) -> Vec<Order> {
        let stage = self.plan.stages().get(run.place.stage);
        let Some((stage, step)) = stage.and_then(|stage| Some((stage, stage.steps.get(run.place.step)?))) else {
            return Vec::new();
        };
        let orders = read(stage, step.action);
        let Some(phase) = run.place.phase else { return orders };
        let back = |order: Order| {
            let recorded = run.recorded.as_ref().is_none_or(|begun| begun.contains(&order.node));
            if let Some(undone) = order.undo_clone() {
                return (phase == 0 && recorded).then_some(undone);
            }
            let known = self.plan.known_good().get(order.node).copied().flatten()?;
            order.undo(known).get(phase).copied().filter(|_| recorded)
        };
        orders.into_iter().filter_map(back).collect()
    }

    fn visit(&mut self, from: usize, event: Option<Event>, mut run: Run) -> Result<(), Refused> {
        if run.state.lost.is_none() && self.to_reapply(&run).is_empty() {
            // "Nothing lost: back to quiet."
            run.floor = None;
        }
        // Once a fault has come, nobody asks any more why the run goes back.
        run.asked &= !run.fault;
        if self.seen.contains(&run) {
            return Ok(());
        }
        let number = self.trail.len();
        self.trail.push((from, event));
        if let Some(rule) = self.broken(&run) {
            return Err(self.refused(number, rule));
        }
        self.seen.insert(run.clone());
        self.open.push_back((number, run));
        Ok(())
    }

    fn broken(&self, run: &Run) -> Option<Rule> {
        let state = &run.state;
        // "Undeclared means refused."
        let declared = self.plan.windows().iter().any(|window| window.what == Degraded::WritesRefused);
        if self.plan.facts().on_clone().is_some() && state.two.refuses() && !declared {
            return Some(Rule::Undeclared);
        }
        let broken = if state.lost.is_some() && run.end.is_some() {
            self.cluster.settled(state)
        } else if run.floor.is_some() && run.end.is_none() {
            let window = self.plan.windows().iter().any(|window| window.what == Degraded::ReloadExposure);
            let exposed = state.lost.is_none() && self.cluster.is_reachable_under_change(state);
            let once = self.cluster.one_writer(state) && state.two.writes_once();
            let writers = (!once).then_some(Rule::OneWriter);
            writers.into_iter().chain((exposed && !window).then_some(Rule::Undeclared)).collect()
        } else {
            self.cluster.quiet(state)
        };
        broken.first().copied().or_else(|| self.bad_end(run))
    }

    /// "One of: all new, all old (over the living members), or NeedsOperator", and without a fault never the last.
    fn bad_end(&self, run: &Run) -> Option<Rule> {
        let end = run.end?;
        if end == End::Operator {
            return (!run.fault).then_some(if run.asked { Rule::WayBack } else { Rule::Repaid });
        }
        if !self.cluster.is_repaid(&run.state) {
            return Some(Rule::Repaid);
        }
        if end == End::AllOld && !run.asked && !run.fault {
            return Some(Rule::Order);
        }
        let goal = self.plan.goal();
        let mut members = run.state.nodes.iter().enumerate().filter(|(index, _)| self.cluster.nodes[*index].member);
        let reached = members.all(|(index, node)| match end {
            End::AllNew => {
                goal.release.is_none_or(|release| node.release == Some(release))
                    && goal.generation.is_none_or(|files| node.files == Some(files))
            }
            End::AllOld | End::Operator => {
                let known = self.plan.known_good().get(index).copied().flatten();
                known.is_none_or(|known| node.release == Some(known.release) && node.files == Some(known.generation))
            }
        });
        let in_use = if run.state.two.clone >= Made::HalfOpen { Schema::Contracted } else { run.state.schema };
        let schema = end == End::AllOld || goal.schema.is_none_or(|schema| schema == in_use);
        (!(reached && schema)).then_some(if end == End::AllNew { Rule::Repaid } else { Rule::WayBack })
    }

    fn refused(&self, number: usize, rule: Rule) -> Refused {
        let (mut moment, mut at) = (Vec::new(), number);
        while let (from, Some(event)) = self.trail[at] {
            moment.push(self.describe(event));
            at = from;
        }
        moment.reverse();
        Refused { rule, moment }
    }

    fn describe(&self, event: Event) -> String {
        let name = |node: usize| &self.cluster.nodes[node].name;
        let order = |order: Order| format!("{:?} {}", order.what, name(order.node));
        match event {
            Event::Begins(given) => format!("{} begins", order(given)),
            Event::HalfWay(given) => format!("{} is half-way", order(given)),
            Event::Ends(given) => format!("{} has happened", order(given)),
            Event::NeverEnds(given) => format!("{} will never happen", order(given)),
            Event::Fails(given) => format!("{} is reported as failed", order(given)),
            Event::HappensAndFails(given) => format!("{} happens and is reported as failed", order(given)),
            Event::AnswerLost(given) => format!("the answer of {} is lost", order(given)),
            Event::Dies => "the controller dies".into(),
            Event::AskedBack => "a person asks for the rollback".into(),
            Event::DomainLost(domain) => {
                let of = |node: &&super::model::Declared| node.domain == domain;
                let names: Vec<_> = self.cluster.nodes.iter().filter(of).map(|node| node.name.as_str()).collect();
                format!("lost: {}", names.join(", "))
            }
            Event::Forgets(balancer) => format!("balancer {balancer} forgets"),
            Event::Reapplied(node, at) => format!("re-applied: {} {at:?}", name(node)),
            Event::Secured(node) => format!("the reaction admits {}", name(node)),
            Event::Turns(why) => why.into(),
            Event::Over(end) => format!("the run ends: {end:?}"),
        }
    }
}
