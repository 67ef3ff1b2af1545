//! A database that is cloned: "the old release and the new one are not on the same data: they must not both take writes".

use ha_core::state::{CloneStage, CloneStep, Copies, Source};

use super::model::{Cluster, Runs, State};
use super::wording::Rule;

/// Whether the source takes writes, and how far the clone is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Two {
    pub(crate) source: Writes,
    pub(crate) clone: Made,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Writes {
    Taken,
    /// Nobody knows of which table.
    InPart,
    Refused,
}

/// In the order in which a clone is made.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Made {
    Nothing,
    Half,
    Copied,
    Equal,
    HalfMigrated,
    Migrated,
    HalfOpen,
    Open,
}

impl Two {
    pub(crate) fn read(copies: Copies) -> Self {
        let source = match copies.source {
            Source::Open => Writes::Taken,
            Source::Freezing => Writes::InPart,
            Source::Frozen => Writes::Refused,
        };
        let clone = match copies.clone {
            CloneStage::Absent => Made::Nothing,
            CloneStage::Occupied | CloneStage::Copying => Made::Half,
            CloneStage::Copied => Made::Copied,
            CloneStage::Compared => Made::Equal,
            CloneStage::Migrating => Made::HalfMigrated,
            CloneStage::Migrated => Made::Migrated,
            CloneStage::Opening => Made::HalfOpen,
            CloneStage::Open => Made::Open,
        };
        Self { source, clone }
    }

    /// What it is when the step has happened, and half-way.
    fn after(self, step: CloneStep) -> (Self, Self) {
        let both = |whole: Self, half: Self| (whole, half);
        let source = |source| Self { source, ..self };
        let clone = |clone| Self { clone, ..self };
        match step {
            CloneStep::Freeze => both(source(Writes::Refused), source(Writes::InPart)),
            CloneStep::Thaw => both(source(Writes::Taken), source(Writes::InPart)),
            CloneStep::Copy => both(clone(Made::Copied), clone(Made::Half)),
            CloneStep::Compare => both(clone(Made::Equal), self),
            CloneStep::Migrate => both(clone(Made::Migrated), clone(Made::HalfMigrated)),
            CloneStep::Open => both(clone(Made::Open), clone(Made::HalfOpen)),
            CloneStep::Drop => both(clone(Made::Nothing), clone(Made::Half)),
        }
    }

    pub(crate) fn whole(self, step: CloneStep) -> Self {
        self.after(step).0
    }

    pub(crate) fn half(self, step: CloneStep) -> Self {
        if self.has(step) { self } else { self.after(step).1 }
    }

    pub(crate) fn has(self, step: CloneStep) -> bool {
        self == self.whole(step)
    }

    fn source_may_write(self) -> bool {
        self.source != Writes::Refused
    }

    fn clone_may_write(self) -> bool {
        self.clone >= Made::HalfOpen
    }

    /// "A write is accepted in one place only."
    pub(crate) fn writes_once(self) -> bool {
        !(self.source_may_write() && self.clone_may_write())
    }

    /// Nobody's writes are accepted, or perhaps not.
    pub(crate) fn refuses(self) -> bool {
        self.source != Writes::Taken && self.clone != Made::Open
    }
}

impl Cluster<'_> {
    /// "The new release uses the clone, every other one the source."
    pub(crate) fn uses_clone(&self, state: &State, node: usize) -> bool {
        self.facts.on_clone().is_some_and(|release| state.nodes[node].release == Some(release))
    }

    /// "Whoever may be served while writes are accepted somewhere is served from there", and from no clone that is half-made.
    pub(crate) fn uses_the_right_copy(&self, state: &State, node: usize) -> bool {
        let two = state.two;
        if self.uses_clone(state, node) {
            two.clone >= Made::Migrated && !two.source_may_write()
        } else {
            !two.clone_may_write()
        }
    }

    /// "Point of no return: the first write that the clone accepts. Before it the old database is given back, and the clone dropped."
    pub(crate) fn two_are_repaid(&self, state: &State) -> bool {
        let two = state.two;
        self.facts.on_clone().is_none()
            || two.clone == Made::Open
            || two == Two { source: Writes::Taken, clone: Made::Nothing }
    }

    /// What stands in the way of a step.
    pub(crate) fn refuses_step(&self, state: &State, step: CloneStep) -> Option<Rule> {
        let (two, frozen) = (state.two, state.two.source == Writes::Refused);
        let made = |known: &[Made]| frozen && known.contains(&two.clone);
        let follows = match step {
            CloneStep::Freeze => true,
            CloneStep::Thaw | CloneStep::Drop => !two.clone_may_write(),
            CloneStep::Copy => made(&[Made::Nothing, Made::Half, Made::Copied]),
            CloneStep::Compare => made(&[Made::Copied, Made::Equal]),
            CloneStep::Migrate => made(&[Made::Equal, Made::HalfMigrated, Made::Migrated]),
            CloneStep::Open => made(&[Made::Migrated, Made::HalfOpen, Made::Open]),
        };
        if self.facts.on_clone().is_none() || !follows {
            return Some(Rule::Order);
        }
        let nodes = || (0..state.nodes.len()).filter(|node| !self.is_lost(state, *node));
        let served =
            |clone: bool| nodes().any(|node| self.is_exposed(state, node) && self.uses_clone(state, node) == clone);
        let runs = |node: &usize| !matches!(state.nodes[*node].runs, Runs::Gone | Runs::Stopped);
        match step {
            CloneStep::Thaw => served(true).then_some(Rule::Schema),
            CloneStep::Open => served(false).then_some(Rule::Schema),
            CloneStep::Copy | CloneStep::Migrate | CloneStep::Drop => {
                (0..state.nodes.len()).filter(runs).any(|node| self.uses_clone(state, node)).then_some(Rule::Order)
            }
            CloneStep::Freeze | CloneStep::Compare => None,
        }
    }
}
