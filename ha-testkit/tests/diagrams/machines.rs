//! The machine of each resource, drawn from its transition function.

use ha_core::action::{Order, ServerAction, TrafficAction};
use ha_core::law::Law;
use ha_core::state::{
    ClusterState, Facts, MemberKind, MemberState, NodeState, Process, ProcessEvent, ReleaseSet, Route, RouteEvent,
    Schema, SchemaEvent, ServerDomain, Site, SiteEvent, Sync, SyncEvent, Traffic, TrafficEvent, Work, WorkEvent,
};
use ha_testkit::world::Shape;

use super::chart::{machine, words};

/// Lists values of an enum, in a match that does not compile while a variant is missing.
macro_rules! all {
    ($type:ty: $($value:expr => $pattern:pat),+ $(,)?) => {{
        fn _is_one_of_them(value: $type) {
            match value { $($pattern => {}),+ }
        }
        [$($value),+]
    }};
    ($type:ty: $($value:path),+ $(,)?) => {{
        fn _is_one_of_them(value: $type) {
            match value { $($value => {}),+ }
        }
        [$($value),+]
    }};
}

/// Draws all of them, by the names of their places.
pub(crate) fn all() -> Vec<(&'static str, String)> {
    vec![
        ("process", process()),
        ("domain", domain()),
        ("traffic", traffic()),
        ("work", work()),
        ("sync", sync()),
        ("route", route()),
        ("schema", schema()),
        ("site", site()),
    ]
}

fn site() -> String {
    let states = all!(Site:
        Site::Serving => Site::Serving,
        Site::Held => Site::Held,
        Site::Demoted => Site::Demoted,
        Site::Promoted => Site::Promoted,
        Site::Hot => Site::Hot,
        Site::Warm => Site::Warm,
        Site::Cold => Site::Cold,
        Site::Quarantined => Site::Quarantined,
    );
    let events = all!(SiteEvent:
        SiteEvent::Fenced => SiteEvent::Fenced,
        SiteEvent::Held => SiteEvent::Held,
        SiteEvent::Demoted => SiteEvent::Demoted,
        SiteEvent::Promoted => SiteEvent::Promoted,
        SiteEvent::Opened => SiteEvent::Opened,
        SiteEvent::Followed(Site::Hot) => SiteEvent::Followed(Site::Hot),
        SiteEvent::Followed(Site::Warm) => SiteEvent::Followed(Site::Warm),
        SiteEvent::Followed(Site::Cold) => SiteEvent::Followed(_),
    );
    machine(None, &states, &events, |state, event| state.on(event).ok()).draw()
}

fn process() -> String {
    let states = all!(Process:
        Process::Absent => Process::Absent,
        Process::Stopped => Process::Stopped,
        Process::Starting => Process::Starting,
        Process::Ready { warm: false } => Process::Ready { warm: false },
        Process::Ready { warm: true } => Process::Ready { warm: true },
        Process::Sick => Process::Sick,
        Process::Unknown => Process::Unknown,
    );
    let events = all!(ProcessEvent:
        ProcessEvent::StartIssued, ProcessEvent::BecameReady, ProcessEvent::Warmed, ProcessEvent::Sickened,
        ProcessEvent::Exited, ProcessEvent::HostLost,
    );
    machine(None, &states, &events, |state, event| state.on(event).ok()).draw()
}

fn traffic() -> String {
    let states = all!(Traffic:
        Traffic::Out => Traffic::Out,
        Traffic::Backup => Traffic::Backup,
        Traffic::In => Traffic::In,
        Traffic::Draining { in_flight: true } => Traffic::Draining { in_flight: true },
        Traffic::Draining { in_flight: false } => Traffic::Draining { in_flight: false },
        Traffic::Down => Traffic::Down,
        Traffic::Unknown => Traffic::Unknown,
        Traffic::Gone => Traffic::Gone,
    );
    let events = all!(TrafficEvent:
        TrafficEvent::Admitted(MemberKind::Primary) => TrafficEvent::Admitted(MemberKind::Primary),
        TrafficEvent::Admitted(MemberKind::Backup) => TrafficEvent::Admitted(MemberKind::Backup),
        TrafficEvent::DrainStarted => TrafficEvent::DrainStarted,
        TrafficEvent::Drained => TrafficEvent::Drained,
        TrafficEvent::Closed => TrafficEvent::Closed,
    );
    machine(None, &states, &events, |state, event| state.on(event).ok()).draw()
}

