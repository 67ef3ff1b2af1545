//! The conformance suite on the embedded balancer. The truth is read past [`LocalBalancer`]: from the raw admin socket,
//! and from requests of real clients.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{LoadBalancer, Weight};
use ha_core::state::MemberKind;
use ha_core::topology::Name;
use ha_local::{EmbeddedBalancer, LocalBalancer};
use ha_testkit::conformance::balancer::{Ability, Fixture, HeldRequest, Subject, Trouble, Truth, WaitingRequest};
use ha_testkit::conformance::{Breach, Origins, Wire, WireEnd};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::sleep;

struct Embedded;

#[async_trait]
impl Fixture for Embedded {
    fn name(&self) -> String {
        "the embedded balancer".into()
    }

    fn can(&self, ability: Ability) -> bool {
        // Its admin socket has no levels, a write and its read-back are one question, a restart cuts what it carries, and nobody
        // waits in front of it.
        let denied = Ability::Fail(Trouble::Denied);
        ![denied, Ability::Fail(Trouble::IgnoredWrite), Ability::OldRequests, Ability::Queue].contains(&ability)
    }

    async fn fresh(&self, pool: &Name, members: &[Name]) -> Result<Box<dyn Subject>, Breach> {
        let dir = tempfile::tempdir()?;
        let origins = Origins::start(members).await?;
        let socket = dir.path().join("admin.sock");
        let running = start(pool, members, &origins, ([127, 0, 0, 1], 0).into(), &socket).await?;
        let here = dir.path().join("wire.sock");
        let writes = |line: &str| line.contains("set-admin") || line.contains("set-weight");
        let wire = Wire::start(WireEnd::Unix(here.clone()), WireEnd::Unix(socket.clone()), writes).await?;
        Ok(Box::new(EmbeddedSubject {
            balancer: Arc::new(LocalBalancer::new(here)),
            address: running.address(),
            running: Mutex::new(Some(running)),
            pool: pool.clone(),
            members: members.to_vec(),
            origins,
            wire,
            socket,
            _dir: dir,
        }))
    }
}

struct EmbeddedSubject {
    balancer: Arc<LocalBalancer>,
    running: Mutex<Option<EmbeddedBalancer>>,
    address: SocketAddr,
    pool: Name,
    members: Vec<Name>,
    origins: Origins,
    wire: Wire,
    socket: PathBuf,
    _dir: TempDir,
}

async fn start(
    pool: &Name,
    members: &[Name],
    origins: &Origins,
    listen: SocketAddr,
    socket: &std::path::Path,
) -> Result<EmbeddedBalancer, Breach> {
    let mut builder = EmbeddedBalancer::builder(pool.clone());
    for member in members {
        builder = builder.with_member(member.clone(), origins.address(member)?, MemberKind::Primary);
    }
    Ok(builder.start(listen, socket).await?)
}

#[async_trait]
impl Subject for EmbeddedSubject {
    fn balancer(&self) -> Arc<dyn LoadBalancer> {
        self.balancer.clone()
    }

    async fn truth(&self, member: &Name) -> Result<Option<Truth>, Breach> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        let question = json!({ "op": "member", "pool": self.pool.as_str(), "member": member.as_str() });
        stream.write_all(format!("{question}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let Some(found) = answer.get("member") else { return Ok(None) };
        let weight = u16::try_from(found["weight"].as_u64().unwrap()).unwrap();
        Ok(Some(Truth::new(serde_json::from_value(found["admin"].clone()).unwrap(), Weight::new(weight))))
    }

    async fn request(&self) -> Result<Option<Name>, Breach> {
        self.origins.request(self.address).await
    }

    async fn hold(&self, member: &Name) -> Result<Box<dyn HeldRequest>, Breach> {
        self.origins.hold(self.address, member).await
    }

    async fn queue(&self) -> Result<Box<dyn WaitingRequest>, Breach> {
        Err(Breach::new("it lets nobody wait"))
    }

    async fn restart(&self) -> Result<(), Breach> {
        let mut running = self.running.lock().await;
        drop(running.take());
        // The port is free when the tasks of the first have ended.
        let mut tries = 0;
        *running = loop {
            match start(&self.pool, &self.members, &self.origins, self.address, &self.socket).await {
                Ok(started) => break Some(started),
                Err(breach) if tries == 500 => return Err(breach),
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
            tries += 1;
        };
        Ok(())
    }

    async fn trouble(&self, trouble: Option<Trouble>) -> Result<(), Breach> {
        self.wire.set(trouble).await
    }
}

ha_testkit::conformance!(
    balancer,
    Embedded,
    skips = [
        "fixture: denied",
        "fixture: ignored write",
        "fixture: old requests",
        "fixture: queue",
        "capability: closes_sessions"
    ]
);
