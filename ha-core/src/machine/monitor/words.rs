use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::topology::{BalancerIx, NodeIx};

/// Who says something of a node. Balancers, the probe and the host are the three kinds of observers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Observer {
    /// A balancer instance, by its own health checks.
    Balancer(BalancerIx),
    /// The node's probe: its traffic port, asked directly.
    Probe,
    /// The node's host: whether the server's process exists.
    Host,
}

/// What an observer saw of a node.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Saw {
    /// It serves: a balancer's checks pass, or the probe finds it ready.
    Alive,
    /// Its process runs, and that is all: a host cannot tell whether it serves, and a probe was told that it does not.
    Running,
    /// The observer answered, and cannot tell: a balancer that does not check it, or whose checks pass in part.
    Unsure,
    /// A balancer has it in drain or in maintenance: it is not expected to serve.
    HeldOut,
    /// It is down: a balancer's checks fail, its port is closed, or its process does not exist.
    Dead,
    /// No answer came: of a balancer this says something of the balancer, of probe and host it may be the node, or the way to it.
    NoAnswer,
}

impl fmt::Display for Saw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alive => "up",
            Self::Running => "runs, not known to serve",
            Self::Unsure => "cannot tell",
            Self::HeldOut => "out of traffic",
            Self::Dead => "down",
            Self::NoAnswer => "no answer",
        })
    }
}

/// What is asked at one time.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Watchpoint {
    /// A balancer instance, about all its members.
    Balancer(BalancerIx),
    /// The probe of a node.
    Probe(NodeIx),
    /// The host of a node.
    Host(NodeIx),
}

/// What a monitor wants asked now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Ask {
    /// Whom.
    pub of: Watchpoint,
    /// When it was given out; it names this question.
    pub asked_at: Duration,
    /// How long the answer may take. Where none has come by then, say so with an empty [`Input::Answered`].
    pub within: Duration,
}

/// What a monitor is told.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// A question was answered, or its time is over.
    Answered {
        /// Which.
        ask: Ask,
        /// What was seen of which node. Nodes that it could speak of and does not are [`Saw::NoAnswer`].
        saw: Vec<(NodeIx, Saw)>,
    },
    /// A person or a procedure has taken a lost node back: it is watched like any other again.
    TakenBack {
        /// Which.
        node: NodeIx,
    },
}
