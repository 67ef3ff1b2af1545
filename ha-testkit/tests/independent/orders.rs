//! What can be ordered: what it needs, what holds from its intent on, what it leads to, what it may leave behind half-way, and
//! what takes it back.

use ha_core::action::{
    Action, CloneAction, FilesAction, KnownGood, SchemaAction, ServerAction, TrafficAction, WorkAction,
};
use ha_core::plan::Stage;
use ha_core::state::{CloneStep, GenerationId, ReleaseId, Schema};

use super::model::{At, Cluster, Edge, Runs, State, Work};
use super::wording::Rule;

/// One action on one node; a migration has no node.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Order {
    pub(crate) node: usize,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum What {
    Stop,
    Install(ReleaseId),
    Start,
    StartInTest,
    Gate,
    Soak,
    TakeOut,
    Admit,
    StandBy,
    Hold,
    Release,
    HandWriter,
    Deploy(GenerationId),
    Quiesce,
    Resume,
    Migrate(Schema),
    Clone(CloneStep),
    /// What this checker does not know: no plan with it is accepted.
    Strange,
}

/// Reads the orders of one action of a stage.
pub(crate) fn read(stage: &Stage, action: Action) -> Vec<Order> {
    let what = read_action(action);
    if let What::Migrate(_) | What::Clone(_) = what {
        return vec![Order { node: 0, what }];
    }
    stage.nodes.iter().map(|node| Order { node: node.index(), what }).collect()
}

pub(crate) fn read_action(action: Action) -> What {
    match action {
        Action::Server(ServerAction::Stop) => What::Stop,
        Action::Server(ServerAction::Apply { to } | ServerAction::Restore { to }) => What::Install(to),
        Action::Server(ServerAction::Start) => What::Start,
        Action::Server(ServerAction::StartInTest) => What::StartInTest,
        Action::Server(ServerAction::Gate) => What::Gate,
        Action::Server(ServerAction::Soak) => What::Soak,
        Action::Traffic(TrafficAction::TakeOut) => What::TakeOut,
        Action::Traffic(TrafficAction::Admit) => What::Admit,
        Action::Traffic(TrafficAction::StandBy) => What::StandBy,
        Action::Files(FilesAction::Hold) => What::Hold,
        Action::Files(FilesAction::Release) => What::Release,
        Action::Files(FilesAction::HandWriter | FilesAction::TakeWriter) => What::HandWriter,
        Action::Files(FilesAction::Deploy { to }) => What::Deploy(to),
        Action::Work(WorkAction::Quiesce) => What::Quiesce,
        Action::Work(WorkAction::Resume) => What::Resume,
        Action::Schema(SchemaAction::Migrate { to }) => What::Migrate(to),
        Action::Clone(CloneAction(step)) => What::Clone(step),
        _ => What::Strange,
    }
}

impl Order {
    /// Whether it has to reach the node itself: a lost one cannot be reached.
    pub(crate) fn reaches_node(self) -> bool {
        !matches!(self.what, What::TakeOut | What::Admit | What::StandBy | What::Migrate(_) | What::Clone(_))
    }

    pub(crate) fn moves_traffic(self) -> bool {
        matches!(self.what, What::TakeOut | What::Admit)
    }

