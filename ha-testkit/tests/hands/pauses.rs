use std::time::Duration;

use ha_core::backend::Admin;
use ha_core::engine::Answer;
use ha_core::plan::{Degraded, DegradedWindow};
use ha_core::record::{Ask, End, Record, Why};
use ha_core::state::SchemaVerdict;
use ha_testkit::simulate::Procedure;
use ha_testkit::world::{Controller, Shape, World};
use tokio::time::{Instant, sleep};

use super::{anna, asked, begun, begun_since, entries, pause_of, run, taken_over, why};

#[tokio::test(start_paused = true)]
async fn a_paused_run_ends_the_step_under_way_and_begins_nothing_until_it_is_continued() {
    let world = World::active_passive();
    let clients = world.clients();
    let handle = begun(&world, &world.engine()).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(asked(&world, pause_of(&world, 3_600)).await, Answer::Taken);
    let asked_at = entries(&world).await.len();
    sleep(Duration::from_secs(120)).await;
    let waiting = entries(&world).await;
    assert_eq!(begun_since(&waiting, asked_at), [""; 0]);
    assert!(matches!(waiting.last().unwrap().record, Record::Outcome { .. } | Record::Requested { .. }), "at rest");
    let status = world.engine().status(&run()).await.unwrap();
    assert_eq!((status.paused.unwrap().by, status.unknown, status.mode), (anna(), vec![], "forward"));
    assert!(!status.open.is_empty(), "what is lent stays lent");
    assert_eq!(asked(&world, Ask::Continue).await, Answer::Taken);
    let report = handle.wait().await.unwrap();
    assert_eq!(report.end, End::AllNew, "{report}");
    let said: Vec<String> = report.requests.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["anna: pause (ticket 4711)", "anna: continue (ticket 4711)"]);
    assert_eq!(clients.stop().await.lost, 0);
}

#[tokio::test(start_paused = true)]
async fn the_guard_holds_out_again_what_a_balancer_forgot_while_the_run_is_paused() {
    let world = World::active_passive();
    let handle = begun(&world, &world.engine()).await;
    while world.admin("lb1", "esb1") != Some(Admin::Maint) {
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(asked(&world, pause_of(&world, 3_600)).await, Answer::Taken);
    sleep(Duration::from_secs(30)).await;
    world.restart_balancer("lb1");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.admin("lb1", "esb1"), Some(Admin::Maint), "held out again, though the run is paused");
    assert_eq!(asked(&world, Ask::Continue).await, Answer::Taken);
    assert_eq!(handle.wait().await.unwrap().end, End::AllNew);
}

