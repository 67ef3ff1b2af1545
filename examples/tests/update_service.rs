//! An update of services, as a user starts it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod told;

use serde_json::json;
use told::{Told, assert_names_the_options};

fn run(options: &[&str]) -> Told {
    told::run("update_service", options, 1500)
}

fn assert_updated(told: &Told, end: &str, set: u64) {
    assert_eq!(told.code, Some(0), "{}", told.printed);
    assert_eq!(told.report["load"]["failed"], json!({}), "{}", told.printed);
    assert!(told.report["load"]["sent"].as_u64().unwrap() >= 1_500);
    assert_eq!((&told.report["untested"], &told.report["executed_twice"]), (&json!(0), &json!(0)), "{}", told.printed);
    assert_eq!(told.report["sets"], json!([set, set, set]), "{}", told.printed);
    assert_eq!(told.report["held"], json!([]), "{}", told.printed);
    let last = told.report["runs"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["end"], &last["open"]), (&json!(end), &json!([])), "{}", told.printed);
    assert!(told.printed.contains("proof: plan "), "the proof is printed before the first step");
}

#[test]
fn an_update_over_the_file_sharing_of_this_machine_loses_no_request_and_serves_nothing_untested() {
    let told = run(&[]);
    assert_updated(&told, "all-new", 2);
    assert!(told.report["load"]["by_release"]["g2"].as_u64() > Some(0), "{}", told.printed);
}

#[test]
fn an_update_over_rsync_behind_haproxy_loses_no_request_and_serves_nothing_untested() {
    assert_updated(&run(&["--haproxy", "--rsync"]), "all-new", 2);
}

#[test]
fn an_update_of_hosts_over_rsync_and_ssh_loses_no_request_and_serves_nothing_untested() {
    assert_updated(&run(&["--haproxy", "--ssh"]), "all-new", 2);
}

#[test]
fn an_update_whose_set_fails_its_test_on_the_last_node_ends_all_old() {
    for options in [&["--fail-test"][..], &["--fail-test", "--pair", "--rsync"]] {
        assert_updated(&run(options), "all-old", 1);
    }
}

#[test]
fn controllers_that_are_killed_with_9_at_any_moment_are_replaced() {
    let told = run(&["--kill-controller", "--rounds", "2"]);
    assert_eq!(told.code, Some(0), "{}", told.printed);
    let runs = told.report["runs"].as_array().unwrap();
    assert!(runs.len() == 2 && told.report["kills"].as_u64() > Some(0), "{}", told.printed);
}

#[test]
fn the_article_to_the_letter_serves_what_is_untested_and_loses_requests() {
    let told = run(&["--literal"]);
    assert_eq!(told.code, Some(1), "{}", told.printed);
    assert!(told.printed.contains("nodes that still have set 1: 0"), "{}", told.printed);
    assert!(told.report["untested"].as_u64() > Some(0), "{}", told.printed);
    assert_ne!(told.report["load"]["failed"], json!({}), "{}", told.printed);
}

#[test]
fn an_unknown_option_is_named_with_those_that_are_known() {
    assert_names_the_options("update_service");
}