    /// What stands in the way of giving it.
    pub(crate) fn refused(self, cluster: &Cluster<'_>, state: &State) -> Option<Rule> {
        let node = &state.nodes[self.node];
        let (ready, good) = (node.runs == Runs::Ready, node.passed && !node.changing);
        let demand = |holds: bool, rule: Rule| (!holds).then_some(rule);
        if !matches!(self.what, What::Migrate(_) | What::Clone(_)) && cluster.is_lost(state, self.node) {
            return Some(Rule::Order);
        }
        match self.what {
            What::Stop => demand(cluster.is_drained(state, self.node), Rule::Drained),
            What::Install(_) => demand(node.runs == Runs::Stopped, Rule::Order),
            What::Start | What::StartInTest => {
                // A server that runs does not change its domain: it has to be stopped first.
                let here = node.runs == Runs::Stopped || node.in_test == (self.what == What::StartInTest);
                demand(here && node.release.is_some() && !node.half, Rule::Order)
            }
            What::Gate => demand(ready, Rule::Order),
            What::Soak => demand(ready && cluster.is_exposed(state, self.node), Rule::Order),
            What::Admit => demand(ready && good && !node.in_test, Rule::Tested),
            What::StandBy => demand(ready && good && !cluster.is_exposed(state, self.node), Rule::Tested),
            What::TakeOut | What::Quiesce => None,
            What::Resume => demand(ready && good, Rule::Order),
            What::Hold => demand(node.edge != Edge::None, Rule::Order),
            What::Release => {
                let mut opened = state.clone();
                opened.nodes[self.node].edge = Edge::Open;
                let known = node.edge != Edge::None && cluster.writer(state).is_some();
                demand(known && !cluster.bound(&opened).contains(&Rule::Sync), Rule::Sync)
            }
            What::HandWriter => {
                let held = state.nodes.iter().all(|node| node.edge != Edge::Open);
                let same = cluster.writer(state).is_none_or(|last| state.nodes[last].files == node.files);
                demand(held && same && ready && good, Rule::OneWriter)
            }
            What::Deploy(_) => demand(!cluster.is_exposed(state, self.node) && node.edge != Edge::Open, Rule::Order),
            // "ContractPermit minted only when every old node is drained and gone": whether it takes requests or not.
            What::Migrate(to) if to >= Schema::Contracting && cluster.any_uses_less_than(state, to) => {
                Some(Rule::Schema)
            }
            What::Migrate(to) => demand(state.schema <= to, Rule::Order),
            What::Clone(step) => cluster.refuses_step(state, step),
            What::Strange => Some(Rule::Order),
        }
    }

    /// What holds from its intent on: the node is under change, the loan is open.
    pub(crate) fn begin(self, cluster: &Cluster<'_>, state: &mut State) {
        let spare = cluster.nodes[self.node].spare;
        let exposed = cluster.is_exposed(state, self.node);
        let from = cluster.writer(state).filter(|writer| *writer != self.node).map(|writer| state.nodes[writer].files);
        if let What::Clone(step) = self.what {
            state.two = state.two.half(step);
        }
        let node = &mut state.nodes[self.node];
        match self.what {
            What::Stop => {
                node.changing = true;
                node.loans.stopped |= !spare;
            }
            What::Install(_) => (node.changing, node.half) = (true, true),
            What::Start => {
                node.changing = true;
                node.loans.spare_runs |= spare;
            }
            What::StartInTest => (node.changing, node.loans.in_test) = (true, true),
            What::TakeOut => node.loans.out |= !spare && exposed,
            What::Admit => node.loans.spare_in |= spare,
            What::Hold => node.loans.held = true,
            What::Release => node.changing |= from.is_some_and(|from| from != node.files),
            What::Deploy(_) => node.changing = true,
            What::Quiesce => node.loans.paused |= node.work != Work::None,
            What::Gate
            | What::Soak
            | What::StandBy
            | What::HandWriter
            | What::Resume
            | What::Migrate(_)
            | What::Clone(_)
            | What::Strange => {}
        }
    }

