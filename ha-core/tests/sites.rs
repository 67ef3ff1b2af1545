//! The loss of a site, the way back and the drill: what is planned, what is refused, and what the law says of it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use ha_core::action::{Action, SiteAction};
use ha_core::plan::Degraded;
use ha_core::procedure::{
    DrillRequest, FailBackRequest, PlanError, Planned, Procedure, SiteLossRequest, Snapshot, plan,
};
use ha_core::state::{
    ClusterState, Drill, Facts, FenceLevel, MemberKind, MemberState, NodeState, Process, ReleaseSet, ReplicaRole,
    ReplicaSeen, Site, SiteEpoch, SiteFacts, SiteState, Traffic,
};
use ha_core::topology::Topology;

fn topology(role: &str) -> Topology {
    let node = |name: &str, site: &str| {
        format!(
            "[[node]]\nname = \"{name}\"\ncapacity = 1000\nsite = \"{site}\"\nhost = {{ backend = \"fake\" }}\n\
             probe = {{ backend = \"fake\" }}\n"
        )
    };
    let site = |name: &str, role: &str| {
        format!(
            "[[site]]\nname = \"{name}\"\nrole = \"{role}\"\nfence = {{ backend = \"fake\" }}\nreplica = {{ backend = \"fake\" }}\n"
        )
    };
    let pool = |name: &str, site: &str, balancer: &str| {
        format!(
            "[[pool]]\nname = \"{name}\"\nbackend = \"esb\"\nserve = 2\npeak_load = 1000\nsite = \"{site}\"\n\
             balancers = [\"{balancer}\"]\n[[balancer]]\nname = \"{balancer}\"\nbackend = \"fake\"\n"
        )
    };
    let text = [
        "[cluster]\nname = \"orders\"\n[policy]\n[switch]\nbackend = \"fake\"\n".to_string(),
        site("north", "serving"),
        site("south", role),
        pool("esb", "north", "lb-north"),
        pool("esb-south", "south", "lb-south"),
        node("n1", "north"),
        node("n2", "north"),
        node("s1", "south"),
        node("s2", "south"),
    ];
    Topology::from_toml_str(&text.concat()).unwrap()
}

struct Cluster {
    topology: Topology,
    state: ClusterState,
    facts: Facts,
}

impl Cluster {
    fn at_rest(role: &str) -> Self {
        let topology = topology(role);
        let mut facts = Facts::default();
        let release = facts.releases.enter("1.0").unwrap();
        let hot = role == "hot";
        let node = |serves: bool| {
            let mut tested = ReleaseSet::default();
            if serves {
                tested.insert(release);
            }
            let process = if serves { Process::Ready { warm: true } } else { Process::Stopped };
            NodeState::new(process, Some(release), tested)
        };
        let member =
            |serves: bool| MemberState::new(MemberKind::Primary, if serves { Traffic::In } else { Traffic::Out });
        let nodes = [true, true, hot, hot];
        let mut state = ClusterState::new(&topology, nodes.map(node).to_vec(), nodes.map(member).to_vec());
        let standby = match role {
            "hot" => Site::Hot,
            "warm" => Site::Warm,
            _ => Site::Cold,
        };
        state.sites =
            vec![SiteState::new(Site::Serving, SiteEpoch::new(1)), SiteState::new(standby, SiteEpoch::new(1))];
        facts.sites = vec![
            facts_of(ReplicaRole::Primary, 1),
            facts_of(if role == "cold" { ReplicaRole::ReadOnly } else { ReplicaRole::Standby }, 1),
        ];
        facts.drill =
            Some(Drill::new(0).with_term("start", Duration::from_secs(60)).with_term("gate", Duration::from_secs(2)));
        Self { topology, state, facts }
    }

