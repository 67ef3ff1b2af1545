//! What the decision core does after a fault of the world: DESIGN.md, section 4, "Shaken", and section 6, "The guard".

use ha_core::action::{Order, ServerAction, TrafficAction};
use ha_core::machine::{Decision, Progress, Turn};
use ha_core::plan::{Stage, Step};
use ha_core::record::{Cursor, End, Mode, OutcomeKind, Why};
use ha_core::state::{ClusterState, NodeState, Process, Route, RouteKey, Service, ServiceRoute, Traffic};
use ha_core::topology::{Name, NodeSpec, Permille};

use crate::cluster::{Cluster, builder, node};
use crate::decisions::Driven;

fn nodes(capacities: &[(&str, u64)]) -> Vec<NodeSpec> {
    capacities.iter().map(|(name, capacity)| node(name, *capacity)).collect()
}

/// A run of a plan that takes a node out, and another that gates one.
fn run(cluster: Cluster, names: &[&str]) -> Driven {
    Driven::new(cluster, |cluster, draft| {
        let nodes = names.iter().map(|name| cluster.node(name)).collect();
        let steps = vec![
            Step::new(TrafficAction::TakeOut, cluster.topology.policy()),
            Step::new(ServerAction::Gate, cluster.topology.policy()),
        ];
        draft.stages.push(Stage::new("test", nodes, steps));
    })
}

fn lose(driven: &mut Driven, name: &str) {
    let (node, domain) = (driven.on(name), driven.cluster.domain(name));
    driven.run.cluster.set_lost(domain);
    driven.run.cluster.node_mut(node).process = Process::Absent;
}

/// Everything as the run found it on the first balancer.
fn forget(driven: &mut Driven) {
    let start: ClusterState = driven.plan.start().clone();
    let first = &driven.cluster.topology.entrances(driven.cluster.pool())[0];
    for seat in &first.seats {
        driven.run.cluster.set_traffic(seat.member, start.member(seat.member).traffic);
    }
}

fn one_and_standbys() -> Cluster {
    Cluster::at_rest(builder(1, 1, nodes(&[("esb1", 1000), ("esb2", 1000), ("esb3", 1000)])))
}

fn admits(driven: &Driven, name: &str) -> bool {
    driven.decide() == Decision::Act(TrafficAction::Admit.on(driven.on(name)))
}

/// "the core takes the direction that holds, else brings a new spare, else ends in NeedsOperator": reserves are admitted until
/// what is required after a loss is carried.
#[test]
fn after_a_loss_reserves_are_admitted_until_what_is_required_is_carried() {
    let mut driven = run(one_and_standbys(), &["esb2"]);
    lose(&mut driven, "esb1");
    assert_eq!(driven.turn(), Turn::DomainLost);
    assert_eq!(driven.run.cursor.mode, Mode::Reacting);
    assert!(admits(&driven, "esb2"), "{:?}", driven.decide());
    driven.give(TrafficAction::Admit.on(driven.on("esb2")), OutcomeKind::Done);
    let lost = driven.cluster.domain("esb1");
    assert_eq!(driven.decide(), Decision::End(End::NeedsOperator(Why::DomainLost(lost))), "1000 serve again");
}

/// Of several reserves the one with which most of what is required is carried: a smaller one first costs time, and one that is
/// cold, before a backup, may lower what the next loss would leave.
#[test]
fn the_reserve_with_which_most_is_carried_is_admitted_first() {
    let four = |cold: usize| {
        let mut declared = nodes(&[("esb1", 1000), ("esb2", 1000), ("esb3", 1000), ("esb4", 1000)]);
        declared[cold] = declared[cold].clone().with_warm_up(Permille::new(500));
        Cluster::at_rest(builder(1, 1, declared))
    };
    let is_cold = |node: &mut NodeState| node.process = Process::Ready { warm: false };
    let mut driven = run(four(1).with("esb2", is_cold), &["esb4"]);
    lose(&mut driven, "esb1");
    driven.turn();
    assert!(admits(&driven, "esb3"), "esb2 would carry half: {:?}", driven.decide());
    let cluster = four(2).with_backup("esb2").with_traffic("esb2", Traffic::Out).with("esb3", is_cold);
    let mut driven = run(cluster, &["esb4"]);
    lose(&mut driven, "esb1");
    driven.turn();
    assert!(admits(&driven, "esb2"), "half of esb3 would be all that is left without esb4: {:?}", driven.decide());
}

