//! Holds, releases and writers.

use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{Applied, Effect, ErrorKind, FileSync, HandWriter, HoldFiles, ReleaseFiles, Shared, StepError};
use ha_core::state::{Generation, LeaseEpoch, Sync, WriterEpoch};
use ha_core::topology::Name;
use tokio::task::JoinSet;

use super::{FilesAbility, FilesFixture, FilesSubject};
use crate::conformance::balancer::scene::{EPOCH, STALE, name};
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, Stop, breach, ensure, needs, refused, same};

/// How long a call may take.
const LONG: Duration = Duration::from_secs(30);
/// What the first writer has.
const FIRST: WriterEpoch = WriterEpoch::new(1);

/// Three nodes: the first writes.
struct Scene {
    subject: Box<dyn FilesSubject>,
    files: Arc<dyn FileSync>,
    writer: Name,
    reader: Name,
    other: Name,
}

impl Scene {
    async fn open(fixture: &dyn FilesFixture) -> Result<Self, Stop> {
        let (writer, reader, other) = (name("esb1")?, name("esb2")?, name("esb3")?);
        let subject = fixture.fresh(&[writer.clone(), reader.clone(), other.clone()]).await?;
        Ok(Self { files: subject.files(), subject, writer, reader, other })
    }

    async fn hold(&self, node: &Name) -> Result<Applied, StepError> {
        self.files.hold(EPOCH, HoldFiles::new(node.clone()).with_deadline(LONG)).await
    }

    async fn release(&self, node: &Name) -> Result<Applied, StepError> {
        self.files.release(EPOCH, ReleaseFiles::new(node.clone()).with_deadline(LONG)).await
    }

    /// Reads how a node takes part. A sync that is open may be at work at any moment.
    async fn shared(&self, node: &Name) -> Result<Shared, Stop> {
        let mut seen = self.files.shared(node).await?;
        if seen.sync == Sync::Running {
            seen.sync = Sync::Active;
        }
        Ok(seen)
    }

    /// Checks what a node's server finds, by both routes.
    async fn has(&self, node: &Name, number: u64) -> Done {
        same(format!("the set of {node}"), self.subject.truth(node).await?, Some(number))?;
        let told = self.shared(node).await?.generation.map(|generation| generation.sequence);
        same(format!("the set that is told of {node}"), told, Some(number))
    }

    /// Waits until a node's server finds this set.
    async fn comes_to(&self, node: &Name, number: u64) -> Done {
        eventually(
            &format!("the set {number} of {node}"),
            async || Ok(self.subject.truth(node).await? == Some(number)),
        )
        .await?;
        self.has(node, number).await
    }

    async fn sync_is(&self, node: &Name, expected: Sync) -> Done {
        same(format!("the sync into {node}"), self.shared(node).await?.sync, expected)
    }

    async fn generation(&self, node: &Name) -> Result<Generation, Stop> {
        let generation = self.shared(node).await?.generation;
        generation.ok_or_else(|| breach(format!("{node} has no whole set")))
    }
}

pub(super) async fn a_fresh_reader_is_in_step_and_the_writer_has_no_sync_into_it(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.sync_is(&scene.writer, Sync::None).await?;
    same("the writer's epoch", scene.shared(&scene.writer).await?.writer, FIRST)?;
    for reader in [&scene.reader, &scene.other] {
        scene.sync_is(reader, Sync::Active).await?;
        same("a reader's epoch", scene.shared(reader).await?.writer, WriterEpoch::default())?;
        scene.has(reader, 1).await?;
    }
    Ok(())
}

pub(super) async fn what_the_writer_gets_comes_to_its_readers(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.subject.put(&scene.writer, 2).await?;
    scene.subject.settle().await?;
    for node in [&scene.writer, &scene.reader, &scene.other] {
        scene.has(node, 2).await?;
    }
    Ok(())
}

pub(super) async fn a_held_reader_gets_nothing_and_the_others_do(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a hold", scene.hold(&scene.reader).await?, Applied::Applied)?;
    scene.sync_is(&scene.reader, Sync::Held).await?;
    scene.subject.put(&scene.writer, 2).await?;
    scene.subject.settle().await?;
    scene.has(&scene.reader, 1).await?;
    scene.has(&scene.other, 2).await?;
    scene.sync_is(&scene.other, Sync::Active).await
}

pub(super) async fn a_released_reader_has_what_the_writer_has(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.hold(&scene.reader).await?;
    scene.subject.put(&scene.writer, 2).await?;
    scene.subject.settle().await?;
    same("a release", scene.release(&scene.reader).await?, Applied::Applied)?;
    // By the release itself, and not with the next turn of the sync.
    scene.comes_to(&scene.reader, 2).await?;
    scene.sync_is(&scene.reader, Sync::Active).await
}

