//! "Rollback runs the compensations of the recorded steps in reverse": what had not begun is not taken back.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::action::{Action, Order, ServerAction};
use ha_core::law::Law;
use ha_core::machine::{Decision, RunState, Turn, decide};
use ha_core::plan::Plan;
use ha_core::record::{Cursor, End, Mode, OutcomeKind};
use ha_core::state::Process;
use ha_core::topology::Topology;
use ha_testkit::world::Shape;

/// A run that follows the decision core; what it orders happens, unless `happens` says otherwise.
struct Run<'a> {
    topology: &'a Topology,
    plan: &'a Plan,
    state: RunState,
    given: Vec<(Order, Process)>,
}

impl<'a> Run<'a> {
    fn new(topology: &'a Topology, plan: &'a Plan) -> Self {
        Self { topology, plan, state: RunState::begin(plan.start().clone()), given: Vec::new() }
    }

    /// Goes on until `stop` holds before a decision, or to the end.
    fn until(&mut self, stop: impl Fn(&RunState) -> bool, happens: impl Fn(Order) -> OutcomeKind) -> Option<End> {
        let law = Law::new(self.topology, self.plan.facts());
        while !stop(&self.state) {
            match decide(self.topology, self.plan, &self.state) {
                Decision::Act(order) => {
                    let process = order.node().map_or(Process::Stopped, |node| self.state.cluster.node(node).process);
                    self.given.push((order, process));
                    self.state.begin_order(law, order);
                    self.state.resolve(law, order, happens(order)).unwrap();
                }
                Decision::Move(to, turn) => self.state.enter(to, turn),
                Decision::End(end) => return Some(end),
                other @ (Decision::Look(_) | Decision::Await) => panic!("{other:?}"),
            }
        }
        None
    }

    fn roll_back(&mut self) {
        let mode = Mode::Compensating;
        self.state.enter(Cursor { mode, phase: 0, attempt: 0, ..self.state.cursor }, Turn::StepFailed);
        self.given.clear();
    }

    /// The servers that were started while they ran.
    fn started_running(&self) -> Vec<Order> {
        let start = |order: Order| order.action() == Action::Server(ServerAction::Start);
        self.given
            .iter()
            .filter(|(order, process)| start(*order) && *process != Process::Stopped)
            .map(|(order, _)| *order)
            .collect()
    }
}

/// The step at which the first server is stopped in its test domain.
fn second_stop(plan: &Plan) -> (u16, u16) {
    let steps = plan.stages().iter().enumerate().flat_map(|(at, stage)| {
        stage.steps.iter().enumerate().map(move |(step, described)| ((at, step), described.action))
    });
    let after_test = steps.skip_while(|(_, action)| *action != Action::Server(ServerAction::StartInTest));
    let (stage, step) = after_test
        .skip_while(|(_, action)| *action != Action::Server(ServerAction::Stop))
        .map(|(place, _)| place)
        .next()
        .unwrap();
    (u16::try_from(stage).unwrap(), u16::try_from(step).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_rollback_does_not_start_a_server_that_runs_in_its_test_domain() {
    let world = Shape::active_passive().world().unwrap();
    let planned = world.engine().plan(&world.patch_to("2.0").in_test_domain_first()).await.unwrap();
    let (topology, plan) = (world.topology(), planned.plan());
    let place = second_stop(plan);
    let mut run = Run::new(topology, plan);
    let there = |state: &RunState| (state.cursor.stage, state.cursor.step) == place;
    assert_eq!(run.until(there, |_| OutcomeKind::Done), None);
    run.roll_back();
    assert_eq!(run.until(|_| false, |_| OutcomeKind::Done), Some(End::AllOld));
    assert_eq!(run.started_running(), Vec::new(), "before the stop");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_from_a_stop_that_failed_does_not_start_the_server_that_still_runs() {
    let world = Shape::active_passive().world().unwrap();
    let planned = world.engine().plan(&world.patch_to("2.0").in_test_domain_first()).await.unwrap();
    let (topology, plan) = (world.topology(), planned.plan());
    let place = second_stop(plan);
    let mut run = Run::new(topology, plan);
    let there = |state: &RunState| (state.cursor.stage, state.cursor.step) == place;
    assert_eq!(run.until(there, |_| OutcomeKind::Done), None);
    let back = |state: &RunState| state.cursor.mode == Mode::Compensating;
    assert_eq!(run.until(back, |_| OutcomeKind::NotDone), None);
    run.given.clear();
    assert_eq!(run.until(|_| false, |_| OutcomeKind::Done), Some(End::AllOld));
    assert_eq!(run.started_running(), Vec::new(), "after the failed stop");
}

/// Found by the independent checker: a rollback that was asked for before the spare's retirement had begun wanted to take that
/// retirement back, and could not.
#[tokio::test(start_paused = true)]
async fn what_has_not_begun_is_not_taken_back() {
    let world = Shape::active_active(2, 750).with_spares(&[750]).world().unwrap();
    let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
    let (topology, plan) = (world.topology(), planned.plan());
    let mut run = Run::new(topology, plan);
    let retirement = |state: &RunState| usize::from(state.cursor.stage) == plan.point_of_no_return();
    assert_eq!(run.until(retirement, |_| OutcomeKind::Done), None);
    run.roll_back();
    assert_eq!(run.until(|_| false, |_| OutcomeKind::Done), Some(End::AllOld));
}

/// An order that failed, and was not begun again, has begun.
#[tokio::test(start_paused = true)]
async fn what_has_begun_and_failed_is_taken_back_also_when_it_is_not_given_again() {
    let world = Shape::active_active(2, 750).with_spares(&[750]).world().unwrap();
    let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
    let (topology, plan) = (world.topology(), planned.plan());
    let law = Law::new(topology, plan.facts());
    let mut run = Run::new(topology, plan);
    let takes_out = |state: &RunState| (state.cursor.stage, state.cursor.step) == (1, 0);
    assert_eq!(run.until(takes_out, |_| OutcomeKind::Done), None);
    let Decision::Act(order) = decide(topology, plan, &run.state) else { panic!("no order") };
    let node = order.node().unwrap();
    run.state.begin_order(law, order);
    let members = run.state.cluster.members(node).to_vec();
    order.complete(law, &mut run.state.cluster).unwrap();
    assert_ne!(run.state.cluster.members(node), members, "it has happened");
    run.state.resolve(law, order, OutcomeKind::NotDone).unwrap();
    let Decision::Move(to, Turn::Retry) = decide(topology, plan, &run.state) else { panic!("no retry") };
    run.state.enter(to, Turn::Retry);
    run.roll_back();
    assert_eq!(run.until(|_| false, |_| OutcomeKind::Done), Some(End::AllOld));
    assert_eq!(run.state.cluster.members(node), members, "it is in traffic again");
}
