use std::fmt;

use serde::{Deserialize, Serialize};

/// How a balancer finds out whether a member is well, as it is configured.
///
/// # Examples
///
/// ```
/// use ha_core::backend::MemberCheck;
///
/// let check = MemberCheck::Asks { port: Some(9201), path: Some("/healthz".into()) };
/// assert_eq!(check.to_string(), "asks port 9201 for /healthz");
/// assert_eq!(MemberCheck::Connects { port: None }.to_string(), "connects to a port that it does not say");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum MemberCheck {
    /// It does not: a dead server keeps its share of the requests.
    None,
    /// It looks whether a port accepts connections, which that of a frozen server does.
    Connects {
        /// The port; `None` where it is not told.
        port: Option<u16>,
    },
    /// It asks for a page over HTTP.
    Asks {
        /// The port; `None` where it is not told.
        port: Option<u16>,
        /// The path, with its query; `None` where it is not told.
        path: Option<String>,
    },
    /// Something else: an agent, a script, another member whose state it follows.
    Other {
        /// What, for people.
        what: String,
    },
}

impl fmt::Display for MemberCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |port: &Option<u16>| {
            port.map_or_else(|| "a port that it does not say".into(), |port| format!("port {port}"))
        };
        match self {
            Self::None => f.write_str("checks nothing"),
            Self::Connects { port } => write!(f, "connects to {}", named(port)),
            Self::Asks { port, path: Some(path) } => write!(f, "asks {} for {path}", named(port)),
            Self::Asks { port, path: None } => write!(f, "asks {} for a page that it does not say", named(port)),
            Self::Other { what } => f.write_str(what),
        }
    }
}
