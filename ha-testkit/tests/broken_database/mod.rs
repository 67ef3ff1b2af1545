//! A database with one defect.

mod defects;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, CloneDatabase, ContractPermit, Database, Effect, ErrorKind, Migrate, ObserveDatabase, StepError,
};
use ha_core::state::{LeaseEpoch, Schema, SchemaChange, SchemaVerdict};
use ha_testkit::conformance::database::{DatabaseSubject, Waiting};

pub(crate) use defects::{DEFECTS, Defect};

/// One value over a broken database.
pub(crate) struct Broken {
    pub(crate) defect: Defect,
    pub(crate) inner: Arc<dyn Database>,
    /// The whole subject, with its truth.
    pub(crate) subject: Arc<dyn DatabaseSubject>,
    pub(crate) harm: Arc<Mutex<Harm>>,
    own: Mutex<Own>,
}

/// What is wrong in the database itself, for all values over it.
#[derive(Debug, Default)]
pub(crate) struct Harm {
    pub(crate) amount_is_gone: bool,
    pub(crate) amount_is_left: bool,
    pub(crate) rows_gone: u64,
    pub(crate) unfilled: u64,
    pub(crate) filled: bool,
    /// How often more the scripts have taken effect.
    pub(crate) again: [u32; 3],
    pub(crate) restarts: u64,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) held: bool,
    pub(crate) old_session: bool,
    was_in_use: bool,
    in_flight: u32,
    dropped: bool,
    failed: bool,
    permit: Option<ContractPermit>,
}

/// What a value believes.
#[derive(Debug, Default)]
struct Own {
    read: Option<Schema>,
    asked: Option<Schema>,
    epoch: u64,
}

/// Notes that a call has begun, and whether it was dropped.
struct Flight<'a>(&'a Broken, bool);

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut harm = self.0.harm.lock().unwrap();
        harm.in_flight -= 1;
        harm.dropped |= !self.1;
    }
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Broken({:?})", self.defect)
    }
}

fn error(kind: ErrorKind) -> StepError {
    StepError::new(kind, "migrate", "database")
}

static VALUES: AtomicU64 = AtomicU64::new(0);
const HIGHEST: LeaseEpoch = LeaseEpoch::new(1000);

impl Broken {
    pub(crate) fn new(
        defect: Defect,
        inner: Arc<dyn Database>,
        subject: Arc<dyn DatabaseSubject>,
        harm: Arc<Mutex<Harm>>,
    ) -> Self {
        Self { defect, inner, subject, harm, own: Mutex::default() }
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn harm(&self) -> std::sync::MutexGuard<'_, Harm> {
        self.harm.lock().unwrap()
    }

    /// Distorts an error.
    fn spoil<T>(&self, answer: Result<T, StepError>, held: bool) -> Result<T, StepError> {
        use Defect as D;
        use ErrorKind as E;
        let Err(found) = answer else { return answer };
        let certain = found.effect() == Effect::None;
        let (kind, certain) = match (self.defect, found.kind()) {
            (D::FailureIsDenied, E::Conflict) if !certain => (E::Denied, false),
            (D::FailureHasNoEffect, E::Conflict) => (E::Conflict, true),
            (D::DenialIsAConflict, E::Denied) => (E::Conflict, certain),
            (D::OldSessionsAreAConflict, E::Denied) if self.harm().old_session => (E::Conflict, certain),
            (D::DenialHasAnUnknownEffect, E::Denied) => (E::Denied, false),
            (D::WhatLeadsBackIsUnsupported, E::Conflict) if certain => (E::Unsupported, true),
            (D::WhatLeadsBackHasAnUnknownEffect, E::Conflict) => (E::Conflict, false),
            (D::ContradictionIsDenied, E::Conflict) if self.waits(Waiting::Edited) => (E::Denied, certain),
            (D::DeadlineIsAConflict, E::Timeout) if certain => (E::Conflict, true),
            (D::DeadlineHasAnUnknownEffect, E::Timeout) => (E::Timeout, false),
            (D::HeldTableIsAConflict, E::Timeout) if held => (E::Conflict, false),
            (D::FencedIsAConflict, E::Fenced) => (E::Conflict, certain),
            (D::FencedHasAnUnknownEffect, E::Fenced) => (E::Fenced, false),
            (D::UnreachableIsATimeout, E::Unreachable) => (E::Timeout, certain),
            (D::UnreachableHasAnUnknownEffect, E::Unreachable) => (E::Unreachable, false),
            _ => return Err(found),
        };
        Err(if certain { error(kind).without_effect() } else { error(kind) })
    }

