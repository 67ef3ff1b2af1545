//! What is told of a run afterwards: by whoever ran it, and by whoever has only its journal.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use ha_core::journal::Journal;
use ha_core::machine::FoldError;
use ha_core::procedure::Procedure;
use ha_core::record::{Ask, End, Entry, Operator, OutcomeKind, Record, RunId, Why};
use ha_core::report::{ChainError, Event, Resource, RunReport, StepTiming};
use ha_core::state::{SchemaChange, SchemaVerdict};
use ha_testkit::world::{Controller, Death, Fault, Moment, Operation, Shape, World};
use serde_json::{from_value, json, to_value};

/// A whole patch: its cluster, its entries and its report.
async fn patched(world: World) -> (World, Vec<Entry>, RunReport) {
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let report = engine.run("patch".into(), planned).await.unwrap().wait().await.unwrap();
    let entries = world.store().read(&"patch".into()).await.unwrap();
    (world, entries, report)
}

fn from(world: &World, entries: &[Entry]) -> RunReport {
    RunReport::from_entries(world.topology(), &"patch".into(), entries).unwrap()
}

/// Holds a report that was made of the journal against that of the run, but for what the guard saw.
fn assert_same(mut again: RunReport, told: &RunReport) {
    assert!(again.pools.is_empty() && again.lowest_margin.is_none());
    (again.pools, again.lowest_margin) = (told.pools.clone(), told.lowest_margin);
    for (of_journal, of_run) in again.steps.iter_mut().zip(&told.steps) {
        // An outcome is recorded up to 250 ms after the end of its step.
        let later = of_journal.took_ms.checked_sub(of_run.took_ms);
        assert!(later.is_some_and(|later| later <= 250), "{of_journal:?} {of_run:?}");
        of_journal.took_ms = of_run.took_ms;
    }
    assert_eq!(again, *told);
}

/// Begins a run whose controller dies, and waits until another one may take it over.
async fn dies(world: &World, request: &dyn Procedure, death: Death) -> Vec<Entry> {
    let engine = world.engine_of(&Controller::dying(death));
    let planned = engine.plan(request).await.unwrap();
    assert!(engine.run("patch".into(), planned).await.unwrap().wait().await.is_err());
    tokio::time::sleep(Duration::from_secs(31)).await;
    world.store().read(&"patch".into()).await.unwrap()
}

/// Goes on with a run to its end, and returns its entries, too.
async fn resumed(world: &World) -> (Vec<Entry>, RunReport) {
    let report = world.engine().resume("patch".into()).await.unwrap().wait().await.unwrap();
    (world.store().read(&"patch".into()).await.unwrap(), report)
}

/// The same entries, had this one and all behind it been written so much later: the clock on the wall, which is for people alone, does
/// not follow virtual time from one controller to the next.
fn later(entries: &[Entry], from: impl Fn(&Record) -> bool, ms: u64) -> Vec<Entry> {
    let from = entries.iter().position(|entry| from(&entry.record)).unwrap();
    let mut entries = entries.to_vec();
    for entry in &mut entries[from..] {
        entry.unix_ms += ms;
    }
    entries
}

fn takes_over(record: &Record) -> bool {
    matches!(record, Record::TakenOver { .. })
}

/// A cluster whose next release cannot share its database with the one in use.
fn with_window() -> World {
    let world = Shape::active_passive().with_clone().world().unwrap();
    let why = "V5__drop.sql line 3: HA005 drops a column";
    world.set_schema_change(SchemaChange::new(SchemaVerdict::NeedsWindow, "scripts").with_reason(why));
    world
}

/// From the freeze of the source to the opening of its clone, as the steps have it.
fn frozen_ms(report: &RunReport) -> u64 {
    let step = |action: &str| report.steps.iter().find(|step| step.action == action).unwrap();
    step("open clone").start_ms - step("freeze").start_ms
}

fn used_ms(report: &RunReport) -> u64 {
    let [window] = &report.windows[..] else { panic!("{report}") };
    window.used_ms
}

