use std::time::Duration;

use ha_core::backend::ContractPermit;

use super::{At, Key};
use crate::script::Phase;

/// What a run is to reach.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Goal {
    /// Runs what is pending up to a phase.
    Migrate { to: Phase, permit: Option<ContractPermit> },
    /// Does what a person decided about a half-done statement, and nothing else.
    Resolve(Resolution),
    /// Runs the units in their order, whatever the history says of other ones.
    Undo,
}

/// What a person decides about a half-done statement.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Choice {
    /// It happened: go on with the next one.
    MarkApplied,
    /// It did not happen: run it.
    Redo,
    /// Give the script up. It is pending again from its first statement; what it did is for the person to remove.
    Abort,
}

impl Choice {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::MarkApplied => "mark-applied",
            Self::Redo => "redo",
            Self::Abort => "abort",
        }
    }
}

/// A decision about a half-done statement, with who made it and why; the history keeps both.
///
/// # Examples
///
/// ```
/// use ha_migrate::{Choice, Resolution};
/// use ha_migrate::script::Phase;
///
/// let decided = Resolution::new("2.1", Phase::Expand, 3, Choice::MarkApplied, "m.keller", "rows counted: all 3 are there");
/// assert_eq!(decided.statement(), 3);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolution {
    pub(crate) key: Key,
    pub(crate) statement: usize,
    pub(crate) choice: Choice,
    pub(crate) who: String,
    pub(crate) why: String,
}

impl Resolution {
    /// Decides about statement `statement` (from 1) of the script with that version and phase.
    pub fn new(version: &str, phase: Phase, statement: usize, choice: Choice, who: &str, why: &str) -> Self {
        let key = Key { version: version.into(), phase };
        Self { key, statement, choice, who: who.into(), why: why.into() }
    }

    /// Returns the number of the statement, from 1.
    pub fn statement(&self) -> usize {
        self.statement
    }

    pub(crate) fn note(&self) -> String {
        format!("{} by {}: {}", self.choice.word(), self.who, self.why)
    }
}

/// How long a migrator waits, and what it may do to others.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_migrate::Policy;
///
/// let policy = Policy::default().with_deadline(Duration::from_secs(60)).with_terminate_after(Some(Duration::from_secs(10)));
/// assert_eq!(policy.lock_deadline, Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// How long a run may take. Default 600 s.
    pub deadline: Duration,
    /// How long another migrator or an orphan is waited for. Default 60 s.
    pub lock_deadline: Duration,
    /// How long a statement is tried again whose lock is not granted. Default 60 s.
    pub retry_deadline: Duration,
    /// How long a database is tried that cannot be reached. Default 10 s.
    pub connect_deadline: Duration,
    /// After how long the session of an earlier run that holds the lock or still works is ended. Only the session that the
    /// journal names by number and start. Default never.
    pub terminate_after: Option<Duration>,
    /// A script with a lower version than one that is applied is run. Default no: it is refused.
    pub out_of_order: bool,
    /// An empty history takes over what `flyway_schema_history` holds. Default yes.
    pub import_flyway: bool,
    /// An undo may remove tables that hold rows. Default no.
    pub undo_loses_rows: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(600),
            lock_deadline: Duration::from_secs(60),
            retry_deadline: Duration::from_secs(60),
            connect_deadline: Duration::from_secs(10),
            terminate_after: None,
            out_of_order: false,
            import_flyway: true,
            undo_loses_rows: false,
        }
    }
}

/// Writes one `with_` function a field.
macro_rules! setters {
    ($($field:ident $with:ident $kind:ty),+ $(,)?) => {
        impl Policy {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $with(mut self, value: $kind) -> Self {
                    self.$field = value;
                    self
                }
            )+
        }
    };
}

setters! {
    deadline with_deadline Duration, lock_deadline with_lock_deadline Duration, retry_deadline with_retry_deadline Duration,
    connect_deadline with_connect_deadline Duration, terminate_after with_terminate_after Option<Duration>,
    out_of_order with_out_of_order bool, import_flyway with_import_flyway bool, undo_loses_rows with_undo_loses_rows bool,
}

/// Why a half-done statement is not gone on with.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DirtyReason {
    /// Whether it happened cannot be told.
    Ambiguous,
    /// The statement that was under way is not in the script any more.
    StatementChanged,
    /// The script that was under way is not there any more.
    ScriptGone,
}

/// A half-done statement that a person has to decide about: what is known, and the choices.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Dirty {
    /// Its script; empty where that is gone.
    pub script: String,
    /// The version of its script (`R:` and the description of a repeatable one).
    pub version: String,
    /// The phase of its script.
    pub phase: Phase,
    /// Its number in the script, from 1.
    pub statement: usize,
    /// Its line in the script, from 1.
    pub line: usize,
    /// Its text; empty where the script is gone.
    pub text: String,
    /// Why it is not gone on with.
    pub reason: DirtyReason,
    /// What was seen: object by object, before and now.
    pub evidence: Vec<String>,
    /// How many statements the script has: those before it are done, those behind it were not tried. 0 where it is gone.
    pub of: usize,
    /// What can be decided.
    pub choices: Vec<Choice>,
}

impl std::fmt::Display for Dirty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { script, version, phase, statement, line, of, .. } = self;
        write!(f, "statement {statement} (line {line}) of {version} ({phase}) is half-done")?;
        if !script.is_empty() {
            write!(f, " in {script}")?;
        }
        let why = match self.reason {
            DirtyReason::Ambiguous => "whether it happened cannot be told",
            DirtyReason::StatementChanged => "the script has another statement there now",
            DirtyReason::ScriptGone => "its script is not there any more",
        };
        write!(f, ": {why}")?;
        for evidence in &self.evidence {
            write!(f, "; {evidence}")?;
        }
        if *of > 0 {
            write!(f, "; {}", around(*statement, *of))?;
        }
        let choices: Vec<_> = self.choices.iter().map(|choice| choice.word()).collect();
        write!(f, ". Look at the database, then resolve it: {}", choices.join(", "))
    }
}

/// Says what is known of the statements before and behind one that is not done.
pub(crate) fn around(statement: usize, of: usize) -> String {
    let range = |from: usize, to: usize| match to.checked_sub(from) {
        None => None,
        Some(0) => Some((format!("statement {from}"), true)),
        Some(_) => Some((format!("statements {from} to {to}"), false)),
    };
    let before = range(1, statement.saturating_sub(1)).map(|(which, one)| {
        format!("{which} {} done and {}", if one { "is" } else { "are" }, if one { "stays" } else { "stay" })
    });
    let behind =
        range(statement + 1, of).map(|(which, one)| format!("{which} {} not tried", if one { "was" } else { "were" }));
    let parts: Vec<_> = [before, behind].into_iter().flatten().collect();
    if parts.is_empty() { "it is the only one of the script".into() } else { parts.join(", ") }
}

/// How far a run came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Summary {
    /// The units that were run, in order.
    pub(crate) applied: Vec<usize>,
    /// Statements found done after a death.
    pub(crate) found_applied: u32,
    /// Statements found not done after a death, and run again.
    pub(crate) redone: u32,
    /// Broken indexes that were dropped.
    pub(crate) indexes_dropped: u32,
    /// Lock timeouts and deadlocks that were waited out.
    pub(crate) retries: u32,
    /// Sessions that were opened after the first.
    pub(crate) reconnects: u32,
    pub(crate) rows: u64,
    /// A command was given out that changes what scripts are about.
    pub(crate) touched: bool,
    /// The last statement begun.
    pub(crate) last: Option<At>,
}
