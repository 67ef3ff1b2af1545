//! What the explorer proves and what it refuses: DESIGN.md, section 1, "Proof before touch", and section 4.

use std::time::Duration;

use ha_core::action::{Action, FilesAction, SchemaAction, ServerAction, TrafficAction};
use ha_core::law::Invariant;
use ha_core::plan::{Degraded, DegradedWindow, Draft, Goal, OnFailure, Plan, Stage, Step};
use ha_core::safety::{Counterexample, Method, Proof, prove, prove_with};
use ha_core::state::{NodeState, Process, Schema, Sync, Traffic};
use ha_core::topology::{NodeSpec, Permille, PoolSpec, Topology, TopologyBuilder};

use crate::cluster::{Cluster, builder, fake, node};

type Verdict = Result<Proof, Box<Counterexample>>;

fn nodes(capacities: &[(&str, u64)]) -> Vec<NodeSpec> {
    capacities.iter().map(|(name, capacity)| node(name, *capacity)).collect()
}

/// Three nodes that serve, of which any one may be away.
fn three() -> Cluster {
    Cluster::at_rest(builder(3, 1, nodes(&[("esb1", 750), ("esb2", 750), ("esb3", 750)])))
}

fn one_and_standbys() -> Cluster {
    Cluster::at_rest(builder(1, 1, nodes(&[("esb1", 1000), ("esb2", 1000), ("esb3", 1000)])))
}

fn draft(cluster: &Cluster) -> Draft {
    Draft::new("test", &cluster.topology, cluster.state.clone(), cluster.facts.clone(), Goal::unchanged())
}

fn stage(cluster: &Cluster, names: &[&str], actions: &[Action]) -> Stage {
    let nodes = names.iter().map(|name| cluster.node(name)).collect();
    Stage::new("test", nodes, actions.iter().map(|action| Step::new(*action, cluster.topology.policy())).collect())
}

fn verdict(cluster: &Cluster, draft: Draft) -> Verdict {
    prove(&cluster.topology, &Plan::from(draft))
}

/// Proves a plan of one stage on one node.
fn proven(cluster: &Cluster, name: &str, actions: &[Action]) -> Verdict {
    verdict(cluster, draft(cluster).with_stage(stage(cluster, &[name], actions)))
}

fn broken(verdict: Verdict) -> (Invariant, usize, String) {
    let found = *verdict.unwrap_err();
    (found.violation.invariant, found.faults, found.violation.facts)
}

fn take_out() -> Action {
    TrafficAction::TakeOut.into()
}

fn admit() -> Action {
    TrafficAction::Admit.into()
}

fn patch(to: ha_core::state::ReleaseId) -> [Action; 6] {
    [
        take_out(),
        ServerAction::Stop.into(),
        ServerAction::Apply { to }.into(),
        ServerAction::Start.into(),
        ServerAction::Gate.into(),
        admit(),
    ]
}

fn window() -> DegradedWindow {
    DegradedWindow::new(Degraded::ReloadExposure, Duration::from_secs(1))
}

/// A patch of all three nodes, one after another.
fn patch_of_all(cluster: &Cluster) -> Draft {
    let mut draft = draft(cluster).with_window(window());
    draft.goal = Goal::of_release(cluster.new);
    ["esb1", "esb2", "esb3"].iter().fold(draft, |draft, name| {
        let stage = stage(cluster, &[name], &patch(cluster.new));
        draft.with_stage(stage)
    })
}

/// "explored, every step of it crossed with every single fault": the margins are the lowest of what was seen.
#[test]
fn a_patch_one_node_after_another_is_proven_with_its_margins() {
    let cluster = three();
    let proof = verdict(&cluster, patch_of_all(&cluster)).unwrap();
    let pool = &proof.pools[0];
    assert_eq!(pool.now.lowest, Some(500), "two of 750 serve, 1000 are required");
    assert_eq!(pool.one_more_failure.lowest, Some(0), "one of 750 is left, 750 are required");
    assert_eq!(pool.settled.lowest, Some(0), "after a loss 750 serve, 750 are required");
    assert_eq!(pool.lowest_shaken, Some(750));
    assert_eq!(proof.windows, [window()]);
    assert_eq!(proof.fault_budget, 1);
    let without = prove_with(&cluster.topology, &patch_of_all(&cluster).into(), 0).unwrap();
    assert_eq!((without.faults, without.pools[0].lowest_shaken), (0, None));
}

