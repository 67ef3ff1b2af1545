use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, At, Facets, KnownGood, Order};
use crate::law::{self, Invariant, Law};
use crate::state::{ClusterState, Facts, GenerationId, LoanKind, Rejected, Sync, SyncEvent, Target, WriterEpoch};
use crate::topology::{NodeIx, Policy, Topology};

/// What is done to the shared files that a node gets.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FilesAction {
    /// Holds the file sync into the node durably, once a transfer under way has ended.
    Hold,
    /// Releases the file sync into the node: it gets what the writer has.
    Release,
    /// Lets the node write shared files, and no other: every file sync comes from it from then on.
    HandWriter,
    /// The same, from a writer that nobody can reach and that is not fenced: a person answers for it.
    TakeWriter,
    /// Puts a set of shared files on the node, staged and swapped.
    Deploy {
        /// The set that it has afterwards.
        to: GenerationId,
    },
}

use FilesAction as A;

impl FilesAction {
    /// Gives the action to a node.
    pub fn on(self, node: NodeIx) -> Order {
        Order::Files(At { node, action: self })
    }
}

impl From<FilesAction> for Action {
    fn from(action: FilesAction) -> Self {
        Self::Files(action)
    }
}

impl At<FilesAction> {
    /// The next writer is ready and tested and has what the last one has, and nothing is being copied.
    fn may_write(&self, law: Law<'_>, state: &ClusterState) -> Result<(), String> {
        let name = |node| &law.topology.node(node).name;
        let lost = |node: NodeIx| state.is_lost(law.topology.node(node).domain);
        if let Some((open, _)) = state.nodes().find(|(index, node)| node.sync.is_open() && !lost(*index)) {
            return Err(format!("the file sync into {} must be held first", name(open)));
        }
        let next = state.node(self.node);
        if !(next.process.is_ready() && next.is_tested()) {
            let name = name(self.node);
            return Err(format!("{name} must be ready and tested to write shared files; it is {:?}", next.process));
        }
        match law::writer(state) {
            Some(last) if state.node(last).generation != next.generation => {
                Err(format!("{} and {} do not have the same files", name(last), name(self.node)))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Facets for At<FilesAction> {
    fn target(&self) -> Target {
        Target::Files(self.node)
    }

    fn changes(&self, target: Target) -> bool {
        match self.action {
            // Whoever could write before gets its files from there.
            A::HandWriter | A::TakeWriter => matches!(target, Target::Files(_)),
            A::Hold | A::Release | A::Deploy { .. } => self.target() == target,
        }
    }

    fn puts_under_change(&self) -> bool {
        matches!(self.action, A::Deploy { .. })
    }

    fn is_command(&self) -> bool {
        matches!(self.action, A::Deploy { .. })
    }

    fn needs_fresh_observation(&self) -> bool {
        true
    }

    fn precondition(&self, law: Law<'_>, state: &ClusterState) -> Result<(), String> {
        let (node, name) = (state.node(self.node), &law.topology.node(self.node).name);
        let demand = |holds: bool, what: &str| {
            if holds { Ok(()) } else { Err(format!("{name} {what}; it is {:?}", node.process)) }
        };
        match self.action {
            A::Hold => demand(node.sync != Sync::None, "has no file sync into it"),
            A::Release => {
                let synced = node.sync != Sync::None && law::writer(state).is_some();
                demand(synced, "has no file sync from a writer")?;
                let mut opened = state.clone();
                opened.node_mut(self.node).sync = Sync::Active;
                law.sync(&opened).map_err(|violation| violation.facts)
            }
            A::Deploy { .. } => demand(
                !law::is_exposed(state, self.node) && !node.sync.is_open(),
                "must be out of traffic, and the file sync into it held, before files are put there",
            ),
            A::HandWriter => self.may_write(law, state),
            A::TakeWriter if law::writer(state).is_some_and(|last| !state.is_lost(law.topology.node(last).domain)) => {
                Err(format!("{name} takes nothing over: the writer can be reached, and is demoted first"))
            }
            A::TakeWriter if state.lost().is_empty() => {
                Err(format!("{name} takes nothing over: no failure domain is lost"))
            }
            A::TakeWriter => self.may_write(law, state),
        }
    }

    fn guards(&self) -> Invariant {
        match self.action {
            A::Release => Invariant::Sync,
            A::HandWriter | A::TakeWriter => Invariant::OneWriter,
            A::Hold | A::Deploy { .. } => Invariant::Order,
        }
    }

    fn opens(&self, _: Law<'_>, _: &ClusterState) -> Option<LoanKind> {
        (self.action == A::Hold).then_some(LoanKind::SyncHeld)
    }

    fn begin(&self, _: Law<'_>, state: &mut ClusterState) {
        let differs = law::writer(state).is_some_and(|writer| {
            writer != self.node && state.node(writer).generation != state.node(self.node).generation
        });
        state.node_mut(self.node).under_change |= self.action == A::Release && differs;
    }

    fn complete(&self, _: Law<'_>, state: &mut ClusterState) -> Result<(), Rejected> {
        match self.action {
            A::Hold => {
                let node = state.node_mut(self.node);
                node.sync = settled(node.sync)?.on(SyncEvent::Held)?;
            }
            A::Release => {
                let writer = law::writer(state).filter(|writer| *writer != self.node);
                let generation = writer.map(|writer| state.node(writer).generation);
                let node = state.node_mut(self.node);
                node.sync = settled(node.sync)?.on(SyncEvent::Released)?;
                if let Some(generation) = generation {
                    node.generation = generation;
                }
            }
            A::HandWriter | A::TakeWriter => hand_writer(state, self.node)?,
            A::Deploy { to } => state.node_mut(self.node).generation = Some(to),
        }
        Ok(())
    }

    fn partial_effects(&self, _: Law<'_>, state: &ClusterState) -> Vec<ClusterState> {
        let mut next = state.clone();
        let node = next.node_mut(self.node);
        match self.action {
            A::Hold => return Vec::new(),
            A::Release => {
                node.sync = Sync::Active;
                if node.under_change {
                    node.generation = None;
                }
            }
            A::HandWriter | A::TakeWriter => {
                if demote(&mut next).is_err() {
                    return Vec::new();
                }
            }
            A::Deploy { .. } => node.generation = None,
        }
        vec![next]
    }

    fn repays(&self) -> &'static [LoanKind] {
        match self.action {
            A::Release | A::HandWriter | A::TakeWriter => &[LoanKind::SyncHeld],
            A::Hold | A::Deploy { .. } => &[],
        }
    }

    fn holds(&self, _: Law<'_>, state: &ClusterState) -> bool {
        let node = state.node(self.node);
        match self.action {
            A::Hold => node.sync == Sync::Held,
            A::Release => {
                let from = law::writer(state).map(|writer| state.node(writer).generation);
                node.sync == Sync::Active && from.is_none_or(|from| from == node.generation)
            }
            A::HandWriter | A::TakeWriter => node.writer > WriterEpoch::default(),
            A::Deploy { to } => node.generation == Some(to),
        }
    }

    fn inverse(&self, known_good: Option<KnownGood>) -> Vec<Order> {
        let Some(known_good) = known_good else { return Vec::new() };
        let deploy = A::Deploy { to: known_good.generation }.on(self.node);
        match self.action {
            A::Hold => vec![A::Release.on(self.node)],
            A::Release => vec![A::Hold.on(self.node), deploy],
            A::HandWriter | A::TakeWriter => {
                known_good.writer.map(|writer| A::HandWriter.on(writer)).into_iter().collect()
            }
            A::Deploy { .. } => vec![deploy],
        }
    }

    fn deadline(&self, policy: &Policy) -> Duration {
        policy.command_deadline
    }

    fn name(&self) -> &'static str {
        match self.action {
            A::Hold => "hold sync",
            A::Release => "release sync",
            A::HandWriter => "hand writer",
            A::TakeWriter => "take writer over",
            A::Deploy { .. } => "deploy",
        }
    }

    fn what(&self, facts: &Facts) -> String {
        let name = self.name();
        match self.action {
            A::Deploy { to } => format!("{name} generation {}", facts.generations.sequence(to)),
            A::HandWriter | A::TakeWriter | A::Hold | A::Release => name.into(),
        }
    }

    fn message(&self, topology: &Topology, facts: &Facts) -> String {
        let (what, node) = (self.what(facts), &topology.node(self.node).name);
        match self.action {
            A::Deploy { .. } => format!("{what} on {node}"),
            A::HandWriter | A::TakeWriter => format!("{what} to {node}"),
            A::Hold | A::Release => format!("{what} {node}"),
        }
    }
}

/// A transfer under way ends first.
fn settled(sync: Sync) -> Result<Sync, Rejected> {
    Ok(if sync == Sync::Running { sync.on(SyncEvent::TransferEnded)? } else { sync })
}

fn hand_writer(state: &mut ClusterState, to: NodeIx) -> Result<(), Rejected> {
    if state.node(to).writer > WriterEpoch::default() {
        return Ok(());
    }
    let sync = state.node(to).sync.on(SyncEvent::BecameWriter)?;
    demote(state)?;
    state.writer_epoch = state.writer_epoch.next();
    let epoch = state.writer_epoch;
    let next = state.node_mut(to);
    (next.writer, next.sync) = (epoch, sync);
    Ok(())
}

/// Takes the right to write away; the file sync into the old writer is there from now on, held.
fn demote(state: &mut ClusterState) -> Result<(), Rejected> {
    while let Some(last) = law::writer(state) {
        let node = state.node_mut(last);
        (node.writer, node.sync) = (WriterEpoch::default(), node.sync.on(SyncEvent::BecameReader)?);
        node.loans.open(LoanKind::SyncHeld);
    }
    Ok(())
}
