use std::fmt;
use std::io;
use std::path::Path;

use ha_backends::ConnectErrors;
use ha_core::engine::RunError;
use ha_core::journal::{JournalError, LeaseError};
use ha_core::procedure::PlanError;
use ha_core::record::End;
use ha_core::topology::Diagnostic;

use crate::exit::Exit;
use crate::json::{Error, ErrorBody, FileDiagnostic};

/// Why a command did not do what it was asked for: what, where, and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    what: String,
    diagnostics: Vec<FileDiagnostic>,
    next: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit, what: what.into(), diagnostics: Vec::new(), next: next.into() }
    }

    /// An error that is this program's own.
    pub(crate) fn internal(what: impl Into<String>) -> Self {
        Self::new(Exit::Internal, what, "report this, with the command and its output")
    }

    /// A file that is wrong, with everything that is wrong in it.
    pub(crate) fn in_file(file: &Path, what: &str, found: &[Diagnostic]) -> Self {
        let file = file.display().to_string();
        let shown = format!("{file}: {what} ({} error(s))", found.len());
        let next = format!("correct {file}, then ask again");
        let diagnostics = found.iter().map(|one| FileDiagnostic::new(&file, one)).collect();
        Self { diagnostics, ..Self::new(Exit::BadFile, shown, next) }
    }

    /// The settings of backends that are wrong.
    pub(crate) fn connecting(file: &Path, errors: &ConnectErrors) -> Self {
        let found: Vec<Diagnostic> = errors
            .errors()
            .iter()
            .map(|error| {
                let (place, text) = (error.place(), error.to_string());
                let after = text.strip_prefix(&format!("{place}: ")).unwrap_or(&text).to_string();
                let (message, fix) = after.split_once("; ").unwrap_or((&after, "see the backend's settings"));
                Diagnostic::new(place.line, place.key.clone(), message, fix)
            })
            .collect();
        Self::in_file(file, "the backends cannot be built, nothing was connected", &found)
    }

    /// A file that cannot be read.
    pub(crate) fn unreadable(file: &Path, error: &io::Error, next: &str) -> Self {
        Self::new(Exit::BadFile, format!("{} cannot be read: {error}", file.display()), next)
    }

    /// A file that cannot be written.
    pub(crate) fn unwritable(file: &Path, error: &io::Error) -> Self {
        let next = match error.kind() {
            io::ErrorKind::AlreadyExists => "choose another name, or give --force to replace it",
            io::ErrorKind::StorageFull => "make room, or choose another place",
            _ => "choose a place that this user may write to",
        };
        Self::new(Exit::Output, format!("{} cannot be written: {error}", file.display()), next)
    }

    /// What a run or a plan was refused for.
    pub(crate) fn of_run(error: RunError) -> Self {
        let what = error.to_string();
        let (exit, next) = match &error {
            RunError::Plan { source, seen } => return Self::of_plan(source, seen, false),
            RunError::Lease(error) => return Self::of_lease(error),
            RunError::Journal(error) => return Self::of_journal(error),
            RunError::Unrecorded { run, .. } => {
                (Exit::Journal, format!("repair the journal, then `hactl resume {run}`"))
            }
            RunError::Fold { .. } => (Exit::BadFile, "use the cluster file with which the run was begun".into()),
            RunError::StalePlan(_) => (Exit::NotReady, "plan again".into()),
            RunError::Unread { .. } => (Exit::Unreachable, "make that answer, then ask again".into()),
            RunError::OtherTopology | RunError::OtherPlan => (Exit::NotReady, "plan again".into()),
            // One of this cluster that is open is told before, as unfinished.
            RunError::Exists { run } => {
                (Exit::Usage, format!("give --run another name; `hactl report {run}` tells what that one did"))
            }
            RunError::Unfinished { run } => {
                let next = format!("`hactl status {run}`; then `hactl resume {run}` or `hactl rollback {run}`");
                (Exit::NeedsOperator, next)
            }
            RunError::Refused { run, .. } => (Exit::NotTaken, format!("`hactl status {run}` tells how it is")),
            RunError::Ended { run, end: End::NeedsOperator(_) } => {
                (Exit::NotTaken, format!("it waits for a person: `hactl resume {run}` or `hactl rollback {run}`"))
            }
            RunError::Ended { run, .. } => (Exit::NotTaken, format!("`hactl report {run}` tells what it did")),
            RunError::Died(_) => (Exit::Internal, "`hactl status`, then resume the run".into()),
            _ => (Exit::Internal, "`hactl status`".into()),
        };
        Self::new(exit, what, next)
    }

    /// Why there is no plan; `unseen` where part of the cluster could not be seen.
    pub(crate) fn of_plan(source: &PlanError, seen: &[String], unseen: bool) -> Self {
        let (exit, next) = match source {
            PlanError::AtRest(_) | PlanError::NotReady { .. } | PlanError::Missing(_) if unseen => {
                (Exit::Unreachable, "make what is listed answer, `hactl show`, then ask again")
            }
            PlanError::AtRest(_) | PlanError::NotReady { .. } => (Exit::NotReady, "`hactl show`; then ask again"),
            PlanError::Missing(_) | PlanError::Incomplete(_) | PlanError::NotHeld { .. } => {
                (Exit::NotReady, "do what is named, then ask again")
            }
            PlanError::Dangerous(_) => (
                Exit::NotReady,
                "correct haproxy.cfg where it is named, or accept a rule that you know better: accept = [\"RULE\"] in its [[balancer]]",
            ),
            PlanError::NeedsWindow { .. } | PlanError::Unprovable { .. } => {
                (Exit::Refused, "take up the remedy; `hactl prove` tells it too")
            }
            PlanError::NothingToDo { .. } | PlanError::AlreadySo { .. } => (Exit::Done, "nothing"),
            _ => (Exit::NotReady, "do what is named, then ask again"),
        };
        let seen: String = seen.iter().map(|line| format!("\n  seen: {line}")).collect();
        Self::new(exit, format!("{}{seen}", source.to_string().trim_end()), next)
    }

    pub(crate) fn of_lease(error: &LeaseError) -> Self {
        let (exit, next) = match error {
            LeaseError::Held { .. } => (Exit::LeaseHeld, "`hactl status` and `hactl watch` show what it does"),
            LeaseError::Lost { .. } => (Exit::LeaseHeld, "`hactl status` tells who has it; resume the run from there"),
            _ => (Exit::Journal, "check the journal's file and its folder"),
        };
        Self::new(exit, error.to_string(), next)
    }

    pub(crate) fn of_journal(error: &JournalError) -> Self {
        let (exit, next) = match error {
            JournalError::Conflict { .. } | JournalError::Fenced { .. } => {
                (Exit::LeaseHeld, "`hactl watch` shows the other controller's run")
            }
            JournalError::Newer { .. } => (Exit::Journal, "use the version of this tool that wrote it"),
            _ => (
                Exit::Journal,
                "check the file and its folder: that it is the journal, that this user may write there (SQLite needs that to read, too), and that there is room",
            ),
        };
        Self::new(exit, error.to_string(), next)
    }

    /// Says what it is about.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// The same as data.
    pub(crate) fn to_json(&self) -> Error {
        Error {
            error: ErrorBody {
                exit: self.exit.code(),
                class: self.exit.name().into(),
                message: self.what.clone(),
                diagnostics: self.diagnostics.clone(),
                next: self.next.clone(),
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for found in &self.diagnostics {
            write!(f, "\n  {found}")?;
        }
        write!(f, "\n  next: {}", self.next)
    }
}
