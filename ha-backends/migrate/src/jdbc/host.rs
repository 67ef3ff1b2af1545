use std::fmt;

use super::{Driver, Result, refuse};

/// A host of a URL.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Host {
    /// Its name or address; an IPv6 address without brackets.
    pub name: String,
    /// Its port; the driver's default where the URL names none.
    pub port: u16,
    /// The named instance (SQL Server).
    pub instance: Option<String>,
    /// Whether the URL calls it a replica (MySQL, MariaDB).
    pub is_replica: bool,
    /// As it is written, for the target.
    pub(super) written: String,
}

impl Host {
    /// Reads `host`, `host:port`, `[::1]` or `[::1]:port`; an empty host is localhost.
    pub(super) fn parse(text: &str, driver: Driver) -> Result<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let Some((name, port)) = rest.split_once(']') else {
                    return refuse("the bracket [ of an IPv6 address is not closed: add ]");
                };
                if !name.contains(':') {
                    return refuse("what is in [ ] is no IPv6 address");
                }
                match (port.strip_prefix(':'), port) {
                    (Some(port), _) => (name, Some(port)),
                    (None, "") => (name, None),
                    (None, _) => return refuse("something other than a port behind the ] of an IPv6 address"),
                }
            }
            None => match text.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return refuse("an IPv6 address without brackets, or two ports: write [address]:port");
                }
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        let mut host = Self::new(name, driver)?;
        if let Some(port) = port.filter(|port| !port.is_empty()) {
            host.port = Self::port(port)?;
        }
        host.written = text.into();
        Ok(host)
    }

    /// Makes a host with the driver's port; an empty name is localhost.
    pub(super) fn new(name: &str, driver: Driver) -> Result<Self> {
        if name.contains(|sign: char| sign.is_whitespace() || ['@', '/', '?', '#', '(', ')'].contains(&sign)) {
            return refuse(
                "a host with a blank, or with one of @ / ? # ( ): write such signs of a password as %40, %2F, %3F, %23, %28, %29",
            );
        }
        let written = if name.contains(':') { format!("[{name}]") } else { name.into() };
        let name = if name.is_empty() { "localhost" } else { name };
        Ok(Self { name: name.into(), port: driver.port(), instance: None, is_replica: false, written })
    }

    pub(super) fn port(text: &str) -> Result<u16> {
        match text.parse() {
            Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
            Ok(_) | Err(_) => refuse("a port that is no number from 1 to 65535"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.name.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.name, self.port)
    }
}
