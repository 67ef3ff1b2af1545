//! Statements that fail, controllers that are gone or too old, and others that use the database.

use std::time::Duration;

use ha_core::backend::{Applied, Effect, ErrorKind, Migrate};
use ha_core::state::Schema;
use tokio::time::sleep;

use super::scene::{LONG, Scene, failed, later, to};
use super::{DatabaseAbility, DatabaseFixture, ScriptPhase};
use crate::conformance::balancer::scene::{EPOCH, STALE};
use crate::conformance::patience::dropped_after;
use crate::conformance::verdict::{Done, breach, ensure, needs, refused, same};

/// After how many polls a call is dropped: while it connects, and in the middle of its statements.
const POLLS: [u32; 9] = [1, 2, 3, 4, 6, 9, 14, 22, 40];
/// How long a held table is waited for where that is in vain, and for how long it is held where it is not.
const SHORT: Duration = Duration::from_secs(1);
const WHILE: Duration = Duration::from_millis(300);

/// Checks what is left where the script that leads from one state to the next fails, and that it is finished.
async fn fails_half_way(fixture: &dyn DatabaseFixture, phase: ScriptPhase, from: Schema, next: Schema) -> Done {
    let scene = Scene::at(fixture, from).await?;
    let before = scene.truth().await?;
    let (mut now, mut there) = (from, before.clone());
    scene.subject.fail(phase).await?;
    for turn in ["a migration", "the same again"] {
        let effect = failed(turn, scene.migrate(to(next)).await, ErrorKind::Conflict)?;
        let seen = scene.database.schema().await?;
        ensure(from <= seen && seen < next, || format!("{turn} to {next} failed, and the schema is {seen}"))?;
        same("the schema, as the next one reads it", scene.subject.another().schema().await?, seen)?;
        let left = scene.truth().await?;
        same(format!("which scripts have taken effect after {turn}"), left.applied, before.applied)?;
        let nothing_was_done = effect == Effect::None;
        ensure(!nothing_was_done || seen == now, || {
            format!("{turn} did nothing, and the schema went from {now} to {seen}")
        })?;
        // A backfill that has begun is still called by the state before it.
        if nothing_was_done || (seen == from && phase != ScriptPhase::Backfill) {
            same(format!("what is there after {turn}, as nothing was done"), &left, &there)?;
        }
        (now, there) = (seen, left);
    }
    scene.subject.mend().await?;
    scene.finish(next).await
}

pub(super) async fn an_expansion_that_fails_is_half_way_and_finished_once_mended(
    fixture: &dyn DatabaseFixture,
) -> Done {
    fails_half_way(fixture, ScriptPhase::Expand, Schema::Base, Schema::Expanded).await
}

pub(super) async fn a_backfill_that_fails_is_half_way_and_finished_once_mended(fixture: &dyn DatabaseFixture) -> Done {
    fails_half_way(fixture, ScriptPhase::Backfill, Schema::Expanded, Schema::Backfilled).await
}

pub(super) async fn a_contraction_that_fails_is_half_way_and_finished_once_mended(
    fixture: &dyn DatabaseFixture,
) -> Done {
    fails_half_way(fixture, ScriptPhase::Contract, Schema::Backfilled, Schema::Contracted).await
}

pub(super) async fn what_follows_a_script_that_failed_is_not_run(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.subject.fail(ScriptPhase::Backfill).await?;
    let effect = failed("a contraction", scene.migrate(to(Schema::Contracted)).await, ErrorKind::Conflict)?;
    same("its effect, after an expansion", effect, Effect::Unknown)?;
    same("which scripts have taken effect", scene.truth().await?.applied, [1, 0, 0])?;
    same("the schema, as it is read", scene.database.schema().await?, Schema::Expanded)?;
    scene.subject.mend().await?;
    scene.finish(Schema::Contracted).await
}

pub(super) async fn a_contraction_needs_the_permit_again_on_a_retry(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::at(fixture, Schema::Backfilled).await?;
    scene.subject.fail(ScriptPhase::Contract).await?;
    failed("a contraction", scene.migrate(to(Schema::Contracted)).await, ErrorKind::Conflict)?;
    scene.subject.mend().await?;
    let left = (scene.database.schema().await?, scene.truth().await?);
    for database in [scene.database.clone(), scene.subject.another()] {
        let asked = database.migrate(EPOCH, Migrate::new(Schema::Contracted).with_deadline(LONG)).await;
        refused("a retry without a permit", asked, ErrorKind::Denied, Effect::None)?;
        same("what is there", (scene.database.schema().await?, scene.truth().await?), left.clone())?;
    }
    same("a retry with a permit", scene.migrate(to(Schema::Contracted)).await?, Applied::Applied)?;
    scene.is(Schema::Contracted).await
}

pub(super) async fn a_dropped_call_leaves_nothing_that_the_next_does_not_finish(fixture: &dyn DatabaseFixture) -> Done {
    for (from, next) in [(Schema::Base, Schema::Backfilled), (Schema::Backfilled, Schema::Contracted)] {
        for polls in POLLS {
            let scene = Scene::at(fixture, from).await?;
            drop(dropped_after(scene.migrate(to(next)), polls).await);
            scene.finish(next).await?;
        }
    }
    Ok(())
}

