//! What the decision core does next, forward and back: DESIGN.md, section 5 (waves, attempts, the point of no return) and
//! section 6 (outcomes, rollback).

use ha_core::action::{Action, Desired, FilesAction, Order, SchemaAction, ServerAction, TrafficAction};
use ha_core::law::{Invariant, Phase};
use ha_core::machine::{Decision, Progress, RunState, Turn, decide, has_failed, newly_lost, refusal};
use ha_core::plan::{CarriesOn, Draft, Goal, OnFailure, Plan, Stage, Step};
use ha_core::record::{Cursor, End, Mode, OutcomeKind, Why};
use ha_core::state::{LoanKind, Process, Schema, ServerDomain, Sync, Traffic};
use ha_core::topology::{Permille, PoolSpec, Topology};

use crate::cluster::{Cluster, READY, builder, fake, node};

/// A run of a plan on a cluster, driven by hand.
pub(crate) struct Driven {
    pub(crate) cluster: Cluster,
    pub(crate) plan: Plan,
    pub(crate) run: RunState,
}

impl Driven {
    pub(crate) fn new(cluster: Cluster, change: impl FnOnce(&Cluster, &mut Draft)) -> Self {
        let mut draft =
            Draft::new("test", &cluster.topology, cluster.state.clone(), cluster.facts.clone(), Goal::unchanged());
        change(&cluster, &mut draft);
        let run = RunState::begin(cluster.state.clone());
        Self { cluster, plan: draft.into(), run }
    }

    pub(crate) fn decide(&self) -> Decision {
        decide(&self.cluster.topology, &self.plan, &self.run)
    }

    pub(crate) fn begin(&mut self, order: Order) {
        self.run.begin_order(self.cluster.law(), order);
    }

    pub(crate) fn end(&mut self, order: Order, outcome: OutcomeKind) {
        self.run.resolve(self.cluster.law(), order, outcome).unwrap();
    }

    /// Gives the order that the core wants, and ends it.
    pub(crate) fn give(&mut self, order: Order, outcome: OutcomeKind) {
        assert_eq!(self.decide(), Decision::Act(order));
        self.begin(order);
        self.end(order, outcome);
    }

    /// Goes where the core wants to go.
    pub(crate) fn turn(&mut self) -> Turn {
        let Decision::Move(to, turn) = self.decide() else { panic!("{:?}", self.decide()) };
        self.run.enter(to, turn);
        turn
    }

    /// Goes back at the place where the run is.
    pub(crate) fn go_back(&mut self) {
        let to = Cursor { mode: Mode::Compensating, phase: 0, attempt: 0, ..self.run.cursor };
        self.run.enter(to, Turn::StepFailed);
    }

    pub(crate) fn on(&self, name: &str) -> ha_core::topology::NodeIx {
        self.cluster.node(name)
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut ha_core::state::NodeState)) {
        change(self.run.cluster.node_mut(self.cluster.node(name)));
    }
}

/// Three nodes that serve, of which any one may be away.
fn three() -> Cluster {
    Cluster::at_rest(builder(3, 1, vec![node("esb1", 750), node("esb2", 750), node("esb3", 750)]))
}

/// One stage on some nodes, with the same steps.
fn stage(cluster: &Cluster, names: &[&str], actions: &[Action]) -> Stage {
    let nodes = names.iter().map(|name| cluster.node(name)).collect();
    let steps = actions.iter().map(|action| Step::new(*action, cluster.topology.policy())).collect();
    Stage::new("test", nodes, steps)
}

fn run(cluster: Cluster, names: &[&str], actions: &[Action]) -> Driven {
    Driven::new(cluster, |cluster, draft| draft.stages.push(stage(cluster, names, actions)))
}

fn take_out() -> Action {
    TrafficAction::TakeOut.into()
}

fn admit() -> Action {
    TrafficAction::Admit.into()
}

