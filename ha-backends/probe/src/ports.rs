use std::io;

use ha_core::backend::{ErrorKind, StepError};
use ha_core::topology::{Reported, SettingError, Settings};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::answer::OpContext;

/// Ports that must accept connections before a server can be ready.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports(Vec<String>);

/// The state of ports.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum PortState {
    Open,
    /// Some refuse connections, as text.
    Partly(String),
    Closed,
}

impl Ports {
    /// Reads the setting `ports`: a list of `host:port`.
    pub(crate) fn read(settings: &mut Settings<'_>) -> Result<Self, Reported> {
        let ports = settings.texts("ports")?;
        settings.keep(Self::parse(ports))
    }

    fn parse(ports: Vec<String>) -> Result<Self, SettingError> {
        let wrong = |text: &str| SettingError::new("ports", format!("{text:?} is no address: give host:port"));
        for text in &ports {
            let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong(text))?;
            let whole = host.starts_with('[') == host.ends_with(']') && (host.starts_with('[') || !host.contains(':'));
            let port: u16 = port.parse().map_err(|_| wrong(text))?;
            if host.is_empty() || !whole || port == 0 {
                return Err(wrong(text));
            }
        }
        Ok(Self(ports))
    }

    /// As [`read`](Self::read); at least one must be given.
    pub(crate) fn require(settings: &mut Settings<'_>) -> Result<Self, Reported> {
        let ports = Self::read(settings).map(|ports| if ports.0.is_empty() { None } else { Some(ports) });
        settings.require("ports", ports)
    }

    pub(crate) fn names(&self) -> String {
        self.0.join(", ")
    }

    /// Connects to all of them at once. No ports are open ones.
    pub(crate) async fn look(&self, asked: OpContext<'_>) -> Result<PortState, StepError> {
        let mut connecting = JoinSet::new();
        for address in &self.0 {
            let address = address.clone();
            let connect = async move {
                let connected = TcpStream::connect(address.as_str()).await;
                (address, connected.map(drop))
            };
            connecting.spawn(connect.in_current_span());
        }
        let mut closed = Vec::new();
        while let Some(ended) = connecting.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((address, Err(error))) if error.kind() == io::ErrorKind::ConnectionRefused => closed.push(address),
                Ok((address, Err(error))) => {
                    return Err(asked.failed(ErrorKind::Unreachable, format!("{address}: {error}")));
                }
                Err(error) => return Err(asked.failed(ErrorKind::Unreachable, error.to_string())),
            }
        }
        closed.sort();
        Ok(match closed.len() {
            0 => PortState::Open,
            all if all == self.0.len() => PortState::Closed,
            _ => PortState::Partly(format!("nothing listens on {}", closed.join(", "))),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use ha_core::topology::{Component, Name, Setting};

    use super::*;

    fn ports(list: &[&str]) -> Result<Ports, ha_core::topology::SettingErrors> {
        let mut component = Component::new(Name::new("tcp").unwrap());
        let list = list.iter().map(ToString::to_string).collect();
        component.settings.insert("ports".into(), Setting::List(list));
        let mut settings = Settings::of(&component);
        let ports = Ports::read(&mut settings);
        settings.finish(ports)
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert!(ports(&["esb1:8243", "10.0.0.1:1", "[::1]:8243"]).is_ok());
        for wrong in ["8243", ":8243", "esb1", "esb1:0", "esb1:65536", "::1:8243", "[::1:8243", "esb1:"] {
            let error = ports(&[wrong]).unwrap_err().to_string();
            assert!(error.contains("setting ports") && error.contains("host:port"), "{error}");
        }
    }

    #[tokio::test]
    async fn all_ports_must_accept_and_those_that_refuse_are_named() {
        let asked = OpContext { operation: "ready", target: "esb1" };
        let open = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().to_string();
        let open_too = open.local_addr().unwrap().to_string();
        assert_eq!(ports(&[&open_too]).unwrap().look(asked).await.unwrap(), PortState::Open);
        assert_eq!(ports(&[&closed]).unwrap().look(asked).await.unwrap(), PortState::Closed);
        let partly = ports(&[&open_too, &closed]).unwrap().look(asked).await.unwrap();
        assert_eq!(partly, PortState::Partly(format!("nothing listens on {closed}")));
        assert_eq!(Ports::default().look(asked).await.unwrap(), PortState::Open);
    }
}
