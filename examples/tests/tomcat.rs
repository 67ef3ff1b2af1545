//! A real Java server is changed, as a user starts it. The other jobs of the example are long ones: `./test.sh --long`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod told;

use serde_json::json;

#[test]
fn tomcats_behind_haproxy_are_patched_by_their_own_scripts_and_no_request_is_lost() {
    let told = told::run("tomcat", &[], 500);
    let told::Told { code, printed, report } = &told;
    assert_eq!((*code, &report["load"]["failed"]), (Some(0), &json!({})), "{printed}");
    assert_eq!((&report["runs"][0]["end"], &report["runs"][0]["open"]), (&json!("all-new"), &json!([])), "{printed}");
    assert_eq!((&report["releases"][0], &report["executed_twice"]), (&json!("5.0.0"), &json!(0)), "{printed}");
    for release in ["4.2.0", "5.0.0"] {
        assert!(report["load"]["by_release"][release].as_u64() > Some(0), "both serve meanwhile: {printed}");
    }
}

#[test]
fn the_meter_sees_what_restarts_without_a_drain_lose() {
    let told = told::run("tomcat", &["--naive"], 500);
    assert_eq!(told.code, Some(1), "{}", told.printed);
    assert_ne!(told.report["load"]["failed"], json!({}), "{}", told.printed);
    let refused = told::run("tomcat", &["--naive", "--ssh"], 1);
    assert_eq!(refused.code, Some(2), "{}", refused.printed);
    assert!(refused.printed.contains("leave out --ssh"), "{}", refused.printed);
}

#[test]
fn an_unknown_option_is_named_with_those_that_are_known() {
    told::assert_names_the_options("tomcat");
}