fn ended(driven: &Driven) -> Option<Why> {
    match driven.decide() {
        Decision::End(End::NeedsOperator(why)) => Some(why),
        _ => None,
    }
}

/// "all state invariants hold": a step that would break one is not given, the others in flight counted as done.
#[test]
fn a_step_that_would_break_the_law_is_not_given_and_the_run_turns_back() {
    let nodes = vec![node("esb1", 750), node("esb2", 750)];
    let mut two = run(Cluster::at_rest(builder(2, 1, nodes)), &["esb1"], &[take_out()]);
    let (order, violation) = refusal(&two.cluster.topology, &two.plan, &two.run).unwrap();
    assert_eq!((order, violation.invariant), (TrafficAction::TakeOut.on(two.on("esb1")), Invariant::Now));
    assert!(has_failed(two.decide()));
    assert_eq!(two.turn(), Turn::LawWouldBreak);
    assert_eq!(two.run.cursor.mode, Mode::Compensating);

    let mut wave = run(three(), &["esb1", "esb2"], &[take_out()]);
    let [first, second] = ["esb1", "esb2"].map(|name| TrafficAction::TakeOut.on(wave.on(name)));
    assert_eq!(wave.decide(), Decision::Act(first));
    wave.begin(first);
    assert_eq!(wave.decide(), Decision::Await, "both at once would be too many; what is under way ends first");
    wave.end(first, OutcomeKind::Done);
    assert_eq!(refusal(&wave.cluster.topology, &wave.plan, &wave.run).map(|(order, _)| order), Some(second));
    assert_eq!(wave.turn(), Turn::LawWouldBreak);
}

/// "under_change(n) = from the first changing intent on n (process, files, ...) until its gate ... has passed", and a reserve
/// is "not under change": what the order makes of its node counts before it is given.
#[test]
fn a_step_that_leaves_no_tested_reserve_is_not_given() {
    let deploy = |names: &[&str]| {
        let nodes = names.iter().map(|name| node(name, 1000)).collect();
        let cluster = Cluster::at_rest(builder(1, 1, nodes).files(fake())).with("esb2", |node| node.sync = Sync::Held);
        let to = cluster.second;
        run(cluster, &["esb2"], &[FilesAction::Deploy { to }.into()])
    };
    let alone = deploy(&["esb1", "esb2"]);
    assert!(matches!(alone.decide(), Decision::Move(_, Turn::LawWouldBreak)), "{:?}", alone.decide());
    let (_, violation) = refusal(&alone.cluster.topology, &alone.plan, &alone.run).unwrap();
    assert_eq!(violation.invariant, Invariant::OneMoreFailure);
    let beside = deploy(&["esb1", "esb2", "esb3"]);
    let order = FilesAction::Deploy { to: beside.cluster.second }.on(beside.on("esb2"));
    assert_eq!(beside.decide(), Decision::Act(order), "esb3 is a reserve meanwhile");
}

/// "precondition -> journal intent": an order that may not be given is not.
#[test]
fn a_step_whose_precondition_does_not_hold_is_not_given() {
    let mut early = run(three(), &["esb1"], &[ServerAction::Stop.into()]);
    assert_eq!(early.turn(), Turn::Precondition);
    let early = run(three(), &["esb1"], &[ServerAction::Stop.into()]);
    let (_, violation) = refusal(&early.cluster.topology, &early.plan, &early.run).unwrap();
    assert_eq!(violation.invariant, Invariant::Drained);
}

