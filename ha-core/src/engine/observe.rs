use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::build::{Engine, NodeRow, Shared as Parts};
use super::error::RunError;
use crate::backend::{Admin, Concern, Expectations, Health, Installed, ServerProcess, Shared, Standing};
use crate::machine::rotation::Place;
use crate::procedure::{PatchRequest, PlanError, Planned, UpdateRequest, UpgradeRequest, patch, update, upgrade};
use crate::state::{
    ClusterState, Facts, NodeSeen, NodeState, Observation, Process, ReleaseSet, Row, RowKind, Schema, SharedSeen, Site,
    SiteEpoch, SiteState, Sync, Traffic, Work, WriterEpoch,
};
use crate::topology::{NodeIx, RowIx, SiteRole, SiteSpec};

/// How a cluster was seen to stand, its gates run.
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

/// A read that takes longer is given up: what it would have seen is unknown.
const READ_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct RawNode {
    process: Process,
    release: Option<Box<str>>,
    tested: bool,
    shared: Option<Shared>,
    work: Work,
    notes: Vec<String>,
}

/// All that was seen at one moment.
struct Seen {
    nodes: Vec<RawNode>,
    rows: Vec<Row>,
    schema: Option<Schema>,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Raw {
    Node(NodeIx, RawNode),
    Row(RowIx, Row, Option<String>),
}

impl Engine {
    /// Looks at the whole cluster, and runs the gate of every server that serves: what passes counts as tested.
    ///
    /// # Errors
    /// [`RunError::Plan`] when the cluster has too many releases. What cannot be reached is no error: it is `Unknown`
    /// in the state and a note.
    pub async fn observe(&self) -> Result<Observed, RunError> {
        let Seen { nodes, rows, schema, notes } = look(&self.shared, true, &[]).await;
        let mut facts = Facts::default();
        let too_many = |words: String| RunError::Plan { source: PlanError::Incomplete(words), seen: Vec::new() };
        let mut states = Vec::with_capacity(nodes.len());
        for node in &nodes {
            let release = node.release.as_deref().map(|release| facts.releases.enter(release)).transpose();
            let release = release.map_err(|error| too_many(error.to_string()))?;
            let mut tested = ReleaseSet::default();
            if let Some(release) = release.filter(|_| node.tested) {
                tested.insert(release);
            }
            let process = match node.process {
                Process::Ready { .. } => Process::Ready { warm: node.tested },
                process => process,
            };
            let mut state = NodeState::new(process, release, tested);
            state.work = node.work;
            if let Some(shared) = &node.shared {
                let generation = shared.generation.clone().map(|generation| facts.generations.enter(generation));
                state.generation = generation.transpose().map_err(|error| too_many(error.to_string()))?;
                (state.sync, state.writer) = (shared.sync, shared.writer);
            }
            states.push(state);
        }
        let mut state = ClusterState::new(&self.shared.topology, states, rows);
        state.schema = schema.unwrap_or_default();
        let seen = nodes.iter().filter_map(|node| node.shared.as_ref()).map(|shared| shared.seen);
        state.writer_epoch = seen.fold(state.writer_epoch, WriterEpoch::max);
        state.sites = self.shared.topology.sites.iter().map(site_at_rest).collect();
        let mut notes = notes;
        let dangers = concerns(&self.shared, &mut notes).await;
        Ok(Observed { state, facts, notes, dangers })
    }

    /// Observes the cluster, then plans a patch and proves the plan. Changes nothing.
    ///
    /// # Errors
    /// [`RunError::Plan`].
    pub async fn plan_patch(&self, request: &PatchRequest) -> Result<Planned, RunError> {
        let seen = self.observe().await?.safe_to_plan()?;
        patch(&self.shared.topology, &seen.state, &seen.facts, request)
            .map_err(|source| RunError::Plan { source, seen: seen.notes })
    }

