use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::Host;

use super::{Ability, Condition, Fixture, Found, Subject};
use crate::conformance::Breach;

type Wrap = Arc<dyn Fn(Arc<dyn Host>) -> Arc<dyn Host> + Send + Sync>;

/// Another fixture's subjects with a wrapper around each host: a wrapper conforms when the suite holds on it.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::host::{FakeHostFixture, Fixture, LayeredHost};
///
/// // A wrapper around any host, here one that adds nothing.
/// let fixture = LayeredHost::new(FakeHostFixture::new(), "nothing", |inner| inner);
/// assert!(fixture.name().contains("nothing"));
/// ```
pub struct LayeredHost<F> {
    inner: F,
    name: &'static str,
    wrap: Wrap,
}

impl<F: Fixture> LayeredHost<F> {
    /// Wraps the subjects of `inner`; `name` is the wrapper's, for reports.
    pub fn new<W>(inner: F, name: &'static str, wrap: W) -> Self
    where
        W: Fn(Arc<dyn Host>) -> Arc<dyn Host> + Send + Sync + 'static,
    {
        Self { inner, name, wrap: Arc::new(wrap) }
    }
}

impl<F: Fixture> fmt::Debug for LayeredHost<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayeredHost")
            .field("name", &self.name)
            .field("inner", &self.inner.name())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<F: Fixture> Fixture for LayeredHost<F> {
    fn name(&self) -> String {
        format!("{} over {}", self.name, self.inner.name())
    }

    fn can(&self, ability: Ability) -> bool {
        self.inner.can(ability)
    }

    async fn fresh(&self) -> Result<Box<dyn Subject>, Breach> {
        let inner = self.inner.fresh().await?;
        let host = (self.wrap)(inner.host());
        Ok(Box::new(LayeredSubject { inner, host, wrap: self.wrap.clone() }))
    }
}

struct LayeredSubject {
    inner: Box<dyn Subject>,
    host: Arc<dyn Host>,
    wrap: Wrap,
}

#[async_trait]
impl Subject for LayeredSubject {
    fn host(&self) -> Arc<dyn Host> {
        self.host.clone()
    }

    fn another(&self) -> Arc<dyn Host> {
        (self.wrap)(self.inner.another())
    }

    fn home(&self) -> String {
        self.inner.home()
    }

    async fn lives(&self) -> Result<Vec<String>, Breach> {
        self.inner.lives().await
    }

    async fn look(&self, path: &str) -> Result<Option<Found>, Breach> {
        self.inner.look(path).await
    }

    async fn place(&self, path: &str, what: Found) -> Result<(), Breach> {
        self.inner.place(path, what).await
    }

    async fn be(&self, condition: Condition) -> Result<(), Breach> {
        self.inner.be(condition).await
    }

    async fn heal(&self) -> Result<(), Breach> {
        self.inner.heal().await
    }

    async fn stranger_lives(&self) -> Result<bool, Breach> {
        self.inner.stranger_lives().await
    }

    async fn cut_link(&self) -> Result<(), Breach> {
        self.inner.cut_link().await
    }

    async fn power_cycle(&self) -> Result<(), Breach> {
        self.inner.power_cycle().await
    }
}