/// "A stage applies its actions one after another, each to one target or to a wave of targets at once, with a barrier after
/// each action"
#[test]
fn a_step_ends_only_when_it_is_done_on_all_targets() {
    let nodes = ["esb1", "esb2", "esb3", "esb4"].map(|name| node(name, 1000)).to_vec();
    let four = Cluster::at_rest(builder(4, 1, nodes));
    let mut wave = run(four, &["esb1", "esb2"], &[take_out(), ServerAction::Stop.into()]);
    let [first, second] = ["esb1", "esb2"].map(|name| TrafficAction::TakeOut.on(wave.on(name)));
    wave.begin(first);
    assert_eq!(wave.decide(), Decision::Act(second), "beside the first");
    wave.begin(second);
    wave.end(first, OutcomeKind::Done);
    assert_eq!(wave.decide(), Decision::Await);
    wave.end(second, OutcomeKind::Done);
    assert_eq!(wave.turn(), Turn::NextStep);
    assert_eq!((wave.run.cursor.stage, wave.run.cursor.step), (0, 1));
    assert_eq!(wave.decide(), Decision::Act(ServerAction::Stop.on(wave.on("esb1"))));
}

/// "an action carries its deadline, ... retry and compensation"
#[test]
fn a_step_is_tried_as_often_as_it_may_be_and_only_where_it_did_not_happen() {
    let mut twice = Driven::new(three(), |cluster, draft| {
        let step = Step::new(ServerAction::Gate, cluster.topology.policy()).with_attempts(2);
        draft.stages.push(Stage::new("test", vec![cluster.node("esb1"), cluster.node("esb2")], vec![step]));
    });
    let [first, second] = ["esb1", "esb2"].map(|name| ServerAction::Gate.on(twice.on(name)));
    twice.give(first, OutcomeKind::Done);
    twice.give(second, OutcomeKind::NotDone);
    assert!(!has_failed(twice.decide()));
    assert_eq!(twice.turn(), Turn::Retry);
    assert_eq!(twice.run.targets.progress(first), Progress::Done);
    twice.give(second, OutcomeKind::NotDone);
    assert_eq!(twice.turn(), Turn::StepFailed);

    let mut once = run(three(), &["esb1"], &[ServerAction::Gate.into()]);
    once.give(ServerAction::Gate.on(once.on("esb1")), OutcomeKind::NotDone);
    assert_eq!(once.turn(), Turn::StepFailed);
}

/// "Unknown is resolved by the action's probe, by looking, never by doing it again blindly; what cannot be resolved is held for
/// a person."
#[test]
fn an_unknown_outcome_is_looked_at_three_times_and_given_once_more_only_after_a_look() {
    let mut driven = run(three(), &["esb1"], &[ServerAction::Gate.into()]);
    let gate = ServerAction::Gate.on(driven.on("esb1"));
    driven.give(gate, OutcomeKind::Unknown);
    for _ in 0..3 {
        assert_eq!(driven.decide(), Decision::Look(gate));
        driven.end(gate, OutcomeKind::Unknown);
    }
    assert_eq!(ended(&driven), Some(Why::OutcomeUnknown));

    let mut driven = run(three(), &["esb1"], &[ServerAction::Gate.into()]);
    driven.give(gate, OutcomeKind::Unknown);
    driven.end(gate, OutcomeKind::NotDone);
    assert_eq!(driven.turn(), Turn::Retry, "a look said that it had not happened");
    driven.give(gate, OutcomeKind::NotDone);
    assert_eq!(driven.turn(), Turn::StepFailed);

    let mut died = run(three(), &["esb1"], &[ServerAction::Gate.into()]);
    died.begin(gate);
    died.run.mark_unknown();
    assert_eq!(died.decide(), Decision::Look(gate), "an intent without an outcome is unknown");
}

/// "The plan also holds the point of no return": from there on a run is not rolled back.
#[test]
fn past_the_point_of_no_return_a_failed_step_is_held_for_a_person() {
    let failed = |point_of_no_return| {
        let mut driven = Driven::new(three(), |cluster, draft| {
            draft.stages.push(stage(cluster, &["esb1"], &[ServerAction::Gate.into()]));
            draft.point_of_no_return = point_of_no_return;
        });
        driven.give(ServerAction::Gate.on(driven.on("esb1")), OutcomeKind::NotDone);
        driven.decide()
    };
    assert_eq!(failed(0), Decision::End(End::NeedsOperator(Why::PastReturn)));
    assert!(matches!(failed(1), Decision::Move(Cursor { mode: Mode::Compensating, .. }, Turn::StepFailed)));
}

