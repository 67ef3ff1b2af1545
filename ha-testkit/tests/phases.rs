//! A plan says in which phase of the law it begins: one for a cluster that has lost a failure domain already is proven
//! against what is required then.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::action::{Action, ServerAction, TrafficAction};
use ha_core::law::{Invariant, Phase};
use ha_core::plan::{Draft, Ends, Goal, Plan, Stage, Step};
use ha_core::safety::prove;
use ha_core::state::{Process, ProcessEvent, Traffic};
use ha_testkit::world::Shape;

/// Two members that both serve, of which the first is lost; the spare is started, tested and admitted, and stands in for it.
async fn after_a_loss() -> (ha_core::topology::Topology, Draft) {
    let world = Shape::active_active(2, 1000).with_spares(&[1000]).world().unwrap();
    let seen = world.engine().observe().await.unwrap();
    let (topology, mut state) = (world.topology().clone(), seen.state);
    let (lost, spare) = (topology.find("esb1").unwrap(), topology.find("spare1").unwrap());
    state.set_lost(topology.node(lost).domain);
    state.node_mut(lost).process = state.node(lost).process.on(ProcessEvent::HostLost).unwrap();
    state.set_traffic_everywhere(lost, |_| Traffic::Down);
    assert_eq!(state.node(lost).process, Process::Absent);
    let goal = Goal::of_release(state.node(spare).release.unwrap());
    let step = |action: Action| Step::new(action, topology.policy());
    let bring = [ServerAction::Start.into(), ServerAction::Gate.into(), TrafficAction::Admit.into()].map(step).to_vec();
    let place = vec![step(TrafficAction::StandIn.into())];
    let mut draft = Draft::new("stand in", &topology, state, seen.facts, goal)
        .with_stage(Stage::new("bring the spare", vec![spare], bring))
        .with_stage(Stage::new("put it into the place", vec![spare], place));
    draft.point_of_no_return = 1;
    draft.ends = Ends::new("the spare stood in", "as it was");
    (topology, draft)
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_begins_after_a_loss_is_proven_against_what_is_required_then() {
    let (topology, mut draft) = after_a_loss().await;
    assert_eq!(draft.phase, Phase::Settled, "as the start says");
    // A ready spare is what one more loss would leave: no compensation takes it away again.
    draft.point_of_no_return = 0;
    let plan = Plan::from(draft);
    let proof = prove(&topology, &plan).unwrap();
    assert_eq!(proof.pools[0].settled.lowest, Some(250), "1,000 serve, 750 are required after a loss");
    assert_eq!(plan.ends().reached, "the spare stood in");
}

#[tokio::test(start_paused = true)]
async fn the_same_plan_cannot_promise_what_a_whole_cluster_must() {
    let (topology, mut draft) = after_a_loss().await;
    draft.phase = Phase::Quiet;
    let refused = prove(&topology, &draft.into()).unwrap_err();
    assert_eq!(refused.violation.invariant, Invariant::OneMoreFailure, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_too_nothing_is_admitted_untested() {
    let (topology, mut draft) = after_a_loss().await;
    draft.stages[0].steps.remove(1);
    let refused = prove(&topology, &draft.into()).unwrap_err();
    assert_eq!(refused.violation.invariant, Invariant::Tested, "{refused}");
}

/// "The plan also holds the phase it begins in": it may not choose the easier one.
#[tokio::test(start_paused = true)]
async fn a_plan_asks_less_than_the_law_only_where_a_member_is_missing_and_what_is_left_is_short() {
    for (members, out, may) in [(2, false, false), (2, true, true), (4, true, false)] {
        let world = Shape::active_active(members, 1000).with_spares(&[1000]).world().unwrap();
        let seen = world.engine().observe().await.unwrap();
        let (topology, mut state) = (world.topology(), seen.state);
        if out {
            let esb1 = topology.find("esb1").unwrap();
            state.set_traffic_everywhere(esb1, |_| Traffic::Out);
            state.node_mut(esb1).process = Process::Stopped;
        }
        for phase in [Phase::Settled, Phase::Shaken] {
            let mut draft = Draft::new("return", topology, state.clone(), seen.facts.clone(), Goal::unchanged());
            draft.phase = phase;
            assert_eq!(Plan::from(draft).check(topology).is_ok(), may, "{members} members, one out {out}, {phase:?}");
        }
    }
}
