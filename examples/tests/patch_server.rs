//! The main job, as a user starts it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod told;

use told::{Told, assert_names_the_options};

fn run(options: &[&str]) -> Told {
    told::run("patch_server", options, 2000)
}

fn assert_patched(told: &Told, end: &str, release: &str) {
    assert_eq!(told.code, Some(0), "{}", told.printed);
    assert_eq!(told.report["load"]["failed"], serde_json::json!({}), "{}", told.printed);
    assert!(told.report["load"]["sent"].as_u64().unwrap() >= 2_000);
    assert_eq!(told.report["executed_twice"], 0);
    assert_eq!(told.report["run"]["end"], end, "{}", told.printed);
    assert_eq!(told.report["run"]["open"], serde_json::json!([]));
    assert_eq!(told.report["member_releases"], serde_json::json!([release, release]));
    assert!(told.printed.contains("proof: plan "), "the proof is printed before the first step");
    assert!(told.printed.contains("/report.html\n"), "a page is written: {}", told.printed);
}

#[test]
fn a_patch_behind_the_embedded_balancer_loses_no_request() {
    let told = run(&[]);
    assert_patched(&told, "all-new", "4.2.1");
    assert!(told.report["load"]["by_release"]["4.2.1"].as_u64() > Some(0), "{}", told.printed);
}

#[test]
fn a_patch_behind_haproxy_loses_no_request() {
    assert_patched(&run(&["--haproxy"]), "all-new", "4.2.1");
}

#[test]
fn a_patch_behind_a_pair_of_haproxys_of_which_one_is_reloaded_in_mid_drain_loses_no_request() {
    let told = run(&["--pair", "--reload"]);
    assert_patched(&told, "all-new", "4.2.1");
    assert!(told.printed.contains("lb1 was reloaded"), "{}", told.printed);
    assert!(!told.printed.contains("goes to the other"), "no client helps itself: {}", told.printed);
}

#[test]
fn a_patch_of_servers_in_two_pools_loses_no_request_in_either() {
    let told = run(&["--pools"]);
    assert_patched(&told, "all-new", "4.2.1");
    for pool in ["esb", "mgmt"] {
        let seen = &told.report["pools"][pool];
        assert_eq!(seen["failed"], serde_json::json!({}), "{pool}: {}", told.printed);
        assert!(seen["by_release"]["4.2.0"].as_u64() > Some(0) && seen["by_release"]["4.2.1"].as_u64() > Some(0));
    }
}

#[test]
fn a_pool_that_the_topology_leaves_out_is_told_by_name_and_would_lose_requests() {
    let told = run(&["--pools", "--leave-out"]);
    assert_eq!(told.code, Some(0), "{}", told.printed);
    assert!(told.printed.contains("lb1: backend mgmt: server esb1 has the name of member esb1"), "{}", told.printed);
    assert!(!told.printed.contains("lease epoch"), "nothing was begun: {}", told.printed);
    let anyway = run(&["--pools", "--leave-out", "--anyway"]);
    assert_eq!(anyway.code, Some(1), "{}", anyway.printed);
    assert_eq!(anyway.report["pools"]["esb"]["failed"], serde_json::json!({}), "{}", anyway.printed);
    assert_ne!(anyway.report["pools"]["mgmt"]["failed"], serde_json::json!({}), "{}", anyway.printed);
}

#[test]
fn a_patch_goes_on_over_the_other_balancer_when_one_of_a_pair_is_killed() {
    for step in ["3", "11"] {
        let told = run(&["--kill", "balancer", "--at", step]);
        assert_eq!(told.code, Some(0), "{}", told.printed);
        assert_eq!(told.report["run"]["open"], serde_json::json!([]), "{}", told.printed);
        let notes = told.report["run"]["notes"].to_string();
        assert!(notes.contains("the process of balancer lb"), "{notes}");
        assert!(told.printed.contains("goes to the other"), "{}", told.printed);
    }
}

#[test]
fn patches_that_follow_one_another_lose_no_request() {
    assert_patched(&run(&["--rounds", "2"]), "all-new", "4.2.2");
}

#[test]
fn a_patch_behind_a_queue_loses_no_request_and_a_restart_without_drain_does() {
    assert_patched(&run(&["--haproxy", "--queue"]), "all-new", "4.2.1");
    let naive = run(&["--haproxy", "--queue", "--naive"]);
    assert_eq!(naive.code, Some(1), "{}", naive.printed);
    assert_ne!(naive.report["load"]["failed"], serde_json::json!({}), "{}", naive.printed);
}

