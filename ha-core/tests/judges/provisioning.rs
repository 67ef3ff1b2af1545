//! Who joins the members and who leaves them: facts/procedures.md, P1 step 8 (provision, sync, test, enable) and the hand-over of
//! "manager uniqueness".

use ha_core::action::{FilesAction, Order, ProvisionAction};
use ha_core::state::{LoanKind, Process, Sync, Traffic, WriterEpoch};

use crate::cluster::{Cluster, builder, fake, node};

/// Two members that serve, of which the first writes, and a third that is declared, stopped and held.
fn cluster() -> Cluster {
    let nodes = vec![node("esb1", 1000), node("esb2", 1000), node("esb3", 1000)];
    let cluster = Cluster::at_rest(builder(2, 2, nodes).files(fake()));
    cluster.with("esb3", |node| (node.process, node.sync) = (Process::Stopped, Sync::Held))
}

fn may(cluster: &Cluster, order: Order) -> bool {
    order.precondition(cluster.law(), &cluster.state).is_ok()
}

fn done(cluster: &Cluster, order: Order) -> Cluster {
    let mut after = cluster.clone();
    order.begin(cluster.law(), &mut after.state);
    order.complete(cluster.law(), &mut after.state).unwrap();
    after
}

#[test]
fn something_is_installed_only_on_a_stopped_node_out_of_traffic_as_a_tested_member_has_it() {
    let at_rest = cluster();
    let install = |cluster: &Cluster, like: &str| {
        ProvisionAction::Install { to: cluster.old, like: cluster.node(like) }.on(cluster.node("esb3"))
    };
    assert!(may(&at_rest, install(&at_rest, "esb1")));
    for gone in [Process::Absent, Process::Stopped] {
        let gone = cluster().with("esb3", |node| node.process = gone);
        assert!(may(&gone, install(&gone, "esb1")));
    }
    let runs = cluster().with("esb3", |node| node.process = Process::Starting);
    assert!(!may(&runs, install(&runs, "esb1")));
    let exposed = cluster().with_traffic_at("esb3", 1, Traffic::Unknown);
    assert!(!may(&exposed, install(&exposed, "esb1")));
    let untested = cluster().with("esb1", |node| node.under_change = true);
    assert!(!may(&untested, install(&untested, "esb1")));
    let down = cluster().with("esb2", |node| node.process = Process::Sick);
    assert!(!may(&down, install(&down, "esb2")));
}

#[test]
fn what_is_installed_has_to_pass_its_test_anew_and_half_of_it_is_no_release() {
    let absent = cluster().with("esb3", |node| (node.process, node.release) = (Process::Absent, None));
    let on = absent.node("esb3");
    let install = ProvisionAction::Install { to: absent.old, like: absent.node("esb1") }.on(on);
    assert!(!install.holds(absent.law(), &absent.state) && install.action().puts_under_change());
    let after = done(&absent, install);
    let node = after.state.node(on);
    assert_eq!((node.process, node.release, node.half_changed), (Process::Stopped, Some(after.old), false));
    assert!(!node.is_tested() && node.tested == ha_core::state::ReleaseSet::default());
    assert!(install.holds(after.law(), &after.state));
    let mut begun = absent.clone();
    install.begin(absent.law(), &mut begun.state);
    assert!(begun.state.node(on).half_changed);
    let halves = install.partial_effects(begun.law(), &done(&absent, install).state);
    assert_eq!(halves.len(), 1);
    assert_eq!(halves[0].node(on).release, None);
    let damaged = after.with("esb3", |node| node.half_changed = true);
    assert!(!install.holds(damaged.law(), &damaged.state));
}

#[test]
fn a_node_is_retired_only_when_it_is_out_stopped_held_and_writes_nothing() {
    let at_rest = cluster();
    let retire = ProvisionAction::Retire.on(at_rest.node("esb3"));
    let remove = ProvisionAction::Remove.on(at_rest.node("esb3"));
    assert!(may(&at_rest, retire) && may(&at_rest, remove));
    for order in [retire, remove] {
        assert!(!may(&cluster().with("esb3", |node| node.process = crate::cluster::READY), order));
        assert!(!may(&cluster().with_traffic_at("esb3", 0, Traffic::Draining { in_flight: false }), order));
        assert!(!may(&cluster().with("esb3", |node| node.sync = Sync::Active), order));
    }
    let writes = |node: &mut ha_core::state::NodeState| (node.sync, node.writer) = (Sync::None, WriterEpoch::new(2));
    assert!(!may(&cluster().with("esb3", writes), retire));
    let kinds = [LoanKind::HeldOut, LoanKind::Stopped, LoanKind::SyncHeld, LoanKind::WorkPaused];
    let lent = cluster().with("esb3", |node| kinds.iter().for_each(|kind| node.loans.open(*kind)));
    assert!(!retire.holds(lent.law(), &lent.state));
    let retired = done(&lent, retire);
    assert_eq!(retired.state.node(retired.node("esb3")).loans.iter().count(), 0, "it stays so: nothing is lent");
    assert!(retire.holds(retired.law(), &retired.state));
    let removed = done(&lent, remove);
    let node = removed.state.node(removed.node("esb3"));
    assert_eq!((node.process, node.release, node.half_changed), (Process::Absent, None, false));
    assert_eq!(node.loans.iter().count(), kinds.len(), "a removal repays nothing");
    assert!(remove.holds(removed.law(), &removed.state) && !remove.holds(lent.law(), &lent.state));
}

/// "Unreachable old writer: fence first, or explicit unfenced take-over by a person."
#[test]
fn the_right_to_write_is_taken_over_only_where_the_writer_is_lost() {
    let held = || cluster().with("esb2", |node| node.sync = Sync::Held);
    let take = FilesAction::TakeWriter.on(held().node("esb2"));
    assert!(!may(&held(), take), "the writer can be reached, and is demoted");
    let unreached = held().with("esb1", |node| (node.writer, node.sync) = (WriterEpoch::default(), Sync::Unknown));
    assert!(!may(&unreached, take), "nothing is lost");
    assert!(may(&unreached.clone().without("esb1"), take), "nothing is copied to a lost node");
    let open = unreached.without("esb1").with("esb3", |node| node.sync = Sync::Active);
    assert!(!may(&open, take));
    let after = done(&held().with("esb1", |node| node.writer = WriterEpoch::default()).without("esb1"), take);
    assert_eq!(ha_core::law::writer(&after.state), Some(after.node("esb2")));
}