    /// After the loss of north: south serves, north has come back by itself, with its servers stopped.
    fn after_the_loss(role: &str) -> Self {
        let mut cluster = Self::at_rest(role);
        let release = cluster.state.node(cluster.node("n1")).release.unwrap();
        for name in ["s1", "s2"] {
            let node = cluster.node(name);
            let state = cluster.state.node_mut(node);
            state.process = Process::Ready { warm: true };
            state.tested.insert(release);
            cluster.state.set_traffic_everywhere(node, MemberState::admitted);
        }
        for name in ["n1", "n2"] {
            let node = cluster.node(name);
            let state = cluster.state.node_mut(node);
            state.process = Process::Stopped;
            state.tested.clear();
            cluster.state.set_traffic_everywhere(node, |_| Traffic::Out);
        }
        cluster.state.sites = vec![
            SiteState::new(Site::Quarantined, SiteEpoch::new(1)),
            SiteState::new(Site::Serving, SiteEpoch::new(2)),
        ];
        cluster.facts.sites = vec![facts_of(ReplicaRole::Primary, 1), facts_of(ReplicaRole::Primary, 2)];
        cluster
    }

    fn node(&self, name: &str) -> ha_core::topology::NodeIx {
        self.topology.find(name).unwrap()
    }

    fn plan(&self, procedure: &dyn Procedure) -> Result<Planned, PlanError> {
        plan(procedure, Snapshot::new(&self.topology, &self.state, &self.facts))
    }
}

fn facts_of(role: ReplicaRole, epoch: u64) -> SiteFacts {
    let mut facts = SiteFacts::default();
    facts.fence = Some(FenceLevel::Power);
    facts.replica = Some(ReplicaSeen::new(role, SiteEpoch::new(epoch)).with_position(Some(4096)));
    facts
}

fn names(planned: &Planned) -> Vec<&'static str> {
    planned.plan().stages().iter().flat_map(|stage| &stage.steps).map(|step| step.action.name()).collect()
}

#[test]
fn a_lost_site_is_fenced_before_the_other_takes_writes_and_consumers_come_last() {
    for (role, brought) in
        [("hot", &[][..]), ("warm", &["start", "gate", "admit"]), ("cold", &["start", "gate", "admit"])]
    {
        let cluster = Cluster::at_rest(role);
        let planned = cluster.plan(&SiteLossRequest::of("north")).unwrap_or_else(|error| panic!("{role}: {error}"));
        let mut expected = vec!["fence", "promote"];
        expected.extend(brought);
        expected.push("lead consumers");
        expected.extend(brought);
        assert_eq!(names(&planned), expected, "{role}");
        assert!(planned.proof().windows.iter().any(|window| window.what == Degraded::NoSite), "{role}");
    }
}

#[test]
fn the_window_is_twice_what_the_drill_measured_and_the_deadline_where_it_measured_nothing() {
    let mut cluster = Cluster::at_rest("warm");
    for name in ["fence", "promote", "admit", "lead consumers"] {
        let drill = cluster.facts.drill.take().unwrap();
        cluster.facts.drill = Some(drill.with_term(name, Duration::from_millis(700)));
    }
    let window = |cluster: &Cluster| {
        let planned = cluster.plan(&SiteLossRequest::of("north")).unwrap_or_else(|error| panic!("{error}"));
        planned.plan().windows().iter().find(|window| window.what == Degraded::NoSite).unwrap().at_most
    };
    // One server carries what is required after a loss: consumers do not wait for the other.
    assert_eq!(window(&cluster), Duration::from_millis(4 * 1400 + 120_000 + 4_000));
    cluster.facts.drill = Some(Drill::new(0).with_term("start", Duration::from_secs(60)));
    assert!(window(&cluster) > Duration::from_secs(600), "what was not measured counts with its deadline");
}

