use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Applied, StepError};
use crate::state::LeaseEpoch;
use crate::topology::Name;

mod check;
mod config_finding;
mod member;
mod reading;
mod request;

pub use check::MemberCheck;
pub use config_finding::{ConfigFinding, Expectations};
pub use member::{Admin, Counters, Health, Member, MemberRef, Weight};
pub use reading::{BalancerCapabilities, Completeness, Instance, MemberSnapshot, Quiescence};
pub use request::{AddMember, CloseSessions, Closed, CutConsent, SetAdmin, SetWeight};

/// Reads one balancer instance. Planning and observation get this half only.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Admin, MemberRef, ObserveBalancer, StepError};
///
/// /// Tells whether a member is out of traffic, and nothing of its requests is left.
/// async fn is_out(balancer: &dyn ObserveBalancer, member: &MemberRef) -> Result<bool, StepError> {
///     let seen = balancer.look(member).await?;
///     Ok(seen.member.admin == Admin::Maint && seen.quiescence.is_some_and(|figures| figures.is_closed()))
/// }
/// ```
#[async_trait]
pub trait ObserveBalancer: Debug + Send + Sync + 'static {
    /// Returns what this value can do.
    fn capabilities(&self) -> BalancerCapabilities;

    /// Reads which process answers.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn identify(&self) -> Result<Instance, StepError>;

    /// Reads the state of a member.
    ///
    /// # Errors
    /// `NotFound` for an unknown pool or member; `Unreachable`, `Denied`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn member(&self, member: &MemberRef) -> Result<Member, StepError>;

    /// Reads all about a member: which process answers, the state of the member, and what still runs on one that is held out.
    /// In one answer, where a balancer can give all of it in one; otherwise by [`look_by_parts`], and another process may
    /// have taken over in between.
    ///
    /// # Errors
    /// As [`identify`](Self::identify) and [`member`](Self::member). Where only what runs on it is not known, it is left
    /// out; [`quiescence`](Self::quiescence) reads it, or says why it cannot.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn look(&self, member: &MemberRef) -> Result<MemberSnapshot, StepError>;

    /// Reads the state of all members of a pool.
    ///
    /// # Errors
    /// As [`member`](Self::member).
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn members(&self, pool: &Name) -> Result<Vec<(Name, Member)>, StepError>;

    /// Reads what in the balancer's own configuration endangers a change. Empty where nothing does, or where the
    /// configuration cannot be seen from here and was not declared.
    ///
    /// # Errors
    /// `NotFound` for a declared configuration that is not there; otherwise as [`identify`](Self::identify).
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn config_findings(&self, expect: &Expectations) -> Result<Vec<ConfigFinding>, StepError>;

    /// Reads how the balancer finds out whether a member is well, as its configuration says.
    ///
    /// # Errors
    /// `Unsupported` where that cannot be seen from here and was not declared; otherwise as [`member`](Self::member).
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn check_of(&self, member: &MemberRef) -> Result<MemberCheck, StepError>;

    /// Reads what still runs on a member.
    ///
    /// # Errors
    /// As [`member`](Self::member); `Protocol` when a figure is missing, since a missing figure is never 0.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn quiescence(&self, member: &MemberRef) -> Result<Quiescence, StepError>;
}

/// Reads all about a member in calls of their own: [`ObserveBalancer::look`] for a balancer that has no such question.
///
/// # Errors
/// As [`ObserveBalancer::look`].
/// # Cancel safety
/// Cancel safe: it only reads.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{MemberRef, MemberSnapshot, ObserveBalancer, StepError, look_by_parts};
///
/// /// The body of `ObserveBalancer::look` for a balancer without such a question.
/// async fn look(balancer: &dyn ObserveBalancer, member: &MemberRef) -> Result<MemberSnapshot, StepError> {
///     look_by_parts(balancer, member).await
/// }
/// ```
pub async fn look_by_parts<B: ObserveBalancer + ?Sized>(
    balancer: &B,
    member: &MemberRef,
) -> Result<MemberSnapshot, StepError> {
    let (process, state) = (balancer.identify().await?, balancer.member(member).await?);
    let figures = match state.admin {
        Admin::Ready => None,
        Admin::Drain | Admin::Maint => balancer.quiescence(member).await.ok(),
    };
    Ok(MemberSnapshot::new(process, state).with_quiescence(figures))
}

