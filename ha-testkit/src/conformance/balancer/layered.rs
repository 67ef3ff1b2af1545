use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::LoadBalancer;
use ha_core::topology::Name;

use super::{Ability, Fixture, HeldRequest, Subject, Truth, WaitingRequest};
use crate::conformance::{Breach, balancer::Trouble};

/// Another fixture's subjects with a wrapper around each balancer: a wrapper conforms when the suite holds on it.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use ha_testkit::conformance::balancer::{FakeFixture, Fixture, Layered};
/// use ha_testkit::faulty::FaultyBalancer;
///
/// let fixture = Layered::new(FakeFixture::new(), "FaultyBalancer", |inner| Arc::new(FaultyBalancer::new(inner)));
/// assert_eq!(fixture.name(), "FaultyBalancer over the fake balancer");
/// ```
pub struct Layered<F, W> {
    inner: F,
    name: &'static str,
    wrap: W,
}

impl<F, W> Layered<F, W>
where
    F: Fixture,
    W: Fn(Arc<dyn LoadBalancer>) -> Arc<dyn LoadBalancer> + Send + Sync,
{
    /// Wraps the subjects of `inner`; `name` is the wrapper's, for reports.
    pub fn new(inner: F, name: &'static str, wrap: W) -> Self {
        Self { inner, name, wrap }
    }
}

impl<F: Fixture, W> fmt::Debug for Layered<F, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered").field("name", &self.name).field("inner", &self.inner.name()).finish_non_exhaustive()
    }
}

#[async_trait]
impl<F, W> Fixture for Layered<F, W>
where
    F: Fixture,
    W: Fn(Arc<dyn LoadBalancer>) -> Arc<dyn LoadBalancer> + Send + Sync,
{
    fn name(&self) -> String {
        format!("{} over {}", self.name, self.inner.name())
    }

    fn can(&self, ability: Ability) -> bool {
        self.inner.can(ability)
    }

    async fn fresh(&self, pool: &Name, members: &[Name]) -> Result<Box<dyn Subject>, Breach> {
        let inner = self.inner.fresh(pool, members).await?;
        let balancer = (self.wrap)(inner.balancer());
        Ok(Box::new(LayeredSubject { inner, balancer }))
    }
}

struct LayeredSubject {
    inner: Box<dyn Subject>,
    balancer: Arc<dyn LoadBalancer>,
}

#[async_trait]
impl Subject for LayeredSubject {
    fn balancer(&self) -> Arc<dyn LoadBalancer> {
        self.balancer.clone()
    }

    async fn truth(&self, member: &Name) -> Result<Option<Truth>, Breach> {
        self.inner.truth(member).await
    }

    async fn request(&self) -> Result<Option<Name>, Breach> {
        self.inner.request().await
    }

    async fn hold(&self, member: &Name) -> Result<Box<dyn HeldRequest>, Breach> {
        self.inner.hold(member).await
    }

    async fn queue(&self) -> Result<Box<dyn WaitingRequest>, Breach> {
        self.inner.queue().await
    }

    async fn restart(&self) -> Result<(), Breach> {
        self.inner.restart().await
    }

    async fn trouble(&self, trouble: Option<Trouble>) -> Result<(), Breach> {
        self.inner.trouble(trouble).await
    }
}
