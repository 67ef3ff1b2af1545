use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, DetachedWork, Ended, ErrorKind, Fencing, Host, HostCapabilities, HostFiles, HostIdentity, Incarnation,
    Installed, ObserveHost, Probe, Ran, Ready, RunCommand, ServerProcess, StepError,
};
use ha_core::state::{Generation, LeaseEpoch, ServerDomain};
use tokio::time::{Instant, sleep};

use super::World;
use super::fault::{after, answer_late, before};
use super::model::{FakeNode, Life};
use super::{Controller, Fault, Operation};

/// A host of the simulated world. Its start and stop return at once, as the scripts of real servers do.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Host, LeaseEpoch};
/// use ha_testkit::world::{Controller, FakeHost, World};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = World::active_passive();
/// let host = FakeHost::new(world.clone(), Controller::new(), "esb1".into());
/// host.stop(LeaseEpoch::new(1)).await.unwrap();
/// tokio::time::sleep(std::time::Duration::from_secs(5)).await;
/// assert!(!world.runs("esb1"));
/// # });
/// ```
pub struct FakeHost {
    world: World,
    controller: Controller,
    node: String,
}

/// A probe of the simulated world.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Probe, Ready};
/// use ha_testkit::world::{Controller, FakeProbe, World};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let probe = FakeProbe::new(World::active_passive(), Controller::new(), "esb1".into());
/// assert_eq!(probe.ready().await.unwrap(), Ready::Yes { release: "1.0".into() });
/// # });
/// ```
pub struct FakeProbe {
    world: World,
    controller: Controller,
    node: String,
}

const STOP_TIME: Duration = Duration::from_millis(400);
const COMMAND_TIME: Duration = Duration::from_millis(200);

impl FakeHost {
    /// Makes the host of `node`, as `controller` reaches it.
    pub fn new(world: World, controller: Controller, node: String) -> Self {
        Self { world, controller, node }
    }

    async fn with<T>(&self, operation: &'static str, act: impl FnOnce(&mut FakeNode) -> T) -> Result<T, StepError> {
        self.controller.round_trip().await;
        reached(&self.world, &self.node, operation, act)
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
        self.with("identify", |_| ()).await?;
        Ok(self.world.lock().health.identity(&self.node))
    }

    async fn process(&self) -> Result<ServerProcess, StepError> {
        self.world.before_read(Operation::Process, "process", &self.node).await?;
        self.with("process", |node| match &node.process {
            Some(life) => ServerProcess::Running(Incarnation::new(life.number.to_string())),
            None => ServerProcess::Stopped,
        })
        .await
    }

    async fn installed(&self) -> Result<Installed, StepError> {
        self.world.before_read(Operation::Installed, "installed", &self.node).await?;
        let damaged = StepError::new(ErrorKind::Protocol, "installed", self.node.as_str()).without_effect();
        self.with("installed", |node| {
            if node.absent {
                Ok(Installed::Absent)
            } else if node.damaged {
                Err(damaged)
            } else {
                Ok(Installed::Release(node.installed.as_str().into()))
            }
        })
        .await?
    }

    async fn stop_budget(&self) -> Result<Option<Duration>, StepError> {
        self.with("stop budget", |node| node.stop_budget).await
    }

    async fn missing(&self, programs: &[String]) -> Result<Vec<String>, StepError> {
        let is_missing = |node: &FakeNode, program: &String| node.missing.contains(program) || program.contains('/');
        self.with("missing", |node| {
            let own = node.missing.iter().filter(|what| what.starts_with("setting "));
            let of_change = programs.iter().filter(|program| is_missing(node, program));
            own.cloned().chain(of_change.map(|program| format!("the change: there is no program {program}"))).collect()
        })
        .await
    }

    async fn ask(&self, command: RunCommand) -> Result<Ran, StepError> {
        let program = command.argv.first().cloned().unwrap_or_default();
        self.with("ask", |_| ()).await?;
        if let Some(answer) = self.world.lock().health.answer(&self.node, &command) {
            return Ok(answer);
        }
        let missing = StepError::new(ErrorKind::NotFound, "ask", self.node.as_str()).without_effect();
        Err(missing.with_context(format!("a simulated host has no program {program}")))
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
        let name = self.node.clone();
        self.world.if_late(fault, move |world| drop(started(world, &name, domain)));
        if !before(fault, "start", &self.node)? {
            return Ok(Applied::AlreadySo);
        }
        self.controller.round_trip().await;
        let applied = started(&self.world, &self.node, domain)?;
        answer_late(fault).await;
        after(fault, "start", &self.node).map(|()| applied)
    }