pub(super) async fn a_stale_epoch_changes_nothing_where_it_is_fenced(fixture: &dyn DatabaseFixture) -> Done {
    needs(fixture.can(DatabaseAbility::Fences), DatabaseAbility::Fences.name())?;
    let scene = Scene::at(fixture, Schema::Expanded).await?;
    for database in [scene.database.clone(), scene.subject.another()] {
        for schema in [Schema::Backfilled, Schema::Contracted] {
            let asked = database.migrate(STALE, to(schema)).await;
            refused(&format!("a stale migration to {schema}"), asked, ErrorKind::Fenced, Effect::None)?;
            scene.is(Schema::Expanded).await?;
        }
    }
    let higher = scene.database.migrate(later(1), to(Schema::Backfilled)).await?;
    same("a migration with a higher epoch", higher, Applied::Applied)?;
    let asked = scene.migrate(to(Schema::Contracted)).await;
    refused("a contraction with the one before", asked, ErrorKind::Fenced, Effect::None)?;
    scene.is(Schema::Backfilled).await
}

pub(super) async fn the_epoch_is_kept_by_another_value_over_the_same_database(fixture: &dyn DatabaseFixture) -> Done {
    needs(fixture.can(DatabaseAbility::Fences), DatabaseAbility::Fences.name())?;
    let scene = Scene::at(fixture, Schema::Expanded).await?;
    let next = scene.subject.another();
    let nothing = next.migrate(later(2), to(Schema::Expanded)).await?;
    same("a migration to what is there, with a higher epoch", nothing, Applied::AlreadySo)?;
    let asked = scene.database.migrate(later(1), to(Schema::Backfilled)).await;
    refused("a backfill with a lower one", asked, ErrorKind::Fenced, Effect::None)?;
    scene.subject.restart().await?;
    let asked = scene.subject.another().migrate(later(1), to(Schema::Backfilled)).await;
    refused("the same after a restart", asked, ErrorKind::Fenced, Effect::None)?;
    scene.is(Schema::Expanded).await?;
    let same_one = scene.database.migrate(later(2), to(Schema::Backfilled)).await?;
    same("a backfill with the same epoch", same_one, Applied::Applied)
}

pub(super) async fn a_database_that_does_not_answer_is_unreachable_without_effect(
    fixture: &dyn DatabaseFixture,
) -> Done {
    needs(fixture.can(DatabaseAbility::Loses), DatabaseAbility::Loses.name())?;
    let scene = Scene::at(fixture, Schema::Expanded).await?;
    let next = scene.subject.another();
    scene.subject.lose().await?;
    refused("a read", scene.database.schema().await, ErrorKind::Unreachable, Effect::None)?;
    refused("a review", scene.database.review().await, ErrorKind::Unreachable, Effect::None)?;
    let asked = scene.migrate(to(Schema::Backfilled)).await;
    refused("a backfill", asked, ErrorKind::Unreachable, Effect::None)?;
    let asked = next.migrate(EPOCH, to(Schema::Expanded)).await;
    refused("a migration to what is there", asked, ErrorKind::Unreachable, Effect::None)?;
    scene.subject.restart().await?;
    scene.is(Schema::Expanded).await?;
    scene.finish(Schema::Backfilled).await
}

pub(super) async fn a_session_of_the_old_release_keeps_the_schema_from_being_contracted(
    fixture: &dyn DatabaseFixture,
) -> Done {
    needs(fixture.can(DatabaseAbility::OldSessions), DatabaseAbility::OldSessions.name())?;
    let scene = Scene::open(fixture).await?;
    scene.subject.use_old_release(true).await?;
    for schema in [Schema::Expanded, Schema::Backfilled] {
        same(format!("a migration to {schema} beside it"), scene.migrate(to(schema)).await?, Applied::Applied)?;
    }
    let asked = scene.migrate(to(Schema::Contracted)).await;
    refused("a contraction under it", asked, ErrorKind::Denied, Effect::None)?;
    scene.is(Schema::Backfilled).await?;
    scene.subject.use_old_release(false).await?;
    scene.finish(Schema::Contracted).await
}

pub(super) async fn a_held_table_is_waited_for_no_longer_than_the_deadline(fixture: &dyn DatabaseFixture) -> Done {
    needs(fixture.can(DatabaseAbility::Locks), DatabaseAbility::Locks.name())?;
    let scene = Scene::open(fixture).await?;
    let before = scene.truth().await?;
    scene.subject.lock(true).await?;
    let asked = scene.migrate(to(Schema::Expanded).with_deadline(SHORT)).await;
    let effect = failed("an expansion of a held table", asked, ErrorKind::Timeout)?;
    scene.subject.lock(false).await?;
    if effect == Effect::None {
        same("what is there, as nothing was done", scene.truth().await?, before)?;
    }
    scene.finish(Schema::Expanded).await
}

pub(super) async fn a_table_that_is_let_go_in_time_is_changed(fixture: &dyn DatabaseFixture) -> Done {
    needs(fixture.can(DatabaseAbility::Locks), DatabaseAbility::Locks.name())?;
    let scene = Scene::open(fixture).await?;
    scene.subject.lock(true).await?;
    let database = scene.database.clone();
    let task = tokio::spawn(async move { database.migrate(EPOCH, to(Schema::Expanded)).await });
    sleep(WHILE).await;
    scene.subject.lock(false).await?;
    let ended = task.await.map_err(|error| breach(error.to_string()))?;
    same("an expansion of a table that was held", ended?, Applied::Applied)?;
    scene.is(Schema::Expanded).await
}
