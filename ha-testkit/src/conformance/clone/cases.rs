//! The cases.

use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{CloneDatabase, Cloned, ContractPermit, Database, Effect, ErrorKind, StepError, TakeCloneStep};
use ha_core::state::{CloneStage, CloneStep, Copies, LeaseEpoch, Source};

use super::{CloneAbility, CloneFixture, CloneSubject, Side};
use crate::conformance::balancer::scene::EPOCH;
use crate::conformance::patience::dropped_after;
use crate::conformance::verdict::{Done, Stop, breach, ensure, needs, refused, same};

/// After how many polls a call is dropped: at its beginning, and in the middle of its statements.
const POLLS: [u32; 4] = [1, 3, 9, 27];
/// How long a call may take.
const LONG: Duration = Duration::from_secs(60);
/// The steps up to a clone that is migrated.
const STEPS: [CloneStep; 4] = [CloneStep::Freeze, CloneStep::Copy, CloneStep::Compare, CloneStep::Migrate];

struct Scene {
    subject: Box<dyn CloneSubject>,
    database: Arc<dyn Database>,
    /// What the source holds.
    rows: Vec<u64>,
}

fn cloning(database: &dyn Database) -> Result<&dyn CloneDatabase, Stop> {
    database.cloning().ok_or_else(|| breach("the database says that it cannot be cloned"))
}

fn to(step: CloneStep) -> TakeCloneStep {
    let request = TakeCloneStep::new(step).with_deadline(LONG);
    if step == CloneStep::Migrate {
        request.with_permit(ContractPermit::by_person("the suite", "no server of it was started", vec!["1.0".into()]))
    } else {
        request
    }
}

impl Scene {
    async fn open(fixture: &dyn CloneFixture) -> Result<Self, Stop> {
        let subject = fixture.fresh().await?;
        let rows = subject.rows(Side::Source).await?.unwrap_or_default();
        ensure(rows.len() >= 2, || format!("the fixture built a table of {} rows", rows.len()))?;
        let scene = Self { database: subject.database(), subject, rows };
        same("the clone that the fixture built", scene.subject.rows(Side::Clone).await?, None)?;
        Ok(scene)
    }

    /// Opens a scene in which so many of the steps were taken.
    async fn after(fixture: &dyn CloneFixture, steps: usize) -> Result<Self, Stop> {
        let scene = Self::open(fixture).await?;
        for step in &STEPS[..steps] {
            scene.take(*step).await?;
        }
        Ok(scene)
    }

    async fn take(&self, step: CloneStep) -> Result<Cloned, Stop> {
        Ok(self.ask(to(step)).await??)
    }

    async fn ask(&self, request: TakeCloneStep) -> Result<Result<Cloned, StepError>, Stop> {
        Ok(cloning(&*self.database)?.clone_step(EPOCH, request).await)
    }

    async fn copies(&self) -> Result<Copies, Stop> {
        Ok(cloning(&*self.database)?.copies().await?)
    }

    async fn are(&self, source: Source, clone: CloneStage) -> Done {
        same("the copies, as they are read", self.copies().await?, Copies::new(source, clone))
    }

    async fn refuses(&self, step: CloneStep) -> Done {
        let before = self.copies().await?;
        refused(&step.to_string(), self.ask(to(step)).await?, ErrorKind::Conflict, Effect::None)?;
        same("the copies, after what was refused", self.copies().await?, before)
    }

    async fn takes_writes(&self, side: Side, takes: bool) -> Done {
        same(format!("whether the {side:?} takes writes"), self.subject.write(side).await?, takes)
    }

    async fn clone_has(&self, rows: &[u64]) -> Done {
        same("the rows of the clone", self.subject.rows(Side::Clone).await?, Some(rows.to_vec()))
    }
}

pub(super) async fn a_database_that_nobody_clones_takes_writes(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.are(Source::Open, CloneStage::Absent).await?;
    scene.takes_writes(Side::Source, true).await
}

pub(super) async fn a_frozen_source_refuses_the_writes_of_every_session_and_answers_reads(
    fixture: &dyn CloneFixture,
) -> Done {
    let scene = Scene::open(fixture).await?;
    // The session that writes has been open since before the freeze.
    scene.takes_writes(Side::Source, true).await?;
    let rows = scene.subject.rows(Side::Source).await?;
    scene.take(CloneStep::Freeze).await?;
    scene.are(Source::Frozen, CloneStage::Absent).await?;
    scene.takes_writes(Side::Source, false).await?;
    same("the rows of the frozen source", scene.subject.rows(Side::Source).await?, rows)
}