    fn waits(&self, waiting: Waiting) -> bool {
        self.harm().waiting == Some(waiting)
    }

    async fn now(&self) -> Schema {
        self.inner.schema().await.unwrap_or_default()
    }

    /// Distorts what is asked for.
    async fn asked(&self, request: &mut Migrate) {
        use Defect as D;
        let (now, to) = (self.now().await, request.to);
        let contracts = to == Schema::Contracted && request.permit.is_none();
        let lend = match self.defect {
            D::NoPermitIsNeeded => contracts,
            D::NoPermitIsNeededForWhatIsFilled => contracts && now == Schema::Backfilled,
            D::NoPermitIsNeededOnARetry => contracts && now == Schema::Contracting,
            _ => false,
        };
        if lend {
            request.permit = Some(ContractPermit::by_person("nobody", "a defect", Vec::new()));
        }
        if self.is(D::PermitIsRemembered) {
            let mut harm = self.harm();
            request.permit = request.permit.take().or_else(|| harm.permit.clone());
            harm.permit = request.permit.clone();
        }
        if self.is(D::PermitContracts) && request.permit.is_some() {
            request.to = Schema::Contracted;
        }
        if self.is(D::MigratesOneStateAtATime) && now < Schema::Expanded {
            request.to = to.min(Schema::Expanded);
        }
        let zero = request.deadline.is_zero();
        request.deadline = match self.defect {
            D::DeadlineIsIgnored => request.deadline.max(Duration::from_secs(60)),
            D::HeldTableIsWaitedForWithoutEnd if !zero => Duration::from_secs(86_400),
            D::HeldTableFailsAtOnce if self.harm().held => Duration::from_millis(1),
            _ => request.deadline,
        };
    }

    /// Answers instead of the database; `None` where it is asked.
    async fn instead(&self, request: &Migrate) -> Option<Result<Applied, StepError>> {
        use Defect as D;
        let (now, to) = (self.now().await, request.to);
        let dropped = self.harm().dropped;
        let lost = self.inner.schema().await.is_err();
        let certain = |kind| Some(Err(error(kind).without_effect()));
        match self.defect {
            D::MigrateDoesNothing => Some(Ok(Applied::Applied)),
            D::AtOnceIsTooLateForWhatIsThere if request.deadline.is_zero() => certain(ErrorKind::Timeout),
            D::DroppedBlocksTheNext if dropped => certain(ErrorKind::Busy),
            D::DroppedIsAConflictForTheNext if dropped => Some(Err(error(ErrorKind::Conflict))),
            D::DroppedIsNeverRun if dropped => Some(Ok(Applied::AlreadySo)),
            D::FailureStaysOnceMended if self.harm().failed => Some(Err(error(ErrorKind::Conflict))),
            D::WhatLeadsBackToBaseIsWell if to == Schema::Base => Some(Ok(Applied::AlreadySo)),
            D::UnreachableIsAlreadySo if lost && to == Schema::Expanded => Some(Ok(Applied::AlreadySo)),
            D::FenceIsForWhatIsDoneOnly if now == to => Some(Ok(Applied::AlreadySo)),
            D::TheOthersOfManyFail if self.harm().in_flight > 1 => certain(ErrorKind::Conflict),
            D::OldSessionsKeepAllFromBeingMigrated if self.harm().old_session => certain(ErrorKind::Denied),
            D::OldSessionsAreRemembered if self.harm().was_in_use && to == Schema::Contracted => {
                certain(ErrorKind::Denied)
            }
            _ => None,
        }
    }

    /// Does what the defect does before the database is asked.
    async fn beforehand(&self, request: &Migrate) {
        use Defect as D;
        let now = self.now().await;
        match self.defect {
            D::DeniedAfterTheExpansion if request.to == Schema::Contracted && request.permit.is_none() => {
                let _ = self.inner.migrate(HIGHEST, Migrate::new(Schema::Backfilled)).await;
            }
            D::ContractSkipsTheBackfill if request.to == Schema::Contracted && now < Schema::Backfilled => {
                self.harm().unfilled = 1;
            }
            D::OldSessionsAreIgnored => self.subject.use_old_release(false).await.unwrap(),
            D::ContradictionIsRun if self.waits(Waiting::Edited) => {
                self.subject.scripts(Waiting::Split).await.unwrap();
            }
            D::HeldTableIsChangedWithoutEffect if self.harm().held => self.harm().again[0] += 1,
            _ => {}
        }
    }

