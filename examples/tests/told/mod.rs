//! Runs an example as a user starts it. Built by `cargo test` beside the test that uses it.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// What a run of an example told: its exit code, what it printed, and its report; null where it wrote none.
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) printed: String,
    pub(crate) report: Value,
}

/// Runs the example of this name until it has sent so many requests.
pub(crate) fn run(name: &str, options: &[&str], requests: u32) -> Told {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(program(name));
    command.args(options).args(["--requests", &requests.to_string(), "--out"]).arg(out.path());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let report = std::fs::read(out.path().join("report.json"));
    let report = report.map_or(Value::Null, |report| serde_json::from_slice(&report).unwrap());
    Told { code: status.code(), printed, report }
}

/// Holds that an option that is not known is named, with one that is.
pub(crate) fn assert_names_the_options(name: &str) {
    let told = Command::new(program(name)).arg("--hapoxy").output().unwrap();
    assert_eq!(told.status.code(), Some(2));
    let message = String::from_utf8_lossy(&told.stderr);
    assert!(message.contains("\"--hapoxy\"") && message.contains("--requests"), "{message}");
}

fn program(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let program = deps.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is not built: cargo build -p examples --examples", program.display());
    program
}
