//! A case may be run by whoever has a runtime, also one with a single thread.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::mpsc::channel;
use std::time::Duration;

use ha_testkit::conformance::{Breach, Verdict, balancer, host, membership, probe};
use tokio::time::timeout;

/// Runs a case on a thread of its own, which may hang; returns its name where it does not hold.
fn ends(name: &'static str, case: impl Future<Output = Result<Verdict, Breach>> + Send + 'static) -> Option<String> {
    let (ended, end) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let told = runtime.block_on(async { timeout(Duration::from_secs(600), case).await });
        // Whoever waited may have given up.
        let _ = ended.send(match told {
            Ok(Ok(_)) => None,
            Ok(Err(breach)) => Some(format!("{name}: {breach}")),
            Err(_) => Some(format!("{name} did not end on virtual time")),
        });
    });
    end.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| Some(format!("{name} blocks its thread")))
}

#[test]
fn every_case_ends_on_a_runtime_of_one_thread() {
    let balancers = balancer::CASES.iter().map(|case| {
        ends(case.name(), async { case.run(&balancer::FakeFixture::new() as &dyn balancer::Fixture).await })
    });
    let members = membership::CASES
        .iter()
        .map(|case| ends(case.name(), async { case.run(&membership::FakeMembershipFixture::new() as _).await }));
    let hosts =
        host::CASES.iter().map(|case| ends(case.name(), async { case.run(&host::FakeHostFixture::new() as _).await }));
    let probes = probe::CASES
        .iter()
        .map(|case| ends(case.name(), async { case.run(&probe::FakeProbeFixture::new() as _).await }));
    let failed: Vec<String> = balancers.chain(members).chain(hosts).chain(probes).flatten().collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