/// "on_deadline: Hold | RollBack | Fail"
#[test]
fn a_failed_step_whose_policy_is_to_hold_is_held_for_a_person() {
    let mut driven = Driven::new(three(), |cluster, draft| {
        let step = Step::new(ServerAction::Gate, cluster.topology.policy()).with_on_failure(OnFailure::Hold);
        draft.stages.push(Stage::new("test", vec![cluster.node("esb1")], vec![step]));
    });
    driven.give(ServerAction::Gate.on(driven.on("esb1")), OutcomeKind::NotDone);
    assert_eq!(ended(&driven), Some(Why::Held));
}

/// A service that one node fails to deploy is taken from that node, and the run holds.
#[test]
fn a_failed_step_whose_policy_is_to_withdraw_takes_its_stage_back_and_no_other() {
    let mut driven = Driven::new(three(), |cluster, draft| {
        draft.stages.push(stage(cluster, &["esb1"], &[take_out(), admit()]));
        let mut second = stage(cluster, &["esb2"], &[take_out(), ServerAction::Gate.into(), admit()]);
        second.steps = second.steps.into_iter().map(|step| step.with_on_failure(OnFailure::Withdraw)).collect();
        draft.stages.push(second);
        draft.point_of_no_return = 2;
    });
    for action in [take_out(), admit()] {
        driven.give(action.on(driven.on("esb1")), OutcomeKind::Done);
        driven.turn();
    }
    driven.give(take_out().on(driven.on("esb2")), OutcomeKind::Done);
    driven.turn();
    driven.give(ServerAction::Gate.on(driven.on("esb2")), OutcomeKind::NotDone);
    let Decision::Move(Cursor { mode: Mode::Withdrawing, stage: 1, step: 1, .. }, Turn::StepFailed) = driven.decide()
    else {
        panic!("{:?}", driven.decide())
    };
    let mut given = Vec::new();
    while ended(&driven).is_none() {
        match driven.decide() {
            Decision::Act(order) => {
                given.push(order);
                driven.give(order, OutcomeKind::Done);
            }
            _ => drop(driven.turn()),
        }
    }
    assert_eq!((given, ended(&driven)), (vec![admit().on(driven.on("esb2"))], Some(Why::Withdrawn)));
}

/// I11: "the ledger is empty, or the end is NeedsOperator and lists what is open."
#[test]
fn a_run_that_comes_to_its_end_with_an_open_loan_needs_an_operator() {
    let end = |actions: &[Action]| {
        let mut driven = run(three(), &["esb1"], actions);
        for action in actions {
            driven.give(action.on(driven.on("esb1")), OutcomeKind::Done);
            driven.turn();
        }
        driven.decide()
    };
    assert_eq!(end(&[take_out(), admit()]), Decision::End(End::AllNew));
    assert_eq!(end(&[take_out()]), Decision::End(End::NeedsOperator(Why::LoansOpen)));
}

/// The same of a rollback: what it does not take back stays listed.
#[test]
fn a_rollback_that_leaves_a_loan_open_needs_an_operator() {
    let mut driven = run(three(), &["esb1"], &[take_out(), admit()]);
    driven.go_back();
    assert_eq!(driven.decide(), Decision::End(End::AllOld));
    driven.change("esb1", |node| node.loans.open(LoanKind::HeldOut));
    assert_eq!(driven.decide(), Decision::End(End::AllOld), "it is in traffic");
    driven.run.cluster.set_traffic_everywhere(driven.on("esb1"), |_| Traffic::Out);
    assert_eq!(driven.decide(), Decision::End(End::NeedsOperator(Why::LoansOpen)));
}

