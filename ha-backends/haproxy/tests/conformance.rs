//! The conformance suites on real HAProxy in three shapes. The truth is read past the backend: from HAProxy's raw unix
//! socket, and from requests of real clients.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Admin, LoadBalancer, Membership, Weight};
use ha_core::topology::Name;
use ha_haproxy::{Endpoint, HaProxy, HaProxyConfig};
use ha_lab::fake_carbon::Relaunch;
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};
use ha_testkit::conformance::balancer::{Ability, Fixture, HeldRequest, Subject, Trouble, Truth, WaitingRequest};
use ha_testkit::conformance::membership::{MembershipFixture, MembershipSubject};
use ha_testkit::conformance::{Breach, Origins, Wire, WireEnd};

ha_lab::roles!();

/// How HAProxy runs and is driven.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    UnixSocket,
    TcpSocket,
    MasterWorker,
}

#[async_trait]
impl Fixture for Shape {
    fn name(&self) -> String {
        format!("HAProxy as {self:?}")
    }

    fn can(&self, _ability: Ability) -> bool {
        true
    }

    async fn fresh(&self, pool: &Name, members: &[Name]) -> Result<Box<dyn Subject>, Breach> {
        Ok(Box::new(Driven::start(*self, pool, members).await?))
    }
}

#[async_trait]
impl MembershipFixture for Shape {
    fn name(&self) -> String {
        Fixture::name(self)
    }

    fn can(&self, ability: Ability) -> bool {
        Fixture::can(self, ability)
    }

    async fn fresh(&self, pool: &Name, members: &[Name]) -> Result<Box<dyn MembershipSubject>, Breach> {
        Ok(Box::new(Driven::start(*self, pool, members).await?))
    }
}

/// One HAProxy of the lab, driven over a wire that can fail.
struct Driven {
    balancer: Arc<HaProxy>,
    wire: Wire,
    process: Arc<HaProxyProcess>,
    origins: Origins,
    pool: Name,
    spare: Name,
    _lab: Lab,
}

impl Driven {
    async fn start(shape: Shape, pool: &Name, members: &[Name]) -> Result<Self, Breach> {
        let lab = Lab::open(Relaunch::test()?)?;
        let spare = Name::new("spare1").unwrap();
        let origins = Origins::start(&[members, std::slice::from_ref(&spare)].concat()).await?;
        let row =
            |member: &Name| Ok(ServerSpec::new(member.as_str(), origins.address(member)?.port()).with_weight(100));
        let rows = members.iter().map(row).collect::<Result<Vec<_>, Breach>>()?;
        let operator = lab.path().join("operator.sock");
        let mut spec = HaProxySpec::new(pool.as_str(), rows)
            .without_checks()
            .with_global_line(format!("stats socket {} level operator", operator.display()));
        spec = match shape {
            Shape::UnixSocket => spec,
            Shape::TcpSocket => spec.with_tcp_admin(),
            Shape::MasterWorker => spec.with_master(),
        };
        let process = lab.haproxy("lb1", &spec)?;
        let (here, there, endpoint) = match process.tcp_admin() {
            Some(there) => {
                let here = SocketAddr::from(([127, 0, 0, 1], lab.free_port()?));
                (WireEnd::Tcp(here), WireEnd::Tcp(there), Endpoint::Tcp(here.to_string()))
            }
            None => {
                let here: PathBuf = lab.path().join("wire.sock");
                (WireEnd::Unix(here.clone()), WireEnd::Unix(process.socket().into()), Endpoint::Unix(here))
            }
        };
        let wire = Wire::with_denying(here, there, Some(WireEnd::Unix(operator)), writes).await?;
        let mut config = HaProxyConfig::at(endpoint);
        if let Some(master) = process.master_socket() {
            config = config.with_master(Endpoint::Unix(master.into()));
        }
        let (balancer, process, pool) = (Arc::new(HaProxy::new(config)), Arc::new(process), pool.clone());
        Ok(Self { balancer, wire, process, origins, pool, spare, _lab: lab })
    }
}