    /// Its full effect, and the loans that it repays. `None` when it cannot follow the state.
    pub(crate) fn complete(self, cluster: &Cluster<'_>, state: &State) -> Option<State> {
        let mut next = state.clone();
        let seats = &cluster.nodes[self.node].seats;
        let from = cluster.writer(state).filter(|writer| *writer != self.node).map(|writer| state.nodes[writer].files);
        let node = &mut next.nodes[self.node];
        match self.what {
            What::Stop => {
                node.runs = if node.runs == Runs::Gone { Runs::Gone } else { Runs::Stopped };
                (node.in_test, node.warm) = (false, false);
                (node.loans.in_test, node.loans.spare_runs) = (false, false);
            }
            What::Install(to) => {
                (node.release, node.half, node.passed) = (Some(to), false, false);
            }
            What::Start | What::StartInTest => {
                let test = self.what == What::StartInTest;
                let running = node.runs != Runs::Stopped;
                if node.runs == Runs::Gone || running && node.in_test != test {
                    return None;
                }
                node.warm &= node.runs == Runs::Ready;
                (node.runs, node.in_test) = (Runs::Ready, test);
                node.loans.stopped &= test;
            }
            What::Gate => {
                if node.runs != Runs::Ready {
                    return None;
                }
                node.warm |= cluster.nodes[self.node].cold == 1000;
                if node.release.is_some() {
                    (node.passed, node.changing) = (true, false);
                }
            }
            What::Soak => {
                if node.runs != Runs::Ready {
                    return None;
                }
                node.warm = true;
            }
            What::TakeOut => {
                node.loans.spare_in = false;
                seats.iter().for_each(|seat| next.seats[*seat] = At::Out);
            }
            What::Admit => {
                node.loans.out = false;
                seats.iter().for_each(|seat| next.seats[*seat] = At::Admitted);
            }
            What::StandBy => node.loans.out = false,
            What::Hold if node.edge == Edge::None => return None,
            What::Hold => node.edge = Edge::Held,
            What::Release if node.edge == Edge::None => return None,
            What::Release => {
                node.edge = Edge::Open;
                node.files = from.unwrap_or(node.files);
                node.loans.held = false;
            }
            What::HandWriter => {
                if node.writer == 0 {
                    if node.edge == Edge::Open {
                        return None;
                    }
                    demote(&mut next);
                    next.epoch += 1;
                    let node = &mut next.nodes[self.node];
                    (node.writer, node.edge) = (next.epoch, Edge::None);
                }
                next.nodes[self.node].loans.held = false;
            }
            What::Deploy(to) => node.files = Some(to),
            What::Quiesce => node.work = if node.work == Work::None { Work::None } else { Work::Off },
            What::Resume => {
                node.work = if node.work == Work::None { Work::None } else { Work::On };
                node.loans.paused = false;
            }
            What::Migrate(to) => {
                if next.schema > to {
                    return None;
                }
                next.schema = to;
            }
            What::Clone(step) => next.two = next.two.whole(step),
            What::Strange => return None,
        }
        Some(next)
    }

