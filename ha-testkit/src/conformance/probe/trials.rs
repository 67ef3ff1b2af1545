//! Business tests.

use ha_core::backend::ErrorKind;

use super::scene::{FIRST, Scene, fails, fails_saying};
use super::{Ability, FAILED, ProbeFixture, STARTING, Stance};
use crate::conformance::verdict::{Done, same};

pub(super) async fn a_passed_test_returns_the_tested_release(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::fresh(fixture).await?;
    same("the tested release", &*scene.test().await??, FIRST)?;
    scene.serve("2.0").await?;
    same("the tested release", &*scene.test().await??, "2.0")
}

pub(super) async fn a_failed_test_is_a_conflict_with_what_it_said(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::FailingTest).await?;
    fails_saying("a failed test", scene.test().await?, FAILED)
}

pub(super) async fn a_failing_test_leaves_readiness_alone(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::FailingTest).await?;
    fails("a failed test", scene.test().await?, ErrorKind::Conflict)?;
    scene.is_ready(FIRST).await
}

pub(super) async fn a_failed_test_passes_once_the_server_is_well(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::FailingTest).await?;
    fails("a failed test", scene.test().await?, ErrorKind::Conflict)?;
    scene.serve(FIRST).await?;
    same("the tested release", &*scene.test().await??, FIRST)
}

pub(super) async fn a_server_that_is_not_ready_fails_its_test(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::NotReady).await?;
    let message = if fixture.can(Ability::Message) { STARTING } else { "" };
    fails_saying("the test of a server that is not ready", scene.test().await?, message)
}

pub(super) async fn a_closed_server_fails_its_test(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::Closed).await?;
    fails("the test of a closed server", scene.test().await?, ErrorKind::Conflict)
}

pub(super) async fn a_test_that_hangs_times_out_and_readiness_is_still_told(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::HungTest).await?;
    fails("a test that hangs", scene.test().await?, ErrorKind::Timeout)?;
    scene.is_ready(FIRST).await
}

pub(super) async fn a_server_without_a_release_is_not_tested(fixture: &dyn ProbeFixture) -> Done {
    let scene = Scene::with_stance(fixture, Stance::Nameless).await?;
    fails("the test of a server without a release", scene.test().await?, ErrorKind::Protocol)
}
