use std::collections::BTreeSet;

use super::field::{Field, Piece};
use super::lists::Source;
use super::shell::{Join, Section};

/// The number of a file, and a line.
pub(super) type At = (usize, usize);

/// A redirection: of which descriptor, how, and to what.
#[derive(Clone, Debug)]
pub(super) struct Redirected {
    pub(super) fd: Option<u32>,
    pub(super) operator: &'static str,
    pub(super) target: Field,
}

/// A command in the order in which a run comes to it, its wrappers taken off.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) at: At,
    /// The command; empty for an assignment.
    pub(super) fields: Vec<Field>,
    pub(super) redirects: Vec<Redirected>,
    pub(super) then: Join,
    pub(super) negated: bool,
    /// The blocks that it is in, from the outside: numbers of [`Trace::blocks`].
    pub(super) path: Vec<(usize, Section)>,
    /// Whether it has `$?`.
    pub(super) reads_status: bool,
    /// Whether what it prints goes into a word.
    pub(super) is_captured: bool,
    /// Whether a failure ends the run (`set -e`).
    pub(super) stops: bool,
    /// Whether the failure of any command of a pipe is that of the pipe.
    pub(super) pipefail: bool,
    /// Whether a time limit ends it.
    pub(super) timed: bool,
    /// The remote shell that the environment names.
    pub(super) rsh: Option<Field>,
}

#[derive(Clone, Debug)]
pub(super) enum AroundKind {
    Branch,
    /// A `case`.
    Choice,
    Group,
    Loop {
        source: Source,
        reads_input: bool,
    },
}

/// A block that a run comes into.
#[derive(Clone, Debug)]
pub(super) struct Around {
    pub(super) kind: AroundKind,
    pub(super) at: At,
    pub(super) then: Join,
    pub(super) redirects: Vec<Redirected>,
}

/// A trap: how many acts come before it, and what it does.
#[derive(Debug)]
pub(super) struct Trap {
    pub(super) before: usize,
    pub(super) at: At,
    pub(super) acts: Vec<Act>,
}

/// What a run does, as far as that is known.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) acts: Vec<Act>,
    pub(super) blocks: Vec<Around>,
    pub(super) traps: Vec<Trap>,
    pub(super) bashisms: BTreeSet<(At, String)>,
    pub(super) unclear: BTreeSet<(At, String)>,
    /// Scripts that are run and were not given.
    pub(super) missing: BTreeSet<(At, String)>,
    /// The scripts that are run, by the numbers of their files.
    pub(super) scripts: BTreeSet<usize>,
}

impl Act {
    /// Returns the command's name, without its folder.
    pub(super) fn name(&self) -> String {
        super::commands::name(&self.fields).unwrap_or_default()
    }

    /// Tells whether it is a command of these names.
    pub(super) fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name().as_str())
    }

    pub(super) fn is_copy(&self) -> bool {
        self.name() == "rsync"
    }

    /// Tells whether what comes next depends on how it ended.
    pub(super) fn is_tested(&self) -> bool {
        let in_condition = self.path.last().is_some_and(|(_, section)| *section == Section::Condition);
        in_condition || matches!(self.then, Join::And | Join::Or)
    }

    /// Lists the words that are no options, behind the name.
    pub(super) fn operands(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().skip(1).filter(|field| !field.text().is_some_and(|text| text.starts_with('-')))
    }

    /// Lists the loops that its words take from.
    pub(super) fn loops(fields: &[Field]) -> BTreeSet<usize> {
        let pieces = fields.iter().flat_map(|field| &field.pieces);
        let of = |piece: &Piece| match piece {
            Piece::Loop { block, .. } => Some(*block),
            Piece::Text(_) | Piece::Output(_) | Piece::Unknown(_) => None,
        };
        pieces.filter_map(of).collect()
    }
}

impl Trace {
    /// Lists the copies with their places among the acts.
    pub(super) fn copies(&self) -> impl Iterator<Item = (usize, &Act)> {
        self.acts.iter().enumerate().filter(|(_, act)| act.is_copy())
    }
}
