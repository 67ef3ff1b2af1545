//! A run's spans and events: one `run`, a `step` inside it for each act and look, and every call inside of them, in whatever
//! task it is made.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, LoadBalancer, Member, MemberRef, MemberSnapshot, ObserveBalancer, SetAdmin, StepError,
};
use ha_core::engine::{Engine, MonitorEvent, MonitorPolicy};
use ha_core::journal::{Lease, LeaseError, LeaseHolder, MemoryStore, ObserveLease};
use ha_core::procedure::Planned;
use ha_core::record::End;
use ha_core::report::RunReport;
use ha_core::state::LeaseEpoch;
use ha_core::telemetry;
use ha_core::topology::Name;
use ha_testkit::world::{Controller, Death, FakeBalancer, World};
use serde_json::Value;
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;

type Fields = BTreeMap<&'static str, String>;

/// A span as it was opened: its name, its fields and the span that it is in.
#[derive(Clone)]
struct Opened {
    metadata: &'static Metadata<'static>,
    fields: Fields,
    parent: Option<u64>,
}

/// An event with the names of the spans that it is in, the outermost first.
struct Told {
    level: tracing::Level,
    fields: Fields,
    within: Vec<&'static str>,
}

#[derive(Clone, Default)]
struct Recorder(Arc<Recorded>);

#[derive(Default)]
struct Recorded {
    next: AtomicU64,
    spans: Mutex<BTreeMap<u64, Opened>>,
    events: Mutex<Vec<Told>>,
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

fn current() -> Option<u64> {
    ENTERED.with_borrow(|entered| entered.last().copied())
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.0.next.fetch_add(1, Ordering::SeqCst) + 1;
        let mut fields = Fields::new();
        span.record(&mut Reader(&mut fields));
        let parent = span.parent().map(Id::into_u64).or_else(|| span.is_contextual().then(current).flatten());
        self.0.spans.lock().unwrap().insert(id, Opened { metadata: span.metadata(), fields, parent });
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some(opened) = self.0.spans.lock().unwrap().get_mut(&span.into_u64()) {
            values.record(&mut Reader(&mut opened.fields));
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Reader(&mut fields));
        let within = self.within(current()).iter().map(|opened| opened.metadata.name()).collect();
        self.0.events.lock().unwrap().push(Told { level: *event.metadata().level(), fields, within });
    }

    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.retain(|id| *id != span.into_u64()));
    }

    fn current_span(&self) -> Current {
        let spans = self.0.spans.lock().unwrap();
        let known = current().and_then(|id| Some((id, spans.get(&id)?.metadata)));
        known.map_or_else(Current::none, |(id, metadata)| Current::new(Id::from_u64(id), metadata))
    }
}

impl Recorder {
    /// A span with those that it is in, the outermost first.
    fn within(&self, id: Option<u64>) -> Vec<Opened> {
        let spans = self.0.spans.lock().unwrap();
        let mut path: Vec<Opened> = Vec::new();
        let mut next = id;
        while let Some(opened) = next.and_then(|id| spans.get(&id)) {
            next = opened.parent;
            path.insert(0, opened.clone());
        }
        path
    }

    /// The spans of a name, each with those that it is in.
    fn spans(&self, name: &str) -> Vec<Vec<Opened>> {
        let ids: Vec<u64> = self.0.spans.lock().unwrap().keys().copied().collect();
        let paths = ids.into_iter().map(|id| self.within(Some(id)));
        paths.filter(|path| path.last().is_some_and(|last| last.metadata.name() == name)).collect()
    }
}

/// Says which call it gets, in the task that makes it.
fn reached(call: &'static str) {
    tracing::info!(call, "reached");
}

/// A balancer that says what it is asked.
#[derive(Debug)]
struct Loud(FakeBalancer);

ha_core::forward! {
    impl ObserveBalancer for Loud, |this| this.0 => capabilities, identify, config_findings, check_of, quiescence;

    async fn members(&self, pool: &Name) -> Result<Vec<(Name, Member)>, StepError> {
        reached("members");
        self.0.members(pool).await
    }

    async fn member(&self, member: &MemberRef) -> Result<Member, StepError> {
        reached("member");
        self.0.member(member).await
    }

    async fn look(&self, member: &MemberRef) -> Result<MemberSnapshot, StepError> {
        reached("look");
        self.0.look(member).await
    }
}

