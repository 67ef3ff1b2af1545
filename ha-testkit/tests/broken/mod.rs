//! A balancer with one defect.

mod defects;
pub(crate) mod membership;
mod writes;

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ha_core::backend::{
    Admin, Applied, BalancerCapabilities, CloseSessions, Closed, Completeness, ConfigFinding, Counters, Effect,
    ErrorKind, Expectations, Instance, LoadBalancer, Member, MemberCheck, MemberRef, MemberSnapshot, ObserveBalancer,
    Quiescence, SetAdmin, SetWeight, StepError, Weight,
};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;

pub(crate) use defects::{DEFECTS, Defect};

pub(crate) struct Broken {
    pub(crate) defect: Defect,
    pub(crate) inner: Arc<dyn LoadBalancer>,
    state: Mutex<State>,
    wrote: AtomicBool,
    busy: AtomicBool,
    calls: AtomicU64,
    began: tokio::time::Instant,
}

#[derive(Default)]
struct State {
    /// The most that have waited in front of the pool.
    waited: u64,
    admins: HashMap<MemberRef, Admin>,
    members: HashMap<MemberRef, Member>,
    counters: HashMap<MemberRef, Counters>,
    generation: Option<u64>,
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broken").field("defect", &self.defect).finish_non_exhaustive()
    }
}

/// Makes a worse error of an error.
fn worse(error: &StepError, kind: ErrorKind, effect: Effect) -> StepError {
    let worse = StepError::new(kind, error.operation(), error.target());
    if effect == Effect::None { worse.without_effect() } else { worse }
}

