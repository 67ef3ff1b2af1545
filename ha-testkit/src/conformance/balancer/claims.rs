//! Capabilities: what is claimed works, what is not is refused; and lease epochs.

use std::fmt::Debug;

use ha_core::backend::{
    Admin, Applied, CloseSessions, Completeness, Effect, ErrorKind, SetAdmin, SetWeight, StepError, Weight,
};
use ha_core::state::LeaseEpoch;

use super::scene::{EPOCH, STALE, Scene, consent};
use super::{Ability, Fixture};
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, needs, refused, same};

pub(super) async fn capabilities_are_constant(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let claimed = scene.claims();
    scene.set(0, Admin::Maint).await?;
    same("capabilities after a write", scene.claims(), claimed)?;
    if fixture.can(Ability::Restart) {
        scene.subject.restart().await?;
        same("capabilities after a restart", scene.claims(), claimed)?;
    }
    Ok(())
}

pub(super) async fn weights_are_set_where_claimed_and_unsupported_elsewhere(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let answer = scene.weigh(0, 5).await;
    if scene.claims().sets_weights {
        same("set_weight, which is claimed", answer?, Applied::Applied)?;
        return scene.is_really(0, Admin::Ready, Weight::new(5)).await;
    }
    refused("set_weight, which is not claimed", answer, ErrorKind::Unsupported, Effect::None)?;
    scene.all_ready_but(None).await
}

pub(super) async fn sessions_are_closed_where_claimed_and_unsupported_elsewhere(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let held = if fixture.can(Ability::Requests) { Some(scene.hold(0).await?) } else { None };
    let answer = scene.close(0).await;
    let claimed = scene.claims().closes_sessions;
    if claimed {
        answer?;
    } else {
        refused("close_sessions, which is not claimed", answer, ErrorKind::Unsupported, Effect::None)?;
    }
    if let Some(held) = held {
        same("whether the request in flight got its answer", held.release().await?, !claimed)?;
    }
    scene.all_ready_but(None).await
}

pub(super) async fn idle_connections_are_seen_where_claimed(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    needs(scene.claims().sees_idle_connections, "capability: sees_idle_connections")?;
    let held = scene.hold(0).await?;
    same("whether the request got its answer", held.release().await?, true)?;
    eventually("an idle connection after a request", || async {
        let reading = scene.quiescence(0).await?;
        Ok(reading.in_flight() == 0 && reading.idle_connections > 0 && !reading.is_closed())
    })
    .await
}

pub(super) async fn older_generations_are_proven_or_admitted_to_be_invisible(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let wanted = match scene.claims().sees_older_generations {
        true => Completeness::Proven,
        false => Completeness::OlderGenerationsInvisible,
    };
    for index in 0..scene.members.len() {
        same("the completeness of a reading", scene.quiescence(index).await?.completeness, wanted)?;
    }
    Ok(())
}

/// Breaches unless a call of a stale epoch was refused where the balancer fences, and taken elsewhere.
fn judged<T: Debug>(fences: bool, what: &str, answer: Result<T, StepError>) -> Done {
    if fences {
        return refused(&format!("{what} with a stale epoch"), answer, ErrorKind::Fenced, Effect::None);
    }
    answer?;
    Ok(())
}

pub(super) async fn a_stale_epoch_sets_no_state_where_it_is_fenced(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let fences = scene.claims().fences;
    scene.set(0, Admin::Drain).await?;
    for (index, admin) in [(0, Admin::Maint), (1, Admin::Drain)] {
        let old = scene.truth(index).await?;
        let answer = scene.balancer.set_admin(STALE, SetAdmin::new(scene.member_ref(index), admin)).await;
        judged(fences, "set_admin", answer)?;
        same("the truth after a stale call", scene.truth(index).await?.admin, if fences { old.admin } else { admin })?;
    }
    Ok(())
}

pub(super) async fn a_stale_epoch_sets_no_weight_where_it_is_fenced(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    needs(scene.claims().sets_weights, "capability: sets_weights")?;
    let fences = scene.claims().fences;
    scene.weigh(0, 9).await?;
    let answer = scene.balancer.set_weight(STALE, SetWeight::new(scene.member_ref(0), Weight::new(3))).await;
    judged(fences, "set_weight", answer)?;
    scene.is_really(0, Admin::Ready, Weight::new(if fences { 9 } else { 3 })).await
}

pub(super) async fn a_stale_epoch_closes_no_sessions_where_it_is_fenced(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    needs(scene.claims().closes_sessions, "capability: closes_sessions")?;
    let fences = scene.claims().fences;
    scene.set(1, Admin::Drain).await?;
    let held = scene.hold(0).await?;
    let answer = scene.balancer.close_sessions(STALE, CloseSessions::new(scene.member_ref(0), consent())).await;
    judged(fences, "close_sessions", answer)?;
    same("whether the request in flight got its answer", held.release().await?, fences)
}

pub(super) async fn the_same_epoch_and_a_higher_one_are_taken(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let higher = LeaseEpoch::new(EPOCH.number() + 5);
    for (epoch, admin) in [(EPOCH, Admin::Drain), (EPOCH, Admin::Maint), (higher, Admin::Drain), (higher, Admin::Ready)]
    {
        let applied = scene.balancer.set_admin(epoch, SetAdmin::new(scene.member_ref(0), admin)).await?;
        same(format!("{admin:?} with epoch {epoch}"), applied, Applied::Applied)?;
        same(format!("the truth after epoch {epoch}"), scene.truth(0).await?.admin, admin)?;
    }
    let answer = scene.set(0, Admin::Maint).await;
    judged(scene.claims().fences, "set_admin by the former holder", answer)
}

pub(super) async fn a_stale_epoch_is_refused_after_a_restart_where_it_is_fenced(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, Ability::Restart).await?;
    scene.set(0, Admin::Drain).await?;
    scene.subject.restart().await?;
    let fences = scene.claims().fences;
    // The first write to the new process: whoever was replaced before the restart must not come back by it.
    let answer = scene.balancer.set_admin(STALE, SetAdmin::new(scene.member_ref(1), Admin::Maint)).await;
    judged(fences, "set_admin after a restart", answer)?;
    let wanted = if fences { Admin::Ready } else { Admin::Maint };
    same("the truth after a stale call", scene.truth(1).await?.admin, wanted)?;
    same("a call of the holder", scene.set(1, Admin::Drain).await?, Applied::Applied)
}
