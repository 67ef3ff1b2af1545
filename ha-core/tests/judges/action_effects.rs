//! What each order marks, does, leaves behind in part, owes and is taken back by: DESIGN.md, sections 1, 3 and 4.

use ha_core::action::{Desired, FilesAction, KnownGood, Order, SchemaAction, ServerAction, TrafficAction, WorkAction};
use ha_core::state::{ClusterState, LoanKind, Process, Schema, ServerDomain, Sync, Target, Traffic, Work, WriterEpoch};
use ha_core::topology::{NodeIx, Permille};

use crate::cluster::{Cluster, READY, builder, fake, node};

/// Two nodes that serve and a spare behind two balancers, with shared files, a database and pulled work.
fn cluster() -> Cluster {
    let nodes = vec![node("esb1", 1000).with_work(fake()), node("esb2", 1000), node("spare1", 1000).as_spare()];
    Cluster::at_rest(builder(2, 2, nodes).files(fake()).database(fake()))
}

/// The state after an order has begun.
fn begun(cluster: &Cluster, order: Order) -> Cluster {
    let mut next = cluster.clone();
    order.begin(cluster.law(), &mut next.state);
    next
}

/// The state after an order has happened.
fn done(cluster: &Cluster, order: Order) -> Cluster {
    let mut next = begun(cluster, order);
    order.complete(cluster.law(), &mut next.state).unwrap();
    next
}

fn partial(cluster: &Cluster, order: Order) -> Vec<ClusterState> {
    order.partial_effects(cluster.law(), &begun(cluster, order).state)
}

fn traffic(state: &ClusterState, node: NodeIx) -> Vec<Traffic> {
    state.members(node).iter().map(|member| member.traffic).collect()
}

fn loans(cluster: &Cluster, name: &str) -> Vec<LoanKind> {
    cluster.state.node(cluster.node(name)).loans.iter().collect()
}

fn esb1(cluster: &Cluster) -> ha_core::state::NodeState {
    *cluster.state.node(cluster.node("esb1"))
}

/// "under_change(n) = from the first changing intent on n (process, files, release, configuration, domain ...) until its gate
/// has passed"
#[test]
fn a_node_is_under_change_from_the_intent_on_until_its_gate_has_passed() {
    let cluster = cluster().with("esb1", |node| node.work = Work::Off);
    let on = cluster.node("esb1");
    let (new, second) = (cluster.new, cluster.second);
    let changing = [
        ServerAction::Stop.on(on),
        ServerAction::Apply { to: new }.on(on),
        ServerAction::Restore { to: new }.on(on),
        ServerAction::Start.on(on),
        ServerAction::StartInTest.on(on),
        FilesAction::Deploy { to: second }.on(on),
    ];
    for order in changing {
        assert!(esb1(&begun(&cluster, order)).under_change, "{}", order.name());
    }
    let others = [
        ServerAction::Gate.on(on),
        ServerAction::Soak.on(on),
        TrafficAction::TakeOut.on(on),
        WorkAction::Quiesce.on(on),
        FilesAction::Hold.on(on),
    ];
    for order in others {
        assert!(!esb1(&begun(&cluster, order)).under_change, "{}", order.name());
    }
    let changed = done(&cluster, ServerAction::Apply { to: new }.on(on)).with("esb1", |node| node.process = READY);
    assert!(esb1(&changed).under_change);
    let passed = done(&changed, ServerAction::Gate.on(on));
    assert!(esb1(&passed).is_tested(), "the gate ends the change, and what passed counts as tested");
}

/// "... or opening an edge into n whose ends differ"
#[test]
fn a_release_of_a_sync_puts_its_target_under_change_where_the_ends_differ() {
    let release = FilesAction::Release.on(cluster().node("esb2"));
    let same = cluster().with("esb2", |node| node.sync = Sync::Held);
    let second = same.second;
    let differs = same.clone().with("esb1", |node| node.generation = Some(second));
    let changed = |cluster: &Cluster| cluster.state.node(cluster.node("esb2")).under_change;
    assert!(!changed(&begun(&same, release)));
    assert!(changed(&begun(&differs, release)));
    let after = done(&differs, release);
    assert_eq!(after.state.node(after.node("esb2")).generation, Some(second), "it has what the writer has");
    let halves = partial(&differs, release);
    let half = halves[0].node(differs.node("esb2"));
    assert_eq!((half.sync, half.generation), (Sync::Active, None), "open, and a part of the files copied");
    let halves = partial(&same, release);
    assert_eq!(halves[0].node(same.node("esb2")).generation, Some(same.first), "nothing is copied between equal ends");
}

