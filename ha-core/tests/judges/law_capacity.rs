//! DESIGN.md, section 3, "Derived, in one place", and the sums of I1, I2 and of the settled phase.

use ha_core::law::{Invariant, Phase, is_exposed};
use ha_core::state::{MemberKind, MemberState, Process, ServerDomain, Site, Traffic};
use ha_core::topology::{Permille, PoolSpec, SiteRole};

use crate::cluster::{Cluster, READY, builder, loaded, node};

fn two() -> Cluster {
    Cluster::at_rest(builder(2, 1, vec![node("esb1", 1000), node("esb2", 1000)]))
}

fn two_behind_two_balancers() -> Cluster {
    Cluster::at_rest(builder(2, 2, vec![node("esb1", 1000), node("esb2", 1000)]))
}

fn one_and_a_standby() -> Cluster {
    Cluster::at_rest(builder(1, 1, vec![node("esb1", 1000), node("esb2", 1000)]))
}

fn capacity(cluster: &Cluster) -> u64 {
    cluster.law().capacity(&cluster.state, cluster.pool())
}

fn left(cluster: &Cluster) -> u64 {
    cluster.law().worst_loss(&cluster.state, cluster.pool()).unwrap().0
}

/// "exposed(n) = In, Backup, Draining or Unknown on *any* balancer instance."
#[test]
fn a_node_is_exposed_while_any_balancer_may_send_it_requests() {
    let cluster = two_behind_two_balancers().with_traffic_at("esb1", 0, Traffic::Out);
    assert!(is_exposed(&cluster.state, cluster.node("esb1")));
    for traffic in [Traffic::Backup, Traffic::Draining { in_flight: false }, Traffic::Unknown, Traffic::Down] {
        let cluster = two().with_traffic("esb1", traffic);
        assert!(is_exposed(&cluster.state, cluster.node("esb1")), "{traffic:?}");
    }
    assert!(!is_exposed(&two().with_traffic("esb1", Traffic::Out).state, two().node("esb1")));
}

/// "serving(n) = In on *all* instances of all its pools and Ready."
#[test]
fn a_node_serves_only_where_every_balancer_sends_it_requests() {
    let serves = |cluster: &Cluster| cluster.law().is_serving(&cluster.state, cluster.node("esb1"));
    assert!(serves(&two_behind_two_balancers()));
    assert!(!serves(&two_behind_two_balancers().with_traffic_at("esb1", 1, Traffic::Out)));
    assert!(!serves(&two().with("esb1", |node| node.process = Process::Sick)));
}

/// "Capacity is, for each pool, the least over the balancer instances ..."
#[test]
fn of_several_balancers_the_one_that_carries_the_least_counts() {
    let cluster = two_behind_two_balancers().with_traffic_at("esb1", 0, Traffic::Out);
    assert_eq!(capacity(&cluster), 1000);
    assert_eq!(capacity(&two_behind_two_balancers()), 2000);
}

/// A balancer whose process is gone sends nothing to anybody, and nobody comes to it: it neither carries nor exposes.
#[test]
fn a_balancer_that_is_gone_counts_for_nothing_and_with_none_left_nothing_is_carried() {
    let gone = |cluster: Cluster, place| {
        cluster.with_traffic_at("esb1", place, Traffic::Gone).with_traffic_at("esb2", place, Traffic::Gone)
    };
    let one = gone(two_behind_two_balancers(), 1);
    assert_eq!((capacity(&one), left(&one)), (2000, 1000));
    assert!(one.law().is_serving(&one.state, one.node("esb1")) && is_exposed(&one.state, one.node("esb1")));
    let out = one.clone().with_traffic_at("esb1", 0, Traffic::Out);
    assert!(!is_exposed(&out.state, out.node("esb1")) && !out.law().is_serving(&out.state, out.node("esb1")));
    assert_eq!(capacity(&out), 1000);
    // How it was configured is not known any more: it counts for nothing in what a loss leaves, either.
    let mut three = Cluster::at_rest(builder(3, 2, vec![node("esb1", 1000), node("esb2", 1000), node("esb3", 300)]));
    for name in ["esb1", "esb2", "esb3"] {
        let (member, ..) = three.topology.memberships(three.node(name)).nth(1).unwrap();
        three.state.set_member(member, MemberState::new(MemberKind::Backup, Traffic::Gone));
    }
    assert_eq!(left(&three), 1300);
    let none = gone(one, 0);
    assert_eq!(capacity(&none), 0);
    assert!(!none.law().is_serving(&none.state, none.node("esb1")), "nobody comes to it");
}

