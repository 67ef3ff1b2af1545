use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{
    Applied, DemoteReplica, Effect, ErrorKind, FollowReplica, PromoteReplica, Replica, ReplicaRole, ReplicaSeen,
    StepError,
};
use ha_core::state::{LeaseEpoch, SiteEpoch};

use super::At::{North, South};
use super::{At, ReplicaAbility, ReplicaFixture, ReplicaSubject};
use crate::conformance::balancer::scene::{EPOCH, STALE};
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, Stop, ensure, needs, refused, same};

/// How long a call may take.
const LONG: Duration = Duration::from_secs(60);
/// How long a standby may take that is parted from its primary.
const SHORT: Duration = Duration::from_secs(1);

struct Scene {
    subject: Box<dyn ReplicaSubject>,
    north: Arc<dyn Replica>,
    south: Arc<dyn Replica>,
}

fn epoch(number: u64) -> PromoteReplica {
    PromoteReplica::new(SiteEpoch::new(number)).with_deadline(LONG)
}

fn demotion() -> DemoteReplica {
    DemoteReplica::new().with_deadline(LONG)
}

fn following(at: At) -> FollowReplica {
    FollowReplica::new(at.site()).with_deadline(LONG)
}

fn can(fixture: &dyn ReplicaFixture, ability: ReplicaAbility) -> Done {
    needs(fixture.can(ability), ability.name())
}

impl Scene {
    async fn open(fixture: &dyn ReplicaFixture) -> Result<Self, Stop> {
        let subject = fixture.fresh().await?;
        let (north, south) = (subject.replica(North), subject.replica(South));
        Ok(Self { subject, north, south })
    }

    fn at(&self, at: At) -> &Arc<dyn Replica> {
        match at {
            North => &self.north,
            South => &self.south,
        }
    }

    async fn promote(&self, at: At, to: u64) -> Result<Applied, StepError> {
        self.at(at).promote(EPOCH, epoch(to)).await
    }

    async fn demote(&self, at: At) -> Result<Applied, StepError> {
        self.at(at).demote(EPOCH, demotion()).await
    }

    async fn follow(&self, at: At, of: At) -> Result<Applied, StepError> {
        self.at(at).follow(EPOCH, following(of)).await
    }

    async fn seen(&self, at: At) -> Result<ReplicaSeen, Stop> {
        Ok(self.at(at).replica().await?)
    }

    /// Writes so often, each of which must be taken.
    async fn write(&self, at: At, times: u64) -> Done {
        for _ in 0..times {
            same(format!("whether {} takes a write", at.site()), self.subject.write(at).await?, true)?;
        }
        Ok(())
    }

    /// Checks what a copy does, by both routes.
    async fn is(&self, at: At, role: ReplicaRole, epoch: u64) -> Done {
        let seen = self.seen(at).await?;
        let wanted = (role, SiteEpoch::new(epoch));
        same(format!("{}, as it is told", at.site()), (seen.role, seen.epoch), wanted)?;
        let takes = role == ReplicaRole::Primary;
        same(format!("whether {} takes a write", at.site()), self.subject.write(at).await?, takes)
    }

    async fn has(&self, at: At, writes: u64) -> Done {
        same(format!("the writes in {}", at.site()), self.subject.has(at).await?, writes)
    }

    async fn gets(&self, at: At, writes: u64) -> Done {
        let what = format!("{} has {writes} writes", at.site());
        eventually(&what, || async { Ok(self.subject.has(at).await? == writes) }).await
    }
}

pub(super) async fn a_primary_and_its_standby_are_told_apart(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.is(South, ReplicaRole::Standby, 1).await?;
    scene.is(North, ReplicaRole::Primary, 1).await
}

pub(super) async fn a_promoted_standby_takes_writes_with_its_epoch(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.write(North, 2).await?;
    scene.demote(North).await?;
    same("a promotion", scene.promote(South, 2).await?, Applied::Applied)?;
    scene.is(South, ReplicaRole::Primary, 2).await?;
    scene.has(South, 3).await
}

