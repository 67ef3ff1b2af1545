//! A loss in the middle of a change costs the reaction and no more: the change is planned anew from what is left, and ends all new
//! or all old with nothing lent. A loss at rest is a procedure, and so is the return of what was lost.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::Admin;
use ha_core::journal::Journal;
use ha_core::machine::{Command, Input, RunMachine, RunState};
use ha_core::procedure::{OutageRequest, RejoinRequest};
use ha_core::record::{End, Mode, Record, Why};
use ha_core::state::{NodeSeen, Observation};
use ha_core::topology::AfterLoss;
use ha_testkit::simulate::{FaultAt, Outcome, Procedure, simulate_plan};
use ha_testkit::world::{Controller, Shape, World};

fn paused<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(test)
}

/// Lists what the run has said of its turns.
async fn turns(world: &World) -> Vec<String> {
    let entries = world.store().read(&"run".into()).await.unwrap();
    let line = |entry: &ha_core::record::Entry| match &entry.record {
        Record::Turned { message, .. } => Some(message.clone()),
        Record::Replanned { plan } => Some(plan.to_text(world.topology())),
        _ => None,
    };
    entries.iter().filter_map(line).collect()
}

/// Loses a node at each of these moments of a patch; returns how the runs ended, and what was wrong.
fn lose_each(
    shape: &Shape,
    nodes: &[&str],
    moments: impl Iterator<Item = u64> + Clone,
) -> (BTreeMap<String, u64>, Vec<String>) {
    let (mut ends, mut wrong) = (BTreeMap::new(), Vec::new());
    for node in nodes {
        for after in moments.clone() {
            let (outcome, turns) = paused(async {
                let world = shape.world().unwrap();
                let planned = Procedure::Patch.plan(&world).await.unwrap();
                let loss = FaultAt::Loss { after: Duration::from_millis(after), node: (*node).into() };
                let outcome = simulate_plan(&world, planned, &[loss]).await;
                (outcome, turns(&world).await)
            });
            let Outcome::Ran { end, open, mut broken, .. } = outcome else { panic!("it runs: {outcome:?}") };
            // The policy declares the window in which one more loss is not survived.
            broken.retain(|broken| !broken.what.starts_with("I2 "));
            *ends.entry(end.to_string()).or_insert(0) += 1;
            if !matches!(end, End::AllNew | End::AllOld) || !broken.is_empty() || !open.is_empty() {
                let broken = broken.first();
                wrong.push(format!("{node} after {after} ms: {end}, open {open:?}, broken {broken:?}, {turns:#?}"));
            }
        }
    }
    (ends, wrong)
}

#[test]
fn a_patch_that_loses_its_active_its_passive_or_its_spare_at_any_moment_ends_all_new_or_all_old() {
    let shape = Shape::active_passive().with_after_loss(AfterLoss::Finish);
    let (ends, wrong) = lose_each(&shape, &["esb1", "esb2", "spare1"], (0..60).map(|step| step * 500 + 100));
    ha_testkit::figures!("losses in a patch, active/passive: {ends:?}");
    assert!(wrong.is_empty(), "{} of {:?}:\n{}", wrong.len(), ends, wrong.join("\n"));
}

#[test]
fn a_patch_of_nodes_that_all_serve_goes_on_without_the_one_that_is_lost() {
    for shape in [Shape::active_active(3, 750), Shape::active_active(2, 1000).with_spares(&[1000])] {
        let shape = shape.with_after_loss(AfterLoss::Finish);
        let members: Vec<String> = (1..=shape.members.len()).map(|number| format!("esb{number}")).collect();
        let nodes: Vec<&str> = members.iter().map(String::as_str).collect();
        let (ends, wrong) = lose_each(&shape, &nodes, (0..20).map(|step| step * 1_500 + 100));
        ha_testkit::figures!("losses in a patch, active/active: {ends:?}");
        assert!(wrong.is_empty(), "{} of {:?}:\n{}", wrong.len(), ends, wrong.join("\n"));
    }
}

async fn run(world: &World, name: &str, procedure: &dyn ha_core::procedure::Procedure) -> ha_core::report::RunReport {
    let engine = world.engine();
    let planned = engine.plan(procedure).await.unwrap_or_else(|error| panic!("{error}"));
    engine.run(name.into(), planned).await.unwrap().wait().await.unwrap()
}

#[test]
fn the_loss_of_a_node_at_rest_is_a_procedure_and_so_is_its_return() {
    paused(async {
        let world = Shape::active_passive().world().unwrap();
        world.lose("esb1");
        tokio::time::sleep(Duration::from_secs(3)).await;
        let outage = run(&world, "outage-1", &OutageRequest::of("esb1")).await;
        assert_eq!((outage.end, outage.open.len()), (End::AllNew, 0), "{outage}");
        assert!(world.admins("esb1").iter().all(|admin| *admin == Admin::Maint), "it does not come back by itself");
        assert!(world.runs("spare1"), "the spare has its place");
        world.repair("esb1");
        let rejoin = run(&world, "rejoin-1", &RejoinRequest::of("esb1")).await;
        assert_eq!((rejoin.end, rejoin.open.len()), (End::AllNew, 0), "{rejoin}");
        assert!(!world.runs("spare1") && world.runs("esb1"), "{rejoin}");
        // And the cluster can be changed again.
        let patched = run(&world, "patch-1", &world.patch_to("2.0")).await;
        assert_eq!(patched.end, End::AllNew, "{patched}");
    });
}

