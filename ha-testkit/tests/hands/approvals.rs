use std::time::Duration;

use ha_core::engine::{Answer, RunError};
use ha_core::plan::Digest;
use ha_core::record::{ApprovalAsk, Ask, End, Operator, Record, Why};
use ha_core::topology::ApprovalPoint;
use ha_testkit::world::{Controller, Shape, World};
use tokio::time::sleep;

use super::{anna, asked, begun, begun_since, entries, pause_of, run, taken_over, why};

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn world_asking(points: &[ApprovalPoint]) -> World {
    Shape::active_passive().with_spares(&[1_000]).with_approvals(points.iter().copied()).world().unwrap()
}

/// Waits until the run asks.
pub(crate) async fn ask_of(world: &World) -> ApprovalAsk {
    loop {
        if let Some(ask) = world.engine().status(&run()).await.unwrap().approval {
            return ask;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_where_a_person_has_to_approve_in_text_in_json_and_in_its_diagram() {
    let world = world_asking(&[ApprovalPoint::Start]);
    let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
    let (plan, topology) = (planned.plan(), world.topology());
    let text = plan.to_text(topology);
    assert!(text.contains("-- approval (start): waits for a person, at most 60s, then roll back --"), "{text}");
    let json = serde_json::to_value(plan).unwrap();
    assert_eq!(
        json["approvals"],
        serde_json::json!([{"point": "start", "stage": 0, "step": 0, "within_ms": 60_000, "then": "roll-back"}])
    );
    let diagram = plan.to_mermaid(topology);
    assert!(
        diagram.contains("asks1x1{{\"approval (start)#58; waits for a person") && diagram.contains("begin --> asks1x1"),
        "{diagram}"
    );
    // Without it, all stays as it was, and a plan that was made before is not run.
    let without = Shape::active_passive().with_spares(&[1_000]).world().unwrap();
    let planned = without.engine().plan(&without.patch_to("2.0")).await.unwrap();
    assert!(
        planned.plan().approvals().is_empty()
            && serde_json::to_value(planned.plan()).unwrap().get("approvals").is_none()
    );
    let error = world.engine().run(run(), planned).await.unwrap_err().to_string();
    assert!(error.contains("asks for an approval (start)"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_run_waits_for_its_approval_and_the_report_says_who_gave_it() {
    let world = world_asking(&[ApprovalPoint::Start]);
    let handle = begun(&world, &world.engine()).await;
    let ask = ask_of(&world).await;
    assert_eq!((ask.point, ask.stage, ask.step, ask.differs.is_empty()), (ApprovalPoint::Start, 0, 0, true));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(begun_since(&entries(&world).await, 0), [""; 0]);
    let engine = world.engine();
    let given = engine.approve(&run(), anna(), HOUR).await.unwrap();
    assert_eq!(engine.answer(&given, Duration::from_secs(5)).await.unwrap(), Answer::Taken);
    let report = handle.wait().await.unwrap();
    assert_eq!(report.end, End::AllNew, "{report}");
    assert!(report.to_string().contains("anna: approve step 1.1 (ticket 4711)"), "{report}");
    let refused = engine.approve(&run(), anna(), HOUR).await.unwrap_err();
    assert!(matches!(refused, RunError::Refused { what: "approve", .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_nobody_approves_rolls_back_at_its_deadline() {
    let world = world_asking(&[ApprovalPoint::Start]);
    let report = begun(&world, &world.engine()).await.wait().await.unwrap();
    assert_eq!((report.end, report.steps.len(), report.open.len()), (End::AllOld, 0, 0), "{report}");
    assert!(report.took_ms >= 60_000, "{report}");
}

#[tokio::test(start_paused = true)]
async fn before_the_point_of_no_return_a_run_that_nobody_approves_goes_back_in_full() {
    let world =
        Shape::active_passive().with_database().with_approvals([ApprovalPoint::PointOfNoReturn]).world().unwrap();
    world.set_schema_change(ha_core::state::SchemaChange::new(ha_core::state::SchemaVerdict::Splittable, "scripts"));
    let clients = world.clients();
    let planned = world.engine().plan(&world.upgrade_to("2.0")).await.unwrap();
    let [approval] = planned.plan().approvals() else { panic!() };
    assert_eq!(usize::from(approval.stage), planned.plan().point_of_no_return());
    let handle = world.engine().run(run(), planned).await.unwrap();
    ask_of(&world).await;
    let report = handle.wait().await.unwrap();
    assert_eq!((report.end, report.open.len(), clients.stop().await.lost), (End::AllOld, 0, 0), "{report}");
    assert_eq!(world.installed("esb1").as_deref(), Some("1.0"));
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_void_when_the_facts_drift_and_is_asked_for_again_with_what_differs() {
    let world = world_asking(&[ApprovalPoint::Start]);
    let handle = begun(&world, &world.engine()).await;
    let first = ask_of(&world).await;
    // It is given while the run is paused, so that it is not used at once.
    assert_eq!(asked(&world, pause_of(&world, 36_000)).await, Answer::Taken);
    let until_unix_ms = world.engine().in_unix_ms(HOUR);
    assert_eq!(asked(&world, first.approve_until(until_unix_ms)).await, Answer::Taken);
    world.install("spare1", "2.0");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(asked(&world, Ask::Continue).await, Answer::Taken);
    let again = ask_of(&world).await;
    assert_ne!(again.fingerprint, first.fingerprint);
    assert!(again.differs.contains(&"no more: spare1: release 1.0".to_string()), "{:?}", again.differs);
    assert_eq!(again.until_unix_ms, first.until_unix_ms, "the deadline stays");
    assert_eq!(begun_since(&entries(&world).await, 0), [""; 0]);
    let refused = why(asked(&world, first.approve_until(until_unix_ms)).await);
    assert!(refused.contains("the facts have changed"), "{refused}");
    world.install("spare1", "1.0");
    sleep(Duration::from_secs(3)).await;
    assert!(ask_of(&world).await.differs.contains(&"now: spare1: release 1.0".to_string()));
    world.engine().approve(&run(), anna(), HOUR).await.unwrap();
    assert_eq!(handle.wait().await.unwrap().end, End::AllNew);
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_has_expired_is_asked_for_again() {
    let world = world_asking(&[ApprovalPoint::Start]);
    let handle = begun(&world, &world.engine()).await;
    ask_of(&world).await;
    assert_eq!(asked(&world, pause_of(&world, 36_000)).await, Answer::Taken);
    world.engine().approve(&run(), anna(), Duration::from_secs(10)).await.unwrap();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(asked(&world, Ask::Continue).await, Answer::Taken);
    let again = ask_of(&world).await;
    assert_eq!(again.differs, ["the approval of anna (ticket 4711) has expired"]);
    world.engine().approve(&run(), anna(), HOUR).await.unwrap();
    assert_eq!(handle.wait().await.unwrap().end, End::AllNew);
}

#[tokio::test(start_paused = true)]
async fn an_approval_of_another_plan_or_another_step_is_not_taken() {
    let world = world_asking(&[ApprovalPoint::Start]);
    let handle = begun(&world, &world.engine()).await;
    let ask = ask_of(&world).await;
    let mut other_plan = ask.clone();
    other_plan.plan = Digest::of(b"another");
    let mut other_step = ask.clone();
    other_step.step = 1;
    let until = world.engine().in_unix_ms(HOUR);
    for other in [other_plan, other_step] {
        let refused = why(asked(&world, other.approve_until(until)).await);
        assert!(refused.contains("another step (1.1 of plan"), "{refused}");
    }
    assert!(why(asked(&world, ask.approve_until(1)).await).contains("expired"));
    assert_eq!(asked(&world, Ask::RollBack).await, Answer::Taken);
    assert_eq!(handle.wait().await.unwrap().end, End::AllOld);
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_kept_by_another_controller_and_an_unanswered_question_too() {
    for approved in [false, true] {
        let world = world_asking(&[ApprovalPoint::Start]);
        let controller = Controller::new();
        let _dying = begun(&world, &world.engine_of(&controller)).await;
        let ask = ask_of(&world).await;
        // So that nothing begins before the controller dies.
        assert_eq!(asked(&world, pause_of(&world, 36_000)).await, Answer::Taken);
        if approved {
            assert_eq!(asked(&world, ask.approve_until(world.engine().in_unix_ms(HOUR))).await, Answer::Taken);
        }
        controller.kill();
        let handle = taken_over(&world).await;
        assert_eq!(asked(&world, Ask::Continue).await, Answer::Taken);
        if !approved {
            assert_eq!(ask_of(&world).await.until_unix_ms, ask.until_unix_ms);
            world.engine().approve(&run(), anna(), HOUR).await.unwrap();
        }
        let report = handle.wait().await.unwrap();
        assert_eq!(report.end, End::AllNew, "{report}");
        let asked =
            entries(&world).await.iter().filter(|entry| matches!(entry.record, Record::ApprovalAsked { .. })).count();
        assert_eq!(asked, 1, "asked once");
    }
}

const APPROVERS: &str = r#"
[cluster]
name = "orders"
[policy]
peak_load = 1000
approve = ["start"]
approvers = ["ben"]
approve_within = "5m"
on_no_approval = "hold"
[pool]
name = "esb"
serve = 3
[[balancer]]
name = "lb1"
backend = "fake"
[[node]]
name = "esb1"
capacity = 1000
host = { backend = "fake" }
probe = { backend = "fake" }
[[node]]
name = "esb3"
capacity = 1000
host = { backend = "fake" }
probe = { backend = "fake" }
[[node]]
name = "esb2"
capacity = 1000
host = { backend = "fake" }
probe = { backend = "fake" }
"#;

#[tokio::test(start_paused = true)]
async fn only_those_approve_who_may_and_without_them_the_run_is_held() {
    let world = World::from_toml_str(APPROVERS).unwrap();
    let handle = begun(&world, &world.engine()).await;
    let ask = ask_of(&world).await;
    let until = world.engine().in_unix_ms(HOUR);
    let refused = why(asked(&world, ask.approve_until(until)).await);
    assert!(refused.contains("anna may not approve; these may: ben"), "{refused}");
    let report = handle.wait().await.unwrap();
    assert_eq!(report.end, End::NeedsOperator(Why::NotApproved), "{report}");
    // Tried again, it asks again.
    let handle = world.engine().retry(run(), anna()).await.unwrap();
    let ben = Operator::new("ben", "it may go on");
    ask_of(&world).await;
    world.engine().approve(&run(), ben, HOUR).await.unwrap();
    assert_eq!(handle.wait().await.unwrap().end, End::AllNew);
}
