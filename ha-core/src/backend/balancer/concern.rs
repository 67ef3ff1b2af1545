use std::time::Duration;

use crate::topology::{Name, Permille};

/// What a balancer's configuration is held against.
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
}

impl Expectations {
    /// Expects requests of up to `longest_request` in `pool`.
    pub fn new(pool: Name, longest_request: Duration) -> Self {
        Self { pool, longest_request, canary: None, spares: Vec::new() }
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
}

/// One thing in a balancer's configuration that endangers a change, in words: where it is, why, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Concern {
    /// Whether requests can be lost by it; a plan is refused then. Otherwise it is advice.
    pub danger: bool,
    /// The words.
    pub words: String,
}

impl Concern {
    /// Says that requests can be lost.
    pub fn danger(words: impl Into<String>) -> Self {
        Self { danger: true, words: words.into() }
    }

    /// Says what would be wiser.
    pub fn advice(words: impl Into<String>) -> Self {
        Self { danger: false, words: words.into() }
    }
}
