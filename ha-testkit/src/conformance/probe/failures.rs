//! Servers that do not answer as servers should: every question ends, with the right kind, and nothing is believed.

use ha_core::backend::{ErrorKind, Ready};

use super::scene::{FIRST, Scene, fails, harmless};
use super::{Ability, ProbeFixture, Stance};
use crate::conformance::verdict::{Done, Stop, breach, ensure, same};

pub(super) async fn an_unreachable_server_fails_without_effect(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::Unreachable).await?;
    fails("ready of an unreachable server", scene.ready().await?, ErrorKind::Unreachable)?;
    fails("test of an unreachable server", scene.test().await?, ErrorKind::Unreachable)
}

pub(super) async fn a_hung_server_times_out_inside_the_deadline(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::Hung).await?;
    fails("ready of a hung server", scene.ready().await?, ErrorKind::Timeout)?;
    fails("test of a hung server", scene.test().await?, ErrorKind::Timeout)
}

async fn ends(scene: &Scene, what: &str) -> Done {
    let fits = |kind| matches!(kind, ErrorKind::Protocol | ErrorKind::Timeout);
    let error = harmless(what, scene.ready().await?)?;
    ensure(fits(error.kind()), || format!("{what}: {error}"))?;
    let error = harmless(what, scene.test().await?)?;
    ensure(fits(error.kind()), || format!("{what}: {error}"))
}

pub(super) async fn an_endless_answer_ends_inside_the_deadline(fixture: &dyn ProbeFixture) -> Done {
    ends(&Scene::with_stance(fixture, Stance::Endless).await?, "an endless answer").await
}

pub(super) async fn a_dribbled_answer_ends_inside_the_deadline(fixture: &dyn ProbeFixture) -> Done {
    ends(&Scene::with_stance(fixture, Stance::Dribbled).await?, "a dribbled answer").await
}

pub(super) async fn garbage_is_a_protocol_error(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::Garbage).await?;
    fails("garbage", scene.ready().await?, ErrorKind::Protocol)?;
    fails("garbage instead of a test", scene.test().await?, ErrorKind::Protocol)
}

pub(super) async fn an_answer_that_breaks_off_is_never_ready(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::Broken).await?;
    match scene.ready().await? {
        Ok(Ready::NotYet(_)) => {}
        answer => fails("an answer that breaks off", answer, ErrorKind::Protocol)?,
    }
    let error = harmless("a test that breaks off", scene.test().await?)?;
    let fits = matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Conflict);
    ensure(fits, || format!("a test that breaks off: {error}"))
}

/// All that a server can do to a probe.
const TROUBLES: [Stance; 10] = [
    Stance::Closed,
    Stance::NotReady,
    Stance::FailingTest,
    Stance::HungTest,
    Stance::Unreachable,
    Stance::Hung,
    Stance::Endless,
    Stance::Garbage,
    Stance::Broken,
    Stance::Nameless,
];

pub(super) async fn an_error_names_its_operation_and_target(fixture: &dyn ProbeFixture) -> Done {
    let mut named = 0;
    for stance in TROUBLES.into_iter().filter(|stance| fixture.can(Ability::Stance(*stance))) {
        let scene = Scene::with_stance(fixture, stance).await?;
        let (ready, test) = (scene.ready().await?.err(), scene.test().await?.err());
        for (operation, error) in [("ready", ready), ("test", test)] {
            let Some(error) = error else { continue };
            same(format!("the operation of {error}"), error.operation(), operation)?;
            ensure(!error.target().is_empty(), || format!("{operation}: the error has no target"))?;
            named += 1;
        }
    }
    if named > 0 { Ok(()) } else { Err(Stop::Skipped("fixture: any error")) }
}

pub(super) async fn after_any_trouble_the_server_is_ready_again(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::fresh(fixture).await?;
    for stance in TROUBLES.into_iter().filter(|stance| fixture.can(Ability::Stance(*stance))) {
        scene.set_stance(stance).await?;
        let _ = scene.ready().await?;
        let _ = scene.test().await?;
        scene.serve("2.0").await?;
        let healed = scene.is_ready("2.0").await;
        healed.map_err(|_| breach(format!("the server is not seen to be ready again after {stance:?}")))?;
        same("the tested release", &*scene.test().await??, "2.0")?;
    }
    scene.serve(FIRST).await?;
    scene.is_ready(FIRST).await
}
