//! What runs tell as JSON: durations are numbers of milliseconds, and events and reports are what their schemas say.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod canonical;

use std::collections::BTreeSet;

use ha_core::plan::{CarriesOn, Draft, Plan};
use ha_core::record::{End, Evidence, OutcomeKind, Why};
use ha_core::report::{Event, RunReport};
use ha_core::state::{Copies, Generation, Route, Schema, Site, Sync, Work};
use ha_core::topology::{ApprovalPoint, OnNoApproval};
use ha_testkit::world::{Shape, World};
use serde_json::{Map, Value, json, to_value};

/// Everything that one run leaves as JSON: its topology, plan, events and report.
async fn run_as_json(world: &World) -> (Value, Value, Vec<Value>, RunReport) {
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let plan = to_value(planned.plan()).unwrap();
    let mut run = engine.run("patch-1".into(), planned).await.unwrap();
    let mut events = Vec::new();
    while let Some(event) = run.next_event().await {
        events.push(to_value(&event).unwrap());
    }
    (to_value(world.topology()).unwrap(), plan, events, run.wait().await.unwrap())
}

/// Each kind of evidence, with and without what may be left out.
fn every_evidence() -> Vec<Evidence> {
    let release = || "2.0".to_string();
    vec![
        Evidence::OutOfTraffic { cut_requests: 1, older_processes_unseen: true },
        Evidence::InTraffic { servers: 2 },
        Evidence::BalancersAgree { admitted: true },
        Evidence::StandingBy { release: release() },
        Evidence::Stopped { forced: false },
        Evidence::Ready { release: release(), process: None },
        Evidence::Ready { release: release(), process: Some("42".into()) },
        Evidence::Installed { release: release() },
        Evidence::GatePassed { release: release() },
        Evidence::Watched { soak_ms: 10_000, probes_passed: 50 },
        Evidence::Files { sync: Sync::Held, generation: Some(Generation::new(7, "d1")) },
        Evidence::Files { sync: Sync::None, generation: None },
        Evidence::Writer { epoch: 3 },
        Evidence::PulledWork { work: Work::Off },
        Evidence::Schema { schema: Schema::Expanded },
        Evidence::Route { route: Route::Exposed, instances: 2 },
        Evidence::Copies { copies: Copies::default(), tables: 3, rows: 1_000 },
        Evidence::Removed,
        Evidence::Site { state: Site::Promoted, epoch: 2, behind_ms: Some(40) },
        Evidence::Site { state: Site::Held, epoch: 2, behind_ms: None },
        Evidence::failed("no answer"),
    ]
}

/// Each kind of event, with each kind of evidence and of end.
fn every_event() -> Vec<Event> {
    let text = || "esb1".to_string();
    let ends = [
        End::AllNew,
        End::AllOld,
        End::NeedsOperator(Why::OutcomeUnknown),
        End::NeedsOperator(Why::DomainLost(World::active_passive().topology().domains().next().unwrap())),
    ];
    let closed = ends.map(|end| Event::Closed { end, message: end.to_string(), open: vec![text()] });
    let outcomes = [OutcomeKind::Done, OutcomeKind::NotDone, OutcomeKind::Unknown].into_iter().cycle();
    let ended = every_evidence().into_iter().zip(outcomes).map(|(evidence, outcome)| Event::StepEnded {
        target: text(),
        action: text(),
        outcome,
        message: evidence.to_string(),
        evidence,
        took_ms: 12,
    });
    let others = [
        Event::Opened { run: text(), epoch: 1, resumed: false, reached_otherwise: vec![text()] },
        Event::StepStarted { target: text(), action: text(), compensating: true },
        Event::Turned { message: text() },
        Event::Observed { margin: -5 },
        Event::BalancerGone { balancer: "lb2".into() },
        Event::BalancerBack { balancer: "lb2".into() },
        Event::DomainLost { domain: text() },
        Event::Replanned { plan: text(), back: false, text: text() },
        Event::Interrupted { reason: text(), open: vec![text()], unknown: Vec::new() },
        Event::Requested {
            by: "anna".into(),
            reason: "ticket 4711".into(),
            what: "approve".into(),
            step: Some("3.1".into()),
            refused: None,
        },
        Event::Requested {
            by: "anna".into(),
            reason: String::new(),
            what: "pause".into(),
            step: None,
            refused: Some("the end of the pause is past".into()),
        },
        Event::ApprovalAsked {
            point: ApprovalPoint::PointOfNoReturn,
            step: "3.1".into(),
            plan: "0a".into(),
            fingerprint: "0b".into(),
            differs: vec!["now: esb1: the server is sick".into()],
            until_unix_ms: 1,
            then: OnNoApproval::RollBack,
        },
        Event::Continued { message: "a window is used up".into() },
        Event::Missed { events: 3 },
    ];
    ended.chain(others).chain(closed).collect()
}

