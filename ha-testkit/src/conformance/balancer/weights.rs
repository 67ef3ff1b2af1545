//! Weights: absolute, 0 to 256, one member's own.

use ha_core::backend::{Admin, Applied, Weight};

use super::Fixture;
use super::scene::{CONFIGURED, Scene};
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, Stop, ensure, needs, same};

const CLAIM: &str = "capability: sets_weights";

async fn scene(fixture: &dyn Fixture) -> Result<Scene, Stop> {
    let scene = Scene::open(fixture).await?;
    needs(scene.claims().sets_weights, CLAIM)?;
    Ok(scene)
}

pub(super) async fn a_weight_is_set_and_seen_by_another_route(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    for weight in [1, 57, 255, 100, 2] {
        same(format!("weight {weight}"), scene.weigh(1, weight).await?, Applied::Applied)?;
        scene.is_really(1, Admin::Ready, Weight::new(weight)).await?;
        let read = scene.member(1).await?;
        same("the weight that is read back", read.weight, Weight::new(weight))?;
        same("the configured weight", read.configured_weight, CONFIGURED)?;
    }
    Ok(())
}

pub(super) async fn a_weight_set_twice_is_applied_once(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    same("the weight that it has", scene.weigh(0, CONFIGURED.number()).await?, Applied::AlreadySo)?;
    for weight in [3, 0] {
        same("another weight", scene.weigh(0, weight).await?, Applied::Applied)?;
        same("the same weight", scene.weigh(0, weight).await?, Applied::AlreadySo)?;
        scene.is_really(0, Admin::Ready, Weight::new(weight)).await?;
    }
    Ok(())
}

pub(super) async fn a_member_of_weight_0_is_ready_and_not_usable(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    scene.weigh(2, 0).await?;
    scene.is_really(2, Admin::Ready, Weight::new(0)).await?;
    let member = scene.member(2).await?;
    ensure(!member.is_usable(), || format!("usable at weight 0: {member:?}"))?;
    scene.weigh(2, 1).await?;
    eventually("a member of weight 1 is usable", || async { Ok(scene.member(2).await?.is_usable()) }).await
}

pub(super) async fn weight_256_is_the_greatest(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    same("weight 256", scene.weigh(0, 256).await?, Applied::Applied)?;
    scene.is_really(0, Admin::Ready, Weight::new(256)).await?;
    same("the weight that is read back", scene.member(0).await?.weight.number(), 256)?;
    same("weight 300, which is 256", scene.weigh(0, 300).await?, Applied::AlreadySo)
}

pub(super) async fn a_weight_leaves_the_state_and_the_other_members_alone(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    for admin in [Admin::Drain, Admin::Maint, Admin::Ready] {
        scene.set(1, admin).await?;
        for weight in [0, 12] {
            scene.weigh(1, weight).await?;
            scene.is_really(1, admin, Weight::new(weight)).await?;
            scene.all_ready_but(Some(1)).await?;
        }
    }
    Ok(())
}

pub(super) async fn a_state_leaves_a_changed_weight_alone(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    scene.weigh(0, 7).await?;
    for admin in [Admin::Drain, Admin::Maint, Admin::Ready, Admin::Maint, Admin::Ready] {
        scene.set(0, admin).await?;
        scene.is_really(0, admin, Weight::new(7)).await?;
        same("the weight that is read back", scene.member(0).await?.weight, Weight::new(7))?;
    }
    Ok(())
}
