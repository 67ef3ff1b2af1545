use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use tracing::Instrument;

use super::beforehand::{missing, missing_for};
use super::build::{Engine, Shared as Parts};
use super::drill::last_drill;
use super::error::RunError;
use super::on::{
    READ_AGAIN, READ_LIMIT, SeenServer, SeenSites, observe_copies, observe_exposure, observe_files, observe_schema,
    observe_server, observe_sites, observe_work, read_again, review_schema,
};
use super::watch::watch_all;
use crate::backend::{ConfigFinding, Expectations, Shared};
use crate::plan::Plan;
use crate::procedure::{PlanError, Planned, Procedure, Snapshot, plan};
use crate::state::{
    CloneFacts, ClusterState, Copies, Facts, MemberState, NodeSeen, NodeState, Observation, Process, ReleaseSet, Route,
    Schema, ServiceRoute, SharedSeen, Sync, Target, Traffic, Work, WriterEpoch,
};
use crate::topology::{BalancerIx, DomainIx, NodeIx, PoolIx, Topology};

/// The observed state of a cluster, its gates run.
///
/// # Examples
///
/// ```
/// use ha_core::engine::{Engine, RunError};
///
/// async fn show(engine: &Engine) -> Result<(), RunError> {
///     let seen = engine.observe().await?;
///     for (index, node) in engine.topology().nodes() {
///         println!("{}: {:?}", node.name, seen.state.node(index).process);
///     }
///     for line in seen.notes.iter().chain(&seen.dangers) {
///         println!("{line}");
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Observed {
    /// The state that a plan can start from.
    pub state: ClusterState,
    /// The releases and generations that the state speaks of.
    pub facts: Facts,
    /// What could not be seen, or was seen to be wrong, one line each.
    pub notes: Vec<String>,
    /// What in a balancer's own configuration would lose requests; nothing is planned over it.
    pub dangers: Vec<String>,
}

/// A node as it was observed.
#[derive(Debug)]
struct SeenNode {
    server: SeenServer,
    files: Option<Shared>,
    work: Work,
}

/// All that was seen of the hosts, the database and the route at one moment.
struct Seen {
    nodes: Vec<SeenNode>,
    schema: Option<Schema>,
    copies: Option<(Copies, String)>,
    exposure: Option<Route>,
    sites: SeenSites,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Part {
    Server(NodeIx, SeenServer),
    Files(NodeIx, Option<Shared>, Option<String>),
    Work(NodeIx, Work, Option<String>),
    Schema(Option<Schema>, Option<String>),
    Copies(Option<(Copies, String)>, Option<String>),
    Exposure(Option<Route>, Option<String>),
    Sites(SeenSites, Vec<String>),
}

impl Engine {
    /// Looks at the whole cluster, and runs the gate of every server that serves: what passes counts as tested.
    ///
    /// # Errors
    /// [`RunError::Plan`] when the cluster has too many releases. What cannot be reached is no error: it is `Unknown`
    /// in the state and a note. So is the route of a service: only a procedure names one, and [`plan`](Self::plan) asks for it.
    pub async fn observe(&self) -> Result<Observed, RunError> {
        self.observe_with(None).await
    }

    /// The same, and the route of a service.
    async fn observe_with(&self, route: Option<&ServiceRoute>) -> Result<Observed, RunError> {
        let (seen, (schema_change, unreviewed)) = tokio::join!(
            whole(&self.shared, true, Asked { route, clone: true }, READ_AGAIN, &[]),
            review_schema(&self.shared)
        );
        let (Seen { nodes, schema, copies, exposure, sites, notes }, members, balancer_notes) = seen;
        let drill = if sites.known.is_empty() { None } else { last_drill(&self.shared).await };
        let mut facts = Facts { schema_change, sites: sites.facts, drill, ..Facts::default() };
        let too_many = |message: String| RunError::Plan { source: PlanError::Incomplete(message), seen: Vec::new() };
        let mut states = Vec::with_capacity(nodes.len());
        for SeenNode { server: node, files, work } in &nodes {
            let release = node.release.as_deref().map(|release| facts.releases.enter(release)).transpose();
            let release = release.map_err(|error| too_many(error.to_string()))?;
            let mut tested = ReleaseSet::default();
            if let Some(release) = release.filter(|_| node.tested) {
                tested.insert(release);
            }
            let ready = node.process.is_ready();
            let process = if ready { Process::Ready { warm: node.tested } } else { node.process };
            let mut state = NodeState::new(process, release, tested);
            state.work = *work;
            if let Some(shared) = files {
                let generation = shared.generation.clone().map(|generation| facts.generations.enter(generation));
                state.generation = generation.transpose().map_err(|error| too_many(error.to_string()))?;
                (state.sync, state.writer) = (shared.sync, shared.writer);
            }
            states.push(state);
        }
        let mut state = ClusterState::new(&self.shared.topology, states, members);
        state.schema = schema.unwrap_or_default();
        if let Some((copies, url)) = copies {
            (state.copies, facts.clone) = (copies, Some(CloneFacts::new(url)));
        }
        let unread = if self.shared.exposure.is_some() { Route::Unknown } else { Route::Dark };
        state.exposure = exposure.unwrap_or(unread);
        let seen = nodes.iter().filter_map(|node| node.files.as_ref()).map(|shared| shared.seen);
        state.writer_epoch = seen.fold(state.writer_epoch, WriterEpoch::max);
        state.sites = sites.known;
        let mut notes = notes;
        notes.extend(balancer_notes.into_iter().chain(unreviewed));
        let dangers = config_findings(&self.shared, &state, &mut notes).await;
        Ok(Observed { state, facts, notes, dangers })
    }

