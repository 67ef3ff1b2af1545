//! What is wrong is told with what, where and what to do next, and each class has its exit code.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the cluster is of other tests")]

mod lab;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use lab::{Told, ask, hactl, told};

const CLUSTER: &str = r#"[cluster]
name = "orders"
[policy]
peak_load = 1000
[pool]
name = "esb"
serve = 1
[[balancer]]
name = "lb1"
backend = "haproxy"
socket = "/nowhere/admin.sock"
[[node]]
name = "esb1"
capacity = 1000
host = { backend = "local", home = "/nowhere/esb1", start = ["bin/s"], stop = ["bin/t"], version = ["bin/v"], pid_file = "pid", identity = "-Da" }
probe = { backend = "http", url = "http://127.0.0.1:1/" }
[[node]]
name = "esb2"
capacity = 1000
host = { backend = "local", home = "/nowhere/esb2", start = ["bin/s"], stop = ["bin/t"], version = ["bin/v"], pid_file = "pid", identity = "-Db" }
probe = { backend = "http", url = "http://127.0.0.1:2/" }
"#;

const PATCH: &str = "procedure = \"patch\"\nrelease = \"2.0\"\napply = [\"bin/p\"]\nrestore = [\"bin/r\"]\n";

/// Files of every kind of wrongness.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("cluster.toml", CLUSTER);
    write("change.toml", PATCH);
    write("syntax.toml", "[cluster]\nname = \"orders\n");
    write("unknown.toml", &CLUSTER.replace("serve = 1", "serves = 1"));
    write("backend.toml", &CLUSTER.replace("\"haproxy\"", "\"haprxy\""));
    write("setting.toml", &CLUSTER.replace("home = \"/nowhere/esb2\", ", ""));
    write("law.toml", &CLUSTER.replace("peak_load = 1000", "peak_load = 1001"));
    write("patch-key.toml", &PATCH.replace("restore", "restor"));
    write("procedure.toml", &PATCH.replace("\"patch\"", "\"pach\""));
    write("outage.toml", "procedure = \"outage\"\nlost = [\"esb9\"]\n");
    write("drill.toml", "procedure = \"drill\"\nsite = \"south\"\n");
    write("no.cfg", "global\n  daemon\n");
    write("text.db", "this is no journal, and longer than a page would have to be\n");
    fs::write(dir.path().join("bytes.toml"), [0xff, 0xfe, 0x00]).unwrap();
    dir
}

