//! A change under a fault, in milliseconds: virtual time.

use ha_core::record::End;
use ha_testkit::world::{Fault, Operation, World};

#[tokio::test(start_paused = true)]
async fn a_start_that_is_refused_takes_the_patch_back_and_loses_no_request() {
    let world = World::active_passive();
    world.plan_fault(Operation::Start, "esb2", Fault::Refused);
    let (clients, engine) = (world.clients(), world.engine());
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let report = engine.run("patch-1".into(), planned).await.unwrap().wait().await.unwrap();
    assert_eq!((report.end, clients.stop().await.lost), (End::AllOld, 0), "{report}");
    assert_eq!(world.fired().len(), 1);
}