impl Broken {
    pub(crate) fn new(defect: Defect, inner: Arc<dyn LoadBalancer>) -> Self {
        let (wrote, busy, calls) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
        Self { defect, inner, state: Mutex::default(), wrote, busy, calls, began: tokio::time::Instant::now() }
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// Names the member that is touched instead of the one that was meant.
    async fn meant(&self, member: &MemberRef) -> MemberRef {
        let mut member = member.clone();
        let name = member.member.to_string();
        match self.defect {
            Defect::SetsANeighbour => member = self.neighbour(&member).await.unwrap_or(member),
            Defect::CaseIsIgnored => member.member = Name::new(&name.to_lowercase()).unwrap(),
            Defect::NamesAreCut => member.member = Name::new(&name[..name.len().min(127)]).unwrap(),
            Defect::PoolIsIgnored => member.pool = Name::new("esb").unwrap(),
            _ => {}
        }
        member
    }

    async fn neighbour(&self, member: &MemberRef) -> Option<MemberRef> {
        let others = self.inner.members(&member.pool).await.ok()?;
        let other = others.into_iter().map(|(name, _)| name).find(|name| *name != member.member)?;
        Some(MemberRef::new(member.pool.clone(), other))
    }

    /// Distorts what a call ends with.
    async fn ended<T>(&self, reads: bool, answer: Result<T, StepError>) -> Result<T, StepError> {
        let Err(error) = answer else { return answer };
        let (kind, effect) = (error.kind(), error.effect());
        let distorted = match (self.defect, kind) {
            (Defect::NotFoundIsOfUnknownEffect, ErrorKind::NotFound) => (kind, Effect::Unknown),
            (Defect::UnknownMemberIsAConflict, ErrorKind::NotFound) => (ErrorKind::Conflict, effect),
            (Defect::TimeoutIsWithoutEffect, ErrorKind::Timeout) => (kind, Effect::None),
            (Defect::TimeoutIsUnreachable, ErrorKind::Timeout) => (ErrorKind::Unreachable, effect),
            (Defect::BrokenConnectionIsWithoutEffect, ErrorKind::Unreachable) => (kind, Effect::None),
            (Defect::DenialIsOfUnknownEffect, ErrorKind::Denied) => (kind, Effect::Unknown),
            (Defect::DenialIsUnreachable, ErrorKind::Denied) => (ErrorKind::Unreachable, effect),
            (Defect::UnreachableIsOfUnknownEffect, ErrorKind::Unreachable) => (kind, Effect::Unknown),
            (Defect::UnreachableIsNotFound, ErrorKind::Unreachable) => (ErrorKind::NotFound, effect),
            (Defect::ReadErrorsAreOfUnknownEffect, _) if reads => (kind, Effect::Unknown),
            (Defect::ErrorsNameAnotherOperation, _) => {
                let other = StepError::new(kind, "request", error.target());
                return Err(if effect == Effect::None { other.without_effect() } else { other });
            }
            (Defect::HangsForEver, ErrorKind::Timeout) => pending().await,
            (Defect::NeverHeals, ErrorKind::Unreachable) => {
                self.busy.store(true, Ordering::SeqCst);
                (kind, effect)
            }
            _ => (kind, effect),
        };
        Err(worse(&error, distorted.0, distorted.1))
    }

    fn blocked(&self, operation: &'static str) -> Result<(), StepError> {
        if self.busy.load(Ordering::SeqCst) {
            return Err(StepError::new(ErrorKind::Unreachable, operation, "lb1").without_effect());
        }
        Ok(())
    }

    async fn write(&self, operation: &'static str, epoch: LeaseEpoch) -> Result<LeaseEpoch, StepError> {
        self.blocked(operation)?;
        self.wrote.store(true, Ordering::SeqCst);
        if matches!(self.defect, Defect::ADroppedCallBlocksTheNext | Defect::AFailedCallBlocksTheNext) {
            self.busy.store(true, Ordering::SeqCst);
        }
        let ignored = match self.defect {
            Defect::EpochIsIgnored => true,
            Defect::EpochIsForgottenByARestart => {
                let now = self.inner.identify().await?.generation;
                *self.state.lock().unwrap().generation.get_or_insert(now) != now
            }
            Defect::EpochOfWeightsIsIgnored => operation == "set_weight",
            Defect::EpochOfClosingIsIgnored => operation == "close_sessions",
            Defect::HigherEpochsAreRefused if epoch.number() > 10 => {
                return Err(StepError::new(ErrorKind::Fenced, operation, "lb1").without_effect());
            }
            _ => false,
        };
        Ok(if ignored { LeaseEpoch::new(10) } else { epoch })
    }

    fn wrote<T>(&self, answer: &Result<T, StepError>) {
        if self.is(Defect::ADroppedCallBlocksTheNext) || (self.is(Defect::AFailedCallBlocksTheNext) && answer.is_ok()) {
            self.busy.store(false, Ordering::SeqCst);
        }
    }

    fn distort(&self, reference: &MemberRef, mut member: Member) -> Member {
        let mut state = self.state.lock().unwrap();
        match self.defect {
            Defect::ReadsAreCached => member = *state.members.entry(reference.clone()).or_insert(member),
            Defect::ConfiguredWeightFollows => member.configured_weight = member.weight,
            Defect::CountersAreNotKept => member.counters = Counters::default(),
            Defect::CountersAreResetByMaintenance => {
                let base = state.counters.entry(reference.clone()).or_default();
                member.counters.taken = member.counters.taken.saturating_sub(base.taken);
            }
            Defect::CountersGrowByReading => member.counters.taken += self.calls.fetch_add(1, Ordering::SeqCst),
            Defect::EverybodyIsAlwaysUp => member.health = ha_core::backend::Health::Up,
            Defect::NobodyEverWaits => member.waiting = 0,
            Defect::WhoHasWaitedWaitsForEver => {
                state.waited = state.waited.max(member.waiting);
                member.waiting = state.waited;
            }
            Defect::MemberIsBackup => member.kind = ha_core::state::MemberKind::Backup,
            _ => {}
        }
        member
    }

    async fn admin_of(&self, epoch: LeaseEpoch, member: &MemberRef, admin: Admin) -> Result<Applied, StepError> {
        self.inner.set_admin(epoch, SetAdmin::new(member.clone(), admin)).await
    }

    async fn weight_of(&self, epoch: LeaseEpoch, member: &MemberRef, weight: Weight) -> Result<Applied, StepError> {
        self.inner.set_weight(epoch, SetWeight::new(member.clone(), weight)).await
    }

    async fn close_of(&self, epoch: LeaseEpoch, member: &MemberRef) -> Result<Closed, StepError> {
        let consent = ha_core::backend::CutConsent::by("a defect");
        self.inner.close_sessions(epoch, CloseSessions::new(member.clone(), consent)).await
    }
}

#[async_trait]
impl ObserveBalancer for Broken {
    fn capabilities(&self) -> BalancerCapabilities {
        let claimed = self.inner.capabilities();
        match self.defect {
            Defect::ClaimsNoWeightsAndSetsThem => claimed.with_weights(false),
            Defect::ClaimsNotToCloseAndCloses => claimed.with_close(false),
            Defect::ClaimsNoFenceAndFences => claimed.with_fences(false),
            Defect::ClaimsChangeAfterAWrite if self.wrote.load(Ordering::SeqCst) => claimed.with_fences(false),
            _ => claimed,
        }
    }

