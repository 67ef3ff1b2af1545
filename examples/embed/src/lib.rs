//! A balancer of one's own, from the public API alone: a table of servers that a proxy of yours reads. `tests/suite.rs` holds
//! it against the conformance suite, `tests/fault.rs` tests a change under a fault.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use ha_core::backend::{
    Admin, Applied, BalancerCapabilities, CloseSessions, Closed, ConfigFinding, Counters, ErrorKind, Expectations,
    Health, Instance, LoadBalancer, Member, MemberCheck, MemberRef, MemberSnapshot, ObserveBalancer, Quiescence, SetAdmin,
    SetWeight, StepError, Weight, look_by_parts,
};
use ha_core::state::{LeaseEpoch, MemberKind};
use ha_core::topology::Name;

/// One server of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Whether it takes requests.
    pub admin: Admin,
    /// Its share.
    pub weight: Weight,
    /// Requests that the proxy has sent to it.
    pub taken: u64,
    /// Those of them that have not ended.
    pub in_flight: u64,
}

/// The weight of a server until somebody sets another one.
pub const CONFIGURED: Weight = Weight::new(100);

#[derive(Debug)]
struct Table {
    rows: BTreeMap<(Name, Name), Row>,
    epoch: LeaseEpoch,
}

/// The table. Clones share it.
#[derive(Clone, Debug)]
pub struct TableBalancer {
    table: Arc<Mutex<Table>>,
    began: Instant,
}

impl TableBalancer {
    /// Makes a table of one pool whose servers all take requests.
    pub fn new(pool: &Name, members: &[Name]) -> Self {
        let row = Row { admin: Admin::Ready, weight: CONFIGURED, taken: 0, in_flight: 0 };
        let rows = members.iter().map(|member| ((pool.clone(), member.clone()), row)).collect();
        Self { table: Arc::new(Mutex::new(Table { rows, epoch: LeaseEpoch::new(0) })), began: Instant::now() }
    }

    /// What the proxy reads.
    pub fn row(&self, pool: &Name, member: &Name) -> Option<Row> {
        self.lock().rows.get(&(pool.clone(), member.clone())).copied()
    }

    /// What the proxy does with a request: it goes to the first server that takes any, which is named.
    pub fn send(&self, pool: &Name) -> Option<Name> {
        let members: Vec<Name> =
            self.lock().rows.keys().filter(|(of, _)| of == pool).map(|(_, it)| it.clone()).collect();
        members.into_iter().find(|member| self.send_to(pool, member))
    }

    /// Sends a request to a server; false where that takes none.
    pub fn send_to(&self, pool: &Name, member: &Name) -> bool {
        let mut table = self.lock();
        let row = table.rows.get_mut(&(pool.clone(), member.clone()));
        let Some(row) = row.filter(|row| row.admin == Admin::Ready && row.weight > Weight::new(0)) else {
            return false;
        };
        (row.taken, row.in_flight) = (row.taken + 1, row.in_flight + 1);
        true
    }

    /// A request of a server has ended.
    pub fn ended(&self, pool: &Name, member: &Name) {
        if let Some(row) = self.lock().rows.get_mut(&(pool.clone(), member.clone())) {
            row.in_flight = row.in_flight.saturating_sub(1);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, operation: &'static str, member: &MemberRef) -> Result<Row, StepError> {
        let unknown = || StepError::new(ErrorKind::NotFound, operation, member.to_string()).without_effect();
        self.row(&member.pool, &member.member).ok_or_else(unknown)
    }

    /// Changes a row, unless a later controller has been here.
    fn write(
        &self,
        operation: &'static str,
        epoch: LeaseEpoch,
        member: &MemberRef,
        change: impl FnOnce(&mut Row) -> bool,
    ) -> Result<Applied, StepError> {
        let refuse = |kind| StepError::new(kind, operation, member.to_string()).without_effect();
        let mut table = self.lock();
        if epoch < table.epoch {
            return Err(refuse(ErrorKind::Fenced));
        }
        let key = (member.pool.clone(), member.member.clone());
        let changed = change(table.rows.get_mut(&key).ok_or_else(|| refuse(ErrorKind::NotFound))?);
        table.epoch = epoch;
        Ok(if changed { Applied::Applied } else { Applied::AlreadySo })
    }
}

fn describe(row: Row) -> Member {
    let health = if row.admin == Admin::Maint { Health::Paused } else { Health::Unchecked };
    Member::new(row.admin, health, MemberKind::Primary)
        .with_checks(false)
        .with_weight(row.weight, CONFIGURED)
        .with_counters(Counters::new(row.taken, 0))
        .with_queue(0, row.in_flight)
}

#[async_trait]
impl ObserveBalancer for TableBalancer {
    fn capabilities(&self) -> BalancerCapabilities {
        BalancerCapabilities::none().with_fences(true).with_weights(true).with_older_generations(true)
    }

    async fn identify(&self) -> Result<Instance, StepError> {
        Ok(Instance::new("table 1", 1).with_uptime(self.began.elapsed()))
    }

    async fn member(&self, member: &MemberRef) -> Result<Member, StepError> {
        self.read("member", member).map(describe)
    }

    async fn look(&self, member: &MemberRef) -> Result<MemberSnapshot, StepError> {
        look_by_parts(self, member).await
    }

    async fn members(&self, pool: &Name) -> Result<Vec<(Name, Member)>, StepError> {
        let table = self.lock();
        let of = table.rows.iter().filter(|((of, _), _)| of == pool);
        let members: Vec<_> = of.map(|((_, member), row)| (member.clone(), describe(*row))).collect();
        let unknown = || StepError::new(ErrorKind::NotFound, "members", pool.to_string()).without_effect();
        if members.is_empty() { Err(unknown()) } else { Ok(members) }
    }

    async fn config_findings(&self, _expect: &Expectations) -> Result<Vec<ConfigFinding>, StepError> {
        Ok(Vec::new())
    }

    async fn check_of(&self, member: &MemberRef) -> Result<MemberCheck, StepError> {
        self.read("check of", member).map(|_| MemberCheck::None)
    }

    async fn quiescence(&self, member: &MemberRef) -> Result<Quiescence, StepError> {
        let row = self.read("quiescence", member)?;
        Ok(Quiescence::new(row.in_flight, 0, row.in_flight, 0).with_generation(1))
    }
}

#[async_trait]
impl LoadBalancer for TableBalancer {
    async fn set_admin(&self, epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError> {
        self.write("set admin", epoch, &request.member, |row| {
            std::mem::replace(&mut row.admin, request.admin) != request.admin
        })
    }

    async fn set_weight(&self, epoch: LeaseEpoch, request: SetWeight) -> Result<Applied, StepError> {
        self.write("set weight", epoch, &request.member, |row| {
            std::mem::replace(&mut row.weight, request.weight) != request.weight
        })
    }

    async fn close_sessions(&self, epoch: LeaseEpoch, request: CloseSessions) -> Result<Closed, StepError> {
        self.write("close sessions", epoch, &request.member, |_| false)?;
        // The proxy cannot cut what it has begun.
        let target = request.member.to_string();
        Err(StepError::new(ErrorKind::Unsupported, "close sessions", target).without_effect())
    }
}
