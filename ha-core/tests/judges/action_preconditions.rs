//! When an order may be given: DESIGN.md, section 4 (I5, I6, I7) and section 6, "precondition -> journal intent".

use ha_core::action::{FilesAction, Order, ServerAction, TrafficAction, WorkAction};
use ha_core::state::{NodeState, Process, ServerDomain, Sync, Traffic, Work};

use crate::cluster::{Cluster, builder, fake, node};

/// One node that serves and writes, and one that stands by, with shared files.
fn cluster() -> Cluster {
    let nodes = vec![node("esb1", 1000), node("esb2", 1000)];
    Cluster::at_rest(builder(1, 2, nodes).files(fake())).with("esb2", |node| node.sync = Sync::Held)
}

fn may(cluster: &Cluster, order: Order) -> bool {
    order.precondition(cluster.law(), &cluster.state).is_ok()
}

fn changed(change: impl FnOnce(&mut NodeState)) -> Cluster {
    cluster().with("esb2", change)
}

/// A lost node is reached by no command.
#[test]
fn nothing_is_done_to_a_node_that_is_lost() {
    let on = cluster().node("esb2");
    assert!(may(&cluster(), TrafficAction::TakeOut.on(on)));
    assert!(!may(&cluster().without("esb2"), TrafficAction::TakeOut.on(on)));
}

/// I6: "every exposed node is Ready, in the Production domain, and has passed its gate after its last change".
#[test]
fn only_what_is_ready_tested_and_in_production_is_admitted() {
    let on = cluster().node("esb2");
    for order in [TrafficAction::Admit.on(on), TrafficAction::Reassert { admitted: true }.on(on)] {
        assert!(may(&cluster(), order));
        assert!(!may(&changed(|node| node.under_change = true), order));
        assert!(!may(&changed(|node| node.process = Process::Starting), order));
        assert!(!may(&changed(|node| node.server_domain = ServerDomain::Test), order));
    }
    let out = TrafficAction::Reassert { admitted: false }.on(on);
    assert!(may(&changed(|node| node.process = Process::Sick), out), "anything may be taken out");
    let stand_by = TrafficAction::StandBy.on(on);
    assert!(may(&cluster(), stand_by));
    assert!(!may(&cluster().with_traffic_at("esb2", 1, Traffic::In), stand_by), "it is in traffic");
    assert!(!may(&changed(|node| node.tested.clear()), stand_by));
}

/// I7: "no command stops a process with requests in flight or pulled work On".
#[test]
fn only_what_is_drained_is_stopped_and_only_what_is_stopped_is_changed() {
    let on = cluster().node("esb2");
    assert!(may(&cluster(), ServerAction::Stop.on(on)));
    assert!(!may(
        &cluster().with_traffic_at("esb2", 1, Traffic::Draining { in_flight: false }),
        ServerAction::Stop.on(on)
    ));
    assert!(!may(&changed(|node| node.work = Work::On), ServerAction::Stop.on(on)));
    let stopped = changed(|node| node.process = Process::Stopped);
    for order in [ServerAction::Apply { to: stopped.new }.on(on), ServerAction::Restore { to: stopped.old }.on(on)] {
        assert!(may(&stopped, order) && !may(&cluster(), order), "{}", order.name());
    }
}

/// A start needs a release that can be trusted, and a server changes its domain only by a stop.
#[test]
fn only_a_whole_release_is_started_and_never_in_a_second_domain() {
    let on = cluster().node("esb2");
    let stopped = changed(|node| node.process = Process::Stopped);
    for order in [ServerAction::Start.on(on), ServerAction::StartInTest.on(on)] {
        assert!(may(&stopped, order));
        assert!(!may(&stopped.clone().with("esb2", |node| node.half_changed = true), order), "half changed");
        assert!(!may(&stopped.clone().with("esb2", |node| node.release = None), order), "unknown");
    }
    let test = changed(|node| node.server_domain = ServerDomain::Test);
    assert!(may(&test, ServerAction::StartInTest.on(on)) && !may(&test, ServerAction::Start.on(on)));
    assert!(may(&cluster(), ServerAction::Start.on(on)) && !may(&cluster(), ServerAction::StartInTest.on(on)));
}

