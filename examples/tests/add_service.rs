//! A service is added, as a user starts it. Built by `cargo test` beside this test.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

use serde_json::{Value, json};

/// Runs the example; returns what it printed, and its report.
fn run(options: &[&str]) -> (String, Value) {
    let deps = std::env::current_exe().unwrap();
    let program = deps.parent().unwrap().parent().unwrap().join("examples/add_service");
    assert!(program.exists(), "{} is not built: cargo build -p examples --examples", program.display());
    let out = tempfile::tempdir().unwrap();
    let Output { status, stdout, stderr } =
        Command::new(program).args(options).args(["--requests", "1500", "--out"]).arg(out.path()).output().unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(0), "{printed}");
    let report = std::fs::read(out.path().join("report.json")).unwrap_or_else(|_| panic!("no report:\n{printed}"));
    (printed, serde_json::from_slice(&report).unwrap())
}

fn assert_added((printed, report): &(String, Value)) {
    assert_eq!((&report["run"]["end"], &report["run"]["open"]), (&json!("all-new"), &json!([])), "{printed}");
    assert_eq!(report["load"]["failed"], json!({}), "{printed}");
    assert_eq!((&report["untested"], &report["executed_twice"]), (&json!(0), &json!(0)), "{printed}");
    let new = &report["new_service"];
    assert_eq!((&new["before_all_tests"], &new["missed_afterwards"]), (&json!(0), &json!(0)), "{printed}");
    let (asked, answered) = (new["asked"].as_u64().unwrap(), new["answered"].as_u64().unwrap());
    assert!(answered > 20 && asked - answered > 100, "it was asked for long before it was offered: {printed}");
    assert_eq!((&report["sets"], &report["held"]), (&json!([2, 2, 2]), &json!([])), "{printed}");
    assert!(printed.contains("proof: plan "), "the proof is printed before the first step");
}

#[test]
fn a_service_is_answered_by_nobody_before_every_member_has_passed_its_test_and_by_all_once_it_is_exposed() {
    assert_added(&run(&[]));
}

#[test]
fn a_service_is_added_on_hosts_over_rsync_and_ssh() {
    assert_added(&run(&["--ssh"]));
}

#[test]
fn a_service_is_added_though_its_controller_is_killed() {
    let told = run(&["--kill-controller"]);
    assert_eq!(told.1["kills"], 1, "{}", told.0);
    assert_added(&told);
}

#[test]
fn a_service_that_fails_its_test_on_one_member_is_never_offered() {
    let (printed, report) = run(&["--fail-test"]);
    assert_eq!((&report["run"]["end"], &report["run"]["open"]), (&json!("all-old"), &json!([])), "{printed}");
    assert_eq!((&report["load"]["failed"], &report["new_service"]["answered"]), (&json!({}), &json!(0)), "{printed}");
    assert_eq!((&report["sets"], &report["held"]), (&json!([1, 1, 1]), &json!([])), "{printed}");
}
