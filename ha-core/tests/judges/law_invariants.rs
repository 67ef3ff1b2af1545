//! DESIGN.md, section 4, "The invariants": I3 to I7 and I9 to I11.

use ha_core::action::{Order, SchemaAction};
use ha_core::law::{Invariant, Phase, Violation, fenced};
use ha_core::state::{
    LeaseEpoch, LoanKind, NodeState, Process, ReleaseId, Schema, ServerDomain, Site, SiteEpoch, Sync, Traffic, Work,
    WriterEpoch,
};
use ha_core::topology::SiteRole;

use crate::cluster::{Cluster, builder, fake, node};

fn nodes() -> Vec<ha_core::topology::NodeSpec> {
    vec![node("esb1", 1000), node("esb2", 1000)]
}

fn two() -> Cluster {
    Cluster::at_rest(builder(2, 1, nodes()))
}

fn with_files() -> Cluster {
    Cluster::at_rest(builder(1, 1, nodes()).files(fake()))
}

fn with_database() -> Cluster {
    Cluster::at_rest(builder(2, 1, nodes()).database(fake()))
}

fn broken(check: Result<(), Violation>) -> Option<Invariant> {
    check.err().map(|violation| violation.invariant)
}

/// I3: "at most one node may write shared files, and its WriterEpoch is the highest any host has seen."
#[test]
fn one_node_writes_with_the_highest_epoch() {
    let cluster = with_files();
    assert_eq!(cluster.law().one_writer(&cluster.state), Ok(()));
    let both = with_files().with("esb2", |node| node.writer = WriterEpoch::new(2));
    assert_eq!(broken(both.law().one_writer(&both.state)), Some(Invariant::OneWriter));
    let mut stale = with_files();
    stale.state.writer_epoch = WriterEpoch::new(2);
    assert_eq!(broken(stale.law().one_writer(&stale.state)), Some(Invariant::OneWriter));
    for phase in [Phase::Quiet, Phase::Shaken, Phase::Settled] {
        assert_eq!(broken(stale.law().check(&stale.state, phase)), Some(Invariant::OneWriter), "{phase:?}");
    }
    assert!(stale.law().broken(&stale.state).iter().any(|found| found.invariant == Invariant::OneWriter));
}

/// I9: "one site writes, by SiteEpoch."
#[test]
fn one_site_writes_with_the_highest_epoch() {
    let sites = |first: (Site, u64), second: (Site, u64)| {
        let nodes = nodes().into_iter().map(|node| node.with_site("a")).collect();
        let mut cluster = Cluster::at_rest(builder(2, 1, nodes).site("a", SiteRole::Serving).site("b", SiteRole::Hot));
        for (place, (site, epoch)) in [first, second].into_iter().enumerate() {
            (cluster.state.sites[place].site, cluster.state.sites[place].epoch) = (site, SiteEpoch::new(epoch));
        }
        broken(cluster.law().check(&cluster.state, Phase::Shaken))
    };
    assert_eq!(sites((Site::Serving, 2), (Site::Hot, 1)), None);
    assert_eq!(sites((Site::Serving, 2), (Site::Hot, 2)), None);
    assert_eq!(sites((Site::Serving, 2), (Site::Serving, 1)), Some(Invariant::OneSite));
    assert_eq!(sites((Site::Serving, 1), (Site::Hot, 2)), Some(Invariant::OneSite));
}

/// facts/procedures.md, P7: nothing is removed before no node needs the old shape, whether it takes requests or not.
#[test]
fn a_schema_is_contracted_only_when_every_server_of_an_old_release_is_gone() {
    let may = |process: Process, release: &dyn Fn(&Cluster) -> Option<ReleaseId>, contract: SchemaAction| {
        let mut cluster = with_database();
        let (new, its) = (cluster.new, release(&cluster));
        cluster = cluster.with("esb2", |node| node.release = Some(new));
        cluster.state.schema = Schema::Backfilled;
        let cluster = cluster.with("esb1", |node| (node.process, node.release) = (process, its));
        Order::Schema(contract).precondition(cluster.law(), &cluster.state).is_ok()
    };
    let contract = SchemaAction::Migrate { to: Schema::Contracted };
    let (old, new) = (|cluster: &Cluster| Some(cluster.old), |cluster: &Cluster| Some(cluster.new));
    for process in [Process::Starting, Process::Ready { warm: true }, Process::Sick, Process::Unknown] {
        assert!(!may(process, &old, contract), "{process:?} with the old release");
        assert!(!may(process, &|_| None, contract), "{process:?} with a release that nobody knows");
        assert!(may(process, &new, contract), "{process:?} with the new release");
    }
    for process in [Process::Stopped, Process::Absent] {
        assert!(may(process, &old, contract), "{process:?}");
    }
}