#[tokio::test(start_paused = true)]
async fn a_report_made_of_the_journal_says_what_that_of_the_run_said_but_for_what_the_guard_saw() {
    let (world, entries, told) = patched(Shape::active_passive().with_work().world().unwrap()).await;
    assert!(told.pools.iter().all(|pool| !pool.capacity.is_empty()) && told.lowest_margin.is_some(), "{told:?}");
    assert_same(from(&world, &entries), &told);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_was_looked_for_began_when_its_intent_was_recorded() {
    let world = World::active_passive();
    world.plan_fault(Operation::Run, "esb2", Fault::LostAfter);
    let (world, entries, told) = patched(world).await;
    let steps = told.steps.iter().filter(|step| step.action == "apply" && step.target == "esb2");
    let [unknown, looked] = steps.collect::<Vec<_>>()[..] else { panic!("{told}") };
    assert_eq!((unknown.outcome, looked.outcome), (OutcomeKind::Unknown, OutcomeKind::Done), "{told}");
    assert_eq!(looked.start_ms, unknown.start_ms, "{told}");
    assert!(looked.took_ms >= unknown.took_ms && looked.start_ms + looked.took_ms <= told.took_ms, "{told}");
    assert_same(from(&world, &entries), &told);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_another_controller_had_begun_took_from_its_intent_on() {
    let world = World::active_passive();
    let death = Death::In { moment: Moment::BeforeOutcome, action: "stop", target: "esb2" };
    dies(&world, &world.patch_to("2.0"), death).await;
    let (entries, told) = resumed(&world).await;
    let stop = |step: &&StepTiming| step.action == "stop" && step.target == "esb2";
    let stopped = told.steps.iter().find(stop).unwrap();
    assert!(stopped.start_ms + stopped.took_ms < told.took_ms, "{stopped:?}");
    assert_same(from(&world, &entries), &told);
    let again = from(&world, &entries);
    let later = from(&world, &later(&entries, takes_over, 31_000));
    let [again, later] = [again, later].map(|told| told.steps.iter().find(stop).unwrap().clone());
    assert_eq!((later.start_ms, later.took_ms), (again.start_ms, again.took_ms + 31_000));
}

#[tokio::test(start_paused = true)]
async fn what_serves_after_another_controller_is_told_once_it_was_seen() {
    let world = Shape::active_active(4, 500).world().unwrap();
    let death = Death::In { moment: Moment::AfterOutcome, action: "take out", target: "esb1" };
    dies(&world, &world.patch_to("2.0"), death).await;
    world.crash("esb3");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (_, told) = resumed(&world).await;
    assert_eq!(told.pools[0].capacity[0].serving, Some(1_000), "{:?}", told.pools);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_open_counts_up_to_the_last_record_and_goes_on_with_the_next_controller() {
    let world = with_window();
    let request = world.upgrade_to("2.0").with_window(Duration::from_secs(600));
    let death = Death::In { moment: Moment::AfterOutcome, action: "copy", target: "database" };
    let entries = dies(&world, &request, death).await;
    let begun = from(&world, &entries);
    let freeze = begun.steps.iter().find(|step| step.action == "freeze").unwrap();
    assert_eq!(used_ms(&begun), begun.took_ms - freeze.start_ms, "{begun}");
    assert!(used_ms(&begun) > 0, "{begun}");
    let (entries, told) = resumed(&world).await;
    assert_eq!(told.end, End::AllNew, "{told}");
    assert!(used_ms(&told) >= frozen_ms(&told), "{told}");
    assert_eq!(from(&world, &entries).windows, told.windows);
    assert_eq!(used_ms(&from(&world, &later(&entries, takes_over, 31_000))), used_ms(&told) + 31_000);
}

#[tokio::test(start_paused = true)]
async fn a_window_does_not_end_where_the_run_ends_for_a_person() {
    let world = with_window();
    let engine = world.engine();
    let planned = engine.plan(&world.upgrade_to("2.0").with_window(Duration::from_secs(600))).await.unwrap();
    let mut handle = engine.run("patch".into(), planned).await.unwrap();
    let anna = || Operator::new("anna", "ticket 4711");
    while let Some(event) = handle.next_event().await {
        if matches!(&event, Event::StepStarted { action, .. } if action == "copy") {
            handle.ask(anna(), Ask::Abort).await.unwrap();
            break;
        }
    }
    let held = handle.wait().await.unwrap();
    assert_eq!(held.end, End::NeedsOperator(Why::Stopped), "{held}");
    let used = used_ms(&held);
    assert!(used > 0, "{held}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let told = engine.retry("patch".into(), anna()).await.unwrap().wait().await.unwrap();
    assert_eq!(told.end, End::AllNew, "{told}");
    assert!(used_ms(&told) >= frozen_ms(&told) && used_ms(&told) >= used, "{told}");
    let entries = world.store().read(&"patch".into()).await.unwrap();
    let retried =
        |record: &Record| matches!(record, Record::Requested { request, .. } if request.what.name() == "retry");
    assert_eq!(used_ms(&from(&world, &later(&entries, retried, 60_000))), used_ms(&told) + 60_000);
}

#[tokio::test(start_paused = true)]
async fn the_steps_of_a_report_have_their_place_in_time() {
    let (_, _, report) = patched(World::active_passive()).await;
    let ends: Vec<u64> = report.steps.iter().map(|step| step.start_ms + step.took_ms).collect();
    assert!(ends.iter().all(|end| *end <= report.took_ms), "{ends:?} of {}", report.took_ms);
    assert!(report.steps.windows(2).all(|pair| pair[0].start_ms <= pair[1].start_ms), "{:?}", report.steps);
    assert!(report.steps.last().unwrap().start_ms > 1_000, "virtual time goes on: {ends:?}");
    let drained = report.steps.iter().find(|step| step.action == "take out").unwrap();
    assert_eq!((drained.resource, drained.compensating), (Resource::Traffic, false));
}

#[tokio::test(start_paused = true)]
async fn capacity_over_time_begins_and_ends_at_what_serves_at_rest_and_never_falls_below_what_is_required() {
    let (_, _, report) = patched(World::active_passive()).await;
    let [pool] = &report.pools[..] else { panic!("{:?}", report.pools) };
    let serving: Vec<u64> = pool.capacity.iter().map(|look| look.serving.unwrap()).collect();
    let required = pool.capacity[0].required;
    assert_eq!((serving.first(), pool.capacity[0].at_ms), (serving.last(), 0), "{:?}", pool.capacity);
    let lowest = i64::try_from(*serving.iter().min().unwrap()).unwrap() - i64::try_from(required).unwrap();
    assert_eq!(lowest, pool.lowest);
    assert!(lowest >= 0, "{:?}", pool.capacity);
    assert!(pool.capacity.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms && pair[0] != pair[1]));
}

#[tokio::test(start_paused = true)]
async fn every_loan_of_a_run_that_ended_well_was_repaid_and_the_spare_ran_from_its_start_to_its_stop() {
    let (_, _, report) = patched(World::active_passive()).await;
    assert!(report.loans.iter().any(|loan| loan.what.contains("spare")), "{:?}", report.loans);
    for loan in &report.loans {
        let repaid = loan.repaid_ms.unwrap_or_else(|| panic!("{loan:?} was not repaid"));
        assert!(loan.opened_ms < repaid && repaid <= report.took_ms, "{loan:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_of_a_run_whose_controller_died_in_mid_step_says_that_it_has_not_ended_and_what_is_unknown() {
    let (world, run) = (World::active_passive(), RunId::new("patch"));
    let death = Death::In { moment: Moment::BeforeOutcome, action: "stop", target: "esb2" };
    let engine = world.engine_of(&Controller::dying(death));
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    assert!(engine.run("patch".into(), planned).await.unwrap().wait().await.is_err());
    let entries = world.store().read(&run).await.unwrap();
    let report = from(&world, &entries);
    assert_eq!((report.ended, report.end), (false, End::NeedsOperator(Why::OutcomeUnknown)));
    let last = report.steps.last().unwrap();
    assert_eq!((last.action.as_str(), last.target.as_str(), last.outcome), ("stop", "esb2", OutcomeKind::Unknown));
    assert!(!report.open.is_empty() && report.end_message.contains("resume"), "{report}");

    // Another controller brings it to its end: its report has the steps of both, in one time.
    tokio::time::sleep(Duration::from_secs(31)).await;
    let whole = world.engine().resume("patch".into()).await.unwrap().wait().await.unwrap();
    assert_eq!((whole.ended, whole.end), (true, End::AllNew), "{whole}");
    assert!(whole.records.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms), "{:?}", whole.records);
    assert!(whole.records.iter().any(|record| record.kind == "taken-over" && record.is_turn()));
    assert_eq!(whole.verify(&world.store().read(&run).await.unwrap()), Ok(()));
    assert_eq!(report.verify(&world.store().read(&run).await.unwrap()), Ok(()), "an earlier report holds, too");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_was_changed_is_told_by_its_first_entry_that_differs() {
    let (_, entries, report) = patched(World::active_passive()).await;
    assert_eq!(report.verify(&entries), Ok(()));
    assert_eq!(report.records.len(), entries.len());
    for changed in [0, 3, entries.len() - 1] {
        let mut other = entries.clone();
        other[changed].unix_ms += 1;
        assert_eq!(report.verify(&other), Err(ChainError::Differs { sequence: changed as u64 }));
        other.truncate(changed);
        assert_eq!(report.verify(&other), Err(ChainError::Missing { sequence: changed as u64 }));
    }
    let mut other = report.clone();
    other.run = RunId::new("another");
    assert_eq!(other.verify(&entries), Err(ChainError::Differs { sequence: 0 }));
    other.records.clear();
    assert_eq!(other.verify(&entries), Err(ChainError::NoRecords), "that all of nothing is so says nothing");
}

#[tokio::test(start_paused = true)]
async fn entries_that_were_written_as_json_have_the_hashes_of_before() {
    let (_, entries, report) = patched(Shape::active_passive().with_work().world().unwrap()).await;
    let read: Vec<Entry> = serde_json::from_str(&serde_json::to_string(&entries).unwrap()).unwrap();
    assert_eq!(report.verify(&read), Ok(()));
    assert_eq!(report.library, env!("CARGO_PKG_VERSION"));
}

#[tokio::test(start_paused = true)]
async fn a_report_that_was_written_as_json_is_read_back() {
    let (_, entries, report) = patched(Shape::active_passive().with_work().world().unwrap()).await;
    let read: RunReport = from_value(to_value(&report).unwrap()).unwrap();
    assert_eq!(read, report);
    assert_eq!(read.verify(&entries), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn entries_that_make_no_run_make_no_report() {
    let (world, entries, _) = patched(World::active_passive()).await;
    let report = |entries: &[Entry]| RunReport::from_entries(world.topology(), &"patch".into(), entries).map(|_| ());
    assert_eq!(report(&[]), Err(FoldError::NoSuchRun));
    assert_eq!(report(&entries[1..]), Err(FoldError::NotOpened));
    let other = Shape::active_active(3, 500).topology().unwrap();
    let refused = RunReport::from_entries(&other, &"patch".into(), &entries).map(|_| ());
    assert_eq!(refused, Err(FoldError::OtherTopology));
}

#[tokio::test(start_paused = true)]
async fn an_entry_or_a_plan_that_speaks_of_a_site_that_the_cluster_does_not_have_is_refused() {
    let (world, entries, _) = patched(World::active_passive()).await;
    let refused = |entries: &[Entry]| RunReport::from_entries(world.topology(), &"patch".into(), entries).map(|_| ());
    let order = from_value(json!({ "site": { "fence": { "site": 0 } } })).unwrap();
    for place in 1..entries.len() {
        let mut damaged = entries.clone();
        if let Record::Intent { order: known, .. } | Record::Outcome { order: known, .. } = &mut damaged[place].record {
            *known = order;
            assert_eq!(refused(&damaged), Err(FoldError::DoesNotFit { sequence: place as u64 }));
        }
    }
    let mut damaged = to_value(&entries).unwrap();
    let action = "/0/record/opened/plan/stages/0/steps/0/action";
    *damaged.pointer_mut(action).unwrap() = json!({ "site": { "fence": { "site": 0 } } });
    let damaged: Vec<Entry> = from_value(damaged).unwrap();
    assert_eq!(refused(&damaged), Err(FoldError::DoesNotFit { sequence: 0 }));
}
