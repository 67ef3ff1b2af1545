//! The load generator is itself measured: a server that fails a known number of requests in each kind is counted exactly.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use ha_lab::ReservedPort;
use ha_lab::load::{Class, FailureKind, FaultyServer, Load, LoadReport, Misbehaviour, Saturate, double_executions};

/// Treatments, the kind that each is to be counted as, and how often it comes.
const KINDS: [(Misbehaviour, Option<FailureKind>, usize); 8] = [
    (Misbehaviour::None, None, 40),
    (Misbehaviour::Reset, Some(FailureKind::Reset), 7),
    (Misbehaviour::Eof, Some(FailureKind::EofBeforeAnswer), 6),
    (Misbehaviour::Truncate, Some(FailureKind::Truncated), 5),
    (Misbehaviour::Status503, Some(FailureKind::Status5xx), 9),
    (Misbehaviour::Status404, Some(FailureKind::OtherStatus), 3),
    (Misbehaviour::NoReply, Some(FailureKind::Timeout), 4),
    (Misbehaviour::WrongBody, Some(FailureKind::WrongBody), 8),
];
const ROUNDS: usize = 3;

fn treatments() -> Vec<Misbehaviour> {
    KINDS.iter().flat_map(|(treatment, _, count)| std::iter::repeat_n(*treatment, *count)).collect()
}

fn assert_counted_exactly(report: &LoadReport) {
    let expected: BTreeMap<FailureKind, u64> =
        KINDS.iter().filter_map(|(_, kind, count)| Some(((*kind)?, (count * ROUNDS) as u64))).collect();
    assert_eq!(report.counts.failed, expected);
    assert_eq!(report.counts.ok, (40 * ROUNDS) as u64);
    assert_eq!(report.counts.sent, report.counts.ok + report.counts.failures());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_failure_is_counted_exactly() {
    let server = FaultyServer::start(treatments()).await.unwrap();
    let load = Load::new(server.address(), 400)
        .with_class(Class::new("/orders", "orders", 1))
        .with_timeout(Duration::from_secs(5))
        .with_limit((treatments().len() * ROUNDS) as u64);
    assert_counted_exactly(&load.start().unwrap().finish().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saturating_clients_count_every_kind_of_failure_exactly() {
    let server = FaultyServer::start(treatments()).await.unwrap();
    let load = Saturate::new(server.address())
        .with_class(Class::new("/orders", "orders", 1))
        .with_timeout(Duration::from_secs(2))
        .with_limit((treatments().len() * ROUNDS) as u64);
    assert_counted_exactly(&load.start().unwrap().finish().await);
}

#[tokio::test]
async fn saturating_clients_of_a_closed_port_are_refused_each_time() {
    let nobody = ReservedPort::any().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], nobody.number()));
    let load = Saturate::new(address).with_clients(3).with_class(Class::new("/", "", 1)).with_limit(25);
    let report = load.start().unwrap().finish().await;
    assert_eq!(report.counts.failed, BTreeMap::from([(FailureKind::Refused, 25)]));
}

#[tokio::test]
async fn a_closed_port_is_counted_as_refused() {
    let nobody = ReservedPort::any().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], nobody.number()));
    let load = Load::new(address, 500).with_class(Class::new("/", "", 1)).with_limit(25);
    let report = load.start().unwrap().finish().await;
    assert_eq!(report.counts.failed, BTreeMap::from([(FailureKind::Refused, 25)]));
}

#[tokio::test]
async fn a_stall_of_the_server_shows_in_the_latency_of_every_request_that_was_due() {
    // One connection at a time is answered: with a closed loop the stall would hide in one slow request.
    let server = FaultyServer::start(vec![Misbehaviour::NoReply]).await.unwrap();
    let load = Load::new(server.address(), 100).with_class(Class::new("/", "", 1));
    let report = load.with_timeout(Duration::from_millis(300)).with_limit(30).start().unwrap().finish().await;
    assert_eq!(report.counts.failed, BTreeMap::from([(FailureKind::Timeout, 30)]));
    assert!(report.p50_us >= 300_000, "latency counts from when a request was due: {report:?}");
}

#[test]
fn double_executions_are_counted_over_all_logs() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    write!(std::fs::File::create(&one).unwrap(), "S a\nE a\nS b\nS c\nS c\n").unwrap();
    write!(std::fs::File::create(&two).unwrap(), "S b\nE b\nS d\n").unwrap();
    assert_eq!(double_executions(&[&one, &two, &dir.path().join("none")]).unwrap(), 2);
}
