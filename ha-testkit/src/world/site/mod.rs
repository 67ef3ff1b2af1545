//! The sites of a world: where consumers are led, what each site's copy of the database has, and what a lost or fenced one can
//! still do.

mod fence;
mod replica;
mod switch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ha_core::backend::{Consumers, ErrorKind, FenceLevel, ReplicaRole, StepError};
use ha_core::state::SiteEpoch;
use ha_core::topology::{Node, Role, Setting, SiteRole, SiteSpec, Topology};
use tokio::time::Instant;

pub use fence::FakeFence;
pub use replica::FakeReplica;
pub use switch::FakeSwitch;

use super::World;
use super::model::Inner;

/// The sites of a world, and what leads consumers to one of them.
#[derive(Clone, Debug)]
pub(crate) struct Sites {
    pub(crate) sites: BTreeMap<String, FakeSite>,
    /// Where consumers are led now.
    pub(crate) running: Consumers,
    /// Where a restart of what leads them would lead them.
    pub(crate) written: Consumers,
    /// Where they were led before they were held.
    pub(crate) before: Consumers,
    /// How long a write takes to get into a standby; `None` while nothing gets there.
    pub(crate) lag: Option<Duration>,
    /// Writes that were taken after another site had taken one with a higher epoch.
    pub(crate) stale_writes: u64,
}

/// One site.
#[derive(Clone, Debug)]
pub(crate) struct FakeSite {
    pub(crate) lost: bool,
    /// The nodes whose servers ran when it was lost: they run again when it comes back by itself.
    pub(crate) ran: BTreeSet<String>,
    pub(crate) level: FenceLevel,
    pub(crate) fenced: bool,
    /// Requests in progress in it to which consumers were led.
    pub(crate) in_progress: u64,
    /// Writes that it has taken itself, by the epoch with which it took them.
    pub(crate) taken: BTreeMap<u64, u64>,
    pub(crate) copy: Copy,
}

/// A copy of the database.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub(crate) role: ReplicaRole,
    /// The site whose copy it follows.
    pub(crate) follows: Option<String>,
    /// What it has: how many writes of each epoch. An epoch is in it as soon as somebody was promoted with it.
    pub(crate) log: BTreeMap<u64, u64>,
    /// When the newest write that it has was taken.
    pub(crate) newest: Instant,
    /// What was discarded of it: writes that are kept beside it.
    pub(crate) discarded: u64,
}

/// The epoch that the site which serves at rest begins with.
const FIRST_EPOCH: u64 = 1;
/// How many bytes of the database's log one write is.
const WRITE_BYTES: u64 = 100;

impl Sites {
    pub(crate) fn of(topology: &Topology) -> Self {
        let home = topology.home().map(|site| topology.site(site).name.to_string());
        let running = home.clone().map_or(Consumers::Nowhere, Consumers::To);
        let sites = topology.sites().iter().map(|site| (site.name.to_string(), FakeSite::of(site, home.as_ref())));
        Self {
            sites: sites.collect(),
            written: running.clone(),
            before: running.clone(),
            running,
            lag: Some(Duration::ZERO),
            stale_writes: 0,
        }
    }
}

impl FakeSite {
    fn of(site: &SiteSpec, home: Option<&String>) -> Self {
        let level = site.component(Role::Fence).and_then(|fence| fence.settings.get("level"));
        let role = match site.role {
            SiteRole::Serving => ReplicaRole::Primary,
            SiteRole::Hot | SiteRole::Warm => ReplicaRole::Standby,
            SiteRole::Cold => ReplicaRole::ReadOnly,
        };
        let copy = Copy {
            role,
            follows: home.filter(|_| role == ReplicaRole::Standby).cloned(),
            log: BTreeMap::from([(FIRST_EPOCH, 0)]),
            newest: Instant::now(),
            discarded: 0,
        };
        let level = level.map_or(FenceLevel::Database, named_level);
        let (ran, taken) = (BTreeSet::new(), BTreeMap::new());
        Self { lost: false, ran, level, fenced: false, in_progress: 0, taken, copy }
    }

    /// Tells whether its fence takes this away from it.
    pub(crate) fn lacks(&self, level: FenceLevel) -> bool {
        self.fenced && self.level >= level
    }
}

fn named_level(setting: &Setting) -> FenceLevel {
    let levels = [FenceLevel::Consumers, FenceLevel::Servers, FenceLevel::Power];
    let named = |level: &FenceLevel| *setting == Setting::Text(level.to_string());
    levels.into_iter().find(named).unwrap_or(FenceLevel::Database)
}

