use std::fmt;

use serde::Serialize;

use super::Saw;

/// What one observer says of a node.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Testimony {
    /// Who: `balancer lb1`, `probe` or `host`.
    pub observer: String,
    /// What it saw last.
    pub saw: Saw,
}

/// How a node was lost, as far as it can be seen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Loss {
    /// Its server's process is gone; its host answers.
    Server,
    /// Its process runs and does not serve. It may wake up: stop it before anything else takes its place.
    Hung,
    /// Neither it nor its host answers, and a balancer's checks fail. It may still run: fence it before anything else takes its place.
    Unreachable,
}

/// What a monitor tells. Stable names; new kinds may come. Its [`Display`](fmt::Display) is a sentence for people.
///
/// # Examples
///
/// ```
/// use ha_core::machine::monitor::MonitorEvent;
///
/// fn page(event: &MonitorEvent) -> Option<String> {
///     match event {
///         MonitorEvent::NodeLost { .. } | MonitorEvent::SiteLost { .. } | MonitorEvent::Flapping { .. } => {
///             Some(event.to_string())
///         }
///         _ => None, // new kinds may come
///     }
/// }
/// let cleared = MonitorEvent::Cleared { node: "esb1".into() };
/// assert_eq!((cleared.kind(), page(&cleared)), ("cleared", None));
/// assert_eq!(cleared.to_string(), "node esb1 serves: the doubts are over");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "event")]
#[non_exhaustive]
pub enum MonitorEvent {
    /// Nobody has seen a node serve for half of `dead_after`, and not enough observers have agreed for long enough.
    Suspected {
        /// Which node.
        node: String,
        /// Who says what.
        evidence: Vec<Testimony>,
    },
    /// A node that was suspected, disputed or unobserved has served for `dead_after`, in the eyes of all who answer.
    Cleared {
        /// Which node.
        node: String,
    },
    /// Observers have contradicted each other for `dead_after`: nothing is done. Look at the network between them.
    Disputed {
        /// Which node.
        node: String,
        /// Who says what.
        evidence: Vec<Testimony>,
    },
    /// For `dead_after` nobody has answered for a node: nothing is known of it.
    Unobserved {
        /// Which node.
        node: String,
    },
    /// A node is lost.
    NodeLost {
        /// Which node.
        node: String,
        /// Its failure domain.
        domain: String,
        /// How.
        loss: Loss,
        /// Who says what.
        evidence: Vec<Testimony>,
        /// Milliseconds from the first of the answers that led to this.
        detected_after_ms: u64,
    },
    /// A lost node serves again, for `recover_after`. It is not taken back by itself: a person or a procedure tests it first.
    Returned {
        /// Which node.
        node: String,
        /// Milliseconds since it was lost.
        lost_for_ms: u64,
    },
    /// A node was lost once more than `flap_limit` allows: it is lost, and left to a person until it is taken back.
    Flapping {
        /// Which node.
        node: String,
        /// Its failure domain.
        domain: String,
        /// How often it was lost inside the window.
        losses: u32,
        /// The window in milliseconds.
        window_ms: u64,
        /// Who says what.
        evidence: Vec<Testimony>,
    },
    /// For `dead_after` more than half of the failure domains have given no answer: this process may be the one that is cut off. No
    /// verdict is given, from the first moment on. Look at its network, and ask from another place.
    SelfSuspect {
        /// How many failure domains give no answer.
        silent: u32,
        /// Of how many.
        of: u32,
    },
    /// Enough of the failure domains have answered for `dead_after`: verdicts are given again.
    SelfCleared,
    /// This process was stalled: what it had seen before counts for nothing.
    Stalled {
        /// How late it was, in milliseconds.
        late_ms: u64,
    },
    /// A whole site is lost. This always needs a person's word: it may be cut off and serve others.
    SiteLost {
        /// Which site.
        site: String,
        /// Its failure domains.
        domains: Vec<String>,
        /// Milliseconds since none of its nodes was seen alive.
        detected_after_ms: u64,
    },
    /// A procedure should be run, as the policy has it.
    Proposed {
        /// Which: `outage`.
        procedure: String,
        /// The nodes that are lost.
        nodes: Vec<String>,
        /// Their failure domains.
        domains: Vec<String>,
        /// Whether the policy lets it run without asking. Where not, a person decides. The procedure may need a person all the
        /// same, as where a node cannot be fenced.
        act: bool,
    },
    /// Events were lost here, since they were not taken in time.
    Missed {
        /// How many.
        events: u64,
    },
}

