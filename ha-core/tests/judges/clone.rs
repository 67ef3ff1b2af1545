//! A database that is cloned: writes are accepted in one place, and whoever may be served meanwhile is served from there.

use std::time::Duration;

use ha_core::action::{Action, CloneAction, Order};
use ha_core::law::{Invariant, Phase, Violation};
use ha_core::plan::{Degraded, DegradedWindow, Draft, Goal, Plan, Stage, Step};
use ha_core::safety::prove;
use ha_core::state::{
    CloneFacts, CloneStage, CloneStep, Copies, Process, ReleaseId, Schema, SchemaRange, Source, Traffic,
};

use crate::cluster::{Cluster, builder, fake, node};

/// Two members that serve from the source, and the release that uses the clone.
fn two() -> (Cluster, ReleaseId) {
    let nodes = vec![node("esb1", 1000), node("esb2", 1000)];
    let mut cluster = Cluster::at_rest(builder(2, 1, nodes).database(fake()));
    let new = cluster.facts.releases.enter("2.0").unwrap();
    cluster.facts.releases.declare_schema(new, SchemaRange::new(Schema::Contracted, Schema::Contracted));
    cluster.facts.releases.declare_beside(new, cluster.old);
    let mut clone = CloneFacts::new("jdbc:fake:clone");
    clone.release = Some(new);
    cluster.facts.clone = Some(clone);
    (cluster, new)
}

fn at(cluster: &Cluster, source: Source, clone: CloneStage) -> Cluster {
    let mut cluster = cluster.clone();
    cluster.state.copies = Copies::new(source, clone);
    cluster
}

/// The same, with a member of the new release that passed its test.
fn with_new(cluster: &Cluster, name: &str, new: ReleaseId) -> Cluster {
    cluster.clone().with(name, |node| {
        node.release = Some(new);
        node.tested.insert(new);
    })
}

fn broken(check: Result<(), Violation>) -> Option<Invariant> {
    check.err().map(|violation| violation.invariant)
}

#[test]
fn writes_are_not_accepted_in_two_places_in_any_phase() {
    let (cluster, _) = two();
    for (source, clone) in [(Source::Open, CloneStage::Open), (Source::Freezing, CloneStage::Opening)] {
        let twice = at(&cluster, source, clone);
        for phase in [Phase::Quiet, Phase::Shaken, Phase::Settled] {
            assert_eq!(broken(twice.law().check(&twice.state, phase)), Some(Invariant::Schema), "{phase:?}");
        }
        assert!(twice.law().broken(&twice.state).iter().any(|found| found.facts.contains("two places")));
    }
    let frozen = at(&cluster, Source::Frozen, CloneStage::Migrated);
    assert_eq!(frozen.law().check(&frozen.state, Phase::Quiet), Ok(()));
}

#[test]
fn who_may_be_served_is_served_from_the_copy_that_takes_writes() {
    let (cluster, new) = two();
    let both = with_new(&cluster, "esb2", new);
    for (source, clone, old_serves, new_serves) in [
        (Source::Open, CloneStage::Absent, true, false),
        (Source::Open, CloneStage::Migrated, true, false),
        (Source::Freezing, CloneStage::Migrated, true, false),
        (Source::Frozen, CloneStage::Migrating, true, false),
        (Source::Frozen, CloneStage::Compared, true, false),
        (Source::Frozen, CloneStage::Migrated, true, true),
        (Source::Frozen, CloneStage::Opening, false, true),
        (Source::Frozen, CloneStage::Open, false, true),
    ] {
        let old = at(&cluster, source, clone);
        assert_eq!(old.law().schema(&old.state).is_ok(), old_serves, "old, {}", old.state.copies);
        let new = at(&both, source, clone);
        assert_eq!(new.law().schema(&new.state).is_ok(), old_serves && new_serves, "beside new, {}", new.state.copies);
        let all = at(&with_new(&both, "esb1", new_of(&both)), source, clone);
        assert_eq!(all.law().schema(&all.state).is_ok(), new_serves, "all new, {}", all.state.copies);
    }
}

fn new_of(cluster: &Cluster) -> ReleaseId {
    cluster.facts.on_clone().unwrap()
}

fn refused(cluster: &Cluster, step: CloneStep) -> bool {
    Order::Clone(CloneAction(step)).precondition(cluster.law(), &cluster.state).is_err()
}