/// What is tested directly is ready; what is watched carries traffic.
#[test]
fn only_what_is_ready_is_tested_and_only_what_carries_traffic_is_watched() {
    let on = cluster().node("esb2");
    assert!(may(&cluster(), ServerAction::Gate.on(on)) && !may(&cluster(), ServerAction::Soak.on(on)));
    assert!(!may(&changed(|node| node.process = Process::Starting), ServerAction::Gate.on(on)));
    assert!(may(&cluster().with_traffic("esb2", Traffic::In), ServerAction::Soak.on(on)));
    assert!(may(&cluster(), WorkAction::Resume.on(on)));
    assert!(!may(&changed(|node| node.under_change = true), WorkAction::Resume.on(on)), "untested work is not pulled");
}

/// I5: files are released only from a tested, newer writer to a node without requests.
#[test]
fn files_reach_only_nodes_without_requests() {
    let on = cluster().node("esb2");
    let second = cluster().second;
    let newer = || cluster().with("esb1", |node| node.generation = Some(second));
    assert!(may(&newer(), FilesAction::Release.on(on)));
    assert!(!may(&newer().with_traffic("esb2", Traffic::In), FilesAction::Release.on(on)));
    assert!(!may(&newer().with("esb1", |node| node.under_change = true), FilesAction::Release.on(on)));
    assert!(!may(&newer(), FilesAction::Release.on(cluster().node("esb1"))), "no sync leads to the writer");
    let deploy = FilesAction::Deploy { to: second }.on(on);
    assert!(may(&cluster(), deploy));
    assert!(!may(&cluster().with_traffic_at("esb2", 1, Traffic::In), deploy));
    assert!(!may(&changed(|node| node.sync = Sync::Active), deploy), "the sync would overwrite them");
    assert!(
        !may(&cluster(), FilesAction::Hold.on(cluster().node("esb1"))) && may(&cluster(), FilesAction::Hold.on(on))
    );
}

/// I3 and I5: the next writer is ready and tested, has what the last one has, and nothing is being copied.
#[test]
fn the_writer_is_handed_only_to_a_tested_node_with_the_same_files_while_nothing_is_copied() {
    let hand = FilesAction::HandWriter.on(cluster().node("esb2"));
    assert!(may(&cluster(), hand));
    assert!(!may(&changed(|node| node.sync = Sync::Active), hand));
    assert!(!may(&changed(|node| node.under_change = true), hand));
    assert!(!may(&changed(|node| node.process = Process::Stopped), hand));
    let second = cluster().second;
    assert!(!may(&changed(|node| node.generation = Some(second)), hand));
}

/// Of a lost node the balancers can still be told that it gets nothing; a spare takes a place only where one is lost.
#[test]
fn what_is_lost_is_held_out_and_only_a_spare_stands_in_for_it() {
    let nodes = vec![node("esb1", 1000), node("esb2", 1000), node("spare1", 1000).as_spare()];
    let cluster = Cluster::at_rest(builder(1, 1, nodes));
    let (lost, spare) = (cluster.node("esb1"), cluster.node("spare1"));
    let ready = cluster.clone().with("spare1", |node| node.process = Process::Ready { warm: true });
    assert!(!may(&cluster, TrafficAction::Isolate.on(lost)), "it is not lost");
    assert!(!may(&ready, TrafficAction::StandIn.on(spare)), "nobody is lost");
    let after = ready.without("esb1");
    for order in [TrafficAction::Isolate.on(lost), TrafficAction::Reassert { admitted: false }.on(lost)] {
        assert!(may(&after, order), "{}", order.name());
    }
    for order in [TrafficAction::Admit.on(lost), TrafficAction::TakeOut.on(lost), ServerAction::Stop.on(lost)] {
        assert!(!may(&after, order), "{}", order.name());
    }
    assert!(may(&after, TrafficAction::StandIn.on(spare)));
    assert!(!may(&after, TrafficAction::StandIn.on(cluster.node("esb2"))), "a member has its own place");
    let untested = after.with("spare1", |node| node.under_change = true);
    assert!(!may(&untested, TrafficAction::StandIn.on(spare)));
}