pub(super) async fn a_copy_promoted_twice_is_promoted_once(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a promotion of what takes writes", scene.promote(North, 1).await?, Applied::AlreadySo)?;
    scene.demote(North).await?;
    same("a promotion", scene.promote(South, 2).await?, Applied::Applied)?;
    same("the same again", scene.promote(South, 2).await?, Applied::AlreadySo)?;
    scene.is(South, ReplicaRole::Primary, 2).await
}

pub(super) async fn a_primary_takes_a_higher_epoch(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a promotion", scene.promote(North, 5).await?, Applied::Applied)?;
    scene.is(North, ReplicaRole::Primary, 5).await
}

pub(super) async fn a_lower_epoch_is_refused_without_effect(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.promote(North, 5).await?;
    refused("a lower epoch", scene.promote(North, 4).await, ErrorKind::Conflict, Effect::None)?;
    scene.is(North, ReplicaRole::Primary, 5).await
}

pub(super) async fn a_standby_is_not_promoted_with_the_epoch_of_its_primary(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    refused("the primary's epoch", scene.promote(South, 1).await, ErrorKind::Conflict, Effect::None)?;
    scene.is(South, ReplicaRole::Standby, 1).await
}

pub(super) async fn a_promotion_survives_a_restart(fixture: &dyn ReplicaFixture) -> Done {
    can(fixture, ReplicaAbility::Restarts)?;
    let scene = Scene::open(fixture).await?;
    scene.demote(North).await?;
    scene.promote(South, 2).await?;
    scene.write(South, 1).await?;
    scene.subject.restart(South).await?;
    scene.is(South, ReplicaRole::Primary, 2).await?;
    scene.has(South, 2).await
}

pub(super) async fn a_demoted_copy_takes_no_writes_and_its_standby_has_all_of_them(
    fixture: &dyn ReplicaFixture,
) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.write(North, 20).await?;
    same("a demotion", scene.demote(North).await?, Applied::Applied)?;
    scene.has(South, 20).await?;
    scene.is(North, ReplicaRole::ReadOnly, 1).await
}

pub(super) async fn a_copy_demoted_twice_is_demoted_once(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a demotion", scene.demote(North).await?, Applied::Applied)?;
    same("the same again", scene.demote(North).await?, Applied::AlreadySo)?;
    scene.is(North, ReplicaRole::ReadOnly, 1).await
}

pub(super) async fn a_copy_that_takes_no_writes_needs_no_demotion(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a demotion of a standby", scene.demote(South).await?, Applied::AlreadySo)?;
    scene.is(South, ReplicaRole::Standby, 1).await
}

pub(super) async fn a_demotion_survives_a_restart(fixture: &dyn ReplicaFixture) -> Done {
    can(fixture, ReplicaAbility::Restarts)?;
    let scene = Scene::open(fixture).await?;
    scene.write(North, 1).await?;
    scene.demote(North).await?;
    scene.subject.restart(North).await?;
    scene.is(North, ReplicaRole::ReadOnly, 1).await
}

pub(super) async fn a_demotion_that_no_standby_keeps_up_with_is_said_and_taken_back(
    fixture: &dyn ReplicaFixture,
) -> Done {
    can(fixture, ReplicaAbility::Parts)?;
    let scene = Scene::open(fixture).await?;
    scene.subject.part(true).await?;
    scene.write(North, 3).await?;
    let asked = scene.north.demote(EPOCH, DemoteReplica::new().with_deadline(SHORT)).await;
    refused("a demotion", asked, ErrorKind::Conflict, Effect::Unknown)?;
    same("whether it takes a write", scene.subject.write(North).await?, false)?;
    scene.subject.part(false).await?;
    same("a promotion", scene.promote(North, 2).await?, Applied::Applied)?;
    scene.write(North, 1).await?;
    scene.has(North, 4).await
}

