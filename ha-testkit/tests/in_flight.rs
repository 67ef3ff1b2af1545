//! No turn and no end while an order of the plan is in flight: what is under way is brought to its end first.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::action::{Action, Order, ServerAction};
use ha_core::law::Law;
use ha_core::machine::{Decision, RunState, Turn, decide};
use ha_core::plan::Plan;
use ha_core::record::OutcomeKind;
use ha_core::state::Traffic;
use ha_core::topology::Topology;
use ha_testkit::world::Shape;

/// Goes on until the first server of a wave is being stopped.
fn stopping(topology: &Topology, plan: &Plan) -> (RunState, Order) {
    let (law, mut run) = (Law::new(topology, plan.facts()), RunState::begin(plan.start().clone()));
    loop {
        match decide(topology, plan, &run) {
            Decision::Act(order) => {
                run.begin_order(law, order);
                if order.action() == Action::Server(ServerAction::Stop) {
                    return (run, order);
                }
                run.resolve(law, order, OutcomeKind::Done).unwrap();
            }
            Decision::Move(to, turn) => run.enter(to, turn),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_failed_read_does_not_turn_a_run_back_while_a_server_is_being_stopped() {
    let world = Shape::active_active(4, 1000).world().unwrap();
    let plan = world.engine().plan(&world.patch_to("2.0")).await.unwrap().plan().clone();
    let (topology, law) = (world.topology(), Law::new(world.topology(), plan.facts()));
    let (mut run, stop) = stopping(topology, &plan);
    let second = plan.stages()[0].nodes[1];
    run.cluster.set_traffic_everywhere(second, |_| Traffic::Unknown);
    assert_eq!(decide(topology, &plan, &run), Decision::Await, "the stop ends first");
    // Once it has ended, the next step may not be given as the cluster is, and the stopped server is started again.
    run.resolve(law, stop, OutcomeKind::Done).unwrap();
    assert!(matches!(decide(topology, &plan, &run), Decision::Move(_, Turn::Precondition)));
}
