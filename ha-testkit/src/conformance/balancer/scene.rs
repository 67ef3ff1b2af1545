//! What nearly every case begins with.

use std::sync::Arc;

use ha_core::backend::{
    Admin, Applied, BalancerCapabilities, CloseSessions, Closed, CutConsent, Effect, ErrorKind, LoadBalancer, Member,
    MemberRef, Quiescence, SetAdmin, SetWeight, StepError, Weight,
};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;

use super::{Ability, Fixture, HeldRequest, Subject, Truth};
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, Stop, breach, needs, same};

/// The epoch of ordinary calls, and one that is too old beside it.
pub(crate) const EPOCH: LeaseEpoch = LeaseEpoch::new(10);
pub(crate) const STALE: LeaseEpoch = LeaseEpoch::new(9);

/// The configured weight of every member.
pub(crate) const CONFIGURED: Weight = Weight::new(100);

pub(crate) const READY: Truth = Truth { admin: Admin::Ready, weight: CONFIGURED };

/// A fresh subject with short ways to it. Members are named by their place: 0, 1, 2.
pub(crate) struct Scene {
    pub(crate) subject: Box<dyn Subject>,
    pub(crate) balancer: Arc<dyn LoadBalancer>,
    pub(crate) pool: Name,
    pub(crate) members: Vec<Name>,
}

pub(crate) fn name(text: &str) -> Result<Name, Stop> {
    Name::new(text).map_err(|error| breach(error.to_string()))
}

/// Skips a case that needs more than the fixture can.
pub(crate) fn able(fixture: &dyn Fixture, ability: Ability) -> Done {
    needs(fixture.can(ability), ability.name())
}

pub(crate) fn consent() -> CutConsent {
    CutConsent::by("the conformance suite")
}

/// Tells whether a read that failed may go well when it is asked again.
fn passes(error: &StepError) -> bool {
    let kinds = [ErrorKind::Busy, ErrorKind::Timeout, ErrorKind::Unreachable, ErrorKind::Protocol];
    kinds.contains(&error.kind()) && error.effect() == Effect::None
}

impl Scene {
    /// Opens a pool of three members.
    pub(crate) async fn open(fixture: &dyn Fixture) -> Result<Self, Stop> {
        Self::of(fixture, "esb", &["esb1", "esb2", "esb3"]).await
    }

    /// Opens a pool of three members on a fixture with this ability.
    pub(crate) async fn with(fixture: &dyn Fixture, ability: Ability) -> Result<Self, Stop> {
        able(fixture, ability)?;
        Self::open(fixture).await
    }

    /// Opens a pool of these members.
    pub(crate) async fn of(fixture: &dyn Fixture, pool: &str, members: &[&str]) -> Result<Self, Stop> {
        let pool = name(pool)?;
        let members = members.iter().map(|member| name(member)).collect::<Result<Vec<_>, _>>()?;
        let subject = fixture.fresh(&pool, &members).await?;
        let balancer = subject.balancer();
        // What its version can do is known once it was asked.
        balancer.identify().await?;
        Ok(Self { balancer, subject, pool, members })
    }

    pub(crate) fn claims(&self) -> BalancerCapabilities {
        self.balancer.capabilities()
    }

    pub(crate) fn member_ref(&self, index: usize) -> MemberRef {
        MemberRef::new(self.pool.clone(), self.members[index].clone())
    }

    pub(crate) async fn set(&self, index: usize, admin: Admin) -> Result<Applied, StepError> {
        self.balancer.set_admin(EPOCH, SetAdmin::new(self.member_ref(index), admin)).await
    }

    pub(crate) async fn weigh(&self, index: usize, weight: u16) -> Result<Applied, StepError> {
        self.balancer.set_weight(EPOCH, SetWeight::new(self.member_ref(index), Weight::new(weight))).await
    }

    pub(crate) async fn close(&self, index: usize) -> Result<Closed, StepError> {
        self.balancer.close_sessions(EPOCH, CloseSessions::new(self.member_ref(index), consent())).await
    }

    pub(crate) async fn member(&self, index: usize) -> Result<Member, StepError> {
        self.balancer.member(&self.member_ref(index)).await
    }

    pub(crate) async fn quiescence(&self, index: usize) -> Result<Quiescence, StepError> {
        self.balancer.quiescence(&self.member_ref(index)).await
    }

    pub(crate) async fn truth(&self, index: usize) -> Result<Truth, Stop> {
        let member = &self.members[index];
        let truth = self.subject.truth(member).await?;
        truth.ok_or_else(|| breach(format!("member {member} is gone from the balancer")))
    }

    pub(crate) async fn truths(&self) -> Result<Vec<Truth>, Stop> {
        let mut truths = Vec::with_capacity(self.members.len());
        for index in 0..self.members.len() {
            truths.push(self.truth(index).await?);
        }
        Ok(truths)
    }

    /// Breaches unless a member is really in this state.
    pub(crate) async fn is_really(&self, index: usize, admin: Admin, weight: Weight) -> Done {
        let what = format!("the real state of {}", self.members[index]);
        same(what, self.truth(index).await?, Truth { admin, weight })
    }

    /// Breaches unless all members really are as they were configured, but for one.
    pub(crate) async fn all_ready_but(&self, except: Option<usize>) -> Done {
        for index in (0..self.members.len()).filter(|index| Some(*index) != except) {
            same(
                format!("the real state of {}, which nobody touched", self.members[index]),
                self.truth(index).await?,
                READY,
            )?;
        }
        Ok(())
    }

    pub(crate) async fn hold(&self, index: usize) -> Result<Box<dyn HeldRequest>, Stop> {
        Ok(self.subject.hold(&self.members[index]).await?)
    }

    /// Sends so many requests, and counts those that this member answered; all must be answered by somebody.
    pub(crate) async fn share_of(&self, index: usize, requests: usize) -> Result<usize, Stop> {
        let mut taken = 0;
        for _ in 0..requests {
            match self.subject.request().await? {
                Some(member) => taken += usize::from(member == self.members[index]),
                None => return Err(breach("a request was lost although members were usable")),
            }
        }
        Ok(taken)
    }

    /// Waits until the subject sees so many requests in flight on a member.
    pub(crate) async fn until_in_flight(&self, index: usize, wanted: u64) -> Done {
        let what = format!("{wanted} requests in flight on {}", self.members[index]);
        // A process that takes over, or ends, may leave a question unanswered: that is an error, and never a number.
        eventually(&what, || async {
            match self.quiescence(index).await {
                Ok(figures) => Ok(figures.in_flight() == wanted),
                Err(error) if passes(&error) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// Sets a state until it holds: a command that was given up may still come late.
    pub(crate) async fn restore(&self, index: usize, wanted: Truth) -> Done {
        eventually("a state set after a call was given up", || async {
            self.set(index, wanted.admin).await?;
            if self.claims().sets_weights {
                self.weigh(index, wanted.weight.number()).await?;
            }
            Ok(self.truth(index).await? == wanted)
        })
        .await
    }
}