/// "... of the Ready members that are In there or, where none is In, of the Ready Backup members there"
#[test]
fn backups_count_only_where_no_primary_member_is_usable_and_then_the_smallest_alone() {
    let nodes = vec![node("esb1", 1000), node("esb2", 400), node("esb3", 300)];
    let cluster = Cluster::at_rest(loaded(300, 1, 1, nodes)).with_backup("esb2").with_backup("esb3");
    assert_eq!(capacity(&cluster), 1000);
    assert_eq!(capacity(&cluster.clone().with_traffic("esb1", Traffic::Out)), 300);
    let sick = cluster.with("esb1", |node| node.process = Process::Sick);
    assert_eq!(capacity(&sick), 300, "a member that is In and not Ready is not usable");
}

/// "if its release is tested and its schema range fits"; "serving(n) = ... and Ready"; I6: "in the Production domain".
#[test]
fn what_would_not_answer_well_carries_nothing() {
    assert_eq!(capacity(&two().with("esb1", |node| node.under_change = true)), 1000);
    assert_eq!(capacity(&two().with("esb1", |node| node.tested.clear())), 1000);
    assert_eq!(capacity(&two().with("esb1", |node| node.server_domain = ServerDomain::Test)), 1000);
    let database =
        Cluster::at_rest(builder(2, 1, vec![node("esb1", 1000), node("esb2", 1000)]).database(crate::cluster::fake()));
    let new = database.new;
    let early = database.clone().with("esb1", |node| {
        node.release = Some(new);
        node.tested.insert(new);
    });
    assert_eq!(capacity(&early), 1000, "the new release cannot use the schema before it is expanded");
    assert_eq!(capacity(&database), 2000);
}

/// "each counts times its warm-up factor": rounded down, so that what is there is never overstated.
#[test]
fn a_cold_node_counts_its_share_rounded_down_and_is_no_reserve() {
    let nodes = vec![node("esb1", 1001).with_warm_up(Permille::new(500)), node("esb2", 1000)];
    let cold = |cluster: Cluster| cluster.with("esb1", |node| node.process = Process::Ready { warm: false });
    let cluster = cold(Cluster::at_rest(builder(2, 1, nodes.clone())));
    assert_eq!(capacity(&cluster), 1500);
    assert_eq!(left(&cluster), 500);
    let standby = cold(Cluster::at_rest(builder(1, 1, nodes))).with_traffic("esb1", Traffic::Out);
    assert!(!standby.law().is_reserve(&standby.state, standby.node("esb1")));
}

/// A site serves, or none of its nodes does: I9 "one site writes".
#[test]
fn a_node_of_a_site_that_does_not_serve_carries_nothing() {
    let nodes = vec![node("esb1", 1000).with_site("a"), node("esb2", 1000).with_site("a")];
    let mut cluster = Cluster::at_rest(builder(2, 1, nodes).site("a", SiteRole::Serving).site("b", SiteRole::Cold));
    assert_eq!(capacity(&cluster), 2000);
    cluster.state.sites[0].site = Site::Quarantined;
    assert_eq!(capacity(&cluster), 0);
}

/// "reserve(n) = not under change, Ready, warm, tested, schema in range, able to be admitted at once."
#[test]
fn a_node_that_is_leaving_or_cannot_be_seen_is_no_reserve() {
    let reserve = |cluster: &Cluster| cluster.law().is_reserve(&cluster.state, cluster.node("esb2"));
    assert!(reserve(&one_and_a_standby()));
    assert_eq!(left(&one_and_a_standby()), 1000);
    for traffic in [Traffic::Draining { in_flight: true }, Traffic::Unknown, Traffic::Down] {
        let cluster = one_and_a_standby().with_traffic("esb2", traffic);
        assert!(!reserve(&cluster), "{traffic:?}");
        assert_eq!(left(&cluster), 0, "{traffic:?}");
    }
    assert!(!reserve(&one_and_a_standby().with("esb2", |node| node.under_change = true)));
    assert!(!reserve(&one_and_a_standby().with("esb2", |node| node.process = Process::Stopped)));
}