    fn epoch(&self, epoch: LeaseEpoch, to: Schema) -> Result<LeaseEpoch, StepError> {
        use Defect as D;
        let mut own = self.own.lock().unwrap();
        let known = own.epoch.max(epoch.number());
        match self.defect {
            D::NoFence => Ok(HIGHEST),
            D::NoFenceForContractions if to == Schema::Contracted => Ok(HIGHEST),
            D::FenceIsForgottenByARestart if self.harm().restarts > 0 => Ok(HIGHEST),
            D::DeniedAfterTheExpansion => Ok(HIGHEST),
            D::HigherEpochsAreFenced if epoch.number() > 10 => Err(error(ErrorKind::Fenced).without_effect()),
            D::FenceLivesInTheValue if epoch.number() < known => Err(error(ErrorKind::Fenced).without_effect()),
            D::FenceLivesInTheValue => {
                own.epoch = known;
                Ok(HIGHEST)
            }
            _ => Ok(epoch),
        }
    }

    /// Harms the database once a migration went well, which brought it from one state to another.
    fn harmed(&self, before: Schema, to: Schema, done: Applied) -> Applied {
        use Defect as D;
        let mut harm = self.harm();
        let ran = |state: Schema| done == Applied::Applied && before < state && state <= to;
        let (expanded, filled, contracted) = (ran(Schema::Expanded), ran(Schema::Backfilled), ran(Schema::Contracted));
        match self.defect {
            D::ExpandDropsAmount => harm.amount_is_gone |= expanded,
            D::ExpandTakesRows => harm.rows_gone |= u64::from(expanded),
            D::ExpandFills => harm.filled |= expanded,
            D::BackfillLeavesARow => harm.unfilled |= u64::from(filled),
            D::BackfillTakesRows => harm.rows_gone |= u64::from(filled),
            D::BackfillDropsAmount => harm.amount_is_gone |= filled,
            D::ContractDropsNothing => harm.amount_is_left |= contracted,
            D::ContractTakesRows => harm.rows_gone |= u64::from(contracted),
            D::WhatIsThereIsRunAgain => harm.again[0] += u32::from(done == Applied::AlreadySo && to > Schema::Base),
            D::ManyAtOnceRunTwice => harm.again[0] += u32::from(harm.in_flight > 1),
            D::DroppedIsRunAgain => harm.again[0] += u32::from(harm.dropped),
            D::FailureIsRunTwiceOnceMended => harm.again[0] += u32::from(harm.failed),
            _ => {}
        }
        match self.defect {
            D::MigrateSaysApplied => Applied::Applied,
            D::MigrateSaysAlreadySo => Applied::AlreadySo,
            D::ScriptlessPhaseIsAlwaysApplied if harm.waiting == Some(Waiting::Additive) => Applied::Applied,
            _ => done,
        }
    }
}

#[async_trait]
impl ObserveDatabase for Broken {
    async fn schema(&self) -> Result<Schema, StepError> {
        use Defect as D;
        let found = self.spoil(self.inner.schema().await, false);
        if self.is(D::UnreachableIsBase) && found.is_err() {
            return Ok(Schema::Base);
        }
        let schema = found?;
        let asked = {
            let mut own = self.own.lock().unwrap();
            own.read.get_or_insert(schema);
            own.asked
        };
        if self.is(D::ReadExpands) && schema == Schema::Base {
            self.inner.migrate(LeaseEpoch::new(1), Migrate::new(Schema::Expanded)).await?;
        }
        let additive = self.waits(Waiting::Additive);
        Ok(match (self.defect, schema) {
            (D::SchemaIsBase, _) => Schema::Base,
            (D::SchemaIsExpanded, _) => Schema::Expanded,
            (D::SchemaIsReadOnce, _) => self.own.lock().unwrap().read.unwrap_or(schema),
            (D::SchemaLivesInTheValue, _) => asked.unwrap_or_default(),
            (D::SchemaIsForgottenByARestart, _) if self.harm().restarts > 0 => Schema::Base,
            (D::HalfWayIsCalledDone, Schema::Expanding) => Schema::Expanded,
            (D::HalfWayIsCalledDone, Schema::Contracting) => Schema::Contracted,
            (D::BackfillIsCalledDoneWithTheExpansion, Schema::Expanded) => Schema::Backfilled,
            (D::FailureIsDoneOnARetry, Schema::Expanding) => Schema::Expanded,
            (D::ScriptlessPhaseIsNotReached, Schema::Backfilled) if additive => Schema::Expanded,
            (D::ScriptlessPhaseIsReachedInTheValue, Schema::Backfilled) if additive && asked.is_none() => {
                Schema::Expanded
            }
            _ => schema,
        })
    }

