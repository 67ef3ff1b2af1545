//! A cluster that grows and shrinks: the right to write shared files is handed over, a node is added, and one is retired.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::backend::{Admin, FileSync, HoldFiles, LeaseEpoch, Workload};
use ha_core::engine::RunError;
use ha_core::procedure::{AddNodeRequest, HandOverRequest, OutageRequest, PatchRequest, Procedure, RetireNodeRequest};
use ha_core::record::End;
use ha_core::report::RunReport;
use ha_core::state::{MemberKind, Sync, Work};
use ha_core::topology::Name;
use ha_testkit::world::{Controller, FakeFiles, FakeWorkload, Fault, Operation, Shape, World};

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
                "spare1 is no member of the site that serves at rest: it is a spare, or in another site; the members are esb1, esb2",
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
fn what_a_hand_over_has_left_held_is_released_by_the_next_one() {
    for to in ["esb1", "esb2"] {
        paused(async {
            let world = sharing();
            let files = FakeFiles::new(world.clone(), Controller::new());
            files.hold(LeaseEpoch::new(1), HoldFiles::new(Name::new("esb1").unwrap())).await.unwrap();
            let report = run(&world, "hand-over-1", &HandOverRequest::to(to)).await;
            assert_eq!((report.end, report.open.len()), (End::AllNew, 0), "{report}");
            let reader = if to == "esb1" { "esb2" } else { "esb1" };
            assert_eq!(
                (world.writers(), world.shared(reader)),
                (vec![to.to_string()], Some((Sync::Active, Work::None)))
            );
        });
    }
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

#[test]
fn a_member_is_retired_under_load_its_role_handed_over_first_and_nothing_of_it_is_open() {
    for shape in [Shape::active_active(3, 1000), Shape::active_active(3, 1000).with_files().with_balancers(2)] {
        paused(async {
            let world = shape.world().unwrap();
            let clients = world.clients();
            let report = run(&world, "retire-1", &RetireNodeRequest::of("esb3")).await;
            assert_eq!((report.end, report.open.len()), (End::AllNew, 0), "{report}");
            assert!(report.to_string().contains("retired: esb3 is held out, stopped"), "{report}");
            assert_eq!(clients.stop().await.lost, 0);
            assert!(!world.runs("esb3") && world.admins("esb3").iter().all(|admin| *admin == Admin::Maint));
            if shape.files {
                assert_eq!(
                    (world.writers(), world.shared("esb3")),
                    (vec!["esb1".to_string()], Some((Sync::Held, Work::None)))
                );
                assert_eq!(world.shared("esb2"), Some((Sync::Active, Work::None)));
            }
            let again = refused(&world, &RetireNodeRequest::of("esb3")).await;
            assert!(again.contains("esb3 is out of traffic, stopped and held already"), "{again}");
        });
    }
}

#[test]
fn the_active_member_is_retired_once_another_one_stands_in_its_place() {
    paused(async {
        let mut shape = Shape::active_passive().with_files();
        shape.members = vec![1000; 3];
        let world = shape.world().unwrap();
        world.configure("esb2", MemberKind::Primary, Admin::Maint);
        world.configure("esb3", MemberKind::Primary, Admin::Maint);
        let clients = world.clients();
        let report = run(&world, "retire-1", &RetireNodeRequest::of("esb1")).await;
        assert_eq!((report.end, report.open.len(), clients.stop().await.lost), (End::AllNew, 0, 0), "{report}");
        assert_eq!(world.admin("lb1", "esb2"), Some(Admin::Ready));
    });
}

#[test]
fn a_retirement_after_which_one_more_loss_is_not_survived_is_refused_with_the_way_there_and_the_remedy() {
    paused(async {
        for (world, capacity) in [(World::active_passive(), 1000), (Shape::active_active(3, 500).world().unwrap(), 250)]
        {
            let error = refused(&world, &RetireNodeRequest::of("esb1")).await;
            assert!(error.contains("take out esb1") || error.contains("next would be"), "{error}");
            assert!(error.contains("I1 now") || error.contains("I2 one more failure"), "{error}");
            assert!(error.contains(&format!("remedy: add a member of capacity {capacity} first")), "{error}");
        }
    });
}

#[test]
fn the_work_that_only_the_retired_member_pulls_is_pulled_by_another_one_or_it_stays() {
    paused(async {
        let shape = Shape::active_active(3, 1000).with_work();
        let error = refused(&shape.world().unwrap(), &RetireNodeRequest::of("esb1")).await;
        assert!(error.contains("only it pulls work") && error.contains("declare [node.work]"), "{error}");
        let mut shape = shape;
        shape.second_puller = true;
        let world = shape.world().unwrap();
        let other = FakeWorkload::new(world.clone(), Controller::new(), "esb2".into());
        other.quiesce(LeaseEpoch::new(1)).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        let report = run(&world, "retire-1", &RetireNodeRequest::of("esb1")).await;
        assert_eq!((report.end, report.open.len()), (End::AllNew, 0), "{report}");
        let work = |node: &str| world.shared(node).map(|(_, work)| work);
        assert_eq!((work("esb1"), work("esb2")), (Some(Work::Off), Some(Work::On)));
    });
}

/// Three members that all serve, of which the third is declared and not there yet.
fn third_to_come(shape: Shape, installed: bool) -> World {
    let world = shape.world().unwrap();
    if installed {
        world.not_added("esb3")
    } else {
        world.not_installed("esb3")
    }
    world
}

#[test]
fn a_declared_node_becomes_a_member_with_what_the_members_have_by_digest() {
    for (installed, files) in [(false, false), (false, true), (true, false), (true, true)] {
        paused(async {
            let shape = Shape::active_active(3, 1000).with_provision();
            let world = third_to_come(if files { shape.with_files() } else { shape }, installed);
            if files {
                let error = refused(&world, &AddNodeRequest::of("esb3")).await;
                assert!(error.contains("it writes the shared files"), "{error}");
                run(&world, "hand-over-1", &HandOverRequest::to("esb1")).await;
                if installed { world.not_added("esb3") } else { world.not_installed("esb3") }
            }
            for member in ["esb1", "esb2"] {
                world.configure_node(member, "c2");
            }
            let clients = world.clients();
            let report = run(&world, "add-1", &AddNodeRequest::of("esb3")).await;
            assert_eq!((report.end, report.open.len(), clients.stop().await.lost), (End::AllNew, 0, 0), "{report}");
            assert!(report.to_string().contains("added: esb3 is a member, in traffic"), "{report}");
            assert_eq!(
                (world.configuration("esb3").as_deref(), world.installed("esb3").as_deref()),
                (Some("c2"), Some("1.0"))
            );
            assert_eq!(world.admin("lb1", "esb3"), Some(Admin::Ready));
            if files {
                assert_eq!(
                    (world.generation("esb3"), world.shared("esb3")),
                    (Some(1), Some((Sync::Active, Work::None)))
                );
            }
            let again = refused(&world, &AddNodeRequest::of("esb3")).await;
            assert!(again.contains("esb3 serves already: there is nothing to do"), "{again}");
        });
    }
}

#[test]
fn a_node_that_is_added_where_members_stand_by_stands_by() {
    paused(async {
        let mut shape = Shape::active_passive().with_provision();
        shape.members = vec![1000; 3];
        for kind in [MemberKind::Backup, MemberKind::Primary] {
            let world = shape.world().unwrap();
            world.not_installed("esb3");
            world.configure("esb3", kind, Admin::Maint);
            let report = run(&world, "add-1", &AddNodeRequest::of("esb3")).await;
            assert_eq!((report.end, report.open.len()), (End::AllNew, 0), "{report}");
            let admitted = world.admin("lb1", "esb3") == Some(Admin::Ready);
            assert_eq!((admitted, world.runs("esb3")), (kind == MemberKind::Backup, true), "{report}");
            let again = refused(&world, &AddNodeRequest::of("esb3")).await;
            assert!(again.contains("already: there is nothing to do"), "{again}");
        }
    });
}

#[test]
fn a_node_that_cannot_be_what_the_members_are_is_not_added() {
    paused(async {
        let world = third_to_come(Shape::active_active(3, 1000), false);
        let error = refused(&world, &AddNodeRequest::of("esb3")).await;
        assert!(error.contains("esb3: no release is installed: correct its home, or install one"), "{error}");
        let world = third_to_come(Shape::active_active(3, 1000), true);
        world.install("esb3", "0.9");
        let error = refused(&world, &AddNodeRequest::of("esb3")).await;
        assert!(
            error.contains("release 1.0 of the members is not installed on it; declare what installs on it"),
            "{error}"
        );
        let error = refused(&World::active_passive(), &AddNodeRequest::of("spare1")).await;
        assert!(error.contains("spare1 is no member"), "{error}");
        let world = Shape::active_active(3, 1000).world().unwrap();
        world.crash("esb3");
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let error = refused(&world, &AddNodeRequest::of("esb3")).await;
        assert!(error.contains("it may get requests; hold it out on every balancer first"), "{error}");
    });
}

#[test]
fn a_node_that_fails_its_test_is_not_added_and_gets_no_request() {
    paused(async {
        let world = third_to_come(Shape::active_active(3, 1000).with_provision(), false);
        world.fail_test_of("esb3", "1.0");
        let clients = world.clients();
        let report = run(&world, "add-1", &AddNodeRequest::of("esb3")).await;
        assert!(matches!(report.end, End::NeedsOperator(_)) && report.open.is_empty(), "{report}");
        assert_eq!((clients.stop().await.lost, world.admin("lb1", "esb3")), (0, Some(Admin::Maint)));
    });
}

#[test]
fn a_cluster_grows_hands_its_writer_to_the_new_node_and_gives_the_old_writer_up() {
    paused(async {
        let world = third_to_come(Shape::active_active(3, 1000).with_files().with_provision(), true);
        let clients = world.clients();
        for (name, request) in [
            ("hand-over-1", &HandOverRequest::to("esb1") as &dyn Procedure),
            ("add-1", &AddNodeRequest::of("esb3")),
            ("hand-over-2", &HandOverRequest::to("esb3")),
            ("retire-1", &RetireNodeRequest::of("esb1").and_remove()),
        ] {
            if name == "add-1" {
                world.not_installed("esb3");
            }
            let report = run(&world, name, request).await;
            assert_eq!((report.end, report.open.len()), (End::AllNew, 0), "{report}");
        }
        assert_eq!((clients.stop().await.lost, world.writers()), (0, vec!["esb3".to_string()]));
        assert_eq!(world.configuration("esb1"), None);
        let script = |what: &str| vec!["patch".to_string(), what.to_string()];
        let patch = PatchRequest::new("2.0", script("apply"), script("restore")).with_beside("1.0");
        let error = refused(&world, &patch).await;
        assert!(error.contains("esb1"), "a retired node is in the way until the topology leaves it out: {error}");
    });
}