ha_core::forward! {
    impl LoadBalancer for Loud, |this| this.0 => set_weight, close_sessions;

    async fn set_admin(&self, epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError> {
        reached("set_admin");
        self.0.set_admin(epoch, request).await
    }
}

/// A lease that says what it is asked, and may fail to be given back.
#[derive(Debug)]
struct LoudLease {
    store: Arc<MemoryStore>,
    sticks: bool,
}

#[async_trait]
impl ObserveLease for LoudLease {
    async fn holder(&self, cluster: &str) -> Result<Option<LeaseHolder>, LeaseError> {
        self.store.holder(cluster).await
    }
}

#[async_trait]
impl Lease for LoudLease {
    async fn acquire(&self, cluster: &str, owner: &str, ttl: Duration) -> Result<LeaseEpoch, LeaseError> {
        reached("acquire");
        self.store.acquire(cluster, owner, ttl).await
    }

    async fn renew(&self, cluster: &str, epoch: LeaseEpoch, ttl: Duration) -> Result<(), LeaseError> {
        reached("renew");
        self.store.renew(cluster, epoch, ttl).await
    }

    async fn release(&self, cluster: &str, epoch: LeaseEpoch) -> Result<(), LeaseError> {
        reached("release");
        if self.sticks {
            return Err(LeaseError::Broken { what: "disk full".into() });
        }
        self.store.release(cluster, epoch).await
    }
}

/// The engine of a world whose balancers and lease are loud.
fn engine(world: &World, sticks: bool) -> Engine {
    let controller = Controller::new();
    let lease = LoudLease { store: world.store(), sticks };
    let mut builder = world.builder(&controller).with_store(world.store(), Arc::new(lease));
    for (_, balancer) in world.topology().balancers() {
        let name = balancer.name.to_string();
        let fake = FakeBalancer::new(world.clone(), controller.clone(), name.clone());
        builder = builder.with_balancer(name, Arc::new(Loud(fake)));
    }
    builder.build().unwrap()
}

/// Patches a world under a recorder; what planning told before is not in it.
async fn patched() -> (Recorder, Planned, RunReport) {
    let world = World::active_passive();
    let engine = engine(&world, false);
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let recorder = Recorder::default();
    let recording = tracing::subscriber::set_default(recorder.clone());
    let report = engine.run("patch-1".into(), planned.clone()).await.unwrap().wait().await.unwrap();
    drop(recording);
    assert_eq!(report.end, End::AllNew, "{report}");
    (recorder, planned, report)
}

#[tokio::test(start_paused = true)]
async fn a_run_is_one_span_and_each_of_its_steps_a_span_inside_it() {
    let (recorder, planned, report) = patched().await;
    let runs = recorder.spans(telemetry::RUN_SPAN);
    assert_eq!(runs.len(), 1);
    let plan = planned.plan().digest();
    let of_run = [(telemetry::PLAN, plan.short()), (telemetry::PROCEDURE, "patch"), (telemetry::RUN, "patch-1")];
    assert_eq!(runs[0][0].fields, Fields::from(of_run.map(|(name, value)| (name, value.into()))));

    let steps = recorder.spans(telemetry::STEP_SPAN);
    let mut acts = Vec::new();
    for path in &steps {
        let names: Vec<_> = path.iter().map(|opened| opened.metadata.name()).collect();
        assert_eq!(names, [telemetry::RUN_SPAN, telemetry::STEP_SPAN]);
        let fields = &path[1].fields;
        let keys: Vec<_> = fields.keys().copied().collect();
        assert_eq!(keys, [telemetry::ACTION, telemetry::OP, telemetry::TARGET]);
        if fields[telemetry::OP] == "act" {
            acts.push((fields[telemetry::TARGET].clone(), fields[telemetry::ACTION].clone()));
        }
    }
    let mut reported: Vec<_> = report.steps.into_iter().map(|step| (step.target, step.action)).collect();
    acts.sort();
    reported.sort();
    assert_eq!(acts, reported, "each step that was carried out is one span");
}

#[tokio::test(start_paused = true)]
async fn no_call_of_a_run_is_made_outside_of_its_spans_whatever_task_makes_it() {
    let (recorder, ..) = patched().await;
    let events = recorder.0.events.lock().unwrap();
    let mut within: BTreeMap<&str, BTreeSet<&[&str]>> = BTreeMap::new();
    for told in events.iter() {
        if let Some(call) = told.fields.get("call") {
            within.entry(call).or_default().insert(&told.within);
        }
    }
    let (run, step) = (&["run"][..], &["run", "step"][..]);
    for call in ["acquire", "renew", "release", "look"] {
        assert!(within[call].contains(run), "{call}: {within:?}");
    }
    assert_eq!(within["set_admin"], BTreeSet::from([step]));
    assert!(within.values().flatten().all(|path| [run, step].contains(path)), "{within:?}");
}

#[tokio::test(start_paused = true)]
async fn each_event_of_a_run_is_told_inside_it_under_stable_names() {
    let (recorder, _, report) = patched().await;
    let events = recorder.0.events.lock().unwrap();
    let told: Vec<&Told> = events.iter().filter(|told| told.fields["message"] == telemetry::RUN_EVENT).collect();
    let kinds: Vec<&str> = told.iter().map(|told| told.fields[telemetry::EVENT].as_str()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"opened"), Some(&"closed")), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "step-ended").count(), report.steps.len(), "{kinds:?}");
    for told in told {
        assert_eq!((told.level, &told.within[..]), (tracing::Level::DEBUG, &["run"][..]), "{:?}", told.fields);
        let detail: Value = serde_json::from_str(&told.fields[telemetry::DETAIL]).unwrap();
        assert_eq!(detail["event"], told.fields[telemetry::EVENT].as_str());
    }
}

