//! "State is rebuilt by folding journal records": DESIGN.md, section 6.

use ha_core::action::{Desired, Order, SchemaAction, ServerAction, TrafficAction};
use ha_core::machine::{FoldError, Folded, Progress, fold};
use ha_core::plan::{Draft, Goal, Plan, Stage, Step};
use ha_core::record::{Ask, Cursor, End, Entry, Evidence, Mode, Operator, OutcomeKind, Record, Request, Why};
use ha_core::state::{LeaseEpoch, Process, Schema};

use crate::cluster::{Cluster, builder, fake, node};

/// A cluster, the plan of a run on it, and what the run has written down.
struct Recorded {
    cluster: Cluster,
    plan: Plan,
    entries: Vec<Entry>,
}

impl Recorded {
    fn new() -> Self {
        let nodes = vec![node("esb1", 1000), node("esb2", 1000), node("esb3", 1000)];
        let cluster = Cluster::at_rest(builder(2, 1, nodes).database(fake()));
        let policy = cluster.topology.policy();
        let steps = vec![
            Step::new(TrafficAction::TakeOut, policy),
            Step::new(ServerAction::Stop, policy),
            Step::new(ServerAction::Gate, policy),
        ];
        let nodes = vec![cluster.node("esb1"), cluster.node("esb2")];
        let (state, facts) = (cluster.state.clone(), cluster.facts.clone());
        let mut draft = Draft::new("test", &cluster.topology, state, facts, Goal::unchanged());
        draft.stages.push(Stage::new("test", nodes, steps));
        let plan = Plan::from(draft);
        let opened = Record::Opened { plan: Box::new(plan.clone()) };
        Self { cluster, plan, entries: Vec::new() }.then(opened)
    }

    fn then(mut self, record: Record) -> Self {
        let sequence = self.entries.len() as u64;
        self.entries.push(Entry::new(sequence, LeaseEpoch::new(1 + sequence / 4), 0, record));
        self
    }

    fn intent(self, order: Order, step: u16) -> Self {
        self.then(Record::Intent { order, at: Cursor { step, ..Cursor::START } })
    }

    fn outcome(self, order: Order, result: OutcomeKind) -> Self {
        self.then(Record::Outcome { order, result, evidence: Evidence::failed("seen") })
    }

    fn fold(&self) -> Folded {
        fold(&self.cluster.topology, &self.entries).unwrap()
    }

    fn refused(&self) -> Option<FoldError> {
        fold(&self.cluster.topology, &self.entries).err()
    }

    fn out(&self, name: &str) -> Order {
        TrafficAction::TakeOut.on(self.cluster.node(name))
    }
}

fn closed(end: End) -> Record {
    Record::Closed { end, open: Vec::new() }
}

/// "an intent without an outcome in the journal counts as Unknown"
#[test]
fn an_intent_without_an_outcome_is_unknown_and_one_with_it_is_what_it_says() {
    let run = Recorded::new();
    let (first, second) = (run.out("esb1"), run.out("esb2"));
    let run = run.intent(first, 0).outcome(first, OutcomeKind::Done).intent(second, 0);
    let folded = run.fold();
    assert_eq!(folded.state.targets.progress(first), Progress::Done);
    assert_eq!(folded.state.targets.progress(second), Progress::Unknown { looks: 0 });
    assert_eq!(folded.state.targets.desired(run.cluster.node("esb2")), Desired::Out, "desired from the intent on");
    assert_eq!(folded.state.cluster.members(run.cluster.node("esb1"))[0].traffic, ha_core::state::Traffic::Out);
    assert_eq!((folded.next_sequence, folded.epoch, folded.end), (4, LeaseEpoch::new(1), None));
    let later = run.then(Record::TakenOver { owner: "b".into(), at: Cursor::START });
    assert_eq!(later.fold().epoch, LeaseEpoch::new(2), "the highest epoch that wrote");
}

