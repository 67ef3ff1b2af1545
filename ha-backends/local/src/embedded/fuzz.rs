use std::net::SocketAddr;

use ha_core::state::MemberKind;
use ha_core::topology::{InvalidName, Name};

use super::admin::reply_to;
use super::servers::Servers;
use crate::wire::{Reply, Request};

/// An embedded balancer of a pool `esb` with two servers, `esb1` and `esb2`, without sockets.
#[derive(Debug)]
pub struct Embedded {
    servers: Servers,
}

impl Embedded {
    /// Puts the servers together.
    ///
    /// # Errors
    /// Never: the names are names.
    pub fn new() -> Result<Self, InvalidName> {
        let mut servers = Servers::new(Name::new("esb")?);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        servers.add(Name::new("esb1")?, nowhere, MemberKind::Primary, false);
        servers.add(Name::new("esb2")?, nowhere, MemberKind::Backup, false);
        Ok(Self { servers })
    }

    /// Answers one line: whether it was refused, and the answer.
    pub fn answer(&self, line: &str) -> (bool, String) {
        let reply = reply_to(line, &self.servers);
        (matches!(reply, Reply::Error { .. }), serde_json::to_string(&reply).unwrap_or_default())
    }
}

/// Tells whether a line is a question, and the epoch with which it would change something.
pub fn question(line: &str) -> Option<Option<u64>> {
    Some(serde_json::from_str::<Request>(line).ok()?.epoch())
}

/// Reads an answer as its asker does, and writes it again.
pub fn reply(line: &str) -> Option<String> {
    let reply = serde_json::from_str::<Reply>(line).ok()?;
    serde_json::to_string(&reply).ok()
}
