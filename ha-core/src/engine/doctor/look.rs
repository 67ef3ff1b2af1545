//! Gathers the facts. Whatever fails here is a fact too: what could not be read, and why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::Instrument;

use super::answer::{self, Disk};
use crate::backend::{
    ConfigFinding, HostIdentity, Installed, Member, MemberCheck, ObserveBalancer, ObserveHost, Ran, RunCommand,
    StepError,
};
use crate::engine::beforehand::missing;
use crate::engine::build::{Engine, Shared};
use crate::engine::drive::unix_ms;
use crate::engine::observe::{Observed, expectations};
use crate::engine::on::{READ_LIMIT, observe_schema};
use crate::journal::{LeaseHolder, ObserveLease};
use crate::record::{Entry, Record, RunId};
use crate::state::Schema;
use crate::topology::{BalancerIx, Expect, MemberIx, NodeIx, PoolIx};

/// What was read, or why it could not be.
pub(super) type Read<T> = Result<T, String>;

/// Everything that one look has seen.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) at_unix_ms: u64,
    pub(super) observed: Read<Observed>,
    pub(super) schema: Read<Schema>,
    /// What a change would miss, one line each.
    pub(super) missing: Vec<String>,
    /// In the order of the nodes.
    pub(super) hosts: Vec<SeenHost>,
    pub(super) members: BTreeMap<MemberIx, SeenMember>,
    pub(super) configs: Vec<SeenConfig>,
    pub(super) lease: Read<Option<LeaseHolder>>,
    pub(super) runs: Read<Vec<OpenRun>>,
}

/// The machine of a node.
#[derive(Debug)]
pub(super) struct SeenHost {
    pub(super) identity: Read<HostIdentity>,
    pub(super) installed: Read<Installed>,
    pub(super) stop_budget: Read<Option<Duration>>,
    pub(super) disk: Read<Disk>,
    /// The major version of its Java; `None` where none is expected.
    pub(super) java: Option<Read<u16>>,
    /// The files that are there and should not be.
    pub(super) locks: Read<Vec<String>>,
    /// The digest of each secret file that could be read.
    pub(super) secrets: Read<BTreeMap<String, String>>,
}

/// A member as its balancer has it.
#[derive(Debug)]
pub(super) struct SeenMember {
    pub(super) member: Read<Member>,
    /// How the balancer checks it; a balancer that cannot tell says so.
    pub(super) check: Read<MemberCheck>,
}

/// What a balancer found in its configuration of a pool.
#[derive(Debug)]
pub(super) struct SeenConfig {
    pub(super) balancer: BalancerIx,
    pub(super) found: Read<Vec<ConfigFinding>>,
}

/// A run that has not ended.
#[derive(Debug)]
pub(super) struct OpenRun {
    pub(super) run: RunId,
    /// How it is, in lines for people.
    pub(super) lines: Vec<String>,
}

/// What the doctor may ask by itself: the observing halves. A host can be asked by commands: they are `df`, `ls`, `sha256sum` and
/// [`Expect::java_command`], which must only read.
#[derive(Debug)]
struct Eyes {
    hosts: Vec<Arc<dyn ObserveHost>>,
    balancers: Vec<Arc<dyn ObserveBalancer>>,
    lease: Arc<dyn ObserveLease>,
}

impl Eyes {
    fn of(shared: &Shared) -> Self {
        let mut eyes = Self { hosts: Vec::new(), balancers: Vec::new(), lease: shared.lease.clone() };
        for host in &shared.hosts {
            eyes.hosts.push(host.clone());
        }
        for balancer in &shared.balancers {
            eyes.balancers.push(balancer.clone());
        }
        eyes
    }
}

