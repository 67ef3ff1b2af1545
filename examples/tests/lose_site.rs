//! A site is lost, as a user starts it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod told;

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

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
    assert_eq!(told.report["sets_of_south"], json!([2, 2]), "{}", told.printed);
}

#[test]
#[ignore = "a minute: test.sh --long runs it"]
fn a_real_site_that_is_only_cut_off_and_comes_back_in_the_middle_answers_nobody_and_takes_no_write() {
    let told = assert_lost_and_led_back(&["--real", "--hot", "--wake"]);
    assert!(told.printed.contains("written inside"), "{}", told.printed);
}

const LOOK: Duration = Duration::from_millis(5);

/// Stands in for the machine in front and its nft: it has one table at most, in a file.
const SSH: &str = r#"#!/bin/sh
case "$*" in
*"nft list tables") cat table 2>/dev/null || true ;;
*"nft -f -") cat >table ;;
*"nft delete"*) rm table ;;
*) exit 1 ;;
esac
"#;

#[test]
fn half_a_fence_is_none() {
    let place = tempfile::tempdir().unwrap();
    let (home, data) = (place.path().join("north"), place.path().join("data"));
    for folder in [&home, &data] {
        std::fs::create_dir(folder).unwrap();
    }
    // Another process writes the program that is run: no thread of this one has it open then.
    std::fs::write(place.path().join("draft"), SSH).unwrap();
    let made = ["draft", "ssh"].map(|name| place.path().join(name));
    assert!(Command::new("install").args(["-m", "755"]).args(made).status().unwrap().success());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lose_site/fence.sh");
    let path = format!("{}:{}", place.path().display(), std::env::var("PATH").unwrap());
    let fence = |verb: &str| {
        let mut command = Command::new("sh");
        command.arg(&script).arg(verb).arg(&data).args(["config", "10.0.0.1"]);
        command.current_dir(&home).env("PATH", &path).env("HA_SITE", "north").stdout(Stdio::piped());
        command
    };
    let status = || String::from_utf8(fence("status").output().unwrap().stdout).unwrap();
    assert_eq!(status(), "free\n");
    // A database that does not end when it is asked to.
    let pid_file = data.join("postmaster.pid");
    std::fs::write(&pid_file, "").unwrap();
    let mut database = Command::new("sh");
    database.args(["-c", "trap '' QUIT; exec tail -f \"$1\"", "sh"]).arg(&pid_file);
    let mut database = database.spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    let program = format!("/proc/{}/cmdline", database.id());
    while !std::fs::read_to_string(&program).unwrap().starts_with("tail") {
        assert!(Instant::now() < until, "the database does not run");
        sleep(LOOK);
    }
    std::fs::write(&pid_file, format!("{}\n", database.id())).unwrap();
    let mut fencing = fence("fence").spawn().unwrap();
    while !data.join("postgresql.auto.conf").exists() {
        assert!(Instant::now() < until, "the fence does not begin");
        sleep(LOOK);
    }
    assert_eq!(status(), "free\n", "the database may still take writes");
    database.kill().unwrap();
    database.wait().unwrap();
    assert!(fencing.wait().unwrap().success());
    assert_eq!(status(), "fenced\n");
    // One that was lifted, and is then begun again, is not whole by what the first has left.
    assert!(fence("lift").status().unwrap().success());
    assert_eq!(status(), "free\n");
    std::fs::write(home.join("table"), "table inet fence_north").unwrap();
    assert_eq!(status(), "free\n");
}

#[test]
fn an_unknown_option_is_named_with_those_that_are_known() {
    told::assert_names_the_options("lose_site");
}