#[tokio::test(start_paused = true)]
async fn each_event_of_the_engine_is_as_telemetry_lists_it() {
    let (recorder, ..) = patched().await;
    let events = recorder.0.events.lock().unwrap();
    let mut seen = BTreeSet::new();
    // The balancer of this test says of its own what it is asked.
    for told in events.iter().filter(|told| !told.fields.contains_key("call")) {
        let message = told.fields["message"].as_str();
        let spec = telemetry::EVENTS.iter().find(|spec| spec.message == message).unwrap_or_else(|| panic!("{message}"));
        let fields: BTreeSet<&str> = told.fields.keys().copied().filter(|name| *name != "message").collect();
        assert_eq!((told.level, fields), (spec.level, spec.fields.iter().copied().collect()), "{message}");
        seen.insert(message);
    }
    assert!(seen.contains(telemetry::RUN_EVENT), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_monitor_is_one_span_with_all_that_it_asks_and_tells_inside_it() {
    let world = World::active_passive();
    let engine = engine(&world, false);
    let recorder = Recorder::default();
    let recording = tracing::subscriber::set_default(recorder.clone());
    let mut monitor = engine.monitor(MonitorPolicy::default());
    world.crash("esb1");
    while !matches!(monitor.next_event().await, Some(MonitorEvent::NodeLost { .. })) {}
    drop(recording);
    let monitors = recorder.spans(telemetry::MONITOR_SPAN);
    assert_eq!(monitors.len(), 1);
    assert_eq!(monitors[0][0].fields, Fields::from([(telemetry::CLUSTER, "orders".into())]));
    let events = recorder.0.events.lock().unwrap();
    assert_eq!(events.iter().find(|told| told.within != ["monitor"]).map(|told| &told.fields), None);
    assert!(events.iter().any(|told| told.fields.get("call").is_some_and(|call| call == "members")));
    let told: Vec<&Told> = events.iter().filter(|told| told.fields["message"] == telemetry::MONITOR_EVENT).collect();
    let kinds: Vec<&str> = told.iter().map(|told| told.fields[telemetry::EVENT].as_str()).collect();
    assert_eq!(kinds, ["suspected", "node-lost"]);
    let detail: Value = serde_json::from_str(&told[1].fields[telemetry::DETAIL]).unwrap();
    assert_eq!((&detail["node"], &detail["loss"]), (&Value::from("esb1"), &Value::from("server")));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_taken_over_is_a_span_with_the_same_fields() {
    let world = World::active_passive();
    let dying = world.engine_of(&Controller::dying(Death::After(6)));
    let planned = dying.plan(&world.patch_to("2.0")).await.unwrap();
    let recorder = Recorder::default();
    let recording = tracing::subscriber::set_default(recorder.clone());
    let run = dying.run("patch-1".into(), planned).await.unwrap();
    let ended =
        timeout(Duration::from_secs(600), run.wait()).await.expect("whoever waits for a killed controller is told");
    assert!(ended.is_err(), "its controller has died: {ended:?}");
    tokio::time::sleep(world.topology().policy().lease_ttl).await;
    let report = engine(&world, false).resume("patch-1".into()).await.unwrap().wait().await.unwrap();
    drop(recording);
    assert!(matches!(report.end, End::AllNew | End::AllOld), "{report}");
    let runs = recorder.spans(telemetry::RUN_SPAN);
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0][0].fields, runs[1][0].fields);
    assert!(recorder.spans(telemetry::STEP_SPAN).iter().all(|path| path.len() == 2));
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_warns_of_has_stable_names_too() {
    let world = World::active_passive();
    let allowed = world.topology().policy().stop_deadline;
    world.limit_stops_of("esb1", allowed - Duration::from_secs(1));
    let recorder = Recorder::default();
    let recording = tracing::subscriber::set_default(recorder.clone());
    let engine = engine(&world, true);
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    engine.run("patch-1".into(), planned).await.unwrap().wait().await.unwrap();
    drop(recording);
    let events = recorder.0.events.lock().unwrap();
    let warned = |message: &str| {
        let warning = events.iter().find(|told| told.fields["message"] == message);
        let told = warning.unwrap_or_else(|| panic!("no event says: {message}"));
        (told.level, told.fields.keys().copied().filter(|key| *key != "message").collect::<Vec<_>>())
    };
    let wanted = (tracing::Level::WARN, vec!["budget_ms", "stop_deadline_ms", "target"]);
    assert_eq!(warned("its supervisor kills it before stop_deadline"), wanted);
    assert_eq!(warned("lease not released, it ends by itself"), (tracing::Level::WARN, vec!["error"]));
}
