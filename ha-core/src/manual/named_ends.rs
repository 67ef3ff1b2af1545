//! Every named end and every refusal has its place on the page for three in the morning, by the text that people see.

use std::time::Duration;

// The handbook speaks of every module, so that it is beside their order.
use super::super::backend::{ErrorKind, StepError};
use super::super::engine::RunError;
use super::super::journal::{JournalError, LeaseError};
use super::super::machine::FoldError;
use super::super::procedure::PlanError;
use super::super::record::{End, RunId, Why};
use super::super::state::LeaseEpoch;
use super::super::topology::{DomainIx, FileSharing};

const PAGE: &str = include_str!("three_in_the_morning.md");

/// What the page has of each variant, and a function that tells it of a value. A new variant does not compile until it has a text here,
/// and the test fails until the page has it.
macro_rules! texts {
    ($type:ty { $($variant:pat => $text:literal),+ $(,)? }) => {{
        let text_of: fn(&$type) -> &'static str = |value| match value {
            $($variant => $text),+
        };
        (text_of, vec![$($text),+])
    }};
}

/// Checks that the page has all texts, each as code, and that they are what values display.
fn check<T: ToString>((text_of, texts): (fn(&T) -> &'static str, Vec<&str>), values: &[T]) {
    let missing: Vec<&str> = texts.into_iter().filter(|text| !PAGE.contains(&format!("`{text}`"))).collect();
    assert!(missing.is_empty(), "three_in_the_morning.md has nothing of: {missing:#?}");
    for value in values {
        let (text, told) = (text_of(value), value.to_string());
        assert!(told.contains(text), "it says {text:?}, and people see: {told}");
    }
}

#[test]
fn every_named_end_has_a_section_with_its_exact_text() {
    let (name_of, names) = texts!(End {
        End::AllNew => "all-new",
        End::AllOld => "all-old",
        End::NeedsOperator(Why::DomainLost(_)) => "domain-lost",
        End::NeedsOperator(Why::OutcomeUnknown) => "outcome-unknown",
        End::NeedsOperator(Why::CompensationFailed) => "compensation-failed",
        End::NeedsOperator(Why::LawWouldBreak) => "law-would-break",
        End::NeedsOperator(Why::Held) => "held",
        End::NeedsOperator(Why::PastReturn) => "past-return",
        End::NeedsOperator(Why::Withdrawn) => "withdrawn",
        End::NeedsOperator(Why::LoansOpen) => "loans-open",
        End::NeedsOperator(Why::BalancerLostState) => "balancer-lost-state",
        End::NeedsOperator(Why::Stopped) => "stopped",
        End::NeedsOperator(Why::NotApproved) => "not-approved",
    });
    let whys = [
        Why::DomainLost(DomainIx::new(0)),
        Why::OutcomeUnknown,
        Why::CompensationFailed,
        Why::LawWouldBreak,
        Why::Held,
        Why::PastReturn,
        Why::Withdrawn,
        Why::LoansOpen,
        Why::BalancerLostState,
        Why::Stopped,
        Why::NotApproved,
    ];
    let ends: Vec<End> = [End::AllNew, End::AllOld].into_iter().chain(whys.map(End::NeedsOperator)).collect();
    assert_eq!(ends.iter().map(name_of).collect::<Vec<_>>(), names, "each name has its value here");
    for end in ends {
        let (name, json) = (name_of(&end), serde_json::to_string(&end).unwrap());
        assert!(json.contains(&format!("\"{name}\"")), "JSON calls {name} otherwise: {json}");
        let heading = format!("(`{name}`)");
        let heading = PAGE.lines().position(|line| line.starts_with("## ") && line.ends_with(&heading));
        let heading = heading.unwrap_or_else(|| panic!("three_in_the_morning.md has no section for {name}"));
        let section = PAGE.lines().skip(heading + 1).take_while(|line| !line.starts_with('#'));
        let section = section.collect::<Vec<_>>().join("\n");
        let exact = format!("```text\n{end}\n```");
        assert!(section.contains(&exact), "the section of {name} has not the text that people see: {end}");
    }
}

#[test]
fn every_refusal_of_a_run_is_on_the_page() {
    let texts = texts!(RunError {
        // The four of other tests.
        RunError::Plan { .. } => "the plan breaks the law",
        RunError::Lease(_) => "is being changed by",
        RunError::Journal(_) => "the journal cannot be used",
        RunError::Unrecorded { .. } => "begun steps were brought to their end, nothing new was begun",
        RunError::Fold { .. } => "cannot be resumed",
        RunError::StalePlan(_) => "the plan is stale, the cluster has changed since",
        RunError::Unread { .. } => "could not be read, and nothing was changed",
        RunError::OtherTopology => "the plan was made for another topology",
        RunError::OtherPlan => "the proof is of another plan",
        RunError::Exists { .. } => "exists already in the journal",
        RunError::Unfinished { .. } => "of this cluster has not ended: resume it first",
        RunError::Refused { .. } => "is refused:",
        RunError::Ended { .. } => "has ended already",
        RunError::Died(_) => "the run's task ended unexpectedly",
    });
    let run = || RunId::from("patch-1");
    let broken = || JournalError::Broken { what: "disk full".into() };
    let held = LeaseError::Held {
        cluster: "orders".into(),
        owner: "anna@ops1".into(),
        epoch: LeaseEpoch::new(3),
        left: Duration::from_secs(4),
    };
    let values = [
        RunError::Lease(held),
        RunError::Journal(broken()),
        RunError::Unrecorded { run: run(), source: broken(), open: Vec::new(), unknown: Vec::new() },
        RunError::Fold { run: run(), source: FoldError::NotOpened },
        RunError::StalePlan("esb1".into()),
        RunError::Unread { unread: vec!["the server of esb1".into()], notes: Vec::new() },
        RunError::OtherTopology,
        RunError::OtherPlan,
        RunError::Exists { run: run() },
        RunError::Unfinished { run: run() },
        RunError::Refused { run: run(), what: "retry", why: "no".into() },
        RunError::Ended { run: run(), end: End::AllNew },
        RunError::Died("panicked".into()),
    ];
    check(texts, &values);
}

#[test]
fn every_reason_for_no_plan_is_on_the_page() {
    let texts = texts!(PlanError {
        PlanError::AtRest(_) => "the cluster breaks the law at rest, no plan can start from here",
        PlanError::NotReady { .. } => "is not ready for a change",
        PlanError::Missing(_) => "what a change needs is missing",
        PlanError::NothingToDo { .. } | PlanError::AlreadySo { .. } => "there is nothing to do",
        PlanError::NotHeld { .. } => "cannot be held back on one node",
        PlanError::NeedsWindow { .. } => "cannot be run beside the release that is in use",
        PlanError::Dangerous(_) => "configuration would lose requests",
        PlanError::Incomplete(_) => "the request is not complete",
        PlanError::Unprovable { .. } => "the plan breaks the law",
    });
    let text = || "esb1".to_string();
    let values = [
        PlanError::AtRest(Vec::new()),
        PlanError::NotReady { node: text(), what: text(), fix: text() },
        PlanError::Missing(vec![text()]),
        PlanError::NothingToDo { what: text() },
        PlanError::AlreadySo { what: text() },
        PlanError::NotHeld { kind: FileSharing::SharedMount, what: text(), fix: text() },
        PlanError::NeedsWindow { reasons: vec![text()] },
        PlanError::Dangerous(vec![text()]),
        PlanError::Incomplete(text()),
    ];
    check(texts, &values);
}

#[test]
fn every_failure_of_journal_and_lease_is_on_the_page() {
    let (run, epoch) = (|| RunId::from("patch-1"), LeaseEpoch::new(1));
    let texts = texts!(JournalError {
        JournalError::Conflict { .. } => "another controller writes this run",
        JournalError::Fenced { .. } => "was taken over with epoch",
        JournalError::Newer { .. } => "use the library version that wrote it",
        JournalError::Corrupt { .. } => "the journal is damaged at",
        JournalError::Broken { .. } => "the journal cannot be used",
    });
    let values = [
        JournalError::Conflict { run: run(), sequence: 1, expected: 2 },
        JournalError::Fenced { run: run(), epoch, current: LeaseEpoch::new(2) },
        JournalError::Newer { run: run(), sequence: 1, format: 9, known: 5 },
        JournalError::Corrupt { place: "row 7".into(), what: "its checksum".into() },
        JournalError::Broken { what: "disk full".into() },
    ];
    check(texts, &values);
    let texts = texts!(LeaseError {
        LeaseError::Held { .. } => "is being changed by",
        LeaseError::Lost { .. } => "this controller must stop before its next effect",
        LeaseError::Broken { .. } => "the lease store cannot be used",
    });
    let cluster = || "orders".to_string();
    let values = [
        LeaseError::Held { cluster: cluster(), owner: "deploy-1".into(), epoch, left: std::time::Duration::ZERO },
        LeaseError::Lost { cluster: cluster(), epoch },
        LeaseError::Broken { what: "disk full".into() },
    ];
    check(texts, &values);
    let texts = texts!(FoldError {
        FoldError::NoSuchRun => "no such run is recorded",
        FoldError::NotOpened => "does not open the run: the journal is damaged",
        FoldError::NewerPlan { .. } => "use the version that made it",
        FoldError::OtherTopology => "the run was planned for another topology",
        FoldError::BadPlan(_) => "the run's plan cannot be carried out",
        FoldError::DoesNotFit { .. } => "does not fit the run's plan: the journal is damaged",
    });
    let values = [
        FoldError::NoSuchRun,
        FoldError::NotOpened,
        FoldError::NewerPlan { format: 99 },
        FoldError::OtherTopology,
        FoldError::DoesNotFit { sequence: 7 },
    ];
    check(texts, &values);
}

#[test]
fn every_kind_of_error_of_a_step_is_on_the_page() {
    let texts = texts!(ErrorKind {
        ErrorKind::Busy => "busy",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Denied => "denied",
        ErrorKind::Fenced => "fenced",
        ErrorKind::Gone => "gone",
        ErrorKind::NotFound => "not found",
        ErrorKind::Protocol => "unexpected answer",
        ErrorKind::Timeout => "timed out",
        ErrorKind::Unreachable => "unreachable",
        ErrorKind::Unsupported => "unsupported",
    });
    let (text_of, known) = texts;
    for text in known {
        assert!(PAGE.contains(&format!("\n| `{text}` |")), "three_in_the_morning.md has no line for {text}");
    }
    let told = StepError::new(ErrorKind::Protocol, "stop", "esb1").to_string();
    assert!(told.contains(text_of(&ErrorKind::Protocol)), "{told}");
    assert!(told.contains("effect unknown") && PAGE.contains("`effect unknown`"));
}
