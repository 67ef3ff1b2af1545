//! Servers of other backends that are, or may be, the same servers as the members of a pool: whoever drains the pool does not
//! drain those, and what they carry is lost with the server.

use ha_core::backend::ConfigFinding;

/// Why a server of another backend may be a member of the pool.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Same {
    /// It has a member's address and port.
    Address,
    /// It has a member's name.
    Name,
    /// It has a member's address, and another port. Of loopback addresses that says nothing.
    Host,
}

/// A server by its name and its address as it is written, `host:port`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'s> {
    pub(crate) name: &'s str,
    pub(crate) address: &'s str,
}

impl Same {
    /// Tells whether requests can be lost by it; else it may be by intent.
    pub(crate) fn is_danger(self) -> bool {
        self != Self::Host
    }

    pub(crate) fn message(self, server: &str, member: &str) -> String {
        let what = match self {
            Self::Address => format!("server {server} has the address and port of member {member}"),
            Self::Name => format!("server {server} has the name of member {member}"),
            Self::Host => format!("server {server} has the address of member {member}, on another port"),
        };
        format!("{what}, and no [[pool]] declares this backend: it is not drained, and what it carries is lost")
    }
}

pub(crate) const RULE: &str = ConfigFinding::LEFT_OUT;
pub(crate) const FIX: &str =
    "declare it as a [[pool]] of the node, or accept = [\"left-out\"] where it carries nothing";

/// Finds the member that a server of another backend may be, by the strongest sign.
pub(crate) fn same<'m>(server: Known<'_>, members: &[Known<'m>]) -> Option<(Same, &'m str)> {
    let of = |member: &Known<'m>| {
        let (here, there) = (split(server.address), split(member.address));
        let same = match (here, there) {
            (Some(here), Some(there)) if here == there && here.1.is_some() => Same::Address,
            _ if server.name == member.name => Same::Name,
            (Some(here), Some(there)) if here.0 == there.0 && !is_loopback(&here.0) => Same::Host,
            _ => return None,
        };
        Some((same, member.name))
    };
    members.iter().filter_map(of).min_by_key(|(same, _)| *same as u8)
}

/// Returns an address in a form that can be compared, where it has a host and a port.
pub(crate) fn written_address(address: &str) -> Option<(String, &str)> {
    split(address).and_then(|(host, port)| Some((host, port?)))
}

/// Splits an address into host and port; `None` where it cannot be compared: a variable, a socket of another kind.
fn split(address: &str) -> Option<(String, Option<&str>)> {
    let address = ["ipv4@", "ipv6@", "tcp4@", "tcp6@", "tcp@"]
        .into_iter()
        .find_map(|prefix| address.strip_prefix(prefix))
        .unwrap_or(address);
    if address.is_empty() || address.contains(['$', '@', '/']) {
        return None;
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        Some((host, "")) => (host, None),
        Some(_) | None => (address, None),
    };
    Some((host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase(), port))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_port_or_the_name_are_dangers_and_the_address_alone_is_advice() {
        let members =
            [Known { name: "esb1", address: "10.0.0.1:8280" }, Known { name: "esb2", address: "127.0.0.1:8280" }];
        let cases = [
            ("mgmt1", "10.0.0.1:8280", Some((Same::Address, "esb1"))),
            ("mgmt1", "ipv4@10.0.0.1:8280", Some((Same::Address, "esb1"))),
            ("esb1", "10.0.0.9:9443", Some((Same::Name, "esb1"))),
            ("esb2", "10.0.0.1:8280", Some((Same::Address, "esb1"))),
            ("mgmt1", "10.0.0.1:9443", Some((Same::Host, "esb1"))),
            ("mgmt1", "10.0.0.1", Some((Same::Host, "esb1"))),
            ("mgmt2", "127.0.0.1:9443", None),
            ("mgmt2", "127.0.0.1:8280", Some((Same::Address, "esb2"))),
            ("mgmt1", "10.0.0.2:8280", None),
            ("mgmt1", "unix@/run/esb1.sock", None),
            ("mgmt1", "${ESB1}:8280", None),
        ];
        for (name, address, expected) in cases {
            assert_eq!(same(Known { name, address }, &members), expected, "{name} {address}");
        }
        let named = [Known { name: "a", address: "ESB.example:80" }, Known { name: "b", address: "[2001:db8::1]:80" }];
        assert_eq!(same(Known { name: "c", address: "esb.example:80" }, &named), Some((Same::Address, "a")));
        assert_eq!(same(Known { name: "c", address: "2001:db8::1:80" }, &named), Some((Same::Address, "b")));
        assert_eq!(same(Known { name: "c", address: "[::1]:80" }, &[Known { name: "d", address: "[::1]:81" }]), None);
    }
}
