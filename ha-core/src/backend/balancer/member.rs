use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::state::MemberKind;
use crate::topology::Name;

/// Names one server of a balancer: a pool (HAProxy: backend) and a member (HAProxy: server) in it.
///
/// # Examples
///
/// ```
/// use ha_core::backend::MemberRef;
/// use ha_core::topology::Name;
///
/// let member = MemberRef::new(Name::new("esb")?, Name::new("esb1")?);
/// assert_eq!(member.to_string(), "esb/esb1");
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
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

impl fmt::Display for MemberRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    /// It takes requests, though its last checks have not passed in full: none has run yet, or one has failed (HAProxy:
    /// `UP 1/2`).
    UpInPart,
    /// It takes none; its checks have begun to pass, not yet often enough (HAProxy: `DOWN 1/2`).
    Rising,
    /// It takes none; its checks fail.
    Down,
    /// The balancer runs no checks on this member.
    Unchecked,
    /// The member is in maintenance: checks are paused and say nothing.
    Paused,
}

/// The share of traffic that a member takes beside the others, 0 to 256; at 0 it takes no new requests.
///
/// # Examples
///
/// ```
/// use ha_core::backend::Weight;
///
/// assert_eq!(Weight::new(300).number(), 256);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(u16);

impl Weight {
    /// The weight of a member that has no other.
    pub const ONE: Self = Self(1);

    /// Wraps a weight; more than 256 is cut to 256.
    pub const fn new(weight: u16) -> Self {
        Self(if weight > 256 { 256 } else { weight })
    }

    /// Returns the number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a balancer has counted on a member since its process began. Meaningful only as a difference inside one generation,
/// and never as a proof that nothing was lost: losses on reused connections are often not counted (HAProxy 2.4 to 3.4).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counters {
    /// Requests or sessions that the member was given.
    pub taken: u64,
    /// Those that failed: no connection, a broken answer, or an answer of 500 to 599.
    pub failed: u64,
}

impl Counters {
    /// States the counts.
    pub fn new(taken: u64, failed: u64) -> Self {
        Self { taken, failed }
    }
}

/// The state of a member on one balancer instance.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Admin, Counters, Health, Member, Weight};
/// use ha_core::state::MemberKind;
///
/// let member = Member::new(Admin::Ready, Health::Up, MemberKind::Primary)
///     .with_weight(Weight::new(0), Weight::new(100))
///     .with_counters(Counters::new(1_204, 3));
/// assert!(!member.is_usable()); // ready, and of weight 0
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Member {
    /// The administrative state.
    pub admin: Admin,
    /// The balancer's own view of its health.
    pub health: Health,
    /// Whether the member is configured as a primary or a backup one.
    pub kind: MemberKind,
    /// Whether the balancer runs checks on it, paused or not.
    pub checked: bool,
    /// Its weight now.
    pub weight: Weight,
    /// Its weight in the balancer's configuration.
    pub configured_weight: Weight,
    /// Where the balancer reaches it; `None` where it does not say.
    pub address: Option<SocketAddr>,
    /// Whether its administrative state is not its own, but that of a member which it tracks or the word of an agent: setting
    /// it here has no effect, or none that lasts.
    pub inherited: bool,
    /// Whether clients can be bound to it (a cookie, a stick table): draining does not move those, maintenance does.
    pub persistent: bool,
    /// Whether maintenance cuts what is in flight (HAProxy: `on-marked-down shutdown-sessions`).
    pub cuts_on_maint: bool,
    /// What was counted on it.
    pub counters: Counters,
    /// The requests that wait in front of the pool, for any of its members. 0 where the balancer queues none.
    pub waiting: u64,
    /// The requests or sessions in progress on it.
    pub sessions: u64,
}

impl Member {
    /// Describes a member of weight 1 without an address, persistence or counts; checked unless its health says otherwise.
    pub fn new(admin: Admin, health: Health, kind: MemberKind) -> Self {
        Self {
            admin,
            health,
            kind,
            checked: health != Health::Unchecked,
            weight: Weight::ONE,
            configured_weight: Weight::ONE,
            address: None,
            inherited: false,
            persistent: false,
            cuts_on_maint: false,
            counters: Counters::default(),
            waiting: 0,
            sessions: 0,
        }
    }

    /// Says whether the balancer runs checks on it.
    #[must_use]
    pub fn with_checks(mut self, checked: bool) -> Self {
        self.checked = checked;
        self
    }

    /// Adds its weight now and in the configuration.
    #[must_use]
    pub fn with_weight(mut self, weight: Weight, configured: Weight) -> Self {
        (self.weight, self.configured_weight) = (weight, configured);
        self
    }

    /// Adds its address.
    #[must_use]
    pub fn with_address(mut self, address: Option<SocketAddr>) -> Self {
        self.address = address;
        self
    }

    /// Says whether its administrative state is another member's.
    #[must_use]
    pub fn with_inherited(mut self, inherited: bool) -> Self {
        self.inherited = inherited;
        self
    }

    /// Says whether clients can be bound to it, and whether maintenance cuts what is in flight.
    #[must_use]
    pub fn with_persistence(mut self, persistent: bool, cuts_on_maint: bool) -> Self {
        (self.persistent, self.cuts_on_maint) = (persistent, cuts_on_maint);
        self
    }

    /// Adds what was counted on it.
    #[must_use]
    pub fn with_counters(mut self, counters: Counters) -> Self {
        self.counters = counters;
        self
    }

    /// Adds how many requests wait in front of the pool, and how many are in progress on this member.
    #[must_use]
    pub fn with_queue(mut self, waiting: u64, sessions: u64) -> Self {
        (self.waiting, self.sessions) = (waiting, sessions);
        self
    }

    /// Tells whether requests wait in front of the pool while this member works on none: at one moment by chance, over
    /// several a sign that the balancer gives it none of them (HAProxy before 3.4, after drain or a weight of 0).
    pub fn is_passed_over(&self) -> bool {
        self.waiting > 0 && self.sessions == 0
    }

    /// Tells whether the balancer gives it new requests, or would if all primary members were gone.
    pub fn is_usable(&self) -> bool {
        self.admin == Admin::Ready
            && self.weight.0 > 0
            && matches!(self.health, Health::Up | Health::UpInPart | Health::Unchecked)
    }
}
