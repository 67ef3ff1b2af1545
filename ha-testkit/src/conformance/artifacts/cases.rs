//! Puts, reads and prunes.

use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{Applied, ArtifactStore, Effect, ErrorKind, Kept, PruneArtifacts, PutArtifact};
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::topology::Name;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{ArtifactsAbility, ArtifactsFixture, ArtifactsSubject, Built};
use crate::conformance::balancer::scene::{EPOCH, STALE, name};
use crate::conformance::patience::dropped_after;
use crate::conformance::verdict::{Done, Stop, breach, ensure, needs, refused, same};

/// The first number that no fresh store has.
const FIRST: u64 = 10;
/// At how many moments of a put something happens to it.
const MOMENTS: u32 = 8;

/// A store, read by two nodes; the first may be the only one that has a place.
struct Scene {
    subject: Box<dyn ArtifactsSubject>,
    store: Arc<dyn ArtifactStore>,
    node: Name,
}

impl Scene {
    async fn open(fixture: &dyn ArtifactsFixture) -> Result<Self, Stop> {
        let (node, other) = (name("esb1")?, name("esb2")?);
        let subject = fixture.fresh(&[node.clone(), other]).await?;
        Ok(Self { store: subject.store(), subject, node })
    }

    /// Builds a set and puts it.
    async fn put(&self, number: u64) -> Result<Generation, Stop> {
        let (source, set) = self.subject.build(Built::Set, number).await?;
        same("a put", self.store.put(EPOCH, PutArtifact::new(set.clone(), source)).await?, Applied::Applied)?;
        Ok(set)
    }

    async fn kept_is(&self, set: &Generation, expected: Kept) -> Done {
        same(format!("what is kept of {set:?}"), self.store.keeps(set).await?, expected)
    }

    async fn is_damaged(&self, set: &Generation) -> Done {
        let kept = self.store.keeps(set).await?;
        ensure(matches!(kept, Kept::Damaged(_)), || format!("{set:?} is damaged, and called {kept:?}"))
    }

    /// Finds how long a put of a large set takes here, so that what comes in its middle does.
    async fn time_of_a_put(&self) -> Result<Duration, Stop> {
        let (source, set) = self.subject.build(Built::Large, FIRST + 99).await?;
        let began = Instant::now();
        self.store.put(EPOCH, PutArtifact::new(set, source)).await?;
        Ok(began.elapsed())
    }

    /// Lists the sets that the cases have put.
    async fn listed(&self) -> Result<Vec<Generation>, Stop> {
        Ok(self.store.generations().await?.into_iter().filter(|set| set.sequence >= FIRST).collect())
    }

    /// Looks by another route: `None` where the store has no place for the set.
    async fn truth(&self, set: &Generation) -> Result<Option<bool>, Stop> {
        match self.store.place(&self.node, set).await? {
            Some(place) => Ok(self.subject.truth(&self.node, &place, set).await?),
            None => Ok(None),
        }
    }

    /// Checks that a set is there as a whole, by both routes.
    async fn has(&self, set: &Generation) -> Done {
        self.kept_is(set, Kept::Whole).await?;
        same(format!("what is there of {set:?}"), self.truth(set).await?, Some(true))
    }

    /// Checks that nothing is there of a set, by both routes.
    async fn has_not(&self, set: &Generation) -> Done {
        self.kept_is(set, Kept::Absent).await?;
        same(format!("what is there of {set:?}"), self.truth(set).await?, None)?;
        ensure(!self.listed().await?.contains(set), || format!("{set:?} is absent, and listed"))
    }

    /// Checks that a set is there as a whole or not at all.
    async fn all_or_nothing(&self, set: &Generation) -> Done {
        let listed: Vec<Generation> = self.listed().await?;
        for listed in &listed {
            self.kept_is(listed, Kept::Whole).await?;
        }
        // A put that was given up may still end by itself: what is not absent any more is whole.
        let absent = if listed.contains(set) { false } else { self.has_not(set).await.is_ok() };
        if absent { Ok(()) } else { self.has(set).await }
    }
}

pub(super) async fn what_was_put_is_whole_and_listed(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (source, set) = scene.subject.build(Built::Set, FIRST).await?;
    scene.has_not(&set).await?;
    same("a put", scene.store.put(EPOCH, PutArtifact::new(set.clone(), source.clone())).await?, Applied::Applied)?;
    scene.has(&set).await?;
    same("what is listed", scene.listed().await?, vec![set.clone()])?;
    same("the source", scene.subject.truth(&scene.node, &source, &set).await?, Some(true))
}