/// What is done in one step says nothing of the next.
#[test]
fn another_step_begins_afresh() {
    let run = Recorded::new();
    let (out, stop) = (run.out("esb1"), ServerAction::Stop.on(run.cluster.node("esb1")));
    let folded = run.intent(out, 0).outcome(out, OutcomeKind::Done).intent(stop, 1).fold();
    assert_eq!(folded.state.targets.progress(out), Progress::Idle);
    assert_eq!((folded.state.cursor.step, folded.state.cursor.mode), (1, Mode::Forward));
}

/// The next part of a compensation begins afresh too.
#[test]
fn another_part_of_a_compensation_begins_afresh() {
    let run = Recorded::new();
    let (out, on) = (run.out("esb1"), run.cluster.node("esb1"));
    let back = Cursor { mode: Mode::Compensating, ..Cursor::START };
    let gate = ServerAction::Gate.on(on);
    let run = run.intent(out, 0).outcome(out, OutcomeKind::Done);
    let run = run.then(Record::Turned { to: back, message: String::new() });
    let run = run.then(Record::Intent { order: gate, at: back }).outcome(gate, OutcomeKind::Done);
    assert_eq!(run.fold().state.targets.progress(gate), Progress::Done);
    let admit = TrafficAction::Admit.on(on);
    let run = run.then(Record::Intent { order: admit, at: Cursor { phase: 1, ..back } });
    assert_eq!(run.fold().state.targets.progress(gate), Progress::Idle);
}

/// A retry keeps what is done on the other targets; every other turn begins afresh.
#[test]
fn a_retry_keeps_what_is_done_and_any_other_turn_does_not() {
    let turned = |to: Cursor| {
        let run = Recorded::new();
        let (first, second) = (run.out("esb1"), run.out("esb2"));
        let run = run.intent(first, 0).outcome(first, OutcomeKind::Done);
        let run = run.intent(second, 0).outcome(second, OutcomeKind::NotDone);
        let folded = run.then(Record::Turned { to, message: String::new() }).fold();
        assert_eq!(folded.state.cursor, to);
        [first, second].map(|order| folded.state.targets.progress(order))
    };
    assert_eq!(turned(Cursor { attempt: 1, ..Cursor::START }), [Progress::Done, Progress::Idle]);
    assert_eq!(turned(Cursor::START), [Progress::Idle, Progress::Idle], "the same attempt is no retry");
    let back = Cursor { mode: Mode::Compensating, attempt: 1, ..Cursor::START };
    assert_eq!(turned(back), [Progress::Idle, Progress::Idle]);
    let reacting = Cursor { mode: Mode::Reacting, ..Cursor::START };
    assert_eq!(turned(reacting), [Progress::Idle, Progress::Idle]);
}

/// "Kill the controller at any instant; another one resumes": what was in flight is unknown then.
#[test]
fn a_takeover_leaves_unknown_what_was_in_flight() {
    let run = Recorded::new();
    let out = run.out("esb1");
    let run = run.intent(out, 0).then(Record::TakenOver { owner: "b".into(), at: Cursor::START });
    let run = run.outcome(out, OutcomeKind::Unknown);
    assert_eq!(run.fold().state.targets.progress(out), Progress::Unknown { looks: 1 }, "one look could not tell");
}

/// "State is rebuilt by folding journal records": a takeover says where the run goes on.
#[test]
fn a_takeover_goes_on_where_it_says() {
    let run = Recorded::new();
    let out = run.out("esb1");
    let at = Cursor { step: 1, ..Cursor::START };
    let run = run.intent(out, 0).outcome(out, OutcomeKind::Done).then(Record::TakenOver { owner: "b".into(), at });
    assert_eq!(run.fold().state.cursor, at);
}

