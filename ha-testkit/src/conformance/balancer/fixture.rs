use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Admin, LoadBalancer, Weight};
use ha_core::topology::Name;

use crate::conformance::Breach;

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ability {
    /// Sends requests through the balancer, and holds some of them in flight.
    Requests,
    /// Makes requests wait in front of the pool until a member has room.
    Queue,
    /// Starts the balancer anew.
    Restart,
    /// As `Restart`, and requests in flight end in an older process.
    OldRequests,
    /// Makes calls fail in this way.
    Fail(Trouble),
}

impl Ability {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "fixture: requests",
            Self::Queue => "fixture: queue",
            Self::Restart => "fixture: restart",
            Self::OldRequests => "fixture: old requests",
            Self::Fail(Trouble::Unreachable) => "fixture: unreachable",
            Self::Fail(Trouble::Denied) => "fixture: denied",
            Self::Fail(Trouble::Hung) => "fixture: hung",
            Self::Fail(Trouble::HungAfterWrite) => "fixture: hung after a write",
            Self::Fail(Trouble::BrokenAfterWrite) => "fixture: broken after a write",
            Self::Fail(Trouble::LateWrite) => "fixture: late write",
            Self::Fail(Trouble::IgnoredWrite) => "fixture: ignored write",
        }
    }
}

/// How the way to a balancer fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Trouble {
    /// Nobody listens.
    Unreachable,
    /// Reads are answered, writes are refused: the caller's level is too low.
    Denied,
    /// Calls are taken, never carried out and never answered.
    Hung,
    /// Reads are answered; writes are carried out and never answered.
    HungAfterWrite,
    /// Reads are answered; writes are carried out, and the connection ends without an answer.
    BrokenAfterWrite,
    /// Reads are answered; writes are not, and are carried out when the trouble is over.
    LateWrite,
    /// Reads are answered; writes are answered well and not carried out.
    IgnoredWrite,
}

/// The real state of a member, seen by another route than the subject's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Truth {
    /// Its administrative state.
    pub admin: Admin,
    /// Its weight.
    pub weight: Weight,
}

impl Truth {
    /// States both.
    pub fn new(admin: Admin, weight: Weight) -> Self {
        Self { admin, weight }
    }
}

/// Builds subjects: balancers of a kind, each with a world of its own.
///
/// # Examples
///
/// ```
/// use async_trait::async_trait;
/// use ha_core::topology::Name;
/// use ha_testkit::conformance::Breach;
/// use ha_testkit::conformance::balancer::{Ability, FakeFixture, Fixture, Subject};
///
/// /// Balancers that cannot be started anew: the cases that need it are skipped, by name.
/// struct NeverRestarted;
///
/// #[async_trait]
/// impl Fixture for NeverRestarted {
///     fn name(&self) -> String {
///         "a balancer for good".into()
///     }
///
///     fn can(&self, ability: Ability) -> bool {
///         !matches!(ability, Ability::Restart | Ability::OldRequests)
///     }
///
///     async fn fresh(&self, pool: &Name, members: &[Name]) -> Result<Box<dyn Subject>, Breach> {
///         FakeFixture::new().fresh(pool, members).await
///     }
/// }
/// ```
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: Ability) -> bool;

    /// Builds a balancer that nobody else sees, with these members in `pool`: primary, ready, able to serve at once,
    /// of weight 100 by configuration.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self, pool: &Name, members: &[Name]) -> Result<Box<dyn Subject>, Breach>;
}

/// One balancer under test with its truth. Dropping it ends all that was started for it.
///
/// Nothing here may go through the balancer value under test, [`balancer`](Self::balancer) excepted. A method whose
/// [`Ability`] the fixture denies is never called; it returns a breach.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Returns the value under test; always the same.
    fn balancer(&self) -> Arc<dyn LoadBalancer>;

    /// Reads the real state of a member; `None` when there is no such member.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn truth(&self, member: &Name) -> Result<Option<Truth>, Breach>;

    /// Sends one short request and waits for its end: the member that answered it, or `None` when none did.
    ///
    /// # Errors
    /// When it cannot be sent.
    async fn request(&self) -> Result<Option<Name>, Breach>;

    /// Sends a request that stays in flight on this usable member, and returns when the member has it.
    ///
    /// # Errors
    /// When the member does not get it.
    async fn hold(&self, member: &Name) -> Result<Box<dyn HeldRequest>, Breach>;

    /// Leaves no member room beyond what it has in flight, sends a short request, and returns when it waits in front of the pool.
    /// It is called when every member has requests in flight.
    ///
    /// # Errors
    /// When it does not wait.
    async fn queue(&self) -> Result<Box<dyn WaitingRequest>, Breach>;

    /// Starts the balancer anew, and returns when it answers. What was set in it is gone.
    ///
    /// # Errors
    /// When it does not come back.
    async fn restart(&self) -> Result<(), Breach>;

    /// Makes all calls fail in this way from now on, or heals it.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn trouble(&self, trouble: Option<Trouble>) -> Result<(), Breach>;
}

/// A request that waits in front of a pool.
#[async_trait]
pub trait WaitingRequest: Send {
    /// Waits for its end: the member that answered it, or `None` when none did.
    ///
    /// # Errors
    /// When that cannot be told.
    async fn answer(self: Box<Self>) -> Result<Option<Name>, Breach>;
}

/// A request in flight.
#[async_trait]
pub trait HeldRequest: Send {
    /// Lets the member answer; tells whether the client got the whole answer.
    ///
    /// # Errors
    /// When that cannot be told.
    async fn release(self: Box<Self>) -> Result<bool, Breach>;
}
