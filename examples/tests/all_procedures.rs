//! The whole real lab, one cluster of it: all of them take some minutes (`./test.sh --long`).

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod told;

use std::path::PathBuf;
use std::process::Command;

use ha_lab::load::read_ledger;
use ha_testkit::world::World;
use serde_json::{Value, json};

#[test]
fn the_requests_of_every_run_are_counted_from_one_ledger() {
    let told::Told { code, printed, report } = told::run("all_procedures", &["--only", "grow_cluster"], 1_000);
    assert_eq!((code, &report["good"]), (Some(0), &json!(true)), "{printed}");
    let runs = report["runs"].as_array().unwrap();
    let procedures: Vec<&str> = runs.iter().map(|run| run["procedure"].as_str().unwrap()).collect();
    assert_eq!(procedures, ["add node", "hand over", "retire node"]);
    let counted: u64 = runs.iter().map(|run| run["requests"].as_u64().unwrap()).sum();
    assert_eq!(json!(counted), report["ledger_lines"], "every line is of one run: {printed}");
    for run in runs {
        assert_eq!((&run["failed"], &run["versions"]["4.2.0"]), (&json!(0), &run["requests"]), "{printed}");
        assert!(run["requests"].as_u64() > Some(100), "{printed}");
    }
}

fn program(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    deps.parent().unwrap().parent().unwrap().join("examples").join(name)
}

#[test]
fn the_requests_of_a_run_whose_controller_is_a_process_of_its_own_are_of_that_run() {
    let out = tempfile::tempdir().unwrap();
    let ledger = out.path().join("ledger.tsv");
    let mut example = Command::new(program("patch_server"));
    example.args(["--requests", "2000", "--out"]).arg(out.path()).env("HA_LEDGER", &ledger);
    let ended = example.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    let lines = read_ledger(ledger).unwrap();
    let run = |name: &str| lines.iter().filter(|line| line.run == name).count();
    assert!(run("patch-4.2.1") > 500 && run("") > 500 && run("patch-4.2.1") + run("") == lines.len(), "{lines:?}");
}

#[test]
fn a_ledger_that_cannot_be_opened_is_told_before_a_request_is_sent() {
    let mut example = Command::new(program("lose_node"));
    let ended = example.env("HA_LEDGER", "/no/such/folder/ledger.tsv").output().unwrap();
    let printed = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{printed}");
    assert!(printed.contains("the ledger /no/such/folder/ledger.tsv cannot be opened"), "{printed}");
}

/// The lab with one example in it, which is a script: it has this to tell.
struct Scripted(tempfile::TempDir);

impl Scripted {
    fn new(example: &str) -> Self {
        // A hard link is the same program in another place: where it looks for the examples.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::hard_link(program("all_procedures"), folder.path().join("all_procedures")).unwrap();
        // Another process writes the script: no thread of this one has it open when it is run.
        let draft = folder.path().join("draft");
        let script = "#!/bin/sh\nwhile [ \"$1\" != --out ]; do shift; done\ncd \"$(dirname \"$0\")\"\n. ./told\n";
        std::fs::write(&draft, script).unwrap();
        let made = [draft, folder.path().join(example)];
        assert!(Command::new("install").args(["-m", "755"]).args(made).status().unwrap().success());
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Lets the example write a report and these lines of the ledger.
    fn tells(&self, report: &Value, lines: &str) {
        std::fs::write(self.path("report"), report.to_string()).unwrap();
        std::fs::write(self.path("lines"), lines).unwrap();
        self.does("cat lines >>\"$HA_LEDGER\"; cp report \"$2/report.json\"");
    }

    fn does(&self, shell: &str) {
        std::fs::write(self.path("told"), shell).unwrap();
    }

    fn run(&self, only: &str) -> (Option<i32>, String) {
        let out = self.path("out");
        let mut lab = Command::new(self.path("all_procedures"));
        let ended = lab.args(["--only", only, "--out"]).arg(&out).output().unwrap();
        let printed = [ended.stdout, ended.stderr].concat();
        (ended.status.code(), String::from_utf8(printed).unwrap())
    }

    fn is_good(&self) -> Value {
        let report = std::fs::read(self.path("out/report.json")).unwrap();
        serde_json::from_slice::<Value>(&report).unwrap()["good"].clone()
    }

    #[track_caller]
    fn assert_not_good(&self, only: &str, words: &str) {
        let (code, printed) = self.run(only);
        assert_eq!((code, self.is_good()), (Some(1), json!(false)), "{printed}");
        assert!(printed.contains(words), "{words}: {printed}");
    }
}

/// The report of a run that ended all new, under the name `add`.
async fn added() -> Value {
    let world = World::active_passive();
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let report = engine.run("add".into(), planned).await.unwrap().wait().await.unwrap();
    serde_json::to_value(report).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_not_good() {
    let (lab, run) = (Scripted::new("grow_cluster"), added().await);
    let report = |run: &Value, sent: u64| json!({ "runs": [run], "load": { "sent": sent } });
    let lines = "1\t-\t4.2.0\t\n2\tadd\t4.2.0\t\n";
    lab.tells(&report(&run, 2), lines);
    let (code, printed) = lab.run("grow_cluster");
    assert_eq!((code, lab.is_good()), (Some(0), json!(true)), "{printed}");

    lab.tells(&report(&run, 3), lines);
    lab.assert_not_good("grow_cluster", "3 were sent, 2 are in the ledger, 2 of them of its runs");
    lab.tells(&report(&run, 3), &format!("{lines}3\tretire\t4.2.0\t\n"));
    lab.assert_not_good("grow_cluster", "3 were sent, 3 are in the ledger, 2 of them of its runs");
    lab.tells(&report(&run, 0), "");
    lab.assert_not_good("grow_cluster", "| patch (!) | `grow_cluster --pair` | 0 | 0 |");
    for key in ["run", "procedure", "end", "open", "took_ms"] {
        let mut lacking = run.clone();
        lacking.as_object_mut().unwrap().remove(key);
        lab.tells(&report(&lacking, 2), lines);
        lab.assert_not_good("grow_cluster", &format!("missing field `{key}`"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_run_has_left_is_not_taken_for_this_one() {
    let lab = Scripted::new("grow_cluster");
    lab.tells(&json!({ "runs": [added().await], "load": { "sent": 1 } }), "1\tadd\t4.2.0\t\n");
    assert_eq!(lab.run("grow_cluster").0, Some(0));
    lab.does("exit 1");
    lab.assert_not_good("grow_cluster", "did not end as it should");
    lab.does("echo no such program; exit 2");
    let (code, printed) = lab.run("grow_cluster");
    assert_eq!((code, lab.path("out/report.json").exists()), (Some(2), false), "{printed}");
    assert!(printed.contains("could not be set up: no such program"), "{printed}");
}

/// It needs root, as the hosts of these clusters do.
#[tokio::test(start_paused = true)]
async fn a_cluster_behind_the_first_that_cannot_be_set_up_leaves_the_table_of_the_others() {
    let lab = Scripted::new("lose_node");
    lab.tells(&json!({ "outage": added().await, "rejoin": null, "load": { "sent": 1 } }), "1\tadd\t4.2.0\t\n");
    let told = std::fs::read_to_string(lab.path("told")).unwrap();
    lab.does(&format!("[ ! -e second ] || exit 2; : >second; {told}"));
    lab.assert_not_good("lose_node", "| patch | `lose_node --pair --ssh` | 1 | 0 |");
}

#[test]
fn an_unknown_option_is_named_with_those_that_are_known() {
    told::assert_names_the_options("all_procedures");
}
