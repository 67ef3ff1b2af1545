use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{fmt, io};

use ha_core::backend::{
    Admin, Applied, Counters, ErrorKind, Health, Instance, Member, MemberCheck, Quiescence, Weight,
};
use ha_core::state::{MemberKind, RouteKey};
use ha_core::topology::Name;
use tokio::sync::watch;

use super::connector::{Connections, MemberClient, client};
use super::epoch::KeptEpoch;
use super::routes::Routes;
use super::sites::Sites;
use crate::wire::{LedTo, Reply};

/// The servers of the pools: what the data plane, the checks and the admin socket share.
pub(super) struct Servers {
    pools: Vec<Name>,
    inner: Mutex<Inner>,
}

struct Inner {
    began: Instant,
    servers: Vec<Server>,
    epoch: KeptEpoch,
    /// Where the first pool's clients are led; without it they are its own.
    routes: Option<Routes>,
    /// Which of the other pools the first pool's clients are led to.
    sites: Option<Sites>,
    /// What every server is asked for, where it is checked.
    check_path: Option<String>,
    generation: u64,
}

struct Server {
    /// The position of its pool.
    pool: usize,
    name: Name,
    address: SocketAddr,
    kind: MemberKind,
    admin: Admin,
    weight: Weight,
    /// What smooth weighted round robin requires it.
    credit: i64,
    taken: u64,
    failed: u64,
    checked: bool,
    up: bool,
    streak: u32,
    sessions: u64,
    connections: Connections,
    client: MemberClient,
}

/// What becomes of a request.
pub(super) enum Admission {
    /// It goes to a server.
    To(Session),
    /// It waits until this changes.
    Held(watch::Receiver<u64>),
    /// No route leads anywhere.
    NoRoute,
    /// Clients are led nowhere.
    Refused,
    /// No server of its pool is usable.
    NoServer,
}

/// A refusal of the admin socket.
pub(super) type Refusal = (ErrorKind, String);

/// One request on one server; the server counts it until this is dropped.
pub(super) struct Session {
    servers: Arc<Servers>,
    server: usize,
    pub(super) client: MemberClient,
    pub(super) address: SocketAddr,
}

impl Session {
    /// Counts that the request failed at the server.
    pub(super) fn failed(&self) {
        if let Some(server) = self.servers.lock().servers.get_mut(self.server) {
            server.failed += 1;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut inner = self.servers.lock();
        if let Some(server) = inner.servers.get_mut(self.server) {
            server.sessions = server.sessions.saturating_sub(1);
        }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers").field("pools", &self.pools).finish_non_exhaustive()
    }
}

impl Servers {
    pub(super) fn new(pool: Name) -> Self {
        let generation = u64::from(std::process::id()) << 20 | NEXT.fetch_add(1, Ordering::Relaxed);
        let (began, epoch) = (Instant::now(), KeptEpoch::default());
        let inner =
            Inner { began, servers: Vec::new(), epoch, routes: None, sites: None, check_path: None, generation };
        Self { pools: vec![pool], inner: Mutex::new(inner) }
    }

    /// Begins another pool; servers that are added from now on are in it.
    pub(super) fn add_pool(&mut self, pool: Name) {
        self.pools.push(pool);
    }

    pub(super) fn add(&mut self, name: Name, address: SocketAddr, kind: MemberKind, held_out: bool) {
        let connections = Connections::default();
        let client = client(address, connections.clone());
        let admin = if held_out { Admin::Maint } else { Admin::Ready };
        let server = Server {
            pool: self.pools.len().saturating_sub(1),
            name,
            address,
            kind,
            admin,
            weight: WEIGHT,
            credit: 0,
            taken: 0,
            failed: 0,
            checked: false,
            up: !held_out,
            streak: 0,
            sessions: 0,
            connections,
            client,
        };
        self.lock().servers.push(server);
    }

    /// Lets every server be asked for a path; `None` for no checks.
    pub(super) fn set_check(&mut self, path: Option<&str>) {
        let mut inner = self.lock();
        inner.check_path = path.map(String::from);
        for server in &mut inner.servers {
            server.checked = path.is_some();
        }
    }

    pub(super) fn check_of(&self, pool: &str, member: &str) -> Result<MemberCheck, Refusal> {
        let mut inner = self.lock();
        let port = self.find(&mut inner, pool, member)?.address.port();
        let asks = |path: String| MemberCheck::Asks { port: Some(port), path: Some(path) };
        Ok(inner.check_path.clone().map_or(MemberCheck::None, asks))
    }

    /// Begins with the epoch that was seen before a restart, and keeps higher ones.
    pub(super) fn keep_epoch(&mut self, epoch: KeptEpoch) {
        self.lock().epoch = epoch;
    }

    /// Leads the clients of the first pool by these routes.
    pub(super) fn set_routes(&mut self, routes: Routes) {
        self.lock().routes = Some(routes);
    }

    /// Leads the clients of the first pool to the pool that a file names.
    pub(super) fn set_sites(&mut self, file: PathBuf) -> io::Result<()> {
        let sites = Sites::of(file, self.pools.get(1..).unwrap_or_default())?;
        self.lock().sites = Some(sites);
        Ok(())
    }

