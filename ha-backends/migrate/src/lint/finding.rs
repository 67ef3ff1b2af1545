//! What the rules find.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Rule;
use crate::script::Phase;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing; nothing waits or breaks.
    Note,
    /// Allowed by a comment in the script, with its reason.
    Allowed,
    /// May block or break the old version.
    Warning,
    /// Blocks or breaks the old version, or loses data.
    Error,
}

/// What a statement has to do to its table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Work {
    /// Writes every row anew.
    Rewrite,
    /// Reads every row.
    Scan,
}

/// Who waits.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Blocked {
    /// Readers and writers of the table.
    ReadersAndWriters,
    /// Writers of the table.
    Writers,
}

/// How long somebody waits.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stall {
    /// Who waits.
    pub blocked: Blocked,
    /// The estimate in milliseconds: the catalogue's rows times what a row was measured to cost. `None` where the rows are not
    /// known, or the cost on this database was not measured.
    pub millis: Option<u64>,
}

/// One statement of a safe rewrite, with the phase that it belongs to.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RewriteStep {
    /// The phase.
    #[serde(serialize_with = "display")]
    pub phase: Phase,
    /// The SQL. Of a backfill `id` stands for the table's key, `:from` and `:to` for the bounds of a batch.
    pub sql: String,
}

/// What can be done with a statement while the old version runs, from the best to the worst.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "rewritten")]
#[non_exhaustive]
pub enum Verdict {
    /// Runs while the old version serves.
    Expand,
    /// Runs while the old version serves, in this form.
    ExpandOnline(Vec<String>),
    /// Runs in batches.
    Backfill,
    /// Runs when the last old node is gone.
    Contract,
    /// Stops the table: needs a window.
    Window,
    /// Cannot be told; needs review.
    Opaque,
}

/// What a rule found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// How much it matters.
    pub severity: Severity,
    /// The script or configuration file.
    pub file: String,
    /// The line of the statement's first word, from 1; 0 for the whole file.
    pub line: usize,
    /// What happens, to the statements of the old version above all, and what to do.
    pub what: String,
    /// The lock that the statement takes, in the product's words.
    pub lock: Option<&'static str>,
    /// What it does to the table's rows.
    pub work: Option<Work>,
    /// Who waits, and how long.
    pub stall: Option<Stall>,
    /// The phase that the statement belongs to, where that is another one than its script's.
    #[serde(serialize_with = "display_option")]
    pub belongs: Option<Phase>,
    /// A safe form, where there is one.
    pub rewrite: Vec<RewriteStep>,
    /// What it makes of the statement.
    pub verdict: Verdict,
    /// The reason of the comment that allows it.
    pub allowed: Option<String>,
}

impl Finding {
    pub(crate) fn new(rule: Rule, severity: Severity, file: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            rule,
            severity,
            file: file.to_owned(),
            line,
            what: what.into(),
            lock: None,
            work: None,
            stall: None,
            belongs: None,
            rewrite: Vec::new(),
            verdict: Verdict::Expand,
            allowed: None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Allowed => "allowed",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{}:{}: {severity}: {}: {}", self.file, self.line, self.rule, self.what)?;
        if let Some(reason) = &self.allowed {
            write!(f, " (allowed: {reason})")?;
        }
        Ok(())
    }
}

/// The verdict of one statement.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StatementVerdict {
    /// The script.
    pub file: String,
    /// The line of the statement's first word, from 1.
    pub line: usize,
    /// What can be done with it, findings that are allowed left out.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What an upgrade can do with the scripts: the planner branches on it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "upgrade", content = "reasons")]
#[non_exhaustive]
pub enum UpgradeVerdict {
    /// All of them run while the old version serves: a rolling upgrade.
    ExpandOnly,
    /// Expand now, backfill, contract after the last old node. Each reason names file, line and rule.
    Splittable(Vec<String>),
    /// Some statement stops a table or cannot be told: a declared window, or a cloned database.
    NeedsWindow(Vec<String>),
}

/// All that the rules found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LintReport {
    /// In the order of the scripts and lines.
    pub findings: Vec<Finding>,
    /// One a statement.
    pub statements: Vec<StatementVerdict>,
    /// Over all scripts.
    pub verdict: UpgradeVerdict,
}

impl LintReport {
    /// The findings of severity `Error`.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }
}

fn display<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn display_option<T: fmt::Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