fn work() -> String {
    let states = all!(Work: Work::None, Work::On, Work::Off, Work::Unknown);
    let events = all!(WorkEvent: WorkEvent::Quiesced, WorkEvent::Resumed);
    machine(None, &states, &events, |state, event| Some(state.on(event))).draw()
}

fn sync() -> String {
    let states = all!(Sync: Sync::None, Sync::Active, Sync::Running, Sync::Held, Sync::Unknown);
    let events = all!(SyncEvent:
        SyncEvent::Held, SyncEvent::Released, SyncEvent::TransferEnded, SyncEvent::BecameWriter, SyncEvent::BecameReader,
    );
    machine(None, &states, &events, |state, event| state.on(event).ok()).draw()
}

fn route() -> String {
    let states = all!(Route: Route::Dark, Route::Exposed, Route::Unknown);
    let events = all!(RouteEvent: RouteEvent::Exposed, RouteEvent::Hidden, RouteEvent::ChangedInPart);
    machine(Some(Route::default()), &states, &events, |state, event| Some(state.on(event))).draw()
}

fn schema() -> String {
    let states = all!(Schema:
        Schema::Base, Schema::Expanding, Schema::Expanded, Schema::Backfilled, Schema::Contracting, Schema::Contracted,
    );
    let events = all!(SchemaEvent:
        SchemaEvent::ExpandBegan, SchemaEvent::Expanded, SchemaEvent::Backfilled, SchemaEvent::ContractBegan,
        SchemaEvent::Contracted,
    );
    machine(Some(Schema::default()), &states, &events, |state, event| state.on(event).ok()).draw()
}

/// A server, as far as its domain goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Server {
    Stopped,
    InProduction,
    InTest,
}

/// An order to it, and the one that admits it.
#[derive(Clone, Copy, Debug)]
enum Given {
    Start,
    StartInTest,
    Stop,
    Admit,
}

/// The domain has no machine of its own: the orders to the server change it. They are given to a member that is out of traffic and
/// tested, where their preconditions allow them.
fn domain() -> String {
    let topology = Shape::active_passive().topology().unwrap();
    let mut facts = Facts::default();
    let release = facts.releases.enter("1.0").unwrap();
    let law = Law::new(&topology, &facts);
    let node = topology.find("esb2").unwrap();
    let at = |server: Server| {
        let mut tested = ReleaseSet::default();
        tested.insert(release);
        let process = if server == Server::Stopped { Process::Stopped } else { Process::Ready { warm: true } };
        let mut state = NodeState::new(process, Some(release), tested);
        state.server_domain = if server == Server::InTest { ServerDomain::Test } else { ServerDomain::Production };
        let nodes = topology.nodes().map(|_| state).collect();
        let member = MemberState::new(MemberKind::Primary, Traffic::Out);
        ClusterState::new(&topology, nodes, vec![member; topology.nodes().count()])
    };
    let seen = |state: &ClusterState| match (state.node(node).process.is_ready(), state.node(node).server_domain) {
        (false, _) => Server::Stopped,
        (true, ServerDomain::Production) => Server::InProduction,
        (true, ServerDomain::Test) => Server::InTest,
    };
    let order = |given: Given| -> Order {
        match given {
            Given::Start => ServerAction::Start.on(node),
            Given::StartInTest => ServerAction::StartInTest.on(node),
            Given::Stop => ServerAction::Stop.on(node),
            Given::Admit => TrafficAction::Admit.on(node),
        }
    };
    let give = |server: Server, given: Given| {
        let (mut state, order) = (at(server), order(given));
        order.precondition(law, &state).ok()?;
        order.begin(law, &mut state);
        order.complete(law, &mut state).ok()?;
        Some(seen(&state))
    };
    let states = all!(Server: Server::Stopped, Server::InProduction, Server::InTest);
    let events = all!(Given: Given::Start, Given::StartInTest, Given::Stop, Given::Admit);
    let chart = machine(None, &states, &events, give).draw();
    assert_eq!(chart.matches(&words(&Given::Admit)).count(), 1, "nothing is admitted from its test domain:\n{chart}");
    chart
}