    /// Observes the cluster, looks on every node for what a change would miss there, derives a plan from what was seen and proves
    /// it. Changes nothing: the dry run.
    ///
    /// # Errors
    /// [`RunError::Plan`].
    pub async fn plan(&self, procedure: &dyn Procedure) -> Result<Planned, RunError> {
        let (seen, missing) = tokio::join!(self.observe_with(procedure.route()), missing(&self.shared));
        let there = |missing: Vec<String>, seen: &Observed| match missing.is_empty() {
            true => Ok(()),
            false => Err(RunError::Plan { source: PlanError::Missing(missing), seen: seen.notes.clone() }),
        };
        let seen = seen?;
        there(missing, &seen)?;
        let seen = seen.safe_to_plan()?;
        let snapshot = Snapshot::new(&self.shared.topology, &seen.state, &seen.facts);
        let planned =
            plan(procedure, snapshot).map_err(|source| RunError::Plan { source, seen: seen.notes.clone() })?;
        there(missing_for(&self.shared, planned.plan()).await, &seen)?;
        Ok(planned)
    }
}

/// Says what a balancer's configuration of a pool is held against.
pub(super) fn expectations(topology: &Topology, index: PoolIx, balancer: BalancerIx) -> Expectations {
    let (pool, policy) = (topology.pool(index), topology.policy());
    let spares = topology.spares().filter_map(|(_, node)| Some(node.port(index)?.member.clone())).collect();
    let members = topology.nodes().filter_map(|(_, node)| Some(node.port(index)?.member.clone()));
    let beside = topology.pools().filter(|(other, declared)| *other != index && declared.balancers.contains(&balancer));
    Expectations::new(pool.backend.clone(), policy.longest_request)
        .with_canary(policy.canary)
        .with_spares(spares)
        .with_members(members.collect())
        .with_declared(beside.map(|(_, other)| other.backend.clone()).collect())
}

/// Asks every balancer what in its configuration endangers a change: advice becomes notes, dangers are returned. One of which no
/// member could be read either is gone: what is planned over it is told by the law, and what replaces it must not wait for it.
async fn config_findings(shared: &Parts, state: &ClusterState, notes: &mut Vec<String>) -> Vec<String> {
    let topology = &shared.topology;
    let unread = |balancer: BalancerIx, what: String| {
        let mut seats = topology.seats_on(balancer);
        let gone = seats.all(|seat| matches!(state.member(seat.member).traffic, Traffic::Unknown | Traffic::Gone));
        if gone { ConfigFinding::advice(what) } else { ConfigFinding::danger(what) }
    };
    let mut dangers = Vec::new();
    for (index, balancer) in
        topology.pools().flat_map(|(index, pool)| pool.balancers.iter().map(move |one| (index, *one)))
    {
        let expect = expectations(topology, index, balancer);
        let found = match timeout(READ_LIMIT, shared.balancers[balancer.index()].config_findings(&expect)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => vec![unread(balancer, format!("{error:#}"))],
            Err(_) => vec![unread(balancer, format!("its configuration was not read in {READ_LIMIT:?}"))],
        };
        for concern in found {
            let message = format!("{}: {}", topology.balancer(balancer).name, concern.message);
            let known = if concern.is_danger { &mut dangers } else { &mut *notes };
            // What is not about a pool is told once, however many pools ask.
            if !known.contains(&message) {
                known.push(message);
            }
        }
    }
    dangers
}

impl Observed {
    /// Refuses to plan over what would lose requests.
    fn safe_to_plan(self) -> Result<Self, RunError> {
        if self.dangers.is_empty() {
            return Ok(self);
        }
        Err(RunError::Plan { source: PlanError::Dangerous(self.dangers), seen: self.notes })
    }
}

/// Observes the whole cluster in the terms of a plan, without running gates. What cannot be read is asked for again for
/// `patience`, unless it was lost when the plan was made; returns also what could not be read then, one line each.
pub(super) async fn observe(shared: &Arc<Parts>, plan: &Plan, patience: Duration) -> (Observation, Vec<String>) {
    let (hosts, members, balancer_notes) =
        whole(shared, false, Asked::of(&plan.facts), patience, plan.start.lost()).await;
    let observation = in_terms_of(&plan.facts, &hosts, members);
    (observation, hosts.notes.into_iter().chain(balancer_notes).collect())
}

/// Observes the hosts and the database, without running gates. What an order in flight is changing is not asked for: that order
/// reads back by itself, and [`ClusterState::absorb`] leaves it alone.
pub(super) async fn observe_hosts(
    shared: &Arc<Parts>,
    facts: &Facts,
    changing: &[Target],
    lost: &[DomainIx],
) -> Observation {
    in_terms_of(facts, &look(shared, false, changing, Asked::of(facts), Duration::ZERO, lost).await, Vec::new())
}

fn in_terms_of(facts: &Facts, hosts: &Seen, members: Vec<MemberState>) -> Observation {
    let seen = |SeenNode { server, files, work }: &SeenNode| {
        let release = server.release.as_deref().and_then(|name| facts.releases.id(name));
        let mut seen = NodeSeen::new(server.process, release);
        seen.work = *work;
        seen.shared = files.as_ref().map(|shared| {
            let generation = shared.generation.as_ref().and_then(|generation| facts.generations.id(generation));
            SharedSeen::new(shared.sync, generation, shared.writer, shared.seen)
        });
        seen
    };
    Observation::new(hosts.nodes.iter().map(seen).collect(), members)
        .with_schema(hosts.schema)
        .with_copies(hosts.copies.as_ref().map(|(copies, _)| *copies))
        .with_exposure(hosts.exposure)
        .with_sites(hosts.sites.seen.clone())
}

/// How much longer than for all others is waited for what is lost, in the middle of a run: it is expected not to answer.
pub(super) const LOST_GRACE: Duration = Duration::from_millis(250);

/// What is only looked at for a plan that speaks of it.
#[derive(Clone, Copy)]
struct Asked<'a> {
    route: Option<&'a ServiceRoute>,
    /// The clone of the database.
    clone: bool,
}