impl Copy {
    /// Tells whether it has all that another one has.
    fn has_all_of(&self, other: &Self) -> bool {
        self.lacks_of(other) == 0 && other.log.keys().all(|epoch| self.log.contains_key(epoch))
    }

    /// Counts the writes of another one that it has not.
    fn lacks_of(&self, other: &Self) -> u64 {
        let has = |epoch: &u64| self.log.get(epoch).copied().unwrap_or(0);
        other.log.iter().map(|(epoch, writes)| writes.saturating_sub(has(epoch))).sum()
    }

    fn epoch(&self) -> u64 {
        self.log.keys().next_back().copied().unwrap_or(0)
    }

    /// A promotion is in the log too, beside the writes.
    fn position(&self) -> u64 {
        (self.log.values().sum::<u64>() + self.log.len() as u64) * WRITE_BYTES
    }
}

impl World {
    /// Loses a site: its nodes, its balancers and its copy of the database answer nothing.
    pub fn lose_site(&self, name: &str) {
        let nodes = self.nodes_in(name);
        let ran = nodes.iter().filter(|node| self.runs(node)).cloned().collect();
        self.with_site(name, |site| {
            if !std::mem::replace(&mut site.lost, true) {
                site.ran = ran;
            }
        });
        for node in nodes {
            self.lose(&node);
        }
    }

    /// Brings a lost site back as its own machines do it: the servers that ran start, and its database takes writes with the epoch
    /// that it had, where its fence does not keep it from that.
    pub fn restore_site(&self, name: &str) {
        let Some(mut ran) = self.with_site(name, |site| {
            site.lost = site.lacks(FenceLevel::Power);
            if site.lost { None } else { Some(std::mem::take(&mut site.ran)) }
        }) else {
            return;
        };
        if self.site(name, |site| site.lacks(FenceLevel::Servers)) {
            ran.clear();
        }
        for node in self.nodes_in(name) {
            if ran.contains(&node) { self.return_by_itself(&node) } else { self.repair(&node) }
        }
    }

    /// Lets writes need so long to get into the standbys; `None`: none gets there until this is called again.
    pub fn set_lag(&self, lag: Option<Duration>) {
        self.lock().sites.lag = lag;
    }

    /// Lets the fence of a site reach so far.
    ///
    /// # Panics
    /// For a site that is not there.
    pub fn set_fence_level(&self, site: &str, level: FenceLevel) {
        self.with_site(site, |site| site.level = level);
    }

    /// Returns what is true of a site's copy of the database: what it does, with which epoch, and how many writes it has.
    ///
    /// # Panics
    /// For a site that is not there.
    pub fn copy_in(&self, site: &str) -> (ReplicaRole, SiteEpoch, u64) {
        self.site(site, |site| (site.copy.role, SiteEpoch::new(site.copy.epoch()), site.copy.log.values().sum::<u64>()))
    }

    /// Returns whether a site is fenced.
    ///
    /// # Panics
    /// For a site that is not there.
    pub fn is_fenced(&self, site: &str) -> bool {
        self.site(site, |site| site.fenced)
    }

    /// Returns where consumers are led now, and where a restart of what leads them would lead them.
    pub fn led(&self) -> (Consumers, Consumers) {
        let inner = self.lock();
        (inner.sites.running.clone(), inner.sites.written.clone())
    }

    /// Restarts what leads consumers to one of the sites.
    pub fn restart_switch(&self) {
        let mut inner = self.lock();
        inner.sites.running = inner.sites.written.clone();
    }

    /// Counts the writes that a site has taken itself, by the epoch with which it took them.
    ///
    /// # Panics
    /// For a site that is not there.
    pub fn writes_taken(&self, site: &str) -> BTreeMap<u64, u64> {
        self.site(site, |site| site.taken.clone())
    }

    /// Counts the writes that were taken anywhere and that a site's copy of the database has not.
    ///
    /// # Panics
    /// For a site that is not there.
    pub fn writes_missing_in(&self, site: &str) -> u64 {
        let has = self.site(site, |site| site.copy.log.clone());
        let inner = self.lock();
        let mut taken: BTreeMap<u64, u64> = BTreeMap::new();
        for (epoch, writes) in inner.sites.sites.values().flat_map(|site| &site.taken) {
            *taken.entry(*epoch).or_default() += writes;
        }
        taken.iter().map(|(epoch, writes)| writes.saturating_sub(has.get(epoch).copied().unwrap_or(0))).sum()
    }

    /// Counts the writes that were taken after another site had taken one with a higher epoch: more than none is a split brain.
    pub fn stale_writes(&self) -> u64 {
        self.lock().sites.stale_writes
    }

