//! The whole real lab: every procedure under load, one cluster after another, with one ledger of all requests.
//!
//! ```text
//! cargo run --release --example all_procedures -- [--only WORD] [--requests N] [--out FOLDER]
//! ```
//!
//! Each cluster is that of the example whose name stands in the table, run as a program of its own: with HAProxys in pairs, hosts with
//! sshd, rsync between them, and PostgreSQL, as far as the procedure has to do with them. What the clients of all of them got is written
//! into one ledger, `ledger.tsv`: the id of each request, the run that had begun last, the version that answered, how it failed. The
//! table is counted from it: each run's requests, from its begin to that of the next.
//!
//! With `--only` those clusters alone whose line has that word in it; with `--requests` each cluster goes on until it has served so many.
//!
//! Needs root, for the hosts, and what `./test.sh` installs.
//!
//! Exit codes: 0 every run ended as it was asked for, inside the windows that it had declared, each had requests and no planned one lost
//! any, and every request that was sent is in the ledger, as one of a run; 1 otherwise, also where a cluster behind the first could not
//! be set up; 2 the lab could not be set up.

mod cluster;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use examples::{Fallible, Show, demonstration};
use ha_core::record::End;
use ha_core::report::{RunReport, WindowUse};
use ha_lab::load::{LedgerLine, read_ledger};
use serde_json::json;

use cluster::{CLUSTERS, Cluster, forget};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    demonstration("all_procedures", async { demonstrate(&parse(&arguments)?).await })
}

struct Options {
    only: Option<String>,
    requests: Option<u64>,
    out: PathBuf,
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options = Options { only: None, requests: None, out: "target/all_procedures".into() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--only" => options.only = Some(words.next().ok_or("--only needs a word")?.clone()),
            "--requests" => {
                let number = words.next().and_then(|number| number.parse().ok());
                options.requests = Some(number.ok_or("--requests needs a number")?);
            }
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "--only WORD, --requests N, --out FOLDER";
                return Err(format!("unknown option {other:?}; known: {known}").into());
            }
        }
    }
    Ok(options)
}

/// One line of the table.
struct Row {
    cluster: String,
    requests: u64,
    failed: u64,
    versions: BTreeMap<String, u64>,
    run: RunReport,
}