    async fn identify(&self) -> Result<Instance, StepError> {
        self.blocked("identify")?;
        let mut instance = self.ended(true, self.inner.identify().await).await?;
        match self.defect {
            Defect::GenerationIsConstant => instance.generation = 1,
            Defect::GenerationIsNewAtEachCall => {
                instance.generation += 1000 * self.calls.fetch_add(1, Ordering::SeqCst);
            }
            Defect::IsAlwaysStopping => instance.stopping = true,
            Defect::UptimeIsThatOfTheValue => instance.uptime = self.began.elapsed(),
            _ => {}
        }
        Ok(instance)
    }

    async fn member(&self, member: &MemberRef) -> Result<Member, StepError> {
        self.blocked("member")?;
        if self.is(Defect::ReadsMakeReady) && self.calls.fetch_add(1, Ordering::SeqCst) > 2 {
            let _ = self.admin_of(LeaseEpoch::new(10), member, Admin::Ready).await;
        }
        let answer = self.inner.member(&self.meant(member).await).await;
        Ok(self.distort(member, self.ended(true, answer).await?))
    }

    async fn look(&self, reference: &MemberRef) -> Result<MemberSnapshot, StepError> {
        let (mut process, mut member) = (self.identify().await?, self.member(reference).await?);
        let mut figures = if member.admin == Admin::Ready { None } else { self.quiescence(reference).await.ok() };
        match self.defect {
            Defect::LooksAreOfTheFirstGeneration => {
                let first = self.state.lock().unwrap().generation.get_or_insert(process.generation).to_owned();
                process.generation = first;
            }
            Defect::LooksSeeEverybodyReady => member.admin = Admin::Ready,
            Defect::LooksSeeNothingRun => figures = figures.map(nothing_runs),
            // The first process of the fake has generation 1.
            Defect::LooksForgetOlderGenerations if process.generation > 1 => figures = figures.map(nothing_runs),
            Defect::LooksSeeNoIdleConnections => {
                if let Some(figures) = &mut figures {
                    figures.idle_connections = 0;
                }
            }
            _ => {}
        }
        Ok(MemberSnapshot::new(process, member).with_quiescence(figures))
    }

    async fn members(&self, pool: &Name) -> Result<Vec<(Name, Member)>, StepError> {
        self.blocked("members")?;
        let answer = self.inner.members(pool).await;
        if self.is(Defect::MembersOfAnUnknownPoolAreNone)
            && answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound)
        {
            return Ok(Vec::new());
        }
        let mut members = self.ended(true, answer).await?;
        match self.defect {
            Defect::MembersOmitsOne => drop(members.pop()),
            Defect::MembersListsOneTwice => members.extend(members.first().cloned()),
            Defect::MembersAreAllReady => members.iter_mut().for_each(|(_, member)| member.admin = Admin::Ready),
            _ => {}
        }
        let named = |name: &Name| MemberRef::new(pool.clone(), name.clone());
        Ok(members.into_iter().map(|(name, member)| (name.clone(), self.distort(&named(&name), member))).collect())
    }