    async fn review(&self) -> Result<SchemaChange, StepError> {
        use Defect as D;
        use SchemaVerdict as V;
        let found = self.spoil(self.inner.review().await, false);
        let nothing = SchemaChange::new(V::Nothing, "none");
        let mut change = match (self.defect, found) {
            (D::UnreachableHasNothingToReview, Err(found)) if found.kind() == ErrorKind::Unreachable => nothing,
            (D::ContradictionIsReviewed, Err(found)) if found.kind() == ErrorKind::Conflict => nothing,
            (_, found) => found?,
        };
        if self.is(D::ReviewExpands) && self.now().await == Schema::Base {
            self.inner.migrate(LeaseEpoch::new(1), Migrate::new(Schema::Expanded)).await?;
        }
        let filled = self.now().await == Schema::Backfilled;
        match (self.defect, change.verdict) {
            (D::DigestIsOfTheMoment, _) => change.digest = VALUES.fetch_add(1, Ordering::SeqCst).to_string(),
            (D::DigestIsOfTheValue, _) => change.digest += &format!("{:p}", &raw const *self),
            (D::DigestIsOneForAllScripts, _) => change.digest = "scripts".into(),
            (D::DigestIsForgottenByARestart, _) => change.digest += &self.harm().restarts.to_string(),
            (D::VerdictIsAlwaysSplittable, _)
            | (D::AdditionsAreSplittable, V::ExpandOnly)
            | (D::BreakingIsSplittable, V::NeedsWindow)
            | (D::ContractionWaitsOn, V::Nothing) => change.verdict = V::Splittable,
            (D::SplittableIsExpandOnly, V::Splittable) | (D::NothingIsExpandOnly, V::Nothing) => {
                change.verdict = V::ExpandOnly;
            }
            (D::ContractionWaitsNoMore, V::Splittable) if filled => change.verdict = V::Nothing,
            (D::BreakingIsWithoutReasons, V::NeedsWindow) => change.reasons.clear(),
            _ => {}
        }
        Ok(change)
    }
}

#[async_trait]
impl Database for Broken {
    fn cloning(&self) -> Option<&dyn CloneDatabase> {
        self.inner.cloning()
    }

    async fn migrate(&self, epoch: LeaseEpoch, mut request: Migrate) -> Result<Applied, StepError> {
        use Defect as D;
        self.harm().in_flight += 1;
        let mut flight = Flight(self, false);
        if self.is(D::FailureIsDoneOnARetry) && self.harm().failed && request.to == Schema::Expanded {
            flight.1 = true;
            return Ok(Applied::AlreadySo);
        }
        self.asked(&mut request).await;
        let to = request.to;
        if let Some(answer) = self.instead(&request).await {
            flight.1 = true;
            return answer;
        }
        self.beforehand(&request).await;
        let before = self.now().await;
        let held = {
            let mut harm = self.harm();
            harm.was_in_use |= harm.old_session;
            harm.held
        };
        let epoch = match self.epoch(epoch, to) {
            Ok(epoch) => epoch,
            Err(fenced) => {
                flight.1 = true;
                return Err(fenced);
            }
        };
        let done = self.inner.migrate(epoch, request).await;
        flight.1 = true;
        let failed = done.as_ref().err().map(|found| (found.kind(), found.effect()));
        let a_statement_failed = failed == Some((ErrorKind::Conflict, Effect::Unknown));
        self.harm().failed |= a_statement_failed;
        let led_back = failed == Some((ErrorKind::Conflict, Effect::None));
        match self.defect {
            D::FailureIsWell if a_statement_failed => return Ok(Applied::Applied),
            D::FailureOfABackfillGoesOn if a_statement_failed && to == Schema::Contracted => self.harm().again[2] += 1,
            D::WhatLeadsBackIsAlreadySo if led_back => return Ok(Applied::AlreadySo),
            D::HeldTableIsChangedWithoutEffect if held && failed.is_some() => {
                return Err(error(ErrorKind::Timeout).without_effect());
            }
            _ => {}
        }
        let done = self.spoil(done, held)?;
        self.own.lock().unwrap().asked = Some(to);
        Ok(self.harmed(before, to, done))
    }
}