/// I6: "has passed its gate after its last change".
#[test]
fn what_passed_with_other_files_has_not_passed_with_these() {
    let cluster = cluster();
    let on = cluster.node("esb1");
    let stopped = cluster.with("esb1", |node| node.process = Process::Stopped);
    let (old, new) = (stopped.old, stopped.new);
    let half = begun(&stopped, ServerAction::Apply { to: new }.on(on));
    assert!(esb1(&half).half_changed, "from the intent on the installed release cannot be trusted");
    let applied = done(&stopped, ServerAction::Apply { to: new }.on(on));
    assert_eq!((esb1(&applied).release, esb1(&applied).half_changed), (Some(new), false));
    assert!(!esb1(&applied).tested.contains(new));
    let restored = done(&applied, ServerAction::Restore { to: old }.on(on));
    assert!(!esb1(&restored).tested.contains(old), "the release that is brought back is tested again");
    assert_eq!(esb1(&restored).release, Some(old));
    let halves = partial(&stopped, ServerAction::Apply { to: new }.on(on));
    assert_eq!(halves.iter().map(|state| state.node(on).release).collect::<Vec<_>>(), [None]);
}

/// "a node is warmed before it is admitted"; where a cold server carries less, only traffic makes it warm.
#[test]
fn the_gate_warms_a_node_only_where_a_cold_one_carries_all() {
    let nodes = vec![node("esb1", 1000), node("esb2", 1000).with_warm_up(Permille::new(500))];
    let cluster = Cluster::at_rest(builder(2, 1, nodes));
    let cold = |name: &str| cluster.clone().with(name, |node| node.process = Process::Ready { warm: false });
    let gated = |name: &str| {
        let after = done(&cold(name), ServerAction::Gate.on(cluster.node(name)));
        after.state.node(cluster.node(name)).process
    };
    assert_eq!(gated("esb1"), READY);
    assert_eq!(gated("esb2"), Process::Ready { warm: false });
    let after = done(&cold("esb2"), ServerAction::Soak.on(cluster.node("esb2")));
    assert_eq!(after.state.node(cluster.node("esb2")).process, READY, "traffic warms it");
}

/// "Every temporary change (drain, held sync, spare, lock, raised limit) is recorded as a loan before it is made"
#[test]
fn each_temporary_change_is_a_loan_from_its_intent_on() {
    let cluster = cluster();
    let (on, spare) = (cluster.node("esb1"), cluster.node("spare1"));
    let opens = |order: Order, name: &str| loans(&begun(&cluster, order), name);
    assert_eq!(opens(TrafficAction::TakeOut.on(on), "esb1"), [LoanKind::HeldOut]);
    assert_eq!(opens(ServerAction::Stop.on(on), "esb1"), [LoanKind::Stopped]);
    assert_eq!(opens(ServerAction::StartInTest.on(on), "esb1"), [LoanKind::InTestDomain]);
    assert_eq!(opens(WorkAction::Quiesce.on(on), "esb1"), [LoanKind::WorkPaused]);
    assert_eq!(opens(FilesAction::Hold.on(cluster.node("esb2")), "esb2"), [LoanKind::SyncHeld]);
    assert_eq!(opens(ServerAction::Start.on(spare), "spare1"), [LoanKind::SpareRunning]);
    assert_eq!(opens(TrafficAction::Admit.on(spare), "spare1"), [LoanKind::SpareAdmitted]);
    for order in [TrafficAction::TakeOut.on(spare), ServerAction::Stop.on(spare)] {
        assert_eq!(opens(order, "spare1"), [], "a spare is out and stopped at rest: {}", order.name());
    }
    assert_eq!(opens(ServerAction::Start.on(on), "esb1"), []);
    assert_eq!(opens(TrafficAction::Admit.on(on), "esb1"), []);
    let out = cluster.clone().with_traffic("esb1", Traffic::Out);
    assert_eq!(loans(&begun(&out, TrafficAction::TakeOut.on(on)), "esb1"), [], "a standby is out at rest");
    let none = cluster.clone().with("esb1", |node| node.work = Work::None);
    assert_eq!(loans(&begun(&none, WorkAction::Quiesce.on(on)), "esb1"), [], "there is no work to pause");
}

