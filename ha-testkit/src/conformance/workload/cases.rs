use std::sync::Arc;

use ha_core::backend::{Applied, Effect, ErrorKind, Workload};
use ha_core::state::{LeaseEpoch, Work};
use tokio::task::JoinSet;

use super::{Pulling, WorkloadAbility, WorkloadFixture, WorkloadSubject};
use crate::conformance::balancer::scene::{EPOCH, STALE};
use crate::conformance::patience::{dropped_after, eventually};
use crate::conformance::verdict::{Done, Stop, breach, ensure, needs, refused, same};

struct Scene {
    subject: Box<dyn WorkloadSubject>,
    workload: Arc<dyn Workload>,
}

impl Scene {
    async fn open(fixture: &dyn WorkloadFixture) -> Result<Self, Stop> {
        let subject = fixture.fresh().await?;
        let workload = subject.workload();
        Ok(Self { subject, workload })
    }

    /// Waits until the node pulls nothing and is said to be off; what is said never runs ahead of what is so.
    async fn comes_to_rest(&self) -> Done {
        eventually("the node is said to be off", || async {
            let told = self.workload.work().await?;
            let truth = self.subject.truth().await?;
            ensure(told != Work::Off || truth == Pulling::new(false, 0), || {
                format!("off was told, and it is {truth:?}")
            })?;
            Ok(told == Work::Off)
        })
        .await?;
        same("what the node does", self.subject.truth().await?, Pulling::new(false, 0))
    }

    /// Checks that the node pulls work, by both routes.
    async fn pulls(&self) -> Done {
        ensure(self.subject.truth().await?.pulls, || "the node pulls no work".into())?;
        same("its work, as it is told", self.workload.work().await?, Work::On)
    }

    async fn quiesce(&self) -> Done {
        self.workload.quiesce(EPOCH).await?;
        self.comes_to_rest().await
    }
}

pub(super) async fn a_fresh_node_pulls_work(fixture: &dyn WorkloadFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.pulls().await?;
    same("what is in progress", scene.subject.truth().await?.in_progress, 0)
}

pub(super) async fn a_node_that_is_quiesced_pulls_none_and_is_off(fixture: &dyn WorkloadFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a quiesce", scene.workload.quiesce(EPOCH).await?, Applied::Applied)?;
    scene.comes_to_rest().await
}

pub(super) async fn what_is_in_progress_is_not_off_until_it_has_ended(fixture: &dyn WorkloadFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.subject.begin().await?;
    same("a quiesce", scene.workload.quiesce(EPOCH).await?, Applied::Applied)?;
    eventually("the node pulls no more", || async { Ok(!scene.subject.truth().await?.pulls) }).await?;
    same("what is in progress", scene.subject.truth().await?.in_progress, 1)?;
    for _ in 0..5 {
        same("work in progress, as it is told", scene.workload.work().await?, Work::On)?;
    }
    scene.subject.finish().await?;
    scene.comes_to_rest().await
}

pub(super) async fn work_that_begins_before_the_quiesce_is_waited_for_by_the_next_controller_too(
    fixture: &dyn WorkloadFixture,
) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.subject.begin().await?;
    scene.workload.quiesce(EPOCH).await?;
    let next = scene.subject.another();
    same("work in progress, as the next one is told", next.work().await?, Work::On)?;
    next.quiesce(EPOCH).await?;
    same("the same after its quiesce", next.work().await?, Work::On)?;
    scene.subject.finish().await?;
    scene.comes_to_rest().await
}

pub(super) async fn a_node_quiesced_twice_is_quiesced_once(fixture: &dyn WorkloadFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a quiesce", scene.workload.quiesce(EPOCH).await?, Applied::Applied)?;
    scene.comes_to_rest().await?;
    same("the same again", scene.workload.quiesce(EPOCH).await?, Applied::AlreadySo)?;
    scene.comes_to_rest().await
}

pub(super) async fn a_node_that_is_resumed_pulls_work(fixture: &dyn WorkloadFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.quiesce().await?;
    same("a resume", scene.workload.resume(EPOCH).await?, Applied::Applied)?;
    scene.pulls().await
}

pub(super) async fn a_node_resumed_twice_is_resumed_once(fixture: &dyn WorkloadFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a resume of what pulls", scene.workload.resume(EPOCH).await?, Applied::AlreadySo)?;
    scene.pulls().await?;
    scene.quiesce().await?;
    same("a resume", scene.workload.resume(EPOCH).await?, Applied::Applied)?;
    same("the same again", scene.workload.resume(EPOCH).await?, Applied::AlreadySo)?;
    scene.pulls().await
}

pub(super) async fn a_node_that_is_resumed_while_work_is_in_progress_goes_on_pulling(
    fixture: &dyn WorkloadFixture,
) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.subject.begin().await?;
    scene.workload.quiesce(EPOCH).await?;
    scene.workload.resume(EPOCH).await?;
    scene.pulls().await?;
    scene.subject.finish().await?;
    // What was asked for before must not come now.
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    scene.pulls().await
}

pub(super) async fn a_node_is_quiesced_again_after_it_was_resumed(fixture: &dyn WorkloadFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for _ in 0..3 {
        scene.quiesce().await?;
        scene.workload.resume(EPOCH).await?;
        scene.pulls().await?;
    }
    Ok(())
}