/// I4: "every node that is exposed, or Ready and not under change, has the schema's state in its range"
#[test]
fn what_may_get_requests_or_is_ready_and_not_under_change_can_use_the_schema() {
    let contracted = |change: &dyn Fn(&mut NodeState), traffic| {
        let mut cluster = with_database();
        let new = cluster.new;
        cluster = cluster.with("esb2", |node| {
            node.release = Some(new);
            node.tested.insert(new);
        });
        cluster.state.schema = Schema::Contracted;
        let cluster = cluster.with("esb1", change).with_traffic("esb1", traffic);
        broken(cluster.law().schema(&cluster.state))
    };
    let unchanged = |_: &mut NodeState| {};
    assert_eq!(contracted(&unchanged, Traffic::In), Some(Invariant::Schema), "exposed");
    assert_eq!(contracted(&unchanged, Traffic::Out), Some(Invariant::Schema), "ready, and not under change");
    assert_eq!(contracted(&|node| node.under_change = true, Traffic::Out), None, "under change");
    assert_eq!(contracted(&|node| node.process = Process::Stopped, Traffic::Out), None, "stopped");
    assert_eq!(
        contracted(&|node| node.under_change = true, Traffic::Draining { in_flight: true }),
        Some(Invariant::Schema)
    );
    let mut undeclared = with_database().with("esb1", |node| node.release = None);
    assert_eq!(broken(undeclared.law().schema(&undeclared.state)), Some(Invariant::Schema), "nothing is assumed");
    undeclared = undeclared.without("esb1");
    assert_eq!(broken(undeclared.law().schema(&undeclared.state)), None, "no command reaches a lost node");
}

/// I4: "releases exposed at once are pairwise compatible (sessions, messages, caches)"
#[test]
fn releases_that_nothing_declares_compatible_are_not_exposed_at_once() {
    let mut cluster = two();
    let other = cluster.facts.releases.enter("3.0").unwrap();
    let changed = |node: &mut NodeState| {
        node.release = Some(other);
        node.tested.insert(other);
    };
    cluster = cluster.with("esb2", changed);
    assert_eq!(broken(cluster.law().schema(&cluster.state)), Some(Invariant::Schema));
    let apart = cluster.clone().with_traffic("esb2", Traffic::Out);
    assert_eq!(broken(apart.law().schema(&apart.state)), None);
    let gone = cluster.clone().with("esb2", |node| node.process = Process::Stopped);
    assert_eq!(broken(gone.law().schema(&gone.state)), None, "a stopped server refuses");
    cluster.facts.releases.declare_beside(cluster.old, other);
    assert_eq!(broken(cluster.law().schema(&cluster.state)), None);
}