/// "a run ends with an empty ledger": what takes a temporary change back repays its loan, and nothing else does.
#[test]
fn what_takes_a_temporary_change_back_repays_its_loan() {
    let all = cluster().with("esb2", |node| {
        LoanKind::ALL.into_iter().for_each(|kind| node.loans.open(kind));
        (node.sync, node.work) = (Sync::Held, Work::Off);
    });
    let on = all.node("esb2");
    let repaid = |cluster: &Cluster, order: Order| {
        let left = loans(&done(cluster, order), "esb2");
        LoanKind::ALL.into_iter().filter(|kind| !left.contains(kind)).collect::<Vec<_>>()
    };
    let out = all.clone().with_traffic("esb2", Traffic::Out);
    let stopped = out.clone().with("esb2", |node| node.process = Process::Stopped);
    assert_eq!(repaid(&all, TrafficAction::TakeOut.on(on)), [LoanKind::SpareAdmitted]);
    assert_eq!(repaid(&out, TrafficAction::Admit.on(on)), [LoanKind::HeldOut]);
    assert_eq!(repaid(&out, TrafficAction::StandBy.on(on)), [LoanKind::HeldOut]);
    assert_eq!(repaid(&out, ServerAction::Stop.on(on)), [LoanKind::SpareRunning, LoanKind::InTestDomain]);
    assert_eq!(repaid(&stopped, ServerAction::Start.on(on)), [LoanKind::Stopped]);
    assert_eq!(repaid(&stopped, ServerAction::StartInTest.on(on)), []);
    assert_eq!(repaid(&all, ServerAction::Gate.on(on)), []);
    assert_eq!(repaid(&all, WorkAction::Resume.on(on)), [LoanKind::WorkPaused]);
    assert_eq!(repaid(&all, FilesAction::Release.on(on)), [LoanKind::SyncHeld]);
    assert_eq!(repaid(&all, FilesAction::HandWriter.on(on)), [LoanKind::SyncHeld]);
    let out = TrafficAction::TakeOut.on(on);
    let still_owed = all.clone().with_traffic("esb2", Traffic::Out);
    assert!(!out.holds(all.law(), &still_owed.state), "an effect holds once its loans are repaid");
}

/// "half-happens": a drain has begun everywhere, or one balancer has closed and the other not.
#[test]
fn traffic_that_is_moved_in_part_is_draining_everywhere_or_moved_on_the_first_balancer() {
    let cluster = cluster();
    let on = cluster.node("esb1");
    let leaving = Traffic::Draining { in_flight: true };
    let expected = [vec![leaving, leaving], vec![Traffic::Out, Traffic::In]];
    for order in [TrafficAction::TakeOut.on(on), TrafficAction::Reassert { admitted: false }.on(on)] {
        let halves: Vec<_> = partial(&cluster, order).iter().map(|state| traffic(state, on)).collect();
        assert_eq!(halves, expected, "{}", order.name());
    }
    let half = cluster.clone().with_traffic_at("esb1", 0, Traffic::Out);
    let halves = partial(&half, TrafficAction::TakeOut.on(on));
    assert_eq!(traffic(&halves[0], on), [Traffic::Out, leaving], "what is out does not drain");
    let out = cluster.clone().with_traffic("esb1", Traffic::Out);
    for order in [TrafficAction::Admit.on(on), TrafficAction::Reassert { admitted: true }.on(on)] {
        let halves: Vec<_> = partial(&out, order).iter().map(|state| traffic(state, on)).collect();
        assert_eq!(halves, [[Traffic::In, Traffic::Out]], "{}", order.name());
    }
    let after = done(&cluster, TrafficAction::TakeOut.on(on));
    assert_eq!(traffic(&after.state, on), [Traffic::Out, Traffic::Out]);
    let after = done(&out, TrafficAction::Admit.on(on));
    assert_eq!(traffic(&after.state, on), [Traffic::In, Traffic::In]);
}

/// "half-happens": a process that no longer serves and is still there; one that is not ready yet, or never will be.
#[test]
fn a_server_that_is_stopped_or_started_in_part_is_there_and_does_not_serve() {
    let cluster = cluster();
    let on = cluster.node("esb1");
    let processes = |cluster: &Cluster, order: Order| {
        let halves = partial(cluster, order);
        halves.iter().map(|state| (state.node(on).process, state.node(on).server_domain)).collect::<Vec<_>>()
    };
    let (production, test) = (ServerDomain::Production, ServerDomain::Test);
    assert_eq!(processes(&cluster, ServerAction::Stop.on(on)), [(Process::Sick, production)]);
    let stopped = cluster.clone().with("esb1", |node| node.process = Process::Stopped);
    let halves = [(Process::Starting, production), (Process::Sick, production)];
    assert_eq!(processes(&stopped, ServerAction::Start.on(on)), halves);
    let halves = [(Process::Starting, test), (Process::Sick, test)];
    assert_eq!(processes(&stopped, ServerAction::StartInTest.on(on)), halves);
    let started = done(&stopped, ServerAction::StartInTest.on(on));
    assert_eq!((esb1(&started).process, esb1(&started).server_domain), (Process::Ready { warm: false }, test));
    let again = done(&started, ServerAction::Stop.on(on));
    assert_eq!((esb1(&again).process, esb1(&again).server_domain), (Process::Stopped, production));
    let mut running = begun(&started, ServerAction::Start.on(on));
    assert!(ServerAction::Start.on(on).complete(started.law(), &mut running.state).is_err(), "it runs elsewhere");
}

