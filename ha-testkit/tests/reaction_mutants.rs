//! The machine's own reactions with one thing wrong, made by forging what its journal says after its controller died:
//! each is seen in what the world then suffers, and the unforged runs suffer nothing.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::action::Order;
use ha_core::journal::Journal;
use ha_core::record::{Cursor, End, Entry, Evidence, OutcomeKind, Record};
use ha_testkit::simulate::{Outcome, simulate_death};
use ha_testkit::world::{Controller, Death, World};

/// What is wrong with the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wrong {
    Nothing,
    IntentTakenForDone,
    ProbeSkipped,
    RestartsFromStepZero,
    OutcomeRecordedBeforeTheAct,
}

/// Returns the order that was begun and whose outcome nobody wrote down.
fn in_doubt(entries: &[Entry]) -> Option<Order> {
    match entries.last().map(|entry| &entry.record) {
        Some(Record::Intent { order, .. }) => Some(*order),
        _ => None,
    }
}

async fn forge(world: &World, wrong: Wrong) {
    let (store, run) = (world.store(), "run".into());
    let entries = store.read(&run).await.unwrap();
    let Some(last) = entries.last() else { return };
    let evidence = Evidence::failed("forged");
    let record = match (wrong, in_doubt(&entries)) {
        (Wrong::IntentTakenForDone | Wrong::OutcomeRecordedBeforeTheAct, Some(order)) => {
            Record::Outcome { order, result: OutcomeKind::Done, evidence }
        }
        (Wrong::ProbeSkipped, Some(order)) => Record::Outcome { order, result: OutcomeKind::NotDone, evidence },
        (Wrong::RestartsFromStepZero, _) => Record::TakenOver { owner: "forged".into(), at: Cursor::START },
        _ => return,
    };
    store.append(&run, vec![Entry::new(last.sequence + 1, last.epoch, 0, record)]).await.unwrap();
}

/// Says what is wrong with a run that only lost its controller: it must end all new, truthfully, and lose nothing.
fn suffered(world: &World, outcome: &Outcome) -> Option<String> {
    let Outcome::Ran { end, open, broken, .. } = outcome else { return Some(format!("{outcome:?}")) };
    if let Some(broken) = broken.first() {
        return Some(broken.what.clone());
    }
    if *end != End::AllNew || !open.is_empty() {
        return Some(format!("the run ended {end}, open: {open:?}"));
    }
    for node in ["esb1", "esb2"] {
        if world.installed(node).as_deref() != Some("2.0") {
            return Some(format!("all new, and {node} has {:?}", world.installed(node)));
        }
        if world.applied(node) > 1 {
            return Some(format!("the patch was run {} times on {node}", world.applied(node)));
        }
    }
    None
}

fn run(wrong: Wrong, death: Death) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::active_passive();
        let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
        let controller = Controller::dying(death);
        let outcome = simulate_death(&world, planned, &[], &controller, &async |world| forge(world, wrong).await).await;
        suffered(&world, &outcome)
    })
}

fn deaths(wrong: Wrong) -> Vec<Death> {
    let every = 1..39;
    match wrong {
        Wrong::OutcomeRecordedBeforeTheAct => every.map(Death::After).collect(),
        _ => every.flat_map(|sequence| [Death::Before(sequence), Death::After(sequence)]).collect(),
    }
}

#[test]
fn the_machine_as_it_is_suffers_nothing_whenever_its_controller_dies() {
    for death in deaths(Wrong::Nothing) {
        assert_eq!(run(Wrong::Nothing, death), None, "{death:?}");
    }
}

#[test]
fn every_wrong_reaction_is_seen() {
    let mut survivors = Vec::new();
    for wrong in [
        Wrong::IntentTakenForDone,
        Wrong::ProbeSkipped,
        Wrong::RestartsFromStepZero,
        Wrong::OutcomeRecordedBeforeTheAct,
    ] {
        let runs = deaths(wrong);
        let seen: Vec<String> =
            runs.iter().filter_map(|death| run(wrong, *death).map(|what| format!("{death:?}: {what}"))).collect();
        ha_testkit::figures!("{wrong:?}: {} runs, seen in {}, first: {:?}", runs.len(), seen.len(), seen.first());
        if seen.is_empty() {
            survivors.push(wrong);
        }
    }
    assert!(survivors.is_empty(), "{survivors:?}");
}
