//! Generations: which process answers, and what its end does to what was set and to what was in flight.

use std::time::Duration;

use ha_core::backend::{Admin, Applied, Effect, ErrorKind, MemberRef, MemberSnapshot, Quiescence};
use ha_core::topology::Name;
use tokio::time::{Instant, sleep};

use super::scene::Scene;
use super::{Ability, Fixture, HeldRequest};
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, Stop, breach, ensure, needs, refused, same};

pub(super) async fn identity_stays_between_calls(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let first = scene.balancer.identify().await?;
    scene.set(0, Admin::Drain).await?;
    let second = scene.balancer.identify().await?;
    same("version and generation", (second.version, second.generation), (first.version, first.generation))?;
    ensure(second.uptime >= first.uptime, || "the uptime went back".into())?;
    same("whether a serving balancer is stopping", second.stopping, false)
}

pub(super) async fn readings_bear_the_generation_that_answers(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for _ in 0..2 {
        let generation = scene.balancer.identify().await?.generation;
        for index in 0..scene.members.len() {
            same("the generation of a reading", scene.quiescence(index).await?.generation, generation)?;
        }
        if !fixture.can(Ability::Restart) {
            break;
        }
        scene.subject.restart().await?;
    }
    Ok(())
}

pub(super) async fn a_look_tells_what_other_calls_tell(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for _ in 0..2 {
        scene.set(0, Admin::Drain).await?;
        let instance = scene.balancer.identify().await?;
        for index in 0..scene.members.len() {
            let MemberSnapshot { process, member: observed, quiescence, .. } =
                scene.balancer.look(&scene.member_ref(index)).await?;
            same(
                "the process of a look",
                (process.version, process.generation, process.stopping),
                (instance.version.clone(), instance.generation, instance.stopping),
            )?;
            let (alone, truth) = (scene.member(index).await?, scene.truth(index).await?);
            same(
                "the member of a look",
                (observed.admin, observed.weight, observed.kind),
                (alone.admin, alone.weight, alone.kind),
            )?;
            same("and the truth", (observed.admin, observed.weight), (truth.admin, truth.weight))?;
            if let Some(figures) = quiescence {
                same("what runs on it, by a look", figures, scene.quiescence(index).await?)?;
            }
        }
        if !fixture.can(Ability::Restart) {
            break;
        }
        scene.subject.restart().await?;
    }
    let nobody = MemberRef::new(scene.pool.clone(), Name::new("nobody").map_err(|error| breach(error.to_string()))?);
    refused("a look at nobody", scene.balancer.look(&nobody).await, ErrorKind::NotFound, Effect::None)
}

pub(super) async fn a_look_at_a_member_that_is_held_out_tells_what_still_runs_on_it(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    let held = scene.hold(0).await?;
    scene.until_in_flight(0, 1).await?;
    scene.set(0, Admin::Drain).await?;
    same("what a look at a drained member sees in flight", looked(&scene, 0).await?.in_flight(), 1)?;
    held.release().await?;
    scene.until_in_flight(0, 0).await?;
    eventually("a look sees what another call sees open once the request has ended", || async {
        Ok(looked(&scene, 0).await? == scene.quiescence(0).await?)
    })
    .await?;
    scene.set(0, Admin::Maint).await?;
    eventually("a look sees a member in maintenance closed", || async { Ok(looked(&scene, 0).await?.is_closed()) })
        .await
}

/// What a look at a member that is held out tells of what runs on it; what it leaves out is asked for.
async fn looked(scene: &Scene, index: usize) -> Result<Quiescence, Stop> {
    match scene.balancer.look(&scene.member_ref(index)).await?.quiescence {
        Some(figures) => Ok(figures),
        None => Ok(scene.quiescence(index).await?),
    }
}

pub(super) async fn a_look_tells_what_runs_in_older_generations(fixture: &dyn Fixture) -> Done {
    let (scene, held) = drained_after_a_restart(fixture).await?;
    eventually("a look sees the request of an older process", || async {
        Ok(looked(&scene, 0).await?.in_flight() == 1)
    })
    .await?;
    held.release().await?;
    eventually("and its end", || async { Ok(looked(&scene, 0).await?.in_flight() == 0) }).await
}

pub(super) async fn a_restart_is_another_generation(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Restart).await?;
    let mut seen = vec![scene.balancer.identify().await?.generation];
    for _ in 0..2 {
        scene.subject.restart().await?;
        let now = scene.balancer.identify().await?.generation;
        ensure(!seen.contains(&now), || format!("generation {now} again after a restart: {seen:?}"))?;
        seen.push(now);
    }
    Ok(())
}