/// I5: "an edge that is Active or Running and whose ends differ has the writer as its source, tested and of higher sequence, and
/// a target that is not exposed"
#[test]
fn an_open_sync_whose_ends_differ_brings_a_tested_newer_set_to_a_node_without_requests() {
    let ends = |writer: &dyn Fn(&Cluster, &mut NodeState), reader: &dyn Fn(&Cluster, &mut NodeState), traffic| {
        let base = with_files();
        let known = base.clone();
        let cluster = base.with("esb1", |node| writer(&known, node)).with("esb2", |node| reader(&known, node));
        let cluster = cluster.with_traffic("esb2", traffic);
        cluster.law().sync(&cluster.state).err().map(|violation| violation.facts)
    };
    let newer = |known: &Cluster, node: &mut NodeState| node.generation = Some(known.second);
    let untested = |known: &Cluster, node: &mut NodeState| {
        node.generation = Some(known.second);
        node.under_change = true;
    };
    let unchanged = |_: &Cluster, _: &mut NodeState| {};
    let says = |found: Option<String>, what: &str| {
        assert!(found.as_ref().is_some_and(|facts| facts.contains(what)), "{what}: {found:?}");
    };
    assert_eq!(ends(&newer, &unchanged, Traffic::Out), None);
    let base = with_files();
    let unread = base.clone().with("esb2", |node| (node.sync, node.generation) = (Sync::Unknown, None));
    let unread = unread.with_traffic("esb2", Traffic::In);
    assert!(unread.law().sync(&unread.state).is_err(), "what it has is not known, and it may be receiving requests");
    let lost = unread.without("esb2");
    assert_eq!(lost.law().sync(&lost.state), Ok(()), "the fault took it, and no command of ours reaches it");
    says(ends(&newer, &unchanged, Traffic::In), "may be receiving requests");
    says(ends(&untested, &unchanged, Traffic::Out), "has not passed its test");
    says(ends(&unchanged, &newer, Traffic::Out), "is not newer");
    assert_eq!(ends(&unchanged, &unchanged, Traffic::In), None, "its ends do not differ");
    let running = |_: &Cluster, node: &mut NodeState| node.sync = Sync::Running;
    says(ends(&newer, &running, Traffic::In), "may be receiving requests");
    let held = |_: &Cluster, node: &mut NodeState| node.sync = Sync::Held;
    assert_eq!(ends(&untested, &held, Traffic::In), None, "it is held");
    let half = |_: &Cluster, node: &mut NodeState| node.generation = None;
    assert_eq!(ends(&unchanged, &half, Traffic::Out), None, "whatever is half there is replaced");
    says(ends(&half, &half, Traffic::Out), "is not newer");
    let other = |known: &Cluster, node: &mut NodeState| {
        node.generation = known.facts.generations.clone().enter(ha_core::state::Generation::new(1, "other")).ok();
    };
    let mut twin = with_files();
    twin.facts.generations.enter(ha_core::state::Generation::new(1, "other")).unwrap();
    let known = twin.clone();
    let twin = twin.with("esb2", |node| other(&known, node));
    assert_eq!(broken(twin.law().sync(&twin.state)), Some(Invariant::Sync), "of one number is not of higher sequence");
    assert!(twin.law().broken(&twin.state).iter().any(|found| found.invariant == Invariant::Sync));
    for phase in [Phase::Quiet, Phase::Settled] {
        assert_eq!(broken(twin.law().check(&twin.state, phase)), Some(Invariant::Sync), "{phase:?}");
    }
}

/// I6: "every exposed node is Ready, in the Production domain, and has passed its gate after its last change"
#[test]
fn what_may_get_requests_is_ready_in_production_and_tested() {
    let tested = |change: &dyn Fn(&mut NodeState)| {
        let cluster = two().with("esb1", change);
        broken(cluster.law().tested(&cluster.state))
    };
    assert_eq!(tested(&|_| {}), None);
    assert_eq!(tested(&|node| node.process = Process::Sick), Some(Invariant::Tested));
    assert_eq!(tested(&|node| node.under_change = true), Some(Invariant::Tested));
    assert_eq!(tested(&|node| node.tested.clear()), Some(Invariant::Tested));
    assert_eq!(tested(&|node| node.server_domain = ServerDomain::Test), Some(Invariant::Tested));
    let lost = two().without("esb1");
    assert_eq!(lost.law().tested(&lost.state), Ok(()), "the fault took it");
    let out = two().with("esb1", |node| node.tested.clear()).with_traffic("esb1", Traffic::Out);
    assert_eq!(out.law().tested(&out.state), Ok(()));
}

/// I7: "no command stops a process with requests in flight or pulled work On"
#[test]
fn a_server_with_requests_or_pulled_work_is_not_stopped() {
    let drained = |change: &dyn Fn(&mut NodeState), traffic| {
        let cluster = two().with("esb1", change).with_traffic("esb1", traffic);
        broken(cluster.law().drained(&cluster.state, cluster.node("esb1")))
    };
    assert_eq!(drained(&|_| {}, Traffic::Out), None);
    assert_eq!(drained(&|_| {}, Traffic::Draining { in_flight: true }), Some(Invariant::Drained));
    assert_eq!(drained(&|node| node.work = Work::On, Traffic::Out), Some(Invariant::Drained));
    assert_eq!(drained(&|node| node.work = Work::Unknown, Traffic::Out), Some(Invariant::Drained), "counts as on");
    assert_eq!(drained(&|node| node.work = Work::Off, Traffic::Out), None);
    let gone = |node: &mut NodeState| (node.work, node.process) = (Work::On, Process::Sick);
    assert_eq!(drained(&gone, Traffic::Out), None, "a server that does not serve pulls nothing");
}

