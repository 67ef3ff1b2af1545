use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ha_core::backend::{Admin, Applied, ErrorKind, Health, Instance, Member, Quiescence};
use ha_core::state::RowKind;
use ha_core::topology::Name;

use super::connector::{Connections, MemberClient, client};

/// The rows of the pool: what the data plane, the checks and the admin socket share.
pub(super) struct Rows {
    pool: Name,
    inner: Mutex<Inner>,
}

struct Inner {
    rows: Vec<Row>,
    turn: usize,
    epoch: u64,
    generation: u64,
}

struct Row {
    name: Name,
    address: SocketAddr,
    kind: RowKind,
    admin: Admin,
    checked: bool,
    up: bool,
    streak: u32,
    sessions: u64,
    connections: Connections,
    client: MemberClient,
}

/// A refusal of the admin socket.
pub(super) type Refusal = (ErrorKind, String);

/// One request on one row; the row counts it until this is dropped.
pub(super) struct Session {
    rows: Arc<Rows>,
    row: usize,
    pub(super) client: MemberClient,
    pub(super) address: SocketAddr,
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut inner = self.rows.lock();
        if let Some(row) = inner.rows.get_mut(self.row) {
            row.sessions = row.sessions.saturating_sub(1);
        }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl Rows {
    pub(super) fn new(pool: Name) -> Self {
        let generation = u64::from(std::process::id()) << 20 | NEXT.fetch_add(1, Ordering::Relaxed);
        Self { pool, inner: Mutex::new(Inner { rows: Vec::new(), turn: 0, epoch: 0, generation }) }
    }

    pub(super) fn add(&mut self, name: Name, address: SocketAddr, kind: RowKind, held_out: bool) {
        let connections = Connections::default();
        let client = client(address, connections.clone());
        let admin = if held_out { Admin::Maint } else { Admin::Ready };
        let row = Row {
            name,
            address,
            kind,
            admin,
            checked: false,
            up: !held_out,
            streak: 0,
            sessions: 0,
            connections,
            client,
        };
        self.lock().rows.push(row);
    }

    pub(super) fn set_checked(&mut self, checked: bool) {
        for row in &mut self.lock().rows {
            row.checked = checked;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().rows.len()
    }

    /// Chooses a row for one request and counts the request there in the same breath: once a row drains, no request can
    /// be on its way to it uncounted.
    pub(super) fn choose(self: &Arc<Self>) -> Option<Session> {
        let mut inner = self.lock();
        let usable = |row: &Row| row.admin == Admin::Ready && (!row.checked || row.up);
        let primaries: Vec<usize> = (0..inner.rows.len())
            .filter(|index| inner.rows[*index].kind == RowKind::Primary && usable(&inner.rows[*index]))
            .collect();
        let chosen = if primaries.is_empty() {
            inner.rows.iter().position(|row| row.kind == RowKind::Backup && usable(row))?
        } else {
            inner.turn = inner.turn.wrapping_add(1);
            primaries[inner.turn % primaries.len()]
        };
        let row = &mut inner.rows[chosen];
        row.sessions += 1;
        Some(Session { rows: self.clone(), row: chosen, client: row.client.clone(), address: row.address })
    }

    pub(super) fn identify(&self) -> Instance {
        Instance::new(concat!("embedded ", env!("CARGO_PKG_VERSION")), self.lock().generation)
    }

    pub(super) fn member(&self, pool: &str, member: &str) -> Result<Member, Refusal> {
        let mut inner = self.lock();
        let row = self.find(&mut inner, pool, member)?;
        Ok(Member::new(row.admin, row.health(), row.kind))
    }

    pub(super) fn quiescence(&self, pool: &str, member: &str) -> Result<Quiescence, Refusal> {
        let mut inner = self.lock();
        let row = self.find(&mut inner, pool, member)?;
        let open = row.connections.open();
        Ok(Quiescence::new(row.sessions, 0, open.min(row.sessions), open.saturating_sub(row.sessions)))
    }

    pub(super) fn set_admin(&self, pool: &str, member: &str, admin: Admin, epoch: u64) -> Result<Applied, Refusal> {
        let mut inner = self.lock();
        let seen = inner.epoch;
        if epoch < seen {
            let words = format!("epoch {seen} was seen, this call has {epoch}: a newer controller acts");
            return Err((ErrorKind::Fenced, words));
        }
        let applied = self.find(&mut inner, pool, member)?.set(admin);
        inner.epoch = epoch;
        Ok(applied)
    }

    /// Returns whom to check, or `None` while the row is in maintenance.
    pub(super) fn to_check(&self, row: usize) -> Option<SocketAddr> {
        let inner = self.lock();
        inner.rows.get(row).filter(|row| row.admin != Admin::Maint).map(|row| row.address)
    }

    pub(super) fn checked(&self, row: usize, passed: bool, rise: u32, fall: u32) {
        let mut inner = self.lock();
        let Some(row) = inner.rows.get_mut(row).filter(|row| row.admin != Admin::Maint) else { return };
        row.streak = if passed == row.up { 0 } else { row.streak + 1 };
        if row.streak >= if passed { rise } else { fall } {
            (row.up, row.streak) = (passed, 0);
        }
    }

    fn find<'a>(&self, inner: &'a mut Inner, pool: &str, member: &str) -> Result<&'a mut Row, Refusal> {
        if pool != self.pool.as_str() {
            return Err((ErrorKind::NotFound, format!("no pool {pool:?}; this balancer has {}", self.pool)));
        }
        let row = inner.rows.iter_mut().find(|row| row.name.as_str() == member);
        row.ok_or_else(|| (ErrorKind::NotFound, format!("no member {member:?} in pool {pool}")))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Row {
    fn health(&self) -> Health {
        match (self.admin, self.checked, self.up) {
            (Admin::Maint, ..) => Health::Paused,
            (_, false, _) => Health::Unchecked,
            (_, true, true) => Health::Up,
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