pub(super) async fn look(engine: &Engine) -> Look {
    let (shared, eyes) = (&engine.shared, Eyes::of(&engine.shared));
    let cluster = shared.topology.name().as_str();
    let (observed, schema, missing, hosts, members, configs, lease, runs) = tokio::join!(
        engine.observe(),
        observe_schema(shared),
        missing(shared),
        look_at_hosts(shared, &eyes),
        look_at_members(shared),
        look_at_configs(shared, &eyes),
        timeout(READ_LIMIT, eyes.lease.holder(cluster)),
        timeout(READ_LIMIT * 2, open_runs(shared)),
    );
    Look {
        at_unix_ms: unix_ms(),
        observed: observed.map_err(|error| error.to_string()),
        schema: match schema {
            (Some(schema), None) => Ok(schema),
            (_, note) => Err(note.unwrap_or_else(|| "no database is declared".into())),
        },
        missing,
        hosts,
        members,
        configs,
        lease: match lease {
            Ok(lease) => lease.map_err(|error| error.to_string()),
            Err(_) => Err(late()),
        },
        runs: runs.unwrap_or_else(|_| Err(late())),
    }
}

fn late() -> String {
    format!("no answer in {READ_LIMIT:?}")
}

/// Waits for an answer, not for long.
async fn read<T>(question: impl Future<Output = Result<T, StepError>>) -> Read<T> {
    match timeout(READ_LIMIT, question).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(late()),
    }
}

async fn look_at_hosts(shared: &Shared, eyes: &Eyes) -> Vec<SeenHost> {
    let mut asked = JoinSet::new();
    for ((index, node), host) in shared.topology.nodes().zip(&eyes.hosts) {
        let (host, expect) = (host.clone(), node.expect.clone());
        asked.spawn(async move { (index, look_at_host(&*host, &expect).await) }.in_current_span());
    }
    let mut seen: BTreeMap<NodeIx, SeenHost> = BTreeMap::new();
    while let Some(joined) = asked.join_next().await {
        match joined {
            Ok((node, host)) => drop(seen.insert(node, host)),
            Err(error) => tracing::warn!(%error, "a look at a host ended unexpectedly"),
        }
    }
    shared
        .topology
        .nodes()
        .map(|(index, node)| seen.remove(&index).unwrap_or_else(|| SeenHost::unseen(&node.expect)))
        .collect()
}

impl SeenHost {
    fn unseen(expect: &Expect) -> Self {
        let why = || "the look at it ended unexpectedly".to_string();
        Self {
            identity: Err(why()),
            installed: Err(why()),
            stop_budget: Err(why()),
            disk: Err(why()),
            java: expect.java.map(|_| Err(why())),
            locks: Err(why()),
            secrets: Err(why()),
        }
    }
}

async fn look_at_host(host: &dyn ObserveHost, expect: &Expect) -> SeenHost {
    let java = async {
        match expect.java {
            None => None,
            Some(_) => Some(ask(host, expect.java_command()).await.and_then(|ran| {
                let version = answer::java(&ran.stderr).or_else(|| answer::java(&ran.stdout));
                version.ok_or_else(|| unreadable(expect.java_command(), &ran))
            })),
        }
    };
    let disk = async {
        let command = ["df".into(), "-Pk".into(), ".".into()];
        let ran = ask(host, &command).await?;
        answer::disk(&ran.stdout).ok_or_else(|| unreadable(&command, &ran))
    };
    let secrets = async {
        if expect.secrets().is_empty() {
            return Ok(BTreeMap::new());
        }
        let files = expect.secrets().iter().cloned();
        let command: Vec<String> = ["sha256sum".into(), "--".into()].into_iter().chain(files).collect();
        // It ends with 1 when a file is missing, and tells the others all the same.
        ask(host, &command).await.map(|ran| answer::digests(&ran.stdout))
    };
    let locks = async {
        if expect.locks().is_empty() {
            return Ok(Vec::new());
        }
        let files = expect.locks().iter().cloned();
        let command: Vec<String> = ["ls".into(), "-1d".into(), "--".into()].into_iter().chain(files).collect();
        // What is not there is told on standard error. A file that neither is named nor told so was not looked for.
        let ran = ask(host, &command).await?;
        let is_one = |line: &&str| expect.locks().iter().any(|lock| lock == line);
        let there: Vec<String> = ran.stdout.lines().filter(is_one).map(String::from).collect();
        let (absent, other): (Vec<&str>, Vec<&str>) = ran.stderr.lines().partition(|line| line.contains(ABSENT));
        if there.len() + absent.len() < expect.locks().len() {
            return Err(unreadable(&command, &Ran::new(ran.ended, "", other.join("\n"))));
        }
        Ok(there)
    };
    let (identity, installed, stop_budget) = (read(host.identify()), read(host.installed()), read(host.stop_budget()));
    let (identity, installed, stop_budget, disk, java, locks, secrets) =
        tokio::join!(identity, installed, stop_budget, disk, java, locks, secrets);
    SeenHost { identity, installed, stop_budget, disk, java, locks, secrets }
}

