use super::Law;
use crate::state::{
    ClusterState, MemberKind, MemberState, NodeState, Process, ServerDomain, Site, Traffic, WriterEpoch,
};
use crate::topology::{DomainIx, Entrance, NodeIx, Pool, PoolIx, Seat, SiteIx};

/// Tells whether requests may reach a node: it is in, a backup, draining or unknown on any balancer instance.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::law::is_exposed;
///
/// # let (topology, state, _) = observed::cluster()?;
/// let node = |name: &str| topology.find(name).ok_or("no such node");
/// assert!(is_exposed(&state, node("esb2")?)); // a backup gets requests at any moment
/// assert!(!is_exposed(&state, node("spare1")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn is_exposed(state: &ClusterState, node: NodeIx) -> bool {
    state.members(node).iter().any(|member| member.traffic.is_exposed())
}

/// Returns the node that may write shared files.
pub fn writer(state: &ClusterState) -> Option<NodeIx> {
    state.nodes().find(|(_, node)| node.writer > WriterEpoch::default()).map(|(index, _)| index)
}

/// Capacity on one balancer instance: HAProxy's rule, which the embedded balancer shares. Primary members carry together;
/// where none is usable one backup member takes everything, and nobody can say which: the smallest counts.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    primary: u64,
    any_primary: bool,
    backup: Option<u64>,
}

impl Carried {
    fn add(&mut self, kind: MemberKind, capacity: u64) {
        match kind {
            MemberKind::Primary => {
                self.primary = self.primary.saturating_add(capacity);
                self.any_primary = true;
            }
            MemberKind::Backup => self.backup = Some(self.backup.map_or(capacity, |least| least.min(capacity))),
        }
    }

    fn total(self) -> u64 {
        if self.any_primary { self.primary } else { self.backup.unwrap_or(0) }
    }
}

impl Law<'_> {
    /// Tells whether a node carries requests in all its pools, on every balancer instance.
    pub fn is_serving(&self, state: &ClusterState, node: NodeIx) -> bool {
        self.can_serve(state, node) && is_in(state.members(node))
    }

    /// Tells whether a node could be admitted at once: not under change, ready, warm, tested, its schema in range, and
    /// not on its way out.
    pub fn is_reserve(&self, state: &ClusterState, node: NodeIx) -> bool {
        let leaving = |traffic: Traffic| matches!(traffic, Traffic::Draining { .. } | Traffic::Unknown | Traffic::Down);
        state.node(node).process == (Process::Ready { warm: true })
            && self.can_serve(state, node)
            && !state.members(node).iter().any(|member| leaving(member.traffic))
    }

    /// Returns the capacity that serves a pool: the least over its balancer instances, but those that are gone, to which nobody
    /// comes; none where all are.
    pub fn capacity(&self, state: &ClusterState, pool: PoolIx) -> u64 {
        let at = |entrance: &Entrance| {
            let mut carried = Carried::default();
            for seat in &entrance.seats {
                let member = state.member(seat.member);
                if matches!(member.traffic, Traffic::In | Traffic::Backup) && self.can_serve(state, seat.node) {
                    carried.add(member.kind, weight(seat, state.node(seat.node)));
                }
            }
            carried.total()
        };
        self.topology.entrances(pool).iter().filter(|entrance| !is_gone(state, entrance)).map(at).min().unwrap_or(0)
    }

    /// Returns the failure domain whose loss leaves a pool the least, and what the serving and the reserve nodes carry there
    /// then.
    pub fn worst_loss(&self, state: &ClusterState, pool: PoolIx) -> Option<(u64, DomainIx)> {
        let mut worst: Option<(u64, DomainIx)> = None;
        let mut by_domain = vec![(0_u64, 0_u64); self.topology.domains.len()];
        let entrances = self.topology.entrances(pool);
        let width = entrances.len();
        for entrance in entrances.iter().filter(|entrance| !is_gone(state, entrance)) {
            by_domain.fill((0, 0));
            let (mut total, mut count) = (0_u64, 0_u64);
            for seat in &entrance.seats {
                if state.member(seat.member).kind != MemberKind::Primary {
                    continue;
                }
                let Some(capacity) = self.counted(state, seat, width) else { continue };
                (total, count) = (total.saturating_add(capacity), count + seat.stands_for);
                // Each node that this one stands for fails by itself.
                let (sum, primaries) = &mut by_domain[seat.domain.index()];
                (*sum, *primaries) = (sum.saturating_add(capacity / seat.stands_for), *primaries + 1);
            }
            for (domain, (sum, primaries)) in self.topology.domains().zip(&by_domain) {
                let left = if count > *primaries {
                    total.saturating_sub(*sum)
                } else {
                    self.backup_without(state, entrance, width, domain)
                };
                if worst.is_none_or(|(least, _)| left < least) {
                    worst = Some((left, domain));
                }
            }
        }
        worst
    }

    fn backup_without(&self, state: &ClusterState, entrance: &Entrance, width: usize, domain: DomainIx) -> u64 {
        let backup = |seat: &&Seat| seat.domain != domain && state.member(seat.member).kind == MemberKind::Backup;
        entrance.seats.iter().filter(backup).filter_map(|seat| self.counted(state, seat, width)).min().unwrap_or(0)
    }

    /// Returns what a node counts for in a pool of so many entrances after a loss; `None` where it neither serves there, on
    /// all of them, nor is a reserve.
    fn counted(&self, state: &ClusterState, seat: &Seat, entrances: usize) -> Option<u64> {
        if state.is_lost(seat.domain) {
            return None;
        }
        let serves = || is_in(state.members_from(seat.first, entrances));
        let counts = (self.can_serve(state, seat.node) && serves()) || self.is_reserve(state, seat.node);
        counts.then(|| weight(seat, state.node(seat.node)))
    }

    /// Tells whether a server would answer well if requests reached it.
    fn can_serve(&self, state: &ClusterState, index: NodeIx) -> bool {
        let node = state.node(index);
        node.process.is_ready()
            && node.is_tested()
            && node.server_domain == ServerDomain::Production
            && self.schema_in_range(state, node)
            && self.site_serves(state, index)
    }

    fn site_serves(&self, state: &ClusterState, index: NodeIx) -> bool {
        let site = self.topology.node(index).site;
        site.is_none_or(|site| state.sites.get(site.index()).is_none_or(|known| known.site.writes()))
    }

    /// Lists the pools that have to carry their load: those of the site that serves, and those of no site.
    pub fn required_pools<'s>(&'s self, state: &'s ClusterState) -> impl Iterator<Item = (PoolIx, &'s Pool)> {
        self.topology.pools().filter(|(index, _)| self.requires(state, *index))
    }

    /// Tells whether a pool has to carry its load: it is of the site that serves, or of none.
    pub fn requires(&self, state: &ClusterState, pool: PoolIx) -> bool {
        self.topology.pool(pool).site.is_none_or(|site| is_serving_site(state, site))
    }

    /// Tells whether consumers are led to the site of a node; always where no sites are declared.
    pub fn is_in_service(&self, state: &ClusterState, node: NodeIx) -> bool {
        self.topology.node(node).site.is_none_or(|site| is_serving_site(state, site))
    }

    /// Tells whether a site carries what is required after a loss in each of its pools, if consumers are led to it.
    pub fn site_carries(&self, state: &ClusterState, site: SiteIx) -> bool {
        let mut pools = self.topology.pools().filter(|(_, pool)| pool.site == Some(site)).peekable();
        pools.peek().is_some() && pools.all(|(index, pool)| self.capacity(state, index) >= pool.required_after_loss())
    }
}