pub(super) async fn a_sync_held_twice_is_held_once(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a hold", scene.hold(&scene.reader).await?, Applied::Applied)?;
    same("the same again", scene.hold(&scene.reader).await?, Applied::AlreadySo)?;
    scene.sync_is(&scene.reader, Sync::Held).await
}

pub(super) async fn a_sync_released_twice_is_released_once(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a release of what is open and in step", scene.release(&scene.reader).await?, Applied::AlreadySo)?;
    scene.hold(&scene.reader).await?;
    same("a release", scene.release(&scene.reader).await?, Applied::Applied)?;
    same("the same again", scene.release(&scene.reader).await?, Applied::AlreadySo)
}

pub(super) async fn a_hold_is_there_for_the_next_controller(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.hold(&scene.reader).await?;
    let next = scene.subject.another();
    same("the sync, as the next one sees it", next.shared(&scene.reader).await?.sync, Sync::Held)?;
    scene.subject.put(&scene.writer, 2).await?;
    scene.subject.settle().await?;
    scene.has(&scene.reader, 1).await?;
    let release = ReleaseFiles::new(scene.reader.clone()).with_deadline(LONG);
    same("its release", next.release(EPOCH, release).await?, Applied::Applied)?;
    scene.comes_to(&scene.reader, 2).await
}

pub(super) async fn a_released_sync_goes_on(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.hold(&scene.reader).await?;
    scene.release(&scene.reader).await?;
    scene.subject.put(&scene.writer, 3).await?;
    scene.subject.settle().await?;
    scene.has(&scene.reader, 3).await
}

pub(super) async fn equal_sets_have_one_generation_and_others_another(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let first = scene.generation(&scene.writer).await?;
    same("the set of a reader", scene.generation(&scene.reader).await?, first.clone())?;
    scene.hold(&scene.reader).await?;
    scene.subject.put(&scene.writer, 2).await?;
    scene.subject.settle().await?;
    let second = scene.generation(&scene.writer).await?;
    ensure(second.digest != first.digest, || format!("two sets have the digest {}", first.digest))?;
    same("the set of another reader", scene.generation(&scene.other).await?, second)?;
    same("the set of the held one", scene.generation(&scene.reader).await?, first)
}

pub(super) async fn unknown_nodes_are_refused_without_effect(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let nobody = name("nobody")?;
    refused("a read", scene.files.shared(&nobody).await, ErrorKind::NotFound, Effect::None)?;
    refused("a hold", scene.hold(&nobody).await, ErrorKind::NotFound, Effect::None)?;
    refused("a release", scene.release(&nobody).await, ErrorKind::NotFound, Effect::None)?;
    let handed = scene.files.hand_writer(EPOCH, HandWriter::new(nobody, WriterEpoch::new(2))).await;
    refused("a hand-over", handed, ErrorKind::NotFound, Effect::None)?;
    same("the writer's epoch", scene.shared(&scene.writer).await?.writer, FIRST)
}

pub(super) async fn reads_change_nothing(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.hold(&scene.reader).await?;
    for node in [&scene.writer, &scene.reader, &scene.other] {
        let before = scene.shared(node).await?;
        for _ in 0..5 {
            same("what is read again", scene.shared(node).await?, before.clone())?;
        }
    }
    Ok(())
}

/// Holds every sync, and hands the writer to the reader, with this epoch.
async fn hand_over(scene: &Scene, epoch: u64) -> Done {
    for reader in [&scene.reader, &scene.other] {
        scene.hold(reader).await?;
    }
    let handed = scene.files.hand_writer(EPOCH, HandWriter::new(scene.reader.clone(), WriterEpoch::new(epoch))).await?;
    same("a hand-over", handed, Applied::Applied)
}

pub(super) async fn the_writer_is_handed_over_and_the_old_one_is_held(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    hand_over(&scene, 5).await?;
    let (old, new) = (scene.shared(&scene.writer).await?, scene.shared(&scene.reader).await?);
    same("the old writer", (old.writer, old.sync), (WriterEpoch::default(), Sync::Held))?;
    same("the new writer", (new.writer, new.sync), (WriterEpoch::new(5), Sync::None))?;
    for node in [&scene.writer, &scene.reader, &scene.other] {
        same("the highest epoch that is seen", scene.shared(node).await?.seen, WriterEpoch::new(5))?;
    }
    let next = scene.subject.another();
    same("the writer, as the next one sees it", next.shared(&scene.reader).await?.writer, WriterEpoch::new(5))
}