#[tokio::test(start_paused = true)]
async fn another_controller_that_takes_over_finds_the_run_paused() {
    let world = World::active_passive();
    let controller = Controller::new();
    let engine = world.engine_of(&controller);
    let _dying = begun(&world, &engine).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(asked(&world, pause_of(&world, 36_000)).await, Answer::Taken);
    sleep(Duration::from_secs(60)).await;
    controller.kill();
    let handle = taken_over(&world).await;
    let taken_at = entries(&world).await.len();
    sleep(Duration::from_secs(300)).await;
    assert_eq!(begun_since(&entries(&world).await, taken_at), [""; 0]);
    let status = world.engine().status(&run()).await.unwrap();
    assert_eq!((status.paused.map(|paused| paused.by), status.owner.is_some()), (Some(anna()), true));
    assert_eq!(asked(&world, Ask::Continue).await, Answer::Taken);
    assert_eq!(handle.wait().await.unwrap().end, End::AllNew);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_while_nobody_drives_the_run_is_the_first_thing_that_the_next_controller_does() {
    let world = World::active_passive();
    let controller = Controller::new();
    let _dying = begun(&world, &world.engine_of(&controller)).await;
    sleep(Duration::from_secs(5)).await;
    controller.kill();
    let engine = world.engine();
    let request = engine.ask(&run(), anna(), Ask::RollBack).await.unwrap();
    assert_eq!(engine.answer(&request, Duration::from_secs(5)).await.unwrap(), Answer::Pending);
    assert_eq!(engine.status(&run()).await.unwrap().pending.len(), 1);
    let died_at = entries(&world).await.len();
    let report = taken_over(&world).await.wait().await.unwrap();
    assert_eq!((report.end, engine.answer(&request, Duration::ZERO).await.unwrap()), (End::AllOld, Answer::Taken));
    let after = entries(&world).await;
    let first =
        after[died_at..].iter().map(|entry| &entry.record).find(|record| !matches!(record, Record::TakenOver { .. }));
    assert!(matches!(first, Some(Record::Requested { .. })), "{first:?}");
    assert_eq!(engine.status(&run()).await.unwrap().pending.len(), 0, "taken once");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_nobody_ends_ends_the_run_for_a_person_with_all_that_is_open() {
    let world = World::active_passive();
    let handle = begun(&world, &world.engine()).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(asked(&world, pause_of(&world, 600)).await, Answer::Taken);
    let paused_at = Instant::now();
    let report = handle.wait().await.unwrap();
    assert_eq!(report.end, End::NeedsOperator(Why::Stopped));
    // The end is on the clock of people, from which the virtual one has gone away.
    assert!(paused_at.elapsed() >= Duration::from_secs(580) && !report.open.is_empty(), "{report}");
    let past = why(asked_again(&world).await);
    assert!(past.contains("past"), "{past}");
}

/// Asks for a pause that ended before it began, of the same run, which goes on.
async fn asked_again(world: &World) -> Answer {
    let handle = world.engine().retry(run(), anna()).await.unwrap();
    let answer = asked(world, Ask::Pause { until_unix_ms: 1 }).await;
    assert_eq!(handle.wait().await.unwrap().end, End::AllNew);
    answer
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_over_takes_nothing_any_more_and_says_so() {
    let world = World::active_passive();
    let handle = begun(&world, &world.engine()).await;
    assert_eq!(handle.wait().await.unwrap().end, End::AllNew);
    let error = world.engine().ask(&run(), anna(), Ask::RollBack).await.unwrap_err().to_string();
    assert!(error.contains("has ended already"), "{error}");
    let error = world.engine().ask(&"other".into(), anna(), Ask::RollBack).await.unwrap_err().to_string();
    assert!(error.contains("no such run"), "{error}");
    let nobody = ha_core::record::Operator::new(" ", "");
    let error = world.engine().ask(&run(), nobody, Ask::RollBack).await.unwrap_err().to_string();
    assert!(error.contains("give a name"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_reacted_to_while_the_run_is_paused_and_the_change_is_planned_anew_once_it_goes_on() {
    let world = Shape::active_active(3, 1_000).with_spares(&[1_000]).world().unwrap();
    let clients = world.clients();
    let handle = begun(&world, &world.engine()).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(asked(&world, pause_of(&world, 36_000)).await, Answer::Taken);
    sleep(Duration::from_secs(30)).await;
    world.lose("esb3");
    sleep(Duration::from_secs(60)).await;
    let seen = entries(&world).await;
    assert!(seen.iter().any(|entry| matches!(entry.record, Record::DomainLost { .. })), "it is noticed");
    assert!(!seen.iter().any(|entry| matches!(entry.record, Record::Replanned { .. })), "nothing is planned meanwhile");
    assert_eq!(asked(&world, Ask::Continue).await, Answer::Taken);
    let report = handle.wait().await.unwrap();
    assert!(report.replanned.len() == 1 && report.open.is_empty(), "{report}");
    assert!(matches!(report.end, End::AllNew | End::AllOld), "{report}");
    clients.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_does_not_stretch_a_declared_window_the_run_goes_back_when_it_is_used_up() {
    let world = Shape::active_passive().with_clone().world().unwrap();
    world.set_schema_change(ha_core::state::SchemaChange::new(SchemaVerdict::NeedsWindow, "scripts"));
    let planned = Procedure::Clone.plan(&world).await.unwrap();
    let is_window = |window: &&DegradedWindow| window.what == Degraded::WritesRefused;
    let at_most = planned.plan().windows().iter().find(is_window).unwrap().at_most;
    let handle = world.engine().run(run(), planned).await.unwrap();
    while !world.copies().refuses_writes() {
        sleep(Duration::from_millis(100)).await;
    }
    let refused_at = Instant::now();
    assert_eq!(asked(&world, pause_of(&world, 360_000)).await, Answer::Taken);
    let report = handle.wait().await.unwrap();
    assert_eq!(report.end, End::AllOld, "{report}");
    assert!(!world.copies().refuses_writes() && refused_at.elapsed() >= at_most, "{at_most:?}");
    let ended = entries(&world)
        .await
        .iter()
        .any(|entry| matches!(&entry.record, Record::Continued { message } if message.contains("window")));
    assert!(ended, "the pause is over by itself, and says why");
}
