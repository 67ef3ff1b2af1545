//! Requests: counted while in flight, never lost by draining, never sent where they must not go.

use ha_core::backend::{Admin, Weight};

use super::scene::Scene;
use super::{Ability, Fixture, HeldRequest, WaitingRequest};
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, Stop, ensure, needs, same};

/// Requests enough for every member to get some.
const MANY: usize = 12;

pub(super) async fn a_request_in_flight_is_counted_until_it_ends(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    let held = scene.hold(1).await?;
    scene.until_in_flight(1, 1).await?;
    let reading = scene.quiescence(1).await?;
    ensure(!reading.is_closed(), || format!("closed with a request in flight: {reading:?}"))?;
    for other in [0, 2] {
        same("what is in flight on another member", scene.quiescence(other).await?.in_flight(), 0)?;
    }
    same("whether the request got its answer", held.release().await?, true)?;
    scene.until_in_flight(1, 0).await
}

pub(super) async fn several_requests_in_flight_are_counted_one_by_one(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    let mut held = Vec::new();
    for wanted in 1..=3 {
        held.push(scene.hold(0).await?);
        scene.until_in_flight(0, wanted).await?;
    }
    for wanted in (0..3).rev() {
        if let Some(one) = held.pop() {
            same("whether the request got its answer", one.release().await?, true)?;
        }
        scene.until_in_flight(0, wanted).await?;
    }
    Ok(())
}

async fn gets_nothing(scene: &Scene, why: &str) -> Done {
    same(format!("requests of the first member {why}"), scene.share_of(0, MANY).await?, 0)
}

async fn gets_some(scene: &Scene, why: &str) -> Done {
    eventually(&format!("requests reach the first member {why}"), || async { Ok(scene.share_of(0, MANY).await? > 0) })
        .await
}

pub(super) async fn a_drained_member_gets_no_new_requests(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    gets_some(&scene, "at first").await?;
    scene.set(0, Admin::Drain).await?;
    gets_nothing(&scene, "while it drains").await?;
    scene.set(0, Admin::Ready).await?;
    gets_some(&scene, "that was put back").await
}

pub(super) async fn a_member_in_maintenance_gets_no_new_requests(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    gets_some(&scene, "at first").await?;
    scene.set(0, Admin::Maint).await?;
    gets_nothing(&scene, "in maintenance").await?;
    scene.set(0, Admin::Ready).await?;
    gets_some(&scene, "that was put back").await
}

pub(super) async fn a_member_of_weight_0_gets_no_new_requests(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    needs(scene.claims().sets_weights, "capability: sets_weights")?;
    gets_some(&scene, "at first").await?;
    scene.weigh(0, 0).await?;
    gets_nothing(&scene, "of weight 0").await?;
    scene.weigh(0, 256).await?;
    gets_some(&scene, "of weight 256").await
}

pub(super) async fn a_request_in_flight_survives_draining(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    let held = scene.hold(0).await?;
    scene.set(0, Admin::Drain).await?;
    scene.until_in_flight(0, 1).await?;
    gets_nothing(&scene, "while it drains with a request in flight").await?;
    same("whether the drained member's request got its answer", held.release().await?, true)?;
    scene.until_in_flight(0, 0).await?;
    scene.is_really(0, Admin::Drain, super::scene::CONFIGURED).await
}

pub(super) async fn a_request_in_flight_survives_maintenance_unless_that_cuts(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    let cuts = scene.member(0).await?.cuts_on_maint;
    let held = scene.hold(0).await?;
    scene.until_in_flight(0, 1).await?;
    scene.set(0, Admin::Maint).await?;
    if !cuts {
        same("what is in flight in maintenance", scene.quiescence(0).await?.in_flight(), 1)?;
    }
    same("whether the request in flight got its answer", held.release().await?, !cuts)?;
    scene.until_in_flight(0, 0).await
}

pub(super) async fn after_maintenance_and_the_last_request_nothing_connects_to_a_member(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    let held = scene.hold(0).await?;
    scene.set(0, Admin::Drain).await?;
    held.release().await?;
    scene.set(0, Admin::Maint).await?;
    eventually("a drained member in maintenance is closed", || async { Ok(scene.quiescence(0).await?.is_closed()) })
        .await
}