    /// Returns where the clients of the first pool are led.
    pub(super) fn led(&self) -> Result<Reply, Refusal> {
        let inner = self.lock();
        let sites = inner.sites.as_ref().ok_or_else(no_sites)?;
        let in_progress = inner.servers.iter().filter(|server| server.pool > 0).map(|server| server.sessions).sum();
        let (to, after_restart, before) = sites.read()?;
        Ok(Reply::Led { to, after_restart, before, in_progress })
    }

    /// Leads the clients of the first pool elsewhere.
    pub(super) fn lead_to(&self, to: &LedTo, epoch: u64) -> Result<Applied, Refusal> {
        if let LedTo::Site(site) = to
            && self.known(site.as_str())? == 0
        {
            return Err((ErrorKind::NotFound, format!("{site} is the front, and no site")));
        }
        let mut inner = self.lock();
        inner.pass(epoch)?;
        inner.sites.as_mut().ok_or_else(no_sites)?.lead(to)
    }

    /// Finds a server for a client of `pool` who asks `host` for `path`. It is counted under the same lock: once clients are held
    /// or a server drains, no request can be on its way uncounted.
    pub(super) fn admit(self: &Arc<Self>, pool: usize, host: &str, path: &str) -> Admission {
        let mut inner = self.lock();
        let place = |name: &Name| self.pools.iter().position(|known| known == name);
        let pool = match (&inner.sites, &inner.routes) {
            (Some(sites), _) if pool == 0 => match sites.to() {
                LedTo::Site(site) => place(site),
                LedTo::Held => return Admission::Held(sites.changes()),
                LedTo::Nowhere => return Admission::Refused,
            },
            (None, Some(routes)) if pool == 0 => routes.pool_of(host, path).and_then(place),
            _ => Some(pool),
        };
        let Some(pool) = pool else { return Admission::NoRoute };
        self.choose(&mut inner, pool).map_or(Admission::NoServer, Admission::To)
    }

    /// Returns where a key leads in force, and after a restart.
    pub(super) fn route(&self, key: &RouteKey) -> Result<(Option<String>, Option<String>), Refusal> {
        match &self.lock().routes {
            Some(routes) => routes.route(key),
            None => Err(no_routes()),
        }
    }

    pub(super) fn set_route(&self, key: &RouteKey, pool: Option<&Name>, epoch: u64) -> Result<Applied, Refusal> {
        pool.map_or(Ok(0), |pool| self.known(pool.as_str()))?;
        let mut inner = self.lock();
        inner.pass(epoch)?;
        let routes = inner.routes.as_mut().ok_or_else(no_routes)?;
        let to = pool.map(Name::to_string);
        if routes.route(key)? == (to.clone(), to) {
            return Ok(Applied::AlreadySo);
        }
        routes.set(key, pool)?;
        Ok(Applied::Applied)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().servers.len()
    }

    /// Chooses a server of a pool for one request and counts the request there.
    fn choose(self: &Arc<Self>, inner: &mut Inner, pool: usize) -> Option<Session> {
        let usable = |server: &Server| {
            server.pool == pool
                && server.admin == Admin::Ready
                && server.weight > Weight::new(0)
                && (!server.checked || server.up)
        };
        let primaries: Vec<usize> = (0..inner.servers.len())
            .filter(|index| inner.servers[*index].kind == MemberKind::Primary && usable(&inner.servers[*index]))
            .collect();
        let chosen = if primaries.is_empty() {
            inner.servers.iter().position(|server| server.kind == MemberKind::Backup && usable(server))?
        } else {
            take_turn(&mut inner.servers, &primaries)?
        };
        let server = &mut inner.servers[chosen];
        server.sessions += 1;
        server.taken += 1;
        Some(Session { servers: self.clone(), server: chosen, client: server.client.clone(), address: server.address })
    }

    pub(super) fn identify(&self) -> Instance {
        let inner = self.lock();
        let instance = Instance::new(concat!("embedded ", env!("CARGO_PKG_VERSION")), inner.generation);
        instance.with_uptime(inner.began.elapsed())
    }

    pub(super) fn member(&self, pool: &str, member: &str) -> Result<Member, Refusal> {
        let mut inner = self.lock();
        self.find(&mut inner, pool, member).map(|server| server.describe())
    }

    pub(super) fn members(&self, pool: &str) -> Result<Vec<(Name, Member)>, Refusal> {
        let pool = self.known(pool)?;
        Ok(self
            .lock()
            .servers
            .iter()
            .filter(|server| server.pool == pool)
            .map(|server| (server.name.clone(), server.describe()))
            .collect())
    }

    pub(super) fn quiescence(&self, pool: &str, member: &str) -> Result<Quiescence, Refusal> {
        let mut inner = self.lock();
        let generation = inner.generation;
        let server = self.find(&mut inner, pool, member)?;
        let open = server.connections.open();
        let figures =
            Quiescence::new(server.sessions, 0, open.min(server.sessions), open.saturating_sub(server.sessions));
        Ok(figures.with_generation(generation))
    }

