//! Members that are added and removed while the balancer serves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{
    AddMember, Admin, Applied, Effect, ErrorKind, Health, LoadBalancer, MemberRef, Membership, SetAdmin, StepError,
    Weight,
};
use ha_core::state::MemberKind;
use ha_core::topology::Name;
use tokio::time::sleep;

use super::{Ability, MembershipFixture, MembershipSubject};
use crate::conformance::balancer::scene::{EPOCH, STALE, name};
use crate::conformance::balancer::{Trouble, Truth};
use crate::conformance::patience::{dropped_after, eventually};
use crate::conformance::verdict::{Done, Stop, breach, ensure, needs, refused, same};

/// A fresh pool of two members, and the spare.
struct Scene {
    subject: Box<dyn MembershipSubject>,
    balancer: Arc<dyn LoadBalancer>,
    membership: Arc<dyn Membership>,
    pool: Name,
    spare: MemberRef,
    address: SocketAddr,
}

const WEIGHT: Weight = Weight::new(40);

impl Scene {
    async fn open(fixture: &dyn MembershipFixture) -> Result<Self, Stop> {
        let pool = name("esb")?;
        let subject = fixture.fresh(&pool, &[name("esb1")?, name("esb2")?]).await?;
        let (spare, address) = subject.spare();
        let (balancer, membership) = (subject.balancer(), subject.membership());
        // What its version can do is known once it was asked.
        membership.identify().await?;
        needs(membership.capabilities().adds_members, "capability: adds_members")?;
        Ok(Self { subject, balancer, membership, spare: MemberRef::new(pool.clone(), spare), pool, address })
    }

    async fn with(fixture: &dyn MembershipFixture, ability: Ability) -> Result<Self, Stop> {
        needs(fixture.can(ability), ability.name())?;
        Self::open(fixture).await
    }

    fn request(&self) -> AddMember {
        AddMember::new(self.spare.clone(), self.address).with_kind(MemberKind::Primary).with_weight(WEIGHT)
    }

    async fn add(&self) -> Result<Applied, StepError> {
        self.membership.add(EPOCH, self.request()).await
    }

    async fn remove(&self) -> Result<Applied, StepError> {
        self.membership.remove(EPOCH, self.spare.clone()).await
    }

    async fn set(&self, admin: Admin) -> Result<Applied, StepError> {
        self.balancer.set_admin(EPOCH, SetAdmin::new(self.spare.clone(), admin)).await
    }

    async fn truth(&self) -> Result<Option<Truth>, Stop> {
        Ok(self.subject.truth(&self.spare.member).await?)
    }

    /// Breaches unless the spare's member really is like this; the others must be as they were.
    async fn is_really(&self, admin: Option<Admin>) -> Done {
        let wanted = admin.map(|admin| Truth::new(admin, WEIGHT));
        same("the real state of the spare", self.truth().await?, wanted)?;
        for member in ["esb1", "esb2"] {
            let truth = self.subject.truth(&name(member)?).await?;
            same(format!("the real state of {member}"), truth, Some(Truth::new(Admin::Ready, Weight::new(100))))?;
        }
        Ok(())
    }