/// A run that had ended for a person goes on with the domains that the person has brought back, and afresh.
#[test]
fn a_run_that_is_taken_over_after_its_end_begins_afresh_without_its_losses() {
    let run = Recorded::new();
    let (out, domain) = (run.out("esb1"), run.cluster.domain("esb3"));
    let run = run.intent(out, 0).outcome(out, OutcomeKind::Done).then(Record::DomainLost { domain });
    assert!(run.fold().state.cluster.is_lost(domain));
    let end = End::NeedsOperator(Why::DomainLost(domain));
    let run = run.then(closed(end));
    assert_eq!(run.fold().end, Some(end));
    assert_eq!(run.fold().state.cursor.mode, Mode::Ended(end));
    let run = run.then(Record::TakenOver { owner: "b".into(), at: Cursor::START });
    let folded = run.fold();
    assert_eq!(folded.end, None);
    assert_eq!(folded.state.cluster.lost(), []);
    assert_eq!(folded.state.targets.progress(out), Progress::Idle);
    assert_eq!(folded.state.cursor, Cursor::START);
    let unended = Recorded::new().then(Record::DomainLost { domain });
    let unended = unended.then(Record::TakenOver { owner: "b".into(), at: Cursor::START });
    assert!(unended.fold().state.cluster.is_lost(domain), "nobody has brought it back");
}

/// What was observed in between is not recorded: an effect that cannot follow the records alone is looked for.
#[test]
fn an_effect_that_cannot_follow_the_records_is_looked_for() {
    let run = Recorded::new();
    let gate = ServerAction::Gate.on(run.cluster.node("esb1"));
    let stop = ServerAction::Stop.on(run.cluster.node("esb1"));
    let run = run.intent(stop, 1).outcome(stop, OutcomeKind::Done);
    assert_eq!(run.fold().state.cluster.node(run.cluster.node("esb1")).process, Process::Stopped);
    let run = run.intent(gate, 2).outcome(gate, OutcomeKind::Done);
    assert_eq!(run.fold().state.targets.progress(gate), Progress::Unknown { looks: 0 });
}

/// "a corrupt middle is refused with the offset"; "unknown versions are refused".
#[test]
fn records_that_make_no_run_are_refused_with_the_entry() {
    let run = Recorded::new();
    assert!(matches!(fold(&run.cluster.topology, &[]), Err(FoldError::NoSuchRun)));
    let mut headless = Recorded::new();
    headless.entries[0].record = closed(End::AllOld);
    assert_eq!(headless.refused(), Some(FoldError::NotOpened));
    let out = run.out("esb1");
    let mut gap = Recorded::new().intent(out, 0).outcome(out, OutcomeKind::Done);
    gap.entries.remove(1);
    assert_eq!(gap.refused(), Some(FoldError::DoesNotFit { sequence: 2 }), "one that is missing may be an outcome");
    let others = Cluster::at_rest(builder(2, 1, vec![node("esb1", 1000), node("esb2", 1000)]));
    assert_eq!(fold(&others.topology, &run.entries).err(), Some(FoldError::OtherTopology));

    // Places that the plan's topology does not have.
    let many = ["n1", "n2", "n3", "n4", "n5"].map(|name| node(name, 1000)).to_vec();
    let many = Cluster::at_rest(builder(2, 1, many));
    let (far, domain) = (many.node("n4"), many.domain("n4"));
    let at = Cursor::START;
    let wrong = [
        Record::Intent { order: TrafficAction::TakeOut.on(far), at },
        Record::Outcome {
            order: TrafficAction::TakeOut.on(far),
            result: OutcomeKind::Done,
            evidence: Evidence::failed("seen"),
        },
        Record::DomainLost { domain },
    ];
    for record in wrong {
        assert_eq!(Recorded::new().then(record).refused(), Some(FoldError::DoesNotFit { sequence: 1 }));
    }
    let with = |change: &dyn Fn(&mut Draft)| {
        let mut run = Recorded::new();
        let mut draft = Draft::from(run.plan.clone());
        change(&mut draft);
        run.entries[0].record = Record::Opened { plan: Box::new(draft.into()) };
        run.refused()
    };
    let does_not_fit = Some(FoldError::DoesNotFit { sequence: 0 });
    assert_eq!(with(&|_| {}), None);
    assert_eq!(with(&|draft| draft.stages[0].nodes.push(far)), does_not_fit);
    assert_eq!(with(&|draft| draft.start = many.state.clone()), does_not_fit);
    assert_eq!(with(&|draft| draft.known_good.truncate(2)), does_not_fit);
    let unknown = |draft: &mut Draft| {
        let known = &mut draft.known_good[0];
        *known = known.map(|known| known.with_files(known.generation, Some(far)));
    };
    assert_eq!(with(&unknown), does_not_fit);
}

