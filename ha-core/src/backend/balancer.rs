use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Applied, StepError};
use crate::state::{LeaseEpoch, RowKind};
use crate::topology::Name;

/// Names one server row of a balancer: a pool (HAProxy: backend) and a member (HAProxy: server) in it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemberRef {
    /// The pool, as the balancer calls it.
    pub pool: Name,
    /// The member, as the balancer calls it.
    pub member: Name,
}

impl MemberRef {
    /// Names `member` in `pool`.
    pub fn new(pool: Name, member: Name) -> Self {
        Self { pool, member }
    }
}

impl std::fmt::Display for MemberRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.pool, self.member)
    }
}

/// The administrative state of a member: what was asked for, whatever its health.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admin {
    /// Takes traffic when healthy.
    Ready,
    /// Takes no new requests, finishes those it has, keeps persistent clients; health checks go on.
    Drain,
    /// Takes nothing; idle connections to it are closed; health checks pause.
    Maint,
}

/// What the balancer itself thinks of a member.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Health {
    /// The last check run has passed in full.
    Up,
    /// Checks have begun to pass, not yet often enough.
    Rising,
    /// Checks fail.
    Down,
    /// The balancer runs no checks on this member.
    Unchecked,
    /// The member is in maintenance: checks are paused and say nothing.
    Paused,
}

/// How a member stands on one balancer instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Member {
    /// The administrative state.
    pub admin: Admin,
    /// The balancer's own view of its health.
    pub health: Health,
    /// Whether the row is configured as a primary or a backup one.
    pub row: RowKind,
}

impl Member {
    /// Describes a member.
    pub fn new(admin: Admin, health: Health, row: RowKind) -> Self {
        Self { admin, health, row }
    }
}

/// What still runs on a member, read at one moment on one balancer instance. A missing figure is an error, never 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quiescence {
    /// Requests or sessions in progress.
    pub sessions: u64,
    /// Requests waiting for this member.
    pub queued: u64,
    /// Connections to the member that carry a request.
    pub used_connections: u64,
    /// Idle connections to the member that the balancer keeps for re-use.
    pub idle_connections: u64,
}

impl Quiescence {
    /// Describes what runs on a member.
    pub fn new(sessions: u64, queued: u64, used_connections: u64, idle_connections: u64) -> Self {
        Self { sessions, queued, used_connections, idle_connections }
    }

    /// Returns the requests in flight: in progress or waiting.
    pub fn in_flight(&self) -> u64 {
        self.sessions.saturating_add(self.queued)
    }

    /// Tells whether nothing at all connects the balancer to the member any more.
    pub fn is_closed(&self) -> bool {
        self.in_flight() == 0 && self.used_connections == 0 && self.idle_connections == 0
    }
}

/// Identifies the running balancer process: a changed generation means that its run-time state is gone.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Instance {
    /// Product and version, for people.
    pub version: String,
    /// Changes whenever the process that holds the run-time state is another one (HAProxy: the worker's pid).
    pub generation: u64,
}

impl Instance {
    /// Describes a running balancer process.
    pub fn new(version: impl Into<String>, generation: u64) -> Self {
        Self { version: version.into(), generation }
    }
}

/// What a balancer value can do, its layers included. Constant for the value's life.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct BalancerCapabilities {
    /// Refuses writes of a lower lease epoch by itself.
    pub fences: bool,
    /// Reports idle connections, so that "closed" can be proven.
    pub sees_idle_connections: bool,
}

impl BalancerCapabilities {
    /// States the capabilities.
    pub fn new(fences: bool, sees_idle_connections: bool) -> Self {
        Self { fences, sees_idle_connections }
    }
}

/// Asks for an administrative state of one member: an absolute value, never a toggle.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SetAdmin {
    /// The member.
    pub member: MemberRef,
    /// The state it is to have.
    pub admin: Admin,
}

impl SetAdmin {
    /// Asks for `admin` on `member`.
    pub fn new(member: MemberRef, admin: Admin) -> Self {
        Self { member, admin }
    }
}

/// Reads one balancer instance. Planning and observation get this half only.
#[async_trait]
pub trait ObserveBalancer: Debug + Send + Sync + 'static {
    /// Returns what this value can do.
    fn capabilities(&self) -> BalancerCapabilities;

    /// Reads which process answers.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn identify(&self) -> Result<Instance, StepError>;

    /// Reads how a member stands.
    ///
    /// # Errors
    /// `NotFound` for an unknown pool or member; `Unreachable`, `Denied`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn member(&self, member: &MemberRef) -> Result<Member, StepError>;

    /// Reads what still runs on a member.
    ///
    /// # Errors
    /// As [`member`](Self::member); `Protocol` when a figure is missing, since a missing figure is never 0.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn quiescence(&self, member: &MemberRef) -> Result<Quiescence, StepError>;
}

/// Changes one balancer instance. A pool behind several instances has one value for each.
#[async_trait]
pub trait LoadBalancer: ObserveBalancer {
    /// Sets a member's administrative state and reads it back.
    ///
    /// # Idempotency
    /// An absolute value: twice equals once; the second answers `AlreadySo`.
    /// # Errors
    /// `NotFound`, `Denied`, `Unsupported`, `Fenced`: no effect. `Timeout` or a broken connection after the command
    /// was sent: effect unknown, since a frozen balancer may still execute it when it wakes; read `member`.
    /// `Conflict` when the read-back differs.
    /// # Cancel safety
    /// Not cancel safe: a dropped future leaves the effect unknown; read `member`.
    async fn set_admin(&self, epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError>;
}
