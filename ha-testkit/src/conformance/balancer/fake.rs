use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Admin, LoadBalancer};
use ha_core::topology::Name;

use super::{Ability, Fixture, HeldRequest, Subject, Trouble, Truth, WaitingRequest};
use crate::conformance::Breach;
use crate::world::clients::{choose, find_member};
use crate::world::{Controller, FakeBalancer, Fault, Operation, World};

/// Builds balancers of the simulated world, each in a world of its own; the truth is the world's inner state.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeFixture;

impl FakeFixture {
    /// Builds fakes.
    pub fn new() -> Self {
        Self
    }

    /// Makes the world of a subject.
    pub(in crate::conformance) fn subject(pool: &Name, members: &[Name]) -> Result<FakeSubject, Breach> {
        let world = World::from_toml_str(&topology(pool, members)).map_err(|error| Breach::new(error.to_string()))?;
        let balancer = Arc::new(FakeBalancer::new(world.clone(), Controller::new(), BALANCER.into()));
        Ok(FakeSubject { world, balancer, pool: pool.to_string() })
    }
}

#[async_trait]
impl Fixture for FakeFixture {
    fn name(&self) -> String {
        "the fake balancer".into()
    }

    fn can(&self, _ability: Ability) -> bool {
        true
    }

    async fn fresh(&self, pool: &Name, members: &[Name]) -> Result<Box<dyn Subject>, Breach> {
        Ok(Box::new(Self::subject(pool, members)?))
    }
}

const BALANCER: &str = "lb1";

fn topology(pool: &Name, members: &[Name]) -> String {
    let mut text = format!(
        "[cluster]\nname = \"orders\"\n[policy]\npeak_load = 1\n[pool]\nname = \"{pool}\"\nserve = {}\n\
         [[balancer]]\nname = \"{BALANCER}\"\nbackend = \"fake\"\n",
        members.len()
    );
    for member in members {
        let _ = writeln!(
            text,
            "[[node]]\nname = \"{member}\"\ncapacity = 1000\nhost = {{ backend = \"fake\" }}\n\
             probe = {{ backend = \"fake\" }}"
        );
    }
    text
}

/// A fake balancer in its world.
pub(in crate::conformance) struct FakeSubject {
    pub(in crate::conformance) world: World,
    pub(in crate::conformance) balancer: Arc<FakeBalancer>,
    pool: String,
}

#[async_trait]
impl Subject for FakeSubject {
    fn balancer(&self) -> Arc<dyn LoadBalancer> {
        self.balancer.clone()
    }

    async fn truth(&self, member: &Name) -> Result<Option<Truth>, Breach> {
        let mut inner = self.world.truth();
        let fake = find_member(&mut inner, BALANCER, &self.pool, member.as_str());
        Ok(fake.map(|fake| Truth::new(fake.admin, fake.weight)))
    }

    async fn request(&self) -> Result<Option<Name>, Breach> {
        let mut inner = self.world.truth();
        let Some(chosen) = choose(&inner, BALANCER, &self.pool) else { return Ok(None) };
        if let Some(fake) = find_member(&mut inner, BALANCER, &self.pool, &chosen) {
            fake.counters.0 += 1;
            fake.idle = 1;
        }
        Name::new(&chosen).map(Some).map_err(|error| Breach::new(error.to_string()))
    }

    async fn hold(&self, member: &Name) -> Result<Box<dyn HeldRequest>, Breach> {
        let mut inner = self.world.truth();
        let fake =
            find_member(&mut inner, BALANCER, &self.pool, member.as_str()).filter(|fake| fake.admin == Admin::Ready);
        let fake = fake.ok_or_else(|| Breach::new(format!("{member} is not usable")))?;
        fake.in_flight += 1;
        fake.counters.0 += 1;
        Ok(Box::new(FakeRequest {
            world: self.world.clone(),
            pool: self.pool.clone(),
            member: member.clone(),
            cuts: fake.cuts,
        }))
    }

    async fn queue(&self) -> Result<Box<dyn WaitingRequest>, Breach> {
        let mut inner = self.world.truth();
        let members = inner.balancers.get(BALANCER).into_iter().flatten();
        let rooms = members.map(|fake| (fake.member.clone(), fake.in_flight)).collect();
        *inner.waiting.entry((BALANCER.to_string(), self.pool.clone())).or_default() += 1;
        Ok(Box::new(FakeWaiting { world: self.world.clone(), pool: self.pool.clone(), rooms }))
    }

    async fn restart(&self) -> Result<(), Breach> {
        self.world.restart_balancer(BALANCER);
        Ok(())
    }

    async fn trouble(&self, trouble: Option<Trouble>) -> Result<(), Breach> {
        let (reads, writes) = match trouble {
            None => (None, None),
            Some(Trouble::Unreachable) => (Some(Fault::Unreachable), Some(Fault::Unreachable)),
            Some(Trouble::Denied) => (None, Some(Fault::Refused)),
            Some(Trouble::Hung) => (Some(Fault::LostBefore), Some(Fault::LostBefore)),
            Some(Trouble::HungAfterWrite) => (None, Some(Fault::LostAfter)),
            Some(Trouble::BrokenAfterWrite) => (None, Some(Fault::Broken)),
            Some(Trouble::LateWrite) => (None, Some(Fault::Late)),
            Some(Trouble::IgnoredWrite) => (None, Some(Fault::Ignored)),
        };
        let mut inner = self.world.truth();
        let faults = [(Operation::Member, reads), (Operation::Quiescence, reads), (Operation::SetAdmin, writes)];
        for (operation, fault) in faults {
            let key = (operation, BALANCER.to_string());
            match fault {
                Some(fault) => inner.lasting.insert(key, fault),
                None => inner.lasting.remove(&key),
            };
        }
        Ok(())
    }
}

struct FakeWaiting {
    world: World,
    pool: String,
    /// How many requests each member takes at once.
    rooms: BTreeMap<String, u64>,
}

#[async_trait]
impl WaitingRequest for FakeWaiting {
    async fn answer(self: Box<Self>) -> Result<Option<Name>, Breach> {
        for _ in 0..1_000 {
            {
                let mut inner = self.world.truth();
                let members = inner.balancers.get_mut(BALANCER).into_iter().flatten();
                let mut free = members.filter(|fake| {
                    fake.admin == Admin::Ready && fake.in_flight < self.rooms.get(&fake.member).copied().unwrap_or(0)
                });
                if let Some(fake) = free.next() {
                    fake.counters.0 += 1;
                    let name = Name::new(&fake.member).map_err(|error| Breach::new(error.to_string()))?;
                    if let Some(waiting) = inner.waiting.get_mut(&(BALANCER.to_string(), self.pool.clone())) {
                        *waiting = waiting.saturating_sub(1);
                    }
                    return Ok(Some(name));
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(None)
    }
}

struct FakeRequest {
    world: World,
    pool: String,
    member: Name,
    cuts: u64,
}

#[async_trait]
impl HeldRequest for FakeRequest {
    async fn release(self: Box<Self>) -> Result<bool, Breach> {
        let mut inner = self.world.truth();
        // A member that was forgotten by a restart leaves its request alone.
        let Some(fake) = find_member(&mut inner, BALANCER, &self.pool, self.member.as_str()) else { return Ok(true) };
        if fake.cuts != self.cuts {
            fake.counters.1 += 1;
            return Ok(false);
        }
        fake.in_flight = fake.in_flight.saturating_sub(1);
        fake.idle = if fake.admin == Admin::Maint { 0 } else { 1 };
        Ok(true)
    }
}
