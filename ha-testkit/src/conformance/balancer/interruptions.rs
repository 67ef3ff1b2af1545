//! Futures dropped at each await, and many callers at once: old or new, never else.

use std::future::Future;
use std::time::Duration;

use ha_core::backend::{Admin, Applied, Effect, ErrorKind, SetAdmin, SetWeight, StepError, Weight};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::scene::{CONFIGURED, EPOCH, READY, Scene};
use super::{Ability, Fixture, Truth};
use crate::conformance::patience::{dropped_after, eventually};
use crate::conformance::verdict::{Done, breach, ensure, needs, same};

/// No call awaits more often.
const MOST: u32 = 200;
/// What a dropped call has left on its way arrives in this time; later arrivals are put right as well.
const ARRIVAL: Duration = Duration::from_millis(10);

/// Drops a write after each number of polls until it ends by itself.
async fn interrupted<F, A>(scene: &Scene, new: Truth, write: F) -> Done
where
    F: Fn() -> A,
    A: Future<Output = Result<Applied, StepError>>,
{
    for polls in 0..MOST {
        scene.restore(0, READY).await?;
        let ended = dropped_after(write(), polls).await;
        if let Some(answer) = ended {
            same("a write that nobody interrupts", answer?, Applied::Applied)?;
            same("the truth after it", scene.truth(0).await?, new)?;
            return scene.all_ready_but(Some(0)).await;
        }
        sleep(ARRIVAL).await;
        let truth = scene.truth(0).await?;
        ensure(truth == READY || truth == new, || {
            format!("dropped after {polls} polls, a write left {truth:?}: neither {READY:?} nor {new:?}")
        })?;
        let read = scene.member(0).await?;
        let (old, new) = ((READY.admin, READY.weight), (new.admin, new.weight));
        let read = (read.admin, read.weight);
        ensure(read == old || read == new, || format!("dropped after {polls} polls, {read:?} is read back"))?;
        scene.all_ready_but(Some(0)).await?;
    }
    Err(breach(format!("a write did not end in {MOST} polls")))
}

pub(super) async fn a_dropped_set_admin_leaves_the_old_or_the_new_state(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for admin in [Admin::Maint, Admin::Drain] {
        let request = || SetAdmin::new(scene.member_ref(0), admin);
        interrupted(&scene, Truth::new(admin, CONFIGURED), || scene.balancer.set_admin(EPOCH, request())).await?;
    }
    Ok(())
}

pub(super) async fn a_dropped_set_weight_leaves_the_old_or_the_new_weight(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    needs(scene.claims().sets_weights, "capability: sets_weights")?;
    let weight = Weight::new(7);
    let request = || SetWeight::new(scene.member_ref(0), weight);
    interrupted(&scene, Truth::new(Admin::Ready, weight), || scene.balancer.set_weight(EPOCH, request())).await
}

pub(super) async fn a_dropped_close_sessions_leaves_states_alone(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    needs(scene.claims().closes_sessions, "capability: closes_sessions")?;
    for polls in 0..MOST {
        let (held, other) = (scene.hold(0).await?, scene.hold(1).await?);
        let ended = dropped_after(scene.close(0), polls).await.transpose()?;
        sleep(ARRIVAL).await;
        scene.all_ready_but(None).await?;
        let answered = held.release().await?;
        ensure(!(answered && ended.is_some()), || "a request survived the closing of its session".into())?;
        same("whether another member's request got its answer", other.release().await?, true)?;
        for index in [0, 1] {
            scene.until_in_flight(index, 0).await?;
        }
        if ended.is_some() {
            return Ok(());
        }
    }
    Err(breach(format!("close_sessions did not end in {MOST} polls")))
}

pub(super) async fn dropped_reads_change_nothing_and_block_nobody(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.set(1, Admin::Drain).await?;
    let before = scene.truths().await?;
    for polls in 0..6 {
        let member = scene.member_ref(0);
        let _ = dropped_after(scene.balancer.identify(), polls).await;
        let _ = dropped_after(scene.balancer.member(&member), polls).await;
        let _ = dropped_after(scene.balancer.look(&member), polls).await;
        let _ = dropped_after(scene.balancer.members(&scene.pool), polls).await;
        let _ = dropped_after(scene.balancer.quiescence(&member), polls).await;
    }
    same("the truth after dropped reads", scene.truths().await?, before)?;
    scene.balancer.identify().await?;
    scene.quiescence(0).await?;
    same("a write after dropped reads", scene.set(0, Admin::Maint).await?, Applied::Applied)?;
    scene.is_really(0, Admin::Maint, CONFIGURED).await
}

