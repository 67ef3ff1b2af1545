use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, DetachedWork, Ended, ErrorKind, Fencing, Host, HostCapabilities, HostFiles, HostIdentity, Incarnation,
    Installed, ObserveHost, Probe, Ran, Ready, RunCommand, ServerProcess, StepError,
};
use ha_core::state::{Generation, LeaseEpoch, ServerDomain};
use tokio::time::{Instant, sleep};

use super::fault::{after, before};
use super::model::{FakeNode, Life, World};
use super::{Controller, Fault, Operation};

/// A host of the simulated world. Its start and stop return at once, as the scripts of real servers do.
pub struct FakeHost {
    world: World,
    controller: Controller,
    node: String,
}

/// A probe of the simulated world.
pub struct FakeProbe {
    world: World,
    controller: Controller,
    node: String,
}

const STOP_TIME: Duration = Duration::from_millis(400);

impl FakeHost {
    /// Makes the host of `node`, as `controller` reaches it.
    pub fn new(world: World, controller: Controller, node: String) -> Self {
        Self { world, controller, node }
    }

    async fn with<T>(&self, operation: &'static str, act: impl FnOnce(&mut FakeNode) -> T) -> Result<T, StepError> {
        self.controller.round_trip().await;
        let mut inner = self.world.lock();
        match inner.nodes.get_mut(&self.node) {
            Some(node) if !node.host_lost => Ok(act(node)),
            Some(_) | None => {
                Err(StepError::new(ErrorKind::Unreachable, operation, self.node.as_str()).without_effect())
            }
        }
    }
}

impl fmt::Debug for FakeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeHost").field("node", &self.node).finish_non_exhaustive()
    }
}

#[async_trait]
impl ObserveHost for FakeHost {
    fn capabilities(&self) -> HostCapabilities {
        HostCapabilities::new(Fencing::Guarded, false)
    }

    async fn identify(&self) -> Result<HostIdentity, StepError> {
        self.with("identify", |_| HostIdentity::new(self.node.as_str(), "1").with_clock_ahead_ms(0)).await
    }

    async fn process(&self) -> Result<ServerProcess, StepError> {
        self.with("process", |node| match &node.process {
            Some(life) => ServerProcess::Running(Incarnation::new(life.number.to_string())),
            None => ServerProcess::Stopped,
        })
        .await
    }

    async fn installed(&self) -> Result<Installed, StepError> {
        let damaged = StepError::new(ErrorKind::Protocol, "installed", self.node.as_str()).without_effect();
        self.with("installed", |node| {
            if node.damaged { Err(damaged) } else { Ok(Installed::Release(node.installed.as_str().into())) }
        })
        .await?
    }

    async fn stop_budget(&self) -> Result<Option<Duration>, StepError> {
        self.with("stop budget", |node| node.stop_budget).await
    }
}

#[async_trait]
impl Host for FakeHost {
    fn files(&self) -> Option<&dyn HostFiles> {
        None
    }

    fn work(&self) -> Option<&dyn DetachedWork> {
        None
    }

    async fn start(&self, epoch: LeaseEpoch, domain: ServerDomain) -> Result<Applied, StepError> {
        self.controller.lives().await;
        self.world.fence(epoch.number(), "start", &self.node)?;
        let fault = self.world.take_fault(Operation::Start, &self.node);
        if !before(fault, "start", &self.node)? {
            return Ok(Applied::Applied);
        }
        let number = {
            let mut inner = self.world.lock();
            inner.lives += 1;
            inner.lives
        };
        let applied = self
            .with("start", |node| {
                if node.process.is_some() {
                    return Applied::AlreadySo;
                }
                let ready_at = Instant::now() + node.start_delay;
                node.process = Some(Life { number, release: node.installed.clone(), ready_at });
                node.stopping = false;
                node.domain = domain;
                Applied::Applied
            })
            .await?;
        after(fault, "start", &self.node).map(|()| applied)
    }