/// Lists the keys of all objects in a value.
fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            into.insert(key.clone());
            keys(value, into);
        }),
        Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn durations_are_numbers_of_milliseconds_in_all_json() {
    let world = Shape::active_passive().with_work().world().unwrap();
    let (topology, plan, events, report) = run_as_json(&world).await;
    let proof = to_value(report.proof.as_ref().unwrap()).unwrap();
    let mut found = BTreeSet::new();
    for value in [&topology, &plan, &proof, &to_value(&report).unwrap()].into_iter().chain(&events) {
        keys(value, &mut found);
    }
    every_event().iter().for_each(|event| keys(&to_value(event).unwrap(), &mut found));
    assert!(!found.contains("secs") && !found.contains("nanos"), "{found:?}");
    for key in ["at_most_ms", "deadline_ms", "drain_deadline_ms", "lost_after_ms", "took_ms"] {
        assert!(found.contains(key), "{key} is not among {found:?}");
    }
    let soak = world.topology().policy().soak.as_millis();
    assert_eq!(topology["policy"]["soak_ms"], json!(u64::try_from(soak).unwrap()));
}

/// A published schema, of the part of JSON Schema that it uses.
struct Published(Value);

impl Published {
    fn event() -> Self {
        Self(serde_json::from_str(include_str!("../../ha-core/schema/event.json")).unwrap())
    }

    fn report() -> Self {
        Self(serde_json::from_str(include_str!("../../ha-core/schema/report.json")).unwrap())
    }

    fn plan() -> Self {
        Self(serde_json::from_str(include_str!("../../ha-core/schema/plan.json")).unwrap())
    }

    /// Says what of a value does not conform; every key must be a property of the schema.
    fn check(&self, value: &Value) -> Result<(), String> {
        self.conforms(value, &self.0)
    }

    fn conforms(&self, value: &Value, schema: &Value) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{value}: {what} of {schema}"));
        for (keyword, rule) in schema.as_object().unwrap() {
            match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "format" | "default" => {}
                "$ref" => {
                    self.conforms(value, self.0.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap())?
                }
                "type" if !has_type(value, rule) => return wrong("not the type"),
                "const" if value != rule => return wrong("not the value"),
                "minimum" if value.as_i64() < rule.as_i64() => return wrong("below the minimum"),
                "maximum" if value.as_u64() > rule.as_u64() => return wrong("above the maximum"),
                "type" | "const" | "minimum" | "maximum" | "additionalProperties" => {}
                "required" => {
                    if let Some(key) = texts(rule).find(|key| value.get(key).is_none()) {
                        return wrong(&format!("without {key}"));
                    }
                }
                "properties" => {
                    for (key, value) in value.as_object().unwrap_or(&Map::new()) {
                        match rule.get(key) {
                            Some(schema) => self.conforms(value, schema)?,
                            None => return wrong(&format!("{key} is no property")),
                        }
                    }
                }
                "items" => value.as_array().into_iter().flatten().try_for_each(|item| self.conforms(item, rule))?,
                "oneOf" | "anyOf" => {
                    let failures = rule.as_array().unwrap().iter().map(|one| self.conforms(value, one));
                    let (fit, failed): (Vec<_>, Vec<_>) = failures.partition(Result::is_ok);
                    if fit.len() != 1 {
                        return wrong(&format!("{} alternatives fit, not one: {failed:?}", fit.len()));
                    }
                }
                unknown => panic!("this test does not know the keyword {unknown} of JSON Schema"),
            }
        }
        Ok(())
    }

    /// The values of `tag` that the alternatives of a list have.
    fn kinds(&self, list: &str, tag: &str) -> BTreeSet<String> {
        let alternatives = self.0.pointer(list).unwrap().as_array().unwrap().iter();
        alternatives.map(|one| one["properties"][tag]["const"].as_str().unwrap().into()).collect()
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn has_type(value: &Value, wanted: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        unknown => panic!("this test does not know the type {unknown} of JSON Schema"),
    };
    wanted.as_str().map_or_else(|| texts(wanted).any(is), is)
}

