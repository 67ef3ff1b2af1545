//! A cluster that grows and shrinks: the right to write shared files is handed over, a node is added, and one is retired.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::engine::RunError;
use ha_core::procedure::{HandOverRequest, OutageRequest, Procedure};
use ha_core::record::End;
use ha_core::report::RunReport;
use ha_core::state::{Sync, Work};
use ha_testkit::world::{Fault, Operation, Shape, World};

fn paused<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(test)
}

async fn run(world: &World, name: &str, request: &dyn Procedure) -> RunReport {
    let engine = world.engine();
    let planned = engine.plan(request).await.unwrap_or_else(|error| panic!("{error}"));
    engine.run(name.into(), planned).await.unwrap().wait().await.unwrap()
}

async fn refused(world: &World, request: &dyn Procedure) -> String {
    match world.engine().plan(request).await {
        Err(RunError::Plan { source, .. }) => source.to_string(),
        other => panic!("it is planned: {other:?}"),
    }
}

fn sharing() -> World {
    Shape::active_passive().with_files().world().unwrap()
}

#[test]
fn the_writer_is_handed_over_under_load_and_every_sync_comes_from_the_new_one() {
    for shape in [Shape::active_passive().with_files(), Shape::active_active(3, 750).with_files()] {
        paused(async {
            let world = shape.world().unwrap();
            let (clients, before) = (world.clients(), world.writers());
            assert_ne!(before, ["esb1"]);
            let report = run(&world, "hand-over-1", &HandOverRequest::to("esb1")).await;
            assert_eq!((report.end, report.open.len()), (End::AllNew, 0), "{report}");
            assert!(report.to_string().contains("handed over: esb1 writes the shared files"), "{report}");
            assert_eq!((world.writers(), clients.stop().await.lost), (vec!["esb1".to_string()], 0));
            assert_eq!(world.shared("esb1"), Some((Sync::None, Work::None)));
            for reader in before.iter().map(String::as_str).chain(["esb2"]) {
                assert_eq!(world.shared(reader), Some((Sync::Active, Work::None)), "{reader}");
            }
        });
    }
}

#[test]
fn a_hand_over_is_refused_where_it_would_lose_files_or_say_nothing() {
    paused(async {
        let unshared = refused(&World::active_passive(), &HandOverRequest::to("esb1")).await;
        assert!(unshared.contains("declares no [files]"), "{unshared}");
        for (to, words) in [
            ("esb2", "esb2 writes the shared files already: there is nothing to do"),
            (
                "spare1",
                "spare1 is no member: a spare leaves when the run that needs it has ended; the members are esb1, esb2",
            ),
            ("esb9", "esb9 is not declared; the members are esb1, esb2"),
        ] {
            let error = refused(&sharing(), &HandOverRequest::to(to)).await;
            assert!(error.contains(words), "{to}: {error}");
        }
        let world = sharing();
        world.crash("esb1");
        let error = refused(&world, &HandOverRequest::to("esb1")).await;
        assert!(error.contains("its server is not ready, or its test does not pass"), "{error}");
        let world = sharing();
        world.put_files("esb2", 2);
        let error = refused(&world, &HandOverRequest::to("esb1")).await;
        assert!(
            error.contains("esb1 is not ready for a change: it has generation 1, esb2 writes and has generation 2"),
            "{error}"
        );
    });
}

#[test]
fn a_hand_over_that_fails_leaves_the_old_writer_and_every_sync_as_it_was() {
    paused(async {
        let world = sharing();
        for _ in 0..2 {
            world.plan_fault(Operation::Share, "esb1", Fault::Refused);
        }
        let report = run(&world, "hand-over-1", &HandOverRequest::to("esb1")).await;
        assert_eq!((report.end, report.open.len()), (End::AllOld, 0), "{report}");
        assert_eq!(world.writers(), ["esb2"]);
        assert_eq!(world.shared("esb1"), Some((Sync::Active, Work::None)));
    });
}

#[test]
fn a_writer_that_nobody_can_reach_is_taken_over_from_only_where_a_person_answers_for_it() {
    paused(async {
        let world = sharing();
        world.lose("esb2");
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let error = refused(&world, &HandOverRequest::to("esb1")).await;
        assert!(error.contains("one that is lost is held out first (OutageRequest)"), "{error}");
        let outage = run(&world, "outage-1", &OutageRequest::of("esb2")).await;
        assert_eq!((outage.end, outage.open.len()), (End::AllNew, 0), "{outage}");
        let error = refused(&world, &HandOverRequest::to("esb1")).await;
        assert!(error.contains("esb2 is not ready for a change: nobody can reach it, and it may write"), "{error}");
        assert!(error.contains("fence it first"), "{error}");
        let taken = run(&world, "hand-over-1", &HandOverRequest::to("esb1").taking_over("jane")).await;
        assert_eq!((taken.end, taken.open.len()), (End::AllNew, 0), "{taken}");
        assert!(taken.to_string().contains("taken over from esb2 without a fence by jane"), "{taken}");
        assert_eq!(world.writers(), ["esb1"]);
    });
}
