//! Controllers whose time is over, and what a host claims.

use ha_core::backend::{Applied, Content, Effect, ErrorKind, Expect, PutFile, StepError, SwitchLink, WorkState};
use ha_core::state::ServerDomain;

use super::scene::{EPOCH, LONG, NEW, OLD, Scene, id, mark};
use super::{Ability, Act, Fixture, Found};
use crate::conformance::verdict::{Done, refused, same};

fn fenced<T: std::fmt::Debug>(what: &str, answer: Result<T, StepError>) -> Done {
    refused(what, answer, ErrorKind::Fenced, Effect::None)
}

pub(super) async fn a_stale_epoch_starts_nothing(fixture: &dyn Fixture) -> Done {
    let scene = Scene::fenced(fixture, &[]).await?;
    scene.started().await?;
    scene.stopped().await?;
    fenced("a stale start", scene.host.start(OLD, ServerDomain::Production).await)?;
    same("the truth after it", scene.life().await?, None)?;
    fenced("the same of another value", scene.subject.another().start(OLD, ServerDomain::Production).await)?;
    same("the truth after that", scene.life().await?, None)
}

pub(super) async fn a_stale_epoch_stops_nothing(fixture: &dyn Fixture) -> Done {
    let scene = Scene::fenced(fixture, &[]).await?;
    let life = scene.started().await?;
    fenced("a stale stop", scene.host.stop(OLD).await)?;
    fenced("the same of another value", scene.subject.another().stop(OLD).await)?;
    // A stop may take its time.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    same("the life after it", scene.running().await?, life)
}

pub(super) async fn a_stale_epoch_kills_nothing(fixture: &dyn Fixture) -> Done {
    let scene = Scene::fenced(fixture, &[]).await?;
    let life = scene.started().await?;
    fenced("a stale kill", scene.host.kill(OLD, life.clone()).await)?;
    fenced("the same of another value", scene.subject.another().kill(OLD, life.clone()).await)?;
    same("the life after it", scene.running().await?, life)
}

pub(super) async fn a_stale_epoch_runs_nothing(fixture: &dyn Fixture) -> Done {
    let scene = Scene::fenced(fixture, &[Ability::Commands]).await?;
    scene.run(&mark("first")).await?;
    fenced("a stale command", scene.host.run(OLD, mark("mark").command(LONG)).await)?;
    fenced("the same of another value", scene.subject.another().run(OLD, mark("mark").command(LONG)).await)?;
    same("how often it ran", scene.marks("mark").await?, 0)
}

pub(super) async fn a_stale_epoch_changes_no_file(fixture: &dyn Fixture) -> Done {
    let scene = Scene::fenced(fixture, &[Ability::Files]).await?;
    let files = scene.files()?;
    let (path, link) = (scene.path("a"), scene.path("current"));
    let put = |content: &str| PutFile::new(path.as_str(), Content::Bytes(content.into()));
    files.put(EPOCH, put("old")).await?;
    files.switch(EPOCH, SwitchLink::new(link.as_str(), "old")).await?;
    fenced("a stale put", files.put(OLD, put("new")).await)?;
    fenced("a stale remove", files.remove(OLD, &path, Expect::Anything).await)?;
    fenced("a stale switch", files.switch(OLD, SwitchLink::new(link.as_str(), "new")).await)?;
    same("the file", scene.subject.look(&path).await?, Some(Found::File(b"old".to_vec(), 0o644)))?;
    same("the link", scene.subject.look(&link).await?, Some(Found::Link("old".into())))
}

pub(super) async fn a_stale_epoch_starts_and_ends_no_work(fixture: &dyn Fixture) -> Done {
    let scene = Scene::fenced(fixture, &[Ability::Commands]).await?;
    let work = scene.work()?;
    let (lasting, stale) = (id("lasting")?, id("stale")?);
    work.launch(EPOCH, lasting.clone(), Act::Beat("beat".into()).command(LONG)).await?;
    crate::conformance::patience::eventually("the work runs", || async {
        Ok(work.state(&lasting).await? == WorkState::Running)
    })
    .await?;
    fenced("a stale cancel", work.cancel(OLD, &lasting).await)?;
    same("the work after it", work.state(&lasting).await?, WorkState::Running)?;
    work.cancel(EPOCH, &lasting).await?;
    scene.ended(&lasting).await?;
    // Work that is launched behind the fence may learn of it after launch has returned.
    match work.launch(OLD, stale.clone(), mark("mark").command(LONG)).await {
        Ok(_) => same("stale work", scene.ended(&stale).await?, WorkState::Refused(ErrorKind::Fenced))?,
        answer @ Err(_) => fenced("a stale launch", answer)?,
    }
    same("how often it ran", scene.marks("mark").await?, 0)
}

pub(super) async fn a_higher_epoch_is_taken_and_remembered(fixture: &dyn Fixture) -> Done {
    let scene = Scene::fenced(fixture, &[]).await?;
    scene.started().await?;
    scene.stopped_by(&scene.subject.another(), NEW).await?;
    fenced("a start of the older one", scene.start().await)?;
    let again = scene.subject.another().start(NEW, ServerDomain::Production).await?;
    same("the same epoch again", again, Applied::Applied)?;
    scene.until(true).await
}

pub(super) async fn capabilities_are_constant_and_honest(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let claimed = scene.host.capabilities();
    same("work, which is there exactly where it is claimed", scene.host.work().is_some(), claimed.survives_connection)?;
    same("files, as the fixture declares them", scene.host.files().is_some(), fixture.can(Ability::Files))?;
    scene.started().await?;
    for host in [scene.host.clone(), scene.subject.another()] {
        same("the capabilities later", host.capabilities(), claimed)?;
        same("work later", host.work().is_some(), claimed.survives_connection)?;
    }
    Ok(())
}

pub(super) async fn the_machine_is_the_same_for_everybody(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let first = scene.host.identify().await?;
    let other = scene.subject.another().identify().await?;
    same("machine and boot", (first.machine, first.boot), (other.machine, other.boot))
}
