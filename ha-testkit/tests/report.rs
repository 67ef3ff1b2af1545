//! What is told of a run afterwards: by whoever ran it, and by whoever has only its journal.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use ha_core::journal::Journal;
use ha_core::machine::FoldError;
use ha_core::record::{End, Entry, OutcomeKind, RunId, Why};
use ha_core::report::{ChainError, Resource, RunReport};
use ha_testkit::world::{Controller, Death, Moment, Shape, World};
use serde_json::{from_value, to_value};

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

#[tokio::test(start_paused = true)]
async fn a_report_made_of_the_journal_says_what_that_of_the_run_said_but_for_what_the_guard_saw() {
    let (world, entries, told) = patched(Shape::active_passive().with_work().world().unwrap()).await;
    let mut again = from(&world, &entries);
    assert!(told.pools.iter().all(|pool| !pool.capacity.is_empty()) && told.lowest_margin.is_some(), "{told:?}");
    assert!(again.pools.is_empty() && again.lowest_margin.is_none());
    (again.pools, again.lowest_margin) = (told.pools.clone(), told.lowest_margin);
    for (of_journal, of_run) in again.steps.iter_mut().zip(&told.steps) {
        // An outcome is recorded up to 250 ms after the end of its step.
        let later = of_journal.took_ms - of_run.took_ms;
        assert!(later <= 250, "{of_journal:?} {of_run:?}");
        of_journal.took_ms = of_run.took_ms;
    }
    assert_eq!(again, told);
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
