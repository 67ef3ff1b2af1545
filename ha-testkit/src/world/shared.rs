use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, ErrorKind, FileSync, HandWriter, HoldFiles, ObserveFileSync, ObserveWorkload, ReleaseFiles, Shared,
    StepError, Workload,
};
use ha_core::state::{Generation, LeaseEpoch, Sync, Work, WriterEpoch};
use ha_core::topology::Name;
use tokio::time::sleep;

use super::World;
use super::fault::{after, answer_late, before};
use super::model::FakeNode;
use super::{Controller, Fault, Operation};

/// The file sync of the simulated world: what the writer has is copied over every open sync, tested or not.
///
/// # Examples
///
/// ```
/// use ha_core::backend::ObserveFileSync;
/// use ha_core::topology::Name;
/// use ha_testkit::world::{Controller, FakeFiles, Shape};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = Shape::active_passive().with_files().world().unwrap();
/// let files = FakeFiles::new(world, Controller::new());
/// let shared = files.shared(&Name::new("esb1").unwrap()).await.unwrap();
/// assert!(shared.sync.is_open());
/// # });
/// ```
pub struct FakeFiles {
    world: World,
    controller: Controller,
}

/// The pulled work of one node of the simulated world.
///
/// # Examples
///
/// ```
/// use ha_core::backend::ObserveWorkload;
/// use ha_core::state::Work;
/// use ha_testkit::world::{Controller, FakeWorkload, Shape};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = Shape::active_passive().with_work().world().unwrap();
/// let workload = FakeWorkload::new(world, Controller::new(), "esb1".into());
/// assert_eq!(workload.work().await.unwrap(), Work::On);
/// # });
/// ```
pub struct FakeWorkload {
    world: World,
    controller: Controller,
    node: String,
}

/// How long a transfer takes.
const TRANSFER: Duration = Duration::from_millis(150);
/// How long work in progress takes to end.
const WORK_TIME: Duration = Duration::from_millis(300);

macro_rules! debug_as {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

debug_as!(FakeFiles);
debug_as!(FakeWorkload);

impl FakeFiles {
    /// Makes the file sync as `controller` reaches it.
    pub fn new(world: World, controller: Controller) -> Self {
        Self { world, controller }
    }

    async fn change(
        &self,
        operation: &'static str,
        epoch: LeaseEpoch,
        node: &Name,
        is_so: impl FnOnce(&World) -> bool + Send,
        change: impl FnOnce(&World, bool) -> Result<(), StepError> + Send + 'static,
    ) -> Result<Applied, StepError> {
        self.controller.round_trip().await;
        self.world.fence(epoch.number(), operation, node.as_str())?;
        let fault = self.world.take_fault(Operation::Share, node.as_str());
        if fault == Some(Fault::Late) {
            self.world.if_late(fault, move |world| drop(change(world, false)));
            return before(fault, operation, node.as_str()).map(|_| Applied::Applied);
        }
        if !before(fault, operation, node.as_str())? {
            return Ok(Applied::AlreadySo);
        }
        self.world.reachable(node.as_str(), operation)?;
        if fault.is_none() && is_so(&self.world) {
            return Ok(Applied::AlreadySo);
        }
        change(&self.world, fault == Some(Fault::Half))?;
        answer_late(fault).await;
        after(fault, operation, node.as_str()).map(|()| Applied::Applied)
    }
}

#[async_trait]
impl ObserveFileSync for FakeFiles {
    async fn shared(&self, node: &Name) -> Result<Shared, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Shared, "shared", node.as_str()).await?;
        self.world.reachable(node.as_str(), "shared")?;
        let inner = self.world.lock();
        let Some(seen) = inner.nodes.get(node.as_str()) else {
            return Err(StepError::new(ErrorKind::NotFound, "shared", node.as_str()).without_effect());
        };
        Ok(Shared::new(seen.sync, seen.generation.clone()).with_writer(seen.writer, seen.seen_writer))
    }

    async fn missing(&self, node: &Name) -> Result<Vec<String>, StepError> {
        self.shared(node).await.map(|_| Vec::new())
    }
}

