//! The suite for databases that can be cloned is proven itself: it runs on some with one defect each, and fails if one survives.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod proof;

use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, CloneDatabase, Cloned, Database, Effect, ErrorKind, LeaseEpoch, Migrate, ObserveDatabase, StepError,
    TakeCloneStep,
};
use ha_core::state::{CloneStage, CloneStep, Copies, Schema, SchemaChange, Source};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::clone::{CASES, CloneAbility, CloneFixture, CloneSubject, FakeCloneFixture, Side};
use proof::every_defect_is_caught;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Defect {
    Whole,
    CannotBeCloned,
    SaysSingle,
    SaysNothingOfWhere,
    FreezeDoesNothing,
    FreezeDoesNotWait,
    FreezeEndsWithARestart,
    FreezeIsCalledOpen,
    ThawDoesNothing,
    CopyDoesNothing,
    CopyNeedsNoFreeze,
    CopyOverOthers,
    DropsOthers,
    CopyLosesARow,
    CompareComparesNothing,
    CompareCountsNothing,
    DifferenceIsDenied,
    DifferenceIsNotNamed,
    MigrateNeedsNoComparison,
    MigrateNeedsNoPermit,
    MigratedTakesWrites,
    OpenDoesNothing,
    OpenThaws,
    OpenIsDropped,
    OpenIsThawed,
    DropDoesNothing,
    TwiceIsAConflict,
    RefusalHasAnUnknownEffect,
    NoFence,
    FencedIsAConflict,
    ReadFreezes,
}

use Defect as D;

const DEFECTS: &[Defect] = &[
    D::CannotBeCloned,
    D::SaysSingle,
    D::SaysNothingOfWhere,
    D::FreezeDoesNothing,
    D::FreezeDoesNotWait,
    D::FreezeEndsWithARestart,
    D::FreezeIsCalledOpen,
    D::ThawDoesNothing,
    D::CopyDoesNothing,
    D::CopyNeedsNoFreeze,
    D::CopyOverOthers,
    D::DropsOthers,
    D::CopyLosesARow,
    D::CompareComparesNothing,
    D::CompareCountsNothing,
    D::DifferenceIsDenied,
    D::DifferenceIsNotNamed,
    D::MigrateNeedsNoComparison,
    D::MigrateNeedsNoPermit,
    D::MigratedTakesWrites,
    D::OpenDoesNothing,
    D::OpenThaws,
    D::OpenIsDropped,
    D::OpenIsThawed,
    D::DropDoesNothing,
    D::TwiceIsAConflict,
    D::RefusalHasAnUnknownEffect,
    D::NoFence,
    D::FencedIsAConflict,
    D::ReadFreezes,
];

const HIGHEST: LeaseEpoch = LeaseEpoch::new(1000);

struct Broken {
    defect: Defect,
    inner: Arc<dyn Database>,
    subject: Arc<dyn CloneSubject>,
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Broken({:?})", self.defect)
    }
}

impl Broken {
    fn clone_of(&self) -> &dyn CloneDatabase {
        self.inner.cloning().unwrap()
    }

    async fn step(&self, step: CloneStep) -> Result<Cloned, StepError> {
        let permit = ha_core::backend::ContractPermit::by_person("nobody", "a defect", Vec::new());
        self.clone_of().clone_step(HIGHEST, TakeCloneStep::new(step).with_permit(permit)).await
    }
}

#[async_trait]
impl ObserveDatabase for Broken {
    async fn schema(&self) -> Result<Schema, StepError> {
        self.inner.schema().await
    }

    async fn review(&self) -> Result<SchemaChange, StepError> {
        self.inner.review().await
    }
}

#[async_trait]
impl Database for Broken {
    fn cloning(&self) -> Option<&dyn CloneDatabase> {
        (self.defect != D::CannotBeCloned).then_some(self as &dyn CloneDatabase)
    }

    async fn migrate(&self, epoch: LeaseEpoch, request: Migrate) -> Result<Applied, StepError> {
        self.inner.migrate(epoch, request).await
    }
}

#[async_trait]
impl CloneDatabase for Broken {
    fn clone_url(&self) -> String {
        if self.defect == D::SaysNothingOfWhere { String::new() } else { self.clone_of().clone_url() }
    }

    async fn copies(&self) -> Result<Copies, StepError> {
        if self.defect == D::ReadFreezes {
            let _ = self.step(CloneStep::Freeze).await;
        }
        let mut copies = self.clone_of().copies().await?;
        match self.defect {
            D::SaysSingle => copies = Copies::SINGLE,
            D::FreezeIsCalledOpen => copies.source = Source::Open,
            _ => {}
        }
        Ok(copies)
    }

