//! The loss of one balancer of a pair in the middle of a change costs nothing but that balancer: what is done goes on over the
//! other, and once it is back, in its configured state, what the run desires is applied to it before the next step.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use ha_core::backend::Admin;
use ha_core::procedure::{HandOverRequest, OutageRequest, Procedure as Request, RejoinRequest, RetireNodeRequest};
use ha_core::record::{End, Why};
use ha_core::report::{Event, RunReport};
use ha_testkit::simulate::{FaultAt, Outcome, Procedure, simulate_plan};
use ha_testkit::world::{Served, Shape, World};
use tokio::time::sleep;

fn paused<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(test)
}

fn pair() -> World {
    Shape::active_passive().with_balancers(2).world().unwrap()
}

#[test]
fn a_patch_goes_on_over_the_other_balancer_whenever_one_is_gone() {
    let mut wrong = Vec::new();
    for balancer in ["lb1", "lb2"] {
        for (after, time) in (0..40).flat_map(|step| [(step * 700 + 50, None), (step * 700 + 50, Some(3_000))]) {
            let outcome = paused(async {
                let world = pair();
                let planned = Procedure::Patch.plan(&world).await.unwrap();
                let (after, time) = (Duration::from_millis(after), time.map(Duration::from_millis));
                simulate_plan(&world, planned, &[FaultAt::BalancerGone { after, balancer: balancer.into(), time }])
                    .await
            });
            let Outcome::Ran { end, open, broken, .. } = outcome else { panic!("it runs: {outcome:?}") };
            if !matches!(end, End::AllNew | End::AllOld) || !broken.is_empty() || !open.is_empty() {
                wrong.push(format!("{balancer} after {after} ms for {time:?}: {end}, {open:?}, {:?}", broken.first()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Patches a cluster while something is done to it when a step of this action has begun; returns also what was told.
async fn patch_and(world: &World, action: &str, mut act: impl FnMut(&World)) -> (RunReport, Vec<Event>, Served) {
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let clients = world.clients();
    let mut run = engine.run("run".into(), planned).await.unwrap();
    let (mut told, mut done) = (Vec::new(), false);
    while let Some(event) = run.next_event().await {
        if let Event::StepStarted { action: begun, .. } = &event
            && begun == action
            && !std::mem::replace(&mut done, true)
        {
            act(world);
        }
        told.push(event);
    }
    (run.wait().await.unwrap(), told, clients.stop().await)
}

#[test]
fn the_loss_is_told_and_stands_in_the_report_and_no_request_is_lost_but_what_was_in_flight_over_it() {
    paused(async {
        let world = pair();
        let (report, told, served) = patch_and(&world, "stop", |world| world.kill_balancer("lb2")).await;
        assert_eq!(report.end, End::AllNew, "{report}");
        assert!(served.reasons.keys().all(|reason| reason.starts_with("lb2 ")), "{:?}", served.reasons);
        let gone = |event: &&Event| matches!(event, Event::BalancerGone { balancer } if balancer == "lb2");
        assert_eq!(told.iter().filter(gone).count(), 1, "{told:?}");
        assert!(report.notes.iter().any(|note| note.contains("lb2 was still gone when the run ended")), "{report}");
    });
}

#[test]
fn a_balancer_that_comes_back_gets_what_the_run_desires_before_the_next_step() {
    paused(async {
        let world = pair();
        // The passive node is held out by the run while it is patched, and configured to be in.
        let (report, told, served) = patch_and(&world, "stop", |world| {
            world.kill_balancer("lb2");
            let world = world.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(600)).await;
                world.restart_balancer("lb2");
            });
        })
        .await;
        assert_eq!(report.end, End::AllNew, "{report}");
        assert!(served.reasons.keys().all(|reason| reason.starts_with("lb2 ")), "{:?}", served.reasons);
        assert!(told.iter().any(|event| matches!(event, Event::BalancerBack { balancer } if balancer == "lb2")));
        let reasserted = |event: &Event| matches!(event, Event::StepEnded { action, .. } if action == "reassert");
        assert!(told.iter().any(reasserted), "{told:#?}");
        assert!(world.admins("spare1").iter().all(|admin| *admin == Admin::Maint), "{:?}", world.admins("spare1"));
        assert!(!report.notes.iter().any(|note| note.contains("still gone")), "{report}");
    });
}

#[test]
fn with_no_balancer_left_the_run_is_held_for_a_person() {
    paused(async {
        let world = pair();
        let (report, ..) = patch_and(&world, "stop", |world| {
            world.kill_balancer("lb1");
            world.kill_balancer("lb2");
        })
        .await;
        assert_eq!(report.end, End::NeedsOperator(Why::CompensationFailed), "{report}");
        let notes = report.notes.join("\n");
        assert!(
            notes.contains("balancer lb1 was still gone") && notes.contains("balancer lb2 was still gone"),
            "{notes}"
        );
    });
}

#[test]
fn a_change_is_not_planned_while_a_balancer_is_gone() {
    paused(async {
        let world = pair();
        world.kill_balancer("lb2");
        let error = world.engine().plan(&world.patch_to("2.0")).await.unwrap_err().to_string();
        assert!(error.contains("balancer lb2 is gone") && error.contains("bring it back"), "{error}");
    });
}

/// Runs what is planned while lb2 is gone, which may come back in the middle; returns also what is not as it should be.
async fn run_over_one(world: &World, request: &dyn Request, back_after: Option<u64>) -> (RunReport, Vec<String>) {
    let engine = world.engine();
    let planned = engine.plan(request).await.unwrap_or_else(|error| panic!("{error}"));
    let clients = world.clients();
    let run = engine.run("run".into(), planned).await.unwrap();
    if let Some(after) = back_after {
        sleep(Duration::from_millis(after)).await;
        world.restart_balancer("lb2");
    }
    let report = run.wait().await.unwrap();
    let served = clients.stop().await;
    let lost = served.reasons.keys().filter(|_| back_after.is_none()).map(|reason| format!("lost: {reason}"));
    let wrong: Vec<String> = lost.chain(report.open.iter().map(|open| format!("open: {open}"))).collect();
    (report, wrong)
}

/// What replaces a node does not wait for a balancer that is gone, and holds with it as without it once it is back.
#[test]
fn what_follows_the_loss_of_a_node_is_planned_and_run_while_a_balancer_is_gone() {
    for back_after in [None, Some(100), Some(1_500), Some(4_000)] {
        paused(async {
            let world = pair();
            world.kill_balancer("lb2");
            world.lose("esb1");
            sleep(Duration::from_secs(3)).await;
            let (outage, wrong) = run_over_one(&world, &OutageRequest::of("esb1"), back_after).await;
            assert_eq!((outage.end, wrong), (End::AllNew, vec![]), "{back_after:?}: {outage}");
            assert_eq!(world.admin("lb1", "esb1"), Some(Admin::Maint), "{back_after:?}");
            assert!(world.runs("spare1"), "{outage}");
        });
    }
}

#[test]
fn a_member_comes_back_while_a_balancer_is_gone() {
    for back_after in [None, Some(100), Some(1_500)] {
        paused(async {
            let world = pair();
            world.lose("esb1");
            sleep(Duration::from_secs(3)).await;
            let engine = world.engine();
            let outage = engine.plan(&OutageRequest::of("esb1")).await.unwrap();
            let outage = engine.run("outage".into(), outage).await.unwrap().wait().await.unwrap();
            assert_eq!(outage.end, End::AllNew, "{outage}");
            world.repair("esb1");
            world.kill_balancer("lb2");
            let (rejoin, wrong) = run_over_one(&world, &RejoinRequest::of("esb1"), back_after).await;
            assert_eq!((rejoin.end, wrong), (End::AllNew, vec![]), "{back_after:?}: {rejoin}");
            assert!(world.runs("esb1") && !world.runs("spare1"), "{back_after:?}: {rejoin}");
        });
    }
}

#[test]
fn members_and_the_writer_change_while_a_balancer_is_gone() {
    for back_after in [None, Some(100), Some(400)] {
        let requests: [Box<dyn Request>; 2] =
            [Box::new(HandOverRequest::to("esb2")), Box::new(RetireNodeRequest::of("esb3"))];
        for request in requests {
            paused(async {
                let mut shape = Shape::active_active(3, 1_000).with_balancers(2);
                (shape.serve, shape.files) = (2, true);
                let world = shape.world().unwrap();
                world.kill_balancer("lb2");
                let (report, wrong) = run_over_one(&world, request.as_ref(), back_after).await;
                assert_eq!((report.end, wrong), (End::AllNew, vec![]), "{back_after:?}: {request:?}: {report}");
            });
        }
    }
}