pub(super) async fn a_frozen_source_refuses_writes_after_a_restart(fixture: &dyn CloneFixture) -> Done {
    needs(fixture.can(CloneAbility::Restarts), CloneAbility::Restarts.name())?;
    let scene = Scene::after(fixture, 1).await?;
    scene.subject.restart().await?;
    scene.are(Source::Frozen, CloneStage::Absent).await?;
    scene.takes_writes(Side::Source, false).await
}

pub(super) async fn a_thawed_source_takes_writes_again(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::after(fixture, 1).await?;
    scene.take(CloneStep::Thaw).await?;
    scene.are(Source::Open, CloneStage::Absent).await?;
    scene.takes_writes(Side::Source, true).await
}

pub(super) async fn a_transaction_that_has_written_is_waited_for(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.subject.hold(true).await?;
    let short = TakeCloneStep::new(CloneStep::Freeze).with_deadline(Duration::from_millis(700));
    match scene.ask(short).await? {
        Ok(cloned) => return Err(breach(format!("it was frozen beside a transaction that has written: {cloned:?}"))),
        Err(error) => same(format!("a freeze beside it: {error}"), error.kind(), ErrorKind::Timeout)?,
    }
    ensure(scene.copies().await?.source != Source::Frozen, || "it says that it is frozen".into())?;
    scene.subject.hold(false).await?;
    scene.take(CloneStep::Freeze).await?;
    let rows = scene.subject.rows(Side::Source).await?.unwrap_or_default();
    ensure(rows.len() > scene.rows.len(), || format!("the row of the transaction is lost: {rows:?}"))?;
    scene.take(CloneStep::Copy).await?;
    scene.clone_has(&rows).await
}

pub(super) async fn a_copy_has_every_row(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::after(fixture, 2).await?;
    scene.are(Source::Frozen, CloneStage::Copied).await?;
    scene.clone_has(&scene.rows).await?;
    same("the column total of the copy", scene.subject.has_total(Side::Clone).await?, false)
}

pub(super) async fn a_source_that_takes_writes_is_not_copied(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.refuses(CloneStep::Copy).await?;
    same("the clone", scene.subject.rows(Side::Clone).await?, None)
}

pub(super) async fn what_others_have_put_there_is_not_copied_over_and_not_dropped(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::after(fixture, 1).await?;
    scene.subject.occupy().await?;
    scene.are(Source::Frozen, CloneStage::Occupied).await?;
    scene.refuses(CloneStep::Copy).await?;
    scene.refuses(CloneStep::Drop).await
}

pub(super) async fn a_copy_that_equals_the_source_is_told_with_its_rows(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::after(fixture, 2).await?;
    let cloned = scene.take(CloneStep::Compare).await?;
    let rows = scene.rows.len() as u64;
    ensure(cloned.tables >= 2 && cloned.rows >= rows, || format!("{cloned:?}, with {rows} rows in one table"))?;
    scene.are(Source::Frozen, CloneStage::Compared).await
}

pub(super) async fn a_copy_that_differs_is_a_conflict_that_names_the_table(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::after(fixture, 2).await?;
    scene.subject.spoil().await?;
    match scene.ask(to(CloneStep::Compare)).await? {
        Ok(cloned) => return Err(breach(format!("a copy that differs is called equal: {cloned:?}"))),
        Err(error) => {
            same(format!("a copy that differs: {error}"), error.kind(), ErrorKind::Conflict)?;
            ensure(error.to_string().contains("orders"), || format!("the table is not named: {error}"))?;
        }
    }
    scene.are(Source::Frozen, CloneStage::Copied).await?;
    scene.take(CloneStep::Copy).await?;
    // What is copied already is not copied again; it has to be dropped first.
    scene.take(CloneStep::Drop).await?;
    scene.take(CloneStep::Copy).await?;
    scene.take(CloneStep::Compare).await.map(drop)
}

pub(super) async fn a_copy_that_was_not_compared_is_not_migrated(fixture: &dyn CloneFixture) -> Done {
    Scene::after(fixture, 2).await?.refuses(CloneStep::Migrate).await
}

pub(super) async fn a_migrated_clone_has_the_new_schema_and_refuses_writes(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::after(fixture, 4).await?;
    scene.are(Source::Frozen, CloneStage::Migrated).await?;
    same("the column total of the clone", scene.subject.has_total(Side::Clone).await?, true)?;
    same("the column total of the source", scene.subject.has_total(Side::Source).await?, false)?;
    scene.takes_writes(Side::Clone, false).await?;
    scene.takes_writes(Side::Source, false).await?;
    scene.clone_has(&scene.rows).await
}