impl<'a> Asked<'a> {
    fn of(facts: &'a Facts) -> Self {
        Self { route: facts.service.as_ref().map(|service| &service.route), clone: facts.on_clone().is_some() }
    }
}

/// Looks at everything: hosts and database, members, and what is to be noted of these.
async fn whole(
    shared: &Arc<Parts>,
    gates: bool,
    asked: Asked<'_>,
    patience: Duration,
    lost: &[DomainIx],
) -> (Seen, Vec<MemberState>, Vec<String>) {
    let hosts = look(shared, gates, &[], asked, patience, lost);
    let (hosts, (members, mut notes)) = tokio::join!(hosts, watch_all(shared, patience, lost));
    notes.sort();
    (hosts, members, notes)
}

async fn look(
    shared: &Arc<Parts>,
    gates: bool,
    changing: &[Target],
    asked: Asked<'_>,
    longest: Duration,
    lost: &[DomainIx],
) -> Seen {
    let (mut parts, mut of_lost): (JoinSet<Part>, JoinSet<Part>) = Default::default();
    for (node, declared) in shared.topology.nodes() {
        let (parts, patience) = match lost.contains(&declared.domain) {
            true => (&mut of_lost, Duration::ZERO),
            false => (&mut parts, longest),
        };
        if !changing.contains(&Target::Server(node)) {
            let task = shared.clone();
            let part = async move {
                let observe = || observe_server(&task, node, gates);
                Part::Server(node, read_again(patience, observe, |server: &SeenServer| server.read).await)
            };
            parts.spawn(part.in_current_span());
        }
        if shared.files.is_some() && !changing.contains(&Target::Files(node)) {
            let task = shared.clone();
            let part = async move {
                let read = |(_, note): &(_, Option<String>)| note.is_none();
                let (files, note) = read_again(patience, || observe_files(&task, node), read).await;
                Part::Files(node, files, note)
            };
            parts.spawn(part.in_current_span());
        }
        if shared.work[node.index()].is_some() && !changing.contains(&Target::Work(node)) {
            let task = shared.clone();
            let part = async move {
                let read = |(work, _): &(Work, _)| *work != Work::Unknown;
                let (work, note) = read_again(patience, || observe_work(&task, node), read).await;
                Part::Work(node, work, note)
            };
            parts.spawn(part.in_current_span());
        }
    }
    if shared.database.is_some() && !changing.contains(&Target::Database) {
        let task = shared.clone();
        let part = async move {
            let read = |(_, note): &(_, Option<String>)| note.is_none();
            let (schema, note) = read_again(longest, || observe_schema(&task), read).await;
            Part::Schema(schema, note)
        };
        parts.spawn(part.in_current_span());
    }
    if asked.clone && !changing.contains(&Target::Database) {
        let task = shared.clone();
        let part = async move {
            let read = |(_, note): &(_, Option<String>)| note.is_none();
            let (copies, note) = read_again(longest, || observe_copies(&task), read).await;
            Part::Copies(copies, note)
        };
        parts.spawn(part.in_current_span());
    }
    if let Some(route) = asked.route.filter(|_| shared.exposure.is_some() && !changing.contains(&Target::Exposure)) {
        let (task, route) = (shared.clone(), route.clone());
        let part = async move {
            let read = |(_, note): &(_, Option<String>)| note.is_none();
            let (exposure, note) = read_again(longest, || observe_exposure(&task, &route), read).await;
            Part::Exposure(exposure, note)
        };
        parts.spawn(part.in_current_span());
    }
    if !shared.topology.sites.is_empty() {
        let (task, lost) = (shared.clone(), lost.to_vec());
        let part = async move {
            let (sites, notes) = observe_sites(&task, &lost, longest.max(LOST_GRACE)).await;
            Part::Sites(sites, notes)
        };
        parts.spawn(part.in_current_span());
    }
    let unseen = |node: NodeIx| SeenNode {
        server: SeenServer { process: Process::Unknown, release: None, tested: false, read: false, notes: Vec::new() },
        files: shared.files.as_ref().map(|_| Shared::new(Sync::Unknown, None)),
        work: if shared.work[node.index()].is_some() { Work::Unknown } else { Work::None },
    };
    let nodes = shared.topology.nodes().map(|(node, _)| unseen(node)).collect();
    let sites = SeenSites::default();
    let mut seen = Seen { nodes, schema: None, copies: None, exposure: None, sites, notes: Vec::new() };
    let mut notes = Vec::new();
    while let Some(joined) = parts.join_next().await {
        seen.take(joined, &mut notes);
    }
    let until = Instant::now() + longest.max(LOST_GRACE);
    while let Ok(Some(joined)) = timeout_at(until, of_lost.join_next()).await {
        seen.take(joined, &mut notes);
    }
    notes.sort();
    seen.notes = seen.nodes.iter_mut().flat_map(|node| std::mem::take(&mut node.server.notes)).collect();
    seen.notes.extend(notes);
    seen
}

impl Seen {
    /// Takes in what one read has brought.
    fn take(&mut self, joined: Result<Part, JoinError>, notes: &mut Vec<String>) {
        match joined {
            Ok(Part::Server(node, server)) => self.nodes[node.index()].server = server,
            Ok(Part::Files(node, files, note)) => {
                self.nodes[node.index()].files = files;
                notes.extend(note);
            }
            Ok(Part::Work(node, work, note)) => {
                self.nodes[node.index()].work = work;
                notes.extend(note);
            }
            Ok(Part::Schema(schema, note)) => {
                self.schema = schema;
                notes.extend(note);
            }
            Ok(Part::Copies(copies, note)) => {
                self.copies = copies;
                notes.extend(note);
            }
            Ok(Part::Exposure(exposure, note)) => {
                self.exposure = exposure;
                notes.extend(note);
            }
            Ok(Part::Sites(sites, unseen)) => {
                self.sites = sites;
                notes.extend(unseen);
            }
            Err(error) => notes.push(format!("an observation ended unexpectedly: {error}")),
        }
    }
}