/// "half-happens": statements of a schema change that ran, and others that did not.
#[test]
fn a_schema_that_is_changed_in_part_is_in_the_state_between_and_never_goes_back() {
    let mut cluster = cluster();
    let migrate = |to| Order::Schema(SchemaAction::Migrate { to });
    let half = |cluster: &Cluster, to| partial(cluster, migrate(to))[0].schema;
    assert_eq!(half(&cluster, Schema::Expanded), Schema::Expanding);
    cluster.state.schema = Schema::Backfilled;
    assert_eq!(half(&cluster, Schema::Contracted), Schema::Contracting);
    assert_eq!(half(&cluster, Schema::Expanded), Schema::Backfilled);
    assert_eq!(done(&cluster, migrate(Schema::Contracted)).state.schema, Schema::Contracted);
    assert!(migrate(Schema::Expanded).precondition(cluster.law(), &cluster.state).is_err(), "nothing leads back");
}

/// I3: "at most one node may write shared files, and its WriterEpoch is the highest any host has seen."
#[test]
fn the_writer_is_handed_over_with_the_next_epoch_and_the_last_one_becomes_a_held_reader() {
    let cluster = cluster().with("esb2", |node| node.sync = Sync::Held);
    let (last, next) = (cluster.node("esb1"), cluster.node("esb2"));
    let hand = FilesAction::HandWriter.on(next);
    let after = done(&cluster, hand);
    assert_eq!(after.law().one_writer(&after.state), Ok(()));
    assert_eq!((after.state.node(next).writer, after.state.writer_epoch), (WriterEpoch::new(2), WriterEpoch::new(2)));
    assert_eq!((after.state.node(last).writer, after.state.node(last).sync), (WriterEpoch::default(), Sync::Held));
    assert_eq!(loans(&after, "esb1"), [LoanKind::SyncHeld], "the sync into the old writer is held from now on");
    let halves = partial(&cluster, hand);
    assert_eq!(ha_core::law::writer(&halves[0]), None, "nobody writes in between");
    assert!(hand.changes(Target::Files(last)) && hand.changes(Target::Files(next)), "both ends change");
    assert!(hand.holds(after.law(), &after.state) && !hand.holds(cluster.law(), &cluster.state));
}

/// "half-happens": a set of files that is there in part is none; pulled work that was stopped in part may run.
#[test]
fn files_and_work_that_are_changed_in_part_are_unknown() {
    let cluster = cluster();
    let on = cluster.node("esb1");
    let deploy = FilesAction::Deploy { to: cluster.second }.on(on);
    assert_eq!(partial(&cluster, deploy)[0].node(on).generation, None);
    assert_eq!(esb1(&done(&cluster, deploy)).generation, Some(cluster.second));
    for order in [WorkAction::Quiesce.on(on), WorkAction::Resume.on(on)] {
        assert_eq!(partial(&cluster, order)[0].node(on).work, Work::Unknown, "{}", order.name());
    }
    assert_eq!(esb1(&done(&cluster, WorkAction::Quiesce.on(on))).work, Work::Off);
    let quiet = cluster.clone().with("esb1", |node| node.work = Work::Off);
    assert_eq!(esb1(&done(&quiet, WorkAction::Resume.on(on))).work, Work::On);
}

