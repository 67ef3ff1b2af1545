//! Dropped futures and many callers.

use std::time::Duration;

use ha_core::backend::{ErrorKind, Ready};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::scene::{FIRST, Scene, fails, fails_saying};
use super::{Ability, FAILED, ProbeFixture, Stance};
use crate::conformance::patience::{dropped_after, eventually};
use crate::conformance::verdict::{Done, breach, needs, same};

/// Into how many awaits a question is cut at most.
const CUTS: u32 = 12;
/// How many call at once.
const CALLERS: usize = 16;

pub(super) async fn dropped_questions_change_nothing_and_block_nobody(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::fresh(fixture).await?;
    for polls in 0..CUTS {
        dropped_after(scene.probe.ready(), polls).await;
        dropped_after(scene.probe.test(), polls).await;
        scene.is_ready(FIRST).await?;
    }
    same("the tested release", &*scene.test().await??, FIRST)
}

async fn nothing_is_open(scene: &Scene, what: &str) -> Done {
    eventually(what, || async { Ok(scene.subject.open().await? == 0) }).await
}

pub(super) async fn a_dropped_question_leaves_nothing_open(fixture: &dyn ProbeFixture) -> Done {
    needs(fixture.can(Ability::Open), Ability::Open.name())?;
    let scene = Scene::with_stance(fixture, Stance::Hung).await?;
    for test in [false, true] {
        let probe = scene.probe.clone();
        let asking = tokio::spawn(async move {
            if test { probe.test().await.is_ok() } else { matches!(probe.ready().await, Ok(Ready::Yes { .. })) }
        });
        eventually("a question reaches the server", || async {
            let open = scene.subject.open().await? > 0;
            if !open && asking.is_finished() {
                return Err(breach("a question to a hung server ended before it had got there"));
            }
            Ok(open)
        })
        .await?;
        asking.abort();
        nothing_is_open(&scene, "a dropped question ends").await?;
    }
    scene.serve(FIRST).await?;
    scene.is_ready(FIRST).await
}

pub(super) async fn a_question_that_timed_out_leaves_nothing_open(fixture: &dyn ProbeFixture) -> Done {
    needs(fixture.can(Ability::Open), Ability::Open.name())?;
    for stance in [Stance::Hung, Stance::Endless, Stance::Dribbled, Stance::HungTest] {
        if fixture.can(Ability::Stance(stance)) {
            let scene = Scene::with_stance(fixture, stance).await?;
            let _ = scene.ready().await?;
            nothing_is_open(&scene, "a question that timed out ends").await?;
            let _ = scene.test().await?;
            nothing_is_open(&scene, "a test that timed out ends").await?;
        }
    }
    Ok(())
}

pub(super) async fn many_callers_at_once_get_the_same_answer(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::fresh(fixture).await?;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let probe = scene.probe.clone();
        callers.spawn(async move { probe.ready().await });
    }
    while let Some(answer) = callers.join_next().await {
        let answer = answer.map_err(|error| breach(format!("a caller ended: {error}")))?;
        same("what one of many callers hears", answer?, Ready::Yes { release: FIRST.into() })?;
    }
    Ok(())
}

pub(super) async fn callers_of_ready_and_of_test_get_their_own_answers(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::FailingTest).await?;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let probe = scene.probe.clone();
        callers.spawn(async move {
            sleep(Duration::from_micros(300) * u32::try_from(caller).unwrap_or(0)).await;
            if caller % 2 == 0 { (Some(probe.ready().await), None) } else { (None, Some(probe.test().await)) }
        });
    }
    while let Some(answer) = callers.join_next().await {
        match answer.map_err(|error| breach(format!("a caller ended: {error}")))? {
            (Some(ready), _) => same("ready beside tests", ready?, Ready::Yes { release: FIRST.into() })?,
            (None, Some(test)) => fails_saying("a test beside others", test, FAILED)?,
            (None, None) => {}
        }
    }
    Ok(())
}

pub(super) async fn many_callers_of_a_hung_server_all_end_inside_the_deadline(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::Hung).await?;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let probe = scene.probe.clone();
        callers.spawn(async move { probe.ready().await });
    }
    let all = scene.in_time("the last of many callers", callers.join_all()).await?;
    all.into_iter().try_for_each(|answer| fails("one of many callers", answer, ErrorKind::Timeout))
}