pub(super) async fn what_was_never_put_is_absent_and_has_no_place(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (_, set) = scene.subject.build(Built::Set, FIRST).await?;
    scene.put(FIRST + 1).await?;
    scene.has_not(&set).await?;
    scene.has_not(&Generation::new(FIRST, "../..")).await?;
    scene.has_not(&Generation::new(FIRST, "")).await
}

pub(super) async fn a_set_put_twice_is_put_once(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (source, set) = scene.subject.build(Built::Set, FIRST).await?;
    let put = PutArtifact::new(set.clone(), source);
    same("a put", scene.store.put(EPOCH, put.clone()).await?, Applied::Applied)?;
    same("the same again", scene.store.put(EPOCH, put.clone()).await?, Applied::AlreadySo)?;
    same("the next one's", scene.subject.another().put(EPOCH, put).await?, Applied::AlreadySo)?;
    same("what is listed", scene.listed().await?, vec![set])
}

pub(super) async fn the_next_controller_finds_what_was_put(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let set = scene.put(FIRST).await?;
    let next = scene.subject.another();
    same("what the next one finds", next.keeps(&set).await?, Kept::Whole)?;
    ensure(next.generations().await?.contains(&set), || "the next one does not list it".into())
}

pub(super) async fn sets_are_listed_from_the_highest_number_on(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for number in [FIRST + 5, FIRST, FIRST + 90] {
        scene.put(number).await?;
    }
    let numbers: Vec<u64> = scene.listed().await?.iter().map(|set| set.sequence).collect();
    same("the numbers", numbers, vec![FIRST + 90, FIRST + 5, FIRST])
}

pub(super) async fn a_folder_with_another_set_is_refused_without_effect(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (source, set) = scene.subject.build(Built::Set, FIRST).await?;
    let (_, other) = scene.subject.build(Built::Set, FIRST + 1).await?;
    let renumbered = Generation::new(FIRST + 7, set.digest.clone());
    for wrong in [other, renumbered] {
        let put = scene.store.put(EPOCH, PutArtifact::new(wrong.clone(), source.clone())).await;
        refused("a put of another set", put, ErrorKind::Conflict, Effect::None)?;
        scene.has_not(&wrong).await?;
    }
    scene.has_not(&set).await
}

pub(super) async fn a_folder_that_is_no_set_is_refused_without_effect(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (source, set) = scene.subject.build(Built::Numberless, FIRST).await?;
    let put = scene.store.put(EPOCH, PutArtifact::new(set.clone(), source)).await;
    refused("a put of no set", put, ErrorKind::Conflict, Effect::None)?;
    scene.has_not(&set).await
}

pub(super) async fn an_absent_folder_is_refused_without_effect(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (source, set) = scene.subject.build(Built::Set, FIRST).await?;
    let put = scene.store.put(EPOCH, PutArtifact::new(set.clone(), format!("{source}-absent"))).await;
    refused("a put of nothing", put, ErrorKind::NotFound, Effect::None)?;
    scene.has_not(&set).await
}

pub(super) async fn a_source_that_changes_meanwhile_is_never_kept_in_half(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let whole = scene.time_of_a_put().await?;
    for turn in 0..MOMENTS {
        let (source, set) = scene.subject.build(Built::Large, FIRST + u64::from(turn)).await?;
        let (store, put) = (scene.store.clone(), PutArtifact::new(set.clone(), source.clone()));
        let task = tokio::spawn(async move { store.put(EPOCH, put).await });
        sleep(whole * turn / MOMENTS).await;
        scene.subject.change(&source).await?;
        match task.await.map_err(|error| breach(error.to_string()))? {
            Ok(_) => scene.has(&set).await?,
            Err(error) => {
                refused::<()>("a put of what changes", Err(error), ErrorKind::Conflict, Effect::None)?;
                scene.has_not(&set).await?;
            }
        }
        scene.all_or_nothing(&set).await?;
    }
    Ok(())
}