pub(super) async fn a_quiesced_node_stays_so_after_a_restart(fixture: &dyn WorkloadFixture) -> Done {
    needs(fixture.can(WorkloadAbility::Restarts), WorkloadAbility::Restarts.name())?;
    let scene = Scene::open(fixture).await?;
    scene.quiesce().await?;
    scene.subject.restart().await?;
    scene.comes_to_rest().await?;
    same("its work, as the next one is told", scene.subject.another().work().await?, Work::Off)
}

pub(super) async fn a_node_that_pulls_does_so_after_a_restart(fixture: &dyn WorkloadFixture) -> Done {
    needs(fixture.can(WorkloadAbility::Restarts), WorkloadAbility::Restarts.name())?;
    let scene = Scene::open(fixture).await?;
    scene.quiesce().await?;
    scene.workload.resume(EPOCH).await?;
    scene.subject.restart().await?;
    scene.pulls().await
}

pub(super) async fn the_next_controller_sees_what_this_one_did(fixture: &dyn WorkloadFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let next = scene.subject.another();
    scene.quiesce().await?;
    same("its work, as the next one is told", next.work().await?, Work::Off)?;
    same("its quiesce", next.quiesce(EPOCH).await?, Applied::AlreadySo)?;
    same("its resume", next.resume(EPOCH).await?, Applied::Applied)?;
    scene.pulls().await
}

pub(super) async fn reads_change_nothing(fixture: &dyn WorkloadFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for _ in 0..5 {
        scene.pulls().await?;
    }
    scene.quiesce().await?;
    for _ in 0..5 {
        same("what is read again", scene.workload.work().await?, Work::Off)?;
        same("what the node does", scene.subject.truth().await?, Pulling::new(false, 0))?;
    }
    Ok(())
}

pub(super) async fn a_node_that_does_not_answer_is_said_and_not_guessed(fixture: &dyn WorkloadFixture) -> Done {
    needs(fixture.can(WorkloadAbility::LosesNodes), WorkloadAbility::LosesNodes.name())?;
    for quiesced in [false, true] {
        let scene = Scene::open(fixture).await?;
        if quiesced {
            scene.quiesce().await?;
        }
        scene.subject.lose().await?;
        refused("a read", scene.workload.work().await, ErrorKind::Unreachable, Effect::None)?;
        refused("a quiesce", scene.workload.quiesce(EPOCH).await, ErrorKind::Unreachable, Effect::None)?;
        refused("a resume", scene.workload.resume(EPOCH).await, ErrorKind::Unreachable, Effect::None)?;
    }
    Ok(())
}

pub(super) async fn a_count_that_does_not_answer_is_no_zero(fixture: &dyn WorkloadFixture) -> Done {
    needs(fixture.can(WorkloadAbility::LosesCounts), WorkloadAbility::LosesCounts.name())?;
    let scene = Scene::open(fixture).await?;
    scene.quiesce().await?;
    scene.subject.lose_count().await?;
    match scene.workload.work().await {
        Ok(told) => same("work of which the rest cannot be counted, as it is told", told, Work::Unknown),
        Err(error) => same(format!("a read without a count: {error}"), error.effect(), Effect::None),
    }
}

pub(super) async fn a_stale_epoch_changes_nothing_where_it_is_fenced(fixture: &dyn WorkloadFixture) -> Done {
    needs(fixture.can(WorkloadAbility::Fences), WorkloadAbility::Fences.name())?;
    let scene = Scene::open(fixture).await?;
    scene.quiesce().await?;
    refused("a stale resume", scene.workload.resume(STALE).await, ErrorKind::Fenced, Effect::None)?;
    let next = scene.subject.another();
    refused("the next one's", next.resume(STALE).await, ErrorKind::Fenced, Effect::None)?;
    scene.comes_to_rest().await?;
    scene.workload.resume(EPOCH).await?;
    refused("a stale quiesce", scene.workload.quiesce(STALE).await, ErrorKind::Fenced, Effect::None)?;
    scene.pulls().await?;
    let higher = LeaseEpoch::new(EPOCH.number() + 1);
    same("a quiesce with a higher epoch", scene.workload.quiesce(higher).await?, Applied::Applied)
}

pub(super) async fn a_call_that_is_dropped_leaves_what_can_be_gone_on_with(fixture: &dyn WorkloadFixture) -> Done {
    for polls in 0..4 {
        let scene = Scene::open(fixture).await?;
        let _ = dropped_after(scene.workload.quiesce(EPOCH), polls).await;
        scene.quiesce().await?;
        let _ = dropped_after(scene.workload.resume(EPOCH), polls).await;
        eventually("the node pulls again", || async {
            scene.workload.resume(EPOCH).await?;
            Ok(scene.subject.truth().await?.pulls)
        })
        .await?;
        scene.pulls().await?;
    }
    Ok(())
}

pub(super) async fn many_changes_at_once_end_in_one_state(fixture: &dyn WorkloadFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let mut calls = JoinSet::new();
    for turn in 0..6 {
        let workload = scene.workload.clone();
        calls.spawn(
            async move { if turn % 2 == 0 { workload.quiesce(EPOCH).await } else { workload.resume(EPOCH).await } },
        );
    }
    while let Some(ended) = calls.join_next().await {
        // One that lost against another may say so.
        if let Err(error) = ended.map_err(|error| breach(error.to_string()))? {
            ensure(error.kind() == ErrorKind::Conflict || error.kind() == ErrorKind::Busy, || format!("{error}"))?;
        }
    }
    if scene.subject.truth().await?.pulls {
        scene.pulls().await?;
    } else {
        scene.comes_to_rest().await?;
    }
    scene.quiesce().await?;
    scene.workload.resume(EPOCH).await?;
    scene.pulls().await
}