/// "a load balancer that forgets its runtime state": "where it cannot be [unreachable by default], the plan carries
/// DegradedWindow { ReloadExposure }".
#[test]
fn a_node_under_change_that_a_forgetful_balancer_may_expose_needs_its_window() {
    let cluster = three();
    let (invariant, faults, facts) = broken(proven(&cluster, "esb1", &patch(cluster.old)));
    assert_eq!((invariant, faults), (Invariant::Tested, 1));
    assert!(facts.contains("loses its runtime state"), "{facts}");
    let other = DegradedWindow::new(Degraded::PulledWork, Duration::from_secs(1));
    let wrong = draft(&cluster).with_stage(stage(&cluster, &["esb1"], &patch(cluster.old))).with_window(other);
    assert_eq!(broken(verdict(&cluster, wrong)).0, Invariant::Tested, "another window does not declare it");
}

/// A stopped server refuses, and a standby is configured out: no window is needed, and none is used.
#[test]
fn a_standby_is_patched_without_a_window() {
    let cluster = one_and_standbys();
    let mut plan = draft(&cluster).with_window(window());
    let mut actions = patch(cluster.old).to_vec();
    actions[5] = TrafficAction::StandBy.into();
    plan = plan.with_stage(stage(&cluster, &["esb3"], &actions));
    let proof = verdict(&cluster, plan).unwrap();
    assert_eq!(proof.windows, [], "it is declared, and nothing opens it");
}

/// "Quiet: all state invariants hold": in the very state in which the plan begins too.
#[test]
fn a_plan_that_begins_in_a_broken_state_is_refused_though_it_mends_it() {
    let pool = PoolSpec::new("esb", 2, 1000).with_survive_one(Permille::new(500));
    let cluster = Topology::builder("orders").balancer("lb1", fake()).pool(pool);
    let cluster =
        nodes(&[("esb1", 500), ("esb2", 500), ("esb3", 500)]).into_iter().fold(cluster, TopologyBuilder::node);
    let low = Cluster::at_rest(cluster).with_traffic("esb2", Traffic::Out);
    let (invariant, faults, facts) = broken(proven(&low, "esb2", &[admit()]));
    assert_eq!((invariant, faults), (Invariant::Now, 0), "{facts}");

    let untested = |node: &mut NodeState| node.under_change = true;
    let nodes = nodes(&[("esb1", 1000), ("esb2", 1000)]);
    let alone = Cluster::at_rest(builder(1, 1, nodes)).with("esb2", untested);
    let (invariant, faults, _) = broken(proven(&alone, "esb2", &[ServerAction::Gate.into()]));
    assert_eq!((invariant, faults), (Invariant::OneMoreFailure, 0));

    let four = Cluster::at_rest(builder(3, 1, self::nodes(&[("a", 750), ("b", 750), ("c", 750), ("d", 750)])));
    let exposed = four.with("d", untested).with_traffic("d", Traffic::In);
    let (invariant, faults, _) = broken(proven(&exposed, "d", &[ServerAction::Gate.into()]));
    assert_eq!((invariant, faults), (Invariant::Tested, 0));
}

/// "A plan that cannot be proven is refused with the shortest counterexample": the next step that the machine refuses.
#[test]
fn a_plan_whose_own_step_may_not_be_given_is_refused_without_a_fault() {
    let two = Cluster::at_rest(builder(2, 1, nodes(&[("esb1", 750), ("esb2", 750)])));
    let refused = *proven(&two, "esb1", &[take_out()]).unwrap_err();
    assert_eq!((refused.violation.invariant, refused.faults), (Invariant::Now, 0));
    assert_eq!(refused.trace, ["next would be: take out esb1"]);
    let (invariant, faults, _) = broken(proven(&three(), "esb1", &[ServerAction::Stop.into()]));
    assert_eq!((invariant, faults), (Invariant::Drained, 0));
    let (invariant, faults, _) = broken(proven(&three(), "esb1", &[take_out(), ServerAction::Soak.into()]));
    assert_eq!((invariant, faults), (Invariant::Order, 0));
    let policy = three().topology.policy().clone();
    let step = Step::new(ServerAction::Soak, &policy).with_on_failure(OnFailure::Hold);
    let held = Stage::new("test", vec![three().node("esb1")], vec![Step::new(take_out(), &policy), step]);
    let mut plan = draft(&three()).with_stage(held);
    plan.point_of_no_return = 0;
    assert_eq!(broken(verdict(&three(), plan)).0, Invariant::Order, "a run that ends there is refused for the step");
}

