//! What a server answers, and who answers.

use ha_core::backend::{ErrorKind, Ready};

use super::scene::{FIRST, Scene, fails};
use super::{Ability, ProbeFixture, STARTING, Stance};
use crate::conformance::verdict::{Done, breach, ensure, needs, same};

pub(super) async fn a_serving_server_is_ready_with_its_release(fixture: &dyn ProbeFixture) -> Done {
    Scene::fresh(fixture).await?.is_ready(FIRST).await
}

pub(super) async fn nothing_is_missing_where_it_answers(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::fresh(fixture).await?;
    same("what is missing", scene.probe.missing().await?, Vec::new())
}

pub(super) async fn the_release_is_told_to_the_letter(fixture: &dyn ProbeFixture) -> Done {
    for release in ["4.2.0-rc.1+build_7", "7", "2026-11-23T10:00:00Z"] {
        let scene = Scene::named(fixture, release).await?;
        scene.is_ready(release).await?;
        same("the tested release", &*scene.test().await??, release)?;
    }
    Ok(())
}

pub(super) async fn a_new_release_is_told_at_once(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::fresh(fixture).await?;
    for release in [FIRST, "2.0", "2.0.1", FIRST] {
        scene.serve(release).await?;
        scene.is_ready(release).await?;
    }
    Ok(())
}

pub(super) async fn an_old_process_that_still_answers_is_told_by_its_release(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::fresh(fixture).await?;
    scene.serve("2.0").await?;
    scene.is_ready("2.0").await?;
    // The new process died on its port, and the old one serves on.
    scene.serve(FIRST).await?;
    same("the release that was tested", &*scene.test().await??, FIRST)?;
    scene.is_ready(FIRST).await
}

pub(super) async fn two_answers_of_an_unchanged_server_are_the_same(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::fresh(fixture).await?;
    for _ in 0..5 {
        scene.is_ready(FIRST).await?;
    }
    Ok(())
}

pub(super) async fn the_message_of_a_server_that_is_not_ready_is_passed_on(fixture: &dyn ProbeFixture) -> Done {
    needs(fixture.can(Ability::Message), Ability::Message.name())?;
    let scene = Scene::with_stance(fixture, Stance::NotReady).await?;
    match scene.ready().await?? {
        Ready::NotYet(message) => ensure(message.contains(STARTING), || format!("{message:?} for {STARTING:?}")),
        other => Err(breach(format!("a server that is not ready is {other:?}"))),
    }
}

pub(super) async fn a_server_that_falls_back_is_not_ready_any_more(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::NotReady).await?;
    for _ in 0..2 {
        let ready = scene.ready().await??;
        ensure(matches!(ready, Ready::NotYet(_)), || format!("a server that fell back is {ready:?}"))?;
    }
    scene.serve(FIRST).await?;
    scene.is_ready(FIRST).await
}

pub(super) async fn a_closed_server_is_closed_and_no_error(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::Closed).await?;
    same("a closed server", scene.ready().await??, Ready::Closed)
}

pub(super) async fn a_server_that_closes_is_closed_and_comes_back(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::Closed).await?;
    for release in ["2.0", FIRST] {
        scene.set_stance(Stance::Closed).await?;
        same("a closed server", scene.ready().await??, Ready::Closed)?;
        same("a server that still is closed", scene.ready().await??, Ready::Closed)?;
        scene.serve(release).await?;
        scene.is_ready(release).await?;
    }
    Ok(())
}

pub(super) async fn a_ready_server_without_a_release_is_a_protocol_error(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::Nameless).await?;
    fails("ready without a release", scene.ready().await?, ErrorKind::Protocol)
}
