//! What a rule knows of the statement that it looks at.

use std::collections::HashSet;

use super::cost::{Operation, nanos};
use super::{Blocked, Finding, LintInput, LintStatement, Policy, RewriteStep, Rule, Severity, Stall, Verdict, sql};
use crate::catalog::TableStats;
use crate::script::Phase;
use crate::{Catalog, Class, Dialect, ObjectName};

pub(super) struct Context<'a> {
    pub(super) input: &'a LintInput<'a>,
    pub(super) catalog: &'a Catalog,
    pub(super) policy: &'a Policy,
    pub(super) created: &'a HashSet<String>,
    pub(super) statement: &'a LintStatement<'a>,
    pub(super) class: &'a Class,
    pub(super) in_transaction: bool,
    pub(super) found: Vec<Finding>,
}

/// How strong a lock is.
#[derive(Clone, Copy)]
pub(super) enum Lock {
    /// Readers and writers wait.
    Exclusive,
    /// Writers wait.
    Writers,
    /// Writers of both tables of a foreign key wait.
    ForeignKey,
}

impl Context<'_> {
    pub(super) fn dialect(&self) -> Dialect {
        self.input.dialect
    }

    /// Whether a table was created by these scripts: nobody uses it.
    pub(super) fn is_new(&self, table: &ObjectName) -> bool {
        self.created.contains(&table.name.to_ascii_lowercase())
    }

    pub(super) fn stats(&self, table: &ObjectName) -> Option<&TableStats> {
        self.catalog.table(&table.name)
    }

    pub(super) fn is_small(&self, table: &ObjectName) -> bool {
        self.stats(table).and_then(|stats| stats.rows).is_some_and(|rows| rows <= self.policy.small_rows)
    }

    /// A table as SQL has it.
    pub(super) fn sql(&self, table: &ObjectName) -> String {
        sql::table(self.dialect(), table)
    }

    /// A column, index or constraint as SQL has it.
    pub(super) fn quoted(&self, name: &str) -> String {
        sql::name(self.dialect(), name)
    }

    pub(super) fn finding(&self, rule: Rule, severity: Severity, what: impl Into<String>) -> Finding {
        Finding::new(rule, severity, self.input.file, self.statement.line, what)
    }

    pub(super) fn push(&mut self, finding: Finding) {
        self.found.push(finding);
    }

    /// The lock in the product's words.
    pub(super) fn lock(&self, lock: Lock) -> &'static str {
        match (self.dialect(), lock) {
            (Dialect::Postgres, Lock::Exclusive) => "ACCESS EXCLUSIVE",
            (Dialect::Postgres, Lock::Writers) => "SHARE",
            (Dialect::Postgres, Lock::ForeignKey) => "SHARE ROW EXCLUSIVE",
            (Dialect::MariaDb | Dialect::MySql, Lock::Exclusive) => "EXCLUSIVE metadata lock",
            (Dialect::MariaDb | Dialect::MySql, Lock::Writers | Lock::ForeignKey) => "LOCK=SHARED",
            (Dialect::Sqlite, Lock::Exclusive | Lock::Writers | Lock::ForeignKey) => {
                "RESERVED, then EXCLUSIVE on the file"
            }
            (Dialect::SqlServer, Lock::Exclusive) => "Sch-M",
            (Dialect::SqlServer, Lock::Writers | Lock::ForeignKey) => "S",
            (Dialect::Oracle, Lock::Exclusive) => "exclusive DDL lock",
            (Dialect::Oracle, Lock::Writers | Lock::ForeignKey) => "SHARE",
            (Dialect::Db2, Lock::Exclusive) => "Z",
            (Dialect::Db2, Lock::Writers | Lock::ForeignKey) => "S",
            (Dialect::H2, Lock::Exclusive | Lock::Writers | Lock::ForeignKey) => "exclusive table lock",
        }
    }

    /// How long somebody waits while every row of a table is visited.
    pub(super) fn stall(&self, table: &ObjectName, blocked: Blocked, operation: Operation) -> Stall {
        let millis = self
            .stats(table)
            .and_then(|stats| Some(stats.rows?.saturating_mul(nanos(self.dialect(), operation)?) / 1_000_000));
        Stall { blocked, millis }
    }

    /// Pushes a finding whose harm is a wait: a note where the table is known to be small enough.
    pub(super) fn push_stall(&mut self, mut finding: Finding, table: &ObjectName, verdict: Verdict) {
        let short =
            finding.stall.and_then(|stall| stall.millis).is_some_and(|millis| millis < self.policy.stall_millis);
        if short || self.is_small(table) {
            finding.severity = Severity::Note;
        } else {
            finding.verdict = verdict;
        }
        self.push(finding);
    }

    /// Pushes a finding of what only the last old node's end makes safe.
    pub(super) fn push_contract(&mut self, mut finding: Finding) {
        finding.verdict = Verdict::Contract;
        if self.input.phase == Phase::Contract {
            finding.severity = Severity::Note;
        } else {
            finding.what.push_str("; it belongs to the contract phase, after the last old node");
            finding.belongs = Some(Phase::Contract);
        }
        self.push(finding);
    }

    pub(super) fn opaque(&mut self) {
        let what = "what it does cannot be told from its text: review it, and allow it with `-- ha:allow HA014 reason`";
        let mut finding = self.finding(Rule::Opaque, Severity::Error, what);
        finding.verdict = Verdict::Opaque;
        self.push(finding);
    }
}

/// Steps of the expand phase, and the verdict that they make.
pub(super) fn online<const N: usize>(steps: [String; N]) -> (Vec<RewriteStep>, Verdict) {
    let verdict = Verdict::ExpandOnline(steps.to_vec());
    (steps.map(|sql| step(Phase::Expand, sql)).into(), verdict)
}

pub(super) fn step(phase: Phase, sql: impl Into<String>) -> RewriteStep {
    RewriteStep { phase, sql: sql.into() }
}
