use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Admin, Applied, Deprovision, ErrorKind, Installation, ObserveProvisioner, Provision, Provisioner, StepError,
};
use ha_core::state::{LeaseEpoch, Sync, WriterEpoch};
use tokio::time::sleep;

use super::World;
use super::fault::{after, answer_late, before};
use super::model::FakeNode;
use super::{Controller, Fault, Operation};

/// What installs on a node of the simulated world.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Installation, LeaseEpoch, ObserveProvisioner, Provision, Provisioner};
/// use ha_testkit::world::{Controller, FakeProvisioner, Shape};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = Shape::active_active(3, 500).with_provision().world().unwrap();
/// world.not_installed("esb3");
/// let provisioner = FakeProvisioner::new(world, Controller::new(), "esb3".into());
/// assert_eq!(provisioner.installation().await.unwrap(), None);
/// let wanted = Installation::new("1.0", "c1");
/// provisioner.provision(LeaseEpoch::new(1), Provision::new(wanted.clone())).await.unwrap();
/// assert_eq!(provisioner.installation().await.unwrap(), Some(wanted));
/// # });
/// ```
pub struct FakeProvisioner {
    world: World,
    controller: Controller,
    node: String,
}

/// How long an installation takes, and its removal.
const INSTALL_TIME: Duration = Duration::from_millis(300);

impl FakeProvisioner {
    /// Makes what installs on `node`, as `controller` reaches it.
    pub fn new(world: World, controller: Controller, node: String) -> Self {
        Self { world, controller, node }
    }

    async fn change(
        &self,
        operation: &'static str,
        epoch: LeaseEpoch,
        wanted: Option<Installation>,
        deadline: Duration,
    ) -> Result<Applied, StepError> {
        self.controller.lives().await;
        self.world.fence(epoch.number(), operation, &self.node)?;
        let fault = self.world.take_fault(Operation::Provision, &self.node);
        let (name, late) = (self.node.clone(), wanted.clone());
        self.world.if_late(fault, move |world| drop(put(world, &name, late, false)));
        if !before(fault, operation, &self.node)? {
            return Ok(Applied::AlreadySo);
        }
        if fault.is_none() && self.is_so(operation, wanted.as_ref())? {
            return Ok(Applied::AlreadySo);
        }
        let timed_out = || StepError::new(ErrorKind::Timeout, operation, self.node.as_str());
        if deadline < INSTALL_TIME {
            return Err(timed_out().without_effect());
        }
        sleep(INSTALL_TIME).await;
        self.controller.round_trip().await;
        let half = fault == Some(Fault::Half);
        put(&self.world, &self.node, wanted, half).map_err(|error| error.at(operation, &self.node))?;
        answer_late(fault).await;
        after(fault, operation, &self.node).map(|()| Applied::Applied)
    }

    /// Half of an installation is no installation, and not nothing either.
    fn is_so(&self, operation: &'static str, wanted: Option<&Installation>) -> Result<bool, StepError> {
        let found = self.found(operation)?;
        let absent = self.world.lock().nodes.get(&self.node).is_some_and(|node| node.absent);
        Ok(if wanted.is_none() { absent } else { found.as_ref() == wanted })
    }

    fn found(&self, operation: &'static str) -> Result<Option<Installation>, StepError> {
        match self.world.lock().nodes.get(&self.node) {
            Some(node) if !node.host_lost => Ok(installation(node)),
            Some(_) | None => {
                Err(StepError::new(ErrorKind::Unreachable, operation, self.node.as_str()).without_effect())
            }
        }
    }
}

impl fmt::Debug for FakeProvisioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeProvisioner").field("node", &self.node).finish_non_exhaustive()
    }
}

fn installation(node: &FakeNode) -> Option<Installation> {
    (!node.absent && !node.damaged).then(|| Installation::new(node.installed.as_str(), node.configuration.as_str()))
}

/// Why nothing was put on a node.
enum NotPut {
    Unreachable,
    Runs,
}

impl NotPut {
    fn at(&self, operation: &'static str, node: &str) -> StepError {
        let kind = match self {
            Self::Unreachable => ErrorKind::Unreachable,
            Self::Runs => ErrorKind::Denied,
        };
        StepError::new(kind, operation, node).without_effect()
    }
}

/// Puts an installation on a node, or takes it away; in half if asked.
fn put(world: &World, name: &str, wanted: Option<Installation>, half: bool) -> Result<(), NotPut> {
    let mut inner = world.lock();
    let Some(node) = inner.nodes.get_mut(name).filter(|node| !node.host_lost) else {
        return Err(NotPut::Unreachable);
    };
    if node.process.is_some() {
        return Err(NotPut::Runs);
    }
    if half {
        node.damaged = true;
        return Ok(());
    }
    match wanted {
        Some(wanted) => {
            (node.absent, node.damaged) = (false, false);
            (node.installed, node.configuration) = (wanted.release.into(), wanted.configuration.into());
        }
        None => node.empty(),
    }
    Ok(())
}

#[async_trait]
impl ObserveProvisioner for FakeProvisioner {
    async fn installation(&self) -> Result<Option<Installation>, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Installation, "installation", &self.node).await?;
        self.found("installation")
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Provisioner for FakeProvisioner {
    async fn provision(&self, epoch: LeaseEpoch, request: Provision) -> Result<Applied, StepError> {
        self.change("provision", epoch, Some(request.installation), request.deadline).await
    }

    async fn deprovision(&self, epoch: LeaseEpoch, request: Deprovision) -> Result<Applied, StepError> {
        self.change("deprovision", epoch, None, request.deadline).await
    }
}

impl World {
    /// Makes a declared node one that is not added yet: its server is stopped, it has no files, nothing is copied to it, and the
    /// balancers are configured to hold it out.
    pub fn not_added(&self, node: &str) {
        {
            let mut inner = self.lock();
            for fake in inner.balancers.values_mut().flatten().filter(|fake| fake.node == node) {
                (fake.admin, fake.configured) = (Admin::Maint, Admin::Maint);
            }
        }
        self.with_node(node, |node| {
            (node.process, node.passed) = (None, None);
            if node.sync != Sync::None {
                (node.sync, node.generation) = (Sync::Held, None);
            }
        });
    }

    /// The same, and nothing is installed on it.
    pub fn not_installed(&self, node: &str) {
        self.not_added(node);
        self.with_node(node, FakeNode::empty);
    }

    /// Lets a node write shared files from the beginning, and the others get them from there.
    pub fn let_write(&self, node: &str) {
        let mut inner = self.lock();
        for (name, fake) in &mut inner.nodes {
            let writes = name == node;
            fake.writer = WriterEpoch::new(u64::from(writes));
            fake.sync = if writes { Sync::None } else { Sync::Active };
        }
    }

    /// Lets somebody change the configuration of a node by hand.
    pub fn configure_node(&self, node: &str, digest: &str) {
        self.with_node(node, |node| node.configuration = digest.into());
    }

    /// Returns the digest of the configuration of a node; `None` where nothing whole is installed.
    pub fn configuration(&self, node: &str) -> Option<String> {
        let inner = self.lock();
        inner.nodes.get(node).and_then(installation).map(|found| found.configuration.into())
    }
}
