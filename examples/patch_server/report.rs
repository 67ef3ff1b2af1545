use std::path::Path;

use examples::{Fallible, Show, page};
use ha_lab::load::LoadReport;
use serde_json::{Value, json};

use super::Outage;
use super::cluster::Cluster;

/// Prints how the loss of the active server went.
pub(crate) fn outage(outage: &Outage, load: &LoadReport) {
    let window = outage.detected.saturating_sub(outage.killed);
    println!("active killed      {:>9} ms after the load began", outage.killed.as_millis());
    println!("loss detected      {:>9} ms later, by the balancer", window.as_millis());
    if let (Some(first), Some(last)) = (load.first_failure_ms, load.last_failure_ms) {
        println!("requests failed    {first:>9} ms to {last} ms after the load began");
    }
}

/// Prints the table and writes `report.json` and the page of the run into `folder`.
pub(crate) fn write(
    show: &Show,
    folder: &Path,
    cluster: &Cluster,
    run: &Value,
    pools: &[(&str, &LoadReport)],
    doubles: u64,
) -> Fallible<()> {
    let [(_, load), ..] = pools else { return Err("there is no load".into()) };
    show.line("");
    for (pool, load) in pools.iter().filter(|_| pools.len() > 1) {
        let (counts, releases) = (&load.counts, &load.counts.by_release);
        println!("pool {pool:<5} {:>6} requests, {} failed, answered by {releases:?}", counts.sent, counts.failures());
    }
    show.counts(load, doubles);
    if let Some(margin) = run["lowest_margin"].as_i64() {
        println!("lowest margin      {margin:>9}  (serving capacity above what is required)");
    }
    for pool in run["pools"].as_array().into_iter().flatten().filter(|_| pools.len() > 1) {
        println!("  in pool {:<8} {:>9}", pool["pool"].as_str().unwrap_or(""), pool["lowest"]);
    }
    show.run(run);
    let releases: Vec<String> = cluster.members().iter().map(|member| member.release()).collect();
    let by_pool: Value = pools.iter().map(|(pool, load)| ((*pool).to_string(), json!(load))).collect();
    let report = json!({
        "run": run,
        "load": load,
        "pools": by_pool,
        "executed_twice": doubles,
        "member_releases": releases,
    });
    page::write(folder, show, &report, &[("report", "/run")], pools)
}
