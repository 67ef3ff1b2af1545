use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use ha_core::backend::{Admin, Weight};
use ha_core::state::{Generation, MemberKind, Schema, SchemaChange, ServerDomain, Sync, Work, WriterEpoch};
use ha_core::topology::{Node, PoolIx, Port, SiteRole, Topology};
use tokio::time::Instant;

use super::artifact::Artifacts;
use super::clone::FakeCopies;
use super::database::FakeScripts;
use super::exposure::Routes;
use super::health::Health;
use super::site::Sites;
use super::{Fault, Operation};

#[derive(Clone, Debug)]
pub(crate) struct Inner {
    pub(crate) nodes: BTreeMap<String, FakeNode>,
    pub(crate) balancers: BTreeMap<String, Members>,
    /// How many requests wait in front of each pool, by balancer and pool.
    pub(crate) waiting: BTreeMap<(String, String), u64>,
    /// How often each balancer has been restarted.
    pub(crate) restarts: BTreeMap<String, u64>,
    /// How often the process of a balancer was killed.
    pub(crate) kills: BTreeMap<String, u64>,
    /// The balancers whose process is gone, with what they bring when it comes back.
    pub(crate) gone: BTreeMap<String, Members>,
    /// When each balancer began.
    pub(crate) began: BTreeMap<String, Instant>,
    pub(crate) faults: BTreeMap<(Operation, String), Vec<Option<Fault>>>,
    /// What goes wrong with every call for which nothing else is planned.
    pub(crate) lasting: BTreeMap<(Operation, String), Fault>,
    /// The faults that have come.
    pub(crate) fired: Vec<(Operation, String, Fault)>,
    /// How often each operation was called, by its name.
    pub(crate) calls: BTreeMap<(Operation, String), usize>,
    pub(crate) lives: u64,
    pub(crate) epoch: u64,
    pub(crate) schema: Schema,
    pub(crate) scripts: FakeScripts,
    /// The database, and its clone.
    pub(crate) copies: FakeCopies,
    /// What waits for the database, as its review says.
    pub(crate) schema_change: SchemaChange,
    /// Where each balancer leads the keys of services.
    pub(crate) routes: BTreeMap<String, Routes>,
    pub(crate) artifacts: Artifacts,
    pub(crate) sites: Sites,
    /// What only a doctor asks.
    pub(crate) health: Health,
    /// The deployments that were carried out: node, set, and where the artifact store had it for them.
    pub(crate) deployed: Vec<(String, u64, Option<String>)>,
}

pub(crate) type Members = Vec<FakeMember>;

#[derive(Clone, Debug)]
pub(crate) struct FakeMember {
    pub(crate) node: String,
    /// What the balancer calls the pool and the node in it.
    pub(crate) pool: String,
    pub(crate) member: String,
    pub(crate) kind: MemberKind,
    pub(crate) admin: Admin,
    pub(crate) configured: Admin,
    pub(crate) in_flight: u64,
    pub(crate) idle: u64,
    pub(crate) weight: Weight,
    pub(crate) configured_weight: Weight,
    /// Requests that it was given, and those of them that were lost, since the balancer began.
    pub(crate) counters: (u64, u64),
    /// Where it is, for a member that was added at run time.
    pub(crate) added: Option<SocketAddr>,
    /// Whether maintenance closes its sessions by force.
    pub(crate) cuts_on_maint: bool,
    /// How often its sessions were closed by force.
    pub(crate) cuts: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct FakeNode {
    pub(crate) installed: String,
    pub(crate) damaged: bool,
    /// Nothing is installed.
    pub(crate) absent: bool,
    /// The digest of its configuration.
    pub(crate) configuration: String,
    /// Whether the installed release uses the clone of the database.
    pub(crate) on_clone: bool,
    pub(crate) stop_budget: Option<Duration>,
    /// Programs that are not there, and what else is found missing on its host.
    pub(crate) missing: BTreeSet<String>,
    pub(crate) process: Option<Life>,
    pub(crate) stopping: bool,
    pub(crate) start_delay: Duration,
    pub(crate) never_ready: bool,
    /// Until when balancers say that it is down, and go on sending requests.
    pub(crate) said_down_until: Option<Instant>,
    pub(crate) fails_test_of: Option<String>,
    pub(crate) host_lost: bool,
    pub(crate) generation: Option<Generation>,
    pub(crate) sync: Sync,
    pub(crate) writer: WriterEpoch,
    pub(crate) seen_writer: WriterEpoch,
    pub(crate) work: Work,
    /// Whether it was asked to pull no more work.
    pub(crate) quiesced: bool,
    /// Whether a piece of its work stays in progress.
    pub(crate) work_held: bool,
    pub(crate) domain: ServerDomain,
    pub(crate) passed: Option<(u64, Option<Generation>)>,
    pub(crate) applied: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) number: u64,
    pub(crate) release: String,
    pub(crate) ready_at: Instant,
}

