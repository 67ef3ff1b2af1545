use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Member;

/// How much of what runs on a member a reading shows.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Completeness, Quiescence};
///
/// let figures = Quiescence::new(0, 0, 0, 0).with_older(0, Completeness::OlderGenerationsInvisible);
/// assert_eq!(figures.completeness, Completeness::OlderGenerationsInvisible);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Completeness {
    /// All of it: older generations of the balancer's process were asked too, or cannot exist.
    Proven,
    /// Older generations may serve on, and cannot be asked (HAProxy without its master socket): young processes must be
    /// given the time of the longest request before an idle member is believed idle.
    OlderGenerationsInvisible,
}

/// What still runs on a member, read at one moment on one balancer instance. A missing figure is an error, never 0.
///
/// # Examples
///
/// ```
/// use ha_core::backend::Quiescence;
///
/// // One request in progress, two that wait, one connection in use, none idle.
/// let figures = Quiescence::new(1, 2, 1, 0).with_generation(4711);
/// assert_eq!(figures.in_flight(), 3);
/// assert!(!figures.is_closed());
/// ```
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
    /// Requests or sessions in progress in older generations of the balancer's process.
    pub older_sessions: u64,
    /// Whether older generations were asked.
    pub completeness: Completeness,
    /// The generation that answered, as [`Instance::generation`].
    pub generation: u64,
}

impl Quiescence {
    /// Describes what runs on a member of generation 0, with no older ones.
    pub fn new(sessions: u64, queued: u64, used_connections: u64, idle_connections: u64) -> Self {
        let (older_sessions, completeness, generation) = (0, Completeness::Proven, 0);
        Self { sessions, queued, used_connections, idle_connections, older_sessions, completeness, generation }
    }

    /// Says which generation answered.
    #[must_use]
    pub fn with_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// Adds what runs in older generations.
    #[must_use]
    pub fn with_older(mut self, sessions: u64, completeness: Completeness) -> Self {
        (self.older_sessions, self.completeness) = (sessions, completeness);
        self
    }

    /// Returns the requests in flight: in progress or waiting, in older generations too.
    pub fn in_flight(&self) -> u64 {
        self.sessions.saturating_add(self.queued).saturating_add(self.older_sessions)
    }

    /// Tells whether nothing at all connects the balancer to the member any more.
    pub fn is_closed(&self) -> bool {
        self.in_flight() == 0 && self.used_connections == 0 && self.idle_connections == 0
    }
}

/// Identifies the running balancer process: a changed generation means that its run-time state is gone.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::Instance;
///
/// let process = Instance::new("HAProxy 2.6.12", 4711).with_uptime(Duration::from_secs(3_600));
/// assert!(!process.stopping);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Instance {
    /// Product and version, for people.
    pub version: String,
    /// Changes whenever the process that holds the run-time state is another one (HAProxy: the worker's pid).
    pub generation: u64,
    /// How long this process has been running, not this value; 0 where it is not known.
    pub uptime: Duration,
    /// Whether it finishes what it has and takes nothing new: its state is about to be another process's.
    pub stopping: bool,
}

impl Instance {
    /// Describes a process that has just begun.
    pub fn new(version: impl Into<String>, generation: u64) -> Self {
        Self { version: version.into(), generation, uptime: Duration::ZERO, stopping: false }
    }

    /// Says how long it has been running.
    #[must_use]
    pub fn with_uptime(mut self, uptime: Duration) -> Self {
        self.uptime = uptime;
        self
    }

    /// Says whether it is stopping.
    #[must_use]
    pub fn with_stopping(mut self, stopping: bool) -> Self {
        self.stopping = stopping;
        self
    }
}

/// All that one look tells of a member on one balancer instance.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Admin, Health, Instance, Member, MemberSnapshot, Quiescence};
/// use ha_core::state::MemberKind;
///
/// let member = Member::new(Admin::Maint, Health::Paused, MemberKind::Primary);
/// let seen = MemberSnapshot::new(Instance::new("table 1", 1), member)
///     .with_quiescence(Some(Quiescence::new(0, 0, 0, 0)));
/// assert!(seen.quiescence.is_some_and(|figures| figures.is_closed()));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MemberSnapshot {
    /// The process that answers.
    pub process: Instance,
    /// The state of the member.
    pub member: Member,
    /// What still runs on it. `None` for a member in `Ready`, of which it would say nothing for long, and where it cannot be
    /// read, or not without others being asked: that is never taken for nothing.
    pub quiescence: Option<Quiescence>,
}

impl MemberSnapshot {
    /// Describes a member, without what runs on it.
    pub fn new(process: Instance, member: Member) -> Self {
        Self { process, member, quiescence: None }
    }

    /// Adds what still runs on it.
    #[must_use]
    pub fn with_quiescence(mut self, quiescence: Option<Quiescence>) -> Self {
        self.quiescence = quiescence;
        self
    }
}

/// What a balancer value can do, its layers included. Constant for the value's life. All are off by default.
///
/// # Examples
///
/// ```
/// use ha_core::backend::BalancerCapabilities;
///
/// let claimed = BalancerCapabilities::none().with_fences(true).with_weights(true);
/// assert!(claimed.sets_weights && !claimed.closes_sessions);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct BalancerCapabilities {
    /// Refuses writes of a lower lease epoch by itself, after a restart of its process too.
    pub fences: bool,
    /// Reports idle connections, so that "closed" can be proven.
    pub sees_idle_connections: bool,
    /// Reads what runs in older generations of the balancer's process, or has no such generations.
    pub sees_older_generations: bool,
    /// Sets weights; where it does not, `set_weight` is `Unsupported`.
    pub sets_weights: bool,
    /// Closes sessions by force; where it does not, `close_sessions` is `Unsupported`.
    pub closes_sessions: bool,
    /// Adds members at run time, where it is a [`Membership`](super::Membership); where it does not, `add` is `Unsupported`.
    /// A backend that learns it from the balancer's version says what is so once it was asked anything.
    pub adds_members: bool,
}

impl BalancerCapabilities {
    /// States that it can do none of it.
    pub fn none() -> Self {
        Self::default()
    }

    /// Says whether it refuses lower epochs.
    #[must_use]
    pub fn with_fences(mut self, yes: bool) -> Self {
        self.fences = yes;
        self
    }

    /// Says whether it reports idle connections.
    #[must_use]
    pub fn with_idle_connections(mut self, yes: bool) -> Self {
        self.sees_idle_connections = yes;
        self
    }

    /// Says whether it reads older generations.
    #[must_use]
    pub fn with_older_generations(mut self, yes: bool) -> Self {
        self.sees_older_generations = yes;
        self
    }

    /// Says whether it sets weights.
    #[must_use]
    pub fn with_weights(mut self, yes: bool) -> Self {
        self.sets_weights = yes;
        self
    }

    /// Says whether it closes sessions by force.
    #[must_use]
    pub fn with_close(mut self, yes: bool) -> Self {
        self.closes_sessions = yes;
        self
    }

    /// Says whether it adds members at run time.
    #[must_use]
    pub fn with_added_members(mut self, yes: bool) -> Self {
        self.adds_members = yes;
        self
    }
}