impl MonitorEvent {
    /// Names its kind, as its JSON does under the key `event`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Suspected { .. } => "suspected",
            Self::Cleared { .. } => "cleared",
            Self::Disputed { .. } => "disputed",
            Self::Unobserved { .. } => "unobserved",
            Self::NodeLost { .. } => "node-lost",
            Self::Returned { .. } => "returned",
            Self::Flapping { .. } => "flapping",
            Self::SelfSuspect { .. } => "self-suspect",
            Self::SelfCleared => "self-cleared",
            Self::Stalled { .. } => "stalled",
            Self::SiteLost { .. } => "site-lost",
            Self::Proposed { .. } => "proposed",
            Self::Missed { .. } => "missed",
        }
    }
}

impl fmt::Display for Testimony {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.observer, self.saw)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "its process is gone",
            Self::Hung => "its process runs and does not serve",
            Self::Unreachable => "its host does not answer, and it may still run",
        })
    }
}

impl fmt::Display for MonitorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspected { node, evidence } => {
                write!(f, "node {node} is suspected: not enough observers agree yet ({})", list(evidence))
            }
            Self::Cleared { node } => write!(f, "node {node} serves: the doubts are over"),
            Self::Disputed { node, evidence } => write!(
                f,
                "observers contradict each other about node {node} ({}): nothing is done; look at the network between them",
                list(evidence)
            ),
            Self::Unobserved { node } => write!(f, "node {node} is not observed: nobody answers for it"),
            Self::NodeLost { node, domain, loss, evidence, detected_after_ms } => write!(
                f,
                "node {node} in failure domain {domain} is lost: {loss} ({}); detected after {detected_after_ms} ms",
                list(evidence)
            ),
            Self::Returned { node, lost_for_ms } => write!(
                f,
                "node {node} serves again after {lost_for_ms} ms; it stays in quarantine until a person or a procedure takes it back"
            ),
            Self::Flapping { node, domain, losses, window_ms, evidence } => write!(
                f,
                "node {node} in failure domain {domain} is flapping: lost {losses} times in {window_ms} ms ({}); a person decides",
                list(evidence)
            ),
            Self::SelfSuspect { silent, of } => write!(
                f,
                "{silent} of {of} failure domains give no answer at once: this monitor may be cut off, and gives no verdict; check \
                 its network and ask from another place"
            ),
            Self::SelfCleared => f.write_str("enough failure domains answer: verdicts are given again"),
            Self::Stalled { late_ms } => {
                write!(f, "this monitor was stalled for {late_ms} ms: what it saw before that is not used")
            }
            Self::SiteLost { site, domains, detected_after_ms } => write!(
                f,
                "site {site} is lost (failure domains {}): no sign of life for {detected_after_ms} ms; a person decides",
                domains.join(", ")
            ),
            Self::Proposed { procedure, nodes, domains, act } => {
                let (nodes, domains) = (nodes.join(", "), domains.join(", "));
                let whose = if *act { "the policy lets it run" } else { "a person decides" };
                write!(f, "procedure {procedure} is proposed for nodes {nodes} in failure domains {domains}: {whose}")
            }
            Self::Missed { events } => write!(f, "{events} events were not taken in time"),
        }
    }
}

fn list(evidence: &[Testimony]) -> String {
    evidence.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