/// "serving(n) = In on *all* instances": a reserve that one balancer alone sends requests to is admitted on the others.
#[test]
fn a_reserve_that_some_balancers_hold_out_is_admitted_on_all() {
    let two = Cluster::at_rest(builder(1, 2, nodes(&[("esb1", 1000), ("esb2", 1000)])));
    let mut driven = run(two.with_traffic_at("esb2", 0, Traffic::In), &["esb2"]);
    lose(&mut driven, "esb1");
    driven.turn();
    assert!(admits(&driven, "esb2"), "{:?}", driven.decide());
}

/// What is left may be enough: then nothing is admitted.
#[test]
fn after_a_loss_that_leaves_enough_nothing_is_admitted() {
    let mut driven = run(one_and_standbys(), &["esb2"]);
    lose(&mut driven, "esb3");
    driven.turn();
    assert!(matches!(driven.decide(), Decision::End(End::NeedsOperator(Why::DomainLost(_)))));
}

/// I4 binds our commands while the cluster is shaken: "releases exposed at once are pairwise compatible".
#[test]
fn a_reserve_that_may_not_serve_beside_what_is_left_is_not_admitted() {
    let react = |beside: bool| {
        let cluster = builder(2, 1, nodes(&[("esb1", 1000), ("esb2", 500), ("esb3", 500), ("esb4", 500)]));
        let mut cluster = Cluster::at_rest(cluster);
        let other = cluster.facts.releases.enter("3.0").unwrap();
        if beside {
            cluster.facts.releases.declare_beside(cluster.old, other);
        }
        let changed = |node: &mut NodeState| {
            node.release = Some(other);
            node.tested.insert(other);
        };
        let cluster = cluster.with("esb3", changed).with("esb4", changed);
        let mut driven = run(cluster, &["esb3"]);
        lose(&mut driven, "esb1");
        driven.turn();
        admits(&driven, "esb3")
    };
    assert!(react(true));
    assert!(!react(false), "3.0 may not serve beside esb2");
}

/// I6 binds our commands too: while a service is exposed, a reserve without it is not admitted.
#[test]
fn a_reserve_without_the_exposed_service_is_not_admitted() {
    let react = |route: Route| {
        let mut cluster = one_and_standbys();
        let path = RouteKey::new("/orders").unwrap();
        let route_of = ServiceRoute::new(path, Name::new("esb").unwrap());
        cluster.facts = cluster.facts.with_service(Service::new(route_of, cluster.second));
        cluster.state.exposure = route;
        let second = cluster.second;
        let has_it = |node: &mut NodeState| node.generation = Some(second);
        let mut driven = run(cluster.with("esb1", has_it).with("esb3", has_it), &["esb3"]);
        lose(&mut driven, "esb1");
        driven.turn();
        ["esb2", "esb3"].map(|name| admits(&driven, name))
    };
    assert_eq!(react(Route::Exposed), [false, true], "esb2 would fail its requests");
    assert_eq!(react(Route::Dark), [true, false], "nobody asks for the service yet");
}

/// I6: only what may be admitted is; what is being changed is left to the order that changes it.
#[test]
fn a_reserve_that_is_not_tested_or_is_being_moved_is_not_admitted() {
    let mut driven = run(one_and_standbys(), &["esb2"]);
    driven.begin(TrafficAction::TakeOut.on(driven.on("esb2")));
    lose(&mut driven, "esb1");
    driven.turn();
    assert!(admits(&driven, "esb3"), "esb2 is being taken out: {:?}", driven.decide());
    let mut driven = run(one_and_standbys(), &["esb3"]);
    let second = driven.on("esb2");
    driven.run.cluster.node_mut(second).under_change = true;
    lose(&mut driven, "esb1");
    driven.turn();
    assert!(admits(&driven, "esb3"), "esb2 is not tested: {:?}", driven.decide());
}