/// "explored, every step of it crossed with every single fault ..., rollback paths included": a step that is refused only in
/// what a fault has left behind turns the run back, and is no flaw of the plan.
#[test]
fn a_step_that_is_refused_only_after_a_fault_does_not_refuse_the_plan() {
    let cold = node("esb2", 1000).with_warm_up(Permille::new(500));
    let all = vec![node("esb1", 1000), cold, node("esb3", 600), node("esb4", 600)];
    let four = Cluster::at_rest(builder(4, 1, all)).with("esb2", |node| node.process = Process::Ready { warm: false });
    let half = four.clone().with_traffic("esb1", Traffic::Draining { in_flight: true });
    let (invariant, faults, facts) = broken(proven(&half, "esb2", &[take_out(), admit()]));
    assert_eq!((invariant, faults), (Invariant::OneMoreFailure, 0), "half taken out, esb1 is no reserve: {facts}");
    let wave = stage(&four, &["esb1", "esb2"], &[take_out(), TrafficAction::StandBy.into()]);
    let found = verdict(&four, draft(&four).with_stage(wave));
    assert!(found.is_ok(), "{:?}", found.err());
}

/// I11 (a property of ends): "the ledger is empty"; "all new" is what it is called.
#[test]
fn a_plan_that_ends_short_of_its_goal_or_with_an_open_loan_is_refused() {
    let (invariant, faults, facts) = broken(proven(&three(), "esb1", &[take_out()]));
    assert_eq!((invariant, faults), (Invariant::Repaid, 0), "{facts}");
    let ends = |goal: &dyn Fn(&Cluster) -> Goal| {
        let cluster = Cluster::at_rest(builder(1, 1, nodes(&[("esb1", 1000), ("esb2", 1000)])).database(fake()));
        let mut plan = draft(&cluster).with_stage(stage(&cluster, &["esb1"], &[ServerAction::Soak.into()]));
        plan.goal = goal(&cluster);
        verdict(&cluster, plan)
    };
    assert!(ends(&|_| Goal::unchanged()).is_ok());
    assert!(ends(&|cluster| Goal::of_release(cluster.old)).is_ok());
    let (invariant, _, facts) = broken(ends(&|cluster| Goal::of_release(cluster.new)));
    assert!(invariant == Invariant::Repaid && facts.contains("another release"), "{facts}");
    let (_, _, facts) = broken(ends(&|cluster| Goal::of_generation(cluster.second)));
    assert!(facts.contains("other files"), "{facts}");
    let (_, _, facts) = broken(ends(&|_| Goal::unchanged().with_schema(Schema::Contracted)));
    assert!(facts.contains("the schema is base"), "{facts}");
}

/// I8: "from every fault-free state before the declared point of no return, the machine's compensations lead to all old"
#[test]
fn a_plan_whose_rollback_does_not_lead_to_all_old_is_refused() {
    let cluster = three();
    let forgetful = |change: &dyn Fn(&Cluster, &mut Draft)| {
        let mut plan = draft(&cluster).with_stage(stage(&cluster, &["esb1"], &[take_out(), admit()]));
        change(&cluster, &mut plan);
        verdict(&cluster, plan)
    };
    assert!(forgetful(&|_, _| {}).is_ok());
    let (invariant, faults, facts) = broken(forgetful(&|_, plan| plan.known_good[0] = None));
    assert_eq!((invariant, faults), (Invariant::Rollback, 0), "{facts}");
    assert!(forgetful(&|_, plan| (plan.known_good[0], plan.point_of_no_return) = (None, 0)).is_ok(), "past the point");
    let wrong_release = |cluster: &Cluster, plan: &mut Draft| {
        plan.known_good[1] = Some(ha_core::action::KnownGood::new(cluster.new, true));
    };
    let (invariant, _, facts) = broken(forgetful(&wrong_release));
    assert!(invariant == Invariant::Rollback && facts.contains("another release"), "{facts}");
    let wrong_files = |cluster: &Cluster, plan: &mut Draft| {
        plan.known_good[1] = plan.known_good[1].map(|known| known.with_files(cluster.second, None));
    };
    let (invariant, _, facts) = broken(forgetful(&wrong_files));
    assert!(invariant == Invariant::Rollback && facts.contains("other files"), "{facts}");
}