/// What `ls` says in the C locale of a file that is not there.
const ABSENT: &str = "No such file or directory";

/// Asks in the C locale. The host ends a command that takes too long, before its answer is given up.
async fn ask(host: &dyn ObserveHost, argv: &[String]) -> Read<Ran> {
    read(host.ask(RunCommand::new(argv.to_vec(), READ_LIMIT * 4 / 5).with_env("LC_ALL", "C"))).await
}

fn unreadable(argv: &[String], ran: &Ran) -> String {
    let said = ran.stderr.lines().chain(ran.stdout.lines()).next().unwrap_or_default();
    let said: String = said.chars().take(120).collect();
    format!("{} ended with {} and said {said:?}", argv.join(" "), ran.ended)
}

async fn look_at_members(shared: &Shared) -> BTreeMap<MemberIx, SeenMember> {
    let mut asked = JoinSet::new();
    for (node, _) in shared.topology.nodes() {
        for member in shared.members(node) {
            let backend: Arc<dyn ObserveBalancer> = member.backend;
            let (index, place) = (member.member, member.place.member);
            let one = async move {
                let (member, check) = tokio::join!(read(backend.member(&place)), read(backend.check_of(&place)));
                (index, SeenMember { member, check })
            };
            asked.spawn(one.in_current_span());
        }
    }
    let mut seen = BTreeMap::new();
    while let Some(joined) = asked.join_next().await {
        match joined {
            Ok((index, member)) => drop(seen.insert(index, member)),
            Err(error) => tracing::warn!(%error, "a look at a member ended unexpectedly"),
        }
    }
    seen
}

async fn look_at_configs(shared: &Shared, eyes: &Eyes) -> Vec<SeenConfig> {
    let mut seen = Vec::new();
    let pools: Vec<(PoolIx, BalancerIx)> = shared
        .topology
        .pools()
        .flat_map(|(index, pool)| pool.balancers.iter().map(move |balancer| (index, *balancer)))
        .collect();
    for (pool, balancer) in pools {
        let expect = expectations(&shared.topology, pool, balancer);
        let found = read(eyes.balancers[balancer.index()].config_findings(&expect)).await;
        seen.push(SeenConfig { balancer, found });
    }
    seen
}

/// Reads the open runs of the cluster.
async fn open_runs(shared: &Shared) -> Read<Vec<OpenRun>> {
    let runs = shared.journal.open_runs(shared.topology.name().as_str()).await.map_err(|error| error.to_string())?;
    let mut open = Vec::new();
    for run in runs {
        let lines = match shared.journal.read(&run).await {
            Ok(entries) => described(&entries),
            Err(error) => vec![error.to_string()],
        };
        open.push(OpenRun { run, lines });
    }
    Ok(open)
}

/// Says what a run is and how far it came.
fn described(entries: &[Entry]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(Record::Opened { plan }) = entries.first().map(|entry| &entry.record) {
        lines.push(format!("procedure {}", plan.procedure()));
    }
    let closed = entries.iter().rev().find_map(|entry| match &entry.record {
        Record::Closed { end, open } => Some((end, open)),
        Record::Opened { .. }
        | Record::TakenOver { .. }
        | Record::Turned { .. }
        | Record::Intent { .. }
        | Record::Outcome { .. }
        | Record::DomainLost { .. }
        | Record::Requested { .. }
        | Record::ApprovalAsked { .. }
        | Record::Continued { .. }
        | Record::Replanned { .. } => None,
    });
    match closed {
        Some((end, open)) => {
            lines.push(format!("it ended: {end}"));
            lines.extend(open.iter().map(|loan| format!("open: {loan}")));
        }
        None => lines.push(format!("no end is recorded after {} entries", entries.len())),
    }
    lines
}
