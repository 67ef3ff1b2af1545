//! Files of the host.

use ha_core::backend::{
    Applied, Content, ContentDigest, Effect, ErrorKind, Expect, FileStat, PutFile, StepError, SwitchLink,
};

use super::scene::{EPOCH, Scene};
use super::{Ability, Fixture, Found};
use crate::conformance::verdict::{Done, Stop, breach, ensure, refused, same};

async fn scene(fixture: &dyn Fixture) -> Result<Scene, Stop> {
    let scene = Scene::with(fixture, &[Ability::Files]).await?;
    scene.files()?;
    Ok(scene)
}

fn put(path: &str, content: &[u8]) -> PutFile {
    PutFile::new(path, Content::Bytes(content.to_vec()))
}

fn file(content: &[u8], mode: u32) -> Found {
    Found::File(content.to_vec(), mode)
}

async fn holds(scene: &Scene, path: &str, wanted: Option<Found>) -> Done {
    same(format!("what is at {path}"), scene.subject.look(path).await?, wanted)
}

pub(super) async fn a_file_that_is_put_is_there_and_is_read_back(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    let files = scene.files()?;
    for (name, content) in [("plain", &b"one\0two\n"[..]), ("a 'b' $c", b""), ("big", &[0xff; 70_000])] {
        let path = scene.path(name);
        same("nothing yet", files.stat(&path).await?, FileStat::Absent)?;
        let request = || put(&path, content).with_mode(0o640);
        same("a put", files.put(EPOCH, request()).await?, Applied::Applied)?;
        holds(&scene, &path, Some(file(content, 0o640))).await?;
        match files.stat(&path).await? {
            FileStat::File { length, mode, digest, .. } => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                same("its stat", (length, mode, digest), (content.len(), 0o640, ContentDigest::of(content)))?;
            }
            other => return Err(breach(format!("a file is stat as {other:?}"))),
        }
        same("its content", files.read(&path, 100_000).await?.as_slice(), content)?;
        same("a second put", files.put(EPOCH, request()).await?, Applied::AlreadySo)?;
        let other = request().with_mode(0o600);
        same("another mode", files.put(EPOCH, other).await?, Applied::Applied)?;
        holds(&scene, &path, Some(file(content, 0o600))).await?;
    }
    Ok(())
}

fn conflict(what: &str, answer: Result<Applied, StepError>) -> Done {
    refused(what, answer, ErrorKind::Conflict, Effect::None)
}

pub(super) async fn compare_and_set_refuses_and_leaves_what_is_there(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    let (files, path, missing) = (scene.files()?, scene.path("a"), scene.path("missing"));
    scene.subject.place(&path, file(b"old", 0o644)).await?;
    let (old, other) = (ContentDigest::of(b"old"), ContentDigest::of(b"other"));
    let new = |expect| put(&path, b"new").with_expect(expect);
    conflict("a put over another content", files.put(EPOCH, new(Expect::Content(other))).await)?;
    conflict("a put where nothing was to be", files.put(EPOCH, new(Expect::Absent)).await)?;
    conflict("a remove of another content", files.remove(EPOCH, &path, Expect::Content(other)).await)?;
    holds(&scene, &path, Some(file(b"old", 0o644))).await?;
    let absent = put(&missing, b"new").with_expect(Expect::Content(old));
    conflict("a put over a missing content", files.put(EPOCH, absent).await)?;
    holds(&scene, &missing, None).await?;
    same("what was expected", files.put(EPOCH, new(Expect::Content(old))).await?, Applied::Applied)?;
    holds(&scene, &path, Some(file(b"new", 0o644))).await?;
    same("what is there already", files.put(EPOCH, new(Expect::Content(old))).await?, Applied::AlreadySo)
}

pub(super) async fn a_file_is_removed_once_and_a_directory_never(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    let (files, path, dir) = (scene.files()?, scene.path("a"), scene.path("dir"));
    scene.subject.place(&path, file(b"old", 0o644)).await?;
    scene.subject.place(&dir, Found::Directory).await?;
    let expect = Expect::Content(ContentDigest::of(b"old"));
    same("a remove", files.remove(EPOCH, &path, expect).await?, Applied::Applied)?;
    holds(&scene, &path, None).await?;
    same("a second remove", files.remove(EPOCH, &path, Expect::Anything).await?, Applied::AlreadySo)?;
    conflict("a remove of a directory", files.remove(EPOCH, &dir, Expect::Anything).await)?;
    holds(&scene, &dir, Some(Found::Directory)).await?;
    same("the stat of a directory", files.stat(&dir).await?, FileStat::Directory)
}

