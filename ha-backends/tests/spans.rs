//! Every backend opens the span `call` with its fields around each call, in the tasks that a call spawns too, and writes no
//! secret into it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ha_backends::connect;
use ha_backends::sqlite::SqliteStore;
use ha_core::backend::{
    Admin, CloseSessions, CutConsent, Expect, Expectations, Incarnation, MemberRef, PruneArtifacts, PutArtifact,
    RunCommand, SetAdmin, SetWeight, Weight, WorkId,
};
use ha_core::journal::{Journal, Lease};
use ha_core::state::{Generation, LeaseEpoch, ServerDomain};
use ha_core::telemetry;
use ha_core::topology::{Name, Topology};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;

/// The fields of one span.
type Fields = BTreeMap<&'static str, String>;

/// Remembers spans with their fields, and events with the fields of the span that they are in.
#[derive(Clone, Default)]
struct Recorder(Arc<Recorded>);

#[derive(Default)]
struct Recorded {
    next: AtomicU64,
    spans: Mutex<BTreeMap<u64, (&'static Metadata<'static>, Fields)>>,
    events: Mutex<Vec<Emitted>>,
}

/// An event, and the fields of the span that it is in.
#[derive(Clone, Debug)]
struct Emitted {
    metadata: &'static Metadata<'static>,
    fields: Fields,
    span: Option<Fields>,
}

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Reader<'a>(&'a mut Fields);

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = self.0.entry(field.name()).or_default();
        text.clear();
        let _ = write!(text, "{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.0.next.fetch_add(1, Ordering::SeqCst) + 1;
        let mut fields = Fields::new();
        span.record(&mut Reader(&mut fields));
        self.0.spans.lock().unwrap().insert(id, (span.metadata(), fields));
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some((_, fields)) = self.0.spans.lock().unwrap().get_mut(&span.into_u64()) {
            values.record(&mut Reader(fields));
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Reader(&mut fields));
        let current = ENTERED.with_borrow(|entered| entered.last().copied());
        let span = current.and_then(|id| self.0.spans.lock().unwrap().get(&id).map(|(_, fields)| fields.clone()));
        self.0.events.lock().unwrap().push(Emitted { metadata: event.metadata(), fields, span });
    }

    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.retain(|id| *id != span.into_u64()));
    }

    fn current_span(&self) -> Current {
        let current = ENTERED.with_borrow(|entered| entered.last().copied());
        let spans = self.0.spans.lock().unwrap();
        current
            .and_then(|id| Some((id, spans.get(&id)?.0)))
            .map_or_else(Current::none, |(id, metadata)| Current::new(Id::from_u64(id), metadata))
    }
}

impl Recorder {
    /// The fields of the spans `call` of a backend, by its operations.
    fn calls(&self, backend: &str) -> BTreeMap<String, Fields> {
        let spans = self.0.spans.lock().unwrap();
        let calls = spans.values().filter(|(metadata, _)| metadata.name() == telemetry::CALL).map(|(_, fields)| fields);
        let of_backend = calls.filter(|fields| fields[telemetry::BACKEND] == backend);
        of_backend.map(|fields| (fields[telemetry::OP].clone(), fields.clone())).collect()
    }

    /// Fails unless exactly these operations were called, each with this instance and host.
    fn has(&self, backend: &str, ops: &[&str], instance: Option<&str>, host: Option<&str>) {
        let calls = self.calls(backend);
        let mut wanted = ops.to_vec();
        wanted.sort_unstable();
        assert_eq!(calls.keys().collect::<Vec<_>>(), wanted, "{backend}");
        for (op, fields) in &calls {
            assert!(!fields[telemetry::TARGET].is_empty(), "{backend} {op}");
            let field = |name: &str| fields.get(name).map(String::as_str);
            assert_eq!((field(telemetry::INSTANCE), field(telemetry::HOST)), (instance, host), "{backend} {op}");
        }
    }

    /// Fails where an event of ours is not as `telemetry` lists it.
    fn has_listed_events_only(&self) {
        let events = self.0.events.lock().unwrap();
        for event in events.iter().filter(|event| event.metadata.target().starts_with("ha_")) {
            let message = event.fields["message"].as_str();
            let spec = telemetry::EVENTS.iter().find(|spec| spec.message == message).expect(message);
            let fields: BTreeSet<&str> = event.fields.keys().copied().filter(|name| *name != "message").collect();
            assert_eq!(
                (*event.metadata.level(), fields),
                (spec.level, spec.fields.iter().copied().collect()),
                "{message}"
            );
        }
        assert!(!events.is_empty());
    }