/// I8 "under the obligations above": a rollback that would break the law is none.
#[test]
fn a_plan_that_can_only_go_forward_needs_its_point_of_no_return() {
    let nodes = nodes(&[("esb1", 1000), ("esb2", 1000), ("esb3", 1000)]);
    let cluster = Cluster::at_rest(builder(1, 1, nodes).database(fake()));
    let plan = |point_of_no_return| {
        let new = cluster.new;
        let ready = cluster.clone().with("esb2", |node| {
            node.release = Some(new);
            node.tested.insert(new);
        });
        let mut ready = ready.with("esb3", |node| {
            node.release = Some(new);
            node.tested.insert(new);
        });
        ready.state.schema = Schema::Backfilled;
        let off = [take_out(), ServerAction::Stop.into()];
        let mut plan = draft(&ready).with_stage(stage(&ready, &["esb2"], &[take_out(), admit()]));
        plan = plan.with_stage(stage(&ready, &["esb1"], &off));
        let contract = SchemaAction::Migrate { to: Schema::Contracted };
        plan = plan.with_stage(stage(&ready, &[], &[contract.into()]));
        plan = plan.with_stage(stage(
            &ready,
            &["esb1"],
            &[
                ServerAction::Apply { to: new }.into(),
                ServerAction::Start.into(),
                ServerAction::Gate.into(),
                TrafficAction::StandBy.into(),
            ],
        ));
        plan = plan.with_window(window());
        plan.point_of_no_return = point_of_no_return;
        verdict(&ready, plan)
    };
    assert!(plan(2).is_ok(), "{:?}", plan(2).err());
    let (invariant, ..) = broken(plan(4));
    assert_eq!(invariant, Invariant::Rollback, "the old release cannot use the contracted schema");
}

/// Two that serve, and a reserve of another release, which may serve beside them or not.
fn with_a_spare(beside: bool, capacities: &[(&str, u64)]) -> Cluster {
    let pool = PoolSpec::new("esb", 2, 1000).with_survive_one(Permille::WHOLE);
    let topology = Topology::builder("orders").balancer("lb1", fake()).pool(pool);
    let mut cluster = Cluster::at_rest(nodes(capacities).into_iter().fold(topology, TopologyBuilder::node));
    let other = cluster.facts.releases.enter("3.0").unwrap();
    if beside {
        cluster.facts.releases.declare_beside(cluster.old, other);
    }
    cluster.with("spare", |node| {
        node.release = Some(other);
        node.tested.insert(other);
    })
}

/// "loss of a failure domain": of each, and "capacity(serving) >= survive_one x peak replaces I1" once the reaction has ended.
#[test]
fn the_loss_of_each_domain_is_explored_until_the_reaction_has_ended() {
    let capacities = [("small", 500), ("large", 1000), ("spare", 500)];
    let cluster = |beside| with_a_spare(beside, &capacities);
    let lost = |beside| with_a_spare(beside, &[&capacities[..], &[("gone", 500)]].concat()).without("gone");
    let soak = [ServerAction::Soak.into()];
    assert!(proven(&cluster(true), "small", &soak).is_ok());
    assert!(proven(&lost(true), "small", &soak).is_ok());
    let (invariant, faults, _) = broken(proven(&lost(false), "small", &soak));
    assert_eq!((invariant, faults), (Invariant::Settled, 1), "I2 holds: one more may be lost");
    let (invariant, faults, facts) = broken(proven(&cluster(false), "small", &soak));
    assert_eq!((invariant, faults), (Invariant::Settled, 1), "the spare may not serve beside small: {facts}");
}

