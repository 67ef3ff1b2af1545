//! The server's process, its lives, and what is installed.

use ha_core::backend::{Applied, Effect, ErrorKind, Incarnation, Installed, ServerProcess};

use super::scene::{EPOCH, Scene};
use super::{Ability, Condition, Fixture, PidFile, RELEASE};
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, breach, ensure, refused, same};

pub(super) async fn a_fresh_server_is_stopped(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a server that never ran", scene.host.process().await?, ServerProcess::Stopped)?;
    same("a stop of it", scene.host.stop(EPOCH).await?, Applied::AlreadySo)?;
    same("the truth", scene.life().await?, None)
}

pub(super) async fn a_started_server_runs_until_it_is_stopped(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.started().await?;
    scene.stopped().await?;
    same("a second stop", scene.host.stop(EPOCH).await?, Applied::AlreadySo)
}

pub(super) async fn an_incarnation_is_the_same_for_everybody_while_the_server_runs(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let life = scene.started().await?;
    for _ in 0..3 {
        same("the incarnation", scene.running().await?, life.clone())?;
    }
    same("as another value reads it", scene.subject.another().process().await?, ServerProcess::Running(life))
}

pub(super) async fn a_restart_is_another_incarnation(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let mut lives = vec![scene.started().await?];
    for _ in 0..2 {
        scene.stopped().await?;
        let life = scene.started().await?;
        ensure(!lives.contains(&life), || format!("a restart has the incarnation {life} of an older life"))?;
        lives.push(life);
    }
    Ok(())
}

pub(super) async fn a_start_of_a_running_server_leaves_it_alone(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.started().await?;
    let before = scene.life().await?;
    same("a second start", scene.start().await?, Applied::AlreadySo)?;
    same("the life after it", scene.life().await?, before)
}

pub(super) async fn kill_ends_the_given_life(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let life = scene.started().await?;
    same("a kill", scene.host.kill(EPOCH, life.clone()).await?, Applied::Applied)?;
    scene.until(false).await?;
    same("what is read after it", scene.host.process().await?, ServerProcess::Stopped)?;
    same("a second kill", scene.host.kill(EPOCH, life).await?, Applied::AlreadySo)
}

pub(super) async fn kill_of_a_past_life_leaves_the_present_one_alone(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let past = scene.started().await?;
    scene.stopped().await?;
    let present = scene.started().await?;
    let truth = scene.life().await?;
    same("a kill of a past life", scene.host.kill(EPOCH, past).await?, Applied::AlreadySo)?;
    match scene.host.kill(EPOCH, Incarnation::new("no life of this host")).await {
        Ok(Applied::AlreadySo) => {}
        Ok(Applied::Applied) => return Err(breach("a life that never was has been killed")),
        Err(error) => same("the effect of a kill of a life that never was", error.effect(), Effect::None)?,
    }
    same("the present life", scene.running().await?, present)?;
    same("the truth", scene.life().await?, truth)
}

pub(super) async fn a_stale_pid_file_is_not_read_as_running_and_hinders_no_start(fixture: &dyn Fixture) -> Done {
    let stale = Condition::PidFile(PidFile::Stale);
    let scene = Scene::with(fixture, &[Ability::Be(stale)]).await?;
    scene.subject.be(stale).await?;
    same("a server with a stale pid file", scene.host.process().await?, ServerProcess::Stopped)?;
    same("a stop of it", scene.host.stop(EPOCH).await?, Applied::AlreadySo)?;
    scene.started().await?;
    scene.stopped().await
}

pub(super) async fn a_stranger_in_the_pid_file_is_not_read_as_running_and_never_signalled(
    fixture: &dyn Fixture,
) -> Done {
    let stranger = Condition::PidFile(PidFile::Stranger);
    let scene = Scene::with(fixture, &[Ability::Be(stranger)]).await?;
    scene.subject.be(stranger).await?;
    same("a server with a reused pid", scene.host.process().await?, ServerProcess::Stopped)?;
    same("a stop of it", scene.host.stop(EPOCH).await?, Applied::AlreadySo)?;
    let life = scene.started().await?;
    // Now the server runs, and its pid file names somebody else again.
    scene.subject.be(stranger).await?;
    same("the server beside a wrong pid file", scene.running().await?, life.clone())?;
    match scene.host.stop(EPOCH).await {
        Ok(Applied::Applied) => scene.until(false).await?,
        Ok(Applied::AlreadySo) => return Err(breach("a running server answers a stop with AlreadySo")),
        Err(error) => {
            let answer: Result<(), _> = Err(error);
            refused("a stop with a wrong pid file", answer, ErrorKind::Conflict, Effect::None)?;
            scene.host.kill(EPOCH, life).await?;
            scene.until(false).await?;
        }
    }
    same("whether the stranger lives", scene.subject.stranger_lives().await?, true)
}

pub(super) async fn a_pid_file_padded_with_nul_bytes_is_understood(fixture: &dyn Fixture) -> Done {
    let padded = Condition::PidFile(PidFile::Padded);
    let scene = Scene::with(fixture, &[Ability::Be(padded)]).await?;
    let life = scene.started().await?;
    scene.subject.be(padded).await?;
    same("the server beside a padded pid file", scene.running().await?, life)?;
    same("a start", scene.start().await?, Applied::AlreadySo)?;
    scene.life().await?;
    // The script that stops it may not understand the file; the life is ended all the same.
    scene.host.kill(EPOCH, scene.running().await?).await?;
    scene.until(false).await
}

pub(super) async fn the_installed_release_is_read_running_or_not(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("the release", scene.host.installed().await?, Installed::Release(RELEASE.into()))?;
    scene.started().await?;
    same("of a running server", scene.host.installed().await?, Installed::Release(RELEASE.into()))
}

pub(super) async fn a_server_that_is_not_installed_is_absent(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Be(Condition::Uninstalled)]).await?;
    scene.subject.be(Condition::Uninstalled).await?;
    same("an absent home", scene.host.installed().await?, Installed::Absent)?;
    same("its process", scene.host.process().await?, ServerProcess::Stopped)
}

pub(super) async fn a_failing_version_command_is_no_release_and_has_no_effect(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Be(Condition::BrokenVersion)]).await?;
    scene.subject.be(Condition::BrokenVersion).await?;
    refused("installed", scene.host.installed().await, ErrorKind::Protocol, Effect::None)?;
    eventually("a process is still read", || async { Ok(scene.host.process().await? == ServerProcess::Stopped) }).await
}
