use std::path::Path;

use ha_core::report::{PoolTraffic, RunReport, Traffic, TrafficBucket};
use ha_lab::load::{LoadReport, Series};
use serde_json::Value;

use crate::{Fallible, Show};

/// Writes what an example has to tell as `report.json` into a folder and, of each run in it, a page and a text for tickets beside it:
/// `runs` has their names and where in `told` their reports are, `loads` what was sent to each pool meanwhile. A run that was refused
/// has no page.
///
/// # Errors
/// When something cannot be written.
pub fn write(
    out: &Path,
    show: &Show,
    told: &Value,
    runs: &[(&str, &str)],
    loads: &[(&str, &LoadReport)],
) -> Fallible<()> {
    std::fs::create_dir_all(out)?;
    let written = out.join("report.json");
    std::fs::write(&written, serde_json::to_vec_pretty(told)?)?;
    show.line(&format!("report: {}", written.display()));
    let traffic = traffic(loads);
    for (name, place) in runs {
        let Some(run) = told.pointer(place).filter(|run| run["run"].is_string()) else { continue };
        let run: RunReport = serde_json::from_value(run.clone())?;
        let page = out.join(name).with_extension("html");
        std::fs::write(&page, run.to_html(traffic.as_ref()))?;
        std::fs::write(page.with_extension("md"), run.to_markdown(traffic.as_ref()))?;
        show.line(&format!("page: {}", page.display()));
    }
    Ok(())
}

/// Hands over what loads have seen, each as the traffic of its pool; buckets of loads that did not begin at once are put beside the
/// nearest ones of the first.
fn traffic(loads: &[(&str, &LoadReport)]) -> Option<Traffic> {
    let began = loads.iter().map(|(_, load)| load.series.began_unix_ms).min()?;
    let every = loads.first()?.1.series.every_ms.max(1);
    let late = |series: &Series| (series.began_unix_ms - began + every / 2) / every;
    let pools = loads.iter().map(|(pool, load)| {
        let buckets = load.series.buckets.iter();
        let buckets = buckets
            .map(|bucket| TrafficBucket::new(bucket.ended, bucket.failed).with_latency(bucket.p50_us, bucket.p99_us));
        let before = (0..late(&load.series)).map(|_| TrafficBucket::default());
        PoolTraffic::new(*pool, before.chain(buckets).collect())
    });
    Some(Traffic::new("the load generator", began, every, pools.collect()))
}
