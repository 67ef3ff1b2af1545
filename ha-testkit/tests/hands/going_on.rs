use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::Host;
use ha_core::engine::{Answer, RunError, RunHandle};
use ha_core::journal::{Journal, JournalError, MemoryStore, Requests};
use ha_core::record::{Ask, End, Entry, Request, RunId, Why};
use ha_core::report::Event;
use ha_core::state::{LeaseEpoch, SchemaChange, SchemaVerdict, ServerDomain};
use ha_testkit::world::{Controller, FakeHost, Fault, Operation, Shape, World};
use tokio::time::sleep;

use super::{anna, asked, begun, entries, run, why};

/// Stops a run when a step begins: it ends that step, and nothing more.
async fn stopped_after(mut handle: RunHandle, verb: &str) -> ha_core::report::RunReport {
    while let Some(event) = handle.next_event().await {
        if matches!(&event, Event::StepStarted { action, .. } if action == verb) {
            handle.ask(anna(), Ask::Abort).await.unwrap();
            break;
        }
    }
    handle.wait().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_aborted_run_ends_the_step_under_way_and_is_held_with_all_that_is_open() {
    let world = World::active_passive();
    let clients = world.clients();
    let report = stopped_after(begun(&world, &world.engine()).await, "apply").await;
    assert_eq!((report.end, report.steps.last().unwrap().action.as_str()), (End::NeedsOperator(Why::Stopped), "apply"));
    assert!(!report.open.is_empty() && report.end_message.contains("it can go on from here"), "{report}");
    let status = world.engine().status(&run()).await.unwrap();
    assert_eq!(
        (status.end, status.doing.contains("start")),
        (Some(End::NeedsOperator(Why::Stopped)), true),
        "{status:?}"
    );
    assert_eq!(clients.stop().await.lost, 0);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_run_goes_on_where_it_stopped_when_it_is_retried_and_back_when_it_is_resumed_or_rolled_back() {
    for (how, wanted) in [("retry", End::AllNew), ("resume", End::AllOld), ("roll back", End::AllOld)] {
        let world = World::active_passive();
        let clients = world.clients();
        stopped_after(begun(&world, &world.engine()).await, "apply").await;
        let engine = world.engine();
        let handle = match how {
            "retry" => engine.retry(run(), anna()).await,
            "resume" => engine.resume(run()).await,
            _ => engine.roll_back(run(), anna()).await,
        };
        let report = handle.unwrap().wait().await.unwrap();
        assert_eq!((report.end, report.open.is_empty()), (wanted, true), "{how}: {report}");
        let asked: Vec<&str> = report.requests.iter().map(|asked| asked.what.as_str()).collect();
        let last = match how {
            "retry" => vec!["abort", "retry"],
            "resume" => vec!["abort"],
            _ => vec!["abort", "roll-back"],
        };
        assert_eq!((asked, clients.stop().await.lost), (last, 0), "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_could_not_go_back_goes_on_going_back_when_it_is_retried() {
    let world = World::active_passive();
    let clients = world.clients();
    let stopped = stopped_after(begun(&world, &world.engine()).await, "apply").await;
    let changed = &stopped.steps.last().unwrap().target;
    for _ in 0..2 {
        world.plan_fault(Operation::Run, changed, Fault::Refused);
    }
    let report = world.engine().roll_back(run(), anna()).await.unwrap().wait().await.unwrap();
    assert_eq!(report.end, End::NeedsOperator(Why::CompensationFailed), "{report}");
    let report = world.engine().retry(run(), anna()).await.unwrap().wait().await.unwrap();
    assert_eq!((report.end, report.open.is_empty()), (End::AllOld, true), "{report}");
    assert_eq!(clients.stop().await.lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_failed_past_the_point_of_no_return_is_tried_again() {
    let world = Shape::active_passive().with_database().world().unwrap();
    world.set_schema_change(SchemaChange::new(SchemaVerdict::Splittable, "scripts"));
    let planned = world.engine().plan(&world.upgrade_to("2.0")).await.unwrap();
    let well = Shape::active_passive().with_database().world().unwrap();
    well.set_schema_change(SchemaChange::new(SchemaVerdict::Splittable, "scripts"));
    let ran = well.engine().run(run(), well.engine().plan(&well.upgrade_to("2.0")).await.unwrap()).await.unwrap();
    assert_eq!(ran.wait().await.unwrap().end, End::AllNew);
    // The last one contracts.
    let last = well.calls()[&(Operation::Migrate, "database".into())] - 1;
    world.plan_fault_after(Operation::Migrate, "database", last, Fault::Refused);
    world.plan_fault(Operation::Migrate, "database", Fault::Refused);
    let report = world.engine().run(run(), planned).await.unwrap().wait().await.unwrap();
    assert_eq!(
        (report.end, report.steps.last().unwrap().action.as_str()),
        (End::NeedsOperator(Why::PastReturn), "contract")
    );
    let error = world.engine().roll_back(run(), anna()).await.unwrap_err().to_string();
    assert!(error.contains("past its point of no return"), "{error}");
    let report = world.engine().retry(run(), anna()).await.unwrap().wait().await.unwrap();
    assert_eq!(report.end, End::AllNew, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_past_the_point_of_no_return_is_refused_with_what_to_do_instead() {
    let world = Shape::active_passive().with_database().world().unwrap();
    world.set_schema_change(SchemaChange::new(SchemaVerdict::Splittable, "scripts"));
    let planned = world.engine().plan(&world.upgrade_to("2.0")).await.unwrap();
    let no_return = planned.plan().point_of_no_return();
    assert!(no_return < planned.plan().stages().len());
    let mut handle = world.engine().run(run(), planned).await.unwrap();
    let is_contract = |event: &Event| matches!(event, Event::StepStarted { action, .. } if action == "contract");
    while let Some(event) = handle.next_event().await {
        if is_contract(&event) {
            break;
        }
    }
    let refused = why(asked(&world, Ask::RollBack).await);
    assert!(refused.contains("past its point of no return") && refused.contains("pause it, or abort it"), "{refused}");
    let report = handle.wait().await.unwrap();
    assert_eq!(report.end, End::AllNew);
    assert!(report.to_string().contains("anna: roll-back (ticket 4711), refused: it is past"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_came_too_late_for_the_end_of_a_run_is_refused_when_it_is_gone_on_with() {
    let world = World::active_passive();
    stopped_after(begun(&world, &world.engine()).await, "apply").await;
    let error = world.engine().ask(&run(), anna(), Ask::Abort).await.unwrap_err();
    assert!(matches!(error, RunError::Ended { end: End::NeedsOperator(Why::Stopped), .. }), "{error}");
    // It was on its way when the run ended.
    let late = Request::new(anna(), Ask::Abort, 0);
    let number = world.store().put(&run(), late).await.unwrap();
    let report = world.engine().retry(run(), anna()).await.unwrap().wait().await.unwrap();
    assert_eq!(report.end, End::AllNew, "{report}");
    let said = &report.requests.last().unwrap().refused;
    assert!(number == 2 && said.as_ref().is_some_and(|why| why.contains("ask again")), "{report}");
}

/// Says nothing of what people ask until it was asked so often.
#[derive(Debug)]
struct Mute {
    store: Arc<MemoryStore>,
    times: AtomicUsize,
}

#[async_trait]
impl Requests for Mute {
    async fn put(&self, run: &RunId, request: Request) -> Result<u64, JournalError> {
        self.store.put(run, request).await
    }

    async fn requests(&self, run: &RunId, after: u64) -> Result<Vec<(u64, Request)>, JournalError> {
        let left = self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(1) => pending().await,
            Ok(_) => Err(JournalError::Broken { what: "the requests are not there".into() }),
            Err(_) => self.store.requests(run, after).await,
        }
    }
}

#[async_trait]
impl Journal for Mute {
    async fn append(&self, run: &RunId, entries: Vec<Entry>) -> Result<(), JournalError> {
        self.store.append(run, entries).await
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        self.store.read(run).await
    }

    async fn runs(&self) -> Result<Vec<RunId>, JournalError> {
        self.store.runs().await
    }

    async fn open_runs(&self, cluster: &str) -> Result<Vec<RunId>, JournalError> {
        self.store.open_runs(cluster).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_is_gone_on_with_where_nobody_can_read_what_was_asked_and_that_is_refused_once_it_can_be() {
    // It does not answer at all, or it says that it cannot, twice.
    for times in [1, 3] {
        let world = World::active_passive();
        stopped_after(begun(&world, &world.engine()).await, "apply").await;
        world.store().put(&run(), Request::new(anna(), Ask::Abort, 0)).await.unwrap();
        let mute = Arc::new(Mute { store: world.store(), times: AtomicUsize::new(times) });
        let engine = world.builder(&Controller::new()).with_store(mute, world.store()).build().unwrap();
        let report = engine.retry(run(), anna()).await.unwrap().wait().await.unwrap();
        assert_eq!(report.end, End::AllNew, "{report}");
        assert!(report.to_string().contains("what people asked of the run could not be read"), "{report}");
        let said = report.requests.iter().filter_map(|asked| asked.refused.as_deref()).collect::<Vec<_>>();
        assert!(matches!(said[..], [why] if why.contains("ask again")), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_refused_where_the_rest_of_the_plan_would_break_the_law_and_nothing_is_changed() {
    let world = World::active_passive();
    stopped_after(begun(&world, &world.engine()).await, "apply").await;
    // What carries everything meanwhile is gone.
    let serves = if world.admin("lb1", "esb1") == Some(ha_core::backend::Admin::Maint) { "esb2" } else { "esb1" };
    world.crash(serves);
    let before = entries(&world).await;
    let error = world.engine().retry(run(), anna()).await.unwrap_err();
    assert!(
        matches!(&error, RunError::Refused { what: "retry", why, .. } if why.contains("would break the law")),
        "{error}"
    );
    assert_eq!(entries(&world).await, before, "nothing was recorded");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_a_person_did_by_hand_is_skipped_and_taken_back_as_if_the_run_had_done_it() {
    for goes_back in [false, true] {
        let world = World::active_passive();
        let clients = world.clients();
        let report = stopped_after(begun(&world, &world.engine()).await, "apply").await;
        let node = report.steps.last().unwrap().target.clone();
        let host = FakeHost::new(world.clone(), Controller::new(), node.clone());
        host.start(LeaseEpoch::new(1), ServerDomain::Production).await.unwrap();
        sleep(Duration::from_secs(20)).await;
        assert!(world.runs(&node));
        let handle = world.engine().skip(run(), anna()).await.unwrap();
        if goes_back {
            handle.roll_back(anna()).await.unwrap();
        }
        let report = handle.wait().await.unwrap();
        let wanted = if goes_back { End::AllOld } else { End::AllNew };
        assert_eq!((report.end, clients.stop().await.lost), (wanted, 0), "{report}");
        let skipped = report.requests.iter().find(|asked| asked.what == "skip").unwrap();
        assert_eq!((skipped.by.as_str(), skipped.reason.as_str()), ("anna", "ticket 4711"));
        let installed = if goes_back { "1.0" } else { "2.0" };
        assert_eq!(world.installed(&node).as_deref(), Some(installed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_did_not_happen_is_not_skipped_where_the_rest_would_break_the_law() {
    let world = World::active_passive();
    stopped_after(begun(&world, &world.engine()).await, "apply").await;
    // The server is stopped: what comes next would admit a node that does not run.
    let error = world.engine().skip(run(), anna()).await.unwrap_err();
    assert!(
        matches!(&error, RunError::Refused { what: "skip", why, .. } if why.contains("would break the law")),
        "{error}"
    );
    // The lease was given back, and the run can go on another way.
    assert_eq!(world.engine().retry(run(), anna()).await.unwrap().wait().await.unwrap().end, End::AllNew);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_under_way_is_neither_retried_nor_skipped() {
    let world = World::active_passive();
    let controller = Controller::new();
    let _dying = begun(&world, &world.engine_of(&controller)).await;
    sleep(Duration::from_secs(5)).await;
    let error = world.engine().retry(run(), anna()).await.unwrap_err();
    assert!(matches!(error, RunError::Lease(_)), "{error}");
    controller.kill();
    sleep(Duration::from_secs(60)).await;
    for refused in [world.engine().retry(run(), anna()).await, world.engine().skip(run(), anna()).await] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("has not ended for a person"), "{error}");
    }
    let put = world.engine().ask(&run(), anna(), Ask::Retry { stage: 0, step: 0 }).await.unwrap_err().to_string();
    assert!(put.contains("Engine::retry"), "{put}");
    assert_eq!(asked_of_nobody(&world).await, Answer::Pending);
}

async fn asked_of_nobody(world: &World) -> Answer {
    let engine = world.engine();
    let request = engine.ask(&run(), anna(), Ask::Continue).await.unwrap();
    engine.answer(&request, Duration::from_secs(1)).await.unwrap()
}
