use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Host, WorkState};

use super::machine::{HOME, Machine, MachineHost};
use super::{Ability, Condition, Fixture, Found, Subject};
use crate::conformance::Breach;
use crate::world::{Controller, FakeHost, Shape, World};

/// Builds hosts of the simulated world, each in a world of its own; the truth is the world's inner state.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeHostFixture {
    is_bare: bool,
}

impl FakeHostFixture {
    /// Builds hosts on a machine in memory, which runs an [`Act`](super::Act), and has files and work.
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds the world's own hosts: a server, and nothing else.
    pub fn bare() -> Self {
        Self { is_bare: true }
    }
}

/// The spare of the world, which is installed and stopped.
const NODE: &str = "spare1";

#[async_trait]
impl Fixture for FakeHostFixture {
    fn name(&self) -> String {
        if self.is_bare { "the bare fake host".into() } else { "the fake host".into() }
    }

    fn can(&self, ability: Ability) -> bool {
        match ability {
            Ability::Be(Condition::PidFile(_)) => false,
            Ability::Fences | Ability::Be(Condition::BrokenVersion | Condition::Unreachable) => true,
            Ability::Commands
            | Ability::Files
            | Ability::CutLink
            | Ability::PowerCycle
            | Ability::Be(Condition::Uninstalled | Condition::Hung) => !self.is_bare,
        }
    }

    async fn fresh(&self) -> Result<Box<dyn Subject>, Breach> {
        let shape = Shape::active_passive().with_spares(&[1_000]);
        let world = shape.world().map_err(|error| Breach::new(error.to_string()))?;
        if world.truth().nodes.get(NODE).is_none_or(|node| node.process.is_some()) {
            return Err(Breach::new(format!("{NODE} is no stopped server")));
        }
        let machine = Machine::default();
        machine.lock().files.insert(HOME.into(), Found::Directory);
        let is_bare = self.is_bare;
        let mut subject = FakeSubject { host: drive(&world, &Machine::default(), true), world, machine, is_bare };
        subject.host = subject.another();
        Ok(Box::new(subject))
    }
}

struct FakeSubject {
    world: World,
    machine: Machine,
    host: Arc<dyn Host>,
    is_bare: bool,
}

fn drive(world: &World, machine: &Machine, is_bare: bool) -> Arc<dyn Host> {
    let server = Arc::new(FakeHost::new(world.clone(), Controller::new(), NODE.into()));
    if is_bare {
        return server;
    }
    Arc::new(MachineHost { world: world.clone(), node: NODE, server, machine: machine.clone() })
}

impl FakeSubject {
    fn with_node(&self, change: impl FnOnce(&mut crate::world::model::FakeNode)) -> Result<(), Breach> {
        let mut inner = self.world.truth();
        let node = inner.nodes.get_mut(NODE).ok_or_else(|| Breach::new("the node is gone"))?;
        change(node);
        Ok(())
    }
}

#[async_trait]
impl Subject for FakeSubject {
    fn host(&self) -> Arc<dyn Host> {
        self.host.clone()
    }

    fn another(&self) -> Arc<dyn Host> {
        drive(&self.world, &self.machine, self.is_bare)
    }

    fn home(&self) -> String {
        HOME.into()
    }

    async fn lives(&self) -> Result<Vec<String>, Breach> {
        let inner = self.world.truth();
        let life = inner.nodes.get(NODE).and_then(|node| node.process.as_ref());
        Ok(life.map(|life| life.number.to_string()).into_iter().collect())
    }

    async fn look(&self, path: &str) -> Result<Option<Found>, Breach> {
        Ok(self.machine.lock().files.get(path).cloned())
    }

    async fn place(&self, path: &str, what: Found) -> Result<(), Breach> {
        self.machine.lock().files.insert(path.into(), what);
        Ok(())
    }

    async fn be(&self, condition: Condition) -> Result<(), Breach> {
        match condition {
            Condition::Uninstalled => self.machine.lock().is_uninstalled = true,
            Condition::Hung => self.machine.lock().is_hung = true,
            Condition::BrokenVersion => self.with_node(|node| node.damaged = true)?,
            Condition::Unreachable => self.with_node(|node| node.host_lost = true)?,
            Condition::PidFile(_) => return Err(Breach::new("the fake has no pid file")),
        }
        Ok(())
    }

    async fn heal(&self) -> Result<(), Breach> {
        self.machine.lock().is_hung = false;
        self.with_node(|node| node.host_lost = false)
    }

    async fn stranger_lives(&self) -> Result<bool, Breach> {
        Err(Breach::new("the fake has no strangers"))
    }

    async fn cut_link(&self) -> Result<(), Breach> {
        self.machine.lock().cuts += 1;
        Ok(())
    }

    async fn power_cycle(&self) -> Result<(), Breach> {
        let names: Vec<_> = self.machine.lock().work.keys().cloned().collect();
        for name in names {
            self.machine.end(&name, WorkState::Lost);
        }
        self.with_node(|node| node.process = None)
    }
}