/// Changes one balancer instance. A pool behind several instances has one value for each.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Admin, Applied, Effect, LeaseEpoch, LoadBalancer, MemberRef, SetAdmin, StepError};
///
/// /// Drains a member, and reads back where nobody can tell.
/// async fn drain(lb: &dyn LoadBalancer, epoch: LeaseEpoch, member: MemberRef) -> Result<Applied, StepError> {
///     match lb.set_admin(epoch, SetAdmin::new(member.clone(), Admin::Drain)).await {
///         Err(error) if error.effect() == Effect::Unknown => match lb.member(&member).await?.admin {
///             Admin::Drain => Ok(Applied::Applied),
///             Admin::Ready | Admin::Maint => Err(error),
///         },
///         known => known,
///     }
/// }
/// ```
#[async_trait]
pub trait LoadBalancer: ObserveBalancer {
    /// Sets a member's administrative state and reads it back.
    ///
    /// # Idempotency
    /// An absolute value: twice equals once; the second answers `AlreadySo`.
    /// # Errors
    /// `NotFound`, `Denied`, `Unsupported`, `Fenced`: no effect. `Timeout` or a broken connection after the command
    /// was sent: effect unknown, since a frozen balancer may still execute it when it wakes; read `member`.
    /// `Conflict` when the read-back differs.
    /// # Cancel safety
    /// Not cancel safe: a dropped future leaves the effect unknown; read `member`.
    async fn set_admin(&self, epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError>;

    /// Sets a member's weight and reads it back.
    ///
    /// # Idempotency
    /// An absolute value: twice equals once; the second answers `AlreadySo`.
    /// # Errors
    /// As [`set_admin`](Self::set_admin); `Unsupported` without effect where the balancer has no weights.
    /// # Cancel safety
    /// Not cancel safe: a dropped future leaves the effect unknown; read `member`.
    async fn set_weight(&self, epoch: LeaseEpoch, request: SetWeight) -> Result<Applied, StepError>;

    /// Closes the sessions of a member by force, and says how many there were. Older generations are not reached.
    ///
    /// # Idempotency
    /// Twice closes what came between; on a drained member nothing.
    /// # Errors
    /// As [`set_admin`](Self::set_admin); `Unsupported` without effect where the balancer cannot.
    /// # Cancel safety
    /// Not cancel safe: the sessions may be closed; read `quiescence`.
    async fn close_sessions(&self, epoch: LeaseEpoch, request: CloseSessions) -> Result<Closed, StepError>;
}

/// Adds servers to one balancer instance and takes them away again, for spares that its configuration does not know.
/// A reload forgets them.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{AddMember, Admin, LeaseEpoch, MemberRef, Membership, StepError};
///
/// /// Adds a spare that the configuration does not know. It begins in maintenance.
/// async fn bring(lb: &dyn Membership, epoch: LeaseEpoch, spare: MemberRef) -> Result<bool, StepError> {
///     lb.add(epoch, AddMember::new(spare.clone(), ([10, 0, 0, 7], 8280).into())).await?;
///     Ok(lb.member(&spare).await?.admin == Admin::Maint)
/// }
/// ```
#[async_trait]
pub trait Membership: ObserveBalancer {
    /// Adds a member in maintenance and reads it back.
    ///
    /// # Idempotency
    /// A member of this name with the same address answers `AlreadySo`.
    /// # Errors
    /// `Conflict` without effect for a member of this name with another address; otherwise as
    /// [`LoadBalancer::set_admin`].
    /// # Cancel safety
    /// Not cancel safe: the member may be there; read `members`.
    async fn add(&self, epoch: LeaseEpoch, request: AddMember) -> Result<Applied, StepError>;

    /// Removes a member that is in maintenance and carries nothing.
    ///
    /// # Idempotency
    /// A member that is not there answers `AlreadySo`; a pool that is not there is `NotFound`.
    /// # Errors
    /// `Conflict` without effect for a member that is not in maintenance, still has connections, or is referred to by the
    /// balancer's configuration; otherwise as [`LoadBalancer::set_admin`].
    /// # Cancel safety
    /// Not cancel safe: the member may be gone; read `members`.
    async fn remove(&self, epoch: LeaseEpoch, member: MemberRef) -> Result<Applied, StepError>;
}

crate::forward!(impl [B: ObserveBalancer + ?Sized] ObserveBalancer for Arc<B>, |this| **this);
crate::forward!(impl [B: LoadBalancer + ?Sized] LoadBalancer for Arc<B>, |this| **this);
