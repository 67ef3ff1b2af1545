use std::time::Duration;

use crate::topology::{Name, Permille};

/// What a balancer's configuration is held against.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::Expectations;
/// use ha_core::topology::Name;
///
/// let expect = Expectations::new(Name::new("esb")?, Duration::from_secs(60))
///     .with_members(vec![Name::new("esb1")?, Name::new("spare1")?])
///     .with_spares(vec![Name::new("spare1")?]);
/// assert_eq!(expect.canary, None);
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Expectations {
    /// The pool.
    pub pool: Name,
    /// How long its longest request takes.
    pub longest_request: Duration,
    /// The share of a canary; `None` for none.
    pub canary: Option<Permille>,
    /// The members that are spares: held out on purpose.
    pub spares: Vec<Name>,
    /// Every member that may be taken out of the pool, spares included; none where that is not known.
    pub members: Vec<Name>,
    /// What the balancer calls the other pools that are declared behind it: the members are taken out of those as well.
    pub declared: Vec<Name>,
}

impl Expectations {
    /// Expects requests of up to `longest_request` in `pool`.
    pub fn new(pool: Name, longest_request: Duration) -> Self {
        Self { pool, longest_request, canary: None, spares: Vec::new(), members: Vec::new(), declared: Vec::new() }
    }

    /// Expects a canary of this share.
    #[must_use]
    pub fn with_canary(mut self, canary: Option<Permille>) -> Self {
        self.canary = canary;
        self
    }

    /// Expects these members to be held out at rest.
    #[must_use]
    pub fn with_spares(mut self, spares: Vec<Name>) -> Self {
        self.spares = spares;
        self
    }

    /// Names the members that may be taken out of the pool.
    #[must_use]
    pub fn with_members(mut self, members: Vec<Name>) -> Self {
        self.members = members;
        self
    }

    /// Names the other pools that are declared behind the balancer. Any other one that has a member's server is left out.
    #[must_use]
    pub fn with_declared(mut self, pools: Vec<Name>) -> Self {
        self.declared = pools;
        self
    }
}

/// One thing in a balancer's configuration that endangers a change.
///
/// # Examples
///
/// ```
/// use ha_core::backend::ConfigFinding;
///
/// let danger = ConfigFinding::danger("backend esb: retries 3 sends a request twice: set retries 0");
/// assert!(danger.is_danger && !ConfigFinding::advice("give it a queue").is_danger);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ConfigFinding {
    /// Whether requests can be lost by it; a plan is refused then. Otherwise it is advice.
    pub is_danger: bool,
    /// Where it is, why it endangers a change, and what to do.
    pub message: String,
    /// The stable name of what found it, as `left-out`; `None` where it has none.
    pub rule: Option<Box<str>>,
}

impl ConfigFinding {
    /// What finds a backend that sends requests to a member and that no pool declares: the member is not drained there.
    pub const LEFT_OUT: &str = "left-out";

    /// Says that requests can be lost.
    pub fn danger(message: impl Into<String>) -> Self {
        Self { is_danger: true, message: message.into(), rule: None }
    }

    /// Says what would be wiser.
    pub fn advice(message: impl Into<String>) -> Self {
        Self { is_danger: false, message: message.into(), rule: None }
    }

    /// Names what found it.
    #[must_use]
    pub fn with_rule(mut self, rule: impl Into<Box<str>>) -> Self {
        self.rule = Some(rule.into());
        self
    }
}
