//! A site is lost, as a user starts it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod told;

use serde_json::json;

/// Loses a site, and holds that all ended as promised. The example has judged it; here its figures are looked at.
fn assert_lost_and_led_back(options: &[&str]) -> told::Told {
    let told = told::run("lose_site", options, 1_000);
    assert_eq!(told.code, Some(0), "{options:?}: {}", told.printed);
    for run in ["drill", "site_loss", "fail_back"] {
        let (end, open) = (&told.report[run]["end"], &told.report[run]["open"]);
        assert_eq!((end, open), (&json!("all-new"), &json!([])), "{run}: {}", told.printed);
    }
    for none in ["orders_lost_later", "answered_at_once", "answered_by_the_loser", "written_by_the_loser"] {
        assert_eq!(told.report[none], json!(0), "{none}: {}", told.printed);
    }
    told
}

#[test]
fn a_lost_site_is_replaced_inside_its_window_and_led_back_to_without_a_lost_request_or_write() {
    for options in [&[][..], &["--hot", "--wake"]] {
        assert_lost_and_led_back(options);
    }
}

/// Sites of machines, HAProxy and PostgreSQL.
#[test]
#[ignore = "a minute and a half: test.sh --long runs it"]
fn a_real_site_that_is_lost_is_replaced_and_what_it_had_not_passed_on_is_counted() {
    let told = assert_lost_and_led_back(&["--real"]);
    let lost = told.report["orders_lost"].as_u64().unwrap();
    assert!(lost > 0, "its line went before its power: {}", told.printed);
}

#[test]
#[ignore = "a minute: test.sh --long runs it"]
fn a_real_site_that_is_only_cut_off_and_comes_back_in_the_middle_answers_nobody_and_takes_no_write() {
    let told = assert_lost_and_led_back(&["--real", "--hot", "--wake"]);
    assert!(told.printed.contains("written inside"), "{}", told.printed);
}

#[test]
fn an_unknown_option_is_named_with_those_that_are_known() {
    told::assert_names_the_options("lose_site");
}
