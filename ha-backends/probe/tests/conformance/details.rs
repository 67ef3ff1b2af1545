//! What the suite does not ask of every probe.

use std::fs::{OpenOptions, write};
use std::io::Write;
use std::path::Path;

use ha_core::backend::{Effect, ErrorKind, Probe, Ready};
use ha_core::topology::Setting;
use ha_probe::{LogProbe, LogProbeConfig};
use ha_testkit::conformance::probe::{ProbeSubject, Stance};

use crate::server::Door;
use crate::web::Web;
use crate::{component, list, text};

fn yes(release: &str) -> Ready {
    Ready::Yes { release: release.into() }
}

#[tokio::test]
async fn ports_are_a_condition_of_http_probes() {
    let (one, two) = (Door::silent().await.unwrap(), Door::silent().await.unwrap());
    let ports = list(&[&one.address.to_string(), &two.address.to_string()]);
    let subject = Web::plain().subject("1.0", vec![("ports", ports)]).await.unwrap();
    assert_eq!(subject.probe.ready().await.unwrap(), yes("1.0"));
    two.set(false).await.unwrap();
    let message = format!("nothing listens on {}", two.address);
    assert_eq!(subject.probe.ready().await.unwrap(), Ready::NotYet(message.clone()));
    let error = subject.probe.test().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains(&message), "{error}");
    one.set(false).await.unwrap();
    assert!(matches!(subject.probe.ready().await.unwrap(), Ready::NotYet(_)), "the URL still answers");
}

#[tokio::test]
async fn a_request_bears_its_headers_and_host_and_a_release_may_be_in_a_header() {
    let settings = vec![
        ("headers", list(&["Authorization: Basic s3cret", "x-probe: ha"])),
        ("host", text("esb.example")),
        ("release_header", text("X-Release")),
        ("expect_status", list(&["200", "503"])),
    ];
    let subject = Web::plain().subject("1.0", settings).await.unwrap();
    assert_eq!(subject.probe.ready().await.unwrap(), yes("1.0"));
    let heard = subject.state.heard.lock().unwrap().clone();
    for line in ["authorization: Basic s3cret\r\n", "x-probe: ha\r\n", "host: esb.example\r\n", "connection: close\r\n"]
    {
        assert!(heard.contains(line), "{heard}");
    }
    subject.set_stance(Stance::NotReady, "1.0").await.unwrap();
    assert_eq!(subject.probe.ready().await.unwrap(), yes("1.0"), "503 is expected here");
}

#[tokio::test]
async fn a_name_that_nobody_has_is_unreachable() {
    let probe = component("http", vec![("url", text("http://no-such-host.invalid:8280/"))]);
    let error = ha_probe::from_component(&probe).unwrap().ready().await.unwrap_err();
    // Some resolvers take their time.
    assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout), "{error}");
    assert_eq!(error.effect(), Effect::None);
}

#[tokio::test]
async fn a_program_that_is_missing_is_named() {
    let probe = component("command", vec![("command", list(&["/no/such/program"]))]);
    let error = ha_probe::from_component(&probe).unwrap().ready().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::None));
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}

fn log_probe(log: &Path, door: &Door, identity: (&str, Setting)) -> LogProbe {
    let settings =
        vec![("log", text(log.display())), ("line", text("started")), ("ports", text(door.address)), identity];
    LogProbe::new(LogProbeConfig::from_component(&component("log", settings)).unwrap())
}

fn append(log: &Path, line: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(log).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[tokio::test]
async fn a_line_of_the_process_before_does_not_count_once_the_port_was_seen_closed() {
    let (dir, door) = (tempfile::tempdir().unwrap(), Door::silent().await.unwrap());
    let log = dir.path().join("log");
    let probe = log_probe(&log, &door, ("release_prefix", text("release ")));
    assert!(matches!(probe.ready().await.unwrap(), Ready::NotYet(_)), "there is no log yet");
    append(&log, "started, release 1.0");
    assert_eq!(probe.ready().await.unwrap(), yes("1.0"));
    door.set(false).await.unwrap();
    assert_eq!(probe.ready().await.unwrap(), Ready::Closed);
    append(&log, "started, release 2.0");
    assert_eq!(probe.ready().await.unwrap(), Ready::Closed, "a line without a port is no server");
    door.set(true).await.unwrap();
    assert_eq!(probe.ready().await.unwrap(), yes("2.0"), "some servers write before they listen");
    door.set(false).await.unwrap();
    assert_eq!(probe.ready().await.unwrap(), Ready::Closed);
    door.set(true).await.unwrap();
    assert!(matches!(probe.ready().await.unwrap(), Ready::NotYet(_)), "nothing was written since");
}

#[tokio::test]
async fn a_mark_forgets_what_was_written_before_it() {
    let (dir, door) = (tempfile::tempdir().unwrap(), Door::silent().await.unwrap());
    let log = dir.path().join("log");
    append(&log, "started, release 1.0");
    let probe = log_probe(&log, &door, ("release_prefix", text("release ")));
    assert_eq!(probe.ready().await.unwrap(), yes("1.0"));
    probe.mark().await.unwrap();
    assert!(matches!(probe.ready().await.unwrap(), Ready::NotYet(_)));
    append(&log, "started, release 2.0;");
    assert_eq!(probe.clone().ready().await.unwrap(), yes("2.0"));
}

#[tokio::test]
async fn a_log_whose_line_has_no_release_is_helped_by_a_command() {
    let (dir, door) = (tempfile::tempdir().unwrap(), Door::silent().await.unwrap());
    let (log, release) = (dir.path().join("log"), dir.path().join("release"));
    write(&release, "1.0\n").unwrap();
    append(&log, "Server started in 4 sec");
    let command = list(&["cat", &release.display().to_string()]);
    assert_eq!(log_probe(&log, &door, ("release_command", command)).ready().await.unwrap(), yes("1.0"));
}
