//! A version is upgraded together with its database, as a user starts it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod told;

use serde_json::json;
use told::Told;

fn run(options: &[&str]) -> Told {
    told::run("upgrade_version", options, 1_500)
}

fn assert_nothing_is_lost(Told { code, printed, report }: &Told) {
    assert_eq!(*code, Some(0), "{printed}");
    assert_eq!((&report["load"]["failed"], &report["wrong"]), (&json!({}), &json!(0)), "{printed}");
    assert!(report["rows"].as_u64() > Some(20_000), "every request writes a row: {printed}");
}

fn assert_upgraded(told: &Told) {
    assert_nothing_is_lost(told);
    let Told { printed, report, .. } = told;
    assert_eq!((&report["run"]["end"], &report["run"]["open"]), (&json!("all-new"), &json!([])), "{printed}");
    assert_eq!((&report["schema"], &report["releases"]), (&json!("contracted"), &json!(vec!["5.0.0"; 3])), "{printed}");
    for release in ["4.2.0", "5.0.0"] {
        assert!(report["load"]["by_release"][release].as_u64() > Some(100), "both serve meanwhile: {printed}");
    }
    assert!(printed.contains("proof: plan "), "the proof is printed before the first step");
}

#[test]
fn an_upgrade_with_its_database_loses_no_request_and_no_row() {
    assert_upgraded(&run(&[]));
}

#[test]
fn an_upgrade_over_postgresql_behind_a_pair_of_haproxys_on_hosts_over_ssh_loses_no_request_and_no_row() {
    assert_upgraded(&run(&["--postgres", "--haproxy"]));
    assert_upgraded(&run(&["--postgres", "--pair", "--ssh"]));
}

#[test]
fn an_upgrade_over_mariadb_loses_no_request_and_no_row() {
    assert_upgraded(&run(&["--mariadb"]));
}

#[test]
fn an_upgrade_is_finished_though_its_controller_is_killed() {
    for database in [&[][..], &["--postgres"], &["--mariadb"]] {
        let told = run(&[database, &["--kill-controller"]].concat());
        assert_eq!(told.report["kills"], 1, "{}", told.printed);
        assert_upgraded(&told);
    }
}

#[test]
fn a_release_that_fails_its_test_on_the_last_node_goes_back_while_the_schema_stays_expanded() {
    let told = run(&["--fail-test"]);
    assert_nothing_is_lost(&told);
    let Told { printed, report, .. } = &told;
    assert_eq!((&report["run"]["end"], &report["run"]["open"]), (&json!("all-old"), &json!([])), "{printed}");
    assert_eq!((&report["schema"], &report["releases"]), (&json!("backfilled"), &json!(vec!["4.2.0"; 3])), "{printed}");
}

#[test]
fn scripts_that_break_the_old_release_are_refused_before_anything_is_done() {
    let told = run(&["--breaking"]);
    assert_nothing_is_lost(&told);
    let Told { printed, report, .. } = &told;
    let refused = report["run"]["refused"].as_str().unwrap();
    assert!(refused.contains("expand/V4__drop_amount.sql line 3: HA005: "), "{refused}");
    assert_eq!((&report["schema"], &report["releases"]), (&json!("base"), &json!(vec!["4.2.0"; 3])), "{printed}");
}

fn assert_window_is_kept(told: &Told) {
    assert_nothing_is_lost(told);
    let Told { printed, report, .. } = told;
    let window = &report["window"];
    assert_eq!((&window["late"], &window["lost"]), (&json!(0), &json!(0)), "{printed}");
    assert!(window["refused"].as_u64() > Some(0) && window["written"].as_u64() > Some(100), "{printed}");
    assert_eq!(report["schema"], json!("base"), "nothing is run on the database itself: {printed}");
}

#[test]
fn scripts_that_break_the_old_release_are_run_on_a_clone_in_a_window_in_which_reads_go_on() {
    for database in [&[][..], &["--postgres"], &["--mariadb"]] {
        let told = run(&[database, &["--breaking", "--window"]].concat());
        assert_window_is_kept(&told);
        let Told { printed, report, .. } = &told;
        assert_eq!((&report["run"]["end"], &report["run"]["open"]), (&json!("all-new"), &json!([])), "{printed}");
        assert_eq!(report["releases"], json!(vec!["5.0.0"; 3]), "{printed}");
    }
}

#[test]
fn a_release_that_fails_its_test_in_the_window_gives_the_database_back() {
    let told = run(&["--breaking", "--window", "--fail-test"]);
    assert_window_is_kept(&told);
    let Told { printed, report, .. } = &told;
    assert_eq!((&report["run"]["end"], &report["run"]["open"]), (&json!("all-old"), &json!([])), "{printed}");
    assert_eq!(report["releases"], json!(vec!["4.2.0"; 3]), "{printed}");
}

#[test]
fn the_article_to_the_letter_takes_the_active_node_down() {
    let Told { code, printed, report } = run(&["--literal"]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(report["load"]["failed"]["status5xx"].as_u64() > Some(50), "{printed}");
}

#[test]
fn an_unknown_option_is_named_with_those_that_are_known() {
    told::assert_names_the_options("upgrade_version");
}
