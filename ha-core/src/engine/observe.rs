use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::build::{Engine, Shared};
use super::error::RunError;
use crate::backend::{Admin, Health, Installed, ServerProcess};
use crate::procedure::{PatchRequest, PlanError, Planned, patch};
use crate::state::{
    ClusterState, NodeSeen, NodeState, Observation, Process, ReleaseSet, Releases, Row, RowKind, TooManyReleases,
    Traffic,
};
use crate::topology::{BalancerIx, NodeIx};

/// How a cluster was seen to stand, its gates run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Observed {
    /// The state that a plan can start from.
    pub state: ClusterState,
    /// The releases that the state speaks of.
    pub releases: Releases,
    /// What could not be seen, or was seen to be wrong, one line each.
    pub notes: Vec<String>,
}

/// A read that takes longer is given up: what it would have seen is unknown.
const READ_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct RawNode {
    process: Process,
    release: Option<Box<str>>,
    tested: bool,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Raw {
    Node(NodeIx, RawNode),
    Row(NodeIx, BalancerIx, Row, Option<String>),
}

impl Engine {
    /// Looks at the whole cluster, and runs the gate of every server that serves: what passes counts as tested.
    ///
    /// # Errors
    /// [`RunError::Plan`] when the cluster has too many releases. What cannot be reached is no error: it is `Unknown`
    /// in the state and a note.
    pub async fn observe(&self) -> Result<Observed, RunError> {
        let (nodes, rows, notes) = look(&self.shared, true).await;
        let mut releases = Releases::default();
        let too_many = |error: TooManyReleases| RunError::Plan {
            source: PlanError::Incomplete(error.to_string()),
            seen: Vec::new(),
        };
        let mut states = Vec::with_capacity(nodes.len());
        for node in &nodes {
            let release =
                node.release.as_deref().map(|release| releases.enter(release)).transpose().map_err(too_many)?;
            let mut tested = ReleaseSet::default();
            if let Some(release) = release.filter(|_| node.tested) {
                tested.insert(release);
            }
            let process = match node.process {
                Process::Ready { .. } => Process::Ready { warm: node.tested },
                process => process,
            };
            states.push(NodeState::new(process, release, tested));
        }
        let balancers = u8::try_from(self.shared.balancers.len()).unwrap_or(u8::MAX);
        Ok(Observed { state: ClusterState::new(states, rows, balancers), releases, notes })
    }

    /// Observes the cluster, then plans a patch and proves the plan. Changes nothing.
    ///
    /// # Errors
    /// [`RunError::Plan`].
    pub async fn plan_patch(&self, request: &PatchRequest) -> Result<Planned, RunError> {
        let observed = self.observe().await?;
        patch(&self.shared.topology, &observed.state, &observed.releases, request)
            .map_err(|source| RunError::Plan { source, seen: observed.notes })
    }
}

/// Looks at the whole cluster in the terms of a plan's releases, without running gates.
pub(super) async fn observe(shared: &Arc<Shared>, releases: &Releases) -> Observation {
    let (nodes, rows, _) = look(shared, false).await;
    let seen = |node: &RawNode| NodeSeen::new(node.process, node.release.as_deref().and_then(|name| releases.id(name)));
    Observation::new(nodes.iter().map(seen).collect(), rows)
}

async fn look(shared: &Arc<Shared>, gates: bool) -> (Vec<RawNode>, Vec<Row>, Vec<String>) {
    let mut tasks: JoinSet<Raw> = JoinSet::new();
    for (node, _) in shared.topology.nodes() {
        let task = shared.clone();
        tasks.spawn(async move { Raw::Node(node, look_at_node(&task, node, gates).await) });
        for (balancer, _) in shared.topology.balancers() {
            let task = shared.clone();
            tasks.spawn(async move {
                let (row, note) = look_at_row(&task, node, balancer).await;
                Raw::Row(node, balancer, row, note)
            });
        }
    }
    let width = shared.balancers.len();
    let unseen = || RawNode { process: Process::Unknown, release: None, tested: false, notes: Vec::new() };
    let mut nodes: Vec<RawNode> = shared.topology.nodes.iter().map(|_| unseen()).collect();
    let mut rows = vec![Row::new(RowKind::Primary, Traffic::Unknown); nodes.len() * width];
    let mut row_notes = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok(Raw::Node(node, raw)) => nodes[node.index()] = raw,
            Ok(Raw::Row(node, balancer, row, note)) => {
                rows[node.index() * width + balancer.index()] = row;
                row_notes.extend(note);
            }
            Err(error) => row_notes.push(format!("a look ended unexpectedly: {error}")),
        }
    }
    let mut notes: Vec<String> = nodes.iter_mut().flat_map(|node| std::mem::take(&mut node.notes)).collect();
    row_notes.sort();
    notes.extend(row_notes);
    (nodes, rows, notes)
}

async fn look_at_node(shared: &Shared, node: NodeIx, gate: bool) -> RawNode {
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
    let mut tested = false;
    if gate && process.is_ready() {
        match timeout(READ_LIMIT * 3, probe.test()).await {
            Ok(Ok(tested_release)) => tested = release.as_deref() == Some(&*tested_release),
            Ok(Err(error)) => note("its test failed", error.to_string()),
            Err(_) => note("its test did not end", format!("in {:?}", READ_LIMIT * 3)),
        }
    }
    RawNode { process, release, tested, notes }
}

async fn look_at_row(shared: &Shared, node: NodeIx, balancer: BalancerIx) -> (Row, Option<String>) {
    let member = shared.member(node);
    let backend = &shared.balancers[balancer.index()];
    let name = &shared.topology.balancers[balancer.index()].name;
    let unseen = Row::new(RowKind::Primary, Traffic::Unknown);
    let stands = match timeout(READ_LIMIT, backend.member(&member)).await {
        Ok(Ok(stands)) => stands,
        Ok(Err(error)) => return (unseen, Some(format!("{name}: {error}"))),
        Err(_) => return (unseen, Some(format!("{name}: member {member} was not answered in {READ_LIMIT:?}"))),
    };
    let row = |traffic: Traffic| Row::new(stands.row, traffic);
    match (stands.admin, stands.health, stands.row) {
        // What the balancer itself thinks down gets no traffic, and may get it back at any moment.
        (Admin::Ready, Health::Down | Health::Paused, _) => (row(Traffic::Unknown), None),
        (Admin::Ready, Health::Up | Health::Rising | Health::Unchecked, RowKind::Primary) => (row(Traffic::In), None),
        (Admin::Ready, Health::Up | Health::Rising | Health::Unchecked, RowKind::Backup) => {
            (row(Traffic::Backup), None)
        }
        (Admin::Drain | Admin::Maint, ..) => match timeout(READ_LIMIT, backend.quiescence(&member)).await {
            Ok(Ok(figures)) if stands.admin == Admin::Maint && figures.is_closed() => (row(Traffic::Out), None),
            Ok(Ok(figures)) => (row(Traffic::Draining { in_flight: figures.in_flight() > 0 }), None),
            Ok(Err(error)) => (row(Traffic::Unknown), Some(format!("{name}: {error}"))),
            Err(_) => (row(Traffic::Unknown), Some(format!("{name}: quiescence of {member} was not answered"))),
        },
    }
}
