//! From state to state.

use std::time::Duration;

use ha_core::backend::{Applied, Effect, ErrorKind, Migrate};
use ha_core::state::{Schema, SchemaVerdict};
use tokio::task::JoinSet;

use super::DatabaseFixture;
use super::scene::{LONG, STATES, Scene, is_busy, permit, to};
use crate::conformance::balancer::scene::EPOCH;
use crate::conformance::verdict::{Done, breach, refused, same};

pub(super) async fn a_fresh_schema_is_base(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.is(Schema::Base).await?;
    same("a migration to base", scene.migrate(to(Schema::Base)).await?, Applied::AlreadySo)?;
    scene.is(Schema::Base).await
}

pub(super) async fn expanding_adds_and_removes_nothing(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("an expansion", scene.migrate(to(Schema::Expanded)).await?, Applied::Applied)?;
    scene.is(Schema::Expanded).await
}

pub(super) async fn a_backfill_fills_every_row(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::at(fixture, Schema::Expanded).await?;
    same("a backfill", scene.migrate(to(Schema::Backfilled)).await?, Applied::Applied)?;
    scene.is(Schema::Backfilled).await
}

pub(super) async fn with_a_permit_what_only_the_old_release_needed_is_gone(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::at(fixture, Schema::Backfilled).await?;
    same("a contraction", scene.migrate(to(Schema::Contracted)).await?, Applied::Applied)?;
    scene.is(Schema::Contracted).await
}

pub(super) async fn nothing_is_contracted_without_a_permit(fixture: &dyn DatabaseFixture) -> Done {
    for schema in [Schema::Base, Schema::Expanded, Schema::Backfilled] {
        let scene = Scene::at(fixture, schema).await?;
        let asked = scene.migrate(Migrate::new(Schema::Contracted).with_deadline(LONG)).await;
        refused(&format!("a contraction of a schema that is {schema}"), asked, ErrorKind::Denied, Effect::None)?;
        scene.is(schema).await?;
    }
    Ok(())
}

pub(super) async fn a_permit_removes_nothing_that_was_not_asked_for(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for schema in [Schema::Expanded, Schema::Backfilled] {
        let asked = scene.migrate(to(schema).with_permit(permit())).await?;
        same(format!("a migration to {schema} with a permit"), asked, Applied::Applied)?;
        scene.is(schema).await?;
    }
    Ok(())
}

pub(super) async fn all_that_leads_to_a_later_state_is_run(fixture: &dyn DatabaseFixture) -> Done {
    for schema in [Schema::Backfilled, Schema::Contracted] {
        let scene = Scene::open(fixture).await?;
        same(format!("a migration to {schema}"), scene.migrate(to(schema)).await?, Applied::Applied)?;
        scene.is(schema).await?;
    }
    let scene = Scene::at(fixture, Schema::Expanded).await?;
    same("a contraction of what is not filled", scene.migrate(to(Schema::Contracted)).await?, Applied::Applied)?;
    scene.is(Schema::Contracted).await
}

pub(super) async fn what_is_asked_for_twice_is_done_once(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for schema in STATES {
        same(format!("a migration to {schema}"), scene.migrate(to(schema)).await?, Applied::Applied)?;
        same("the same again", scene.migrate(to(schema)).await?, Applied::AlreadySo)?;
        same("the next one's", scene.subject.another().migrate(EPOCH, to(schema)).await?, Applied::AlreadySo)?;
        scene.is(schema).await?;
    }
    Ok(())
}

pub(super) async fn a_state_that_nothing_leads_back_to_is_refused_without_effect(
    fixture: &dyn DatabaseFixture,
) -> Done {
    let scene = Scene::open(fixture).await?;
    for now in STATES {
        scene.migrate(to(now)).await?;
        for before in [Schema::Base, Schema::Expanded, Schema::Backfilled].into_iter().filter(|before| *before < now) {
            let asked = scene.migrate(to(before)).await;
            let what = format!("a migration to {before} of a schema that is {now}");
            refused(&what, asked, ErrorKind::Conflict, Effect::None)?;
            scene.is(now).await?;
        }
    }
    Ok(())
}

pub(super) async fn the_next_controller_sees_what_this_one_did(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let next = scene.subject.another();
    for schema in STATES {
        let (this, other) =
            if schema == Schema::Backfilled { (&next, &scene.database) } else { (&scene.database, &next) };
        same(format!("a migration to {schema}"), this.migrate(EPOCH, to(schema)).await?, Applied::Applied)?;
        same("the schema, as the other one reads it", other.schema().await?, schema)?;
        same("its migration", other.migrate(EPOCH, to(schema)).await?, Applied::AlreadySo)?;
        same("what it reviews", other.review().await?, this.review().await?)?;
        scene.is(schema).await?;
    }
    Ok(())
}

pub(super) async fn what_was_run_survives_a_restart(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.subject.restart().await?;
    scene.is(Schema::Base).await?;
    for schema in STATES {
        same(format!("a migration to {schema}"), scene.migrate(to(schema)).await?, Applied::Applied)?;
        scene.subject.restart().await?;
        scene.is(schema).await?;
        same("the same again", scene.migrate(to(schema)).await?, Applied::AlreadySo)?;
    }
    scene.is(Schema::Contracted).await
}

pub(super) async fn reads_change_nothing(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.reviewed_is(&*scene.database, SchemaVerdict::Splittable).await?;
    scene.is(Schema::Base).await?;
    for schema in [Schema::Base, Schema::Expanded, Schema::Backfilled, Schema::Contracted] {
        scene.migrate(to(schema)).await?;
        let reviewed = scene.database.review().await?;
        for _ in 0..3 {
            same("what is reviewed again", scene.database.review().await?, reviewed.clone())?;
            scene.is(schema).await?;
        }
    }
    Ok(())
}

pub(super) async fn at_a_deadline_of_zero_nothing_is_changed(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let at_once = |schema| to(schema).with_deadline(Duration::ZERO);
    for (now, next) in [
        (Schema::Base, Schema::Expanded),
        (Schema::Expanded, Schema::Backfilled),
        (Schema::Backfilled, Schema::Contracted),
    ] {
        let asked = scene.migrate(at_once(next)).await;
        refused(&format!("a migration to {next} at once"), asked, ErrorKind::Timeout, Effect::None)?;
        scene.is(now).await?;
        scene.migrate(to(next)).await?;
        same(format!("{next} at once, which it is"), scene.migrate(at_once(next)).await?, Applied::AlreadySo)?;
    }
    scene.is(Schema::Contracted).await
}

pub(super) async fn many_controllers_at_once_run_each_script_once(fixture: &dyn DatabaseFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for schema in [Schema::Backfilled, Schema::Contracted] {
        let mut calls = JoinSet::new();
        for turn in 0..8 {
            let database = if turn % 2 == 0 { scene.database.clone() } else { scene.subject.another() };
            calls.spawn(async move { database.migrate(EPOCH, to(schema)).await });
        }
        while let Some(ended) = calls.join_next().await {
            match ended.map_err(|error| breach(error.to_string()))? {
                Ok(_) => {}
                Err(error) if is_busy(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        scene.finish(schema).await?;
    }
    Ok(())
}