/// I10: "every effect carries a LeaseEpoch no lower than the last one seen."
#[test]
fn an_epoch_below_the_last_one_seen_is_fenced() {
    let epoch = LeaseEpoch::new;
    assert_eq!(fenced(epoch(2), epoch(2)), Ok(()));
    assert_eq!(fenced(epoch(2), epoch(3)), Ok(()));
    assert_eq!(broken(fenced(epoch(2), epoch(1))), Some(Invariant::Fenced));
}

/// I11: "the ledger is empty, or the end is NeedsOperator and lists what is open."
#[test]
fn an_end_with_an_open_loan_is_not_repaid_and_each_loan_is_listed() {
    let cluster = two();
    assert_eq!(cluster.law().repaid(&cluster.state), Ok(()));
    let one = two().with("esb1", |node| node.loans.open(LoanKind::SyncHeld));
    assert_eq!(broken(one.law().repaid(&one.state)), Some(Invariant::Repaid));
    let open = two().with_traffic("esb2", Traffic::Out).with("esb2", |node| {
        node.process = Process::Stopped;
        node.loans.open(LoanKind::HeldOut);
        node.loans.open(LoanKind::Stopped);
    });
    assert_eq!(broken(open.law().repaid(&open.state)), Some(Invariant::Repaid));
    assert_eq!(open.law().open_loans(&open.state), ["esb2: held out of traffic", "esb2: server stopped"]);
}

/// I11: a loan is open while what was lent is not back; one that is told of a server that serves is false.
#[test]
fn what_is_seen_to_be_as_it_was_is_repaid_whoever_did_it() {
    let all = |cluster: Cluster, name: &str| -> Vec<String> {
        let cluster = cluster.with(name, |node| LoanKind::ALL.iter().for_each(|loan| node.loans.open(*loan)));
        cluster
            .law()
            .open_loans(&cluster.state)
            .into_iter()
            .map(|loan| loan.replace(&format!("{name}: "), ""))
            .collect()
    };
    let member = with_files().with("esb2", |node| node.work = Work::On);
    assert_eq!(
        all(member.clone().with_traffic("esb2", Traffic::In), "esb2"),
        ["spare running", "spare admitted to traffic"]
    );
    let half = Cluster::at_rest(builder(2, 2, nodes())).with_traffic_at("esb2", 0, Traffic::Out);
    assert!(all(half, "esb2").contains(&"held out of traffic".to_string()), "one balancer of two admits it");
    let lent = member.with_traffic("esb2", Traffic::Draining { in_flight: true }).with("esb2", |node| {
        (node.process, node.sync, node.work) = (Process::Starting, Sync::Unknown, Work::Off);
        node.server_domain = ServerDomain::Test;
    });
    let listed: Vec<String> = all(lent, "esb2");
    assert_eq!(listed.len(), LoanKind::ALL.len(), "what is half back, or not known, is not back: {listed:?}");
    let spare = with_files().with_traffic("esb2", Traffic::Out).with("esb2", |node| node.process = Process::Stopped);
    let listed: Vec<String> = all(spare, "esb2");
    assert!(!listed.iter().any(|loan| loan.contains("spare") || loan.contains("test domain")), "{listed:?}");
}

/// What may be given lists all that a quiet state breaks: each invariant that a state can break on its own.
#[test]
fn everything_that_a_state_breaks_is_listed() {
    let all = |cluster: &Cluster| {
        let found = cluster.law().broken(&cluster.state);
        found.into_iter().map(|violation| violation.invariant).collect::<Vec<_>>()
    };
    assert_eq!(all(&two()), []);
    let down =
        two().with("esb1", |node| node.process = Process::Sick).with("esb2", |node| node.process = Process::Sick);
    assert_eq!(all(&down), [Invariant::Now, Invariant::OneMoreFailure, Invariant::Tested]);
    let mut contracted = with_database();
    contracted.state.schema = Schema::Contracted;
    assert_eq!(all(&contracted), [Invariant::Now, Invariant::OneMoreFailure, Invariant::Schema]);
    let nodes = nodes().into_iter().map(|node| node.with_site("a")).collect();
    let mut sites = Cluster::at_rest(builder(2, 1, nodes).site("a", SiteRole::Serving).site("b", SiteRole::Hot));
    sites.state.sites[1].epoch = SiteEpoch::new(7);
    assert_eq!(all(&sites), [Invariant::OneSite]);
    for phase in [Phase::Quiet, Phase::Settled] {
        assert_eq!(broken(sites.law().check(&sites.state, phase)), Some(Invariant::OneSite), "{phase:?}");
    }
}
