//! A plan of each procedure, for a cluster that shows what the procedure is about.

use std::time::Duration;

use ha_core::plan::Plan;
use ha_core::procedure::{AddNodeRequest, HandOverRequest, OutageRequest, Procedure, RejoinRequest, RetireNodeRequest};
use ha_core::topology::Topology;
use ha_testkit::world::{Shape, World};

/// A plan, and the cluster that it is for.
pub(crate) struct Canonical {
    /// The procedure's name, as its plan has it.
    pub(crate) name: &'static str,
    pub(crate) topology: Topology,
    pub(crate) plan: Plan,
}

async fn planned(name: &'static str, world: &World, request: &dyn Procedure) -> Canonical {
    let planned = world.engine().plan(request).await.unwrap();
    assert_eq!(planned.plan().procedure(), name);
    Canonical { name, topology: world.topology().clone(), plan: planned.plan().clone() }
}

/// Plans each procedure for an active node, a passive one and a spare.
pub(crate) async fn plans() -> Vec<Canonical> {
    let shape = Shape::active_passive();
    let (patched, shared) = (shape.world().unwrap(), shape.clone().with_files());
    let upgraded = shape.clone().with_database().world().unwrap();
    let (updated, added) = (shared.world().unwrap(), shared.with_exposure().world().unwrap());
    let mut plans = vec![
        planned("patch", &patched, &patched.patch_to("2.0")).await,
        planned("upgrade", &upgraded, &upgraded.upgrade_to("2.0")).await,
        planned("update", &updated, &updated.update_to(2)).await,
        planned("add service", &added, &added.add_service()).await,
    ];
    let lost = shape.world().unwrap();
    lost.lose("esb1");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let outage = OutageRequest::of("esb1");
    plans.push(planned("outage", &lost, &outage).await);
    let engine = lost.engine();
    let secured = engine.plan(&outage).await.unwrap();
    engine.run("outage-1".into(), secured).await.unwrap().wait().await.unwrap();
    lost.repair("esb1");
    plans.push(planned("rejoin", &lost, &RejoinRequest::of("esb1")).await);
    let three = Shape::active_active(3, 1000).with_files().with_provision();
    let (grown, shrunk) = (three.world().unwrap(), three.world().unwrap());
    plans.push(planned("hand over", &shrunk, &HandOverRequest::to("esb1")).await);
    grown.let_write("esb1");
    grown.not_installed("esb3");
    plans.push(planned("add node", &grown, &AddNodeRequest::of("esb3")).await);
    plans.push(planned("retire node", &shrunk, &RetireNodeRequest::of("esb3")).await);
    plans
}
