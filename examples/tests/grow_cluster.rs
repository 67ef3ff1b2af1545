//! A cluster grows and shrinks under load, as a user starts it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod told;

use serde_json::json;

#[test]
fn a_node_is_added_writes_and_replaces_the_old_writer_without_a_failed_request() {
    for options in [&[][..], &["--haproxy"], &["--pair"]] {
        let told = told::run("grow_cluster", options, 1_000);
        assert_eq!(told.code, Some(0), "{options:?}: {}", told.printed);
        for run in told.report["runs"].as_array().unwrap() {
            assert_eq!((&run["end"], &run["open"]), (&json!("all-new"), &json!([])));
        }
        for words in ["added: esb3 is a member", "handed over: esb3 writes", "retired: esb1 is held out, stopped"] {
            assert!(told.printed.contains(words), "{words}: {}", told.printed);
        }
    }
}

#[test]
fn an_unknown_option_is_named_with_those_that_are_known() {
    told::assert_names_the_options("grow_cluster");
}