/// "Rollback runs the compensations of the *recorded* steps in reverse"
#[test]
fn a_rollback_takes_back_what_had_begun_in_reverse_and_nothing_else() {
    let nodes = ["esb1", "esb2", "esb3", "esb4"].map(|name| node(name, 1000)).to_vec();
    let four = Cluster::at_rest(builder(4, 1, nodes));
    let mut driven = run(four, &["esb1", "esb2"], &[take_out(), ServerAction::Stop.into()]);
    let [first, second] = ["esb1", "esb2"].map(|name| driven.on(name));
    driven.give(TrafficAction::TakeOut.on(first), OutcomeKind::Done);
    driven.give(TrafficAction::TakeOut.on(second), OutcomeKind::Done);
    driven.turn();
    driven.give(ServerAction::Stop.on(first), OutcomeKind::Done);
    driven.go_back();
    driven.give(ServerAction::Start.on(first), OutcomeKind::Done);
    assert_eq!(driven.turn(), Turn::NextStep);
    assert_eq!(driven.turn(), Turn::NextStep, "esb2 had not been stopped; the step before comes next");
    assert_eq!((driven.run.cursor.step, driven.run.cursor.phase), (0, 0));
    driven.give(ServerAction::Gate.on(first), OutcomeKind::Done);
    assert_eq!(driven.turn(), Turn::NextStep);
    assert_eq!(driven.run.cursor.phase, 1, "the gate of esb2 holds; all are through it before one is admitted");
    driven.give(TrafficAction::Admit.on(first), OutcomeKind::Done);
    driven.give(TrafficAction::Admit.on(second), OutcomeKind::Done);
    driven.turn();
    assert_eq!(driven.decide(), Decision::End(End::AllOld));
}

/// "the compensations of the *recorded* steps": the same order may be in a plan twice, and what began in the first step of the two
/// says nothing of the second.
#[test]
fn a_rollback_does_not_take_back_what_began_in_an_earlier_step_alone() {
    let nodes = ["esb1", "esb2", "esb3", "esb4"].map(|name| node(name, 1000)).to_vec();
    let four = Cluster::at_rest(builder(4, 1, nodes));
    let mut driven = run(four, &["esb1", "esb2"], &[take_out(), admit(), take_out()]);
    let [first, second] = ["esb1", "esb2"].map(|name| driven.on(name));
    for action in [take_out(), admit()] {
        driven.give(action.on(first), OutcomeKind::Done);
        driven.give(action.on(second), OutcomeKind::Done);
        driven.turn();
    }
    driven.give(take_out().on(first), OutcomeKind::Done);
    driven.change("esb2", |node| node.process = Process::Sick);
    driven.go_back();
    assert_eq!(driven.turn(), Turn::NextStep, "the gate of esb1 holds, and nothing is asked of esb2");
    driven.give(admit().on(first), OutcomeKind::Done);
}

/// A rollback goes back over all stages before.
#[test]
fn a_rollback_goes_on_with_the_last_step_of_the_stage_before() {
    let mut driven = Driven::new(three(), |cluster, draft| {
        draft.stages.push(stage(cluster, &["esb1"], &[take_out(), ServerAction::Stop.into()]));
        draft.stages.push(stage(cluster, &["esb1"], &[ServerAction::Start.into()]));
    });
    driven.give(TrafficAction::TakeOut.on(driven.on("esb1")), OutcomeKind::Done);
    driven.turn();
    driven.give(ServerAction::Stop.on(driven.on("esb1")), OutcomeKind::Done);
    driven.turn();
    assert_eq!((driven.run.cursor.stage, driven.run.cursor.step), (1, 0));
    driven.go_back();
    driven.turn();
    assert_eq!((driven.run.cursor.stage, driven.run.cursor.step), (0, 1));
    assert_eq!(driven.decide(), Decision::Act(ServerAction::Start.on(driven.on("esb1"))));
}