/// "Unknown is resolved by the action's probe, by looking": an effect holds exactly where all of it is there.
#[test]
fn an_effect_holds_where_all_of_it_is_there() {
    let cluster = cluster();
    let on = cluster.node("esb1");
    let holds = |cluster: &Cluster, order: Order| order.holds(cluster.law(), &cluster.state);
    let half_out = cluster.clone().with_traffic_at("esb1", 0, Traffic::Out);
    for order in [TrafficAction::TakeOut.on(on), TrafficAction::Admit.on(on)] {
        assert!(!holds(&half_out, order), "{}", order.name());
    }
    assert!(holds(&cluster, TrafficAction::Admit.on(on)));
    assert!(holds(&cluster.clone().with_traffic("esb1", Traffic::Out), TrafficAction::TakeOut.on(on)));
    let with = |change: &dyn Fn(&mut ha_core::state::NodeState)| cluster.clone().with("esb1", change);
    let test = with(&|node| node.server_domain = ServerDomain::Test);
    assert!(holds(&cluster, ServerAction::Start.on(on)) && !holds(&test, ServerAction::Start.on(on)));
    assert!(holds(&test, ServerAction::StartInTest.on(on)) && !holds(&cluster, ServerAction::StartInTest.on(on)));
    let apply = ServerAction::Apply { to: cluster.old }.on(on);
    assert!(holds(&cluster, apply) && !holds(&with(&|node| node.half_changed = true), apply));
    assert!(!holds(&with(&|node| node.under_change = true), ServerAction::Gate.on(on)));
    assert!(holds(&cluster, ServerAction::Gate.on(on)) && !holds(&cluster, ServerAction::Soak.on(on)));
    assert!(!holds(&with(&|node| node.process = Process::Sick), ServerAction::Stop.on(on)), "it is still there");
    let quiesce = WorkAction::Quiesce.on(on);
    assert!(!holds(&with(&|node| node.work = Work::Unknown), quiesce), "what cannot be seen counts as on");
    assert!(holds(&with(&|node| node.work = Work::Off), quiesce));
    let second = cluster.second;
    let newer = cluster.clone().with("esb1", |node| node.generation = Some(second));
    let release = FilesAction::Release.on(cluster.node("esb2"));
    assert!(holds(&cluster, release) && !holds(&newer, release), "open, and the writer's files not yet there");
}

/// "Rollback runs the compensations of the recorded steps in reverse": each with its gate before traffic.
#[test]
fn what_takes_an_order_back_leads_to_the_recorded_state_through_the_gate() {
    let cluster = cluster();
    let on = cluster.node("esb1");
    let known = KnownGood::new(cluster.old, true).with_files(cluster.first, Some(cluster.node("esb2")));
    let idle = KnownGood::new(cluster.old, false);
    let gate = ServerAction::Gate.on(on);
    assert_eq!(TrafficAction::TakeOut.on(on).inverse(known), [gate, TrafficAction::Admit.on(on)]);
    assert_eq!(TrafficAction::TakeOut.on(on).inverse(idle), [gate, TrafficAction::StandBy.on(on)]);
    assert_eq!(TrafficAction::Admit.on(on).inverse(known), [TrafficAction::TakeOut.on(on)]);
    assert_eq!(ServerAction::Stop.on(on).inverse(known), [ServerAction::Start.on(on)]);
    let restore = ServerAction::Restore { to: cluster.old }.on(on);
    assert_eq!(ServerAction::Apply { to: cluster.new }.on(on).inverse(known), [restore]);
    assert_eq!(ServerAction::StartInTest.on(on).inverse(known), [ServerAction::Stop.on(on)]);
    assert_eq!(WorkAction::Quiesce.on(on).inverse(known), [gate, WorkAction::Resume.on(on)]);
    let deploy = FilesAction::Deploy { to: cluster.first }.on(on);
    assert_eq!(FilesAction::Deploy { to: cluster.second }.on(on).inverse(known), [deploy]);
    assert_eq!(FilesAction::Release.on(on).inverse(known), [FilesAction::Hold.on(on), deploy]);
    assert_eq!(FilesAction::HandWriter.on(on).inverse(known), [FilesAction::HandWriter.on(cluster.node("esb2"))]);
}

/// "The guard re-reads and re-asserts balancer state for the whole run": what the run desires, from the intent on.
#[test]
fn what_moves_traffic_desires_its_end_and_what_leaves_it_desires_nothing() {
    assert_eq!(TrafficAction::TakeOut.desires(), Some(Desired::Out));
    assert_eq!(TrafficAction::Admit.desires(), Some(Desired::Admitted));
    assert_eq!(TrafficAction::StandBy.desires(), None);
    let on = cluster().node("esb1");
    assert!(TrafficAction::Admit.on(on).changes(Target::Traffic(on)));
    assert!(!TrafficAction::StandBy.on(on).changes(Target::Traffic(on)), "the node is observed as ever");
    assert!(
        !ServerAction::Gate.on(on).changes(Target::Server(on)) && ServerAction::Stop.on(on).changes(Target::Server(on))
    );
}