/// "every step of it crossed with every single fault (loss of a failure domain, ...)": of two domains in the same state, one
/// speaks for the other only where both carry the same.
#[test]
fn domains_that_differ_only_in_what_they_carry_are_each_lost() {
    let gate = [ServerAction::Gate.into()];
    let capacities = [("small", 500), ("large", 1000), ("spare", 500)];
    assert!(proven(&with_a_spare(true, &capacities), "spare", &gate).is_ok());
    let refused = *proven(&with_a_spare(false, &capacities), "spare", &gate).unwrap_err();
    assert_eq!((refused.violation.invariant, refused.faults), (Invariant::Settled, 1));
    assert!(refused.trace.iter().any(|event| event == "large is lost"), "{:?}", refused.trace);
}

/// "a step that fails, half-happens or answers nothing" is quiet: "all state invariants hold" in what it leaves behind too.
#[test]
fn a_step_that_happens_in_part_and_breaks_the_law_then_is_refused() {
    let both = Cluster::at_rest(builder(1, 1, nodes(&[("esb1", 1000), ("esb2", 1000)])));
    let both = both.with_traffic("esb2", Traffic::In);
    let plan = || draft(&both).with_stage(stage(&both, &["esb1"], &[take_out(), TrafficAction::StandBy.into()]));
    assert!(prove_with(&both.topology, &plan().into(), 0).is_ok(), "out of traffic esb1 is a reserve at once");
    let refused = *verdict(&both, plan()).unwrap_err();
    assert_eq!((refused.violation.invariant, refused.faults), (Invariant::OneMoreFailure, 1));
    assert!(refused.trace[0].contains("happens in part"), "while it drains it is none: {:?}", refused.trace);
}

/// "Proof before touch": what is broken without any fault is shown without one.
#[test]
fn a_plan_that_breaks_the_law_by_itself_is_shown_without_a_fault() {
    let untested = [take_out(), ServerAction::Stop.into(), ServerAction::Start.into()];
    let (invariant, faults, facts) = broken(proven(&three(), "esb1", &untested));
    assert_eq!((invariant, faults), (Invariant::Repaid, 0), "a balancer that forgets would show it sooner: {facts}");
}

/// I5 and I11 of file sharing: no sync leads to the writer, and one that is held at the end is a loan.
#[test]
fn a_plan_that_leaves_the_file_syncs_otherwise_is_refused() {
    let cluster = Cluster::at_rest(builder(1, 1, nodes(&[("esb1", 1000), ("esb2", 1000)])).files(fake()));
    let cluster = cluster.with("esb2", |node| node.sync = Sync::Held);
    let hand = [FilesAction::HandWriter.into(), FilesAction::Release.into()];
    let (invariant, faults, facts) = broken(proven(&cluster, "esb2", &hand));
    assert_eq!((invariant, faults), (Invariant::Sync, 0), "{facts}");
    assert_eq!(broken(proven(&cluster, "esb2", &[FilesAction::Hold.into()])).0, Invariant::Repaid);
}

/// "Settled: ... a domain stays lost": nothing is promised for one more until I2 holds again.
#[test]
fn a_plan_that_begins_with_a_domain_lost_promises_what_is_left_of_the_law() {
    let lost = one_and_standbys().without("esb3");
    let proof = proven(&lost, "esb2", &[take_out(), admit(), ServerAction::Soak.into()]).unwrap();
    assert_eq!(proof.pools[0].now.lowest, None, "no state is quiet");
    assert_eq!(proof.pools[0].settled.lowest, Some(0));
    let two = Cluster::at_rest(builder(1, 1, nodes(&[("esb1", 1000), ("esb2", 1000)]))).without("esb2");
    assert!(proven(&two, "esb1", &[ServerAction::Soak.into()]).is_ok(), "one more loss is not promised");
    let broken_too = two.clone().with("esb1", |node| node.under_change = true);
    let (invariant, ..) = broken(proven(&broken_too, "esb1", &[ServerAction::Gate.into()]));
    assert_eq!(invariant, Invariant::Tested, "I3 to I7, I9 and I10 bind our commands");
}

