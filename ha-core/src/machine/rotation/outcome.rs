/// How the requests in flight of a node that left its balancers ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DrainOutcome {
    /// All of them ended by themselves.
    Drained,
    /// So many had not ended at the deadline.
    DeadlineReached {
        /// Requests in progress or waiting.
        in_flight: u64,
    },
    /// At most so many were cut, as the policy says.
    Forced {
        /// Sessions in progress directly before they were closed.
        killed: u64,
    },
}

/// How a rotation ended.
///
/// # Examples
///
/// ```
/// use ha_core::machine::rotation::Outcome;
///
/// fn line(outcome: &Outcome) -> String {
///     match outcome {
///         Outcome::Reached { .. } => "done".into(),
///         Outcome::Restored { why, .. } => format!("all is as before: {why}"),
///         Outcome::Stuck { why, instances } => format!("{why}; look at the instances {instances:?}"),
///         other => format!("{other:?}"),
///     }
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The goal holds on every instance.
    Reached {
        /// How its requests ended, for a node that left.
        drain: Option<DrainOutcome>,
    },
    /// It could not be reached; every instance is as it was before, or gone.
    Restored {
        /// Why.
        why: String,
        /// How far the drain came, where it was the reason, or what was cut all the same.
        drain: Option<DrainOutcome>,
    },
    /// It could not be reached, and these instances could not be put back.
    Stuck {
        /// Why it could not be reached.
        why: String,
        /// The positions of the instances whose state is not known.
        instances: Vec<usize>,
    },
}