pub(super) async fn a_restart_forgets_what_was_set(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Restart).await?;
    scene.set(0, Admin::Maint).await?;
    scene.set(1, Admin::Drain).await?;
    if scene.claims().sets_weights {
        scene.weigh(2, 3).await?;
    }
    // Numbers and figures of the first process must not be believed of the second.
    for index in 0..scene.members.len() {
        scene.quiescence(index).await?;
    }
    scene.subject.restart().await?;
    scene.all_ready_but(None).await?;
    for index in 0..scene.members.len() {
        let (read, truth) = (scene.member(index).await?, scene.truth(index).await?);
        same("what is read after a restart", (read.admin, read.weight), (truth.admin, truth.weight))?;
    }
    Ok(())
}

pub(super) async fn an_uptime_is_that_of_the_process_and_begins_anew_with_it(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Restart).await?;
    // Some balancers tell whole seconds only, and 0 may mean that it is not known.
    sleep(AGE).await;
    let old = scene.balancer.identify().await?.uptime;
    needs(!old.is_zero(), "capability: uptime")?;
    ensure(old + SECOND >= AGE, || format!("a process of {AGE:?} at least is said to have run for {old:?}"))?;
    let restarting = Instant::now();
    scene.subject.restart().await?;
    let young = scene.balancer.identify().await?.uptime;
    let most = restarting.elapsed() + SECOND;
    ensure(young <= most, || format!("a process of {most:?} at most is said to have run for {young:?}"))
}

/// How old a process is when it is restarted: it can be told from a young one, to the second.
const AGE: Duration = Duration::from_millis(3_100);
const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn a_restarted_balancer_is_set_again(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Restart).await?;
    scene.set(0, Admin::Maint).await?;
    scene.subject.restart().await?;
    // The same state again is a change of the new process.
    same("the same state after a restart", scene.set(0, Admin::Maint).await?, Applied::Applied)?;
    same("and once more", scene.set(0, Admin::Maint).await?, Applied::AlreadySo)?;
    scene.is_really(0, Admin::Maint, super::scene::CONFIGURED).await?;
    scene.all_ready_but(Some(0)).await
}

pub(super) async fn counters_begin_anew_with_a_generation(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Restart).await?;
    needs(fixture.can(Ability::Requests), Ability::Requests.name())?;
    for _ in 0..3 {
        scene.hold(0).await?.release().await?;
    }
    scene.until_in_flight(0, 0).await?;
    let (before, generation) = (scene.member(0).await?.counters, scene.quiescence(0).await?.generation);
    scene.subject.restart().await?;
    let (after, new) = (scene.member(0).await?.counters, scene.quiescence(0).await?.generation);
    // Whoever subtracts must be able to tell: counters that went back came with another generation.
    ensure(after.taken >= before.taken || new != generation, || {
        format!("counters went back inside generation {generation}: {before:?}, then {after:?}")
    })?;
    ensure(before.taken >= 3, || format!("three requests, and {before:?}"))
}

pub(super) async fn a_request_of_an_older_generation_is_counted_where_it_is_seen(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::OldRequests).await?;
    let held = scene.hold(0).await?;
    scene.until_in_flight(0, 1).await?;
    scene.subject.restart().await?;
    let wanted = u64::from(scene.claims().sees_older_generations);
    scene.until_in_flight(0, wanted).await?;
    same("what is in flight on another member", scene.quiescence(1).await?.in_flight(), 0)?;
    same("whether the old request got its answer", held.release().await?, true)?;
    scene.until_in_flight(0, 0).await
}

/// Holds a request to the first member over a restart, then drains it: the request is an older generation's.
async fn drained_after_a_restart(fixture: &dyn Fixture) -> Result<(Scene, Box<dyn HeldRequest>), Stop> {
    let scene = Scene::with(fixture, Ability::OldRequests).await?;
    needs(scene.claims().sees_older_generations, "capability: sees_older_generations")?;
    let held = scene.hold(0).await?;
    scene.until_in_flight(0, 1).await?;
    scene.subject.restart().await?;
    scene.set(0, Admin::Drain).await?;
    Ok((scene, held))
}

pub(super) async fn a_member_drained_after_a_restart_is_not_idle_before_its_old_requests_end(
    fixture: &dyn Fixture,
) -> Done {
    let (scene, held) = drained_after_a_restart(fixture).await?;
    scene.until_in_flight(0, 1).await?;
    ensure(!scene.quiescence(0).await?.is_closed(), || "closed with a request of an older process".into())?;
    scene.set(0, Admin::Maint).await?;
    held.release().await?;
    eventually("a member in maintenance is closed", || async { Ok(scene.quiescence(0).await?.is_closed()) }).await
}