    /// What it may leave behind half-way: its intent is marked already.
    pub(crate) fn halves(self, cluster: &Cluster<'_>, state: &State) -> Vec<State> {
        let seats = &cluster.nodes[self.node].seats;
        let changed = |change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            change(&mut next);
            next
        };
        let first = |count: usize, at: At| {
            changed(&|next: &mut State| seats[..count].iter().for_each(|seat| next.seats[*seat] = at))
        };
        let became = |runs: Runs, test: bool| {
            changed(&|next: &mut State| {
                let node = &mut next.nodes[self.node];
                (node.runs, node.in_test, node.warm) = (runs, test, false);
            })
        };
        let node = state.nodes[self.node];
        let halves = match self.what {
            What::Stop if node.runs != Runs::Stopped => vec![became(Runs::Hung, node.in_test)],
            What::Start | What::StartInTest if node.runs == Runs::Stopped => {
                let test = self.what == What::StartInTest;
                vec![became(Runs::Starting, test), became(Runs::Hung, test)]
            }
            What::Install(_) => vec![changed(&|next| next.nodes[self.node].release = None)],
            What::TakeOut => {
                let draining = |next: &mut State| {
                    for seat in seats.iter().filter(|seat| state.seats[**seat] != At::Out) {
                        next.seats[*seat] = At::Draining;
                    }
                };
                let some = (1..seats.len()).map(|count| first(count, At::Out));
                std::iter::once(changed(&draining)).chain(some).collect()
            }
            What::Admit => (1..seats.len()).map(|count| first(count, At::Admitted)).collect(),
            What::Release => vec![changed(&|next| {
                let node = &mut next.nodes[self.node];
                node.edge = Edge::Open;
                if node.changing {
                    node.files = None;
                }
            })],
            What::HandWriter if node.writer == 0 => vec![changed(&demote)],
            What::Deploy(_) => vec![changed(&|next| next.nodes[self.node].files = None)],
            What::Quiesce | What::Resume if node.work != Work::None => {
                vec![changed(&|next| next.nodes[self.node].work = Work::Unknown)]
            }
            What::Migrate(to) => {
                let half = match to {
                    Schema::Base | Schema::Expanding => to,
                    Schema::Expanded => Schema::Expanding,
                    Schema::Backfilled => Schema::Expanded,
                    Schema::Contracting | Schema::Contracted => Schema::Contracting,
                };
                vec![changed(&|next| next.schema = next.schema.max(half))]
            }
            What::Stop
            | What::Start
            | What::StartInTest
            | What::Gate
            | What::Soak
            | What::StandBy
            | What::Hold
            | What::HandWriter
            | What::Quiesce
            | What::Resume
            | What::Clone(_)
            | What::Strange => Vec::new(),
        };
        halves.into_iter().filter(|half| half != state).collect()
    }

    /// What is seen by looking whether it has happened.
    pub(crate) fn holds(self, cluster: &Cluster<'_>, state: &State) -> bool {
        let node = &state.nodes[self.node];
        let all = |at: At| cluster.nodes[self.node].seats.iter().all(|seat| state.seats[*seat] == at);
        match self.what {
            What::Stop => node.runs == Runs::Stopped && !node.loans.in_test && !node.loans.spare_runs,
            What::Install(to) => node.release == Some(to) && !node.half,
            What::Start => node.runs == Runs::Ready && !node.in_test && !node.loans.stopped,
            What::StartInTest => node.runs == Runs::Ready && node.in_test,
            What::Gate => node.runs == Runs::Ready && node.passed && !node.changing,
            What::Soak | What::Strange => false,
            What::TakeOut => all(At::Out) && !node.loans.spare_in,
            What::StandBy => all(At::Out) && !node.loans.out,
            What::Admit => all(At::Admitted) && !node.loans.out,
            What::Hold => node.edge == Edge::Held,
            What::Release => {
                let from = cluster.writer(state).map(|writer| state.nodes[writer].files);
                node.edge == Edge::Open && from.is_none_or(|from| from == node.files) && !node.loans.held
            }
            What::HandWriter => node.writer > 0 && !node.loans.held,
            What::Deploy(to) => node.files == Some(to),
            What::Quiesce => matches!(node.work, Work::Off | Work::None),
            What::Resume => matches!(node.work, Work::On | Work::None) && !node.loans.paused,
            What::Migrate(to) => state.schema == to,
            What::Clone(step) => state.two.has(step),
        }
    }

    /// What takes it back, one after another: a node goes back into traffic, and to its work, through its gate.
    pub(crate) fn undo(self, known: KnownGood) -> Vec<Self> {
        let on = |what: What| Self { node: self.node, what };
        match self.what {
            What::Stop => vec![on(What::Start)],
            What::Install(_) => vec![on(What::Install(known.release))],
            What::Start | What::StartInTest => vec![on(What::Stop)],
            What::TakeOut if known.admitted => vec![on(What::Gate), on(What::Admit)],
            What::TakeOut => vec![on(What::Gate), on(What::StandBy)],
            What::Admit => vec![on(What::TakeOut)],
            What::Hold => vec![on(What::Release)],
            What::Release => vec![on(What::Hold), on(What::Deploy(known.generation))],
            What::HandWriter => {
                let back = |writer: ha_core::topology::NodeIx| Self { node: writer.index(), what: What::HandWriter };
                known.writer.map(back).into_iter().collect()
            }
            What::Deploy(_) => vec![on(What::Deploy(known.generation))],
            What::Quiesce => vec![on(What::Gate), on(What::Resume)],
            What::Resume => vec![on(What::Quiesce)],
            // Additive changes of a schema stay: old releases can use it.
            What::Gate | What::Soak | What::StandBy | What::Migrate(_) | What::Clone(_) | What::Strange => Vec::new(),
        }
    }
}

impl Order {
    /// What takes a step of a clone back: it acts on no node.
    pub(crate) fn undo_clone(self) -> Option<Self> {
        let What::Clone(step) = self.what else { return None };
        let back = match step {
            CloneStep::Freeze => CloneStep::Thaw,
            CloneStep::Copy => CloneStep::Drop,
            CloneStep::Thaw | CloneStep::Compare | CloneStep::Migrate | CloneStep::Open | CloneStep::Drop => {
                return None;
            }
        };
        Some(Self { what: What::Clone(back), ..self })
    }
}

/// Takes the right to write away; the edge into the old writer is held from then on.
fn demote(state: &mut State) {
    for node in state.nodes.iter_mut().filter(|node| node.writer > 0) {
        (node.writer, node.edge, node.loans.held) = (0, Edge::Held, true);
    }
}
