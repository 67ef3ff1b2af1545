use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{Applied, Effect, ErrorKind, Fence, FenceSite, Fenced, StepError};
use ha_core::state::{LeaseEpoch, SiteEpoch};
use tokio::task::JoinSet;

use super::{FenceAbility, FenceFixture, FenceSubject};
use crate::conformance::balancer::scene::{EPOCH, STALE};
use crate::conformance::verdict::{Done, Stop, breach, needs, refused, same};

/// How long a call may take.
const LONG: Duration = Duration::from_secs(30);

struct Scene {
    subject: Box<dyn FenceSubject>,
    fence: Arc<dyn Fence>,
}

fn asked() -> FenceSite {
    FenceSite::new(SiteEpoch::new(1)).with_deadline(LONG)
}

impl Scene {
    async fn open(fixture: &dyn FenceFixture) -> Result<Self, Stop> {
        let subject = fixture.fresh().await?;
        let fence = subject.fence();
        Ok(Self { subject, fence })
    }

    async fn fence(&self) -> Result<Applied, StepError> {
        self.fence.fence(EPOCH, asked()).await
    }

    async fn lift(&self) -> Result<Applied, StepError> {
        self.fence.lift(EPOCH).await
    }

    /// Checks whether the site is fenced, by both routes.
    async fn is(&self, wanted: Fenced) -> Done {
        same("whether the site is fenced", self.subject.truth().await?, wanted)?;
        same("whether the site is fenced, as it is told", self.fence.fenced().await?, wanted)
    }
}

pub(super) async fn a_fresh_site_is_not_fenced(fixture: &dyn FenceFixture) -> Done {
    Scene::open(fixture).await?.is(Fenced::No).await
}

pub(super) async fn a_fenced_site_is_fenced(fixture: &dyn FenceFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a fence", scene.fence().await?, Applied::Applied)?;
    scene.is(Fenced::Yes).await
}

pub(super) async fn a_site_fenced_twice_is_fenced_once(fixture: &dyn FenceFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a fence", scene.fence().await?, Applied::Applied)?;
    same("the same again", scene.fence().await?, Applied::AlreadySo)?;
    scene.is(Fenced::Yes).await
}

pub(super) async fn a_fence_is_lifted(fixture: &dyn FenceFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.fence().await?;
    same("a lift", scene.lift().await?, Applied::Applied)?;
    scene.is(Fenced::No).await
}

pub(super) async fn a_fence_lifted_twice_is_lifted_once(fixture: &dyn FenceFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a lift of what is not fenced", scene.lift().await?, Applied::AlreadySo)?;
    scene.fence().await?;
    same("a lift", scene.lift().await?, Applied::Applied)?;
    same("the same again", scene.lift().await?, Applied::AlreadySo)?;
    scene.is(Fenced::No).await
}

pub(super) async fn a_site_is_fenced_again_after_its_fence_was_lifted(fixture: &dyn FenceFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.fence().await?;
    scene.lift().await?;
    same("a fence after a lift", scene.fence().await?, Applied::Applied)?;
    scene.is(Fenced::Yes).await
}

pub(super) async fn a_fence_survives_a_restart_of_the_site(fixture: &dyn FenceFixture) -> Done {
    needs(fixture.can(FenceAbility::Restarts), FenceAbility::Restarts.name())?;
    let scene = Scene::open(fixture).await?;
    scene.fence().await?;
    scene.subject.restart_site().await?;
    scene.is(Fenced::Yes).await?;
    same("a fence of what is fenced", scene.fence().await?, Applied::AlreadySo)
}

pub(super) async fn a_site_that_does_not_answer_is_not_fenced_by_that(fixture: &dyn FenceFixture) -> Done {
    needs(fixture.can(FenceAbility::LosesSites), FenceAbility::LosesSites.name())?;
    let scene = Scene::open(fixture).await?;
    scene.subject.lose_site().await?;
    match scene.fence.fenced().await {
        Ok(fenced) => same("whether a lost site is fenced, as it is told", fenced, Fenced::No),
        Err(error) => same(format!("a read of a lost site: {error}"), error.effect(), Effect::None),
    }
}

pub(super) async fn a_site_that_does_not_answer_is_fenced(fixture: &dyn FenceFixture) -> Done {
    needs(fixture.can(FenceAbility::LosesSites), FenceAbility::LosesSites.name())?;
    let scene = Scene::open(fixture).await?;
    scene.subject.lose_site().await?;
    same("a fence of a lost site", scene.fence().await?, Applied::Applied)?;
    same("whether it is fenced, as it is told", scene.fence.fenced().await?, Fenced::Yes)
}