/// "every effect goes through" its resource's transitions: one that a transition refuses is a flaw of the plan.
#[test]
fn an_order_that_cannot_follow_its_state_is_a_flaw_of_the_plan() {
    let gone = one_and_standbys().with("esb3", |node| (node.process, node.under_change) = (Process::Absent, true));
    let refused = *proven(&gone, "esb3", &[ServerAction::Start.into()]).unwrap_err();
    let facts = &refused.violation.facts;
    assert_eq!((refused.violation.invariant, refused.faults), (Invariant::Order, 0), "{facts}");
    assert!(facts.contains("cannot follow"), "{facts}");
    assert_eq!(refused.trace, ["start esb3"], "the shortest counterexample");
}

/// "explored, every step of it crossed with every single fault ... at every moment": how much that is for one step on one node
/// of two, behind one balancer. Other figures mean that something else is explored: say in the commit what, and why.
#[test]
fn every_single_fault_is_tried_at_every_moment_of_a_step() {
    let cluster = Cluster::at_rest(builder(1, 1, nodes(&[("esb1", 1000), ("esb2", 1000)])));
    let proof = proven(&cluster, "esb2", &[ServerAction::Gate.into()]).unwrap();
    assert_eq!(figures(&proof), (25, 78, 55));
    let again = proven(&cluster, "esb2", &[ServerAction::Gate.into()]).unwrap();
    assert_eq!(proof, again, "the same input gives the same proof");
}

/// The same of two steps on the traffic of a node. The balancers can be told of a node that is gone: a take-out that is in flight
/// when its domain is lost ends in one way, done, where an order to the node itself would end in two, not done or unknown.
#[test]
fn an_order_to_the_balancers_happens_though_its_node_is_lost_meanwhile() {
    let cluster = Cluster::at_rest(builder(1, 1, nodes(&[("esb1", 1000), ("esb2", 1000)])));
    let proof = proven(&cluster, "esb2", &[take_out(), TrafficAction::StandBy.into()]).unwrap();
    assert_eq!(figures(&proof), (54, 151, 106));
}

fn figures(proof: &Proof) -> (usize, usize, usize) {
    (proof.faults, proof.transitions, proof.states)
}

/// Where nodes of a wave are alike they are counted, with the verdict and the margins of visiting every state.
#[test]
fn nodes_of_a_wave_that_are_alike_are_counted_with_the_same_verdict() {
    const NAMES: [&str; 10] = ["esb1", "esb2", "esb3", "esb4", "esb5", "esb6", "esb7", "esb8", "esb9", "esb10"];
    let fleet = |each: u64| Cluster::at_rest(builder(10, 2, NAMES.map(|name| node(name, each)).to_vec()));
    let patched = |cluster: &Cluster, targets: &[&str]| {
        let draft = draft(cluster).with_window(window());
        let plan = Plan::from(draft.with_stage(stage(cluster, targets, &patch(cluster.new))));
        (prove(&cluster.topology, &plan), prove_with(&cluster.topology, &plan, 1))
    };
    let (counted, visited) = patched(&fleet(200), &NAMES[..5]);
    let (counted, visited) = (counted.unwrap(), visited.unwrap());
    assert_eq!((counted.method, visited.method), (Method::ByClass, Method::Exhaustive));
    assert_eq!(counted.pools, visited.pools, "a loss takes one of those that are counted");
    assert!(counted.states < visited.states, "{} of {}", counted.states, visited.states);
    let (counted, visited) = patched(&fleet(200), &NAMES[..6]);
    assert_eq!((broken(counted).0, broken(visited).0), (Invariant::Now, Invariant::Now));
    let out_of_turn = ["esb1", "esb2", "esb9", "esb3", "esb4"];
    assert_eq!(
        patched(&fleet(200), &out_of_turn).0.unwrap().method,
        Method::ByClass,
        "the others, which stay, are alike"
    );
    let shared = |name: &str| match name {
        "esb2" | "esb3" | "esb4" => node(name, 300).with_domain("rack"),
        _ => node(name, 300),
    };
    let racks = Cluster::at_rest(builder(10, 2, NAMES.map(shared).to_vec()));
    let (counted, visited) = patched(&racks, &NAMES[..2]);
    assert_eq!(counted.unwrap().pools, visited.unwrap().pools, "what fails together is not counted apart");
    let (backups, _) = patched(&fleet(300).with_backup("esb10"), &NAMES[..4]);
    assert_eq!(backups.unwrap().method, Method::Exhaustive, "backups carry one at a time");
}