/// I2: "for each pool and every failure domain d, capacity((serving + reserve) without d) >= survive_one x peak."
#[test]
fn after_a_loss_the_nodes_of_the_other_domains_are_left_serving_and_reserve_together() {
    assert_eq!(left(&two()), 1000);
    let nodes = vec![node("esb1", 600), node("esb2", 600), node("esb3", 700)];
    let cluster = Cluster::at_rest(builder(2, 1, nodes));
    let (has, domain) = cluster.law().worst_loss(&cluster.state, cluster.pool()).unwrap();
    assert_eq!((has, domain), (1200, cluster.domain("esb3")), "without the reserve, the largest");
    let together = vec![
        node("esb1", 1000).with_domain("rack1"),
        node("esb2", 1000).with_domain("rack1"),
        node("esb3", 900).with_domain("rack2"),
    ];
    let cluster = Cluster::at_rest(builder(3, 1, together));
    assert_eq!(left(&cluster), 900, "nodes of one domain are lost together");
}

/// serving is "In on *all* instances": a node that one balancer holds out counts only as the reserve that it may be.
#[test]
fn a_node_that_is_in_on_some_balancers_alone_counts_after_a_loss_only_as_a_reserve() {
    let cold = |node: &mut ha_core::state::NodeState| node.process = Process::Ready { warm: false };
    let cluster = two_behind_two_balancers().with("esb1", cold).with_traffic_at("esb1", 1, Traffic::Out);
    assert_eq!(left(&cluster), 0, "esb1 neither serves nor is it a reserve, and esb2 may be lost");
    let cluster = two_behind_two_balancers().with("esb1", cold);
    assert_eq!(left(&cluster), 1000);
}

/// Of a lost domain nothing is left, whatever its nodes were last seen as.
#[test]
fn a_lost_domain_carries_nothing_after_one_more_loss() {
    let nodes = vec![node("esb1", 1000), node("esb2", 1000), node("esb3", 1000)];
    let cluster = Cluster::at_rest(builder(3, 1, nodes)).without("esb1").with("esb1", |node| node.process = READY);
    assert_eq!(left(&cluster), 1000, "esb1 is gone already, and one of the others may be lost");
}

/// "where none is In, of the Ready Backup members there": after the loss of the last primary, in another domain.
#[test]
fn after_the_loss_of_the_last_primary_a_backup_of_another_domain_is_left() {
    let nodes =
        vec![node("esb1", 1000).with_domain("rack1"), node("esb2", 800).with_domain("rack1"), node("esb3", 900)];
    let cluster = Cluster::at_rest(loaded(800, 1, 1, nodes)).with_backup("esb2").with_backup("esb3");
    let cluster = cluster.with("esb3", |node| node.process = Process::Stopped);
    assert_eq!(left(&cluster), 0, "esb2 is lost with esb1");
    let running = cluster.with("esb3", |node| node.process = READY);
    assert_eq!(left(&running), 900);
    let (_, lost) = running.law().worst_loss(&running.state, running.pool()).unwrap();
    assert_eq!(lost, running.domain("esb1"));
    let nodes = vec![node("esb1", 1000), node("esb2", 900), node("esb3", 800)];
    let cluster = Cluster::at_rest(loaded(800, 1, 1, nodes)).with_backup("esb2").with_backup("esb3");
    assert_eq!(left(&cluster), 800, "one backup takes everything, and nobody can say which");
}

/// I1 "capacity(serving) >= serve_now x peak"; I2 "... >= survive_one x peak"; settled: "capacity(serving) >= survive_one x peak
/// replaces I1". What is equal is enough.
#[test]
fn each_sum_has_its_own_bound_and_what_is_equal_is_enough() {
    let pool = PoolSpec::new("esb", 2, 1000).with_survive_one(Permille::new(600));
    let of = |first: u64, second: u64| {
        let cluster = ha_core::topology::Topology::builder("orders").balancer("lb1", crate::cluster::fake());
        let cluster =
            cluster.pool(pool.clone()).node(node("esb1", 1000)).node(node("esb2", 1000)).node(node("esb3", 600));
        let mut cluster = Cluster::at_rest(cluster);
        for (name, keep) in [("esb1", first), ("esb2", second)] {
            if keep == 0 {
                cluster = cluster.with(name, |node| node.process = Process::Sick).with_traffic(name, Traffic::Out);
            }
        }
        cluster
    };
    let broken = |check: Result<(), ha_core::law::Violation>| check.err().map(|violation| violation.invariant);
    let one = of(1000, 0);
    assert_eq!(one.law().now(&one.state), Ok(()), "1000 serve, 1000 are required");
    assert_eq!(one.law().one_more_failure(&one.state), Ok(()), "600 are left, 600 are required");
    let none = of(0, 0).with_traffic("esb3", Traffic::In);
    assert_eq!(broken(none.law().now(&none.state)), Some(Invariant::Now), "600 serve");
    assert_eq!(none.law().settled(&none.state), Ok(()), "600 are enough once a loss has settled");
    assert_eq!(broken(none.law().one_more_failure(&none.state)), Some(Invariant::OneMoreFailure));
    let nothing = of(0, 0);
    assert_eq!(broken(nothing.law().settled(&nothing.state)), Some(Invariant::Settled));
}

