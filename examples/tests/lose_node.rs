//! A member is lost at rest, as a user starts it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod told;

use serde_json::json;

#[test]
fn a_member_lost_at_rest_costs_requests_only_until_the_balancer_has_seen_it_and_comes_back_without_a_loss() {
    for options in [&[][..], &["--active-active"], &["--pair", "--ssh"]] {
        let told = told::run("lose_node", options, 1_000);
        assert_eq!(told.code, Some(0), "{options:?}: {}", told.printed);
        assert_eq!((&told.report["outage"]["end"], &told.report["outage"]["open"]), (&json!("all-new"), &json!([])));
        assert!(told.printed.contains("monitor: esb1 is lost"), "{}", told.printed);
        assert!(told.printed.contains("run ended: back"), "{}", told.printed);
    }
}

#[test]
fn a_member_that_stays_down_has_a_spare_in_its_place() {
    let told = told::run("lose_node", &["--stay-down", "--haproxy"], 1_000);
    assert_eq!(told.code, Some(0), "{}", told.printed);
    assert!(told.printed.contains("stand in") && !told.printed.contains("rejoin"), "{}", told.printed);
}

#[test]
fn a_standby_is_admitted_after_a_kill_beside_haproxys_backup_server_and_keepalived() {
    let told = told::run("lose_node", &["--failover", "--turns", "2", "--check-every", "50"], 0);
    assert_eq!(told.code, Some(0), "{}", told.printed);
    assert_eq!(told.report["ways"].as_array().unwrap().len(), 4, "{}", told.printed);
    for way in told.report["ways"].as_array().unwrap() {
        assert_eq!(way["turns"].as_array().unwrap().len(), 2, "{way}");
    }
    assert!(told.printed.contains("  reaction of the procedure"), "{}", told.printed);
    assert!(told.printed.contains("procedure, HAProxy in front / HAProxy, backup server: "), "{}", told.printed);
}

#[test]
fn an_unknown_option_is_named_with_those_that_are_known() {
    told::assert_names_the_options("lose_node");
}