async fn demonstrate(options: &Options) -> Fallible<bool> {
    let asked = |cluster: &&Cluster| options.only.as_ref().is_none_or(|word| cluster.line().contains(word.as_str()));
    let clusters: Vec<&Cluster> = CLUSTERS.iter().filter(asked).collect();
    if clusters.is_empty() {
        let known: Vec<String> = CLUSTERS.iter().map(Cluster::line).collect();
        return Err(format!("no cluster has that word in its line: {}", known.join("; ")).into());
    }
    if !rustix::process::geteuid().is_root() && clusters.iter().any(|cluster| cluster.needs_root()) {
        return Err("the hosts of the lab need root: run it as root, or leave them out with --only".into());
    }
    let show = Show::new();
    std::fs::create_dir_all(&options.out)?;
    let written = options.out.join("report.json");
    forget(&written)?;
    let ledger = std::path::absolute(options.out.join("ledger.tsv"))?;
    std::fs::write(&ledger, "")?;
    cluster::build(&clusters).await?;
    let (mut rows, mut good) = (Vec::new(), true);
    for (number, cluster) in clusters.into_iter().enumerate() {
        show.line(&format!("{} ...", cluster.line()));
        let already = read_ledger(&ledger)?.len();
        let ended = cluster.run(&options.out, &ledger, options.requests).await?;
        if ended.not_set_up && number == 0 {
            let text = std::fs::read_to_string(&ended.log).unwrap_or_default();
            return Err(format!("{} could not be set up: {}", cluster.line(), text.trim()).into());
        }
        good &= ended.good;
        if !ended.good {
            show.line(&format!("{} did not end as it should: see {}", cluster.line(), ended.log.display()));
        }
        let (lines, first) = (&read_ledger(&ledger)?[already..], rows.len());
        for (place, run) in ended.runs.into_iter().enumerate() {
            // What was sent before a run said so is of the first.
            let of_run = |line: &&LedgerLine| line.run == run.run.as_str() || (place == 0 && line.run.is_empty());
            let lines: Vec<&LedgerLine> = lines.iter().filter(of_run).collect();
            let mut row = Row { cluster: cluster.line(), requests: 0, failed: 0, versions: BTreeMap::new(), run };
            for line in lines {
                row.requests += 1;
                row.failed += u64::from(!line.failure.is_empty());
                if line.failure.is_empty() {
                    *row.versions.entry(line.version.clone()).or_default() += 1;
                }
            }
            rows.push(row);
        }
        let counted = rows[first..].iter().map(|row| row.requests).sum::<u64>();
        if [counted, ended.sent] != [u64::try_from(lines.len())?; 2] {
            good = false;
            let (sent, lines) = (ended.sent, lines.len());
            show.line(&format!(
                "requests are missing: {sent} were sent, {lines} are in the ledger, {counted} of them of its runs"
            ));
        }
    }
    good &= rows.iter().all(Row::is_good);
    table(&rows);
    let lines = read_ledger(&ledger)?.len();
    let told: Vec<_> = rows.iter().map(Row::to_json).collect();
    std::fs::write(
        &written,
        serde_json::to_vec_pretty(&json!({ "runs": told, "ledger_lines": lines, "good": good }))?,
    )?;
    show.line(&format!("ledger: {}, report: {}", ledger.display(), written.display()));
    Ok(good)
}

impl Row {
    /// Tells whether the procedure answers to a loss: requests may fail until it has begun to act.
    fn is_loss(&self) -> bool {
        self.run.procedure == "outage" || self.run.procedure == "site loss"
    }

    fn is_good(&self) -> bool {
        let ended = self.run.end == End::AllNew && self.run.open.is_empty();
        let in_window = !self.run.windows.iter().any(WindowUse::is_exceeded);
        ended && in_window && self.requests > 0 && (self.is_loss() || self.failed == 0)
    }

    /// Returns the longest window, used and declared.
    fn window_ms(&self) -> Option<(u64, u64)> {
        self.run.windows.iter().map(|window| (window.used_ms, window.at_most_ms)).max_by_key(|(used, _)| *used)
    }

    fn window(&self) -> String {
        match self.window_ms() {
            Some((used, at_most)) => format!("{} of {}", seconds(used), seconds(at_most)),
            None => "-".into(),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        json!({
            "cluster": self.cluster, "procedure": self.run.procedure, "requests": self.requests, "failed": self.failed,
            "versions": self.versions, "window_ms": self.window_ms(), "took_ms": self.run.took_ms, "good": self.is_good(),
        })
    }
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", Duration::from_millis(ms).as_secs_f64())
}

/// Prints the table as Markdown.
fn table(rows: &[Row]) {
    println!("\n| Procedure | Cluster | Requests | Failed | Answered by | Window, used of declared | Time |");
    println!("|---|---|---|---|---|---|---|");
    for row in rows {
        let versions: Vec<String> = row.versions.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        let mark = if row.is_good() { "" } else { " (!)" };
        println!(
            "| {}{mark} | `{}` | {} | {} | {} | {} | {} |",
            row.run.procedure,
            row.cluster,
            row.requests,
            row.failed,
            versions.join(", "),
            row.window(),
            seconds(row.run.took_ms)
        );
    }
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
    let planned: u64 = rows.iter().filter(|row| !row.is_loss()).map(|row| row.failed).sum();
    println!(
        "\n{} requests, {} failed, {planned} of planned procedures",
        sum(|row| row.requests),
        sum(|row| row.failed)
    );
}
