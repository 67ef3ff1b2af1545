//! Names: unknown ones are refused without effect, strange ones are told apart.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use ha_core::backend::{
    Admin, CloseSessions, Effect, ErrorKind, Expectations, MemberRef, SetAdmin, SetWeight, StepError, Weight,
};

use super::Fixture;
use super::scene::{CONFIGURED, EPOCH, Scene, consent, name};
use crate::conformance::verdict::{Done, Stop, needs, refused, same};

/// A member that is not there, and pools that are not: one with the name of a member that is.
fn unknown(scene: &Scene) -> Result<[MemberRef; 4], Stop> {
    let (esb, esb1) = (scene.pool.clone(), scene.members[0].clone());
    Ok([
        MemberRef::new(esb.clone(), name("esb9")?),
        MemberRef::new(esb, name("ESB1")?),
        MemberRef::new(name("crm")?, esb1.clone()),
        MemberRef::new(esb1.clone(), esb1),
    ])
}

async fn each<T, F, A>(scene: &Scene, operation: &str, call: F) -> Done
where
    T: Debug,
    F: Fn(MemberRef) -> A,
    A: Future<Output = Result<T, StepError>>,
{
    scene.set(1, Admin::Drain).await?;
    let before = scene.truths().await?;
    for member in unknown(scene)? {
        let what = format!("{operation} on {member}, which is not there");
        refused(&what, call(member).await, ErrorKind::NotFound, Effect::None)?;
        same(format!("the truth after {what}"), scene.truths().await?, before.clone())?;
    }
    Ok(())
}

pub(super) async fn member_refuses_unknown_names(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let balancer = &scene.balancer;
    each(&scene, "member", |member| async move { balancer.member(&member).await }).await
}

pub(super) async fn quiescence_refuses_unknown_names(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let balancer = &scene.balancer;
    each(&scene, "quiescence", |member| async move { balancer.quiescence(&member).await }).await
}

pub(super) async fn members_refuses_an_unknown_pool(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for pool in ["crm", "ESB", "es", "esb1"] {
        let answer = scene.balancer.members(&name(pool)?).await;
        refused(&format!("members of {pool}, which is not there"), answer, ErrorKind::NotFound, Effect::None)?;
    }
    Ok(())
}

pub(super) async fn set_admin_refuses_unknown_names_without_effect(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    each(&scene, "set_admin", |member| scene.balancer.set_admin(EPOCH, SetAdmin::new(member, Admin::Maint))).await
}

pub(super) async fn set_weight_refuses_unknown_names_without_effect(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    needs(scene.claims().sets_weights, "capability: sets_weights")?;
    each(&scene, "set_weight", |member| scene.balancer.set_weight(EPOCH, SetWeight::new(member, Weight::new(5)))).await
}

pub(super) async fn close_sessions_refuses_unknown_names_without_effect(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    needs(scene.claims().closes_sessions, "capability: closes_sessions")?;
    let close = |member| scene.balancer.close_sessions(EPOCH, CloseSessions::new(member, consent()));
    each(&scene, "close_sessions", close).await
}

pub(super) async fn names_at_the_edge_of_the_grammar_are_told_apart(fixture: &dyn Fixture) -> Done {
    let long = "x".repeat(128);
    let shorter = "x".repeat(127);
    // A numeric name that is also the number of another member, names that differ by case or end, and all the signs.
    let names = ["2", "1", "a", "A", "a.b:c-d_e", "a.b:c-d_", "-", &long, &shorter];
    for pool in ["7", "Pool.x:y-z_", &long] {
        let scene = Scene::of(fixture, pool, &names).await?;
        for (index, name) in names.iter().enumerate() {
            scene.set(index, Admin::Maint).await?;
            scene.is_really(index, Admin::Maint, CONFIGURED).await?;
            same(format!("what is read of {name}"), scene.member(index).await?.admin, Admin::Maint)?;
            same("what is in flight", scene.quiescence(index).await?.in_flight(), 0)?;
            scene.all_ready_but(Some(index)).await?;
            scene.set(index, Admin::Ready).await?;
        }
        same("the members", scene.balancer.members(&scene.pool).await?.len(), names.len())?;
    }
    Ok(())
}

pub(super) async fn concerns_are_read_without_effect(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let expect = Expectations::new(scene.pool.clone(), Duration::from_secs(30));
    let first = scene.balancer.config_findings(&expect).await?;
    same("a second reading of config_findings", scene.balancer.config_findings(&expect).await?, first)?;
    scene.all_ready_but(None).await
}