    async fn clone_step(&self, epoch: LeaseEpoch, mut request: TakeCloneStep) -> Result<Cloned, StepError> {
        let (step, copies) = (request.step, self.clone_of().copies().await?);
        let error = |kind| StepError::new(kind, "clone_step", "database");
        let nothing = matches!(
            (self.defect, step),
            (D::FreezeDoesNothing, CloneStep::Freeze)
                | (D::ThawDoesNothing, CloneStep::Thaw)
                | (D::CopyDoesNothing, CloneStep::Copy)
                | (D::OpenDoesNothing, CloneStep::Open)
                | (D::DropDoesNothing, CloneStep::Drop)
        );
        if nothing {
            return Ok(Cloned::default());
        }
        match (self.defect, step) {
            (D::FreezeDoesNotWait, CloneStep::Freeze) => self.subject.hold(false).await.unwrap(),
            (D::CopyNeedsNoFreeze, CloneStep::Copy) => drop(self.step(CloneStep::Freeze).await),
            (D::CopyOverOthers | D::DropsOthers, _) if copies.clone == CloneStage::Occupied => {
                let drops = step == CloneStep::Drop;
                if drops == (self.defect == D::DropsOthers) {
                    return Ok(Cloned::default());
                }
            }
            (D::MigrateNeedsNoComparison, CloneStep::Migrate) if copies.clone == CloneStage::Copied => {
                let _ = self.step(CloneStep::Compare).await;
            }
            (D::OpenIsDropped, CloneStep::Drop) | (D::OpenIsThawed, CloneStep::Thaw)
                if copies.clone == CloneStage::Open =>
            {
                return Ok(Cloned::default());
            }
            (D::TwiceIsAConflict, _) if copies.has(step) => return Err(error(ErrorKind::Conflict)),
            _ => {}
        }
        if self.defect == D::MigrateNeedsNoPermit && request.permit.is_none() {
            let permit = ha_core::backend::ContractPermit::by_person("nobody", "a defect", Vec::new());
            request = request.with_permit(permit);
        }
        let epoch = if self.defect == D::NoFence { HIGHEST } else { epoch };
        let answer = self.clone_of().clone_step(epoch, request).await;
        match (self.defect, step, answer) {
            (D::CompareCountsNothing, CloneStep::Compare, Ok(_)) => Ok(Cloned::default()),
            (D::CopyLosesARow, CloneStep::Copy, Ok(cloned)) => {
                self.subject.spoil().await.unwrap();
                Ok(cloned)
            }
            (D::DifferenceIsDenied, CloneStep::Compare, Err(found)) if found.effect() == Effect::Unknown => {
                Err(error(ErrorKind::Denied).with_context("orders"))
            }
            (D::CompareComparesNothing, CloneStep::Compare, Err(_)) => Ok(Cloned::new(2, 9)),
            (D::DifferenceIsNotNamed, CloneStep::Compare, Err(found)) => Err(error(found.kind())),
            (D::RefusalHasAnUnknownEffect, _, Err(found)) if found.effect() == Effect::None => Err(error(found.kind())),
            (D::FencedIsAConflict, _, Err(found)) if found.kind() == ErrorKind::Fenced => {
                Err(error(ErrorKind::Conflict).without_effect())
            }
            (_, _, answer) => answer,
        }
    }
}

struct BrokenFixture(Defect);

struct BrokenSubject {
    defect: Defect,
    inner: Arc<dyn CloneSubject>,
    database: Arc<dyn Database>,
}

#[async_trait]
impl CloneFixture for BrokenFixture {
    fn name(&self) -> String {
        "a database in memory".into()
    }

    fn can(&self, ability: CloneAbility) -> bool {
        FakeCloneFixture::new().can(ability)
    }

    async fn fresh(&self) -> Result<Box<dyn CloneSubject>, Breach> {
        let inner: Arc<dyn CloneSubject> = FakeCloneFixture::new().fresh().await?.into();
        let database = Arc::new(Broken { defect: self.0, inner: inner.database(), subject: inner.clone() });
        Ok(Box::new(BrokenSubject { defect: self.0, inner, database }))
    }
}

#[async_trait]
impl CloneSubject for BrokenSubject {
    fn database(&self) -> Arc<dyn Database> {
        self.database.clone()
    }

    fn another(&self) -> Arc<dyn Database> {
        Arc::new(Broken { defect: self.defect, inner: self.inner.another(), subject: self.inner.clone() })
    }

    async fn write(&self, side: Side) -> Result<bool, Breach> {
        let copies = self.inner.database().cloning().unwrap().copies().await.unwrap();
        match (self.defect, side) {
            (D::MigratedTakesWrites, Side::Clone) if copies.clone == CloneStage::Migrated => Ok(true),
            (D::OpenThaws, Side::Source) if copies.clone == CloneStage::Open => Ok(true),
            _ => self.inner.write(side).await,
        }
    }

    async fn rows(&self, side: Side) -> Result<Option<Vec<u64>>, Breach> {
        self.inner.rows(side).await
    }

    async fn has_total(&self, side: Side) -> Result<bool, Breach> {
        self.inner.has_total(side).await
    }

    async fn occupy(&self) -> Result<(), Breach> {
        self.inner.occupy().await
    }

    async fn spoil(&self) -> Result<(), Breach> {
        self.inner.spoil().await
    }

    async fn hold(&self, held: bool) -> Result<(), Breach> {
        self.inner.hold(held).await
    }

    async fn restart(&self) -> Result<(), Breach> {
        self.inner.restart().await?;
        if self.defect == D::FreezeEndsWithARestart {
            let thaw = TakeCloneStep::new(CloneStep::Thaw);
            self.inner.database().cloning().unwrap().clone_step(HIGHEST, thaw).await.unwrap();
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_database_that_can_be_cloned_is_caught() {
    let broken = |defect| Box::new(BrokenFixture(defect)) as Box<dyn CloneFixture>;
    every_defect_is_caught("databases that can be cloned", CASES, &BrokenFixture(D::Whole), DEFECTS, broken).await;
}