pub(super) async fn what_cannot_be_read_or_put_is_refused_without_effect(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    let (files, path) = (scene.files()?, scene.path("a"));
    refused("a read of nothing", files.read(&path, 10).await, ErrorKind::NotFound, Effect::None)?;
    refused("a tree of nothing", files.tree(&path).await, ErrorKind::NotFound, Effect::None)?;
    scene.subject.place(&path, file(b"12345678", 0o644)).await?;
    refused("a read of too much", files.read(&path, 7).await, ErrorKind::Unsupported, Effect::None)?;
    same("a read of just so much", files.read(&path, 8).await?.as_slice(), &b"12345678"[..])?;
    let nowhere = put(&scene.path("nowhere/b"), b"x");
    refused("a put without a directory", files.put(EPOCH, nowhere).await, ErrorKind::NotFound, Effect::None)?;
    holds(&scene, &scene.path("nowhere"), None).await
}

pub(super) async fn a_link_is_switched_and_nothing_but_a_link(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    let (files, link, path) = (scene.files()?, scene.path("current"), scene.path("a"));
    for target in ["r1", "r 2 'x'"] {
        let request = || SwitchLink::new(link.as_str(), target);
        same("a switch", files.switch(EPOCH, request()).await?, Applied::Applied)?;
        holds(&scene, &link, Some(Found::Link(target.into()))).await?;
        same("the stat of a link", files.stat(&link).await?, FileStat::Link { target: target.into() })?;
        same("a second switch", files.switch(EPOCH, request()).await?, Applied::AlreadySo)?;
    }
    scene.subject.place(&path, file(b"old", 0o644)).await?;
    conflict("a switch of a file", files.switch(EPOCH, SwitchLink::new(path.as_str(), "r1")).await)?;
    holds(&scene, &path, Some(file(b"old", 0o644))).await
}

pub(super) async fn equal_trees_and_only_they_have_one_digest(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    let files = scene.files()?;
    for tree in ["one", "other"] {
        scene.subject.place(&scene.path(tree), Found::Directory).await?;
        scene.subject.place(&scene.path(&format!("{tree}/sub")), Found::Directory).await?;
        scene.subject.place(&scene.path(&format!("{tree}/sub/a")), file(b"x", 0o644)).await?;
        scene.subject.place(&scene.path(&format!("{tree}/link")), Found::Link("sub/a".into())).await?;
    }
    let first = files.tree(&scene.path("one")).await?;
    same("files and links", first.entries, 2)?;
    same("an equal tree", files.tree(&scene.path("other")).await?, first)?;
    let changes = [
        ("sub/a", file(b"y", 0o644)),
        ("sub/a", file(b"x", 0o600)),
        ("link", Found::Link("sub/b".into())),
        ("sub/b", file(b"", 0o644)),
    ];
    let mut seen = vec![first.digest];
    for (name, change) in changes {
        scene.subject.place(&scene.path(&format!("other/{name}")), change.clone()).await?;
        let digest = files.tree(&scene.path("other")).await?.digest;
        ensure(!seen.contains(&digest), || format!("{change:?} at {name} leaves the digest as it was"))?;
        seen.push(digest);
    }
    same("the tree that nobody touched", files.tree(&scene.path("one")).await?, first)
}

pub(super) async fn a_reader_beside_writers_sees_whole_files_only(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    let path = scene.path("content");
    let whole = |byte: u8| vec![byte; 150_000];
    scene.subject.place(&path, Found::File(whole(b'o'), 0o644)).await?;
    let (host, target) = (scene.host.clone(), path.clone());
    let writer = tokio::spawn(async move {
        for turn in 0..8_u8 {
            let Some(files) = host.files() else { return Ok(()) };
            files.put(EPOCH, PutFile::new(target.as_str(), Content::Bytes(vec![b'a' + turn; 150_000]))).await?;
        }
        Ok::<(), StepError>(())
    });
    while !writer.is_finished() {
        let Some(Found::File(bytes, _)) = scene.subject.look(&path).await? else {
            return Err(breach("the file is gone while it is put"));
        };
        let first = bytes.first().copied().unwrap_or_default();
        ensure(bytes == whole(first), || format!("a part of a file is seen: {} bytes", bytes.len()))?;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    writer.await.map_err(|error| breach(format!("the writer was lost: {error}")))??;
    holds(&scene, &path, Some(Found::File(whole(b'h'), 0o644))).await
}