/// Shaken: "our commands never lower an I1 or I2 sum": a primary member takes over from the backup, however little it carries.
#[test]
fn a_reserve_that_would_take_over_from_a_larger_backup_is_not_admitted() {
    let react = |capacity: u64| {
        let spares = [node("spare1", 900).as_spare(), node("spare2", capacity).as_spare()];
        let nodes = nodes(&[("esb1", 1000), ("esb2", 1000)]).into_iter().chain(spares).collect();
        let ready = |node: &mut NodeState| node.process = Process::Ready { warm: true };
        let cluster = Cluster::at_rest(builder(1, 1, nodes)).with("spare1", ready).with("spare2", ready);
        let cluster = cluster.with("esb2", |node| node.process = Process::Stopped).with_backup("spare1");
        let mut driven = run(cluster, &["esb2"]);
        lose(&mut driven, "esb1");
        driven.turn();
        admits(&driven, "spare2")
    };
    assert!(react(900));
    assert!(!react(300), "900 serve, and 300 would");
}

/// An admission whose outcome nobody knows is looked at, and what is in flight is waited for before the run ends.
#[test]
fn a_reaction_ends_only_once_nothing_is_in_flight_and_looks_at_what_is_unknown() {
    let mut driven = run(one_and_standbys(), &["esb3"]);
    lose(&mut driven, "esb1");
    driven.turn();
    let admit = TrafficAction::Admit.on(driven.on("esb2"));
    driven.give(admit, OutcomeKind::Unknown);
    driven.run.cluster.set_traffic_everywhere(driven.on("esb2"), |_| Traffic::Unknown);
    assert_eq!(driven.decide(), Decision::Look(admit));
    for _ in 0..3 {
        driven.end(admit, OutcomeKind::Unknown);
    }
    assert!(admits(&driven, "esb3"), "nobody can say what became of esb2: {:?}", driven.decide());
    let mut driven = run(one_and_standbys(), &["esb2"]);
    driven.begin(TrafficAction::TakeOut.on(driven.on("esb2")));
    lose(&mut driven, "esb3");
    driven.turn();
    assert_eq!(driven.decide(), Decision::Await, "the order of the plan ends first");
}

/// "no turn with orders in flight": what is in flight stays in flight, and is brought to its end.
#[test]
fn a_turn_forgets_what_has_ended_and_keeps_what_is_in_flight() {
    let mut driven = run(one_and_standbys(), &["esb2", "esb3"]);
    let [first, second] = ["esb2", "esb3"].map(|name| TrafficAction::TakeOut.on(driven.on(name)));
    driven.give(first, OutcomeKind::Done);
    driven.begin(second);
    lose(&mut driven, "esb1");
    driven.turn();
    assert_eq!(driven.run.targets.in_flight().collect::<Vec<_>>(), [second]);
    assert_eq!(driven.run.targets.progress(first), Progress::Idle);
}

/// A run with `out` taken out, and whose balancer has lost that.
fn forgotten(cluster: Cluster, out: &[&str]) -> Driven {
    let mut driven = run(cluster, out);
    for name in out {
        let order = TrafficAction::TakeOut.on(driven.on(name));
        driven.begin(order);
        driven.end(order, OutcomeKind::Done);
    }
    forget(&mut driven);
    driven
}

fn four() -> Cluster {
    Cluster::at_rest(builder(4, 1, nodes(&[("esb1", 500), ("esb2", 500), ("esb3", 500), ("esb4", 500)])))
}

fn held_out(driven: &Driven, name: &str) -> Order {
    TrafficAction::Reassert { admitted: false }.on(driven.on(name))
}

/// "The guard re-reads and re-asserts balancer state for the whole run (a reload forgets drains)": before anything new begins,
/// and three times before a person is asked.
#[test]
fn what_a_balancer_lost_is_re_applied_three_times_before_a_person_is_asked() {
    let mut driven = forgotten(four(), &["esb1"]);
    let order = held_out(&driven, "esb1");
    for _ in 0..3 {
        assert_eq!(driven.decide(), Decision::Act(order));
        driven.begin(order);
        assert_eq!(driven.decide(), Decision::Await);
        driven.end(order, OutcomeKind::NotDone);
    }
    assert_eq!(driven.decide(), Decision::End(End::NeedsOperator(Why::BalancerLostState)));
    let mut driven = forgotten(four(), &["esb1"]);
    driven.give(order, OutcomeKind::NotDone);
    driven.give(order, OutcomeKind::Done);
    assert_eq!(driven.turn(), Turn::NextStep, "nothing is lost any more");
    forget(&mut driven);
    driven.give(order, OutcomeKind::NotDone);
    driven.give(order, OutcomeKind::NotDone);
    assert_eq!(driven.decide(), Decision::Act(order), "a success begins a new count");
}

