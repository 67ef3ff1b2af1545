//! A version upgrade whose scripts break the release in use, over a clone of the database, in a declared window.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use ha_core::engine::RunError;
use ha_core::plan::{Degraded, Draft};
use ha_core::procedure::{PlanError, UpgradeRequest};
use ha_core::record::End;
use ha_core::report::RunReport;
use ha_core::safety::prove;
use ha_core::state::{CloneStage, Copies, Schema, SchemaChange, SchemaVerdict, Source};
use ha_testkit::simulate::{FaultAt, Outcome, simulate_death, simulate_plan};
use ha_testkit::world::{Controller, Death, Fault, Operation, Shape, World};

const WINDOW: Duration = Duration::from_secs(120);

fn breaking(shape: &Shape) -> World {
    let world = shape.world().unwrap();
    world.set_schema_change(
        SchemaChange::new(SchemaVerdict::NeedsWindow, "scripts")
            .with_reason("V5__drop.sql line 3: HA005 drops a column"),
    );
    world
}

fn world() -> World {
    breaking(&Shape::active_passive().with_clone())
}

fn request(world: &World) -> UpgradeRequest {
    world.upgrade_to("2.0").with_window(WINDOW)
}

async fn refusal(world: &World, request: &UpgradeRequest) -> String {
    world.engine().plan(request).await.unwrap_err().to_string()
}

async fn upgraded(world: &World, request: &UpgradeRequest) -> (RunReport, u64) {
    let clients = world.clients();
    let planned = world.engine().plan(request).await.unwrap();
    let report = world.engine().run("upgrade".into(), planned).await.unwrap().wait().await.unwrap();
    (report, clients.stop().await.lost)
}

fn actions(report: &RunReport) -> Vec<&str> {
    report.steps.iter().map(|step| step.action.as_str()).collect()
}

const SINGLE: Copies = Copies::SINGLE;
const SWITCHED: Copies = Copies::new(Source::Frozen, CloneStage::Open);