/// "What is owed depends on the phase."
#[test]
fn each_phase_asks_for_its_own_obligations() {
    let broken = |cluster: &Cluster, phase| {
        cluster.law().check(&cluster.state, phase).err().map(|violation| violation.invariant)
    };
    let untested = two().with("esb1", |node| node.tested.clear());
    assert_eq!(broken(&untested, Phase::Quiet), Some(Invariant::Tested));
    assert_eq!(broken(&untested, Phase::Shaken), None, "the fault may have exposed it");
    assert_eq!(broken(&untested, Phase::Settled), Some(Invariant::Tested), "I3 to I7, I9 and I10 bind our commands");
    let unexposed = two().with("esb1", |node| node.process = Process::Sick).with_traffic("esb1", Traffic::Out);
    assert_eq!(broken(&unexposed, Phase::Quiet), Some(Invariant::OneMoreFailure), "nothing is left if esb2 is lost");
    let pool = PoolSpec::new("esb", 2, 1000).with_survive_one(Permille::new(300));
    let cluster = ha_core::topology::Topology::builder("orders").balancer("lb1", crate::cluster::fake()).pool(pool);
    let nodes = [node("esb1", 600), node("esb2", 600)];
    let low = Cluster::at_rest(nodes.into_iter().fold(cluster, ha_core::topology::TopologyBuilder::node));
    assert_eq!(broken(&low, Phase::Quiet), None);
    let low = low.with_traffic("esb1", Traffic::Out);
    assert_eq!(broken(&low, Phase::Quiet), Some(Invariant::Now), "600 serve, and a reserve does not");
    assert_eq!(broken(&low, Phase::Settled), None);
}

/// Settled: "until I2 holds again, no forward or compensating step lowers an I2 sum".
#[test]
fn after_a_loss_no_step_lowers_what_one_more_loss_would_leave() {
    let three = Cluster::at_rest(builder(3, 1, vec![node("esb1", 1000), node("esb2", 1000), node("esb3", 1000)]));
    let lost = three.without("esb3");
    let out = lost.clone().with_traffic("esb2", Traffic::Out).with("esb2", |node| node.process = Process::Stopped);
    let (law, settled) = (lost.law(), Phase::Settled);
    assert_eq!(law.check_step(settled, false, &lost.state, &lost.state), Ok(()));
    let broken = law.check_step(settled, false, &lost.state, &out.state).unwrap_err();
    assert_eq!(broken.invariant, Invariant::OneMoreFailure);
    assert_eq!(law.check_step(settled, true, &lost.state, &out.state), Ok(()), "a declared window");
    assert_eq!(law.check_step(settled, false, &out.state, &out.state), Ok(()), "it is no lower than it was");
    let four = ["esb1", "esb2", "esb3", "esb4"].map(|name| node(name, 1000)).to_vec();
    let lost = Cluster::at_rest(builder(4, 1, four)).without("esb4");
    let out = lost.clone().with_traffic("esb2", Traffic::Out).with("esb2", |node| node.process = Process::Stopped);
    assert_eq!(lost.law().check_step(settled, false, &lost.state, &out.state), Ok(()), "2000 to 1000, of 750 required");
}

/// A plan may begin while what is left does not carry what it must: it lowers nothing, and is bound as settled once that is carried.
#[test]
fn a_plan_that_begins_short_is_bound_as_settled_once_enough_is_carried() {
    let short = one_and_a_standby().without("esb1");
    assert_eq!(capacity(&short), 0);
    assert_eq!(short.law().phase_in(Phase::Shaken, &short.state), Phase::Shaken);
    let secured = short.clone().with_traffic("esb2", Traffic::In);
    assert_eq!(secured.law().phase_in(Phase::Shaken, &secured.state), Phase::Settled);
    assert_eq!(short.law().check_step(Phase::Shaken, false, &short.state, &secured.state), Ok(()));
    let (law, phase) = (secured.law(), Phase::Shaken);
    assert_eq!(law.check_step(phase, false, &secured.state, &short.state).unwrap_err().invariant, Invariant::Settled);
}