    async fn config_findings(&self, expect: &Expectations) -> Result<Vec<ConfigFinding>, StepError> {
        if self.is(Defect::ConcernsHoldOut) {
            for (name, _) in self.inner.members(&expect.pool).await? {
                let member = MemberRef::new(expect.pool.clone(), name);
                self.admin_of(LeaseEpoch::new(10), &member, Admin::Maint).await?;
            }
        }
        self.inner.config_findings(expect).await
    }

    async fn check_of(&self, member: &MemberRef) -> Result<MemberCheck, StepError> {
        self.inner.check_of(member).await
    }

    async fn quiescence(&self, member: &MemberRef) -> Result<Quiescence, StepError> {
        self.blocked("quiescence")?;
        let mut meant = self.meant(member).await;
        if self.is(Defect::CountsThoseOfANeighbour) {
            meant = self.neighbour(member).await.unwrap_or(meant);
        }
        let answer = self.inner.quiescence(&meant).await;
        if self.is(Defect::UnknownMemberIsIdle)
            && answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound)
        {
            return Ok(Quiescence::new(0, 0, 0, 0));
        }
        let mut reading = self.ended(true, answer).await?;
        match self.defect {
            Defect::NothingIsEverInFlight => (reading.sessions, reading.used_connections) = (0, 0),
            Defect::CountsRequestsOnce => reading.sessions = reading.sessions.min(1),
            Defect::CountsRequestsTwice => reading.queued = reading.sessions,
            Defect::DropsIdleConnections => reading.idle_connections = 0,
            Defect::IdleNeverEnds => reading.idle_connections += 1,
            Defect::OldRequestsAreForgotten => {
                let first = *self.state.lock().unwrap().generation.get_or_insert(reading.generation);
                if reading.generation != first {
                    (reading.sessions, reading.used_connections) = (0, 0);
                }
            }
            Defect::OlderGenerationsAreAdmittedWrongly => {
                reading.completeness = Completeness::OlderGenerationsInvisible;
            }
            Defect::ReadingIsOfGenerationZero => reading.generation = 0,
            Defect::GenerationIsConstant => reading.generation = 1,
            _ => {}
        }
        Ok(reading)
    }
}

fn nothing_runs(figures: Quiescence) -> Quiescence {
    Quiescence::new(0, 0, 0, figures.idle_connections).with_generation(figures.generation)
}

/// What a write answers although it was not carried out as meant.
fn covered_up(defect: Defect, answer: Result<Applied, StepError>) -> Result<Applied, StepError> {
    match (defect, answer.as_ref().map_err(StepError::kind)) {
        (Defect::UnknownMemberIsAlreadySo, Err(ErrorKind::NotFound)) => Ok(Applied::AlreadySo),
        (Defect::TimeoutIsSuccess, Err(ErrorKind::Timeout)) => Ok(Applied::Applied),
        (Defect::NeverReadsBack, Err(ErrorKind::Conflict)) => Ok(Applied::Applied),
        _ => answer,
    }
}

#[async_trait]
impl LoadBalancer for Broken {
    async fn set_admin(&self, epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError> {
        let epoch = self.write("set_admin", epoch).await?;
        let member = self.meant(&request.member).await;
        let answer = self.broken_set_admin(epoch, &member, request.admin).await;
        self.wrote(&answer);
        if self.is(Defect::StaleCallsAreRefusedAndCarriedOut) && answer.is_err() {
            let _ = self.admin_of(LeaseEpoch::new(10), &member, request.admin).await;
        }
        self.ended(false, covered_up(self.defect, answer)).await
    }

    async fn set_weight(&self, epoch: LeaseEpoch, request: SetWeight) -> Result<Applied, StepError> {
        let epoch = self.write("set_weight", epoch).await?;
        let member = self.meant(&request.member).await;
        let answer = self.broken_set_weight(epoch, &member, request.weight).await;
        self.wrote(&answer);
        self.ended(false, covered_up(self.defect, answer)).await
    }

    async fn close_sessions(&self, epoch: LeaseEpoch, request: CloseSessions) -> Result<Closed, StepError> {
        let epoch = self.write("close_sessions", epoch).await?;
        let member = self.meant(&request.member).await;
        let answer = self.broken_close(epoch, &member).await;
        self.wrote(&answer);
        self.ended(false, answer).await
    }
}