pub(super) async fn closing_sessions_counts_and_cuts_them(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    needs(scene.claims().closes_sessions, "capability: closes_sessions")?;
    let held = [scene.hold(0).await?, scene.hold(0).await?];
    scene.until_in_flight(0, 2).await?;
    same("sessions said to be closed", scene.close(0).await?.sessions, 2)?;
    scene.until_in_flight(0, 0).await?;
    for one in held {
        same("whether a request that was cut got its answer", one.release().await?, false)?;
    }
    scene.all_ready_but(None).await
}

pub(super) async fn closing_sessions_of_an_idle_member_closes_none(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    needs(scene.claims().closes_sessions, "capability: closes_sessions")?;
    let held = scene.hold(1).await?;
    for _ in 0..2 {
        same("sessions of an idle member", scene.close(0).await?.sessions, 0)?;
    }
    same("whether another member's request got its answer", held.release().await?, true)
}

pub(super) async fn counters_count_requests_and_never_shrink(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    let mut last = scene.member(0).await?.counters;
    let first = last;
    let mut held = 0;
    for round in 0..4_u16 {
        let one = scene.hold(0).await?;
        one.release().await?;
        held += 1;
        scene.until_in_flight(0, 0).await?;
        match round {
            0 => scene.set(0, Admin::Drain).await.map(drop)?,
            1 => scene.set(0, Admin::Maint).await.map(drop)?,
            _ => {}
        }
        scene.set(0, Admin::Ready).await?;
        eventually("a member that was put back is usable", || async { Ok(scene.member(0).await?.is_usable()) }).await?;
        let now = scene.member(0).await?.counters;
        ensure(now.taken > last.taken, || format!("a request was taken and not counted: {last:?}, then {now:?}"))?;
        ensure(now.failed >= last.failed, || format!("failures were forgotten: {last:?}, then {now:?}"))?;
        last = now;
    }
    ensure(last.taken >= first.taken + held, || format!("{held} requests, and counters {first:?}, then {last:?}"))
}

pub(super) async fn a_weight_lets_requests_in_flight_end(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    needs(scene.claims().sets_weights, "capability: sets_weights")?;
    let held = scene.hold(0).await?;
    scene.weigh(0, 0).await?;
    scene.until_in_flight(0, 1).await?;
    same("whether the request in flight got its answer", held.release().await?, true)?;
    scene.is_really(0, Admin::Ready, Weight::new(0)).await
}

/// Every member busy with one request, and one that waits in front of the pool.
async fn crowded(fixture: &dyn Fixture) -> Result<(Scene, Vec<Box<dyn HeldRequest>>, Box<dyn WaitingRequest>), Stop> {
    needs(fixture.can(Ability::Queue), Ability::Queue.name())?;
    let scene = Scene::with(fixture, Ability::Requests).await?;
    let mut held = Vec::new();
    for index in 0..scene.members.len() {
        held.push(scene.hold(index).await?);
        scene.until_in_flight(index, 1).await?;
    }
    same("what waits before anything does", scene.member(0).await?.waiting, 0)?;
    let waits = scene.subject.queue().await?;
    eventually("the request that waits is counted", || async { Ok(scene.member(0).await?.waiting == 1) }).await?;
    Ok((scene, held, waits))
}

pub(super) async fn a_request_that_waits_for_room_is_counted_until_a_member_takes_it(fixture: &dyn Fixture) -> Done {
    let (scene, mut held, waits) = crowded(fixture).await?;
    ensure(!scene.member(0).await?.is_passed_over(), || "a member that works is none that is passed over".into())?;
    same("whether the second member's request got its answer", held.remove(1).release().await?, true)?;
    same("who answered the request that waited", waits.answer().await?.as_ref(), Some(&scene.members[1]))?;
    eventually("nothing waits any more", || async { Ok(scene.member(0).await?.waiting == 0) }).await?;
    for one in held {
        same("whether a request got its answer", one.release().await?, true)?;
    }
    Ok(())
}

pub(super) async fn a_drained_member_takes_nothing_that_waits(fixture: &dyn Fixture) -> Done {
    let (scene, mut held, waits) = crowded(fixture).await?;
    scene.set(0, Admin::Drain).await?;
    same("whether the drained member's request got its answer", held.remove(0).release().await?, true)?;
    scene.until_in_flight(0, 0).await?;
    same("what waits beside a drained member with room", scene.member(1).await?.waiting, 1)?;
    same("whether the last member's request got its answer", held.remove(1).release().await?, true)?;
    same("who answered the request that waited", waits.answer().await?.as_ref(), Some(&scene.members[2]))?;
    same("whether a request got its answer", held.remove(0).release().await?, true)
}
