//! What runs tell as JSON: durations are numbers of milliseconds.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use ha_core::record::{End, Evidence, OutcomeKind, Why};
use ha_core::report::{Event, RunReport};
use ha_core::state::{Generation, Schema, Sync, Work};
use ha_testkit::world::{Shape, World};
use serde_json::{Value, json, to_value};

/// Everything that one run leaves as JSON: its topology, plan, events and report.
async fn run_as_json(world: &World) -> (Value, Value, Vec<Value>, RunReport) {
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let plan = to_value(&planned.plan).unwrap();
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
        Evidence::OutOfTraffic { cut_requests: 1 },
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
        Event::Opened { run: text(), epoch: 1, resumed: false },
        Event::StepStarted { target: text(), action: text(), compensating: true },
        Event::Turned { message: text() },
        Event::Observed { margin: -5 },
        Event::DomainLost { domain: text() },
        Event::Interrupted { reason: text(), open: vec![text()], unknown: Vec::new() },
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
