//! Who may be led to a service, and when: DESIGN.md, section 4, I6, and section 9, "expose last".

use ha_core::action::{ExposureAction, Order, ServerAction};
use ha_core::law::Invariant;
use ha_core::plan::{Draft, Goal, Plan, Stage, Step};
use ha_core::safety::{Counterexample, Proof, prove};
use ha_core::state::{ClusterState, Route, RouteKey, Service, ServiceRoute, Sync, Target, Traffic};
use ha_core::topology::Name;

use crate::cluster::{Cluster, builder, fake, node};

const EXPOSE: Order = Order::Exposure(ExposureAction::Expose);
const HIDE: Order = Order::Exposure(ExposureAction::Hide);

/// Two nodes that serve and a spare that is stopped, and a service in the second set of files, which only `with` have.
fn cluster(route: Route, with: &[&str]) -> Cluster {
    let nodes = vec![node("esb1", 1000), node("esb2", 1000), node("spare1", 1000).as_spare()];
    let mut cluster = Cluster::at_rest(builder(2, 1, nodes).files(fake()).exposure(fake()));
    let route_of = ServiceRoute::new(RouteKey::new("/orders").unwrap(), Name::new("esb").unwrap());
    cluster.facts = cluster.facts.with_service(Service::new(route_of, cluster.second));
    cluster.state.exposure = route;
    for reader in ["esb2", "spare1"] {
        cluster = cluster.with(reader, |node| node.sync = Sync::Held);
    }
    for name in with {
        let second = cluster.second;
        cluster = cluster.with(name, |node| node.generation = Some(second));
    }
    cluster
}

const BOTH: &[&str] = &["esb1", "esb2"];

fn says(cluster: &Cluster) -> Option<String> {
    let found = cluster.law().bound(&cluster.state).err()?;
    assert_eq!(found.invariant, Invariant::Tested, "{found}");
    Some(found.facts)
}

/// I6: one node without the service fails its share of the service's requests.
#[test]
fn while_a_service_is_exposed_whoever_may_get_requests_has_it_tested() {
    for open in [Route::Exposed, Route::Unknown] {
        assert_eq!(says(&cluster(open, BOTH)), None);
        let missing = says(&cluster(open, &["esb1"])).unwrap();
        assert!(missing.contains("esb2") && missing.contains("generation 1"), "{missing}");
        let half = says(&cluster(open, BOTH).with("esb1", |node| node.generation = None)).unwrap();
        assert!(half.contains("esb1") && half.contains("half a set"), "{half}");
        assert!(says(&cluster(open, &["esb1"]).with_traffic("esb2", Traffic::Draining { in_flight: true })).is_some());
        assert_eq!(says(&cluster(open, &["esb1"]).with_traffic("esb2", Traffic::Out)), None, "nothing comes there");
        assert_eq!(says(&cluster(open, &["esb1"]).without("esb2")), None, "no command reaches a lost node");
    }
    assert_eq!(says(&cluster(Route::Dark, &["esb1"])), None, "a dark service is not offered");
    let untested = cluster(Route::Exposed, BOTH).with("esb1", |node| node.under_change = true);
    let found = untested.law().exposed_service(&untested.state).unwrap_err();
    assert!(found.facts.contains("has not passed its test"), "{found}");
    let mut another = cluster(Route::Exposed, &[]);
    another.facts.service = None;
    assert_eq!(says(&another), None, "the route is no service's of this plan");
}

/// "every serving and reserve node has the same generation", then expose.
#[test]
fn a_service_is_exposed_once_every_node_that_serves_or_may_be_admitted_has_it_tested() {
    let may = |cluster: &Cluster, order: Order| order.precondition(cluster.law(), &cluster.state);
    assert_eq!(may(&cluster(Route::Dark, BOTH), EXPOSE), Ok(()));
    assert!(may(&cluster(Route::Dark, &["esb1"]), EXPOSE).unwrap_err().contains("esb2"));
    let untested = cluster(Route::Dark, BOTH).with("esb1", |node| node.under_change = true);
    assert!(may(&untested, EXPOSE).unwrap_err().contains("has not passed its test"));
    let reserve = |cluster: Cluster| cluster.with("spare1", |node| node.process = crate::cluster::READY);
    assert!(may(&reserve(cluster(Route::Dark, BOTH)), EXPOSE).unwrap_err().contains("spare1"));
    assert_eq!(may(&reserve(cluster(Route::Dark, &["esb1", "esb2", "spare1"])), EXPOSE), Ok(()));
    for route in [Route::Dark, Route::Exposed, Route::Unknown] {
        assert_eq!(may(&cluster(route, &[]), HIDE), Ok(()), "what is hidden fails nobody's request");
    }
    let mut nameless = cluster(Route::Dark, BOTH);
    nameless.facts.service = None;
    assert!(may(&nameless, EXPOSE).is_err() && may(&nameless, HIDE).is_err());
    assert_eq!((EXPOSE.guards(), HIDE.guards()), (Invariant::Tested, Invariant::Order));
}