    async fn stop(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        self.controller.lives().await;
        self.world.fence(epoch.number(), "stop", &self.node)?;
        let fault = self.world.take_fault(Operation::Stop, &self.node);
        if !before(fault, "stop", &self.node)? {
            return Ok(Applied::Applied);
        }
        let number = self
            .with("stop", |node| {
                node.stopping = node.process.is_some();
                node.process.as_ref().map(|life| life.number)
            })
            .await?;
        let Some(number) = number else { return Ok(Applied::AlreadySo) };
        let (world, name) = (self.world.clone(), self.node.clone());
        tokio::spawn(async move {
            sleep(STOP_TIME).await;
            if let Some(node) = world.lock().nodes.get_mut(&name)
                && node.process.as_ref().is_some_and(|life| life.number == number)
            {
                node.process = None;
            }
        });
        after(fault, "stop", &self.node).map(|()| Applied::Applied)
    }

    async fn kill(&self, epoch: LeaseEpoch, life: Incarnation) -> Result<Applied, StepError> {
        self.controller.lives().await;
        self.world.fence(epoch.number(), "kill", &self.node)?;
        self.with("kill", |node| match node.process.take_if(|found| found.number.to_string() == life.as_str()) {
            Some(_) => Applied::Applied,
            None => Applied::AlreadySo,
        })
        .await
    }

    async fn run(&self, epoch: LeaseEpoch, command: RunCommand) -> Result<Ran, StepError> {
        self.controller.lives().await;
        self.world.fence(epoch.number(), "run", &self.node)?;
        let fault = self.world.take_fault(Operation::Run, &self.node);
        if !before(fault, "run", &self.node)? {
            return Ok(Ran::new(Ended::Exited(0), "", ""));
        }
        sleep(Duration::from_millis(200)).await;
        let asked = |key: &str| command.env.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        if let Some(sequence) = asked("HA_GENERATION").and_then(|text| text.parse::<u64>().ok()) {
            let half = fault == Some(Fault::Half);
            let set = Generation::new(sequence, format!("g{sequence}"));
            self.with("run", |node| node.generation = (!half).then_some(set)).await?;
            self.world.copy();
            return after(fault, "run", &self.node).map(|()| Ran::new(Ended::Exited(i32::from(half)), "", ""));
        }
        let Some(release) = asked("HA_RELEASE") else {
            self.with("run", |_| ()).await?;
            return Ok(Ran::new(Ended::Exited(2), "", "HA_RELEASE is not set"));
        };
        let half = fault == Some(Fault::Half);
        self.with("run", |node| {
            node.damaged = half;
            node.installed = release;
            node.applied += 1;
        })
        .await?;
        if half {
            return Ok(Ran::new(Ended::Exited(1), "", "no space left on device"));
        }
        after(fault, "run", &self.node).map(|()| Ran::new(Ended::Exited(0), "", ""))
    }
}

impl FakeProbe {
    /// Makes the probe of `node`, as `controller` reaches it.
    pub fn new(world: World, controller: Controller, node: String) -> Self {
        Self { world, controller, node }
    }

    async fn look(&self, operation: &'static str) -> Result<Ready, StepError> {
        self.controller.round_trip().await;
        let inner = self.world.lock();
        let Some(node) = inner.nodes.get(&self.node) else { return Ok(Ready::Closed) };
        match &node.process {
            _ if node.host_lost => {
                Err(StepError::new(ErrorKind::Unreachable, operation, self.node.as_str()).without_effect())
            }
            Some(life) if node.is_ready() => Ok(Ready::Yes { release: life.release.as_str().into() }),
            Some(_) => Ok(Ready::NotYet("503 starting".into())),
            None => Ok(Ready::Closed),
        }
    }
}

impl fmt::Debug for FakeProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeProbe").field("node", &self.node).finish_non_exhaustive()
    }
}

#[async_trait]
impl Probe for FakeProbe {
    async fn ready(&self) -> Result<Ready, StepError> {
        self.look("ready").await
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        self.controller.lives().await;
        before(self.world.take_fault(Operation::Test, &self.node), "test", &self.node)
            .map_err(StepError::without_effect)?;
        let failed = |message: &str| {
            Err(StepError::new(ErrorKind::Conflict, "test", self.node.as_str()).with_context(message).without_effect())
        };
        match self.look("test").await? {
            Ready::Yes { release } => {
                let mut inner = self.world.lock();
                let Some(node) = inner.nodes.get_mut(&self.node) else { return failed("there is no such node") };
                if node.fails_test_of.as_deref() == Some(&*release) {
                    return failed("order 4711 came back empty");
                }
                node.pass_test();
                Ok(release)
            }
            Ready::NotYet(message) => failed(&message),
            _ => failed("the server does not serve"),
        }
    }
}
