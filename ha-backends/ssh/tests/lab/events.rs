//! The events of a connection that is lost while a command runs: as `telemetry` lists them, and without a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ha_core::backend::{Ended, Host};
use ha_core::telemetry::{self, EVENTS};
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::fixture::{FIRST, drive, install, lab, lines, sh};

/// An event: its level and its fields, its message among them.
type Emitted = (Level, BTreeMap<&'static str, String>);

/// Remembers the events of ha-ssh.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Emitted>>>);

struct Reader<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ha_ssh")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Reader(&mut fields));
        self.0.lock().unwrap().push((*event.metadata().level(), fields));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_connection_lost_during_a_command_is_followed_by_its_events() {
    const SECRET: &str = "s3cret";
    let recorder = Recorder::default();
    let _recording = tracing::subscriber::set_default(recorder.clone());
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    let script = format!("echo x >>begun; while [ ! -e go ]; do sleep 0.05; done; : {SECRET}");
    let command = sh(&script, Duration::from_secs(30)).with_env("KEY", SECRET);
    let run = {
        let host = host.clone();
        tokio::spawn(async move { host.run(FIRST, command).await })
    };
    while lines(home.join("begun")) == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    assert!(machine.kill_sessions() > 0);
    let has = |message: &str| recorder.0.lock().unwrap().iter().any(|(_, fields)| fields["message"] == message);
    while !(has("ssh ended") && has("command asked for again")) {
        sleep(Duration::from_millis(20)).await;
    }
    std::fs::write(home.join("go"), "").unwrap();
    assert_eq!(run.await.unwrap().unwrap().ended, Ended::Exited(0));

    let events = recorder.0.lock().unwrap().clone();
    for (level, fields) in &events {
        let message = fields["message"].as_str();
        let spec = EVENTS.iter().find(|spec| spec.message == message).expect(message);
        let names: BTreeSet<&str> = fields.keys().copied().filter(|name| *name != "message").collect();
        assert_eq!((*level, names), (spec.level, spec.fields.iter().copied().collect()), "{message}");
    }
    let connected: Vec<_> = events.iter().filter(|(_, fields)| fields["message"] == "connected").collect();
    assert!(connected.len() >= 2, "{events:?}");
    assert_eq!(connected[0].1[telemetry::MACHINE], connected[1].1[telemetry::MACHINE]);
    assert!(connected[0].1[telemetry::HOST].contains(&machine.access().address().to_string()), "{events:?}");
    assert!(!format!("{events:?}").contains(SECRET), "{events:?}");
}