/// "It never takes a healthy old node out before its replacement is proven."
#[test]
fn a_rollback_that_would_make_things_worse_is_held_for_a_person() {
    let nodes = vec![node("esb1", 1000), node("esb2", 1000), node("esb3", 1000)];
    let mut driven = run(Cluster::at_rest(builder(1, 1, nodes)), &["esb2"], &[admit()]);
    driven.give(TrafficAction::Admit.on(driven.on("esb2")), OutcomeKind::Done);
    let healthy = driven.run.clone();
    driven.run.cluster.set_traffic_everywhere(driven.on("esb1"), |_| Traffic::Out);
    driven.go_back();
    assert_eq!(ended(&driven), Some(Why::LawWouldBreak), "nothing else serves");
    driven.run = healthy;
    driven.go_back();
    assert_eq!(driven.decide(), Decision::Act(TrafficAction::TakeOut.on(driven.on("esb2"))), "esb1 serves");
}

/// What is broken already, by whomever, does not stop a compensation that breaks no more.
#[test]
fn a_rollback_that_makes_nothing_worse_goes_on_in_a_state_that_is_broken() {
    let mut driven = run(three(), &["esb1"], &[take_out(), ServerAction::Stop.into()]);
    driven.give(TrafficAction::TakeOut.on(driven.on("esb1")), OutcomeKind::Done);
    driven.turn();
    driven.give(ServerAction::Stop.on(driven.on("esb1")), OutcomeKind::Done);
    driven.change("esb2", |node| node.process = Process::Sick);
    driven.go_back();
    assert_eq!(driven.decide(), Decision::Act(ServerAction::Start.on(driven.on("esb1"))));
}

/// "Settled: ... replaces I1; until I2 holds again, no forward or compensating step lowers an I2 sum": a state that holds what
/// its phase asks for is not worse.
#[test]
fn a_rollback_is_judged_by_the_phase_of_its_plan() {
    let pool = PoolSpec::new("esb", 2, 1000).with_survive_one(Permille::new(500));
    let topology = Topology::builder("orders").balancer("lb1", fake()).pool(pool);
    let topology = ["esb1", "esb2", "esb3"].into_iter().fold(topology, |all, name| all.node(node(name, 600)));
    let cluster = Cluster::at_rest(topology).without("esb3").with_traffic("esb2", Traffic::Out);
    let mut driven = run(cluster, &["esb2"], &[admit()]);
    assert_eq!(driven.plan.phase(), Phase::Settled);
    driven.give(TrafficAction::Admit.on(driven.on("esb2")), OutcomeKind::Done);
    driven.go_back();
    assert_eq!(driven.decide(), Decision::Act(TrafficAction::TakeOut.on(driven.on("esb2"))));
}

/// A compensation is tried twice; one that does not happen is held for a person.
#[test]
fn a_compensation_that_does_not_happen_twice_is_held_for_a_person() {
    let mut driven = run(three(), &["esb1"], &[take_out(), ServerAction::Stop.into()]);
    driven.give(TrafficAction::TakeOut.on(driven.on("esb1")), OutcomeKind::Done);
    driven.turn();
    driven.give(ServerAction::Stop.on(driven.on("esb1")), OutcomeKind::Done);
    driven.go_back();
    let start = ServerAction::Start.on(driven.on("esb1"));
    driven.give(start, OutcomeKind::NotDone);
    assert_eq!(driven.turn(), Turn::Retry);
    driven.give(start, OutcomeKind::Unknown);
    assert_eq!(driven.decide(), Decision::Look(start));
    driven.end(start, OutcomeKind::NotDone);
    assert_eq!(ended(&driven), Some(Why::CompensationFailed));
}

