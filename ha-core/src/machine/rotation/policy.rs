use std::time::Duration;

use crate::backend::CutConsent;
use crate::topology::Permille;

/// What happens to requests that are still in flight at the drain deadline.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::CutConsent;
/// use ha_core::machine::rotation::{AtDeadline, RotationPolicy};
///
/// let cut = AtDeadline::Cut(CutConsent::by("J. Doe, change 4711"));
/// let policy = RotationPolicy::new(Duration::from_secs(60)).with_at_deadline(cut);
/// # drop(policy);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AtDeadline {
    /// The node goes back into traffic, and nothing is lost.
    TurnBack,
    /// The requests are cut and counted, with a named consent.
    Cut(CutConsent),
}

/// A small share of the traffic for a node that comes back, before it gets all of it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::machine::rotation::Canary;
/// use ha_core::topology::Permille;
///
/// // A twentieth of its weight for 30 s; not one answer may fail.
/// let canary = Canary::new(Permille::new(50), Duration::from_secs(30)).with_failures(Permille::new(0));
/// # drop(canary);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Canary {
    /// The share of its configured weight. It must come to a weight of at least 1.
    pub share: Permille,
    /// How long it is watched, on the first instance only: the first balancer of the node's first pool.
    pub watch: Duration,
    /// The share of its answers that may fail meanwhile. Default 0.01.
    pub failures: Permille,
}

impl Canary {
    /// Gives `share` of its weight for `watch`.
    pub fn new(share: Permille, watch: Duration) -> Self {
        Self { share, watch, failures: Permille::new(10) }
    }

    /// Sets the share of its answers that may fail.
    #[must_use]
    pub fn with_failures(mut self, failures: Permille) -> Self {
        self.failures = failures;
        self
    }
}

/// How a node is taken out of its balancers and put back.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::machine::rotation::{AtDeadline, RotationPolicy};
///
/// let policy = RotationPolicy::new(Duration::from_secs(60)).with_persistence_grace(Duration::from_secs(5));
/// assert_eq!((policy.longest_request, policy.at_deadline), (Duration::from_secs(60), AtDeadline::TurnBack));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RotationPolicy {
    /// How long requests in flight may take to end.
    pub drain_deadline: Duration,
    /// What happens to them then. Default: the node goes back.
    pub at_deadline: AtDeadline,
    /// How long a persistent client (a cookie, a stick table) keeps its server after the drain began; maintenance moves it
    /// then, and lets what is in flight end. Default 2 s.
    pub persistence_grace: Duration,
    /// How long the longest request takes. A young balancer process whose older generations cannot be asked is believed
    /// idle only after that. Default: the drain deadline.
    pub longest_request: Duration,
    /// What a node that comes back gets first. Default: all of its traffic.
    pub canary: Option<Canary>,
    /// How long ago the last life of a server that comes back was seen to have ended. No new request goes to it in the first
    /// 50 ms after that, nor before the balancer has answered: connections to that life are dead by then. Default 0.
    pub server_gone_for: Duration,
    /// Whether the node may be the last usable server there: nobody is led to its site. Default: it may not.
    pub may_be_last: bool,
}

impl RotationPolicy {
    /// Gives requests in flight `drain_deadline` to end.
    pub fn new(drain_deadline: Duration) -> Self {
        Self {
            drain_deadline,
            at_deadline: AtDeadline::TurnBack,
            persistence_grace: Duration::from_secs(2),
            longest_request: drain_deadline,
            canary: None,
            server_gone_for: Duration::ZERO,
            may_be_last: false,
        }
    }

    /// Says what happens at the drain deadline.
    #[must_use]
    pub fn with_at_deadline(mut self, at_deadline: AtDeadline) -> Self {
        self.at_deadline = at_deadline;
        self
    }

    /// Sets how long persistent clients keep their server.
    #[must_use]
    pub fn with_persistence_grace(mut self, grace: Duration) -> Self {
        self.persistence_grace = grace;
        self
    }

    /// Sets how long the longest request takes.
    #[must_use]
    pub fn with_longest_request(mut self, longest: Duration) -> Self {
        self.longest_request = longest;
        self
    }

    /// Puts a canary before the full return.
    #[must_use]
    pub fn with_canary(mut self, canary: Option<Canary>) -> Self {
        self.canary = canary;
        self
    }

    /// Says whether the node may be the last usable server of its pool.
    #[must_use]
    pub fn with_may_be_last(mut self, may_be_last: bool) -> Self {
        self.may_be_last = may_be_last;
        self
    }

    /// Says how long ago the last life of a server that comes back was seen to have ended.
    #[must_use]
    pub fn with_server_gone_for(mut self, time: Duration) -> Self {
        self.server_gone_for = time;
        self
    }
}