fn requested(number: u64, what: Ask, refused: Option<&str>) -> Record {
    let request = Request::new(Operator::new("anna", "ticket 4711"), what, 0);
    Record::Requested { number: Some(number), request, refused: refused.map(Into::into) }
}

/// "pause (a recorded fact, so that another controller that takes over finds it paused)".
#[test]
fn what_people_asked_is_found_again_by_the_next_controller() {
    let pause = Ask::Pause { until_unix_ms: 7 };
    let run = Recorded::new().then(requested(1, pause.clone(), None));
    let run = run.then(Record::TakenOver { owner: "b".into(), at: Cursor::START });
    let hands = run.fold().hands;
    assert_eq!((hands.paused().map(|paused| paused.until_unix_ms), hands.last_request()), (Some(7), 1));
    let run = run.then(requested(2, Ask::RollBack, Some("it is past its point of no return")));
    assert!(run.fold().hands.paused().is_some(), "what is refused changes nothing");
    assert_eq!(run.fold().hands.last_request(), 2, "and is not asked again");
    for ends in [requested(3, Ask::Continue, None), requested(3, Ask::RollBack, None), requested(3, Ask::Abort, None)] {
        let mut run = Recorded::new().then(requested(1, pause.clone(), None));
        run = run.then(ends);
        assert!(run.fold().hands.paused().is_none());
    }
    let closed = run.then(closed(End::NeedsOperator(Why::Stopped)));
    assert_eq!((closed.fold().hands.paused(), closed.fold().hands.last_request()), (None, 2));
}

/// "retry a step (after a run that needs an operator: the failed step is tried again)".
#[test]
fn a_retry_keeps_what_is_done_of_its_step_and_a_skip_goes_on_behind_it() {
    let held = || {
        let run = Recorded::new();
        let (one, two) = (run.out("esb1"), run.out("esb2"));
        let run = run.intent(one, 0).intent(two, 0).outcome(one, OutcomeKind::Done).outcome(two, OutcomeKind::NotDone);
        (run.then(closed(End::NeedsOperator(Why::Held))), one, two)
    };
    let (run, one, two) = held();
    let folded = run.then(requested(1, Ask::Retry { stage: 0, step: 0 }, None)).fold();
    assert_eq!((folded.end, folded.state.cursor), (None, Cursor::START));
    let targets = &folded.state.targets;
    assert_eq!((targets.progress(one), targets.progress(two)), (Progress::Done, Progress::Idle));
    for holds in [false, true] {
        let (run, _, two) = held();
        let folded = run.then(requested(1, Ask::Skip { stage: 0, step: 0, holds }, None)).fold();
        assert_eq!((folded.end, folded.state.cursor), (None, Cursor { step: 1, ..Cursor::START }));
        // Somebody has taken it out: it is held out from now on.
        let wanted = if holds { Desired::Out } else { Desired::Unchanged };
        assert_eq!(folded.state.targets.desired(two.node().unwrap()), wanted, "{holds}");
    }
    // One that is about another step is no record of this run.
    let (run, ..) = held();
    let sequence = run.entries.len() as u64;
    let wrong = run.then(requested(1, Ask::Skip { stage: 0, step: 2, holds: true }, None));
    assert_eq!(wrong.refused(), Some(FoldError::DoesNotFit { sequence }));
}

/// What the cluster shares has no node, and fits every topology.
#[test]
fn an_order_to_what_the_cluster_shares_is_folded() {
    let run = Recorded::new();
    let migrate = Order::Schema(SchemaAction::Migrate { to: Schema::Expanded });
    let folded = run.intent(migrate, 0).outcome(migrate, OutcomeKind::Done).fold();
    assert_eq!(folded.state.cluster.schema, Schema::Expanded);
}
