//! Administrative states: set, read back, seen by another route.

use ha_core::backend::{Admin, Applied, Health, Member};
use ha_core::state::MemberKind;
use ha_core::topology::Name;

use super::Fixture;
use super::scene::{CONFIGURED, READY, Scene};
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, ensure, same};

const ALL: [Admin; 3] = [Admin::Ready, Admin::Drain, Admin::Maint];

pub(super) async fn a_fresh_member_is_as_it_was_configured(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for index in 0..scene.members.len() {
        let member = scene.member(index).await?;
        same(
            "its state",
            (member.admin, member.weight, member.configured_weight),
            (Admin::Ready, CONFIGURED, CONFIGURED),
        )?;
        same(
            "its kind, and whether another's state counts",
            (member.kind, member.inherited),
            (MemberKind::Primary, false),
        )?;
        ensure(member.is_usable(), || format!("a fresh member is not usable: {member:?}"))?;
    }
    scene.all_ready_but(None).await
}

pub(super) async fn every_state_is_set_from_every_other_and_seen_by_another_route(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for from in ALL {
        for to in ALL {
            scene.set(1, from).await?;
            same(format!("{from:?}"), scene.truth(1).await?.admin, from)?;
            let applied = scene.set(1, to).await?;
            same(format!("what {to:?} after {from:?} was said to be"), applied, change(from == to))?;
            scene.is_really(1, to, CONFIGURED).await?;
        }
    }
    Ok(())
}

fn change(already: bool) -> Applied {
    if already { Applied::AlreadySo } else { Applied::Applied }
}

pub(super) async fn a_state_set_twice_is_applied_once(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for admin in [Admin::Drain, Admin::Maint, Admin::Ready] {
        same(format!("the first {admin:?}"), scene.set(0, admin).await?, Applied::Applied)?;
        for _ in 0..2 {
            same(format!("another {admin:?}"), scene.set(0, admin).await?, Applied::AlreadySo)?;
            scene.is_really(0, admin, CONFIGURED).await?;
        }
    }
    Ok(())
}

pub(super) async fn what_is_read_back_is_the_truth(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for admin in [Admin::Maint, Admin::Ready, Admin::Drain] {
        scene.set(2, admin).await?;
        for index in 0..scene.members.len() {
            let (read, truth) = (scene.member(index).await?, scene.truth(index).await?);
            let name = &scene.members[index];
            same(format!("what was read of {name}"), (read.admin, read.weight), (truth.admin, truth.weight))?;
        }
    }
    Ok(())
}

pub(super) async fn members_reads_what_member_reads_of_each(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.set(0, Admin::Drain).await?;
    scene.set(2, Admin::Maint).await?;
    let mut listed = scene.balancer.members(&scene.pool).await?;
    listed.sort_by(|one, other| one.0.cmp(&other.0));
    let mut names: Vec<&Name> = listed.iter().map(|(name, _)| name).collect();
    same("the members of the pool", names.clone(), scene.members.iter().collect())?;
    names.dedup();
    same("the members of the pool, each once", names.len(), listed.len())?;
    for (index, (name, member)) in listed.into_iter().enumerate() {
        same(format!("members and member about {name}"), member, scene.member(index).await?)?;
    }
    Ok(())
}

pub(super) async fn a_state_leaves_the_weight_and_the_other_members_alone(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for admin in [Admin::Drain, Admin::Ready, Admin::Maint, Admin::Drain, Admin::Maint, Admin::Ready] {
        scene.set(1, admin).await?;
        scene.is_really(1, admin, CONFIGURED).await?;
        scene.all_ready_but(Some(1)).await?;
    }
    Ok(())
}

pub(super) async fn only_a_ready_member_is_usable(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for admin in [Admin::Drain, Admin::Maint] {
        scene.set(0, admin).await?;
        let member = scene.member(0).await?;
        ensure(!member.is_usable(), || format!("usable in {admin:?}: {member:?}"))?;
        scene.set(0, Admin::Ready).await?;
        eventually("a member that was put back is usable", || async { Ok(scene.member(0).await?.is_usable()) }).await?;
    }
    Ok(())
}

pub(super) async fn a_member_in_maintenance_is_not_said_to_be_up(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for index in [0, 1] {
        scene.set(index, Admin::Maint).await?;
        let (alone, looked) = (scene.member(index).await?.health, scene.balancer.look(&scene.member_ref(index)).await?);
        let member = scene.members[index].clone();
        let listed = scene.balancer.members(&scene.pool).await?;
        let listed = listed.into_iter().find(|(name, _)| *name == member).map(|(_, member)| member.health);
        for health in [Some(alone), Some(looked.member.health), listed] {
            ensure(matches!(health, Some(Health::Paused | Health::Unchecked)), || {
                format!("checks pause in maintenance, and {member} is said to be {health:?}")
            })?;
        }
    }
    Ok(())
}

pub(super) async fn reads_change_nothing(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.set(0, Admin::Drain).await?;
    scene.set(1, Admin::Maint).await?;
    let before = scene.truths().await?;
    for _ in 0..3 {
        scene.balancer.identify().await?;
        scene.balancer.members(&scene.pool).await?;
        for index in 0..scene.members.len() {
            scene.member(index).await?;
            scene.quiescence(index).await?;
        }
    }
    same("the truth after reads", scene.truths().await?, before)?;
    same("a member that nobody touched", scene.truth(2).await?, READY)
}

pub(super) async fn two_reads_of_an_idle_balancer_are_the_same(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let state = |member: Member| (member.admin, member.weight, member.address, member.counters, member.kind);
    for index in 0..scene.members.len() {
        let first = state(scene.member(index).await?);
        same("a second read", state(scene.member(index).await?), first)?;
        let first = scene.quiescence(index).await?;
        same("a second reading", scene.quiescence(index).await?, first)?;
        same("what is in flight on an idle member", first.in_flight(), 0)?;
    }
    Ok(())
}
