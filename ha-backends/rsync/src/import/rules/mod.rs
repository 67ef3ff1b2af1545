//! The rules, each a small function.

mod copying;
mod job;
mod lock;
mod status;

use std::collections::BTreeSet;

pub(super) use copying::is_unchecked;
pub(super) use job::together;
pub(super) use lock::Taken;

use super::edges::Call;
use super::finding::{Finding, Place, Rule};
use super::model::Job;
use super::shell::{Join, Section};
use super::text::Text;
use super::trace::{Act, AroundKind, At, Trace};

/// Collects findings.
pub(super) struct Out<'t> {
    texts: &'t [Text],
    own_hosts: &'t [String],
    pub(super) findings: Vec<Finding>,
}

/// A run, and what is known about it.
pub(super) struct Run {
    pub(super) trace: Trace,
    pub(super) calls: Vec<Call>,
    pub(super) locks: Vec<Taken>,
    /// The line that starts it, where one does, and what it says.
    pub(super) job: Option<(At, Job)>,
}

impl<'t> Out<'t> {
    pub(super) fn new(texts: &'t [Text], own_hosts: &'t [String]) -> Self {
        Self { texts, own_hosts, findings: Vec::new() }
    }

    pub(super) fn place(&self, (file, line): At) -> Place {
        self.texts[file].at(line.min(self.texts[file].lines().count()))
    }

    pub(super) fn add(&mut self, rule: Rule, at: At, what: impl Into<String>) {
        let finding = Finding::new(rule, &self.place(at), what);
        self.findings.push(finding);
    }

    /// Tells whether a host is the machine that the scripts run on.
    pub(super) fn is_own_host(&self, host: &str) -> bool {
        ["localhost", "::1"].contains(&host) || host.starts_with("127.") || self.own_hosts.iter().any(|own| own == host)
    }

    /// Sorts by file and line; what several runs share is said once.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.findings;
        let order = |file: &str| self.texts.iter().position(|text| text.name == file);
        findings.sort_by_cached_key(|one| (order(&one.file), one.line, one.rule, one.what.clone()));
        findings.dedup();
        findings
    }
}

/// Checks one run.
pub(super) fn run(run: &Run, out: &mut Out<'_>) {
    for ((at, what), rule) in [(&run.trace.unclear, Rule::NotUnderstood), (&run.trace.missing, Rule::ScriptNotGiven)]
        .into_iter()
        .flat_map(|(set, rule)| set.iter().map(move |one| (one, rule)))
    {
        let what = if rule == Rule::ScriptNotGiven {
            format!("what {what} does is not known: it may copy files too")
        } else {
            what.clone()
        };
        out.add(rule, *at, what);
    }
    let bashisms: BTreeSet<_> = run.trace.bashisms.iter().collect();
    for (at, what) in bashisms {
        out.add(
            Rule::Bashism,
            *at,
            format!("a plain sh, as dash, does not know {what}: what follows runs otherwise, or elsewhere"),
        );
    }
    lock::run(run, out);
    copying::run(run, out);
    status::run(run, out);
    job::run(run, out);
}

/// Tells whether a test ends the run, or the round of a loop, where it goes well (or, with `on_failure`, where it does not).
fn leads_out(trace: &Trace, number: usize, on_failure: bool) -> bool {
    let act = &trace.acts[number];
    let on_failure = on_failure != act.negated;
    let leaves = |act: &Act| act.is(&["exit", "return", "continue", "break"]);
    let wanted = if on_failure { Join::Or } else { Join::And };
    if act.then == wanted {
        let later = &trace.acts[number + 1..];
        let Some(next) = later.first() else { return false };
        return match next.path.get(..=act.path.len()) {
            // A group.
            Some(group) => later.iter().take_while(|next| next.path.starts_with(group)).any(leaves),
            None => {
                let chain = later.iter().take_while(|next| matches!(next.then, Join::And | Join::Or)).count();
                later.iter().take(chain + 1).any(leaves)
            }
        };
    }
    let Some((block, Section::Condition)) = act.path.last().copied() else { return false };
    let section = if on_failure { Section::Else } else { Section::Body };
    let is_branch = matches!(trace.blocks[block].kind, AroundKind::Branch);
    is_branch && trace.acts[number + 1..].iter().any(|next| next.path.contains(&(block, section)) && leaves(next))
}

/// Tells whether one act comes only where a test before it went well.
fn is_inside(trace: &Trace, test: usize, act: usize) -> bool {
    let (test, act) = (&trace.acts[test], &trace.acts[act]);
    match test.path.last() {
        Some((block, Section::Condition)) => {
            let section = if test.negated { Section::Else } else { Section::Body };
            act.path.contains(&(*block, section))
        }
        Some(_) | None => false,
    }
}

/// Tells whether an act is a test of whether a file is there.
fn is_test(act: &Act) -> bool {
    act.is(&["[", "[[", "test"])
}

/// Tells whether a test has a `!` of its own.
fn is_negated(act: &Act) -> bool {
    act.fields.iter().skip(1).any(|field| field.text().as_deref() == Some("!"))
}