pub(super) async fn a_demoted_copy_follows_the_promoted_one(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.write(North, 2).await?;
    scene.demote(North).await?;
    scene.promote(South, 2).await?;
    scene.write(South, 2).await?;
    same("a follow", scene.follow(North, South).await?, Applied::Applied)?;
    scene.has(North, 4).await?;
    scene.is(North, ReplicaRole::Standby, 2).await?;
    scene.write(South, 1).await?;
    scene.gets(North, 5).await
}

pub(super) async fn a_copy_that_follows_is_left_alone(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a follow of what is followed", scene.follow(South, North).await?, Applied::AlreadySo)?;
    scene.demote(North).await?;
    scene.promote(South, 2).await?;
    same("a follow", scene.follow(North, South).await?, Applied::Applied)?;
    same("the same again", scene.follow(North, South).await?, Applied::AlreadySo)?;
    scene.is(North, ReplicaRole::Standby, 2).await
}

/// Parts the copies, writes three times where nobody receives it, and lets both take writes.
async fn apart(scene: &Scene) -> Done {
    scene.write(North, 1).await?;
    scene.gets(South, 1).await?;
    scene.subject.part(true).await?;
    scene.write(North, 3).await?;
    scene.promote(South, 2).await?;
    scene.write(South, 1).await?;
    Ok(scene.subject.part(false).await?)
}

pub(super) async fn writes_that_the_other_has_not_are_not_discarded_unasked(fixture: &dyn ReplicaFixture) -> Done {
    can(fixture, ReplicaAbility::Parts)?;
    let scene = Scene::open(fixture).await?;
    apart(&scene).await?;
    refused("a follow", scene.follow(North, South).await, ErrorKind::Conflict, Effect::None)?;
    scene.has(North, 4).await?;
    scene.has(South, 2).await
}

pub(super) async fn writes_that_the_other_has_not_are_discarded_where_a_person_said_so(
    fixture: &dyn ReplicaFixture,
) -> Done {
    can(fixture, ReplicaAbility::Parts)?;
    let scene = Scene::open(fixture).await?;
    apart(&scene).await?;
    let followed = scene.north.follow(EPOCH, following(South).discarding()).await?;
    same("a follow that discards", followed, Applied::Applied)?;
    scene.has(North, 2).await?;
    scene.is(North, ReplicaRole::Standby, 2).await
}

pub(super) async fn a_site_that_is_not_known_is_not_followed(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let east = || FollowReplica::new("east").with_deadline(LONG);
    refused("a follow of nobody", scene.south.follow(EPOCH, east()).await, ErrorKind::NotFound, Effect::None)?;
    scene.is(South, ReplicaRole::Standby, 1).await
}

pub(super) async fn sites_change_places_and_change_them_back_without_a_lost_write(
    fixture: &dyn ReplicaFixture,
) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.write(North, 5).await?;
    let mut written = 5;
    for (turn, (from, to)) in [(North, South), (South, North)].into_iter().enumerate() {
        scene.demote(from).await?;
        scene.promote(to, turn as u64 + 2).await?;
        scene.write(to, 5).await?;
        scene.follow(from, to).await?;
        written += 5;
        scene.has(from, written).await?;
        scene.has(to, written).await?;
    }
    scene.is(South, ReplicaRole::Standby, 3).await?;
    scene.is(North, ReplicaRole::Primary, 3).await
}

pub(super) async fn a_position_grows_with_what_is_written(fixture: &dyn ReplicaFixture) -> Done {
    can(fixture, ReplicaAbility::Positions)?;
    let scene = Scene::open(fixture).await?;
    let before = scene.seen(North).await?.position;
    scene.write(North, 3).await?;
    let after = scene.seen(North).await?.position;
    ensure(before.is_some() && before < after, || format!("positions {before:?}, then {after:?}"))?;
    scene.gets(South, 3).await?;
    scene.demote(North).await?;
    let (north, south) = (scene.seen(North).await?.position, scene.seen(South).await?.position);
    ensure(south >= after, || format!("the standby has all, and its position {south:?} is below {after:?}"))?;
    ensure(north >= after, || format!("the position of what was demoted fell from {after:?} to {north:?}"))
}

