//! The table, held against the conformance suite for balancers.

use std::sync::Arc;

use async_trait::async_trait;
use embed::TableBalancer;
use ha_core::backend::LoadBalancer;
use ha_core::topology::Name;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::balancer::{Ability, Fixture, HeldRequest, Subject, Trouble, Truth, WaitingRequest};

struct Tables;

struct Table {
    pool: Name,
    balancer: TableBalancer,
}

struct Held {
    pool: Name,
    member: Name,
    balancer: TableBalancer,
}

#[async_trait]
impl HeldRequest for Held {
    async fn release(self: Box<Self>) -> Result<bool, Breach> {
        self.balancer.ended(&self.pool, &self.member);
        Ok(true)
    }
}

fn cannot<T>() -> Result<T, Breach> {
    Err(Breach::new("this fixture cannot do that"))
}

#[async_trait]
impl Fixture for Tables {
    fn name(&self) -> String {
        "a table in memory".into()
    }

    fn can(&self, ability: Ability) -> bool {
        ability == Ability::Requests
    }

    async fn fresh(&self, pool: &Name, members: &[Name]) -> Result<Box<dyn Subject>, Breach> {
        Ok(Box::new(Table { pool: pool.clone(), balancer: TableBalancer::new(pool, members) }))
    }
}

#[async_trait]
impl Subject for Table {
    fn balancer(&self) -> Arc<dyn LoadBalancer> {
        Arc::new(self.balancer.clone())
    }

    async fn truth(&self, member: &Name) -> Result<Option<Truth>, Breach> {
        Ok(self.balancer.row(&self.pool, member).map(|row| Truth::new(row.admin, row.weight)))
    }

    async fn request(&self) -> Result<Option<Name>, Breach> {
        let sent = self.balancer.send(&self.pool);
        sent.iter().for_each(|member| self.balancer.ended(&self.pool, member));
        Ok(sent)
    }

    async fn hold(&self, member: &Name) -> Result<Box<dyn HeldRequest>, Breach> {
        let held = Held { pool: self.pool.clone(), member: member.clone(), balancer: self.balancer.clone() };
        if self.balancer.send_to(&self.pool, member) { Ok(Box::new(held)) } else { Err(Breach::new("it takes none")) }
    }

    async fn queue(&self) -> Result<Box<dyn WaitingRequest>, Breach> {
        cannot()
    }

    async fn restart(&self) -> Result<(), Breach> {
        cannot()
    }

    async fn trouble(&self, _trouble: Option<Trouble>) -> Result<(), Breach> {
        cannot()
    }
}

ha_testkit::conformance!(
    balancer,
    Tables,
    skips = [
        "capability: closes_sessions",
        "capability: sees_idle_connections",
        "fixture: queue",
        "fixture: restart",
        "fixture: old requests",
        "fixture: unreachable",
        "fixture: denied",
        "fixture: hung",
        "fixture: hung after a write",
        "fixture: broken after a write",
        "fixture: late write",
        "fixture: ignored write"
    ]
);