#[test]
fn the_clone_takes_writes_when_nobody_can_be_served_from_the_source() {
    let (cluster, new) = two();
    let one = with_new(&at(&cluster, Source::Frozen, CloneStage::Migrated), "esb2", new);
    assert!(refused(&one, CloneStep::Open), "esb1 is served from the source");
    assert!(!refused(&one.clone().with_traffic("esb1", Traffic::Out), CloneStep::Open));
    assert!(!refused(&with_new(&one, "esb1", new), CloneStep::Open));
    assert!(refused(&at(&cluster, Source::Frozen, CloneStage::Compared), CloneStep::Open), "it is not migrated");
}

#[test]
fn the_source_takes_writes_again_when_nobody_can_be_served_from_the_clone() {
    let (cluster, new) = two();
    let frozen = at(&cluster, Source::Frozen, CloneStage::Migrated);
    assert!(!refused(&frozen, CloneStep::Thaw));
    let one = with_new(&frozen, "esb2", new);
    assert!(refused(&one, CloneStep::Thaw));
    assert!(!refused(&one.with_traffic("esb2", Traffic::Out), CloneStep::Thaw));
    assert!(refused(&at(&cluster, Source::Frozen, CloneStage::Open), CloneStep::Thaw), "the clone takes writes");
}

#[test]
fn nothing_is_done_to_a_clone_that_a_server_runs_on() {
    let (cluster, new) = two();
    let out = |stage| with_new(&at(&cluster, Source::Frozen, stage), "esb2", new).with_traffic("esb2", Traffic::Out);
    for (stage, step) in [
        (CloneStage::Copying, CloneStep::Copy),
        (CloneStage::Compared, CloneStep::Migrate),
        (CloneStage::Migrated, CloneStep::Drop),
    ] {
        assert!(refused(&out(stage), step), "{step}");
        assert!(!refused(&out(stage).with("esb2", |node| node.process = Process::Stopped), step), "{step}");
    }
}

#[test]
fn what_was_lent_is_given_back_or_is_the_database_now() {
    let (cluster, _) = two();
    let open = |source, clone| {
        let cluster = at(&cluster, source, clone);
        cluster.law().open_loans(&cluster.state)
    };
    assert_eq!(open(Source::Open, CloneStage::Absent), Vec::<String>::new());
    assert_eq!(open(Source::Frozen, CloneStage::Absent), ["the database refuses writes"]);
    assert_eq!(open(Source::Open, CloneStage::Copying), ["its clone holds half a copy"]);
    assert_eq!(open(Source::Frozen, CloneStage::Open), Vec::<String>::new());
    let mut other = at(&cluster, Source::Frozen, CloneStage::Absent);
    other.facts.clone = None;
    assert!(other.law().open_loans(&other.state).is_empty(), "a plan that clones nothing has lent nothing");
}

#[test]
fn a_freeze_and_a_copy_are_taken_back_and_what_was_opened_is_not() {
    let undo = |step| Order::Clone(CloneAction(step)).inverse(None);
    assert_eq!(undo(CloneStep::Freeze), [Order::Clone(CloneAction(CloneStep::Thaw))]);
    assert_eq!(undo(CloneStep::Copy), [Order::Clone(CloneAction(CloneStep::Drop))]);
    for step in [CloneStep::Compare, CloneStep::Migrate, CloneStep::Open, CloneStep::Thaw, CloneStep::Drop] {
        assert_eq!(undo(step), [], "{step}");
    }
}

#[test]
fn a_loan_is_open_from_the_intent_on() {
    let (cluster, _) = two();
    let mut state = cluster.state.clone();
    Order::Clone(CloneAction(CloneStep::Freeze)).begin(cluster.law(), &mut state);
    assert_eq!(state.copies.source, Source::Freezing);
    assert_eq!(cluster.law().open_loans(&state), ["the database refuses writes in part"]);
}

#[test]
fn a_database_that_refuses_writes_needs_its_window() {
    let (cluster, _) = two();
    let policy = cluster.topology.policy();
    let actions = [CloneStep::Freeze, CloneStep::Thaw].map(|step| Step::new(Action::from(step), policy));
    let draft = || {
        let (topology, state, facts) = (&cluster.topology, cluster.state.clone(), cluster.facts.clone());
        let draft = Draft::new("freeze", topology, state, facts, Goal::unchanged());
        draft.with_stage(Stage::new("freeze", Vec::new(), actions.to_vec()))
    };
    let refused = prove(&cluster.topology, &Plan::from(draft())).unwrap_err();
    assert!(refused.to_string().contains("declares no window"), "{refused}");
    let window = DegradedWindow::new(Degraded::WritesRefused, Duration::from_secs(1));
    let proof = prove(&cluster.topology, &Plan::from(draft().with_window(window.clone()))).unwrap();
    assert_eq!(proof.windows, [window]);
}