pub(super) async fn what_the_new_writer_gets_comes_to_those_that_are_released(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    hand_over(&scene, 2).await?;
    scene.subject.put(&scene.reader, 2).await?;
    scene.subject.settle().await?;
    scene.has(&scene.writer, 1).await?;
    scene.has(&scene.other, 1).await?;
    same("a release", scene.release(&scene.writer).await?, Applied::Applied)?;
    scene.comes_to(&scene.writer, 2).await?;
    scene.subject.put(&scene.reader, 3).await?;
    scene.subject.settle().await?;
    scene.has(&scene.writer, 3).await?;
    scene.has(&scene.other, 1).await
}

pub(super) async fn handing_the_writer_over_twice_is_once(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    hand_over(&scene, 2).await?;
    let again = scene.files.hand_writer(EPOCH, HandWriter::new(scene.reader.clone(), WriterEpoch::new(2))).await?;
    same("the same again", again, Applied::AlreadySo)?;
    same("the new writer", scene.shared(&scene.reader).await?.writer, WriterEpoch::new(2))
}

pub(super) async fn a_writer_epoch_that_is_no_higher_is_refused_without_effect(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    hand_over(&scene, 7).await?;
    for lower in [1, 6, 7] {
        let handed =
            scene.files.hand_writer(EPOCH, HandWriter::new(scene.other.clone(), WriterEpoch::new(lower))).await;
        refused("a hand-over with an epoch that is no higher", handed, ErrorKind::Conflict, Effect::None)?;
    }
    same("the writer", scene.shared(&scene.reader).await?.writer, WriterEpoch::new(7))?;
    same("the other", scene.shared(&scene.other).await?.writer, WriterEpoch::default())
}

fn fences(fixture: &dyn FilesFixture) -> Done {
    needs(fixture.can(FilesAbility::Fences), FilesAbility::Fences.name())
}

pub(super) async fn a_stale_epoch_holds_and_releases_nothing_where_it_is_fenced(fixture: &dyn FilesFixture) -> Done {
    fences(fixture)?;
    let scene = Scene::open(fixture).await?;
    scene.hold(&scene.reader).await?;
    let release = ReleaseFiles::new(scene.reader.clone()).with_deadline(LONG);
    refused("a stale release", scene.files.release(STALE, release.clone()).await, ErrorKind::Fenced, Effect::None)?;
    refused("the next one's", scene.subject.another().release(STALE, release).await, ErrorKind::Fenced, Effect::None)?;
    scene.sync_is(&scene.reader, Sync::Held).await?;
    scene.release(&scene.reader).await?;
    let hold = HoldFiles::new(scene.reader.clone()).with_deadline(LONG);
    refused("a stale hold", scene.files.hold(STALE, hold).await, ErrorKind::Fenced, Effect::None)?;
    scene.sync_is(&scene.reader, Sync::Active).await?;
    let higher = LeaseEpoch::new(EPOCH.number() + 1);
    let hold = HoldFiles::new(scene.reader.clone()).with_deadline(LONG);
    same("a hold with a higher epoch", scene.files.hold(higher, hold).await?, Applied::Applied)
}

pub(super) async fn a_stale_epoch_hands_no_writer_over_where_it_is_fenced(fixture: &dyn FilesFixture) -> Done {
    fences(fixture)?;
    let scene = Scene::open(fixture).await?;
    for reader in [&scene.reader, &scene.other] {
        scene.hold(reader).await?;
    }
    let handed = scene.files.hand_writer(STALE, HandWriter::new(scene.reader.clone(), WriterEpoch::new(2))).await;
    refused("a stale hand-over", handed, ErrorKind::Fenced, Effect::None)?;
    same("the writer", scene.shared(&scene.writer).await?.writer, FIRST)
}

pub(super) async fn many_holds_and_releases_at_once_end_in_one_state(fixture: &dyn FilesFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let mut calls = JoinSet::new();
    for turn in 0..8 {
        let (files, node) = (scene.files.clone(), scene.reader.clone());
        calls.spawn(async move {
            if turn % 2 == 0 {
                files.hold(EPOCH, HoldFiles::new(node).with_deadline(LONG)).await
            } else {
                files.release(EPOCH, ReleaseFiles::new(node).with_deadline(LONG)).await
            }
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.map_err(|error| breach(error.to_string()))??;
    }
    scene.hold(&scene.reader).await?;
    scene.subject.put(&scene.writer, 2).await?;
    scene.subject.settle().await?;
    scene.has(&scene.reader, 1).await?;
    scene.release(&scene.reader).await?;
    scene.comes_to(&scene.reader, 2).await
}