    async fn stop(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        self.controller.lives().await;
        self.world.fence(epoch.number(), "stop", &self.node)?;
        let fault = self.world.take_fault(Operation::Stop, &self.node);
        let name = self.node.clone();
        self.world.if_late(fault, move |world| drop(stopped(world, &name)));
        if !before(fault, "stop", &self.node)? {
            return Ok(Applied::AlreadySo);
        }
        self.controller.round_trip().await;
        let applied = stopped(&self.world, &self.node)?;
        answer_late(fault).await;
        after(fault, "stop", &self.node).map(|()| applied)
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
        let (name, late) = (self.node.clone(), command.clone());
        self.world.if_late(fault, move |world| drop(ran(world, &name, &late, false)));
        if !before(fault, "run", &self.node)? {
            return Ok(Ran::new(Ended::Exited(0), "", ""));
        }
        sleep(COMMAND_TIME).await;
        self.controller.round_trip().await;
        let ran = ran(&self.world, &self.node, &command, fault == Some(Fault::Half))?;
        answer_late(fault).await;
        // A command that failed says so, and its answer comes.
        if ran.stderr.is_empty() { after(fault, "run", &self.node).map(|()| ran) } else { Ok(ran) }
    }
}

/// Begins a stop of a node's server; without one there is nothing to do.
fn stopped(world: &World, name: &str) -> Result<Applied, StepError> {
    let number = reached(world, name, "stop", |node| {
        node.stopping = node.process.is_some();
        node.process.as_ref().map(|life| life.number)
    })?;
    let Some(number) = number else { return Ok(Applied::AlreadySo) };
    let name = name.to_string();
    world.later(STOP_TIME, move |world| {
        if let Some(node) = world.lock().nodes.get_mut(&name)
            && node.process.as_ref().is_some_and(|life| life.number == number)
        {
            node.process = None;
        }
    });
    Ok(Applied::Applied)
}

/// Starts a node's server, unless it runs.
fn started(world: &World, name: &str, domain: ServerDomain) -> Result<Applied, StepError> {
    if world.start_is_fenced(name) {
        let fenced = StepError::new(ErrorKind::Denied, "start", name).with_context("its site is fenced");
        return Err(fenced.without_effect());
    }
    let number = {
        let mut inner = world.lock();
        inner.lives += 1;
        inner.lives
    };
    let absent = || StepError::new(ErrorKind::NotFound, "start", name).without_effect();
    reached(world, name, "start", |node| {
        if node.absent {
            return Err(absent());
        }
        if node.process.is_some() {
            return Ok(Applied::AlreadySo);
        }
        let ready_at = Instant::now() + node.start_delay;
        node.process = Some(Life { number, release: node.installed.clone(), ready_at });
        node.stopping = false;
        node.domain = domain;
        Ok(Applied::Applied)
    })?
}

/// Does what a command of a change does on a node, in half if asked.
fn ran(world: &World, name: &str, command: &RunCommand, half: bool) -> Result<Ran, StepError> {
    let asked = |key: &str| command.env.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    if let Some(sequence) = asked("HA_GENERATION").and_then(|text| text.parse::<u64>().ok()) {
        let set = Generation::new(sequence, format!("g{sequence}"));
        reached(world, name, "run", |node| node.generation = (!half).then_some(set))?;
        world.lock().deployed.push((name.into(), sequence, asked("HA_ARTIFACT")));
        world.copy();
        return Ok(Ran::new(Ended::Exited(i32::from(half)), "", ""));
    }
    let Some(release) = asked("HA_RELEASE") else {
        return reached(world, name, "run", |_| Ran::new(Ended::Exited(2), "", "HA_RELEASE is not set"));
    };
    let on_clone = asked("HA_DATABASE_URL").is_some();
    reached(world, name, "run", |node| {
        (node.damaged, node.installed) = (half, release);
        node.on_clone = on_clone;
        node.applied += 1;
    })?;
    let ended = if half { (1, "no space left on device") } else { (0, "") };
    Ok(Ran::new(Ended::Exited(ended.0), "", ended.1))
}

/// Acts on a node whose host answers.
fn reached<T>(
    world: &World,
    name: &str,
    operation: &'static str,
    act: impl FnOnce(&mut FakeNode) -> T,
) -> Result<T, StepError> {
    match world.lock().nodes.get_mut(name) {
        Some(node) if !node.host_lost => Ok(act(node)),
        Some(_) | None => Err(StepError::new(ErrorKind::Unreachable, operation, name).without_effect()),
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
        self.world.before_read(Operation::Ready, "ready", &self.node).await?;
        self.look("ready").await
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        self.controller.lives().await;
        self.world.before_read(Operation::Test, "test", &self.node).await?;
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

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}
