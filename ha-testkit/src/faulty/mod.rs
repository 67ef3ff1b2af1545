//! Wrappers that make any balancer, exposure, artifact store or database slow or faulty, call by call.

mod artifacts;
mod database;
mod exposure;

pub use artifacts::{ArtifactsCall, FaultyArtifacts};
pub use database::{DatabaseCall, FaultyDatabase};
pub use exposure::{ExposureCall, FaultyExposure};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, BalancerCapabilities, CloseSessions, Closed, ConfigFinding, ErrorKind, Expectations, Instance,
    LoadBalancer, Member, MemberCheck, MemberRef, MemberSnapshot, ObserveBalancer, Quiescence, SetAdmin, SetWeight,
    StepError,
};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;
use tokio::time::sleep;

/// A call of a balancer, for [`FaultyBalancer`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum BalancerCall {
    /// `identify`.
    Identify,
    /// `member`.
    Member,
    /// `look`.
    Look,
    /// `members`.
    Members,
    /// `config_findings`.
    ConfigFindings,
    /// [`ObserveBalancer::check_of`].
    CheckOf,
    /// `quiescence`.
    Quiescence,
    /// `set_admin`.
    SetAdmin,
    /// `set_weight`.
    SetWeight,
    /// `close_sessions`.
    CloseSessions,
}

/// What becomes of one call.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_testkit::faulty::{BalancerCall, BalancerFault, FaultyBalancer};
///
/// fn spoil<B>(faulty: &FaultyBalancer<B>) {
///     faulty.plan(BalancerCall::SetAdmin, 0, BalancerFault::LostAfter); // the next one: carried out, and no answer
///     faulty.plan(BalancerCall::Look, 3, BalancerFault::Slow(Duration::from_secs(2)));
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BalancerFault {
    /// It is refused with this kind, provably without effect.
    Refused(ErrorKind),
    /// It times out and is not carried out; nobody can tell.
    LostBefore,
    /// It is carried out and times out; nobody can tell.
    LostAfter,
    /// It takes so much longer.
    Slow(Duration),
}

/// A balancer with faults that a test plans. Without any it behaves as the balancer inside, which the conformance suite
/// proves. Clones share plans and counts.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use ha_core::backend::{ErrorKind, LoadBalancer, ObserveBalancer};
/// use ha_testkit::faulty::{BalancerCall, BalancerFault, FaultyBalancer};
/// # async fn example(real: Arc<dyn LoadBalancer>) {
/// let faulty = FaultyBalancer::new(real);
/// faulty.plan(BalancerCall::Identify, 1, BalancerFault::Refused(ErrorKind::Unreachable));
/// assert!(faulty.identify().await.is_ok());
/// assert_eq!(faulty.identify().await.unwrap_err().kind(), ErrorKind::Unreachable);
/// assert_eq!(faulty.calls(BalancerCall::Identify), 2);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FaultyBalancer<B> {
    inner: B,
    faults: Faults<BalancerCall>,
}

/// The faults that are planned for calls of one value, and how often it was called.
#[derive(Clone, Debug)]
struct Faults<C> {
    delay: Duration,
    plan: Arc<Mutex<Plan<C>>>,
}

#[derive(Debug)]
struct Plan<C> {
    calls: BTreeMap<C, u64>,
    faults: BTreeMap<(C, u64), BalancerFault>,
}

impl<B> FaultyBalancer<B> {
    /// Wraps a balancer; nothing is planned.
    pub fn new(inner: B) -> Self {
        Self { inner, faults: Faults::none() }
    }

    /// Delays every call by this. Default 0.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.faults.delay = delay;
        self
    }

    /// Plans a fault for this call after `skip` more of its kind that go well.
    pub fn plan(&self, call: BalancerCall, skip: u64, fault: BalancerFault) {
        self.faults.plan(call, skip, fault);
    }

    /// Returns how often this was called so far.
    pub fn calls(&self, call: BalancerCall) -> u64 {
        self.faults.calls(call)
    }

    async fn through<T: Send>(
        &self,
        call: BalancerCall,
        target: String,
        carried_out: impl Future<Output = Result<T, StepError>> + Send,
    ) -> Result<T, StepError> {
        self.faults.through(call, named(call), target, carried_out).await
    }
}