#[tokio::test(start_paused = true)]
async fn breaking_scripts_are_run_on_a_clone_that_takes_writes_when_all_members_use_it() {
    let world = world();
    let (report, lost) = upgraded(&world, &request(&world)).await;
    assert_eq!((report.end, lost, world.copies()), (End::AllNew, 0, SWITCHED), "{report}");
    assert_eq!(world.schema(), Schema::Base, "nothing is run on the source");
    let place = |wanted: &str| actions(&report).iter().position(|action| *action == wanted).unwrap();
    let last = |wanted: &str| actions(&report).iter().rposition(|action| *action == wanted).unwrap();
    assert!(place("freeze") < place("copy") && place("copy") < place("compare"), "{report}");
    assert!(place("migrate clone") < place("apply") && last("admit") < place("open clone"), "{report}");
    assert!(report.notes[0].contains("jdbc:fake:clone"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn the_report_holds_the_declared_window_against_the_used_one() {
    let world = world();
    let (report, _) = upgraded(&world, &request(&world)).await;
    let [window] = &report.windows[..] else { panic!("{report}") };
    assert_eq!((window.what, window.at_most_ms), (Degraded::WritesRefused, 120_000));
    assert!(window.used_ms > 0 && !window.is_exceeded(), "{report}");
    assert!(report.to_string().contains("window: the database refuses writes for"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn the_proof_names_the_window() {
    let world = world();
    let planned = world.engine().plan(&request(&world)).await.unwrap();
    assert!(planned.proof().windows.iter().any(|window| window.what == Degraded::WritesRefused));
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_declares_no_window_is_refused() {
    let world = world();
    let planned = world.engine().plan(&request(&world)).await.unwrap();
    let mut draft = Draft::from(planned.plan().clone());
    draft.windows.retain(|window| window.what != Degraded::WritesRefused);
    let refused = prove(world.topology(), &draft.into()).unwrap_err();
    assert!(refused.to_string().contains("the plan declares no window"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn without_a_window_breaking_scripts_are_refused_and_the_text_names_the_way_out() {
    let error = refusal(&world(), &world().upgrade_to("2.0")).await;
    assert!(error.contains("HA005 drops a column") && error.contains("with_window"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_window_of_nothing_is_refused() {
    let request = world().upgrade_to("2.0").with_window(Duration::ZERO);
    assert!(refusal(&world(), &request).await.contains("the window is 0"));
}

#[tokio::test(start_paused = true)]
async fn where_no_clone_is_declared_the_key_is_named() {
    let world = breaking(&Shape::active_passive().with_database());
    let error = refusal(&world, &request(&world)).await;
    assert!(error.contains("clone_url") && error.contains("[database]"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_cannot_be_read_is_not_planned_over() {
    let world = world();
    world.set_lasting_fault(Operation::Copies, "database", Fault::Unreachable);
    let Err(RunError::Plan { source: PlanError::Incomplete(_), seen }) = world.engine().plan(&request(&world)).await
    else {
        panic!("it was planned")
    };
    assert!(seen.iter().any(|note| note.contains("the clone of the database cannot be read")), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_database_for_the_clone_that_holds_something_is_refused_before_anything_is_done() {
    let world = world();
    world.occupy_clone();
    let error = refusal(&world, &request(&world)).await;
    assert!(error.contains("empty jdbc:fake:clone"), "{error}");
    assert_eq!(world.copies(), Copies::new(Source::Open, CloneStage::Occupied));
}

#[tokio::test(start_paused = true)]
async fn scripts_that_can_be_split_take_no_window() {
    let world = Shape::active_passive().with_clone().world().unwrap();
    let (report, _) = upgraded(&world, &request(&world)).await;
    assert_eq!((report.end, world.copies(), world.schema()), (End::AllNew, SINGLE, Schema::Contracted), "{report}");
    assert!(report.windows.is_empty(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_differs_turns_the_run_back_and_names_the_table() {
    let world = world();
    world.lose_a_row_of_the_copy();
    let (report, lost) = upgraded(&world, &request(&world)).await;
    assert_eq!((report.end, lost, world.copies()), (End::AllOld, 0, SINGLE), "{report}");
    assert!(report.to_string().contains("differs in table orders"), "{report}");
    assert!(!actions(&report).contains(&"apply"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_new_release_that_fails_its_test_gives_the_database_back() {
    for node in ["esb1", "esb2"] {
        let world = world();
        world.fail_test_of(node, "2.0");
        let (report, lost) = upgraded(&world, &request(&world)).await;
        assert_eq!((report.end, lost, world.copies()), (End::AllOld, 0, SINGLE), "{node}: {report}");
        assert_eq!(world.rows().1, 0, "the clone is dropped");
        let place = |wanted: &str| actions(&report).iter().position(|action| *action == wanted);
        assert!(place("drop clone").is_some() && place("drop clone") < place("thaw"), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_fails_its_test_while_writes_are_refused_turns_the_run_back_before_anything_is_copied() {
    let world = world();
    for skip in [1, 0] {
        world.plan_fault_after(Operation::Test, "esb1", skip, Fault::Refused);
    }
    let (report, lost) = upgraded(&world, &request(&world)).await;
    assert_eq!((report.end, lost, world.copies()), (End::AllOld, 0, SINGLE), "{report}");
    assert!(!actions(&report).contains(&"copy"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_does_not_end_turns_the_run_back() {
    let world = world();
    world.hold_write(true);
    let (report, lost) = upgraded(&world, &request(&world)).await;
    assert_eq!((report.end, lost, world.copies()), (End::AllOld, 0, SINGLE), "{report}");
    assert!(report.to_string().contains("a transaction that has written holds orders"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_used_up_turns_the_run_back() {
    let world = world();
    let request = world.upgrade_to("2.0").with_window(Duration::from_secs(6));
    let (report, lost) = upgraded(&world, &request).await;
    assert_eq!((report.end, lost, world.copies()), (End::AllOld, 0, SINGLE), "{report}");
    assert!(actions(&report).contains(&"copy") && !actions(&report).contains(&"open clone"), "{report}");
    assert_eq!(report.windows.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_the_switch_nothing_is_planned_until_the_topology_names_the_clone() {
    let world = world();
    upgraded(&world, &request(&world)).await;
    let error = world.engine().plan(&world.patch_to("3.0")).await.unwrap_err().to_string();
    assert!(error.contains("set url of [database] to clone_url"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn each_step_of_a_clone_that_goes_wrong_ends_all_new_or_all_old() {
    for skip in 0..6 {
        for fault in [Fault::Refused, Fault::LostBefore, Fault::LostAfter, Fault::Lies, Fault::Half, Fault::Broken] {
            let world = world();
            let planned = world.engine().plan(&request(&world)).await.unwrap();
            let call = FaultAt::Call { operation: Operation::CloneStep, name: "database".into(), skip, fault };
            let Outcome::Ran { end, broken, open, .. } = simulate_plan(&world, planned, &[call]).await else {
                panic!("it runs")
            };
            assert_eq!(broken, [], "{skip} {fault:?}");
            assert!(matches!(end, End::AllNew | End::AllOld), "{skip} {fault:?}: {end:?} {open:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_dies_at_any_record_leaves_what_another_brings_to_an_end() {
    for records in (1..90).step_by(2) {
        let world = world();
        let planned = world.engine().plan(&request(&world)).await.unwrap();
        let controller = Controller::dying(Death::After(records));
        let Outcome::Ran { end, broken, .. } = simulate_death(&world, planned, &[], &controller, &async |_| {}).await
        else {
            panic!("it runs")
        };
        assert_eq!((end, broken), (End::AllNew, vec![]), "after {records}");
        assert_eq!(world.copies(), SWITCHED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_lost_in_the_window_leaves_one_database_that_takes_writes() {
    let mut good = 0;
    for after in (0..60).step_by(3) {
        let world = world();
        let planned = world.engine().plan(&request(&world)).await.unwrap();
        let loss = FaultAt::Loss { after: Duration::from_secs(after), node: "esb2".into() };
        let Outcome::Ran { end, broken, open, .. } = simulate_plan(&world, planned, &[loss]).await else {
            panic!("it runs")
        };
        assert_eq!(broken, [], "after {after} s");
        let copies = world.copies();
        match end {
            End::AllNew => assert_eq!(copies, SWITCHED, "after {after} s"),
            End::AllOld => assert_eq!(copies, SINGLE, "after {after} s"),
            // One at most takes writes, and where none does, that is open.
            End::NeedsOperator(why) => {
                let open_of = [copies.source == Source::Open, copies.clone == CloneStage::Open];
                assert_ne!(open_of, [true, true], "after {after} s: {why:?}");
                assert!(open_of != [false, false] || !open.is_empty(), "after {after} s: {why:?}, nothing is open");
            }
        }
        good += usize::from(!matches!(end, End::NeedsOperator(_)));
    }
    assert!(good > 0, "no run came to a good end");
}

#[tokio::test(start_paused = true)]
async fn members_that_all_serve_change_one_after_another_with_a_spare() {
    let world = breaking(&Shape::active_active(2, 750).with_spares(&[750]).with_clone());
    let (report, lost) = upgraded(&world, &request(&world)).await;
    assert_eq!((report.end, lost, world.copies()), (End::AllNew, 0, SWITCHED), "{report}");
    let world = breaking(&Shape::active_active(2, 750).with_spares(&[750]).with_clone());
    world.fail_test_of("esb1", "2.0");
    let (report, lost) = upgraded(&world, &request(&world)).await;
    assert_eq!((report.end, lost, world.copies()), (End::AllOld, 0, SINGLE), "{report}");
}