pub(super) async fn the_next_controller_sees_what_this_one_did(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (north, south) = (scene.subject.another(North), scene.subject.another(South));
    scene.demote(North).await?;
    same("the demoted one, as the next one sees it", north.replica().await?.role, ReplicaRole::ReadOnly)?;
    same("its demotion", north.demote(EPOCH, demotion()).await?, Applied::AlreadySo)?;
    scene.promote(South, 2).await?;
    same("its promotion", south.promote(EPOCH, epoch(2)).await?, Applied::AlreadySo)?;
    scene.is(South, ReplicaRole::Primary, 2).await
}

pub(super) async fn reads_change_nothing(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for _ in 0..5 {
        let (north, south) = (scene.seen(North).await?, scene.seen(South).await?);
        same("north", (north.role, north.epoch), (ReplicaRole::Primary, SiteEpoch::new(1)))?;
        same("south", (south.role, south.epoch), (ReplicaRole::Standby, SiteEpoch::new(1)))?;
    }
    scene.write(North, 1).await?;
    scene.gets(South, 1).await
}

pub(super) async fn at_a_deadline_of_zero_nothing_is_changed(fixture: &dyn ReplicaFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let none = Duration::ZERO;
    let promoted = scene.south.promote(EPOCH, epoch(2).with_deadline(none)).await;
    refused("a promotion at once", promoted, ErrorKind::Timeout, Effect::None)?;
    let demoted = scene.north.demote(EPOCH, demotion().with_deadline(none)).await;
    refused("a demotion at once", demoted, ErrorKind::Timeout, Effect::None)?;
    scene.is(South, ReplicaRole::Standby, 1).await?;
    scene.is(North, ReplicaRole::Primary, 1).await
}

pub(super) async fn a_copy_that_does_not_answer_is_said_and_not_guessed(fixture: &dyn ReplicaFixture) -> Done {
    can(fixture, ReplicaAbility::LosesCopies)?;
    let scene = Scene::open(fixture).await?;
    scene.subject.lose(North).await?;
    refused("a read", scene.north.replica().await, ErrorKind::Unreachable, Effect::None)?;
    refused("a promotion", scene.promote(North, 2).await, ErrorKind::Unreachable, Effect::None)?;
    refused("a demotion", scene.demote(North).await, ErrorKind::Unreachable, Effect::None)?;
    refused("a follow", scene.follow(North, South).await, ErrorKind::Unreachable, Effect::None)?;
    same("a promotion of the other", scene.promote(South, 2).await?, Applied::Applied)?;
    scene.is(South, ReplicaRole::Primary, 2).await
}

pub(super) async fn a_stale_epoch_changes_nothing_where_it_is_fenced(fixture: &dyn ReplicaFixture) -> Done {
    can(fixture, ReplicaAbility::Fences)?;
    let scene = Scene::open(fixture).await?;
    scene.promote(North, 2).await?;
    refused("a stale promotion", scene.north.promote(STALE, epoch(3)).await, ErrorKind::Fenced, Effect::None)?;
    refused("a stale demotion", scene.north.demote(STALE, demotion()).await, ErrorKind::Fenced, Effect::None)?;
    let next = scene.subject.another(North);
    let follow = next.follow(STALE, following(South).discarding()).await;
    refused("a stale follow of the next one", follow, ErrorKind::Fenced, Effect::None)?;
    scene.is(North, ReplicaRole::Primary, 2).await?;
    let higher = LeaseEpoch::new(EPOCH.number() + 1);
    same("a promotion with a higher lease", scene.north.promote(higher, epoch(3)).await?, Applied::Applied)
}
