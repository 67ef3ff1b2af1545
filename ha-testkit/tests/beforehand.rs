//! What is found before a plan is made: a mistake in the configuration costs nothing.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use ha_core::engine::RunError;
use ha_core::procedure::PlanError;
use ha_core::record::End;
use ha_core::topology::Topology;
use ha_testkit::world::{Controller, FakeHost, FakeProbe, Fault, Operation, World};

const TOML: &str = "[cluster]\nname = \"orders\"\n[policy]\npeak_load = 1000\n[pool]\nname = \"esb\"\nserve = 1\n[[balancer]]\nname \
                    = \"lb1\"\nbackend = \"fake\"\n[[node]]\nname = \"esb1\"\ncapacity = 1000\nhost = { backend = \"fake\", home = \
                    \"/srv/esb1\" }\nprobe = { backend = \"fake\" }\n[[node]]\nname = \"esb2\"\ncapacity = 1000\nhost = { backend \
                    = \"fake\", home = \"/srv/esb2\" }\nprobe = { backend = \"fake\" }\n[[node]]\nname = \"spare1\"\ncapacity = \
                    1000\nspare = true\nhost = { backend = \"fake\" }\nprobe = { backend = \"fake\" }\n";

fn missing<T: std::fmt::Debug>(planned: Result<T, RunError>) -> Vec<String> {
    match planned {
        Err(RunError::Plan { source: PlanError::Missing(missing), .. }) => missing,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_host_misses_is_told_for_all_nodes_at_once_before_anything_is_planned() {
    let world = World::active_passive();
    world.miss("esb2", "setting start: there is no program bin/strat.sh");
    world.miss("spare1", "setting home: there is no folder /srv/spare");
    let told = missing(world.engine().plan(&world.patch_to("2.0")).await);
    assert_eq!(
        told,
        [
            "esb2: setting start: there is no program bin/strat.sh",
            "spare1: setting home: there is no folder /srv/spare"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_program_of_the_change_that_a_node_does_not_have_is_found_before_the_run() {
    let world = World::active_passive();
    world.miss("esb1", "patch");
    let told = missing(world.engine().plan(&world.patch_to("2.0")).await);
    assert_eq!(told, ["esb1: the change: there is no program patch"]);
    world.miss("esb2", "deploy");
    let told = missing(world.engine().plan(&world.patch_to("2.0")).await);
    assert_eq!(told.len(), 1, "a patch deploys nothing: {told:?}");
}

#[tokio::test(start_paused = true)]
async fn two_nodes_whose_hosts_drive_one_server_are_refused() {
    let world = World::active_passive();
    let controller = Controller::new();
    // The block of esb1 was copied: stopping esb2 would stop the server that serves.
    let copied = Arc::new(FakeHost::new(world.clone(), controller.clone(), "esb1".into()));
    let engine = world.builder(&controller).with_host("esb2", copied).build().unwrap();
    let told = missing(engine.plan(&world.patch_to("2.0")).await);
    assert!(told.len() == 1 && told[0].starts_with("esb1 and esb2 are one server, the process"), "{told:?}");
}

/// Seen: an operator had mended the file, and was refused with "planned for another topology"; with the old file it failed again.
#[tokio::test(start_paused = true)]
async fn a_run_goes_on_with_a_topology_that_reaches_a_node_otherwise_and_says_which() {
    let world = World::from_toml_str(TOML).unwrap();
    let engine = world.builder(&Controller::new()).build().unwrap();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    // Neither the patched server nor the old one starts.
    for _ in 0..3 {
        world.plan_fault(Operation::Start, "esb2", Fault::Refused);
    }
    let mut run = engine.run("patch-1".into(), planned).await.unwrap();
    while run.next_event().await.is_some() {}
    let report = run.wait().await.unwrap();
    assert!(matches!(report.end, End::NeedsOperator(_)), "{report}");
    let mended = Topology::from_toml_str(&TOML.replace("/srv/esb2", "/srv/esb-2")).unwrap();
    let builder = world.builder_for(mended, &Controller::new());
    let engine = builder.build().unwrap();
    let report = engine.resume("patch-1".into()).await.unwrap().wait().await.unwrap();
    assert_eq!(report.end, End::AllOld, "{report}");
    assert_eq!(report.reached_otherwise, ["node esb2.host"]);
    let other = Topology::from_toml_str(&TOML.replacen("capacity = 1000", "capacity = 1001", 1)).unwrap();
    let engine = world.builder_for(other, &Controller::new()).build().unwrap();
    let refused = engine.resume("patch-1".into()).await.unwrap_err();
    assert!(refused.to_string().contains("another topology"), "what the proof rests on must be equal: {refused}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_run_with_a_topology_that_reaches_a_node_otherwise_and_with_no_other() {
    let world = World::from_toml_str(TOML).unwrap();
    let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
    let other = Topology::from_toml_str(&TOML.replacen("capacity = 1000", "capacity = 1001", 1)).unwrap();
    let engine = world.builder_for(other, &Controller::new()).build().unwrap();
    let refused = engine.run("patch-1".into(), planned.clone()).await.unwrap_err();
    assert!(matches!(refused, RunError::OtherTopology), "{refused}");
    let mended = Topology::from_toml_str(&TOML.replace("/srv/esb1", "/srv/esb-1")).unwrap();
    let engine = world.builder_for(mended, &Controller::new()).build().unwrap();
    let report = engine.run("patch-1".into(), planned).await.unwrap().wait().await.unwrap();
    assert_eq!((report.end, report.reached_otherwise), (End::AllNew, vec!["node esb1.host".to_string()]));
}

/// The probe's block of esb1 was copied: no file shows it where the two are reached by other names.
#[tokio::test(start_paused = true)]
async fn a_server_whose_address_serves_on_after_its_stop_is_not_changed() {
    let world = World::active_passive();
    let clients = world.clients();
    let controller = Controller::new();
    let copied = Arc::new(FakeProbe::new(world.clone(), controller.clone(), "esb1".into()));
    let engine = world.builder(&controller).with_probe("esb2", copied).build().unwrap();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let report = engine.run("patch-1".into(), planned).await.unwrap().wait().await.unwrap();
    assert!(report.to_string().contains("its address still serves 1.0"), "{report}");
    assert_ne!(report.end, End::AllNew, "{report}");
    assert_eq!((world.applied("esb2"), clients.stop().await.lost), (0, 0), "{report}");
}