fn writes(line: &str) -> bool {
    ["set server", "shutdown sessions", "add server", "del server"].iter().any(|command| line.contains(command))
}

#[async_trait]
impl Subject for Driven {
    fn balancer(&self) -> Arc<dyn LoadBalancer> {
        self.balancer.clone()
    }

    async fn truth(&self, member: &Name) -> Result<Option<Truth>, Breach> {
        let table = self.process.ask(&format!("show servers state {}", self.pool))?;
        let rows = table.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let Some(row) = rows.into_iter().find(|row| row.get(3) == Some(&member.as_str())) else { return Ok(None) };
        let admin = match row[6].parse::<u32>().unwrap() {
            bits if bits & 0x23 != 0 => Admin::Maint,
            bits if bits & 0x18 != 0 => Admin::Drain,
            _ => Admin::Ready,
        };
        Ok(Some(Truth::new(admin, Weight::new(row[7].parse().unwrap()))))
    }

    async fn request(&self) -> Result<Option<Name>, Breach> {
        self.origins.request(self.process.address()).await
    }

    async fn hold(&self, member: &Name) -> Result<Box<dyn HeldRequest>, Breach> {
        self.origins.hold(self.process.address(), member).await
    }

    async fn queue(&self) -> Result<Box<dyn WaitingRequest>, Breach> {
        let rows = || -> Result<Vec<(String, u64, u64)>, Breach> {
            let stat = self.process.ask(&format!("show stat {} -1 -1", self.pool))?;
            let rows = stat.lines().map(|line| line.split(',').map(String::from).collect::<Vec<_>>());
            let rows = rows.filter(|row| row.len() > 4 && row[0] == self.pool.as_str() && row[1] != "FRONTEND");
            Ok(rows.map(|row| (row[1].clone(), row[2].parse().unwrap_or(0), row[4].parse().unwrap_or(0))).collect())
        };
        for (member, _, sessions) in rows()?.into_iter().filter(|(name, ..)| name != "BACKEND") {
            self.process.ask(&format!("set maxconn server {}/{member} {sessions}", self.pool))?;
        }
        let waits = self.origins.wait(self.process.address()).await?;
        for _ in 0..400 {
            if rows()?.iter().any(|(name, queued, _)| name == "BACKEND" && *queued > 0) {
                return Ok(waits);
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Err(Breach::new("no request waits in front of the pool"))
    }

    async fn restart(&self) -> Result<(), Breach> {
        // A reload: the old process goes on with what it has.
        let process = self.process.clone();
        Ok(tokio::task::spawn_blocking(move || process.reload()).await.unwrap()?)
    }

    async fn trouble(&self, trouble: Option<Trouble>) -> Result<(), Breach> {
        self.wire.set(trouble).await
    }
}

#[async_trait]
impl MembershipSubject for Driven {
    fn membership(&self) -> Arc<dyn Membership> {
        self.balancer.clone()
    }

    fn spare(&self) -> (Name, SocketAddr) {
        (self.spare.clone(), self.origins.address(&self.spare).unwrap())
    }
}

mod over_a_unix_socket {
    use super::Shape;

    ha_testkit::conformance!(balancer, Shape::UnixSocket, skips = ["capability: sees_older_generations"]);
}

mod over_a_tcp_socket {
    use super::Shape;

    ha_testkit::conformance!(balancer, Shape::TcpSocket, skips = ["capability: sees_older_generations"]);
}

mod with_master_and_workers {
    use super::Shape;

    // Before HAProxy 2.5 older workers show nothing.
    ha_testkit::conformance!(balancer, Shape::MasterWorker, skips = ["capability: sees_older_generations"]);
}

mod rows_of_a_single_process {
    use super::Shape;

    ha_testkit::conformance!(membership, Shape::UnixSocket, skips = ["capability: fences", "capability: adds_members"]);
}

mod rows_of_a_worker {
    use super::Shape;

    ha_testkit::conformance!(
        membership,
        Shape::MasterWorker,
        skips = ["capability: fences", "capability: adds_members"]
    );
}