    /// Counts the writes that only a site's copy had and that were discarded when it followed another.
    ///
    /// # Panics
    /// For a site that is not there.
    pub fn discarded(&self, site: &str) -> u64 {
        self.site(site, |site| site.copy.discarded)
    }

    /// Says why a site takes no requests, if it takes none.
    pub(crate) fn closed(&self, name: &str) -> Option<String> {
        self.site(name, |site| match (site.lost, site.fenced) {
            (true, _) => Some(format!("{name} does not answer")),
            (false, true) => Some(format!("{name} is fenced")),
            (false, false) => None,
        })
    }

    fn nodes_in(&self, site: &str) -> Vec<String> {
        let index = self.topology().find_site(site);
        let is_there = |node: &Node| index.is_some() && node.site == index;
        self.topology().nodes().filter(|(_, node)| is_there(node)).map(|(_, node)| node.name.to_string()).collect()
    }

    fn with_site<T>(&self, name: &str, change: impl FnOnce(&mut FakeSite) -> T) -> T {
        let mut inner = self.lock();
        let Some(site) = inner.sites.sites.get_mut(name) else { no_such_site(name) };
        change(site)
    }

    fn site<T>(&self, name: &str, read: impl FnOnce(&FakeSite) -> T) -> T {
        self.with_site(name, |site| read(site))
    }

    /// Names the site of a balancer: that of the pools that it is in front of.
    pub(crate) fn site_of_balancer(&self, balancer: &str) -> Option<String> {
        let topology = self.topology();
        let is_of = |name: &str| name == balancer;
        let pools = topology
            .pools()
            .find(|(_, pool)| pool.balancers.iter().any(|balancer| is_of(topology.balancer(*balancer).name.as_str())));
        pools.and_then(|(_, pool)| pool.site).map(|site| topology.site(site).name.to_string())
    }

    /// Refuses a call to a balancer of a site that is lost.
    pub(crate) fn balancer_answers(&self, balancer: &str, operation: &'static str) -> Result<(), StepError> {
        if self.lock().gone.contains_key(balancer) {
            return Err(StepError::new(ErrorKind::Gone, operation, balancer).without_effect());
        }
        match self.site_of_balancer(balancer) {
            Some(site) if self.site(&site, |site| site.lost) => {
                Err(StepError::new(ErrorKind::Unreachable, operation, balancer).without_effect())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Ends a test that names a site which its world has not.
#[allow(clippy::panic, reason = "a test that names what is not there is wrong")]
fn no_such_site(name: &str) -> ! {
    panic!("there is no site {name} in this world")
}

impl Inner {
    /// Takes a write in a site: it is in the site's copy of the database, and later in the standbys.
    pub(crate) fn write_in(&mut self, name: &str, now: Instant) -> Result<(), String> {
        let highest = self.sites.sites.values().filter_map(|site| site.taken.keys().next_back()).max().copied();
        let site = self.sites.sites.get_mut(name).ok_or("no such site")?;
        if site.copy.role != ReplicaRole::Primary || site.lost {
            return Err(format!("the database in {name} takes no writes"));
        }
        let epoch = site.copy.epoch();
        *site.taken.entry(epoch).or_default() += 1;
        *site.copy.log.entry(epoch).or_default() += 1;
        site.copy.newest = now;
        self.sites.stale_writes += u64::from(highest.is_some_and(|highest| epoch < highest));
        Ok(())
    }

    /// Brings what a site's copy had at one moment into the standbys that follow it.
    pub(crate) fn replicate(&mut self, from: &str, sent: &Copy) {
        let reaches = |site: &FakeSite| !site.lost && site.copy.follows.as_deref() == Some(from);
        for site in self.sites.sites.values_mut().filter(|site| reaches(site)) {
            for (epoch, writes) in &sent.log {
                let has = site.copy.log.entry(*epoch).or_default();
                *has = (*has).max(*writes);
            }
            site.copy.newest = site.copy.newest.max(sent.newest);
        }
    }
}

impl World {
    /// Sends what a site's copy has now to the standbys that follow it.
    pub(crate) fn send_log(&self, from: &str) {
        let (lag, sent) = {
            let inner = self.lock();
            let Some(site) = inner.sites.sites.get(from) else { return };
            (inner.sites.lag, site.copy.clone())
        };
        let name = from.to_string();
        match lag {
            Some(Duration::ZERO) => self.lock().replicate(&name, &sent),
            Some(lag) => self.later(lag, move |world| {
                // What had not left a site when it was lost stays there.
                if !world.site(&name, |site| site.lost) {
                    world.lock().replicate(&name, &sent);
                }
            }),
            None => {}
        }
    }
}