/// A node of a lost domain is not re-applied: no command reaches it.
#[test]
fn what_a_balancer_lost_of_a_lost_node_is_left() {
    let mut driven = forgotten(four(), &["esb1"]);
    lose(&mut driven, "esb1");
    assert_eq!(driven.turn(), Turn::DomainLost);
}

/// "the core takes the direction that holds, else brings a new spare": capacity does not wait for what nobody can re-apply.
#[test]
fn a_reserve_is_admitted_whatever_a_balancer_lost_of_a_lost_node() {
    let mut driven = forgotten(one_and_standbys(), &["esb1"]);
    driven.begin(TrafficAction::TakeOut.on(driven.on("esb2")));
    lose(&mut driven, "esb1");
    driven.turn();
    assert!(admits(&driven, "esb3"), "beside what is in flight: {:?}", driven.decide());
}

/// "A node is out of traffic when it is out of every pool on every balancer."
#[test]
fn what_one_balancer_of_two_has_lost_is_re_applied() {
    let four = builder(4, 2, nodes(&[("esb1", 500), ("esb2", 500), ("esb3", 500), ("esb4", 500)]));
    let driven = forgotten(Cluster::at_rest(four), &["esb1"]);
    let traffic: Vec<_> = driven.run.cluster.members(driven.on("esb1")).iter().map(|member| member.traffic).collect();
    assert_eq!(traffic, [Traffic::In, Traffic::Out]);
    assert_eq!(driven.decide(), Decision::Act(held_out(&driven, "esb1")));
}

/// Shaken: "our commands never lower an I1 or I2 sum": what brings capacity comes before what takes it.
#[test]
fn a_reaction_brings_capacity_before_it_takes_any() {
    let cluster = Cluster::at_rest(builder(1, 1, nodes(&[("esb1", 1000), ("esb2", 1000), ("esb3", 1000)])));
    let mut driven = run(cluster, &["esb1"]);
    let (out, back) = (TrafficAction::TakeOut.on(driven.on("esb1")), TrafficAction::Admit.on(driven.on("esb2")));
    for order in [back, out] {
        driven.begin(order);
        driven.end(order, OutcomeKind::Done);
    }
    forget(&mut driven);
    let admitted = TrafficAction::Reassert { admitted: true }.on(driven.on("esb2"));
    assert_eq!(driven.decide(), Decision::Act(admitted), "esb1 carries everything until esb2 does again");
    driven.give(admitted, OutcomeKind::Done);
    driven.give(held_out(&driven, "esb1"), OutcomeKind::Done);
    assert_eq!(driven.turn(), Turn::NextStep);
}

/// Where every re-application takes capacity, the one that leaves the most is given, one at a time.
#[test]
fn where_all_of_it_takes_capacity_the_one_that_leaves_the_most_is_re_applied_first() {
    let capacities = [("esb1", 500), ("esb2", 300), ("esb3", 900), ("esb4", 900)];
    let mut driven = forgotten(Cluster::at_rest(builder(4, 1, nodes(&capacities))), &["esb1", "esb2"]);
    let (large, small) = (held_out(&driven, "esb1"), held_out(&driven, "esb2"));
    assert_eq!(driven.decide(), Decision::Act(small));
    driven.begin(small);
    assert_eq!(driven.decide(), Decision::Await, "one at a time");
    driven.end(small, OutcomeKind::Done);
    assert_eq!(driven.decide(), Decision::Act(large));
}

/// Shaken: "our commands never lower an I1 or I2 sum": what is being re-applied out carries nothing any more.
#[test]
fn what_is_being_re_applied_out_counts_as_out_for_the_next() {
    let cluster = Cluster::at_rest(builder(2, 1, nodes(&[("esb1", 1000), ("esb2", 1000), ("esb3", 1000)])));
    let mut driven = forgotten(cluster.with_backup("esb3"), &["esb1", "esb3"]);
    let sick = driven.on("esb2");
    driven.run.cluster.node_mut(sick).process = Process::Sick;
    let out = held_out(&driven, "esb1");
    assert_eq!(driven.decide(), Decision::Act(out), "esb3 takes over from it as the backup");
    driven.begin(out);
    assert_eq!(driven.decide(), Decision::Await, "nothing serves without esb3 then");
}