pub(super) async fn names_of_any_kind_are_kept(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (source, set) = scene.subject.build(Built::OddNames, FIRST).await?;
    same("a put", scene.store.put(EPOCH, PutArtifact::new(set.clone(), source)).await?, Applied::Applied)?;
    scene.has(&set).await
}

pub(super) async fn a_flipped_byte_with_the_old_time_is_damaged(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let set = scene.put(FIRST).await?;
    let other = scene.put(FIRST + 1).await?;
    scene.has(&set).await?;
    scene.subject.flip(&set).await?;
    scene.is_damaged(&set).await?;
    scene.has(&other).await
}

pub(super) async fn a_set_is_not_believed_for_its_name(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let set = scene.put(FIRST).await?;
    let renumbered = Generation::new(FIRST + 1, set.digest.clone());
    let kept = scene.store.keeps(&renumbered).await?;
    ensure(kept != Kept::Whole, || format!("{set:?} was put, and {renumbered:?} is called whole"))
}

pub(super) async fn a_damaged_set_is_replaced(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (source, set) = scene.subject.build(Built::Set, FIRST).await?;
    let put = PutArtifact::new(set.clone(), source);
    scene.store.put(EPOCH, put.clone()).await?;
    scene.subject.flip(&set).await?;
    same("a put over a damaged set", scene.store.put(EPOCH, put).await?, Applied::Applied)?;
    scene.has(&set).await
}

pub(super) async fn a_place_is_where_the_nodes_find_the_set(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let set = scene.put(FIRST).await?;
    let other = scene.put(FIRST + 1).await?;
    let places = (scene.store.place(&scene.node, &set).await?, scene.store.place(&scene.node, &other).await?);
    let (Some(place), Some(another)) = places else { return Err(breach("what was put has no place")) };
    ensure(place != another, || format!("two sets have the place {place}"))?;
    ensure(place.starts_with('/'), || format!("{place} is no absolute path"))?;
    same("what is there", scene.subject.truth(&scene.node, &place, &set).await?, Some(true))?;
    same("what is there", scene.subject.truth(&scene.node, &another, &other).await?, Some(true))
}

pub(super) async fn whoever_is_no_node_has_no_place(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let set = scene.put(FIRST).await?;
    same("the place for nobody", scene.store.place(&name("nobody")?, &set).await?, None)
}

pub(super) async fn reads_change_nothing(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let set = scene.put(FIRST).await?;
    let (listed, place) = (scene.listed().await?, scene.store.place(&scene.node, &set).await?);
    for _ in 0..3 {
        same("what is listed", scene.listed().await?, listed.clone())?;
        same("the place", scene.store.place(&scene.node, &set).await?, place.clone())?;
        same("what is missing", scene.store.missing(&scene.node).await?, Vec::new())?;
        scene.has(&set).await?;
    }
    Ok(())
}

pub(super) async fn a_put_that_is_given_up_leaves_all_or_nothing(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for polls in 1..6 {
        let (source, set) = scene.subject.build(Built::Set, FIRST + u64::from(polls)).await?;
        let put = PutArtifact::new(set.clone(), source);
        drop(dropped_after(scene.store.put(EPOCH, put.clone()), polls).await);
        scene.all_or_nothing(&set).await?;
        scene.subject.another().put(EPOCH, put).await?;
        scene.has(&set).await?;
    }
    Ok(())
}

pub(super) async fn a_put_that_is_killed_leaves_all_or_nothing(fixture: &dyn ArtifactsFixture) -> Done {
    needs(fixture.can(ArtifactsAbility::Kills), ArtifactsAbility::Kills.name())?;
    let scene = Scene::open(fixture).await?;
    let (whole, mut absent) = (scene.time_of_a_put().await?, 0);
    for turn in 0..MOMENTS {
        let (source, set) = scene.subject.build(Built::Large, FIRST + u64::from(turn)).await?;
        let put = PutArtifact::new(set.clone(), source);
        scene.subject.put_killed(EPOCH, put.clone(), whole * turn / MOMENTS).await?;
        scene.all_or_nothing(&set).await?;
        absent += usize::from(!scene.listed().await?.contains(&set));
        scene.store.put(EPOCH, put).await?;
        scene.has(&set).await?;
    }
    ensure(absent > 0, || "no put was killed before its end".into())
}