/// A server that runs in its test domain is not started in production on the way back: its start in the test domain is taken
/// back next.
#[test]
fn a_rollback_does_not_start_a_server_that_runs_in_its_test_domain() {
    let steps = [take_out(), ServerAction::Stop.into(), ServerAction::StartInTest.into(), ServerAction::Stop.into()];
    let mut driven = run(three(), &["esb1"], &steps);
    for (number, step) in steps.into_iter().enumerate() {
        driven.give(step.on(driven.on("esb1")), OutcomeKind::Done);
        if number < 3 {
            driven.turn();
        }
    }
    driven.change("esb1", |node| (node.process, node.server_domain) = (READY, ServerDomain::Test));
    driven.go_back();
    assert_eq!(driven.turn(), Turn::NextStep, "nothing is started");
    assert_eq!((driven.run.cursor.step, driven.run.cursor.phase), (2, 0));
}

/// What failed is not insisted on: the rollback begins from how the node is.
#[test]
fn traffic_that_could_not_be_moved_is_not_desired_any_more() {
    let mut driven = run(three(), &["esb1"], &[take_out()]);
    let on = driven.on("esb1");
    driven.begin(TrafficAction::TakeOut.on(on));
    assert_eq!(driven.run.targets.desired(on), Desired::Out, "from the intent on");
    driven.end(TrafficAction::TakeOut.on(on), OutcomeKind::NotDone);
    assert_eq!(driven.run.targets.desired(on), Desired::Unchanged);
}

/// "I8 (a property of paths): the machine's compensations lead to all old": a node that was out before the run held it out is
/// held out by the rollback too, so that the guard watches it.
#[test]
fn a_take_out_is_done_only_once_the_run_desires_it() {
    let mut driven = run(three(), &["esb1"], &[admit()]);
    let (on, law) = (driven.on("esb1"), driven.cluster.law());
    driven.run.cluster.set_traffic_everywhere(on, |_| Traffic::Out);
    assert!(!driven.run.is_done(law, TrafficAction::TakeOut.on(on)));
    driven.run.begin_order(law, TrafficAction::TakeOut.on(on));
    driven.run.resolve(law, TrafficAction::TakeOut.on(on), OutcomeKind::Done).unwrap();
    assert!(driven.run.is_done(law, TrafficAction::TakeOut.on(on)));
}

/// A plan for what the cluster shares has one target; the schema is not taken back.
#[test]
fn a_shared_target_is_acted_on_once_and_additive_changes_stay() {
    let nodes = vec![node("esb1", 750), node("esb2", 750), node("esb3", 750)];
    let cluster = Cluster::at_rest(builder(3, 1, nodes).database(fake()));
    let migrate = SchemaAction::Migrate { to: Schema::Expanded };
    let mut driven = run(cluster, &[], &[migrate.into()]);
    driven.give(Order::Schema(migrate), OutcomeKind::Done);
    driven.go_back();
    assert_eq!(driven.decide(), Decision::End(End::AllOld));
    assert_eq!(driven.run.cluster.schema, Schema::Expanded);
}

/// A loss that the plan began with is none of the run's.
#[test]
fn only_a_domain_that_was_lost_since_the_plan_was_made_is_newly_lost() {
    let mut driven = run(three().without("esb3"), &["esb1"], &[ServerAction::Gate.into()]);
    assert_eq!(newly_lost(&driven.plan, &driven.run.cluster), None);
    let lost = driven.cluster.domain("esb2");
    driven.run.cluster.set_lost(lost);
    assert_eq!(newly_lost(&driven.plan, &driven.run.cluster), Some(lost));
    assert!(!driven.run.cluster.node(driven.on("esb1")).loans.contains(LoanKind::HeldOut));
}

/// A plan that carries a run on to go back ends as a rollback does, whichever way its stages are read.
#[test]
fn a_plan_that_goes_back_ends_all_old() {
    for (back, end) in [(true, End::AllOld), (false, End::AllNew)] {
        let driven = Driven::new(three(), |cluster, draft| {
            draft.carries_on = Some(Box::new(CarriesOn::new(cluster.state.clone(), back)));
        });
        assert_eq!(driven.decide(), Decision::End(end));
    }
}