    /// Removes the member as soon as nothing connects to it any more.
    async fn removed(&self) -> Done {
        eventually("a member in maintenance is removed", || async {
            match self.remove().await {
                Ok(_) => Ok(true),
                Err(error) if (error.kind(), error.effect()) == (ErrorKind::Conflict, Effect::None) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}

pub(super) async fn an_added_member_is_in_maintenance_as_it_was_asked_for(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a new member", scene.add().await?, Applied::Applied)?;
    scene.is_really(Some(Admin::Maint)).await?;
    let member = scene.balancer.member(&scene.spare).await?;
    same("its state and health", (member.admin, member.health), (Admin::Maint, Health::Paused))?;
    same(
        "its kind, weight and address",
        (member.kind, member.weight, member.address),
        (MemberKind::Primary, WEIGHT, Some(scene.address)),
    )?;
    let listed = scene.membership.members(&scene.pool).await?;
    let found = listed.into_iter().find(|(name, _)| *name == scene.spare.member).map(|(_, member)| member);
    same("the member among all", found, Some(member))
}

pub(super) async fn a_member_added_twice_is_applied_once(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a new member", scene.add().await?, Applied::Applied)?;
    same("the same member", scene.add().await?, Applied::AlreadySo)?;
    // A member that serves is the same member, and is not taken out by being added.
    scene.set(Admin::Ready).await?;
    same("the same member in service", scene.add().await?, Applied::AlreadySo)?;
    scene.is_really(Some(Admin::Ready)).await
}

pub(super) async fn a_member_of_the_same_name_and_another_address_is_a_conflict(
    fixture: &dyn MembershipFixture,
) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.add().await?;
    let other = SocketAddr::new(scene.address.ip(), if scene.address.port() == 9 { 10 } else { 9 });
    let answer = scene.membership.add(EPOCH, AddMember::new(scene.spare.clone(), other).with_weight(WEIGHT)).await;
    refused("the same name with another address", answer, ErrorKind::Conflict, Effect::None)?;
    same("the address", scene.balancer.member(&scene.spare).await?.address, Some(scene.address))?;
    let configured = MemberRef::new(scene.pool.clone(), name("esb1")?);
    let answer = scene.membership.add(EPOCH, AddMember::new(configured, other)).await;
    refused("the name of a configured member", answer, ErrorKind::Conflict, Effect::None)?;
    scene.is_really(Some(Admin::Maint)).await
}

pub(super) async fn an_added_member_gets_requests_once_it_is_ready(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    scene.add().await?;
    for _ in 0..8 {
        let answered = scene.subject.request().await?;
        ensure(answered.as_ref() != Some(&scene.spare.member), || "a member in maintenance got a request".into())?;
    }
    scene.set(Admin::Ready).await?;
    let held = scene.subject.hold(&scene.spare.member).await?;
    let in_flight = || async { Ok(scene.balancer.quiescence(&scene.spare).await?.in_flight() == 1) };
    eventually("the request of an added member is counted", in_flight).await?;
    same("whether it got its answer", held.release().await?, true)
}

pub(super) async fn a_removed_member_is_gone(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.add().await?;
    // Whatever a value has learnt of the member must not outlive it.
    scene.balancer.quiescence(&scene.spare).await?;
    same("the removal", scene.remove().await?, Applied::Applied)?;
    scene.is_really(None).await?;
    let gone =
        |what: &'static str, answer: Result<(), StepError>| refused(what, answer, ErrorKind::NotFound, Effect::None);
    gone("member of a removed member", scene.balancer.member(&scene.spare).await.map(drop))?;
    gone("quiescence of a removed member", scene.balancer.quiescence(&scene.spare).await.map(drop))?;
    gone("set_admin of a removed member", scene.set(Admin::Ready).await.map(drop))?;
    same("the members", scene.membership.members(&scene.pool).await?.len(), 2)
}

pub(super) async fn a_member_that_is_not_there_is_already_removed(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a member that never was", scene.remove().await?, Applied::AlreadySo)?;
    scene.add().await?;
    scene.remove().await?;
    same("a member that was removed", scene.remove().await?, Applied::AlreadySo)?;
    scene.is_really(None).await
}

pub(super) async fn a_member_in_service_is_not_removed(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.add().await?;
    for admin in [Admin::Ready, Admin::Drain] {
        scene.set(admin).await?;
        refused("the removal of a member in service", scene.remove().await, ErrorKind::Conflict, Effect::None)?;
        scene.is_really(Some(admin)).await?;
    }
    Ok(())
}

pub(super) async fn a_member_with_a_request_in_flight_is_not_removed(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::with(fixture, Ability::Requests).await?;
    scene.add().await?;
    scene.set(Admin::Ready).await?;
    let held = scene.subject.hold(&scene.spare.member).await?;
    scene.set(Admin::Maint).await?;
    refused("the removal of a member with a request", scene.remove().await, ErrorKind::Conflict, Effect::None)?;
    scene.is_really(Some(Admin::Maint)).await?;
    same("whether the request got its answer", held.release().await?, true)?;
    scene.removed().await?;
    scene.is_really(None).await
}

pub(super) async fn a_member_is_added_again_after_its_removal(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for _ in 0..3 {
        same("a new member", scene.add().await?, Applied::Applied)?;
        scene.set(Admin::Drain).await?;
        same("its figures", scene.balancer.quiescence(&scene.spare).await?.in_flight(), 0)?;
        scene.set(Admin::Maint).await?;
        scene.removed().await?;
        scene.is_really(None).await?;
    }
    Ok(())
}

pub(super) async fn an_unknown_pool_is_refused_without_effect(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let elsewhere = MemberRef::new(name("crm")?, scene.spare.member.clone());
    let answer = scene.membership.add(EPOCH, AddMember::new(elsewhere.clone(), scene.address)).await;
    refused("a member in a pool that is not there", answer, ErrorKind::NotFound, Effect::None)?;
    let answer = scene.membership.remove(EPOCH, elsewhere).await;
    refused("no member in a pool that is not there", answer, ErrorKind::NotFound, Effect::None)?;
    scene.is_really(None).await
}

pub(super) async fn a_stale_epoch_changes_no_members_where_it_is_fenced(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    needs(scene.membership.capabilities().fences, "capability: fences")?;
    let esb1 = MemberRef::new(scene.pool.clone(), name("esb1")?);
    scene.balancer.set_admin(EPOCH, SetAdmin::new(esb1, Admin::Ready)).await?;
    refused("a stale addition", scene.membership.add(STALE, scene.request()).await, ErrorKind::Fenced, Effect::None)?;
    scene.is_really(None).await?;
    scene.add().await?;
    let answer = scene.membership.remove(STALE, scene.spare.clone()).await;
    refused("a stale removal", answer, ErrorKind::Fenced, Effect::None)?;
    scene.is_really(Some(Admin::Maint)).await
}

pub(super) async fn a_restart_forgets_added_members(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::with(fixture, Ability::Restart).await?;
    scene.add().await?;
    scene.balancer.quiescence(&scene.spare).await?;
    scene.subject.restart().await?;
    scene.is_really(None).await?;
    let answer = scene.balancer.member(&scene.spare).await;
    refused("member of a forgotten member", answer, ErrorKind::NotFound, Effect::None)?;
    same("a forgotten member is new again", scene.add().await?, Applied::Applied)?;
    scene.is_really(Some(Admin::Maint)).await
}

pub(super) async fn a_dropped_add_leaves_a_whole_member_or_none(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for polls in 0..200 {
        let ended = dropped_after(scene.add(), polls).await.transpose()?;
        sleep(Duration::from_millis(10)).await;
        let truth = scene.truth().await?;
        let whole = Some(Truth::new(Admin::Maint, WEIGHT));
        ensure(truth.is_none() || truth == whole, || format!("dropped after {polls} polls: {truth:?}"))?;
        scene.is_really(truth.map(|truth| truth.admin)).await?;
        eventually("a member is removed after an addition was given up", || async {
            scene.remove().await?;
            Ok(scene.truth().await?.is_none())
        })
        .await?;
        if ended.is_some() {
            return Ok(());
        }
    }
    Err(breach("add did not end in 200 polls"))
}

pub(super) async fn an_unreachable_balancer_changes_no_members(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::with(fixture, Ability::Fail(Trouble::Unreachable)).await?;
    scene.add().await?;
    scene.subject.trouble(Some(Trouble::Unreachable)).await?;
    let other = MemberRef::new(scene.pool.clone(), name("spare2")?);
    let answer = scene.membership.add(EPOCH, AddMember::new(other, scene.address)).await;
    refused("an addition", answer, ErrorKind::Unreachable, Effect::None)?;
    refused("a removal", scene.remove().await, ErrorKind::Unreachable, Effect::None)?;
    scene.is_really(Some(Admin::Maint)).await?;
    scene.subject.trouble(None).await?;
    eventually("the balancer answers again", || async { Ok(scene.membership.identify().await.is_ok()) }).await?;
    scene.removed().await
}

pub(super) async fn a_change_that_is_not_answered_has_an_unknown_effect(fixture: &dyn MembershipFixture) -> Done {
    let scene = Scene::with(fixture, Ability::Fail(Trouble::HungAfterWrite)).await?;
    scene.subject.trouble(Some(Trouble::HungAfterWrite)).await?;
    refused("an addition", scene.add().await, ErrorKind::Timeout, Effect::Unknown)?;
    scene.is_really(Some(Admin::Maint)).await?;
    refused("a removal", scene.remove().await, ErrorKind::Timeout, Effect::Unknown)?;
    scene.is_really(None).await?;
    scene.subject.trouble(None).await?;
    same("an addition afterwards", scene.add().await?, Applied::Applied)
}