#[test]
fn each_kind_of_event_conforms_to_its_schema() {
    let schema = Published::event();
    let (mut kinds, mut evidence) = (BTreeSet::new(), BTreeSet::new());
    for event in every_event() {
        let json = to_value(&event).unwrap();
        schema.check(&json).unwrap();
        assert_eq!(json["event"], event.kind());
        kinds.insert(event.kind().to_string());
        evidence.extend(json["evidence"]["kind"].as_str().map(String::from));
    }
    assert_eq!(kinds, schema.kinds("/oneOf", "event"), "this test has not all kinds of events");
    assert_eq!(evidence, schema.kinds("/$defs/Evidence/oneOf", "kind"), "this test has not all kinds of evidence");
}

#[tokio::test(start_paused = true)]
async fn the_report_and_the_events_of_a_run_conform_to_their_schemas() {
    let world = Shape::active_passive().with_work().with_second_pool(1).world().unwrap();
    let (_, _, events, mut report) = run_as_json(&world).await;
    events.iter().try_for_each(|event| Published::event().check(event)).unwrap();
    assert!(report.steps.len() > 10 && report.pools.len() == 2, "{report}");
    assert!(report.proof.as_ref().is_some_and(|proof| !proof.windows.is_empty()), "{report}");
    Published::report().check(&to_value(&report).unwrap()).unwrap();
    (report.proof, report.lowest_margin) = (None, None);
    Published::report().check(&to_value(&report).unwrap()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_plan_of_each_procedure_conforms_to_its_schema_and_one_without_a_key_does_not() {
    let schema = Published::plan();
    let plans = canonical::plans().await;
    assert_eq!(plans.len(), 12);
    for canonical::Canonical { name, topology, plan } in plans {
        plan.check(&topology).unwrap();
        let json = to_value(&plan).unwrap();
        schema.check(&json).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        let required: BTreeSet<&str> = texts(&schema.0["required"]).collect();
        let written: BTreeSet<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(written, required, "{name}");
        for key in required {
            let mut without = json.clone();
            without.as_object_mut().unwrap().remove(key);
            assert!(schema.check(&without).is_err(), "{name} without {key}");
        }
        for place in ["/stages/0/steps/0/action", "/stages/0/steps/0/on_failure", "/start/nodes/0/process", "/phase"] {
            let mut other = json.clone();
            *other.pointer_mut(place).unwrap() = json!("dance");
            assert!(schema.check(&other).is_err(), "{name} with another {place}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_carries_a_run_on_conforms_to_its_schema() {
    let patch = canonical::plans().await.swap_remove(0).plan;
    let mut draft = Draft::from(patch);
    draft.carries_on = Some(Box::new(CarriesOn::new(draft.start.clone(), true)));
    Published::plan().check(&to_value(Plan::from(draft)).unwrap()).unwrap();
}

#[test]
fn what_does_not_conform_is_found() {
    let (schema, good) = (Published::event(), json!({"event": "observed", "margin": 5}));
    schema.check(&good).unwrap();
    for bad in [
        json!({"event": "observed", "margin": {"secs": 5}}),
        json!({"event": "observed"}),
        json!({"event": "observed", "margin": 5, "more": 1}),
        json!({"event": "seen", "margin": 5}),
    ] {
        assert!(schema.check(&bad).is_err(), "{bad}");
    }
}