    /// Observes the cluster, then plans an update of its services and proves the plan. Changes nothing.
    ///
    /// # Errors
    /// [`RunError::Plan`].
    pub async fn plan_update(&self, request: &UpdateRequest) -> Result<Planned, RunError> {
        let seen = self.observe().await?.safe_to_plan()?;
        update(&self.shared.topology, &seen.state, &seen.facts, request)
            .map_err(|source| RunError::Plan { source, seen: seen.notes })
    }

    /// Observes the cluster, then plans a version upgrade and proves the plan. Changes nothing.
    ///
    /// # Errors
    /// [`RunError::Plan`].
    pub async fn plan_upgrade(&self, request: &UpgradeRequest) -> Result<Planned, RunError> {
        let seen = self.observe().await?.safe_to_plan()?;
        upgrade(&self.shared.topology, &seen.state, &seen.facts, request)
            .map_err(|source| RunError::Plan { source, seen: seen.notes })
    }
}

/// Asks every balancer what in its configuration endangers a change: advice becomes notes, dangers are returned.
async fn concerns(shared: &Parts, notes: &mut Vec<String>) -> Vec<String> {
    let (topology, policy) = (&shared.topology, &shared.topology.policy);
    let mut dangers = Vec::new();
    for ((index, pool), balancer) in
        topology.pools().flat_map(|pool| pool.1.balancers.iter().map(move |one| (pool, *one)))
    {
        let spares = topology.spares().filter_map(|(_, node)| Some(node.port(index)?.member.clone())).collect();
        let members = topology.nodes().filter_map(|(_, node)| Some(node.port(index)?.member.clone()));
        let beside =
            topology.pools().filter(|(other, declared)| *other != index && declared.balancers.contains(&balancer));
        let expect = Expectations::new(pool.backend.clone(), policy.longest_request)
            .with_canary(policy.canary)
            .with_spares(spares)
            .with_members(members.collect())
            .with_declared(beside.map(|(_, other)| other.backend.clone()).collect());
        let found = match timeout(READ_LIMIT, shared.balancers[balancer.index()].concerns(&expect)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => vec![Concern::danger(error.to_string())],
            Err(_) => vec![Concern::danger(format!("its configuration was not read in {READ_LIMIT:?}"))],
        };
        for concern in found {
            let words = format!("{}: {}", topology.balancer(balancer).name, concern.words);
            let known = if concern.danger { &mut dangers } else { &mut *notes };
            // What is not about a pool is told once, however many pools ask.
            if !known.contains(&words) {
                known.push(words);
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
        let words = format!("a balancer's configuration would lose requests:\n  {}", self.dangers.join("\n  "));
        Err(RunError::Plan { source: PlanError::Incomplete(words), seen: self.notes })
    }
}

/// Sites are not observed yet: they stand as they are declared.
fn site_at_rest(site: &SiteSpec) -> SiteState {
    match site.role {
        SiteRole::Serving => SiteState::new(Site::Serving, SiteEpoch::new(1)),
        SiteRole::Hot => SiteState::new(Site::Hot, SiteEpoch::new(0)),
        SiteRole::Warm => SiteState::new(Site::Warm, SiteEpoch::new(0)),
        SiteRole::Cold => SiteState::new(Site::Cold, SiteEpoch::new(0)),
    }
}

/// Looks at the whole cluster in the terms of a plan, without running gates. Nodes that are `in_flight` are not asked and are
/// `Unknown`: an order that changes one reads back by itself, and [`ClusterState::absorb`] leaves it alone.
pub(super) async fn observe(shared: &Arc<Parts>, facts: &Facts, in_flight: &[NodeIx]) -> Observation {
    let Seen { nodes, rows, schema, .. } = look(shared, false, in_flight).await;
    let seen = |node: &RawNode| {
        let mut seen = NodeSeen::new(node.process, node.release.as_deref().and_then(|name| facts.releases.id(name)));
        seen.work = node.work;
        seen.shared = node.shared.as_ref().map(|shared| {
            let generation = shared.generation.as_ref().and_then(|generation| facts.generations.id(generation));
            SharedSeen::new(shared.sync, generation, shared.writer, shared.seen)
        });
        seen
    };
    Observation::new(nodes.iter().map(seen).collect(), rows).with_schema(schema)
}

async fn look(shared: &Arc<Parts>, gates: bool, in_flight: &[NodeIx]) -> Seen {
    let mut tasks: JoinSet<Raw> = JoinSet::new();
    for (node, _) in shared.topology.nodes() {
        if !in_flight.contains(&node) {
            let task = shared.clone();
            tasks.spawn(async move { Raw::Node(node, look_at_node(&task, node, gates).await) });
        }
        for row in shared.rows(node) {
            tasks.spawn(async move {
                let (seen, note) = look_at_row(&row).await;
                Raw::Row(row.row, seen, note)
            });
        }
    }
    let unseen = || RawNode {
        process: Process::Unknown,
        release: None,
        tested: false,
        shared: None,
        work: Work::Unknown,
        notes: Vec::new(),
    };
    let mut nodes: Vec<RawNode> = shared.topology.nodes.iter().map(|_| unseen()).collect();
    let mut rows = vec![Row::new(RowKind::Primary, Traffic::Unknown); shared.topology.row_layout().count()];
    let mut row_notes = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok(Raw::Node(node, raw)) => nodes[node.index()] = raw,
            Ok(Raw::Row(place, row, note)) => {
                rows[place.index()] = row;
                row_notes.extend(note);
            }
            Err(error) => row_notes.push(format!("a look ended unexpectedly: {error}")),
        }
    }
    let mut notes: Vec<String> = nodes.iter_mut().flat_map(|node| std::mem::take(&mut node.notes)).collect();
    row_notes.sort();
    notes.extend(row_notes);
    let schema = match &shared.database {
        None => None,
        Some(database) => match timeout(READ_LIMIT, database.schema()).await {
            Ok(Ok(schema)) => Some(schema),
            Ok(Err(error)) => {
                notes.push(format!("the schema cannot be read: {error}"));
                None
            }
            Err(_) => {
                notes.push(format!("the database did not answer in {READ_LIMIT:?}"));
                None
            }
        },
    };
    Seen { nodes, rows, schema, notes }
}

async fn look_at_node(shared: &Parts, node: NodeIx, gate: bool) -> RawNode {
    let name = &shared.topology.node(node).name;
    let mut notes = Vec::new();
    let (host, probe) = (&shared.hosts[node.index()], &shared.probes[node.index()]);
    let (process, ready) = tokio::join!(timeout(READ_LIMIT, host.process()), timeout(READ_LIMIT, probe.ready()));
    let mut note = |what: &str, error: String| notes.push(format!("{name}: {what}: {error}"));
    let ready = match ready {
        Ok(Ok(ready)) => Some(ready),
        Ok(Err(error)) => {
            note("its probe failed", error.to_string());
            None
        }
        Err(_) => {
            note("its probe did not answer", format!("in {READ_LIMIT:?}"));
            None
        }
    };
    use crate::backend::Ready;
    let (process, running) = match (process, ready) {
        (Ok(Ok(ServerProcess::Running(_))), Some(Ready::Yes { release })) => {
            (Process::Ready { warm: false }, Some(release))
        }
        (Ok(Ok(ServerProcess::Running(_))), Some(Ready::NotYet(_) | Ready::Closed)) => (Process::Starting, None),
        (Ok(Ok(ServerProcess::Running(_))), None) => (Process::Starting, None),
        (Ok(Ok(ServerProcess::Stopped)), Some(Ready::Yes { .. })) => {
            note("something else answers", "its own server is stopped, and its address serves".into());
            (Process::Unknown, None)
        }
        (Ok(Ok(ServerProcess::Stopped)), _) => (Process::Stopped, None),
        (Ok(Err(error)), _) => {
            note("its host cannot say whether the server runs", error.to_string());
            (Process::Unknown, None)
        }
        (Err(_), _) => {
            note("its host did not answer", format!("in {READ_LIMIT:?}"));
            (Process::Unknown, None)
        }
    };
    let mut process = process;
    let release = match running {
        Some(release) => Some(release),
        None => match timeout(READ_LIMIT, host.installed()).await {
            Ok(Ok(Installed::Release(release))) => Some(release),
            Ok(Ok(Installed::Absent)) => {
                process = Process::Absent;
                None
            }
            Ok(Err(error)) => {
                note("its release cannot be read", error.to_string());
                None
            }
            Err(_) => None,
        },
    };
    if gate {
        let policy = shared.topology.policy.stop_deadline;
        // What does not answer is noted above.
        if let Ok(Ok(Some(budget))) = timeout(READ_LIMIT, host.stop_budget()).await
            && budget < policy
        {
            tracing::warn!(node = %name, ?budget, stop_deadline = ?policy, "its supervisor kills it before stop_deadline");
            let words = "let its supervisor wait as long, or lower stop_deadline";
            note(
                "a stop may be cut short",
                format!("its supervisor kills it after {budget:?}, and stop_deadline is {policy:?}: {words}"),
            );
        }
    }
    let mut tested = false;
    if gate && process.is_ready() {
        match timeout(READ_LIMIT * 3, probe.test()).await {
            Ok(Ok(tested_release)) => tested = release.as_deref() == Some(&*tested_release),
            Ok(Err(error)) => note("its test failed", error.to_string()),
            Err(_) => note("its test did not end", format!("in {:?}", READ_LIMIT * 3)),
        }
    }
    let seen_shared = match &shared.files {
        None => None,
        Some(files) => Some(match timeout(READ_LIMIT, files.shared(name)).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => {
                note("its file sync cannot be read", error.to_string());
                Shared::new(Sync::Unknown, None)
            }
            Err(_) => {
                note("its file sync did not answer", format!("in {READ_LIMIT:?}"));
                Shared::new(Sync::Unknown, None)
            }
        }),
    };
    let work = match &shared.work[node.index()] {
        None => Work::None,
        Some(workload) => match timeout(READ_LIMIT, workload.work()).await {
            Ok(Ok(work)) => work,
            Ok(Err(error)) => {
                note("its pulled work cannot be read", error.to_string());
                Work::Unknown
            }
            Err(_) => Work::Unknown,
        },
    };
    RawNode { process, release, tested, shared: seen_shared, work, notes }
}

