//! A site is lost, as a user starts it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod told;

use serde_json::json;

#[test]
fn a_lost_site_is_replaced_inside_its_window_and_led_back_to_without_a_lost_request_or_write() {
    for options in [&[][..], &["--hot", "--wake"]] {
        let told = told::run("lose_site", options, 1_000);
        assert_eq!(told.code, Some(0), "{options:?}: {}", told.printed);
        for run in ["drill", "site_loss", "fail_back"] {
            let (end, open) = (&told.report[run]["end"], &told.report[run]["open"]);
            assert_eq!((end, open), (&json!("all-new"), &json!([])), "{run}: {}", told.printed);
        }
    }
}

#[test]
fn an_unknown_option_is_named_with_those_that_are_known() {
    told::assert_names_the_options("lose_site");
}
