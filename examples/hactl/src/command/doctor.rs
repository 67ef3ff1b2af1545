//! `doctor`: one look at the cluster at rest, or one after the other. Nothing is changed.

use std::time::Duration;

use ha_core::engine::{Diagnosis, Finding};
use tokio::time::sleep;

use crate::cli::Common;
use crate::clock::utc;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::out::Out;
use crate::{cluster, store};

pub(super) async fn doctor(common: &Common, out: &Out, every: Option<Duration>) -> Result<Exit, Failure> {
    let topology = cluster::load(&common.cluster)?;
    let path = common.journal();
    let store = if path.exists() { Some(store::to_read(&path)?) } else { None };
    let engine = cluster::engine(&common.cluster, topology, store)?;
    let mut found = engine.doctor().await;
    match (out.json, every) {
        (true, Some(_)) => out.json_line(&found)?,
        (true, None) => out.value(&found)?,
        (false, _) => out.line(&found.to_string())?,
    }
    let Some(every) = every else { return Ok(exit_of(&found)) };
    while !out.is_closed() {
        sleep(every).await;
        let next = engine.doctor().await;
        if out.json {
            out.json_line(&next)?;
        } else {
            tell_changes(out, &found, &next)?;
        }
        found = next;
    }
    Ok(exit_of(&found))
}

/// Tells what is new and what is gone. Each look has its line: so it is seen that nobody reads any more.
fn tell_changes(out: &Out, before: &Diagnosis, now: &Diagnosis) -> Result<(), Failure> {
    let is_same = |one: &Finding, other: &Finding| {
        (one.check, &one.place, one.severity) == (other.check, &other.place, other.severity)
    };
    let not_in = |finding: &&Finding, others: &[Finding]| !others.iter().any(|other| is_same(finding, other));
    let new: Vec<_> = now.findings.iter().filter(|finding| not_in(finding, &before.findings)).collect();
    let gone: Vec<_> = before.findings.iter().filter(|finding| not_in(finding, &now.findings)).collect();
    let (at, count) = (utc(now.at_unix_ms), now.findings.len());
    out.line(&format!("{at}  {count} found, {} of them new, {} gone", new.len(), gone.len()))?;
    for finding in new {
        out.line(&format!("new: {finding}"))?;
    }
    for finding in gone {
        out.line(&format!("gone: {finding}"))?;
    }
    Ok(())
}

fn exit_of(found: &Diagnosis) -> Exit {
    if found.is_healthy() { Exit::Done } else { Exit::Unhealthy }
}