pub(super) async fn a_site_that_was_fenced_while_it_was_lost_comes_back_fenced(fixture: &dyn FenceFixture) -> Done {
    needs(fixture.can(FenceAbility::LosesSites), FenceAbility::LosesSites.name())?;
    needs(fixture.can(FenceAbility::Restarts), FenceAbility::Restarts.name())?;
    let scene = Scene::open(fixture).await?;
    scene.subject.lose_site().await?;
    scene.fence().await?;
    scene.subject.restart_site().await?;
    scene.is(Fenced::Yes).await
}

pub(super) async fn a_fence_that_holds_in_half_is_no_fence_and_is_gone_on_with(fixture: &dyn FenceFixture) -> Done {
    needs(fixture.can(FenceAbility::Tears), FenceAbility::Tears.name())?;
    let scene = Scene::open(fixture).await?;
    scene.subject.tear().await?;
    same("half a fence, as it is told", scene.fence.fenced().await?, Fenced::No)?;
    same("a fence", scene.fence().await?, Applied::Applied)?;
    scene.is(Fenced::Yes).await
}

pub(super) async fn the_level_is_the_same_at_all_times(fixture: &dyn FenceFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let level = scene.fence.level();
    scene.fence().await?;
    same("the level of what is fenced", scene.fence.level(), level)?;
    same("the level, as the next one says it", scene.subject.another().level(), level)?;
    scene.lift().await?;
    same("the level after a lift", scene.fence.level(), level)
}

pub(super) async fn the_next_controller_sees_what_this_one_did(fixture: &dyn FenceFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let next = scene.subject.another();
    scene.fence().await?;
    same("whether it is fenced, as the next one sees it", next.fenced().await?, Fenced::Yes)?;
    same("its fence", next.fence(EPOCH, asked()).await?, Applied::AlreadySo)?;
    same("its lift", next.lift(EPOCH).await?, Applied::Applied)?;
    scene.is(Fenced::No).await
}

pub(super) async fn reads_change_nothing(fixture: &dyn FenceFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for wanted in [Fenced::No, Fenced::Yes] {
        if wanted == Fenced::Yes {
            scene.fence().await?;
        }
        for _ in 0..5 {
            same("what is read again", scene.fence.fenced().await?, wanted)?;
        }
        scene.is(wanted).await?;
    }
    Ok(())
}

pub(super) async fn at_a_deadline_of_zero_nothing_is_changed(fixture: &dyn FenceFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let asked = scene.fence.fence(EPOCH, asked().with_deadline(Duration::ZERO)).await;
    refused("a fence at once", asked, ErrorKind::Timeout, Effect::None)?;
    scene.is(Fenced::No).await
}

pub(super) async fn a_fence_that_does_not_answer_is_said_and_not_guessed(fixture: &dyn FenceFixture) -> Done {
    needs(fixture.can(FenceAbility::LosesFences), FenceAbility::LosesFences.name())?;
    let scene = Scene::open(fixture).await?;
    scene.subject.lose_fence().await?;
    refused("a read", scene.fence.fenced().await, ErrorKind::Unreachable, Effect::None)?;
    refused("a fence", scene.fence().await, ErrorKind::Unreachable, Effect::None)?;
    refused("a lift", scene.lift().await, ErrorKind::Unreachable, Effect::None)?;
    same("whether the site is fenced", scene.subject.truth().await?, Fenced::No)
}

pub(super) async fn a_stale_epoch_changes_nothing_where_it_is_fenced(fixture: &dyn FenceFixture) -> Done {
    needs(fixture.can(FenceAbility::Fences), FenceAbility::Fences.name())?;
    let scene = Scene::open(fixture).await?;
    scene.fence().await?;
    refused("a stale lift", scene.fence.lift(STALE).await, ErrorKind::Fenced, Effect::None)?;
    let next = scene.subject.another();
    refused("the next one's", next.lift(STALE).await, ErrorKind::Fenced, Effect::None)?;
    scene.is(Fenced::Yes).await?;
    scene.lift().await?;
    refused("a stale fence", scene.fence.fence(STALE, asked()).await, ErrorKind::Fenced, Effect::None)?;
    scene.is(Fenced::No).await?;
    let higher = LeaseEpoch::new(EPOCH.number() + 1);
    same("a fence with a higher epoch", scene.fence.fence(higher, asked()).await?, Applied::Applied)
}

pub(super) async fn many_changes_at_once_end_in_one_state(fixture: &dyn FenceFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let mut calls = JoinSet::new();
    for turn in 0..6 {
        let fence = scene.fence.clone();
        calls.spawn(
            async move { if turn % 2 == 0 { fence.fence(EPOCH, asked()).await } else { fence.lift(EPOCH).await } },
        );
    }
    while let Some(ended) = calls.join_next().await {
        ended.map_err(|error| breach(error.to_string()))??;
    }
    let told = scene.fence.fenced().await?;
    same("whether the site is fenced", scene.subject.truth().await?, told)?;
    scene.fence().await?;
    scene.is(Fenced::Yes).await
}
