//! A user's own procedure, as the example runs it. Built by `cargo test` beside this test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

fn run(options: &[&str]) -> (Option<i32>, String) {
    let deps = std::env::current_exe().unwrap();
    let program = deps.parent().unwrap().parent().unwrap().join("examples/custom_procedure");
    assert!(program.exists(), "{} is not built: cargo build -p examples --examples", program.display());
    let output = Command::new(program).args(options).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_rolling_restart_of_ones_own_is_proven_and_loses_no_request() {
    let (code, printed) = run(&[]);
    assert_eq!(code, Some(0), "{printed}");
    for told in ["proof: plan ", "run restart-1: rolling restart", ": all restarted", " 0 failed"] {
        assert!(printed.contains(told), "{told}: {printed}");
    }
}

#[test]
fn without_its_drain_it_is_refused_before_the_first_step() {
    let (code, printed) = run(&["--no-drain"]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("I7 drained") && !printed.contains("requests were sent"), "{printed}");
}