pub(super) async fn a_full_disk_is_refused_without_effect(fixture: &dyn ArtifactsFixture) -> Done {
    needs(fixture.can(ArtifactsAbility::Fills), ArtifactsAbility::Fills.name())?;
    let scene = Scene::open(fixture).await?;
    let before = scene.put(FIRST).await?;
    let (source, set) = scene.subject.build(Built::Set, FIRST + 1).await?;
    scene.subject.fill(true).await?;
    let put = PutArtifact::new(set.clone(), source);
    refused("a put without room", scene.store.put(EPOCH, put.clone()).await, ErrorKind::Denied, Effect::None)?;
    scene.has_not(&set).await?;
    scene.has(&before).await?;
    scene.subject.fill(false).await?;
    same("a put with room", scene.store.put(EPOCH, put).await?, Applied::Applied)?;
    scene.has(&set).await
}

pub(super) async fn a_stale_epoch_changes_nothing_where_it_is_fenced(fixture: &dyn ArtifactsFixture) -> Done {
    needs(fixture.can(ArtifactsAbility::Fences), ArtifactsAbility::Fences.name())?;
    let scene = Scene::open(fixture).await?;
    let before = scene.put(FIRST).await?;
    let (source, set) = scene.subject.build(Built::Set, FIRST + 1).await?;
    let put = PutArtifact::new(set.clone(), source);
    refused("a stale put", scene.store.put(STALE, put.clone()).await, ErrorKind::Fenced, Effect::None)?;
    let another = scene.subject.another();
    refused("the next one's", another.put(STALE, put.clone()).await, ErrorKind::Fenced, Effect::None)?;
    let prune = scene.store.prune(STALE, PruneArtifacts::new(0)).await;
    refused("a stale prune", prune, ErrorKind::Fenced, Effect::None)?;
    scene.has_not(&set).await?;
    scene.has(&before).await?;
    let higher = LeaseEpoch::new(EPOCH.number() + 1);
    same("a put with a higher epoch", scene.store.put(higher, put).await?, Applied::Applied)
}

pub(super) async fn a_prune_removes_the_oldest(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let newest = scene.put(FIRST + 9).await?;
    let (old, older) = (scene.put(FIRST + 2).await?, scene.put(FIRST + 1).await?);
    same("a prune", scene.store.prune(EPOCH, PruneArtifacts::new(2)).await?, Applied::Applied)?;
    scene.has_not(&older).await?;
    scene.has(&old).await?;
    same("another", scene.store.prune(EPOCH, PruneArtifacts::new(1)).await?, Applied::Applied)?;
    scene.has_not(&old).await?;
    scene.has(&newest).await
}

pub(super) async fn a_prune_never_takes_what_is_in_use(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (oldest, old, newest) = (scene.put(FIRST).await?, scene.put(FIRST + 1).await?, scene.put(FIRST + 2).await?);
    for keep in [1, 0] {
        let prune = PruneArtifacts::new(keep).with_in_use([oldest.clone(), newest.clone()]);
        scene.store.prune(EPOCH, prune).await?;
        scene.has(&oldest).await?;
        scene.has_not(&old).await?;
        scene.has(&newest).await?;
    }
    Ok(())
}

pub(super) async fn a_prune_twice_is_once(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for number in 0..3 {
        scene.put(FIRST + number).await?;
    }
    same("a prune", scene.store.prune(EPOCH, PruneArtifacts::new(2)).await?, Applied::Applied)?;
    let listed = scene.listed().await?;
    same("the same again", scene.store.prune(EPOCH, PruneArtifacts::new(2)).await?, Applied::AlreadySo)?;
    same("what is listed", scene.listed().await?, listed)
}

pub(super) async fn many_puts_at_once_are_all_whole(fixture: &dyn ArtifactsFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (mut puts, mut sets) = (JoinSet::new(), Vec::new());
    for number in 0..3 {
        let (source, set) = scene.subject.build(Built::Set, FIRST + number).await?;
        for store in [scene.store.clone(), scene.subject.another()] {
            let put = PutArtifact::new(set.clone(), source.clone());
            puts.spawn(async move { store.put(EPOCH, put).await });
        }
        sets.push(set);
    }
    while let Some(ended) = puts.join_next().await {
        ended.map_err(|error| breach(error.to_string()))??;
    }
    for set in &sets {
        scene.has(set).await?;
    }
    same("how many are listed", scene.listed().await?.len(), sets.len())
}