#[test]
fn four_hosts_are_patched_over_ssh_beside_a_hand_written_script_and_no_request_is_lost() {
    let told = run(&["--ssh"]);
    assert_eq!(told.code, Some(0), "{}", told.printed);
    assert_eq!(told.report["load"]["failed"], serde_json::json!({}), "{}", told.printed);
    let runs = told.report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 5, "{}", told.printed);
    for run in runs {
        assert_eq!(
            (&run["end"], &run["open"]),
            (&serde_json::json!("all-new"), &serde_json::json!([])),
            "{}",
            told.printed
        );
    }
    for way in ["engine", "floor"] {
        let costs = told.report[way].as_array().unwrap();
        assert!(costs.iter().all(|cost| cost["wall_ms"].as_u64() > Some(0)), "{way}: {costs:?}");
    }
}

#[test]
fn a_patch_that_fails_its_test_ends_all_old() {
    assert_patched(&run(&["--fail-test"]), "all-old", "4.2.0");
    assert_patched(&run(&["--fail-test", "--haproxy"]), "all-old", "4.2.0");
}

#[test]
fn a_controller_killed_with_9_is_replaced_and_ends_all_new() {
    for options in [&["--kill-controller"][..], &["--kill-controller", "--haproxy"]] {
        let told = run(options);
        assert_patched(&told, "all-new", "4.2.1");
        assert!(told.printed.contains("resumed with lease epoch 2"), "{}", told.printed);
    }
}

#[test]
fn the_loss_of_the_active_server_costs_requests_only_until_the_balancer_has_seen_it() {
    for options in [&["--kill-active", "--at", "6"][..], &["--kill-active", "--at", "6", "--haproxy"]] {
        let told = run(options);
        assert_eq!(told.code, Some(0), "{}", told.printed);
        assert_ne!(told.report["load"]["failed"], serde_json::json!({}), "the server did carry requests");
        assert!(told.report["run"]["replanned"].as_array().is_some_and(|plans| plans.len() == 1), "{}", told.printed);
        assert_eq!(told.report["run"]["open"], serde_json::json!([]), "{}", told.printed);
    }
}

#[test]
fn a_server_killed_in_any_step_leaves_all_new_or_all_old_and_nothing_lent() {
    let cases = [("active", "12"), ("passive", "7"), ("spare", "14")];
    for (victim, step) in cases {
        let told = run(&["--kill", victim, "--at", step, "--requests", "100"]);
        assert_eq!(told.code, Some(0), "{victim} in step {step}: {}", told.printed);
    }
}

#[test]
fn what_fails_once_the_load_runs_is_no_failure_to_set_up() {
    let told = run(&["--kill", "active", "--at", "1000"]);
    assert_eq!(told.code, Some(1), "{}", told.printed);
    assert!(told.printed.contains("the run ended before the step"), "{}", told.printed);
}

#[test]
fn a_host_of_four_that_is_lost_with_all_that_runs_on_it_leaves_all_new_or_all_old() {
    let told = run(&["--ssh", "--kill", "host", "--at", "12"]);
    assert_eq!(told.code, Some(0), "{}", told.printed);
    assert_eq!(told.report["run"]["open"], serde_json::json!([]), "{}", told.printed);
}

#[test]
fn a_host_of_four_that_is_only_cut_off_answers_nobody_when_its_link_is_healed() {
    let told = run(&["--ssh", "--kill", "link", "--at", "12"]);
    assert_eq!(told.code, Some(0), "{}", told.printed);
    assert_eq!(told.report["run"]["open"], serde_json::json!([]), "{}", told.printed);
    assert!(told.printed.contains("held out: true; consumers got 0 answers of esb"), "{}", told.printed);
}

#[test]
fn a_cluster_without_the_spare_that_the_law_needs_is_left_alone() {
    let told = run(&["--no-spare"]);
    assert_eq!(told.code, Some(0), "{}", told.printed);
    assert_eq!(told.report["load"]["failed"], serde_json::json!({}), "{}", told.printed);
    assert_eq!(told.report["member_releases"], serde_json::json!(["4.2.0", "4.2.0"]));
    assert!(told.printed.contains("remedy: add one spare of capacity 1000"), "{}", told.printed);
    assert!(!told.printed.contains("lease epoch"), "nothing was begun: {}", told.printed);
}

#[test]
fn the_meter_sees_what_restarts_without_drain_lose() {
    for options in [&["--naive"][..], &["--naive", "--haproxy"]] {
        let told = run(options);
        assert_eq!(told.code, Some(1), "{}", told.printed);
        assert_ne!(told.report["load"]["failed"], serde_json::json!({}), "{}", told.printed);
    }
}

#[test]
fn an_unknown_option_is_named_with_those_that_are_known() {
    assert_names_the_options("patch_server");
}

#[test]
fn a_cluster_by_hand_serves_until_the_input_ends_and_says_what_to_type() {
    let told = told::run("patch_server", &["--by-hand"], 0);
    assert_eq!(told.code, Some(0), "{}", told.printed);
    assert!(told.report["load"]["sent"].as_u64() > Some(500), "{}", told.printed);
    assert!(told.printed.contains("hactl run patch.toml"), "{}", told.printed);
}