const CALLERS: u16 = 20;

pub(super) async fn many_callers_on_one_member_end_in_one_truth(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (balancer, member) = (scene.balancer.clone(), scene.member_ref(0));
        let admin = [Admin::Maint, Admin::Drain, Admin::Ready][usize::from(caller % 3)];
        callers.spawn(async move { balancer.set_admin(EPOCH, SetAdmin::new(member, admin)).await });
    }
    while let Some(ended) = callers.join_next().await {
        match ended {
            Ok(Ok(_)) => {}
            // Somebody else's change was read back.
            Ok(Err(error)) if (error.kind(), error.effect()) == (ErrorKind::Conflict, Effect::Unknown) => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(error) => return Err(breach(format!("a caller was lost: {error}"))),
        }
    }
    let (read, truth) = (scene.member(0).await?, scene.truth(0).await?);
    same("what is read after many callers", (read.admin, read.weight), (truth.admin, truth.weight))?;
    same("the weight after many callers", truth.weight, CONFIGURED)?;
    scene.all_ready_but(Some(0)).await
}

pub(super) async fn many_callers_on_different_members_all_get_their_way(fixture: &dyn Fixture) -> Done {
    let names: Vec<String> = (0..CALLERS).map(|number| format!("esb{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let scene = Scene::of(fixture, "esb", &names).await?;
    let wanted = |index: usize| if index.is_multiple_of(2) { Admin::Maint } else { Admin::Drain };
    let mut callers = JoinSet::new();
    for index in 0..names.len() {
        let (balancer, member) = (scene.balancer.clone(), scene.member_ref(index));
        callers.spawn(async move { balancer.set_admin(EPOCH, SetAdmin::new(member, wanted(index))).await });
    }
    while let Some(ended) = callers.join_next().await {
        let answer = ended.map_err(|error| breach(format!("a caller was lost: {error}")))?;
        same("one of many calls on different members", answer?, Applied::Applied)?;
    }
    for index in 0..names.len() {
        scene.is_really(index, wanted(index), CONFIGURED).await?;
    }
    Ok(())
}

pub(super) async fn a_state_and_a_weight_set_at_once_both_hold(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    needs(scene.claims().sets_weights, "capability: sets_weights")?;
    // The weight comes before, inside and after the state's own steps.
    for pause in 0..5 {
        for (admin, weight) in [(Admin::Drain, 3), (Admin::Maint, 200), (Admin::Ready, 17)] {
            let late = async {
                sleep(Duration::from_millis(pause)).await;
                scene.weigh(1, weight).await
            };
            let (weighed, state) = tokio::join!(late, scene.set(1, admin));
            same("a state set beside a weight", state?, Applied::Applied)?;
            same("a weight set beside a state", weighed?, Applied::Applied)?;
            scene.is_really(1, admin, Weight::new(weight)).await?;
        }
    }
    Ok(())
}

pub(super) async fn reads_beside_writes_see_the_old_or_the_new_state(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (balancer, member) = (scene.balancer.clone(), scene.member_ref(0));
    let writer = tokio::spawn(async move {
        for turn in 0..20 {
            let admin = if turn % 2 == 0 { Admin::Drain } else { Admin::Ready };
            balancer.set_admin(EPOCH, SetAdmin::new(member.clone(), admin)).await?;
        }
        Ok::<(), StepError>(())
    });
    while !writer.is_finished() {
        let read = scene.member(0).await?;
        ensure(matches!(read.admin, Admin::Drain | Admin::Ready), || format!("{read:?} beside writes of others"))?;
        same("the weight that is read beside writes", read.weight, CONFIGURED)?;
        let listed = scene.balancer.members(&scene.pool).await?;
        same("the members that are read beside writes", listed.len(), scene.members.len())?;
    }
    writer.await.map_err(|error| breach(format!("the writer was lost: {error}")))??;
    eventually("the last state", || async { Ok(scene.truth(0).await? == READY) }).await
}
