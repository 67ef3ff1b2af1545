//! Approvals and what comes in between: a loss, a declared window, what cannot be read, and other requests.

use std::time::Duration;

use ha_core::backend::Consumers;
use ha_core::engine::{Answer, RunHandle};
use ha_core::plan::Degraded;
use ha_core::procedure::{FailBackRequest, SiteLossRequest};
use ha_core::record::{Ask, End, Entry, Mode, OutcomeKind, Record, RunId, Why};
use ha_core::report::Event;
use ha_core::state::{SchemaChange, SchemaVerdict};
use ha_core::topology::{ApprovalPoint, SiteRole};
use ha_testkit::world::{Fault, Operation, Shape, World};
use tokio::time::{Instant, sleep};

use super::approvals::{ask_of, world_asking};
use super::{anna, asked, begun, begun_since, entries, run};

const HOUR: Duration = Duration::from_secs(3_600);

fn times_asked(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| matches!(entry.record, Record::ApprovalAsked { .. })).count()
}

/// Loses a node in the middle of a patch of a cluster that asks for an approval then.
async fn lost_in_a_patch() -> (World, RunHandle) {
    let shape = Shape::active_active(3, 1_000).with_spares(&[1_000]);
    let world = shape.with_approvals([ApprovalPoint::AfterLoss]).world().unwrap();
    let handle = begun(&world, &world.engine()).await;
    sleep(Duration::from_secs(5)).await;
    world.lose("esb3");
    (world, handle)
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_a_person_is_asked_before_the_change_goes_on_and_traffic_is_secured_first() {
    let (world, handle) = lost_in_a_patch().await;
    let ask = ask_of(&world).await;
    assert_eq!((ask.point, ask.stage, ask.step), (ApprovalPoint::AfterLoss, 0, 0));
    let waiting = entries(&world).await;
    let planned = waiting.iter().position(|entry| matches!(entry.record, Record::Replanned { .. })).unwrap();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(begun_since(&entries(&world).await, planned), [""; 0]);
    world.engine().approve(&run(), anna(), HOUR).await.unwrap();
    let report = handle.wait().await.unwrap();
    assert!(matches!(report.end, End::AllNew | End::AllOld) && report.open.is_empty(), "{report}");
    assert_eq!(times_asked(&entries(&world).await), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_that_nobody_approves_the_way_back_is_asked_for_by_nobody() {
    let (world, handle) = lost_in_a_patch().await;
    let report = handle.wait().await.unwrap();
    let all = entries(&world).await;
    assert_eq!(times_asked(&all), 1, "{report}");
    assert!(matches!(report.end, End::AllOld | End::NeedsOperator(Why::NotApproved)), "{report}");
}

/// Replaces north by south, and begins to lead consumers back to north; each run asks at these points.
async fn leading_back(points: &[ApprovalPoint]) -> (World, RunHandle) {
    let shape = Shape::active_active(3, 750).with_sites(SiteRole::Hot);
    let world = shape.with_approvals(points.iter().copied()).world().unwrap();
    world.lose_site("north");
    sleep(Duration::from_secs(1)).await;
    let (engine, loss) = (world.engine(), RunId::from("loss"));
    let planned = engine.plan(&SiteLossRequest::of("north").with_window_accepted_by("tester")).await.unwrap();
    let asks = !planned.plan().approvals().is_empty();
    let handle = engine.run(loss.clone(), planned).await.unwrap();
    while asks && engine.status(&loss).await.unwrap().approval.is_none() {
        sleep(Duration::from_millis(100)).await;
    }
    if asks {
        engine.approve(&loss, anna(), HOUR).await.unwrap();
    }
    let report = handle.wait().await.unwrap();
    assert_eq!(report.end, End::AllNew, "{report}");
    world.restore_site("north");
    sleep(Duration::from_secs(1)).await;
    let planned = engine.plan(&FailBackRequest::to("north").with_discarded_by("tester")).await.unwrap();
    (world.clone(), engine.run(run(), planned).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_loss_gives_nobody_leave_to_lead_consumers_back_that_was_not_given_before() {
    let (world, handle) = leading_back(&[ApprovalPoint::SiteChange]).await;
    assert_eq!(ask_of(&world).await.point, ApprovalPoint::SiteChange);
    world.lose("south3");
    sleep(Duration::from_secs(20)).await;
    let all = entries(&world).await;
    assert!(all.iter().any(|entry| matches!(entry.record, Record::Replanned { .. })), "{all:#?}");
    let again = ask_of(&world).await;
    assert_eq!((again.point, again.plan == handle_plan(&all)), (ApprovalPoint::SiteChange, true));
    assert_eq!(world.led().0, Consumers::To("south".into()), "nobody has approved it");
    world.engine().approve(&run(), anna(), HOUR).await.unwrap();
    let report = handle.wait().await.unwrap();
    assert_eq!((report.end, world.led().0), (End::AllNew, Consumers::To("north".into())), "{report}");
}

/// Returns the digest of the plan that a run has now.
fn handle_plan(entries: &[Entry]) -> ha_core::plan::Digest {
    let plan = entries.iter().rev().find_map(|entry| match &entry.record {
        Record::Replanned { plan } => Some(plan.digest()),
        _ => None,
    });
    plan.unwrap()
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_longer_than_a_declared_window_lasts() {
    let (world, handle) = leading_back(&[ApprovalPoint::PointOfNoReturn]).await;
    ask_of(&world).await;
    assert_eq!(world.led().0, Consumers::Held, "the window is open");
    let report = handle.wait().await.unwrap();
    assert_eq!((report.end, world.led().0), (End::AllOld, Consumers::To("south".into())), "{report}");
    let all = entries(&world).await;
    let said = |entry: &Entry| matches!(&entry.record, Record::Turned { message, .. } if message.contains("window is used up"));
    assert!(all.iter().any(said), "{report}");
    let window = report.windows.iter().find(|window| window.what == Degraded::ConsumersWait).unwrap();
    assert!(window.used_ms < window.at_most_ms + 5_000, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_waits_for_its_approval_is_not_skipped() {
    let world = world_asking(&[ApprovalPoint::Start]);
    let handle = begun(&world, &world.engine()).await;
    ask_of(&world).await;
    assert_eq!(asked(&world, Ask::Abort).await, Answer::Taken);
    assert_eq!(handle.wait().await.unwrap().end, End::NeedsOperator(Why::Stopped));
    let error = world.engine().skip(run(), anna()).await.unwrap_err().to_string();
    assert!(error.contains("is to be approved"), "{error}");
    // Retried, it asks again.
    let handle = world.engine().retry(run(), anna()).await.unwrap();
    ask_of(&world).await;
    assert_eq!(asked(&world, Ask::RollBack).await, Answer::Taken);
    assert_eq!(handle.wait().await.unwrap().end, End::AllOld);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_last_counts_a_run_that_was_to_stop_goes_back() {
    let world = World::active_passive();
    let mut handle = begun(&world, &world.engine()).await;
    while let Some(event) = handle.next_event().await {
        if matches!(&event, Event::StepStarted { action, .. } if action == "apply") {
            handle.ask(anna(), Ask::Abort).await.unwrap();
            handle.ask(anna(), Ask::RollBack).await.unwrap();
            break;
        }
    }
    let report = handle.wait().await.unwrap();
    assert_eq!((report.end, report.open.len()), (End::AllOld, 0), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_waits_until_it_is_known_what_became_of_a_step() {
    let world = World::active_passive();
    let mut handle = begun(&world, &world.engine()).await;
    for node in ["esb1", "esb2", "spare1"] {
        world.plan_fault(Operation::Run, node, Fault::LostAfter);
    }
    let mut of = None;
    while let Some(event) = handle.next_event().await {
        if let Event::StepStarted { action, target, .. } = &event
            && action == "apply"
        {
            world.plan_fault(Operation::Installed, target, Fault::LostBefore);
            of = Some(target.clone());
        }
        if let Event::StepEnded { action, outcome: OutcomeKind::Unknown, .. } = &event
            && action == "apply"
        {
            handle.ask(anna(), Ask::RollBack).await.unwrap();
            break;
        }
    }
    let (report, node) = (handle.wait().await.unwrap(), of.unwrap());
    assert_eq!((report.end, world.installed(&node).as_deref()), (End::AllOld, Some("1.0")), "{report}");
    let all = entries(&world).await;
    let unknown =
        all.iter().position(|entry| matches!(&entry.record, Record::Outcome { result: OutcomeKind::Unknown, .. }));
    let known = |entry: &Entry| matches!(&entry.record, Record::Outcome { order, result, .. } if order.name() == "apply" && *result != OutcomeKind::Unknown);
    let after = &all[unknown.unwrap()..];
    let turned = after
        .iter()
        .position(|entry| matches!(&entry.record, Record::Turned { to, .. } if to.mode == Mode::Compensating));
    let known = after.iter().position(known);
    assert!(known.unwrap() < turned.unwrap(), "{known:?}, {turned:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_approved_is_not_begun_while_the_schema_that_it_is_bound_to_cannot_be_read() {
    let world = Shape::active_passive().with_database().with_approvals([ApprovalPoint::Start]).world().unwrap();
    world.set_schema_change(SchemaChange::new(SchemaVerdict::Splittable, "scripts"));
    let planned = world.engine().plan(&world.upgrade_to("2.0")).await.unwrap();
    let handle = world.engine().run(run(), planned).await.unwrap();
    ask_of(&world).await;
    (0..40).for_each(|_| world.plan_fault(Operation::Schema, "database", Fault::Unreachable));
    sleep(Duration::from_secs(1)).await;
    let approved_at = Instant::now();
    world.engine().approve(&run(), anna(), HOUR).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(begun_since(&entries(&world).await, 0), [""; 0]);
    let report = handle.wait().await.unwrap();
    assert!(report.end == End::AllNew && approved_at.elapsed() > Duration::from_secs(5), "{report}");
}

#[tokio::test(start_paused = true)]
async fn consumers_are_led_to_where_they_were_once_the_database_has_changed_over() {
    for how in ["asked", "aborted, then rolled back"] {
        let (world, handle) = leading_back(&[ApprovalPoint::PointOfNoReturn]).await;
        ask_of(&world).await;
        let report = if how == "asked" {
            assert_eq!(asked(&world, Ask::RollBack).await, Answer::Taken);
            handle.wait().await.unwrap()
        } else {
            assert_eq!(asked(&world, Ask::Abort).await, Answer::Taken);
            assert_eq!(handle.wait().await.unwrap().end, End::NeedsOperator(Why::Stopped));
            world.engine().roll_back(run(), anna()).await.unwrap().wait().await.unwrap()
        };
        assert_eq!((report.end, report.open.len()), (End::AllOld, 0), "{how}: {report}");
        assert_eq!(world.led().0, Consumers::To("south".into()), "{how}");
    }
}
