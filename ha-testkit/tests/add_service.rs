//! A service is added to the simulated world: whole runs of the real engine on virtual time, and what is refused before one.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use ha_core::procedure::{AddServiceRequest, PlanError};
use ha_core::record::{End, Operator, Why};
use ha_core::report::RunReport;
use ha_core::state::{Route, RouteKey, ServiceRoute};
use ha_core::topology::Name;
use ha_testkit::world::{Controller, Death, Fault, Moment, Operation, Served, Shape, World};

fn shapes() -> [Shape; 3] {
    [
        Shape::active_passive().with_balancers(2),
        Shape::active_active(3, 750),
        Shape::active_active(2, 750).with_spares(&[750]).with_balancers(2),
    ]
    .map(|shape| shape.with_files().with_exposure())
}

async fn add(world: &World) -> (RunReport, Served) {
    let clients = world.clients();
    let planned = world.engine().plan(&world.add_service()).await.unwrap();
    let report = world.engine().run("add".into(), planned).await.unwrap().wait().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    (report, clients.stop().await)
}

fn generations(world: &World) -> Vec<Option<u64>> {
    world.topology().members().map(|(_, node)| world.generation(node.name.as_str())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_service_is_on_every_member_before_it_is_exposed_and_no_request_is_lost() {
    for shape in shapes() {
        let world = shape.world().unwrap();
        let (report, served) = add(&world).await;
        assert_eq!(report.end, End::AllNew, "{shape:?}: {report}");
        assert_eq!((served.lost, world.route()), (0, Route::Exposed), "{shape:?}: {:?}", served.reasons);
        assert!(generations(&world).iter().all(|set| *set == Some(2)), "{shape:?}");
        assert_eq!(report.open, Vec::<String>::new());
        assert_eq!(world.calls()[&(Operation::Expose, "exposure".into())], 1, "{shape:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_expose_that_keeps_failing_is_rolled_back_to_the_old_files_and_a_dark_route() {
    for shape in shapes() {
        for fault in [Fault::Refused, Fault::Half, Fault::LostBefore, Fault::Lies] {
            let world = shape.world().unwrap();
            // Two attempts of the exposure; what hides it afterwards works.
            for _ in 0..2 {
                world.plan_fault(Operation::Expose, "exposure", fault);
            }
            let (report, served) = add(&world).await;
            assert_eq!(report.end, End::AllOld, "{shape:?} {fault:?}: {report}");
            assert_eq!((served.lost, world.route()), (0, Route::Dark), "{fault:?}: {:?}", served.reasons);
            assert!(generations(&world).iter().all(|set| *set == Some(1)), "{shape:?} {fault:?}");
        }
    }
}

/// The last member to get the service fails its test with it, in both attempts.
async fn withdrawn(world: &World, last: &str) -> RunReport {
    // Its first test is that of the observation before the plan.
    world.plan_fault_after(Operation::Test, last, 1, Fault::Refused);
    world.plan_fault(Operation::Test, last, Fault::Refused);
    let (report, served) = add(world).await;
    assert_eq!((report.end, served.lost), (End::NeedsOperator(Why::Withdrawn), 0), "{report}");
    report
}

#[tokio::test(start_paused = true)]
async fn a_service_that_a_member_fails_to_deploy_is_taken_from_it_alone_and_the_run_holds() {
    let world = shapes()[0].world().unwrap();
    let report = withdrawn(&world, "esb1").await;
    assert_eq!((world.generation("esb1"), world.generation("esb2"), world.route()), (Some(1), Some(2), Route::Dark));
    assert!(report.open.iter().any(|loan| loan.contains("sync")), "{report}");
    // Repaired: it goes on with that member.
    let report = world.engine().resume("add".into()).await.unwrap().wait().await.unwrap();
    assert_eq!((report.end, world.route()), (End::AllNew, Route::Exposed), "{report}");
    assert!(generations(&world).iter().all(|set| *set == Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_taken_from_a_member_is_taken_from_all_when_a_person_says_so() {
    let world = shapes()[0].world().unwrap();
    withdrawn(&world, "esb1").await;
    let resumed = world.engine().roll_back("add".into(), Operator::new("anna", "no more of it")).await.unwrap();
    let report = resumed.wait().await.unwrap();
    assert_eq!((report.end, world.route()), (End::AllOld, Route::Dark), "{report}");
    assert!(generations(&world).iter().all(|set| *set == Some(1)) && report.open.is_empty(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_fails_its_test_once_the_service_is_exposed_has_the_route_hidden_first() {
    let well = shapes()[0].world().unwrap();
    add(&well).await;
    // The last test of a run that goes well is the one that follows the exposure; it is tried twice.
    let last = well.calls()[&(Operation::Test, "esb1".into())] - 1;
    let world = shapes()[0].world().unwrap();
    world.plan_fault_after(Operation::Test, "esb1", last, Fault::Refused);
    world.plan_fault(Operation::Test, "esb1", Fault::Refused);
    let (report, served) = add(&world).await;
    let place = |wanted: &str| report.steps.iter().position(|step| step.action.starts_with(wanted)).unwrap();
    let after_hide: Vec<&str> = report.steps[place("hide") + 1..].iter().map(|step| step.action.as_str()).collect();
    assert!(place("expose") < place("hide"), "{report}");
    assert!(after_hide.contains(&"deploy") && generations(&world).iter().all(|set| *set == Some(1)), "{report}");
    assert_eq!((report.end, world.route(), served.lost), (End::AllOld, Route::Dark, 0), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_dies_around_the_exposure_is_followed_by_one_that_finishes() {
    for moment in [Moment::BeforeIntent, Moment::AfterIntent, Moment::BeforeOutcome, Moment::AfterOutcome] {
        let world = shapes()[0].world().unwrap();
        let clients = world.clients();
        let first = world.engine_of(&Controller::dying(Death::In { moment, action: "expose", target: "exposure" }));
        let planned = first.plan(&world.add_service()).await.unwrap();
        assert!(first.run("add".into(), planned).await.unwrap().wait().await.is_err());
        tokio::time::sleep(Duration::from_secs(31)).await;
        let report = world.engine().resume("add".into()).await.unwrap().wait().await.unwrap();
        assert_eq!((report.end, world.route()), (End::AllNew, Route::Exposed), "{moment:?}: {report}");
        assert_eq!(clients.stop().await.lost, 0, "{moment:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_balancer_that_is_restarted_keeps_an_exposed_route() {
    let world = shapes()[0].world().unwrap();
    let (report, _) = add(&world).await;
    world.restart_balancer("lb1");
    assert_eq!((report.end, world.route()), (End::AllNew, Route::Exposed), "{report}");
}

async fn refusal(world: &World, request: &AddServiceRequest) -> String {
    let refused = world.engine().plan(request).await.unwrap_err();
    assert!(world.calls().keys().all(|(operation, _)| operation.reads() || *operation == Operation::Test));
    refused.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_route_that_is_in_use_or_leads_nowhere_is_refused_before_anything_is_changed() {
    let world = || shapes()[0].world().unwrap();
    let exposed = world();
    for balancer in ["lb1", "lb2"] {
        exposed.lead_elsewhere(balancer, "/orders", "esb");
    }
    let text = refusal(&exposed, &exposed.add_service()).await;
    assert!(text.contains("the route /orders -> esb") && text.contains("exposed already"), "{text}");
    let elsewhere = world();
    elsewhere.lead_elsewhere("lb2", "/orders", "legacy");
    let text = refusal(&elsewhere, &elsewhere.add_service()).await;
    assert!(text.contains("leads elsewhere") && text.contains("choose another key"), "{text}");
    let unread = world();
    unread.set_lasting_fault(Operation::Route, "exposure", Fault::Unreachable);
    let text = refusal(&unread, &unread.add_service()).await;
    assert!(text.contains("could not be read"), "{text}");
    let mut nowhere = world().add_service();
    nowhere.route = ServiceRoute::new(RouteKey::new("/orders").unwrap(), Name::new("nowhere").unwrap());
    let text = refusal(&world(), &nowhere).await;
    assert!(text.contains("route.value: nowhere is the backend of no pool") && text.contains("esb"), "{text}");
    let mut undeclared = world().add_service();
    undeclared.compatible = false;
    assert!(refusal(&world(), &undeclared).await.contains("compatible"));
    let bare = Shape::active_passive().with_files().world().unwrap();
    let text = refusal(&bare, &bare.add_service()).await;
    assert!(text.contains("declare [exposure]"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_stale_once_somebody_else_has_taken_the_key() {
    let world = shapes()[0].world().unwrap();
    let planned = world.engine().plan(&world.add_service()).await.unwrap();
    world.lead_elsewhere("lb1", "/orders", "legacy");
    let stale = world.engine().run("add".into(), planned).await.unwrap_err().to_string();
    assert!(stale.contains("the route of the service is unknown, it was dark"), "{stale}");
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_to_prove_an_added_service_is_named_as_for_an_update() {
    let world = Shape::active_active(2, 750).with_files().with_exposure().world().unwrap();
    let Err(ha_core::engine::RunError::Plan { source: PlanError::Unprovable { remedy, .. }, .. }) =
        world.engine().plan(&world.add_service()).await
    else {
        panic!("two of 750 cannot be changed one after another");
    };
    assert!(remedy.to_string().contains("add one spare of capacity 750"), "{remedy}");
}