    pub(super) fn set_admin(&self, pool: &str, member: &str, admin: Admin, epoch: u64) -> Result<Applied, Refusal> {
        self.write(pool, member, epoch, |server| server.set(admin))
    }

    pub(super) fn set_weight(&self, pool: &str, member: &str, weight: Weight, epoch: u64) -> Result<Applied, Refusal> {
        self.write(pool, member, epoch, |server| {
            let before = std::mem::replace(&mut server.weight, weight);
            if before == weight { Applied::AlreadySo } else { Applied::Applied }
        })
    }

    fn write(
        &self,
        pool: &str,
        member: &str,
        epoch: u64,
        change: impl FnOnce(&mut Server) -> Applied,
    ) -> Result<Applied, Refusal> {
        let mut inner = self.lock();
        inner.check(epoch)?;
        self.find(&mut inner, pool, member)?;
        inner.pass(epoch)?;
        self.find(&mut inner, pool, member).map(change)
    }

    /// Returns whom to check, or `None` while the server is in maintenance.
    pub(super) fn to_check(&self, server: usize) -> Option<SocketAddr> {
        let inner = self.lock();
        inner.servers.get(server).filter(|server| server.admin != Admin::Maint).map(|server| server.address)
    }

    pub(super) fn checked(&self, server: usize, passed: bool, rise: u32, fall: u32) {
        let mut inner = self.lock();
        let Some(server) = inner.servers.get_mut(server).filter(|server| server.admin != Admin::Maint) else { return };
        server.streak = if passed == server.up { 0 } else { server.streak + 1 };
        if server.streak >= if passed { rise } else { fall } {
            (server.up, server.streak) = (passed, 0);
        }
    }

    fn find<'a>(&self, inner: &'a mut Inner, pool: &str, member: &str) -> Result<&'a mut Server, Refusal> {
        let place = self.known(pool)?;
        let server = inner.servers.iter_mut().find(|server| server.pool == place && server.name.as_str() == member);
        server.ok_or_else(|| (ErrorKind::NotFound, format!("no member {member:?} in pool {pool}")))
    }

    fn known(&self, pool: &str) -> Result<usize, Refusal> {
        self.pools.iter().position(|known| known.as_str() == pool).ok_or_else(|| {
            let known: Vec<&str> = self.pools.iter().map(Name::as_str).collect();
            (ErrorKind::NotFound, format!("no pool {pool:?}; this balancer has {}", known.join(", ")))
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Refuses an epoch below the highest one.
    fn check(&self, epoch: u64) -> Result<(), Refusal> {
        let seen = self.epoch.seen();
        if epoch >= seen {
            return Ok(());
        }
        Err((ErrorKind::Fenced, format!("epoch {seen} was seen, this call has {epoch}: a newer controller acts")))
    }

    /// The same, and keeps a higher one.
    fn pass(&mut self, epoch: u64) -> Result<(), Refusal> {
        self.check(epoch)?;
        self.epoch.raise(epoch).map_err(|error| (ErrorKind::Denied, format!("its epoch cannot be kept: {error}")))
    }
}

fn no_sites() -> Refusal {
    (ErrorKind::Unsupported, "this balancer is no front of sites: start it with a sites file".into())
}

fn no_routes() -> Refusal {
    (ErrorKind::Unsupported, "this balancer has no routes: start it with a routes file".into())
}

/// The weight of every server at first: a canary of one hundredth still gets traffic.
const WEIGHT: Weight = Weight::new(100);

/// Chooses the next of these servers by their weights, smoothly.
fn take_turn(servers: &mut [Server], usable: &[usize]) -> Option<usize> {
    let mut sum = 0;
    for index in usable {
        let server = &mut servers[*index];
        let weight = i64::from(server.weight.number());
        (server.credit, sum) = (server.credit + weight, sum + weight);
    }
    let chosen = usable.iter().copied().max_by_key(|index| servers[*index].credit)?;
    servers[chosen].credit -= sum;
    Some(chosen)
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Server {
    fn describe(&self) -> Member {
        Member::new(self.admin, self.health(), self.kind)
            .with_checks(self.checked)
            .with_weight(self.weight, WEIGHT)
            .with_address(Some(self.address))
            .with_counters(Counters::new(self.taken, self.failed))
    }

    fn health(&self) -> Health {
        match (self.admin, self.checked, self.up) {
            (Admin::Maint, ..) => Health::Paused,
            (_, false, _) => Health::Unchecked,
            (_, true, true) if self.streak == 0 => Health::Up,
            (_, true, true) => Health::UpInPart,
            (_, true, false) if self.streak > 0 => Health::Rising,
            (_, true, false) => Health::Down,
        }
    }

    fn set(&mut self, admin: Admin) -> Applied {
        if self.admin == admin {
            return Applied::AlreadySo;
        }
        self.admin = admin;
        if admin == Admin::Maint {
            // A new client has an empty pool: the idle connections of the old one close with its last request. After
            // maintenance a server is down until its checks have passed.
            self.client = client(self.address, self.connections.clone());
            (self.up, self.streak) = (false, 0);
        }
        Applied::Applied
    }
}
