use std::time::Duration;

use crate::topology::Topology;

/// What a monitor does when a node is lost.
///
/// # Examples
///
/// ```
/// use ha_core::machine::monitor::{MonitorPolicy, OnLoss};
///
/// assert_eq!(MonitorPolicy::default().on_loss, OnLoss::Report);
/// let policy = MonitorPolicy::default().with_on_loss(OnLoss::Propose);
/// # drop(policy);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnLoss {
    /// It says so.
    #[default]
    Report,
    /// It proposes the outage procedure too; a person decides.
    Propose,
    /// It proposes the outage procedure, and says that it may be run without asking where one failure domain is lost and no
    /// other node is disputed, unobserved or flapping. A monitor never acts by itself: its caller does.
    Run,
}

/// How a monitor watches, and when it is sure.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::machine::monitor::{MonitorPolicy, OnLoss};
///
/// let policy = MonitorPolicy::default()
///     .with_interval(Duration::from_secs(1))
///     .with_dead_after(Duration::from_secs(5))
///     .with_on_loss(OnLoss::Propose);
/// assert_eq!(policy.needed, 2); // kinds of observers that have to agree
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MonitorPolicy {
    /// How often each observer is asked. Default 500 ms; less than 10 ms counts as 10 ms.
    pub interval: Duration,
    /// How long an observer may take to answer; after that it gave no answer. It is asked again when the interval is over and the
    /// answer is there or late, so that a loss without an answer is found by so much later. Default 500 ms; less than 10 ms counts as
    /// 10 ms.
    pub answer_within: Duration,
    /// How long the observers must agree, each without a word to the contrary, before a node is lost. Default: `lost_after` of the
    /// topology's policy, which is 2 s unless declared; at 0 one round of answers is enough.
    pub dead_after: Option<Duration>,
    /// How long balancers and probe must not see a server serve while its process runs, but for one answer in between: it may be in
    /// a long pause of its garbage collector. Default 10 s, and never less than `dead_after`.
    pub hung_after: Duration,
    /// How many kinds of observers (balancers, probe, host) must agree. Default 2 of 3; fewer count as 2, more as 3. At 3 a
    /// node that no balancer checks is never lost.
    pub needed: u8,
    /// How long a lost node must serve, in the eyes of all who answer, before it has returned. Default 10 s.
    pub recover_after: Duration,
    /// How many losses of one node inside `flap_window` are reported as losses; with the next one the node is flapping, and left
    /// to a person. Default 3; at 0 every loss is.
    pub flap_limit: u32,
    /// How long a loss counts. Default 600 s; at 0 no node is ever flapping, unless `flap_limit` is 0.
    pub flap_window: Duration,
    /// How long a whole site must be without a sign of life, after each of its nodes has been for `dead_after`, before it is lost.
    /// Default 60 s.
    pub hold_down: Duration,
    /// How much later than due this process may ask, or take an answer in. What comes later counts for nothing, and nor does what
    /// was seen before it: this process was stalled. Default 250 ms.
    pub own_lag: Duration,
    /// What happens when a node is lost. Default [`OnLoss::Report`].
    pub on_loss: OnLoss,
}

impl Default for MonitorPolicy {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            answer_within: Duration::from_millis(500),
            dead_after: None,
            hung_after: Duration::from_secs(10),
            needed: 2,
            recover_after: Duration::from_secs(10),
            flap_limit: 3,
            flap_window: Duration::from_secs(600),
            hold_down: Duration::from_secs(60),
            own_lag: Duration::from_millis(250),
            on_loss: OnLoss::Report,
        }
    }
}

impl MonitorPolicy {
    /// Sets how often each observer is asked.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets how long an observer may take to answer.
    #[must_use]
    pub fn with_answer_within(mut self, within: Duration) -> Self {
        self.answer_within = within;
        self
    }

    /// Sets how long observers must agree before a node is lost.
    #[must_use]
    pub fn with_dead_after(mut self, after: Duration) -> Self {
        self.dead_after = Some(after);
        self
    }

    /// Sets how long a server may not serve while its process runs.
    #[must_use]
    pub fn with_hung_after(mut self, after: Duration) -> Self {
        self.hung_after = after;
        self
    }

    /// Sets how many kinds of observers must agree: 2 or 3.
    #[must_use]
    pub fn with_needed(mut self, needed: u8) -> Self {
        self.needed = needed;
        self
    }

    /// Sets how long a lost node must serve before it has returned.
    #[must_use]
    pub fn with_recover_after(mut self, after: Duration) -> Self {
        self.recover_after = after;
        self
    }

    /// Sets how many losses of one node are reported as such inside a window, before it is flapping.
    #[must_use]
    pub fn with_flap_limit(mut self, losses: u32, window: Duration) -> Self {
        (self.flap_limit, self.flap_window) = (losses, window);
        self
    }

    /// Sets how long a site must be without a sign of life.
    #[must_use]
    pub fn with_hold_down(mut self, hold_down: Duration) -> Self {
        self.hold_down = hold_down;
        self
    }

    /// Sets how late this process may be.
    #[must_use]
    pub fn with_own_lag(mut self, lag: Duration) -> Self {
        self.own_lag = lag;
        self
    }

    /// Sets what happens when a node is lost.
    #[must_use]
    pub fn with_on_loss(mut self, on_loss: OnLoss) -> Self {
        self.on_loss = on_loss;
        self
    }

    /// Settles it for a topology: every value is inside its range.
    pub(super) fn limits(&self, topology: &Topology) -> Limits {
        let dead_after = self.dead_after.unwrap_or(topology.policy().lost_after);
        let (interval, answer_within) = (self.interval.max(LEAST), self.answer_within.max(LEAST));
        Limits {
            interval,
            answer_within,
            dead_after,
            tell_after: dead_after / 2,
            hung_after: self.hung_after.max(dead_after),
            needed: usize::from(self.needed.clamp(2, 3)),
            recover_after: self.recover_after,
            flap_limit: self.flap_limit,
            flap_window: self.flap_window,
            hold_down: self.hold_down,
            own_lag: self.own_lag,
            longest_gap: interval.saturating_add(answer_within).saturating_add(self.own_lag),
            on_loss: self.on_loss,
        }
    }
}

/// The least interval and the least time for an answer.
const LEAST: Duration = Duration::from_millis(10);

/// A policy as it holds for one topology.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) interval: Duration,
    pub(super) answer_within: Duration,
    pub(super) dead_after: Duration,
    /// How long a suspicion lasts before it is told: one lost answer is no news.
    pub(super) tell_after: Duration,
    pub(super) hung_after: Duration,
    pub(super) needed: usize,
    pub(super) recover_after: Duration,
    pub(super) flap_limit: u32,
    pub(super) flap_window: Duration,
    pub(super) hold_down: Duration,
    pub(super) own_lag: Duration,
    /// The longest time from an answer to the next one. What is older is no news.
    pub(super) longest_gap: Duration,
    pub(super) on_loss: OnLoss,
}