/// "each action names the state it leads to", and half of it is the state that nobody knows.
#[test]
fn an_exposure_in_part_is_unknown_and_each_verb_takes_the_other_back() {
    let done = |route, order: Order| {
        let mut state: ClusterState = cluster(route, BOTH).state;
        let cluster = cluster(route, BOTH);
        order.begin(cluster.law(), &mut state);
        order.complete(cluster.law(), &mut state).unwrap();
        assert!(order.holds(cluster.law(), &state));
        state.exposure
    };
    for route in [Route::Dark, Route::Exposed, Route::Unknown] {
        assert_eq!((done(route, EXPOSE), done(route, HIDE)), (Route::Exposed, Route::Dark));
    }
    let partial = |route, order: Order| {
        let cluster = cluster(route, BOTH);
        let left = order.partial_effects(cluster.law(), &cluster.state);
        left.into_iter().map(|state| state.exposure).collect::<Vec<_>>()
    };
    assert_eq!(partial(Route::Dark, EXPOSE), [Route::Unknown]);
    assert_eq!(partial(Route::Exposed, HIDE), [Route::Unknown]);
    assert_eq!((partial(Route::Exposed, EXPOSE), partial(Route::Dark, HIDE)), (Vec::new(), Vec::new()));
    let unknown = cluster(Route::Unknown, BOTH);
    assert!(!EXPOSE.holds(unknown.law(), &unknown.state) && !HIDE.holds(unknown.law(), &unknown.state));
    assert_eq!((EXPOSE.inverse(None), HIDE.inverse(None)), (vec![HIDE], vec![EXPOSE]));
    for order in [EXPOSE, HIDE] {
        assert_eq!((order.target(), order.node()), (Target::Exposure, None));
        assert!(order.changes(Target::Exposure) && !order.changes(Target::Database));
    }
}

fn verdict(cluster: &Cluster, goal: Goal, orders: &[ExposureAction]) -> Result<Proof, Box<Counterexample>> {
    let policy = cluster.topology.policy();
    let mut draft = Draft::new("test", &cluster.topology, cluster.state.clone(), cluster.facts.clone(), goal);
    for order in orders {
        draft = draft.with_stage(Stage::new("test", Vec::new(), vec![Step::new(*order, policy).with_attempts(2)]));
    }
    draft =
        draft.with_stage(Stage::new("test", vec![cluster.node("esb1")], vec![Step::new(ServerAction::Soak, policy)]));
    prove(&cluster.topology, &Plan::from(draft))
}

/// I8 and I11 of a route: a run that is all new has it as its goal says, one that is rolled back as it was.
#[test]
fn a_route_is_at_the_end_as_the_end_says() {
    let exposed = Goal::unchanged().with_exposure(Route::Exposed);
    let dark = cluster(Route::Dark, BOTH);
    assert!(verdict(&dark, exposed, &[ExposureAction::Expose]).is_ok());
    let short = *verdict(&dark, exposed, &[]).unwrap_err();
    assert_eq!(short.violation.invariant, Invariant::Repaid, "{short}");
    assert!(short.violation.facts.contains("the route of the service is dark"), "{short}");
    let early = *verdict(&cluster(Route::Dark, &["esb1"]), exposed, &[ExposureAction::Expose]).unwrap_err();
    assert_eq!((early.violation.invariant, early.faults), (Invariant::Tested, 0), "{early}");
    assert!(early.trace.last().is_some_and(|event| event.contains("expose /orders -> esb")), "{early}");
    let unknown = cluster(Route::Unknown, BOTH);
    let hidden = *verdict(&unknown, Goal::unchanged(), &[ExposureAction::Hide]).unwrap_err();
    assert_eq!(hidden.violation.invariant, Invariant::Rollback, "{hidden}");
    assert!(hidden.violation.facts.contains("the route of the service is exposed"), "{hidden}");
}