/// "What is being changed has not been lost, nor what cannot be seen."
#[test]
fn what_is_being_changed_or_cannot_be_seen_is_not_lost() {
    let mut driven = run(four(), &["esb1"]);
    let on = driven.on("esb1");
    driven.begin(TrafficAction::TakeOut.on(on));
    assert!(!driven.run.targets.is_lost(&driven.run.cluster, on), "it is being taken out");
    driven.end(TrafficAction::TakeOut.on(on), OutcomeKind::Done);
    let lost = |driven: &mut Driven, traffic| {
        driven.run.cluster.set_traffic_everywhere(on, |_| traffic);
        driven.run.targets.is_lost(&driven.run.cluster, on)
    };
    assert!(!lost(&mut driven, Traffic::Unknown) && !lost(&mut driven, Traffic::Out));
    assert!(lost(&mut driven, Traffic::In) && lost(&mut driven, Traffic::Backup) && lost(&mut driven, Traffic::Down));
    assert!(!lost(&mut driven, Traffic::Draining { in_flight: true }), "it is on its way out");
    driven.run.cluster.set_traffic_everywhere(on, |_| Traffic::In);
    driven.give(held_out(&driven, "esb1"), OutcomeKind::NotDone);
    assert!(lost(&mut driven, Traffic::Draining { in_flight: true }), "once more on its way is not out yet");
}

/// The same of what is to be admitted.
#[test]
fn a_node_that_is_to_be_admitted_and_is_out_or_draining_is_lost() {
    let mut driven = run(one_and_standbys(), &["esb3"]);
    let on = driven.on("esb2");
    let admit = TrafficAction::Admit.on(on);
    driven.begin(admit);
    driven.end(admit, OutcomeKind::Done);
    for (traffic, lost) in [
        (Traffic::In, false),
        (Traffic::Down, false),
        (Traffic::Backup, false),
        (Traffic::Unknown, false),
        (Traffic::Out, true),
        (Traffic::Draining { in_flight: false }, true),
    ] {
        driven.run.cluster.set_traffic_everywhere(on, |_| traffic);
        assert_eq!(driven.run.targets.is_lost(&driven.run.cluster, on), lost, "{traffic:?}");
    }
}

/// A controller that died while it re-applied has tried: what it did may have happened in part.
#[test]
fn a_re_application_that_its_controller_did_not_survive_counts_as_tried() {
    let mut driven = forgotten(four(), &["esb1"]);
    let order = held_out(&driven, "esb1");
    for _ in 0..3 {
        assert_eq!(driven.decide(), Decision::Act(order));
        driven.begin(order);
        driven.run.mark_unknown();
    }
    assert_eq!(driven.decide(), Decision::End(End::NeedsOperator(Why::BalancerLostState)));
}

/// A reaction goes on where the run is; it begins with no attempt used.
#[test]
fn a_loss_is_reacted_to_on_the_way_forward_and_on_the_way_back() {
    for mode in [Mode::Forward, Mode::Compensating] {
        let mut driven = run(one_and_standbys(), &["esb2"]);
        driven.run.cursor = Cursor { mode, attempt: 1, ..Cursor::START };
        lose(&mut driven, "esb1");
        let to = Cursor { mode: Mode::Reacting, attempt: 0, ..Cursor::START };
        assert_eq!(driven.decide(), Decision::Move(to, Turn::DomainLost), "{mode:?}");
    }
}

/// "Unknown is resolved by the action's probe, by looking": also what was unknown when a domain was lost, before the run ends or is
/// planned anew. On a lost node there is nothing to look at.
#[test]
fn what_was_unknown_when_a_domain_was_lost_is_looked_for_before_the_run_ends() {
    for (unknown, ends) in [("esb2", false), ("esb1", true)] {
        let mut driven = run(one_and_standbys(), &[unknown]);
        let order = TrafficAction::TakeOut.on(driven.on(unknown));
        driven.begin(order);
        driven.end(order, OutcomeKind::Unknown);
        driven.run.cluster.set_traffic_everywhere(driven.on("esb3"), |_| Traffic::In);
        lose(&mut driven, "esb1");
        assert_eq!(driven.turn(), Turn::DomainLost);
        let domain = driven.cluster.domain("esb1");
        let end = Decision::End(End::NeedsOperator(Why::DomainLost(domain)));
        assert_eq!(driven.decide(), if ends { end } else { Decision::Look(order) }, "{unknown}");
        if !ends {
            driven.end(order, OutcomeKind::NotDone);
            assert_eq!(driven.decide(), end);
        }
    }
}