#[test]
fn a_site_that_cannot_be_trusted_to_replace_the_other_is_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Cluster), request: SiteLossRequest| {
        let mut cluster = Cluster::at_rest("warm");
        change(&mut cluster);
        cluster.plan(&request).map(|_| ()).unwrap_err().to_string()
    };
    let lost = || SiteLossRequest::of("north");
    let cases = [
        (refused(&|cluster| cluster.facts.drill = None, lost()), "site south is not ready for a change: no drill"),
        (
            refused(&|cluster| cluster.facts.sites[0].fence = None, lost()),
            "site north is not ready for a change: nothing fences it",
        ),
        (
            refused(&|cluster| cluster.facts.sites[0].fence = Some(FenceLevel::Consumers), lost()),
            "its fence reaches its consumers only",
        ),
        (refused(&|cluster| cluster.facts.sites[1].replica = None, lost()), "its copy of the database cannot be read"),
        (
            refused(&|cluster| cluster.facts.sites[1] = facts_of(ReplicaRole::Primary, 1), lost()),
            "follows nothing, and is Primary with epoch 1",
        ),
        (
            refused(
                &|cluster| {
                    let node = cluster.node("s2");
                    cluster.state.node_mut(node).process = Process::Absent;
                },
                lost(),
            ),
            "no server is installed on s2",
        ),
        (refused(&|_| {}, SiteLossRequest::of("west")), "there is no site west; the sites are: north, south"),
        (refused(&|_| {}, lost().to("north")), "site north cannot replace itself"),
    ];
    for (error, expected) in cases {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let mut cluster = Cluster::at_rest("warm");
    (cluster.facts.drill, cluster.facts.sites[0].fence) = (None, None);
    let vouched = lost().with_fenced_by("m.keller").with_window_accepted_by("m.keller");
    let planned = cluster.plan(&vouched).unwrap_or_else(|error| panic!("{error}"));
    assert!(planned.plan().ends().reached.contains("m.keller vouches that it cannot act"));
}

#[test]
fn the_way_back_follows_first_and_lets_consumers_wait_only_for_the_switch() {
    for role in ["hot", "warm"] {
        let cluster = Cluster::after_the_loss(role);
        let refused = cluster.plan(&FailBackRequest::to("north")).unwrap_err().to_string();
        assert!(refused.contains("its database went its own way with epoch 1"), "{refused}");
        let planned = cluster.plan(&FailBackRequest::to("north").with_discarded_by("m.keller"));
        let planned = planned.unwrap_or_else(|error| panic!("{role}: {error}"));
        let mut expected = vec!["follow", "start", "gate", "admit", "start", "gate", "admit"];
        expected.extend(["hold consumers", "demote", "promote", "lead consumers"]);
        expected.extend(if role == "hot" { &["follow"][..] } else { &["take out", "stop", "follow"] });
        assert_eq!(names(&planned), expected, "{role}");
        let switch = planned.plan().stages().iter().position(|stage| {
            stage.steps.iter().any(|step| matches!(step.action, Action::Site(SiteAction::Open { .. })))
        });
        assert_eq!(switch, Some(planned.plan().point_of_no_return()));
        assert!(planned.proof().windows.iter().any(|window| window.what == Degraded::ConsumersWait));
    }
}

#[test]
fn consumers_are_not_led_back_where_nobody_can_tell_who_has_all_that_was_written() {
    for (site, name) in [(0, "north"), (1, "south")] {
        let mut cluster = Cluster::after_the_loss("warm");
        let seen = cluster.facts.sites[site].replica.unwrap();
        cluster.facts.sites[site].replica = Some(seen.with_position(None));
        let request = FailBackRequest::to("north").with_discarded_by("m.keller");
        let refused = cluster.plan(&request).unwrap_err().to_string();
        let expected = format!("site {name} is not ready for a change: its copy of the database says no position");
        assert!(refused.contains(&expected) && refused.contains("ReplicaSeen::with_position"), "{refused}");
        cluster.facts.sites[site].replica = None;
        let refused = cluster.plan(&request).unwrap_err().to_string();
        assert!(refused.contains("its copy of the database cannot be read"), "{refused}");
    }
}

#[test]
fn a_drill_starts_the_servers_tests_them_and_stops_them_again() {
    let cluster = Cluster::at_rest("warm");
    let planned = cluster.plan(&DrillRequest::of("south")).unwrap();
    let brought = ["start", "gate", "admit"];
    let expected: Vec<&str> =
        ["follow"].into_iter().chain(brought).chain(brought).chain(["take out", "stop"]).collect();
    assert_eq!(names(&planned), expected);
    let refused = Cluster::after_the_loss("warm").plan(&DrillRequest::of("south")).unwrap_err().to_string();
    assert!(refused.contains("it is serving, and stands by for nobody"), "{refused}");
}
