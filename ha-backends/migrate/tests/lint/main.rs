//! The rules of availability, held against measured hazards and against statements that do no harm.

mod allow;
mod catalog;
mod hazards;
mod report;

use ha_migrate::lint::{LintInput, LintReport, Policy, lint};
use ha_migrate::script::Phase;
use ha_migrate::{Catalog, Dialect};

/// Lints statements as one script, a line each.
fn script(dialect: Dialect, phase: Phase, statements: &[&str], catalog: &Catalog) -> LintReport {
    let numbered = statements.iter().enumerate().map(|(at, text)| (at + 1, *text));
    lint(&[LintInput::new(dialect, "V1__x.sql", phase, "", numbered)], catalog, &Policy::new())
}

/// The rules that fire, in order, each once.
fn rules(report: &LintReport) -> String {
    let mut ids: Vec<_> = report.findings.iter().map(|finding| finding.rule.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.join(" ")
}

/// The first word of a verdict.
fn word(report: &LintReport) -> String {
    let verdict = report.statements.last().map(|statement| format!("{:?}", statement.verdict)).unwrap_or_default();
    verdict.split('(').next().unwrap_or_default().to_owned()
}