#[async_trait]
impl FileSync for FakeFiles {
    async fn hold(&self, epoch: LeaseEpoch, request: HoldFiles) -> Result<Applied, StepError> {
        let name = request.node.to_string();
        let is_so = |world: &World| world.node_is(request.node.as_str(), |node| node.sync == Sync::Held);
        self.change("hold", epoch, &request.node, is_so, move |world, half| {
            world.with_node(&name, |node| if half { node.sync = Sync::Running } else { node.sync = Sync::Held });
            if half {
                world.later(TRANSFER, move |world| world.with_node(&name, |node| node.sync = Sync::Held));
            }
            Ok(())
        })
        .await
    }

    async fn release(&self, epoch: LeaseEpoch, request: ReleaseFiles) -> Result<Applied, StepError> {
        let name = request.node.to_string();
        let is_so = |world: &World| {
            let set = world.set_of_the_writer();
            world.node_is(request.node.as_str(), |node| node.sync == Sync::Active && node.generation == set)
        };
        self.change("release", epoch, &request.node, is_so, move |world, half| {
            let set = world.set_of_the_writer();
            world.with_node(&name, |node| node.sync = Sync::Active);
            // Where there is nothing to bring, half of it is nothing.
            if half && !world.node_is(&name, |node| node.generation == set) {
                world.with_node(&name, |node| node.generation = None);
            }
            world.copy();
            Ok(())
        })
        .await
    }

    async fn hand_writer(&self, epoch: LeaseEpoch, request: HandWriter) -> Result<Applied, StepError> {
        let HandWriter { node, writer, passed_over, .. } = request;
        let name = node.to_string();
        let is_so =
            |world: &World| world.node_is(node.as_str(), |node| node.writer == writer && node.seen_writer == writer);
        self.change("hand_writer", epoch, &node, is_so, move |world, half| {
            let mut inner = world.lock();
            let unasked = |(other, node): (&String, &FakeNode)| {
                let passed_over = passed_over.iter().any(|one| one.as_str() == other);
                node.host_lost && node.writer > WriterEpoch::default() && !passed_over
            };
            if inner.nodes.iter().any(unasked) {
                return Err(StepError::new(ErrorKind::Unreachable, "hand_writer", name).without_effect());
            }
            if inner.nodes.values().any(|node| node.seen_writer.max(node.writer) >= writer) {
                return Err(StepError::new(ErrorKind::Conflict, "hand_writer", name).without_effect());
            }
            // One that is passed over finds out that it is one no more when it is back: its epoch is too low.
            for node in inner.nodes.values_mut().filter(|node| node.writer > WriterEpoch::default()) {
                (node.writer, node.sync) = (WriterEpoch::default(), Sync::Held);
            }
            if half {
                return Ok(());
            }
            for node in inner.nodes.values_mut() {
                node.seen_writer = writer;
            }
            if let Some(next) = inner.nodes.get_mut(&name) {
                (next.writer, next.sync) = (writer, Sync::None);
            }
            Ok(())
        })
        .await
    }
}

impl FakeWorkload {
    /// Makes the pulled work of `node` as `controller` reaches it.
    pub fn new(world: World, controller: Controller, node: String) -> Self {
        Self { world, controller, node }
    }

    async fn set(&self, operation: &'static str, epoch: LeaseEpoch, on: bool) -> Result<Applied, StepError> {
        self.controller.round_trip().await;
        self.world.fence(epoch.number(), operation, &self.node)?;
        let fault = self.world.take_fault(Operation::Work, &self.node);
        let name = self.node.clone();
        self.world.if_late(fault, move |world| turned(world, &name, on));
        if !before(fault, operation, &self.node)? {
            return Ok(Applied::AlreadySo);
        }
        self.world.reachable(&self.node, operation)?;
        let is_so = |node: &super::model::FakeNode| match on {
            true => node.work == Work::On && !node.quiesced,
            false => node.quiesced,
        };
        if fault.is_none() && self.world.node_is(&self.node, is_so) {
            return Ok(Applied::AlreadySo);
        }
        turned(&self.world, &self.node, on);
        answer_late(fault).await;
        after(fault, operation, &self.node).map(|()| Applied::Applied)
    }
}

