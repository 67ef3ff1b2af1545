use std::fmt;

use serde::{Deserialize, Serialize};

use crate::state::{Copies, Generation, Route, Schema, Site, Sync, Work};

/// What was seen of an order's outcome, as data; the text for people is made from it.
///
/// # Examples
///
/// ```
/// use ha_core::record::Evidence;
///
/// let seen = Evidence::OutOfTraffic { cut_requests: 0, older_processes_unseen: false };
/// assert_eq!(seen.to_string(), "out of traffic, nothing connects to it");
/// assert_eq!(Evidence::failed("no answer").to_string(), "no answer");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum Evidence {
    /// Out of traffic on every balancer of every pool, and nothing connects to it.
    OutOfTraffic {
        /// How many requests were cut at the drain deadline; 0 where all ended by themselves.
        cut_requests: u64,
        /// Whether older processes of a balancer could not be seen, and were given the time of the longest request only.
        #[serde(default)]
        older_processes_unseen: bool,
    },
    /// In traffic, confirmed by every balancer.
    InTraffic {
        /// How many servers were confirmed: one a pool and balancer.
        servers: u64,
    },
    /// Every balancer was asked and says this.
    BalancersAgree {
        /// Whether the node is in traffic.
        admitted: bool,
    },
    /// Ready and held out of traffic.
    StandingBy {
        /// The release that answers.
        release: String,
    },
    /// The server is gone.
    Stopped {
        /// Whether it had to be killed.
        forced: bool,
    },
    /// A server process is ready.
    Ready {
        /// The release that answers.
        release: String,
        /// Which process, as its host identifies it; `None` where only readiness was looked up.
        process: Option<String>,
    },
    /// This release is installed.
    Installed {
        /// The release.
        release: String,
    },
    /// Nothing is installed any more.
    Removed,
    /// The test gate passed.
    GatePassed {
        /// The release that was tested.
        release: String,
    },
    /// The node was watched under traffic.
    Watched {
        /// For how long, in milliseconds.
        soak_ms: u64,
        /// How many probes passed.
        probes_passed: u32,
    },
    /// The file sync into the node, and the set of files that it has.
    Files {
        /// The file sync.
        sync: Sync,
        /// The set: its number and the digest of its tree; `None` for half a set.
        generation: Option<Generation>,
    },
    /// The node may write shared files.
    Writer {
        /// With this epoch.
        epoch: u64,
    },
    /// The node's pulled work.
    PulledWork {
        /// Whether it pulls work.
        work: Work,
    },
    /// The schema of the shared database.
    Schema {
        /// Its state.
        schema: Schema,
    },
    /// The two copies of the shared database.
    Copies {
        /// How they are.
        copies: Copies,
        /// How many tables the step dealt with; 0 where it was only looked up.
        tables: u64,
        /// How many rows were copied or compared.
        rows: u64,
    },
    /// The route of the plan's service, as every balancer instance has it.
    Route {
        /// Its state.
        route: Route,
        /// How many instances were asked.
        instances: u64,
    },
    /// A site, as it was seen.
    Site {
        /// Its state.
        state: Site,
        /// The epoch with which its database takes writes, or took them last.
        epoch: u64,
        /// Of a copy that was promoted: the age of the newest transaction that it had, in milliseconds, which bounds what was lost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        behind_ms: Option<u64>,
    },
    /// It did not happen, or it is not known whether it did.
    Failed {
        /// What was seen, as reported by whoever saw it.
        detail: String,
    },
}

impl Evidence {
    /// Says why something did not happen, or is not known: of a backend's error with its causes.
    pub fn failed(detail: impl fmt::Display) -> Self {
        Self::Failed { detail: format!("{detail:#}") }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfTraffic { cut_requests: 0, older_processes_unseen: false } => {
                f.write_str("out of traffic, nothing connects to it")
            }
            Self::OutOfTraffic { cut_requests: 0, older_processes_unseen: true } => f.write_str(
                "out of traffic, nothing connects to it; older balancer processes cannot be seen and were given \
                 policy.longest_request",
            ),
            Self::OutOfTraffic { cut_requests, .. } => {
                write!(f, "out of traffic, {cut_requests} requests were cut at the drain deadline as the policy says")
            }
            Self::InTraffic { .. } => f.write_str("in traffic, confirmed by every balancer"),
            Self::BalancersAgree { admitted: true } => f.write_str("every balancer has it ready"),
            Self::BalancersAgree { admitted: false } => f.write_str("every balancer has it in maintenance"),
            Self::StandingBy { release } => write!(f, "ready with release {release}, held out"),
            Self::Stopped { forced: false } => f.write_str("the server is gone"),
            Self::Stopped { forced: true } => {
                f.write_str("the server is gone, forced: it did not stop by itself and was killed")
            }
            Self::Ready { release, process: Some(process) } => {
                write!(f, "ready with release {release}, process {process}")
            }
            Self::Ready { release, process: None } => write!(f, "ready with release {release}"),
            Self::Installed { release } => write!(f, "release {release} is installed"),
            Self::Removed => f.write_str("nothing is installed any more"),
            Self::GatePassed { release } => write!(f, "release {release} passed its test"),
            Self::Watched { soak_ms, probes_passed } => {
                write!(f, "watched for {soak_ms} ms, {probes_passed} probes passed")
            }
            Self::Files { sync, generation: Some(generation) } => {
                write!(f, "the file sync is {sync:?}, generation {} is there", generation.sequence)
            }
            Self::Files { sync, generation: None } => write!(f, "the file sync is {sync:?}, half a set is there"),
            Self::Writer { epoch } => write!(f, "it may write, with epoch {epoch}"),
            Self::PulledWork { work } => write!(f, "pulled work is {work:?}"),
            Self::Schema { schema } => write!(f, "the schema is {schema}"),
            Self::Copies { copies, tables: 0, .. } => write!(f, "{copies}"),
            Self::Copies { copies, tables, rows: 0 } => write!(f, "{copies}; {tables} tables"),
            Self::Copies { copies, tables, rows } => write!(f, "{copies}; {tables} tables, {rows} rows"),
            Self::Route { route: Route::Dark, .. } => f.write_str("no balancer has the route"),
            Self::Route { route, .. } => write!(f, "the route is {route}, read back from every balancer"),
            Self::Site { state, epoch, behind_ms: None } => write!(f, "the site is {state}, epoch {epoch}"),
            Self::Site { state, epoch, behind_ms: Some(behind) } => {
                write!(f, "the site is {state}, epoch {epoch}; what it had was {behind} ms old, more is not lost")
            }
            Self::Failed { detail } => f.write_str(detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error that tells its causes where `{:#}` asks for them.
    struct Caused;

    impl fmt::Display for Caused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(if f.alternate() { "denied: a role is missing" } else { "denied" })
        }
    }

    #[test]
    fn a_failure_is_kept_with_its_causes() {
        assert_eq!(Evidence::failed(Caused).to_string(), "denied: a role is missing");
        assert_eq!(Evidence::failed(Evidence::Removed).to_string(), "nothing is installed any more");
    }
}
