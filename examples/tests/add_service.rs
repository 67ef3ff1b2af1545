//! A service is added, as a user starts it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod told;

use serde_json::json;
use told::Told;

fn run(options: &[&str]) -> Told {
    told::run("add_service", options, 1_500)
}

fn assert_added(Told { code, printed, report }: &Told) {
    assert_eq!(*code, Some(0), "{printed}");
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
fn a_service_is_added_on_hosts_over_rsync_and_ssh_behind_haproxy() {
    assert_added(&run(&["--haproxy", "--ssh"]));
}

#[test]
fn a_service_is_added_though_its_controller_is_killed() {
    let told = run(&["--kill-controller", "--pair", "--rsync"]);
    assert_eq!(told.report["kills"], 1, "{}", told.printed);
    assert_added(&told);
}

#[test]
fn a_service_that_fails_its_test_on_one_member_is_never_offered() {
    let Told { code, printed, report } = run(&["--fail-test"]);
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!((&report["run"]["end"], &report["run"]["open"]), (&json!("all-old"), &json!([])), "{printed}");
    assert_eq!((&report["load"]["failed"], &report["new_service"]["answered"]), (&json!({}), &json!(0)), "{printed}");
    assert_eq!((&report["sets"], &report["held"]), (&json!([1, 1, 1]), &json!([])), "{printed}");
}

#[test]
fn an_unknown_option_is_named_with_those_that_are_known() {
    told::assert_names_the_options("add_service");
}
