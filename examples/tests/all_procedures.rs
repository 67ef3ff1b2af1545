//! The whole real lab, one cluster of it: all of them take some minutes (`./test.sh --long`).

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod told;

use serde_json::json;

#[test]
fn the_requests_of_every_run_are_counted_from_one_ledger() {
    let told::Told { code, printed, report } = told::run("all_procedures", &["--only", "grow_cluster"], 1_000);
    assert_eq!((code, &report["good"]), (Some(0), &json!(true)), "{printed}");
    let runs = report["runs"].as_array().unwrap();
    let procedures: Vec<&str> = runs.iter().map(|run| run["procedure"].as_str().unwrap()).collect();
    assert_eq!(procedures, ["add node", "hand over", "retire node"]);
    let counted: u64 = runs.iter().map(|run| run["requests"].as_u64().unwrap()).sum();
    assert_eq!(json!(counted), report["ledger_lines"], "every line is of one run: {printed}");
    for run in runs {
        assert_eq!((&run["failed"], &run["versions"]["4.2.0"]), (&json!(0), &run["requests"]), "{printed}");
        assert!(run["requests"].as_u64() > Some(100), "{printed}");
    }
}

#[test]
fn an_unknown_option_is_named_with_those_that_are_known() {
    told::assert_names_the_options("all_procedures");
}
