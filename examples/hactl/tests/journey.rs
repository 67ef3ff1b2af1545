//! The way of an operator, with the real binary on a small cluster: from its file to the report of a change.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod lab;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lab::{CTRL_C, Cluster, ask, hactl, on_a_terminal, told};
use serde_json::{Value, json};

ha_lab::roles!();

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_goes_from_the_cluster_file_to_the_report_of_a_change() {
    let cluster = Cluster::start().await;
    let (dir, change) = (cluster.folder(), cluster.patch("4.2.1"));
    let change = change.to_str().unwrap();

    let valid = ask(dir, &["validate", change]);
    assert_eq!(valid.code, Some(0), "{valid:?}");
    assert!(
        valid.out.contains("cluster lab is valid") && valid.out.contains("the change is valid: patch"),
        "{valid:?}"
    );

    let shown = ask(dir, &["show", "--json"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let shown = shown.json();
    assert_eq!(shown["nodes"][0]["seen"]["process"], "ready", "{shown}");
    assert_eq!(shown["nodes"][0]["seen"]["release"], "4.2.0");
    assert_eq!(shown["pools"][0]["serves"], 1000);
    assert_eq!(shown["broken"], json!([]));
    let text = told(hactl(dir).arg("show").env("COLUMNS", "40"));
    assert!(text.out.lines().all(|line| line.chars().count() <= 40), "{}", text.out);
    assert!(text.out.contains("spare spare1"), "{}", text.out);

    // Of a schema that cannot be read only a note tells.
    let declared = std::fs::read_to_string(dir.join("cluster.toml")).unwrap();
    let database = "[database]\nbackend = \"migrate\"\nurl = \"jdbc:sqlite:/nowhere/a.db\"\nscripts = \"/nowhere\"\n";
    std::fs::write(dir.join("database.toml"), declared + database).unwrap();
    let unseen = ask(dir, &["show", "-c", "database.toml"]);
    assert_eq!(unseen.code, Some(10), "{unseen:?}");

    // All nodes of the lab are on one machine, which is told as a danger, and is none of the others.
    let looked = ask(dir, &["doctor", "--json"]);
    assert_eq!(looked.code, Some(14), "{looked:?}");
    let found = looked.json();
    let dangers = found["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "danger");
    let dangers: Vec<&str> = dangers.map(|finding| finding["check"].as_str().unwrap()).collect();
    assert_eq!(dangers, ["one-machine"], "{found:#}");
    let looked = ask(dir, &["doctor"]);
    assert!(looked.code == Some(14) && looked.out.contains("[one-machine]"), "{looked:?}");

    // Each look has its line: whoever does not read them any more is noticed by that.
    let mut command = hactl(dir);
    let mut watching = command.args(["doctor", "--watch", "--every", "1s"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = Lines::of(watching.stdout.take().unwrap());
    lines.until("[one-machine]");
    lines.until("0 of them new, 0 gone");
    drop(lines);
    assert_eq!(watching.wait().unwrap().code(), Some(14));

    // Planning and proving make no journal, and change nothing.
    let planned = ask(dir, &["plan", change]);
    assert_eq!(planned.code, Some(0), "{planned:?}");
    assert!(planned.out.contains("proof: plan "), "{planned:?}");
    assert_eq!(ask(dir, &["plan", change, "--json"]).json()["proven"], true);
    assert!(ask(dir, &["plan", change, "--mermaid"]).out.starts_with("flowchart"));
    let proven = ask(dir, &["prove", change]);
    assert!(proven.code == Some(0) && proven.out.contains("after a loss"), "{proven:?}");
    assert!(!dir.join("journal.db").exists());
    assert!(ask(dir, &["status"]).out.contains("no run was recorded yet"));

    // A release of which nothing is declared may not serve beside the other one.
    let undeclared = dir.join("undeclared.toml");
    let text = std::fs::read_to_string(change).unwrap();
    std::fs::write(&undeclared, text.split("[[facts]]").next().unwrap()).unwrap();
    let refused = ask(dir, &["prove", "undeclared.toml"]);
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.err.contains("breaks the law") && refused.err.contains("remedy: "), "{refused:?}");
    let refused = ask(dir, &["plan", "undeclared.toml", "--json"]);
    assert_eq!((refused.code, refused.json()["proven"].clone()), (Some(5), json!(false)));

    let unasked = ask(dir, &["run", change]);
    assert_eq!(unasked.code, Some(13), "{unasked:?}");
    // With --json the plan is not shown: not even on a terminal is it asked about.
    let (code, sent) = on_a_terminal(hactl(dir).args(["run", change, "--json"]), "y\n");
    assert!(code == Some(13) && !sent.contains("[y/N]"), "{sent}");
    assert_eq!(cluster.releases(), ["4.2.0", "4.2.0"]);

    let ran = ask(dir, &["run", change, "--yes", "--run", "r1"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("run r1 begun") && ran.out.contains("esb2: take out: done"), "{ran:?}");
    assert_eq!(cluster.releases(), ["4.2.1", "4.2.1"]);
    let again = ask(dir, &["run", change, "--yes"]);
    assert!(again.code == Some(0) && again.out.contains("nothing to do"), "{again:?}");
    let again = ask(dir, &["plan", change, "--json"]);
    assert!(again.json()["nothing_to_do"].as_str().is_some_and(|why| why.contains("4.2.1")), "{again:?}");
    let other = cluster.patch("4.2.2");
    let taken = ask(dir, &["run", other.to_str().unwrap(), "--yes", "--run", "r1"]);
    assert!(taken.code == Some(2) && taken.err.contains("another name"), "{taken:?}");
    assert_eq!(cluster.releases(), ["4.2.1", "4.2.1"]);

    let status = ask(dir, &["status", "--json"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    let status = status.json();
    assert_eq!((&status["lease"], &status["runs"][0]["run"]), (&json!(null), &json!("r1")));
    assert_eq!((&status["runs"][0]["end"], &status["runs"][0]["open"]), (&json!("all-new"), &json!(false)));
    let report = ask(dir, &["report", "r1"]);
    assert!(report.code == Some(0) && report.out.contains("run r1: patch to release 4.2.1"), "{report:?}");
    assert_eq!(ask(dir, &["report", "--json"]).json()["end"], "all-new");
    let page = ask(dir, &["report", "r1", "--html", "r1.html"]);
    assert!(page.code == Some(0) && page.out.contains("r1.html"), "{page:?}");
    assert!(std::fs::read_to_string(dir.join("r1.html")).unwrap().contains("<h1"));
    std::fs::write(dir.join("r1.html"), "mine").unwrap();
    let there = ask(dir, &["report", "r1", "--html", "r1.html"]);
    assert!(there.code == Some(12) && there.err.contains("--force"), "{there:?}");
    assert_eq!(std::fs::read_to_string(dir.join("r1.html")).unwrap(), "mine");
    assert_eq!(ask(dir, &["report", "r1", "--html", "r1.html", "--force"]).code, Some(0));
    assert!(std::fs::read_to_string(dir.join("r1.html")).unwrap().contains("<h1"));
    let unwritable = ask(dir, &["report", "r1", "--html", "no/such/folder/r1.html"]);
    assert_eq!(unwritable.code, Some(12), "{unwritable:?}");
    assert!(ask(dir, &["report", "r1", "--markdown"]).out.starts_with("**patch lab"));
    let journal = ask(dir, &["journal", "r1"]);
    assert!(journal.out.contains("opened: patch") && journal.out.contains("ended: "), "{journal:?}");
    let records = ask(dir, &["journal", "r1", "--json"]).lines();
    let numbers: Vec<u64> = records.iter().map(|record| record["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!(records[0]["kind"], "opened");
}

/// Starts a run, and waits until its first step has ended.
fn begun(cluster: &Cluster, release: &str, run: &str) -> (Child, Lines) {
    begun_until(cluster, release, &["--run", run], "\"step-ended\"")
}

/// Starts a run, and waits until it has told of `sign`.
fn begun_until(cluster: &Cluster, release: &str, options: &[&str], sign: &str) -> (Child, Lines) {
    let change = cluster.patch(release);
    let mut command = hactl(cluster.folder());
    let command = command.arg("run").arg(change).args(["--yes", "--json"]).args(options);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = Lines::of(child.stdout.take().unwrap());
    lines.until(sign);
    (child, lines)
}

/// The lines of a pipe, each waited for in a time that no run of this cluster needs. Dropped, nobody reads it any more.
struct Lines(mpsc::Receiver<String>);

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::sync_channel(0);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self(lines)
    }

    fn until(&self, sign: &str) -> String {
        loop {
            let line = self.0.recv_timeout(Duration::from_secs(60));
            match line {
                Ok(line) if line.contains(sign) => return line,
                Ok(_) => {}
                Err(error) => panic!("{sign} was not said: {error}"),
            }
        }
    }
}

/// Waits until a run is at its end.
fn ended(dir: &Path, run: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let end = ask(dir, &["status", run, "--json"]).json()["runs"][0]["end"].clone();
        if !end.is_null() {
            return end;
        }
        assert!(Instant::now() < until, "{run} did not end in 60 s");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn send(child: &Child, signal: &str) {
    let killed = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_interrupted_is_followed_resumed_and_taken_back() {
    let cluster = Cluster::start().await;
    let dir = cluster.folder();

    // Twice: nobody waits any more, and it says what is not known. Somebody else goes on.
    let file = dir.join("cluster.toml");
    let declared = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, declared.replace("soak = \"0s\"", "soak = \"5s\"")).unwrap();
    let soak = "\"action\":\"soak\"";
    let (mut child, lines) = begun_until(&cluster, "4.2.1", &["--run", "twice"], soak);
    let busy = ask(dir, &["run", "patch-4.2.1.toml", "--yes", "--run", "beside"]);
    assert_eq!(busy.code, Some(9), "{busy:?}");
    assert!(busy.err.contains("is being changed by anna on "), "{busy:?}");
    let held = ask(dir, &["status"]);
    assert!(held.out.contains("changed by anna on "), "{held:?}");
    let said = Lines::of(child.stderr.take().unwrap());
    send(&child, "-INT");
    said.until("interrupted: ");
    send(&child, "-INT");
    let last = said.until("abandoned twice: not known whether it happened: soak ");
    assert!(last.contains("loans may be open") && last.contains("hactl resume twice"), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(lines);
    let left = ask(dir, &["watch", "twice"]);
    assert!(left.code == Some(8) && left.err.contains("nobody drives it"), "{left:?}");
    let status = ask(dir, &["status", "twice"]);
    assert_eq!(status.code, Some(8), "{status:?}");
    assert!(status.out.contains("hactl resume twice"), "{status:?}");
    let other = ask(dir, &["run", "patch-4.2.1.toml", "--yes"]);
    assert!(other.code == Some(8) && other.err.contains("run twice of this cluster has not ended"), "{other:?}");
    let resumed = ask(dir, &["resume", "twice", "--yes"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!(cluster.releases(), ["4.2.1", "4.2.1"]);
    std::fs::write(&file, declared).unwrap();

    // From another process a run is followed to its end.
    let (child, lines) = begun(&cluster, "4.2.2", "watched");
    let watched = ask(dir, &["watch"]);
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(watched.out.contains("ended: "), "{watched:?}");
    drop(lines);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0), "nobody reads it any more: it goes on");

    // From another process it is paused, and goes on.
    let (child, lines) = begun(&cluster, "4.2.3", "paused");
    let paused = ask(dir, &["pause", "paused", "--reason", "storage is slow"]);
    assert!(paused.code == Some(0) && paused.out.contains("pause: taken"), "{paused:?}");
    let status = ask(dir, &["status", "paused"]);
    assert!(status.out.contains("paused by anna (storage is slow) until "), "{status:?}");
    let nothing = ask(dir, &["approve", "paused", "--yes"]);
    assert_eq!(nothing.code, Some(15), "{nothing:?}");
    assert!(nothing.err.contains("waits for no approval"), "{nothing:?}");
    let skipped = ask(dir, &["resume", "paused", "--skip", "--reason", "done by hand"]);
    assert!(skipped.code == Some(15) && skipped.err.contains("hactl abort paused"), "{skipped:?}");
    let on = ask(dir, &["resume", "paused"]);
    assert!(on.code == Some(0) && on.out.contains("continue: taken"), "{on:?}");
    assert_eq!(ask(dir, &["watch", "paused"]).code, Some(0));
    drop(lines);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    let late = ask(dir, &["pause", "paused"]);
    assert!(late.code == Some(15) && late.err.contains("hactl report paused"), "{late:?}");

    // Once: it stops at a safe point, says how to go on, and is taken back.
    let (child, lines) = begun(&cluster, "4.2.4", "once");
    drop(lines);
    send(&child, "-INT");
    let stopped = child.wait_with_output().unwrap();
    let said = String::from_utf8(stopped.stderr).unwrap();
    assert!(said.contains("interrupted: the step under way is ended"), "{said}");
    assert_eq!(stopped.status.code(), Some(8), "{said}");
    assert!(ask(dir, &["status", "once"]).out.contains("hactl rollback once"));
    let back = ask(dir, &["rollback", "once", "--yes"]);
    assert_eq!(back.code, Some(7), "{back:?}");
    assert_eq!(cluster.releases(), ["4.2.3", "4.2.3"]);
    assert_eq!(ask(dir, &["status"]).code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_does_not_depend_on_who_reads_it_or_on_a_terminal_that_goes_away() {
    let cluster = Cluster::start().await;
    let dir = cluster.folder();

    // Whoever hangs up takes the standard error with them.
    let (mut child, lines) = begun(&cluster, "4.2.1", "hung-up");
    drop((child.stderr.take(), lines));
    send(&child, "-HUP");
    assert_eq!(child.wait().unwrap().code(), Some(8));

    // A stop that was asked of a run without a controller comes first. The report of what goes on then is told, once.
    assert_eq!(ask(dir, &["rollback", "hung-up", "--yes"]).code, Some(7));
    let (mut child, lines) = begun(&cluster, "4.2.1", "killed");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(lines);
    assert_eq!(ask(dir, &["abort", "killed"]).code, Some(15));
    // Who asks and does not wait for the answer is told what is not known.
    let asks = hactl(dir).args(["abort", "killed"]).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while ask(dir, &["status", "killed"]).out.matches("not taken yet: abort").count() < 2 {
        assert!(Instant::now() < until, "it was not asked in 60 s");
        std::thread::sleep(Duration::from_millis(20));
    }
    send(&asks, "-INT");
    let told = asks.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.code() == Some(130) && said.contains("it is not known whether it is taken"), "{said}");
    let resumed = ask(dir, &["resume", "killed", "--yes", "--json"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let events: Vec<Value> = resumed.lines().iter().map(|line| line["event"].clone()).collect();
    let reports = events.iter().filter(|event| **event == "report").count();
    assert_eq!((reports, events.last()), (1, Some(&json!("report"))), "{events:?}");

    // One who stands still.
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let change = cluster.patch("4.2.2");
    let mut command = hactl(dir);
    let command = command.arg("run").arg(change).args(["--yes", "--json", "--run", "unread"]);
    let mut child = command.stdout(writer).spawn().unwrap();
    command.stdout(Stdio::null());
    let until = Instant::now() + Duration::from_secs(60);
    while ask(dir, &["status", "unread"]).code != Some(0) {
        assert!(Instant::now() < until, "it has not begun in 60 s");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(ended(dir, "unread"), "all-new");
    drop(reader);
    assert_eq!(child.wait().unwrap().code(), Some(0));

    // As nohup has it.
    let change = cluster.patch("4.2.3");
    let mut command = Command::new("env");
    command.args(["--ignore-signal=HUP", env!("CARGO_BIN_EXE_hactl"), "run"]).arg(change).args(["--yes", "--json"]);
    let mut child = command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = Lines::of(child.stdout.take().unwrap());
    lines.until("\"step-ended\"");
    send(&child, "-HUP");
    lines.until("\"report\"");
    assert_eq!(child.wait().unwrap().code(), Some(0));

    // Another cluster's runs in the same journal are not taken for its own.
    let other = std::fs::read_to_string(dir.join("cluster.toml")).unwrap().replace("\"lab\"", "\"other\"");
    std::fs::write(dir.join("other.toml"), other).unwrap();
    let none = ask(dir, &["report", "-c", "other.toml"]);
    assert!(none.code == Some(4) && none.err.contains("no run of cluster other"), "{none:?}");
    assert!(!none.err.contains("unread"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_it_asks_and_shows_what_is_under_way_in_40_columns() {
    let cluster = Cluster::start().await;
    let (dir, change) = (cluster.folder(), cluster.patch("4.2.1"));
    let run = |options: &[&str], typed: &str| {
        on_a_terminal(hactl(dir).arg("run").arg(&change).args(["--run", "r1"]).args(options), typed)
    };
    let (code, sent) = run(&[], "n\n");
    assert_eq!(code, Some(13), "{sent}");
    assert!(sent.contains("Run it as r1? [y/N]") && sent.contains("not confirmed"), "{sent}");
    let (code, sent) = run(&[], CTRL_C);
    assert!(code == Some(13) && sent.contains("not confirmed"), "{code:?}: {sent}");
    assert_eq!(cluster.releases(), ["4.2.0", "4.2.0"]);
    let (code, sent) = run(&[], "y\n");
    assert_eq!(code, Some(0), "{sent}");
    assert!(sent.contains("[=") && sent.contains("\u{1b}[32mdone\u{1b}[0m"), "a bar, and colours: {sent}");
    for line in sent.split(['\n', '\r']) {
        let (mut shown, mut in_escape) = (String::new(), false);
        for letter in line.chars() {
            match letter {
                '\u{1b}' => in_escape = true,
                _ if in_escape => in_escape = !letter.is_ascii_alphabetic(),
                _ => shown.push(letter),
            }
        }
        let words = shown.split_whitespace().count();
        // The answer, with its end of line, was typed before the question came.
        let is_question = shown.contains("[y/N]");
        assert!(shown.chars().count() <= 40 || words == 1 || is_question, "{shown:?}");
    }
    let (code, sent) = on_a_terminal(hactl(dir).arg("status").env("NO_COLOR", "1"), "");
    assert!(code == Some(0) && !sent.contains('\u{1b}'), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_waits_for_an_approval_is_approved_from_another_process() {
    let cluster = Cluster::start().await;
    let (dir, file) = (cluster.folder(), cluster.folder().join("cluster.toml"));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("soak = ", "approve = [\"start\"]\nsoak = ")).unwrap();
    let (child, lines) = begun_until(&cluster, "4.2.1", &["--run", "r1"], "\"approval-asked\"");
    let status = ask(dir, &["status", "r1"]);
    assert!(
        status.out.contains("waits for an approval (start)") && status.out.contains("hactl approve r1"),
        "{status:?}"
    );
    assert_eq!(cluster.releases(), ["4.2.0", "4.2.0"]);
    let unasked = ask(dir, &["approve", "r1"]);
    assert_eq!(unasked.code, Some(13), "{unasked:?}");
    let approved = ask(dir, &["approve", "r1", "--yes", "--reason", "ticket 4711", "--json"]);
    assert_eq!((approved.code, approved.json()["answer"]["answer"].clone()), (Some(0), json!("taken")), "{approved:?}");
    assert_eq!(ask(dir, &["watch"]).code, Some(0));
    drop(lines);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert!(ask(dir, &["report", "r1"]).out.contains("ticket 4711"), "who approved it, and why, is reported");
    assert_eq!(cluster.releases(), ["4.2.1", "4.2.1"]);
}

/// Prints the figures that the README quotes, of a release build; how long something takes is nothing that a test may fail for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_it_takes_to_start_and_to_plan_is_told() {
    let cluster = Cluster::start().await;
    let change = cluster.patch("4.2.1");
    let median_ms = |arguments: &[&str]| {
        let turn = || {
            let began = Instant::now();
            let told = ask(cluster.folder(), arguments);
            assert_eq!(told.code, Some(0), "{told:?}");
            began.elapsed()
        };
        let mut took: Vec<Duration> = (0..21).map(|_| turn()).collect();
        took.sort();
        took[took.len() / 2].as_secs_f64() * 1e3
    };
    let (start, plan) = (median_ms(&["--version"]), median_ms(&["plan", change.to_str().unwrap()]));
    eprintln!("figures: hactl starts in {start:.1} ms, and prints plan and proof of three servers after {plan:.1} ms");
}