/// Whoever goes on reads the plan that stands from the journal, before or after it was planned anew.
#[test]
fn a_controller_that_dies_after_a_loss_leaves_the_run_to_another_one() {
    let shape = Shape::active_passive().with_after_loss(AfterLoss::Finish);
    let (mut ends, mut wrong) = (BTreeMap::<String, u64>::new(), Vec::new());
    for (node, lost_at) in [("esb1", 3_100), ("esb1", 9_100), ("esb2", 6_100), ("spare1", 5_100)] {
        for later in (0..16).map(|step| 400 * step) {
            let outcome = paused(async {
                let world = shape.world().unwrap();
                let planned = Procedure::Patch.plan(&world).await.unwrap();
                let [after, dies] = [lost_at, lost_at + later].map(Duration::from_millis);
                let faults = [FaultAt::Loss { after, node: node.into() }, FaultAt::Death { after: dies }];
                simulate_plan(&world, planned, &faults).await
            });
            let Outcome::Ran { end, open, mut broken, .. } = outcome else { panic!("it runs: {outcome:?}") };
            broken.retain(|broken| !broken.what.starts_with("I2 "));
            *ends.entry(end.to_string()).or_default() += 1;
            if !matches!(end, End::AllNew | End::AllOld) || !broken.is_empty() || !open.is_empty() {
                wrong.push(format!("{node} after {lost_at} ms, death {later} ms later: {end}, {open:?}, {broken:?}"));
            }
        }
    }
    ha_testkit::figures!("losses and then the controller's death: {ends:?}");
    assert!(wrong.is_empty(), "{} of {ends:?}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_run_that_is_held_for_a_person_after_a_loss_is_resumed_with_the_other_answer() {
    paused(async {
        let shape = Shape::active_passive();
        let world = shape.world().unwrap();
        let engine = world.engine();
        let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
        let run = engine.run("patch-1".into(), planned).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5_100)).await;
        world.lose("spare1");
        let held = run.wait().await.unwrap();
        assert!(matches!(held.end, End::NeedsOperator(Why::DomainLost(_))), "{held}");
        let decided = shape.with_after_loss(AfterLoss::Finish).topology().unwrap();
        let engine = world.builder_for(decided, &Controller::new()).build().unwrap();
        let report = engine.resume("patch-1".into()).await.unwrap().wait().await.unwrap();
        assert!(matches!(report.end, End::AllNew | End::AllOld) && report.open.is_empty(), "{report}");
        assert_eq!(world.installed("esb1"), world.installed("esb2"), "{report}");
    });
}

/// Follows up the loss of esb1 and begins its return; then something happens to the world, and the run goes to its end.
async fn return_of_esb1(
    shape: Shape,
    after: u64,
    meanwhile: impl AsyncFn(&World),
) -> (World, ha_core::report::RunReport) {
    let world = shape.world().unwrap();
    world.lose("esb1");
    let outage = run(&world, "outage-1", &OutageRequest::of("esb1")).await;
    assert_eq!((outage.end, outage.open.len()), (End::AllNew, 0), "{outage}");
    world.repair("esb1");
    let engine = world.engine();
    let planned = engine.plan(&RejoinRequest::of("esb1")).await.unwrap_or_else(|error| panic!("{error}"));
    let running = engine.run("run".into(), planned).await.unwrap();
    tokio::time::sleep(Duration::from_millis(after)).await;
    meanwhile(&world).await;
    let report = running.wait().await.unwrap();
    (world, report)
}

#[test]
fn a_member_that_is_lost_again_while_it_comes_back_is_not_said_to_be_back() {
    let mut ends = BTreeMap::new();
    for after in (0..24).map(|step| step * 250) {
        paused(async {
            let lose = async |world: &World| world.lose("esb1");
            let (world, report) = return_of_esb1(Shape::active_passive(), after, lose).await;
            // It has passed its test by then, and what is left to do is over before anybody looks again.
            let late = after > 2_000;
            let said = format!("after {after} ms: {report} {:#?}", turns(&world).await);
            assert!(late || report.end != End::AllNew, "{said}");
            assert!(world.admin("lb1", "esb2") == Some(Admin::Ready), "{said}");
            *ends.entry(report.end.to_string()).or_insert(0) += 1;
        });
    }
    assert!(ends.get("all old").is_some_and(|count| *count > 3), "{ends:?}");
}