impl<C: Copy + Ord> Faults<C> {
    fn none() -> Self {
        let plan = Plan { calls: BTreeMap::new(), faults: BTreeMap::new() };
        Self { delay: Duration::ZERO, plan: Arc::new(Mutex::new(plan)) }
    }

    fn plan(&self, call: C, skip: u64, fault: BalancerFault) {
        let mut plan = self.lock();
        let next = plan.calls.get(&call).copied().unwrap_or(0);
        plan.faults.insert((call, next.saturating_add(skip)), fault);
    }

    fn calls(&self, call: C) -> u64 {
        self.lock().calls.get(&call).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Plan<C>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries one call out as it is planned: what it is called, and whether it only reads.
    async fn through<T: Send>(
        &self,
        call: C,
        (operation, reads): (&'static str, bool),
        target: String,
        carried_out: impl Future<Output = Result<T, StepError>> + Send,
    ) -> Result<T, StepError> {
        let fault = {
            let mut plan = self.lock();
            let count = plan.calls.entry(call).or_default();
            let number = *count;
            *count += 1;
            plan.faults.remove(&(call, number))
        };
        if !self.delay.is_zero() {
            sleep(self.delay).await;
        }
        let failed = |kind: ErrorKind| StepError::new(kind, operation, target.clone()).with_context("a planned fault");
        let lost = || if reads { failed(ErrorKind::Timeout).without_effect() } else { failed(ErrorKind::Timeout) };
        match fault {
            None => carried_out.await,
            Some(BalancerFault::Slow(time)) => {
                sleep(time).await;
                carried_out.await
            }
            Some(BalancerFault::Refused(kind)) => Err(failed(kind).without_effect()),
            Some(BalancerFault::LostBefore) => Err(lost()),
            Some(BalancerFault::LostAfter) => carried_out.await.and_then(|_| Err(lost())),
        }
    }
}

/// Returns the name of a call, and whether it only reads.
fn named(call: BalancerCall) -> (&'static str, bool) {
    match call {
        BalancerCall::Identify => ("identify", true),
        BalancerCall::Member => ("member", true),
        BalancerCall::Look => ("look", true),
        BalancerCall::Members => ("members", true),
        BalancerCall::ConfigFindings => ("config_findings", true),
        BalancerCall::CheckOf => ("check_of", true),
        BalancerCall::Quiescence => ("quiescence", true),
        BalancerCall::SetAdmin => ("set_admin", false),
        BalancerCall::SetWeight => ("set_weight", false),
        BalancerCall::CloseSessions => ("close_sessions", false),
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: ObserveBalancer> ObserveBalancer for FaultyBalancer<B> {
    fn capabilities(&self) -> BalancerCapabilities {
        self.inner.capabilities()
    }

    async fn identify(&self) -> Result<Instance, StepError> {
        self.through(BalancerCall::Identify, "the balancer".into(), self.inner.identify()).await
    }

    async fn member(&self, member: &MemberRef) -> Result<Member, StepError> {
        self.through(BalancerCall::Member, member.to_string(), self.inner.member(member)).await
    }

    async fn look(&self, member: &MemberRef) -> Result<MemberSnapshot, StepError> {
        self.through(BalancerCall::Look, member.to_string(), self.inner.look(member)).await
    }

    async fn members(&self, pool: &Name) -> Result<Vec<(Name, Member)>, StepError> {
        self.through(BalancerCall::Members, pool.to_string(), self.inner.members(pool)).await
    }

    async fn config_findings(&self, expect: &Expectations) -> Result<Vec<ConfigFinding>, StepError> {
        self.through(BalancerCall::ConfigFindings, expect.pool.to_string(), self.inner.config_findings(expect)).await
    }

    async fn check_of(&self, member: &MemberRef) -> Result<MemberCheck, StepError> {
        self.through(BalancerCall::CheckOf, member.to_string(), self.inner.check_of(member)).await
    }

    async fn quiescence(&self, member: &MemberRef) -> Result<Quiescence, StepError> {
        self.through(BalancerCall::Quiescence, member.to_string(), self.inner.quiescence(member)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: LoadBalancer> LoadBalancer for FaultyBalancer<B> {
    async fn set_admin(&self, epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError> {
        let target = request.member.to_string();
        self.through(BalancerCall::SetAdmin, target, self.inner.set_admin(epoch, request)).await
    }

    async fn set_weight(&self, epoch: LeaseEpoch, request: SetWeight) -> Result<Applied, StepError> {
        let target = request.member.to_string();
        self.through(BalancerCall::SetWeight, target, self.inner.set_weight(epoch, request)).await
    }

    async fn close_sessions(&self, epoch: LeaseEpoch, request: CloseSessions) -> Result<Closed, StepError> {
        let target = request.member.to_string();
        self.through(BalancerCall::CloseSessions, target, self.inner.close_sessions(epoch, request)).await
    }
}

#[cfg(test)]
mod tests {
    use ha_core::backend::{Admin, Effect};

    use super::*;
    use crate::world::{Controller, FakeBalancer, World};

    #[tokio::test(start_paused = true)]
    async fn a_look_is_the_look_of_what_is_inside_and_no_calls_of_parts() {
        let world = World::active_passive();
        let inner = FaultyBalancer::new(FakeBalancer::new(world, Controller::new(), "lb1".into()));
        let outer: Arc<dyn LoadBalancer> = Arc::new(FaultyBalancer::new(Arc::new(inner.clone())));
        let member = MemberRef::new(Name::new("esb").unwrap(), Name::new("esb1").unwrap());
        outer.look(&member).await.unwrap();
        assert_eq!(
            [BalancerCall::Look, BalancerCall::Identify, BalancerCall::Member].map(|call| inner.calls(call)),
            [1, 0, 0]
        );
        inner.plan(BalancerCall::Look, 0, BalancerFault::Refused(ErrorKind::Unreachable));
        assert_eq!(outer.look(&member).await.unwrap_err().kind(), ErrorKind::Unreachable);
    }

    #[tokio::test(start_paused = true)]
    async fn each_fault_does_to_its_one_call_what_it_says() {
        let world = World::active_passive();
        let faulty = FaultyBalancer::new(FakeBalancer::new(world.clone(), Controller::new(), "lb1".into()));
        let member = MemberRef::new(Name::new("esb").unwrap(), Name::new("esb1").unwrap());
        let drain = || faulty.set_admin(LeaseEpoch::new(1), SetAdmin::new(member.clone(), Admin::Drain));
        for (skip, fault) in [
            (0, BalancerFault::Refused(ErrorKind::Denied)),
            (1, BalancerFault::LostBefore),
            (2, BalancerFault::LostAfter),
            (3, BalancerFault::Slow(Duration::from_secs(60))),
        ] {
            faulty.plan(BalancerCall::SetAdmin, skip, fault);
        }
        let seen = |error: StepError| (error.kind(), error.effect());
        assert_eq!(seen(drain().await.unwrap_err()), (ErrorKind::Denied, Effect::None));
        assert_eq!(seen(drain().await.unwrap_err()), (ErrorKind::Timeout, Effect::Unknown));
        assert_eq!(world.admin("lb1", "esb1"), Some(Admin::Ready));
        assert_eq!(seen(drain().await.unwrap_err()), (ErrorKind::Timeout, Effect::Unknown));
        assert_eq!(world.admin("lb1", "esb1"), Some(Admin::Drain));
        let began = tokio::time::Instant::now();
        assert_eq!(drain().await.unwrap(), Applied::AlreadySo);
        assert!(began.elapsed() >= Duration::from_secs(60));
        assert_eq!(faulty.calls(BalancerCall::SetAdmin), 4);
    }
}
