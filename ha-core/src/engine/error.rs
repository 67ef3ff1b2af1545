use crate::journal::{JournalError, LeaseError};
use crate::machine::FoldError;
use crate::procedure::PlanError;
use crate::record::{End, RunId};

/// Refuses to build an engine.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The topology has a component that no backend was given for.
    #[error("no {what} backend was given for {name}: add one with EngineBuilder::{method}")]
    Missing {
        /// The kind of backend, as `balancer` or `site switch`.
        what: &'static str,
        /// The name in the topology: of a balancer, a node, a site, or `the cluster`.
        name: String,
        /// The builder's method.
        method: &'static str,
    },
    /// A backend was given for a name that the topology does not have.
    #[error("a {what} backend was given for {name}, which the topology does not have: check the name")]
    Unknown {
        /// The kind of backend, as `balancer` or `site switch`.
        what: &'static str,
        /// The name that was given.
        name: String,
    },
}

/// Stops a run, or refuses to begin or resume one. The cluster keeps serving in its present state; the journal says which.
///
/// # Examples
///
/// ```
/// use ha_core::engine::{Engine, RunError, RunHandle};
/// use ha_core::procedure::Planned;
/// use ha_core::record::RunId;
///
/// /// Begins a run, or goes on with the one that another controller has begun.
/// async fn begin_or_resume(engine: &Engine, run: RunId, planned: Planned) -> Result<RunHandle, RunError> {
///     match engine.run(run, planned).await {
///         Err(RunError::Unfinished { run } | RunError::Exists { run }) => engine.resume(run).await,
///         begun => begun,
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// No plan could be made.
    #[error("{source}{}", listed(.seen))]
    Plan {
        /// Why not.
        source: PlanError,
        /// What could not be seen of the cluster, or was seen to be wrong, one line each.
        seen: Vec<String>,
    },
    /// Another controller acts on the cluster, or the lease was lost.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The journal refused or failed; nothing more was begun.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal failed while the run lasted. What had begun was brought to its end; nothing new was begun.
    #[error(
        "run {run}: {source}; begun steps were brought to their end, nothing new was begun{}{}; repair the journal, then \
         resume the run", still("loans still open", .open), still("not known whether it happened", .unknown)
    )]
    Unrecorded {
        /// The run.
        run: RunId,
        /// What the journal said.
        source: JournalError,
        /// Loans that are open, for people.
        open: Vec<String>,
        /// Orders of which nobody knows whether they happened, for people.
        unknown: Vec<String>,
    },
    /// The journal's records do not make a run that can go on.
    #[error("run {run} cannot be resumed: {source}")]
    Fold {
        /// The run.
        run: RunId,
        /// Why.
        source: FoldError,
    },
    /// The cluster is in another state than at the time of the plan. Nothing was changed.
    #[error("the plan is stale, the cluster has changed since: {0}; plan again")]
    StalePlan(String),
    /// What the plan relies on could not be read, although it was asked for again. Nothing was changed.
    #[error(
        "{} could not be read, and nothing was changed: make that answer, then run the plan{}", .unread.join(", "),
        listed(.notes)
    )]
    Unread {
        /// What, for people.
        unread: Vec<String>,
        /// What its reads answered, and what else was seen to be wrong, one line each.
        notes: Vec<String>,
    },
    /// The plan was made for another topology. Nothing was changed.
    #[error("the plan was made for another topology: plan again with this one")]
    OtherTopology,
    /// The proof is of another plan. Nothing was changed.
    #[error("the proof is of another plan (its digest differs), nothing was changed: plan again")]
    OtherPlan,
    /// The run exists already. Nothing was changed.
    #[error("run {run} exists already in the journal: resume it, or choose another name")]
    Exists {
        /// The run.
        run: RunId,
    },
    /// An earlier run of this cluster is not at its end. Nothing was changed.
    #[error("run {run} of this cluster has not ended: resume it first")]
    Unfinished {
        /// That run.
        run: RunId,
    },
    /// What a person asks cannot be done with this run as it stands. Nothing was changed.
    #[error("run {run}: {what} is refused: {why}")]
    Refused {
        /// The run.
        run: RunId,
        /// What was asked, as `skip`.
        what: &'static str,
        /// Why not, and what to do instead.
        why: String,
    },
    /// The run has ended already. Nothing was changed.
    #[error("run {run} has ended already: {end}")]
    Ended {
        /// The run.
        run: RunId,
        /// How.
        end: End,
    },
    /// The run's task died.
    #[error("the run's task ended unexpectedly: {0}; resume the run from its journal")]
    Died(String),
}

fn listed(seen: &[String]) -> String {
    if seen.is_empty() { String::new() } else { format!("; seen: {}", seen.join("; ")) }
}

fn still(what: &str, list: &[String]) -> String {
    if list.is_empty() { String::new() } else { format!("; {what}: {}", list.join(", ")) }
}