    /// Everything that was recorded, as one text.
    fn text(&self) -> String {
        let spans: Vec<Fields> = self.0.spans.lock().unwrap().values().map(|(_, fields)| fields.clone()).collect();
        format!("{spans:?} {:?}", self.0.events.lock().unwrap())
    }
}

const EPOCH: LeaseEpoch = LeaseEpoch::new(1);
const SECRET: &str = "s3cret";

fn topology(dir: &std::path::Path) -> Topology {
    let dir = dir.display();
    let node = |name: &str, host: &str, probe: &str| {
        format!("[[node]]\nname = \"{name}\"\ncapacity = 100\nhost = {{ {host} }}\nprobe = {{ {probe} }}\n")
    };
    let ssh = |name: &str| {
        format!(
            "backend = \"ssh\", host = \"127.0.0.1\", port = 1, home = \"/{name}\", unit = \"{name}.service\", version = \
             [\"true\"], start_test = [\"true\"]"
        )
    };
    let text = format!(
        "[cluster]\nname = \"orders\"\n[policy]\npeak_load = 100\n[pool]\nname = \"esb\"\nserve = 1\n\
         [artifacts]\nbackend = \"local\"\nfolder = \"{dir}\"\n\
         [[balancer]]\nname = \"lb1\"\nbackend = \"haproxy\"\nsocket = \"{dir}/nobody.sock\"\n\
         [[balancer]]\nname = \"lb2\"\nbackend = \"local\"\nsocket = \"{dir}/none.sock\"\n{}{}{}{}",
        node(
            "esb1",
            &format!(
                "backend = \"local\", home = \"{dir}\", start = [\"true\"], stop = [\"true\"], version = [\"echo\", \
                 \"1.0\"], pid_file = \"x.pid\", identity = \"-Dnobody-{dir}\""
            ),
            &format!("backend = \"http\", url = \"http://127.0.0.1:1/?key={SECRET}\", headers = [\"x-key: {SECRET}\"]")
        ),
        node("esb2", &ssh("esb2"), "backend = \"tcp\", ports = [\"127.0.0.1:1\"], release_command = [\"true\"]"),
        node("esb3", &ssh("esb3"), &format!("backend = \"command\", command = [\"echo\", \"{SECRET}\"]")),
        node(
            "esb4",
            &ssh("esb4"),
            &format!(
                "backend = \"log\", log = \"{dir}/x.log\", line = \"up\", release_prefix = \"r\", ports = [\"127.0.0.1:1\"]"
            )
        ),
    );
    Topology::from_toml_str(&text).unwrap()
}

