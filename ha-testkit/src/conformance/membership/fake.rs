use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{LoadBalancer, Membership};
use ha_core::topology::Name;

use super::{MembershipFixture, MembershipSubject};
use crate::conformance::Breach;
use crate::conformance::balancer::{
    Ability, FakeFixture, FakeSubject, Fixture, HeldRequest, Subject, Trouble, Truth, WaitingRequest,
};

/// Builds balancers of the simulated world, each with a spare server that is in no pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeMembershipFixture;

impl FakeMembershipFixture {
    /// Builds fakes.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl MembershipFixture for FakeMembershipFixture {
    fn name(&self) -> String {
        FakeFixture.name()
    }

    fn can(&self, ability: Ability) -> bool {
        FakeFixture.can(ability)
    }

    async fn fresh(&self, pool: &Name, members: &[Name]) -> Result<Box<dyn MembershipSubject>, Breach> {
        let spare = Name::new("spare1").map_err(|error| Breach::new(error.to_string()))?;
        let subject = FakeFixture::subject(pool, &[members, std::slice::from_ref(&spare)].concat())?;
        for members in subject.world.truth().balancers.values_mut() {
            members.retain(|member| member.node != spare.as_str());
        }
        Ok(Box::new(FakeMembershipSubject { subject, spare }))
    }
}

struct FakeMembershipSubject {
    subject: FakeSubject,
    spare: Name,
}

impl MembershipSubject for FakeMembershipSubject {
    fn membership(&self) -> Arc<dyn Membership> {
        self.subject.balancer.clone()
    }

    fn spare(&self) -> (Name, SocketAddr) {
        (self.spare.clone(), SocketAddr::from(([127, 0, 0, 1], 8280)))
    }
}

#[async_trait]
impl Subject for FakeMembershipSubject {
    fn balancer(&self) -> Arc<dyn LoadBalancer> {
        self.subject.balancer()
    }

    async fn truth(&self, member: &Name) -> Result<Option<Truth>, Breach> {
        self.subject.truth(member).await
    }

    async fn request(&self) -> Result<Option<Name>, Breach> {
        self.subject.request().await
    }

    async fn hold(&self, member: &Name) -> Result<Box<dyn HeldRequest>, Breach> {
        self.subject.hold(member).await
    }

    async fn queue(&self) -> Result<Box<dyn WaitingRequest>, Breach> {
        self.subject.queue().await
    }

    async fn restart(&self) -> Result<(), Breach> {
        self.subject.restart().await
    }

    async fn trouble(&self, trouble: Option<Trouble>) -> Result<(), Breach> {
        self.subject.trouble(trouble).await
    }
}