pub(super) async fn nothing_is_migrated_without_a_permit(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::after(fixture, 3).await?;
    let asked = scene.ask(TakeCloneStep::new(CloneStep::Migrate).with_deadline(LONG)).await?;
    refused("a migration without a permit", asked, ErrorKind::Denied, Effect::None)?;
    scene.are(Source::Frozen, CloneStage::Compared).await?;
    same("the column total of the clone", scene.subject.has_total(Side::Clone).await?, false)
}

pub(super) async fn a_clone_that_is_open_takes_writes_and_the_source_does_not(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::after(fixture, 4).await?;
    scene.take(CloneStep::Open).await?;
    scene.are(Source::Frozen, CloneStage::Open).await?;
    scene.takes_writes(Side::Clone, true).await?;
    scene.takes_writes(Side::Source, false).await
}

pub(super) async fn what_takes_writes_is_not_given_up(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::after(fixture, 4).await?;
    scene.take(CloneStep::Open).await?;
    scene.refuses(CloneStep::Drop).await?;
    scene.refuses(CloneStep::Thaw).await?;
    scene.refuses(CloneStep::Copy).await?;
    scene.takes_writes(Side::Source, false).await?;
    scene.takes_writes(Side::Clone, true).await
}

pub(super) async fn a_dropped_clone_is_empty_and_can_be_made_again(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::after(fixture, 4).await?;
    scene.take(CloneStep::Drop).await?;
    scene.are(Source::Frozen, CloneStage::Absent).await?;
    same("the dropped clone", scene.subject.rows(Side::Clone).await?, None)?;
    scene.take(CloneStep::Thaw).await?;
    scene.takes_writes(Side::Source, true).await?;
    for step in STEPS {
        scene.take(step).await?;
    }
    let rows = scene.subject.rows(Side::Source).await?.unwrap_or_default();
    scene.clone_has(&rows).await
}

pub(super) async fn what_is_asked_for_twice_is_done_once(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for step in STEPS.into_iter().chain([CloneStep::Open]) {
        scene.take(step).await?;
        let once = scene.copies().await?;
        scene.take(step).await?;
        same(format!("the copies, after two times {step}"), scene.copies().await?, once)?;
    }
    scene.clone_has(&scene.rows).await
}

pub(super) async fn the_next_controller_goes_on_where_this_one_stopped(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for step in STEPS.into_iter().chain([CloneStep::Open]) {
        let next = scene.subject.another();
        let next = cloning(&*next)?;
        same("the copies, as the next controller reads them", next.copies().await?, scene.copies().await?)?;
        next.clone_step(EPOCH, to(step)).await?;
    }
    scene.are(Source::Frozen, CloneStage::Open).await?;
    scene.clone_has(&scene.rows).await
}

pub(super) async fn a_dropped_call_leaves_what_the_next_finishes(fixture: &dyn CloneFixture) -> Done {
    for (taken, step) in STEPS.into_iter().enumerate() {
        let mut dropped = 0;
        for polls in POLLS {
            let scene = Scene::after(fixture, taken).await?;
            let call = dropped_after(cloning(&*scene.database)?.clone_step(EPOCH, to(step)), polls).await;
            let ended = call.is_some();
            dropped += usize::from(!ended);
            cloning(&*scene.subject.another())?.clone_step(EPOCH, to(step)).await?;
            ensure(scene.copies().await?.has(step), || format!("{step} was dropped, and not finished"))?;
            if step != CloneStep::Freeze {
                scene.clone_has(&scene.rows).await?;
            }
            // Whoever was not dropped here ends before all that come later too.
            if ended {
                break;
            }
        }
        ensure(dropped > 0, || format!("no {step} was dropped before its end"))?;
    }
    Ok(())
}

pub(super) async fn a_stale_epoch_changes_nothing(fixture: &dyn CloneFixture) -> Done {
    needs(fixture.can(CloneAbility::Fences), CloneAbility::Fences.name())?;
    let scene = Scene::after(fixture, 1).await?;
    let stale = LeaseEpoch::new(EPOCH.number() - 1);
    for database in [scene.database.clone(), scene.subject.another()] {
        for step in [CloneStep::Thaw, CloneStep::Copy] {
            let asked = cloning(&*database)?.clone_step(stale, to(step)).await;
            refused(&format!("a stale {step}"), asked, ErrorKind::Fenced, Effect::None)?;
            scene.are(Source::Frozen, CloneStage::Absent).await?;
        }
    }
    scene.takes_writes(Side::Source, false).await
}

pub(super) async fn reads_change_nothing(fixture: &dyn CloneFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for _ in 0..3 {
        scene.are(Source::Open, CloneStage::Absent).await?;
    }
    ensure(!cloning(&*scene.database)?.clone_url().is_empty(), || "it does not say where the clone is".into())?;
    scene.takes_writes(Side::Source, true).await
}
