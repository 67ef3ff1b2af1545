//! Availability rules for migration scripts.
//!
//! [`lint`] is a pure call: what a statement does to the old version while it serves, how long somebody waits, by what safe form it
//! is replaced. Rules have ids that stay ([`Rule`]). A rule is allowed for one statement by a comment directly above it, or for a
//! script by one above its first statement, parted from it by a blank line: `-- ha:allow HA006 the table has ten rows`.
//!
//! ```
//! use ha_migrate::lint::{LintInput, Policy, Rule, UpgradeVerdict, lint};
//! use ha_migrate::script::Phase;
//! use ha_migrate::{Catalog, Dialect};
//!
//! let sql = "CREATE INDEX orders_at ON orders (at)";
//! let script = LintInput::new(Dialect::Postgres, "V2__orders.sql", Phase::Expand, sql, [(1, sql)]);
//! let report = lint(&[script], &Catalog::new(), &Policy::new());
//! assert_eq!(report.findings[0].rule, Rule::OfflineIndex);
//! assert_eq!(report.findings[0].rewrite[0].sql, "CREATE INDEX CONCURRENTLY orders_at ON orders (at)");
//! assert!(matches!(report.verdict, UpgradeVerdict::Splittable(_)));
//! ```

mod allow;
mod change;
mod columns;
mod constraints;
mod context;
mod cost;
mod finding;
mod input;
mod rows;
mod rule;
mod script_rules;
mod sql;
mod tables;
mod text;

use std::collections::HashSet;

pub(crate) use text::foreign;

pub use finding::{
    Blocked, Finding, LintReport, RewriteStep, Severity, Stall, StatementVerdict, UpgradeVerdict, Verdict, Work,
};
pub use input::{LintInput, LintStatement, Policy};
pub use rule::Rule;

use crate::classify::{Change, Kind, classify};
use crate::{Catalog, Dialect};
use allow::Allows;
use context::Context;

/// Holds scripts against the rules, in the order in which they will run.
///
/// A table that an earlier statement creates has no rows and no old version: what is done to it is not found fault with. Sizes
/// come from the catalogue; a table that is not in it may be large. CREATE TABLE IF NOT EXISTS creates, unless the catalogue has the
/// table already.
pub fn lint(inputs: &[LintInput<'_>], catalog: &Catalog, policy: &Policy) -> LintReport {
    let mut report = LintReport { findings: Vec::new(), statements: Vec::new(), verdict: UpgradeVerdict::ExpandOnly };
    let mut created = HashSet::new();
    for input in inputs {
        script(input, catalog, policy, &mut created, &mut report);
    }
    report.verdict = upgrade(&report);
    report
}

fn script(
    input: &LintInput<'_>,
    catalog: &Catalog,
    policy: &Policy,
    created: &mut HashSet<String>,
    report: &mut LintReport,
) {
    let allows = Allows::read(input);
    let classes: Vec<_> = input.statements.iter().map(|statement| classify(input.dialect, statement.text)).collect();
    let mut whole = script_rules::whole(input, policy, &classes);
    let across = script_rules::across(input, catalog, &classes, created);
    settle(&mut whole, &allows);
    report.findings.append(&mut whole);
    let in_transaction = script_rules::in_transaction(input, &classes);
    for ((statement, class), mut findings) in input.statements.iter().zip(&classes).zip(across) {
        let mut context =
            Context { input, catalog, policy, created, statement, class, in_transaction, found: Vec::new() };
        text::check(&mut context);
        if class.kind == Kind::Opaque {
            context.opaque();
        }
        change::check(&mut context);
        findings.append(&mut context.found);
        settle(&mut findings, &allows);
        let verdict = verdict(&findings);
        report.statements.push(StatementVerdict { file: input.file.to_owned(), line: statement.line, verdict });
        report.findings.append(&mut findings);
        for change in &class.changes {
            if let Change::CreateTable { table, if_not_exists, .. } = change
                // where it is there, it is an old one
                && (!if_not_exists || catalog.table(&table.name).is_none())
            {
                created.insert(table.name.to_ascii_lowercase());
            } else if let Change::RenameTable { from, to } = change
                && created.remove(&from.name.to_ascii_lowercase())
            {
                created.insert(to.name.to_ascii_lowercase());
            }
        }
    }
    report.findings.extend(allows.faults);
}

/// Marks what the script allows.
fn settle(findings: &mut [Finding], allows: &Allows) {
    for finding in findings {
        if let Some(reason) = allows.reason(finding.rule, finding.line) {
            finding.allowed = Some(reason.to_owned());
            finding.severity = Severity::Allowed;
        }
    }
}

/// The worst verdict; safe forms of several findings are put together.
fn verdict(findings: &[Finding]) -> Verdict {
    let mut worst = Verdict::Expand;
    for finding in findings.iter().filter(|finding| finding.allowed.is_none()) {
        worst = match (worst, &finding.verdict) {
            (Verdict::ExpandOnline(mut sql), Verdict::ExpandOnline(more)) => {
                sql.extend(more.iter().filter(|one| !sql.contains(one)).cloned().collect::<Vec<_>>());
                Verdict::ExpandOnline(sql)
            }
            (worst, verdict) => worst.max(verdict.clone()),
        };
    }
    worst
}

fn upgrade(report: &LintReport) -> UpgradeVerdict {
    let reasons = |worst: fn(&Verdict) -> bool| -> Vec<String> {
        let findings = report.findings.iter().filter(|finding| finding.allowed.is_none() && worst(&finding.verdict));
        findings
            .map(|finding| format!("{}:{}: {}: {}", finding.file, finding.line, finding.rule, finding.what))
            .collect()
    };
    let stops = reasons(|verdict| matches!(verdict, Verdict::Window | Verdict::Opaque));
    if !stops.is_empty() {
        return UpgradeVerdict::NeedsWindow(stops);
    }
    let splits = reasons(|verdict| matches!(verdict, Verdict::ExpandOnline(_) | Verdict::Backfill | Verdict::Contract));
    if splits.is_empty() { UpgradeVerdict::ExpandOnly } else { UpgradeVerdict::Splittable(splits) }
}

/// Whether the database takes DDL into a transaction.
pub(crate) fn has_transactional_ddl(dialect: Dialect) -> bool {
    match dialect {
        Dialect::Db2 | Dialect::Postgres | Dialect::SqlServer | Dialect::Sqlite => true,
        Dialect::H2 | Dialect::MariaDb | Dialect::MySql | Dialect::Oracle => false,
    }
}

/// MariaDB or MySQL.
pub(crate) fn is_mysql(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::MariaDb | Dialect::MySql)
}