/// Tells whether a node is in on every balancer instance that is there.
fn is_in(members: &[MemberState]) -> bool {
    let in_or_gone = |member: &MemberState| matches!(member.traffic, Traffic::In | Traffic::Gone);
    members.iter().all(in_or_gone) && members.iter().any(|member| member.traffic == Traffic::In)
}

/// Tells whether a balancer instance is gone: it carries nothing, and nobody comes to it.
fn is_gone(state: &ClusterState, entrance: &Entrance) -> bool {
    !entrance.seats.is_empty() && entrance.seats.iter().all(|seat| state.member(seat.member).traffic == Traffic::Gone)
}

fn is_serving_site(state: &ClusterState, site: SiteIx) -> bool {
    state.sites.get(site.index()).is_none_or(|known| known.site == Site::Serving)
}

/// Tells whether no site serves though sites are declared.
pub(crate) fn no_site_serves(state: &ClusterState) -> bool {
    !state.sites.is_empty() && state.sites.iter().all(|known| known.site != Site::Serving)
}

/// Tells whether consumers wait while they are led from one site to another: a plan declares that as a window.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::law::consumers_wait;
///
/// # let (topology, state, _) = observed::cluster()?;
/// assert!(!consumers_wait(&state)); // there is one data centre
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn consumers_wait(state: &ClusterState) -> bool {
    let waits = |known: &crate::state::SiteState| matches!(known.site, Site::Held | Site::Demoted);
    no_site_serves(state) && state.sites.iter().any(waits)
}

fn weight(seat: &Seat, state: &NodeState) -> u64 {
    let each = match state.process {
        Process::Ready { warm: true } => seat.capacity,
        // Rounded down: what a cold server carries is never overstated.
        Process::Ready { warm: false } => seat.warm_up.at_most(seat.capacity),
        Process::Absent | Process::Stopped | Process::Starting | Process::Sick | Process::Unknown => 0,
    };
    each.saturating_mul(seat.stands_for)
}
