//! `lost_after` holds for what a balancer says, too: one health flap turns nothing back.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use ha_core::record::End;
use ha_testkit::world::Shape;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn one_health_flap_of_a_healthy_node_turns_nothing_back_and_loses_nothing() {
    let shapes = [Shape::active_active(3, 750), Shape::active_active(4, 1000), Shape::active_passive()];
    let (mut runs, mut wrong) = (0, Vec::new());
    for shape in shapes {
        for time in [5, 300, 1_500].map(Duration::from_millis) {
            for (node, after) in
                ["esb1", "esb2"].into_iter().flat_map(|node| (0..20).map(move |step| (node, 517 * step)))
            {
                let world = shape.world().unwrap();
                let engine = world.engine();
                let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
                let clients = world.clients();
                let run = engine.run("patch-1".into(), planned).await.unwrap();
                sleep(Duration::from_millis(after)).await;
                world.flap(node, time);
                let report = run.wait().await.unwrap();
                let served = clients.stop().await;
                runs += 1;
                if report.end != End::AllNew || served.lost > 0 {
                    let members = world.topology().members().count();
                    wrong.push(format!(
                        "{members} members, {node} for {time:?} after {after} ms: {report}{:?}",
                        served.reasons
                    ));
                }
            }
        }
    }
    ha_testkit::figures!("{runs} runs with one health flap");
    assert!(wrong.is_empty(), "{} of {runs} runs:\n{}", wrong.len(), wrong.join("\n"));
}
