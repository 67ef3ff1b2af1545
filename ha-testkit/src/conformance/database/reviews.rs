//! What the scripts that wait amount to.

use ha_core::backend::{Applied, Effect, ErrorKind};
use ha_core::state::{Schema, SchemaVerdict};

use super::scene::{Scene, to};
use super::{DatabaseFixture, Waiting};
use crate::conformance::balancer::scene::EPOCH;
use crate::conformance::verdict::{Done, ensure, refused, same};

pub(super) async fn a_review_is_the_same_until_the_scripts_are_others(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let reviewed = scene.database.review().await?;
    for _ in 0..3 {
        same("a review again", scene.database.review().await?, reviewed.clone())?;
        same("the next one's", scene.subject.another().review().await?, reviewed.clone())?;
    }
    scene.subject.restart().await?;
    same("a review after a restart", scene.database.review().await?, reviewed.clone())?;
    let mut digests = vec![reviewed.digest.clone()];
    for waiting in [Waiting::Additive, Waiting::Breaking, Waiting::Nothing, Waiting::Edited] {
        scene.subject.scripts(waiting).await?;
        let digest = scene.subject.another().review().await?.digest;
        ensure(!digests.contains(&digest), || format!("{waiting:?} has the digest of other scripts, {digest}"))?;
        digests.push(digest);
    }
    scene.subject.scripts(Waiting::Split).await?;
    same("a review of the first scripts", scene.subject.another().review().await?, reviewed)?;
    scene.is(Schema::Base).await
}

pub(super) async fn scripts_that_only_add_are_told_from_those_that_can_be_split(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.reviewed_is(&*scene.database, SchemaVerdict::Splittable).await?;
    for (waiting, verdict) in [
        (Waiting::Additive, SchemaVerdict::ExpandOnly),
        (Waiting::Nothing, SchemaVerdict::Nothing),
        (Waiting::Split, SchemaVerdict::Splittable),
    ] {
        scene.subject.scripts(waiting).await?;
        scene.reviewed_is(&*scene.subject.another(), verdict).await?;
    }
    scene.is(Schema::Base).await
}

pub(super) async fn scripts_that_break_the_old_release_need_a_window(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.subject.scripts(Waiting::Breaking).await?;
    let reviewed = scene.subject.another().review().await?;
    same("the verdict of the review", reviewed.verdict, SchemaVerdict::NeedsWindow)?;
    let says_why = reviewed.reasons.iter().any(|reason| !reason.trim().is_empty());
    ensure(says_why, || format!("it does not say what needs the window: {reviewed:?}"))?;
    scene.is(Schema::Base).await
}

pub(super) async fn after_the_contraction_nothing_waits(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::at(fixture, Schema::Backfilled).await?;
    scene.reviewed_is(&*scene.database, SchemaVerdict::Splittable).await?;
    scene.migrate(to(Schema::Contracted)).await?;
    scene.reviewed_is(&*scene.database, SchemaVerdict::Nothing).await?;
    scene.reviewed_is(&*scene.subject.another(), SchemaVerdict::Nothing).await?;
    scene.is(Schema::Contracted).await
}

pub(super) async fn a_phase_without_scripts_is_reached(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.subject.scripts(Waiting::Additive).await?;
    let database = scene.subject.another();
    same("an expansion", database.migrate(EPOCH, to(Schema::Expanded)).await?, Applied::Applied)?;
    let expanded = scene.truth().await?;
    same("the schema, as it is read", database.schema().await?, Schema::Expanded)?;
    same("a backfill", database.migrate(EPOCH, to(Schema::Backfilled)).await?, Applied::Applied)?;
    for value in [&database, &scene.subject.another()] {
        same("the schema, as it is read", value.schema().await?, Schema::Backfilled)?;
        same("the same again", value.migrate(EPOCH, to(Schema::Backfilled)).await?, Applied::AlreadySo)?;
        scene.reviewed_is(&**value, SchemaVerdict::Nothing).await?;
    }
    same("what the expansion did", expanded.applied, [1, 0, 0])?;
    same("what a backfill without scripts has left", scene.truth().await?, expanded)
}

pub(super) async fn a_script_that_was_changed_after_it_was_run_is_a_conflict(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::at(fixture, Schema::Expanded).await?;
    scene.subject.scripts(Waiting::Edited).await?;
    let next = scene.subject.another();
    refused("a review", next.review().await, ErrorKind::Conflict, Effect::None)?;
    for schema in [Schema::Backfilled, Schema::Contracted] {
        let asked = next.migrate(EPOCH, to(schema)).await;
        refused(&format!("a migration to {schema}"), asked, ErrorKind::Conflict, Effect::None)?;
        scene.is(Schema::Expanded).await?;
    }
    scene.subject.scripts(Waiting::Split).await?;
    scene.finish(Schema::Backfilled).await
}