impl FakeNode {
    /// Takes away all that is installed.
    pub(crate) fn empty(&mut self) {
        (self.absent, self.damaged, self.on_clone, self.passed) = (true, false, false, None);
        (self.installed, self.configuration) = (String::new(), String::new());
    }

    /// Notes that what runs now has passed its test.
    pub(crate) fn pass_test(&mut self) {
        self.passed = self.process.as_ref().map(|life| (life.number, self.generation.clone()));
    }

    /// Tells whether what runs now has passed its test: another process, or other files, have not.
    pub(crate) fn is_tested(&self) -> bool {
        let running = self.process.as_ref().map(|life| (life.number, self.generation.clone()));
        running.is_some() && self.passed == running
    }

    /// Tells whether a ready server would also answer well: it needs a whole set of files, a schema that its release can
    /// use, and it must not be in its test domain.
    /// Of two copies of the database it must use the one that takes writes, where one may.
    pub(crate) fn answers_well(&self, (files, database): (bool, bool), of: &Inner) -> bool {
        let release = self.process.as_ref().map_or("", |life| life.release.as_str());
        let (old, copies) = (release == "1.0", of.copies.copies());
        let usable = match (self.on_clone, old) {
            (true, _) => !old && copies.clone.is_usable() && !copies.source.may_take_writes(),
            (false, true) => of.schema <= Schema::Backfilled && !copies.clone.may_take_writes(),
            (false, false) => of.schema >= Schema::Expanded && !copies.clone.may_take_writes(),
        };
        (!files || self.generation.is_some()) && (!database || usable) && self.domain == ServerDomain::Production
    }

    pub(crate) fn is_ready(&self) -> bool {
        let ready = |life: &Life| !self.never_ready && Instant::now() >= life.ready_at;
        !self.host_lost && self.process.as_ref().is_some_and(ready)
    }
}

/// Tells whether a node's server runs while nothing has happened: it serves, or stands by in a hot site.
pub(super) fn runs_at_rest(topology: &Topology, node: &Node) -> bool {
    let is_hot = |site| topology.site(site).role == SiteRole::Hot;
    !node.spare && (topology.is_home(node) || node.site.is_some_and(is_hot))
}

/// Makes the members of a pool, as each of its balancers has them.
pub(super) fn members_of_pool(topology: &Topology, pool: PoolIx) -> Members {
    let declared = topology.pool(pool);
    let mut primaries = usize::from(declared.serve);
    let all_serve = primaries >= topology.members_of(pool).count();
    let mut fake = |node: &Node, port: &Port| {
        let is_member = !node.spare && node.site == declared.site;
        let member = is_member && runs_at_rest(topology, node);
        let primary = is_member && primaries > 0;
        primaries -= usize::from(primary);
        let admin = if member { Admin::Ready } else { Admin::Maint };
        FakeMember {
            node: node.name.to_string(),
            pool: declared.backend.to_string(),
            member: port.member.to_string(),
            kind: if primary || all_serve { MemberKind::Primary } else { MemberKind::Backup },
            admin,
            configured: admin,
            in_flight: 0,
            idle: 0,
            weight: WEIGHT,
            configured_weight: WEIGHT,
            counters: (0, 0),
            added: None,
            cuts_on_maint: false,
            cuts: 0,
        }
    };
    let ports = topology.nodes().filter_map(|(_, node)| Some((node, node.port(pool)?)));
    ports.map(|(node, port)| fake(node, port)).collect()
}

/// The configured weight of every member.
pub(crate) const WEIGHT: Weight = Weight::new(100);
