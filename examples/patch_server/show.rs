use std::cell::RefCell;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use ha_lab::load::{LoadReport, Snapshot};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::{Fallible, Outage};

/// Shows what happens: a live line on a terminal, plain lines elsewhere.
pub(crate) struct Show {
    terminal: bool,
    steps: RefCell<Vec<String>>,
}

impl Show {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), steps: RefCell::default() }
    }

    pub(crate) fn line(&self, text: &str) {
        if self.terminal {
            print!("\r\x1b[K");
        }
        println!("{text}");
    }

    pub(crate) fn tick(&self, counts: &Snapshot) {
        if self.terminal {
            let releases: Vec<String> =
                counts.by_release.iter().map(|(name, count)| format!("{name}: {count}")).collect();
            print!("\r\x1b[K{} sent, {} failed, answers by {}", counts.sent, counts.failures(), releases.join(", "));
            let _ = std::io::stdout().flush();
        }
    }

    pub(crate) fn event(&self, event: &Value) {
        let text = |key: &str| event[key].as_str().unwrap_or("").to_string();
        match event["event"].as_str().unwrap_or("") {
            "opened" => {
                let how = if event["resumed"] == true { "resumed" } else { "begun" };
                self.line(&format!("run {} {how} with lease epoch {}", text("run"), event["epoch"]));
            }
            "step-ended" => {
                let took = format!("{:>6} ms", event["took_ms"].as_u64().unwrap_or(0));
                let step = format!("{took}  {:<8} {:<9} {:<8}", text("target"), text("action"), text("outcome"));
                self.line(&format!("{step} {}", text("message")));
                self.steps.borrow_mut().push(step);
            }
            "turned" => self.line(&format!("           {}", text("message"))),
            "domain-lost" => self.line(&format!("           failure domain {} is lost", text("domain"))),
            "closed" => self.line(&format!("run ended: {}", text("message"))),
            _ => {}
        }
    }

    /// Prints how the loss of the active server went.
    pub(crate) fn outage(&self, outage: &Outage, load: &LoadReport) {
        let window = outage.detected.saturating_sub(outage.killed);
        println!("active killed      {:>9} ms after the load began", outage.killed.as_millis());
        println!("loss detected      {:>9} ms later, by the balancer", window.as_millis());
        if let (Some(first), Some(last)) = (load.first_failure_ms, load.last_failure_ms) {
            println!("requests failed    {:>9} ms to {last} ms after the load began", first);
        }
    }

    /// Prints the table and writes `report.json` into `folder`; returns where.
    pub(crate) fn report(
        &self,
        folder: &Path,
        cluster: &Cluster,
        run: &Value,
        pools: &[(&str, &LoadReport)],
        doubles: u64,
    ) -> Fallible<PathBuf> {
        let [(_, load), ..] = pools else { return Err("there is no load".into()) };
        let counts = &load.counts;
        self.line("");
        for (pool, load) in pools.iter().filter(|_| pools.len() > 1) {
            let (counts, releases) = (&load.counts, &load.counts.by_release);
            println!(
                "pool {pool:<5} {:>6} requests, {} failed, answered by {releases:?}",
                counts.sent,
                counts.failures()
            );
        }
        println!("requests           {:>9}", counts.sent);
        println!("failed             {:>9}", counts.failures());
        for (kind, count) in &counts.failed {
            println!("  {kind:<32} {count:>6}");
        }
        println!("executed twice     {doubles:>9}");
        for (release, count) in &counts.by_release {
            println!("answered by {release:<6} {count:>9}");
        }
        let ms = |us: u64| format!("{}.{} ms", us / 1000, us % 1000 / 100);
        println!("latency p50        {:>12}", ms(load.p50_us));
        println!("latency p99        {:>12}", ms(load.p99_us));
        println!("latency max        {:>12}", ms(load.max_us));
        if let Some(margin) = run["lowest_margin"].as_i64() {
            println!("lowest margin      {margin:>9}  (serving capacity above what is required)");
        }
        for pool in run["pools"].as_array().into_iter().flatten().filter(|_| pools.len() > 1) {
            println!("  in pool {:<8} {:>9}", pool["pool"].as_str().unwrap_or(""), pool["lowest"]);
        }
        for loan in run["open"].as_array().into_iter().flatten() {
            println!("open loan          {}", loan.as_str().unwrap_or(""));
        }
        for step in self.steps.borrow().iter() {
            println!("step      {}", step.trim_end());
        }
        fs::create_dir_all(folder)?;
        let releases: Vec<String> = cluster.members().iter().map(|member| member.release()).collect();
        let by_pool: Value = pools.iter().map(|(pool, load)| ((*pool).to_string(), json!(load))).collect();
        let report = json!({
            "run": run,
            "load": load,
            "pools": by_pool,
            "executed_twice": doubles,
            "member_releases": releases,
        });
        let path = folder.join("report.json");
        fs::write(&path, serde_json::to_vec_pretty(&report)?)?;
        Ok(path)
    }
}