#[test]
fn a_member_comes_back_where_nobody_stands_in_for_it() {
    for shape in [Shape::active_passive().with_spares(&[]), Shape::active_active(3, 500), Shape::active_active(2, 750)]
    {
        paused(async {
            let (world, report) = return_of_esb1(shape, 0, async |_: &World| ()).await;
            assert_eq!((report.end, report.open.len()), (End::AllNew, 0), "{report}");
            assert!(world.runs("esb1"), "{report}");
        });
    }
}

#[test]
fn a_balancer_that_loses_its_state_while_a_member_comes_back_sends_it_nothing_untested_and_keeps_who_serves() {
    paused(async {
        let clients = std::cell::RefCell::new(None);
        let forget = async |world: &World| {
            *clients.borrow_mut() = Some(world.clients());
            world.restart_balancer("lb1");
        };
        let (world, report) = return_of_esb1(Shape::active_passive(), 150, forget).await;
        assert_eq!((report.end, report.open.len()), (End::AllNew, 0), "{report}");
        let served = clients.take().unwrap().stop().await;
        assert_eq!(served.lost, 0, "{served:?}");
        assert!(!world.runs("spare1"));
    });
}

#[test]
fn the_loss_of_a_node_that_shares_files_or_pulls_work_is_followed_up_and_says_what_stands_still() {
    for (lost, words) in [("esb1", "nobody pulls the work of esb1"), ("esb2", "nobody that is left may write them")] {
        paused(async {
            let world = Shape::active_passive().with_files().with_work().world().unwrap();
            world.lose(lost);
            let outage = run(&world, "outage-1", &OutageRequest::of(lost)).await;
            assert_eq!((outage.end, outage.open.len()), (End::AllNew, 0), "{outage}");
            assert!(outage.to_string().contains(words), "{outage}");
            assert_eq!(world.writers(), ["esb2"], "nothing is handed over without a fence");
        });
    }
}

/// Two nodes of one failure domain, of which one is gone and the other answers: what it serves ends by itself.
#[test]
fn the_healthy_neighbour_of_a_lost_node_loses_no_request_when_it_is_held_out() {
    let seeds = [
        1_006_434, 1_006_512, 1_006_959, 1_007_429, 1_009_646, 1_011_501, 1_012_594, 1_016_199, 1_017_185, 1_017_301,
        1_017_525, 1_018_052,
    ];
    let mut wrong = Vec::new();
    for seed in seeds {
        let scenario = ha_testkit::simulate::Scenario::from_seed(seed, 1);
        let outcome = paused(ha_testkit::simulate::simulate(&scenario));
        let Outcome::Ran { end, broken, .. } = outcome else { panic!("it runs: {outcome:?}") };
        if !broken.is_empty() {
            wrong.push(format!("{seed}: {end}, {:?}", broken.first()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A plan that is not found in time is a plan that is not there, and one that comes after that is not used.
#[tokio::test(start_paused = true)]
async fn a_plan_that_comes_late_is_not_used_and_a_person_decides() {
    let world = World::active_passive();
    let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
    let (topology, plan) = (Arc::new(world.topology().clone()), Arc::new(planned.plan().clone()));
    let mut run = RunState::of(&plan);
    let lost = topology.node(topology.find("esb1").unwrap()).domain;
    run.cluster.lose(lost, topology.nodes_of(lost));
    run.cursor.mode = Mode::Reacting;
    let (state, mut machine) = (run.cluster.clone(), RunMachine::new(topology.clone(), plan.clone(), run));
    let (mut asked, mut turned, mut ended) = (0, Vec::new(), None);
    for second in 0..=31 {
        let now = Duration::from_secs(second);
        while let Some(command) = machine.poll_command(now) {
            match command {
                Command::Record(records) => {
                    turned.extend(records.into_iter().filter_map(|record| match record {
                        Record::Turned { message, .. } => Some(message),
                        _ => None,
                    }));
                    machine.handle(now, Input::Recorded);
                }
                Command::Observe => {
                    let nodes = state.nodes().map(|(_, node)| NodeSeen::new(node.process, node.release)).collect();
                    machine.handle(now, Input::Observed(Observation::new(nodes, Vec::new())));
                }
                Command::Watch { balancer } => {
                    let members = topology.seats_on(balancer).map(|seat| state.member(seat.member)).collect();
                    machine.handle(now, Input::Watched { balancer, members });
                }
                Command::Replan { back } => {
                    assert!(!back);
                    asked += 1;
                }
                Command::Close { end } => ended = Some((second, end)),
                other => panic!("{other:?}"),
            }
        }
        assert!(machine.poll_timeout().is_none_or(|at| at >= now), "it waits for nothing that is past");
    }
    assert!(matches!(ended, Some((30, End::NeedsOperator(Why::DomainLost(_))))), "{ended:?}");
    assert_eq!(asked, 1);
    assert!(turned.iter().any(|message| message.contains("no plan was proven in 30s")), "{turned:?}");
    machine.handle(Duration::from_secs(32), Input::Replanned(Ok(Arc::new((*plan).clone()))));
    assert!(Arc::ptr_eq(machine.plan(), &plan) && machine.poll_command(Duration::from_secs(32)).is_none());
}