#[tokio::test]
async fn each_call_of_every_backend_is_a_span_with_its_fields() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::default();
    let _recording = tracing::subscriber::set_default(recorder.clone());
    let backends = connect(&topology(dir.path())).unwrap();

    let (pool, member) =
        (Name::new("esb").unwrap(), MemberRef::new(Name::new("esb").unwrap(), Name::new("esb1").unwrap()));
    let expectations = Expectations::new(pool.clone(), Duration::from_secs(1));
    for (_, balancer) in &backends.balancers {
        // Nobody listens: each call ends with an error, and is a call.
        let _ = (balancer.identify().await, balancer.member(&member).await, balancer.look(&member).await);
        let _ = (balancer.members(&pool).await, balancer.quiescence(&member).await);
        let _ = balancer.config_findings(&expectations).await;
        let _ = balancer.set_admin(EPOCH, SetAdmin::new(member.clone(), Admin::Drain)).await;
        let _ = balancer.set_weight(EPOCH, SetWeight::new(member.clone(), Weight::ONE)).await;
        let _ = balancer.close_sessions(EPOCH, CloseSessions::new(member.clone(), CutConsent::by("a test"))).await;
    }
    let of_balancers = [
        "identify",
        "member",
        "look",
        "members",
        "quiescence",
        "config_findings",
        "set_admin",
        "set_weight",
        "close_sessions",
    ];
    recorder.has("haproxy", &of_balancers, Some(&format!("{}/nobody.sock", dir.path().display())), None);
    assert_eq!(recorder.calls("haproxy")["set_admin"][telemetry::TARGET], "esb/esb1");
    // A host of this machine and a balancer share a name: they are told apart below.
    recorder.has("local", &of_balancers, Some(&format!("{}/none.sock", dir.path().display())), None);

    let command =
        || RunCommand::new(vec!["true".into(), SECRET.into()], Duration::from_secs(5)).with_env("KEY", SECRET);
    for (_, host) in &backends.hosts[..2] {
        let life = Incarnation::new("nobody");
        let _ = (host.identify().await, host.process().await, host.installed().await, host.stop_budget().await);
        let _ = host.missing(&["true".into()]).await;
        let _ = (host.start(EPOCH, ServerDomain::Production).await, host.stop(EPOCH).await);
        let _ = (host.kill(EPOCH, life).await, host.run(EPOCH, command()).await);
        if let Some(files) = host.files() {
            let _ = (files.stat("/x").await, files.read("/x", 10).await, files.tree("/x").await);
            let _ = files.remove(EPOCH, "/x", Expect::Anything).await;
        }
        if let Some(work) = host.work() {
            let id = WorkId::new("w").unwrap();
            let _ = (work.state(&id).await, work.tail(&id, 10).await, work.cancel(EPOCH, &id).await);
            let _ = work.launch(EPOCH, id, command()).await;
        }
    }
    let of_hosts = ["identify", "process", "installed", "stop_budget", "missing", "start", "stop", "kill", "run"];
    let of_machines = ["stat", "read", "tree", "remove", "state", "tail", "cancel", "launch"];
    let local = recorder.calls("local");
    for op in &of_hosts[1..] {
        assert_eq!(local[*op][telemetry::TARGET], dir.path().display().to_string(), "{op}");
    }
    recorder.has("ssh", &[&of_hosts[..], &of_machines].concat(), None, Some("127.0.0.1"));
    // The command runs in a task of its own, and still in the span of its call.
    let events = recorder.0.events.lock().unwrap().clone();
    let started = events.iter().filter(|event| event.fields["message"] == "command started");
    let ops: Vec<_> = started.map(|event| event.span.as_ref().map(|fields| fields[telemetry::OP].clone())).collect();
    for op in ["installed", "start", "run"] {
        assert!(ops.contains(&Some(op.into())), "{op}: {ops:?}");
    }
    assert!(ops.iter().all(Option::is_some), "{ops:?}");

    for (_, probe) in &backends.probes {
        let _ = (probe.ready().await, probe.test().await, probe.missing().await);
    }
    for backend in ["http", "tcp", "command", "log"] {
        recorder.has(backend, &["ready", "test", "missing"], None, None);
    }

    let (artifacts, set) = (backends.artifacts.unwrap(), Generation::new(1, "0".repeat(64)));
    let _ = (artifacts.generations().await, artifacts.keeps(&set).await, artifacts.place(&pool, &set).await);
    let _ = artifacts.put(EPOCH, PutArtifact::new(set, "/nowhere")).await;
    let _ = artifacts.prune(EPOCH, PruneArtifacts::new(9)).await;
    for op in ["generations", "keeps", "place", "put", "prune"] {
        assert_eq!(recorder.calls("local")[op][telemetry::TARGET], "artifacts", "{op}");
    }

    let store = SqliteStore::open(dir.path().join("journal.db")).unwrap();
    let _ = (store.append(&"r1".into(), vec![]).await, store.read(&"r1".into()).await);
    let _ = (store.runs().await, store.open_runs("orders").await);
    let epoch = store.acquire("orders", "anna", Duration::from_secs(9)).await.unwrap();
    let _ = (store.renew("orders", epoch, Duration::from_secs(9)).await, store.release("orders", epoch).await);
    recorder.has("sqlite", &["append", "read", "runs", "open_runs", "acquire", "renew", "release"], None, None);
    assert_eq!(recorder.calls("sqlite")["append"][telemetry::TARGET], "r1");

    recorder.has_listed_events_only();
    assert!(!recorder.text().contains(SECRET), "{}", recorder.text());
}