/// Lets a node pull work, or lets the work in progress end and pull no more.
fn turned(world: &World, name: &str, on: bool) {
    world.with_node(name, |node| {
        node.quiesced = !on;
        node.work = if on { Work::On } else { node.work };
    });
    if !on {
        let name = name.to_string();
        world.later(WORK_TIME, move |world| world.with_node(&name, ends));
    }
}

/// Ends the work in progress of a node that was asked to pull no more, unless a piece of it stays.
fn ends(node: &mut super::model::FakeNode) {
    if node.quiesced && !node.work_held {
        node.work = Work::Off;
    }
}

#[async_trait]
impl ObserveWorkload for FakeWorkload {
    async fn work(&self) -> Result<Work, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Working, "work", &self.node).await?;
        self.world.reachable(&self.node, "work")?;
        Ok(self.world.lock().nodes.get(&self.node).map_or(Work::Unknown, |node| node.work))
    }
}

#[async_trait]
impl Workload for FakeWorkload {
    async fn quiesce(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        self.set("quiesce", epoch, false).await
    }

    async fn resume(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        self.set("resume", epoch, true).await
    }
}

impl World {
    /// Tells whether a node pulls work, and whether some is in progress after it was asked to stop, or is held there.
    pub(crate) fn pulling(&self, node: &str) -> (bool, bool) {
        let inner = self.lock();
        inner.nodes.get(node).map_or((false, false), |node| {
            (node.work == Work::On && !node.quiesced, node.work_held || (node.quiesced && node.work == Work::On))
        })
    }

    /// Lets a piece of a node's work stay in progress, or end.
    pub(crate) fn hold_work(&self, node: &str, held: bool) {
        self.with_node(node, |node| {
            node.work_held = held;
            ends(node);
        });
    }

    fn set_of_the_writer(&self) -> Option<Generation> {
        let inner = self.lock();
        inner.nodes.values().find(|node| node.writer > WriterEpoch::default())?.generation.clone()
    }

    fn node_is(&self, name: &str, holds: impl FnOnce(&super::model::FakeNode) -> bool) -> bool {
        self.lock().nodes.get(name).is_some_and(holds)
    }

    pub(crate) fn with_node(&self, name: &str, change: impl FnOnce(&mut super::model::FakeNode)) {
        if let Some(node) = self.lock().nodes.get_mut(name) {
            change(node);
        }
    }

    /// Does something later, whatever becomes of the controller that asked for it.
    pub(super) fn later(&self, pause: Duration, act: impl FnOnce(&Self) + Send + 'static) {
        let world = self.clone();
        tokio::spawn(async move {
            sleep(pause).await;
            act(&world);
        });
    }

    /// Copies what the writer has over every open sync, once a transfer has had its time.
    pub(crate) fn copy(&self) {
        self.later(TRANSFER, |world| {
            let mut inner = world.lock();
            let writer = inner.nodes.values().find(|node| node.writer > WriterEpoch::default() && !node.host_lost);
            let Some(set) = writer.and_then(|writer| writer.generation.clone()) else { return };
            for node in inner.nodes.values_mut().filter(|node| node.sync == Sync::Active && !node.host_lost) {
                node.generation = Some(set.clone());
            }
        });
    }

    fn reachable(&self, node: &str, operation: &'static str) -> Result<(), StepError> {
        match self.lock().nodes.get(node) {
            Some(seen) if !seen.host_lost => Ok(()),
            Some(_) => Err(StepError::new(ErrorKind::Unreachable, operation, node).without_effect()),
            None => Err(StepError::new(ErrorKind::NotFound, operation, node).without_effect()),
        }
    }
}