#[test]
fn each_command_says_what_is_wrong_where_and_what_to_do_next() {
    let dir = folder();
    let journal = |name: &str| format!("--journal={name}");
    // Of a run that is there, so that others are missing in it.
    let text_db = journal("text.db");
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&[], 2, &["Usage: hactl"]),
        (&["plam"], 2, &["plam", "plan"]),
        (&["run", "--yess"], 2, &["--yess", "--yes"]),
        (&["completion", "tcsh"], 2, &["tcsh", "bash"]),
        (&["validate", "-c", "nothing.toml"], 3, &["nothing.toml cannot be read", "hactl init"]),
        (&["show", "-c", "nothing.toml"], 3, &["nothing.toml cannot be read", "--cluster"]),
        (&["validate", "-c", "."], 3, &[". cannot be read", "folder"]),
        (&["validate", "-c", "bytes.toml"], 3, &["bytes.toml cannot be read", "UTF-8"]),
        (&["validate", "-c", "/dev/zero"], 3, &["/dev/zero cannot be read"]),
        (&["validate", "-c", "syntax.toml"], 3, &["syntax.toml: line 2: ", "correct the TOML"]),
        (&["validate", "-c", "unknown.toml"], 3, &["line 7: pool.serves: unknown key; did you mean serve?"]),
        (&["validate", "-c", "backend.toml"], 3, &["line 10: ", "\"haprxy\"", "haproxy"]),
        (&["show", "-c", "setting.toml"], 3, &["setting.toml: line 20: node esb2.host.home"]),
        (&["validate", "-c", "law.toml"], 3, &["law.toml: line 4: policy.peak_load", "1001"]),
        (&["plan", "nothing.toml"], 3, &["nothing.toml cannot be read", "hactl schema change"]),
        (&["plan", "patch-key.toml"], 3, &["patch-key.toml: line 4: restor: unknown key; did you mean restore?"]),
        (&["run", "procedure.toml", "--yes"], 3, &["line 1: procedure", "did you mean \"patch\"?"]),
        (&["validate", "change.toml", "procedure.toml"], 3, &["procedure.toml: line 1"]),
        (&["plan", "outage.toml"], 4, &["outage.toml: lost: ", "esb9", "esb1, esb2"]),
        (&["prove", "drill.toml"], 4, &["drill.toml: site: ", "south", "declare it"]),
        (&["drill", "--site", "south", "--yes"], 4, &["south", "declare it"]),
        (&["schema", "plans"], 4, &["plans", "name one of change, "]),
        (&["status", "r1"], 4, &["there is no journal journal.db", "--journal"]),
        (&["watch"], 4, &["there is no journal", "--journal"]),
        (&["report", "r1", "--journal=no.db"], 4, &["there is no journal no.db"]),
        (&["resume", "r1", "--yes"], 4, &["there is no journal"]),
        (&["rollback", "r1", "--yes"], 4, &["there is no journal"]),
        (&["pause", "r1"], 4, &["there is no journal"]),
        (&["approve", "r1", "--yes"], 4, &["there is no journal"]),
        (&["abort", "r1"], 4, &["there is no journal"]),
        (&["pause", "r1", "--for", "soon"], 2, &["give a time as 30s"]),
        (&["resume", "r1", "--skip"], 2, &["--reason"]),
        (&["doctor", "--every", "1s"], 2, &["--watch"]),
        (&["report", "--force"], 2, &["--html"]),
        (&["journal", &text_db], 11, &["text.db", "check the file"]),
        (&["run", "--yes", &text_db], 11, &["text.db"]),
        (&["run", "--yes", "--journal=/dev/full"], 11, &["/dev/full"]),
        (&["run", "--yes", "--journal=/nowhere/journal.db"], 11, &["/nowhere/journal.db", "folder"]),
        (&["plan"], 10, &["esb1", "seen: ", "hactl show"]),
        (&["show"], 10, &["note: "]),
        (&["init"], 12, &["cluster.toml cannot be written", "--force"]),
        (&["init", "-c", "/nowhere/cluster.toml"], 12, &["/nowhere/cluster.toml cannot be written"]),
        (&["init", "-c", "/dev/full", "--force"], 12, &["/dev/full cannot be written"]),
        (&["init", "--from", "no.cfg", "-c", "new.toml"], 3, &["no.cfg", "no backend with servers"]),
        (&["init", "--from", "nothing.cfg", "-c", "new.toml"], 3, &["nothing.cfg cannot be read"]),
        (&["man", "--dir", "/dev/null/x"], 12, &["/dev/null/x cannot be written"]),
    ];
    for (arguments, code, expected) in cases {
        let told = ask(dir.path(), arguments);
        assert_eq!(told.code, Some(*code), "{arguments:?}: {told:?}");
        let said = format!("{}{}", told.out, told.err);
        for part in *expected {
            assert!(said.contains(part), "{arguments:?} does not say {part:?}:\n{said}");
        }
        assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{arguments:?}: {said}");
        if ![2, 10].contains(code) {
            assert!(told.err.contains("\n  next: "), "{arguments:?}: {said}");
        }
        assert_eq!(fs::read_to_string(dir.path().join("cluster.toml")).unwrap(), CLUSTER);
        assert!(!dir.path().join("new.toml").exists() && !dir.path().join("journal.db-wal").exists());
        let _ = fs::remove_file(dir.path().join("journal.db"));
        // A cluster that does not answer is waited for.
        if *code > 2 && *code != 10 {
            let json = told_json(dir.path(), arguments);
            assert_eq!(json["error"]["exit"], *code, "{arguments:?}: {json}");
            assert!(json["error"]["next"].as_str().is_some_and(|next| !next.is_empty()), "{arguments:?}: {json}");
        }
    }
}

fn told_json(dir: &Path, arguments: &[&str]) -> serde_json::Value {
    let told = ask(dir, &[arguments, &["--json"]].concat());
    let last = told.out.lines().last().unwrap_or_default().to_string();
    serde_json::from_str(&last).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {told:?}"))
}