async fn look_at_row(row: &NodeRow) -> (Row, Option<String>) {
    let NodeRow { backend, place: Place { member, .. }, name, .. } = row;
    let unseen = Row::new(RowKind::Primary, Traffic::Unknown);
    let Standing { member: stands, quiescence, .. } = match timeout(READ_LIMIT, backend.look(member)).await {
        Ok(Ok(standing)) => standing,
        Ok(Err(error)) => return (unseen, Some(format!("{name}: {error}"))),
        Err(_) => return (unseen, Some(format!("{name}: member {member} was not answered in {READ_LIMIT:?}"))),
    };
    let row = |traffic: Traffic| Row::new(stands.row, traffic);
    match (stands.admin, stands.health, stands.row) {
        (Admin::Ready, Health::Down | Health::Rising | Health::Paused, _) => (row(Traffic::Down), None),
        (Admin::Ready, Health::Up | Health::UpInPart | Health::Unchecked, RowKind::Primary) => (row(Traffic::In), None),
        (Admin::Ready, Health::Up | Health::UpInPart | Health::Unchecked, RowKind::Backup) => {
            (row(Traffic::Backup), None)
        }
        (Admin::Drain | Admin::Maint, ..) => {
            let figures = match quiescence {
                Some(figures) => Ok(Ok(figures)),
                None => timeout(READ_LIMIT, backend.quiescence(member)).await,
            };
            match figures {
                Ok(Ok(figures)) if stands.admin == Admin::Maint && figures.is_closed() => (row(Traffic::Out), None),
                Ok(Ok(figures)) => (row(Traffic::Draining { in_flight: figures.in_flight() > 0 }), None),
                Ok(Err(error)) => (row(Traffic::Unknown), Some(format!("{name}: {error}"))),
                Err(_) => (row(Traffic::Unknown), Some(format!("{name}: quiescence of {member} was not answered"))),
            }
        }
    }
}
