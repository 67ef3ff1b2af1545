//! Nodes in several pools: each pool under its own load, each with its own capacity.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use ha_core::backend::Admin;
use ha_core::engine::RunError;
use ha_core::procedure::PlanError;
use ha_core::record::End;
use ha_core::topology::{Component, Name, NodeSpec, PoolSpec, PortSpec, Topology};
use ha_testkit::world::{Shape, World};

#[tokio::test(start_paused = true)]
async fn a_patch_loses_no_request_in_either_pool_whoever_serves_it() {
    let shapes = [
        Shape::active_passive().with_second_pool(1),
        Shape::active_passive().with_balancers(2).with_second_pool(2),
        Shape::active_active(3, 500).with_spares(&[500]).with_second_pool(3),
        Shape::active_active(3, 1000).with_balancers(2).with_second_pool(1),
    ];
    for shape in shapes {
        let world = shape.world().unwrap();
        let clients = world.clients();
        let engine = world.engine();
        let planned = engine.plan(&world.patch_to("2.0")).await.unwrap_or_else(|error| panic!("{shape:?}: {error}"));
        let proven: Vec<&str> = planned.proof().pools.iter().map(|pool| pool.pool.as_str()).collect();
        assert_eq!(proven, ["esb", "mgmt"]);
        let report = engine.run("run".into(), planned).await.unwrap().wait().await.unwrap();
        let served = clients.stop().await;
        assert_eq!(report.end, End::AllNew, "{shape:?}: {report}");
        assert_eq!(served.lost, 0, "{shape:?}: {:?}", served.reasons);
        assert!(served.pools["esb"].sent > 100 && served.pools["mgmt"].sent > 100, "{:?}", served.pools);
        let seen: Vec<&str> = report.pools.iter().map(|pool| pool.pool.as_str()).collect();
        assert_eq!(seen, ["esb", "mgmt"]);
        let lowest = report.pools.iter().map(|pool| pool.lowest).min();
        assert_eq!(report.lowest_margin, lowest, "the lowest over the pools");
        assert!(lowest >= Some(0), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_fails_its_test_is_rolled_back_in_both_pools() {
    let world = Shape::active_passive().with_second_pool(2).world().unwrap();
    world.fail_test_of("esb1", "2.0");
    let clients = world.clients();
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let report = engine.run("run".into(), planned).await.unwrap().wait().await.unwrap();
    assert_eq!(report.end, End::AllOld, "{report}");
    for node in ["esb1", "esb2"] {
        assert_eq!(world.admins(node), [Admin::Ready; 2], "{node}");
    }
    assert_eq!(world.admins("spare1"), [Admin::Maint; 2]);
    assert_eq!(clients.stop().await.lost, 0);
}

fn component() -> Component {
    Component::new(Name::new("fake").unwrap())
}

/// Three nodes that can spare one in the first pool, and not in the second.
fn short_of_consoles() -> Topology {
    let node = |name: &str| {
        NodeSpec::new(name, 1000, component(), component()).with_port(PortSpec::new("mgmt").with_capacity(40))
    };
    Topology::builder("orders")
        .balancer("lb1", component())
        .pool(PoolSpec::new("esb", 3, 1000))
        .pool(PoolSpec::new("mgmt", 3, 100))
        .node(node("esb1"))
        .node(node("esb2"))
        .node(node("esb3"))
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_one_pool_cannot_carry_is_refused_with_its_name_and_what_it_needs() {
    let world = World::new(short_of_consoles());
    let refused = world.engine().plan(&world.patch_to("2.0")).await.unwrap_err();
    let RunError::Plan { source: PlanError::Unprovable { counterexample, remedy, .. }, .. } = refused else {
        panic!("{refused}")
    };
    assert!(counterexample.violation.facts.starts_with("pool mgmt: "), "{counterexample}");
    assert!(remedy.to_string().contains("1 in pool esb, 35 in pool mgmt"), "{remedy}");
}