#[test]
fn a_file_is_never_replaced_unasked() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(ask(dir.path(), &["init"]).code, Some(0));
    assert_eq!(ask(dir.path(), &["validate"]).code, Some(0), "what init writes is valid");
    fs::write(dir.path().join("cluster.toml"), "mine").unwrap();
    assert_eq!(ask(dir.path(), &["init"]).code, Some(12));
    assert_eq!(fs::read_to_string(dir.path().join("cluster.toml")).unwrap(), "mine");
    let config = "global\n  stats socket /run/a.sock level admin\nbackend esb\n  mode http\n  option httpchk GET /up\n  \
                  server esb1 10.0.0.1:80 check\n  server esb2 10.0.0.2:80 check\n";
    fs::write(dir.path().join("haproxy.cfg"), config).unwrap();
    let drafted = ask(dir.path(), &["init", "--from", "haproxy.cfg", "--force", "--json"]);
    assert_eq!(drafted.code, Some(0), "{drafted:?}");
    assert_eq!(drafted.json()["file"], "cluster.toml");
    assert_eq!(ask(dir.path(), &["validate"]).code, Some(0), "what init drafts is valid");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
}

/// As somebody who may read and write nothing of this folder.
#[test]
fn what_this_user_may_not_do_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("hactl");
    fs::copy(env!("CARGO_BIN_EXE_hactl"), &binary).unwrap();
    fs::write(dir.path().join("cluster.toml"), CLUSTER).unwrap();
    fs::write(dir.path().join("change.toml"), PATCH).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o555)).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        command.current_dir(dir.path()).args(arguments).stdin(Stdio::null());
        // The owner of a file may always be let in by root: another user is not.
        if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
            command.uid(65_534);
        }
        told(&mut command)
    };
    let unwritable = as_nobody(&["init", "-c", "other.toml"]);
    assert_eq!(unwritable.code, Some(12), "{unwritable:?}");
    assert!(unwritable.err.contains("Permission denied") && unwritable.err.contains("may write"), "{unwritable:?}");
    let unrecorded = as_nobody(&["run", "--yes"]);
    assert_eq!(unrecorded.code, Some(11), "{unrecorded:?}");
    fs::set_permissions(dir.path().join("cluster.toml"), Permissions::from_mode(0o000)).unwrap();
    let unreadable = as_nobody(&["validate"]);
    assert_eq!(unreadable.code, Some(3), "{unreadable:?}");
    assert!(unreadable.err.contains("cluster.toml cannot be read: Permission denied"), "{unreadable:?}");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_full_disk_behind_the_output_is_told_and_a_closed_pipe_is_not() {
    let dir = folder();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let told_full = told(hactl(dir.path()).arg("validate").stdout(full));
    assert_eq!(told_full.code, Some(12), "{told_full:?}");
    assert!(told_full.err.contains("No space left on device"), "{told_full:?}");
    for arguments in [&["schema", "report"][..], &["validate"], &["--help"], &["man"], &["completion", "zsh"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = told(hactl(dir.path()).args(arguments).stdout(writer));
        assert_eq!((closed.code, closed.err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_terminal_of_40_columns_is_enough() {
    let dir = folder();
    let narrow = |arguments: &[&str]| -> Told { told(hactl(dir.path()).args(arguments).env("COLUMNS", "40")) };
    for arguments in [&["--help"][..], &["run", "--help"], &["validate", "-c", "unknown.toml"], &["plan"], &["show"]] {
        let told = narrow(arguments);
        for line in told.out.lines().chain(told.err.lines()) {
            let words = line.split_whitespace().count();
            assert!(line.chars().count() <= 40 || words == 1, "{arguments:?}: {line:?}");
        }
        assert!(!told.out.contains('\u{1b}') && !told.err.contains('\u{1b}'), "no terminal, no colour: {arguments:?}");
    }
}

#[test]
fn completions_manual_pages_and_schemas_are_generated() {
    let dir = folder();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = ask(dir.path(), &["completion", shell]);
        assert!(script.code == Some(0) && script.out.contains("rollback"), "{shell}");
    }
    let page = ask(dir.path(), &["man"]);
    assert!(page.out.contains(".TH hactl 1") && page.out.contains("Exit codes"), "{page:?}");
    assert_eq!(ask(dir.path(), &["man", "--dir", "man"]).code, Some(0));
    assert!(dir.path().join("man/hactl-run.1").exists());
    let names = ask(dir.path(), &["schema"]);
    for name in names.out.lines() {
        let schema = ask(dir.path(), &["schema", name]).json();
        assert!(schema["$schema"].as_str().is_some_and(|uri| uri.contains("2020-12")), "{name}");
    }
    let help = ask(dir.path(), &["--help"]);
    for exit in hactl::Exit::ALL {
        assert!(help.out.contains(exit.meaning()), "{exit}");
    }
}
