//! Files: H9, compare and set, links, trees.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ha_core::backend::{
    Applied, Content, ContentDigest, Effect, ErrorKind, Expect, FileStat, HostFiles, ObserveHostFiles, PutFile,
    SwitchLink,
};
use tokio::time::sleep;

use crate::fixture::{FIRST, Random, drive, install, lab, trials};

fn put(path: &str, content: &[u8]) -> PutFile {
    PutFile::new(path, Content::Bytes(content.to_vec()))
}

#[tokio::test]
async fn a_file_is_put_read_compared_and_removed() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    let path = "/srv/esb/a 'b' $c.conf";
    assert_eq!(host.stat(path).await.unwrap(), FileStat::Absent);
    let first = put(path, b"one\0two\n").with_mode(0o640).with_expect(Expect::Absent);
    assert_eq!(host.put(FIRST, first.clone()).await.unwrap(), Applied::Applied);
    assert_eq!(host.put(FIRST, first).await.unwrap(), Applied::AlreadySo);
    let digest = ContentDigest::of(b"one\0two\n");
    assert_eq!(host.stat(path).await.unwrap(), stat(8, 0o640, digest));
    assert_eq!(host.read(path, 100).await.unwrap(), b"one\0two\n");
    assert_eq!(host.read(path, 7).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let wrong = put(path, b"three").with_expect(Expect::Content(ContentDigest::of(b"other")));
    let error = host.put(FIRST, wrong).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::None), "{error}");
    let right = put(path, b"three").with_expect(Expect::Content(digest));
    assert_eq!(host.put(FIRST, right).await.unwrap(), Applied::Applied);
    assert_eq!(std::fs::read(home.join("a 'b' $c.conf")).unwrap(), b"three");
    let error = host.put(FIRST, put("/srv/nowhere/x", b"x")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::None), "{error}");
    let error = host.put(FIRST, put("relative", b"x")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::None), "{error}");
    let error = host.remove(FIRST, path, Expect::Content(digest)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::None), "{error}");
    assert_eq!(host.remove(FIRST, path, Expect::Anything).await.unwrap(), Applied::Applied);
    assert_eq!(host.remove(FIRST, path, Expect::Anything).await.unwrap(), Applied::AlreadySo);
    assert_eq!(host.read(path, 7).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(temporary(&home).is_empty());
}

fn stat(length: u64, mode: u32, wanted: ContentDigest) -> FileStat {
    // The variants cannot be built here: they are compared by what they show.
    FileStat::File { length, mode, digest: wanted }
}

#[tokio::test]
async fn a_link_is_switched_in_one_step_and_nothing_but_a_link() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    for release in ["r1", "r2"] {
        std::fs::create_dir(home.join(release)).unwrap();
    }
    let link = "/srv/esb/current";
    assert_eq!(host.switch(FIRST, SwitchLink::new(link, "r1")).await.unwrap(), Applied::Applied);
    assert_eq!(host.switch(FIRST, SwitchLink::new(link, "r1")).await.unwrap(), Applied::AlreadySo);
    assert_eq!(host.switch(FIRST, SwitchLink::new(link, "r2")).await.unwrap(), Applied::Applied);
    assert_eq!(std::fs::read_link(home.join("current")).unwrap(), Path::new("r2"));
    assert!(matches!(host.stat(link).await.unwrap(), FileStat::Link { target } if target == "r2"));
    let error = host.switch(FIRST, SwitchLink::new("/srv/esb/r1", "r2")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::None), "{error}");
    assert!(temporary(&home).is_empty());
}

#[tokio::test]
async fn trees_have_one_digest_exactly_when_they_are_equal() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    for tree in ["one", "other"] {
        std::fs::create_dir_all(home.join(tree).join("sub")).unwrap();
        std::fs::write(home.join(tree).join("sub/a\nb 'c'"), "x").unwrap();
        std::fs::write(home.join(tree).join("d"), "").unwrap();
        std::os::unix::fs::symlink("d", home.join(tree).join("link")).unwrap();
    }
    let one = host.tree("/srv/esb/one").await.unwrap();
    assert_eq!((one, one.entries), (host.tree("/srv/esb/other").await.unwrap(), 3));
    let changed = |change: &dyn Fn(&Path)| {
        change(&home.join("other"));
        host.tree("/srv/esb/other")
    };
    let content = changed(&|tree| std::fs::write(tree.join("d"), "y").unwrap()).await.unwrap();
    assert_ne!(one.digest, content.digest);
    let mode = changed(&|tree| {
        std::fs::write(tree.join("d"), "").unwrap();
        std::fs::set_permissions(tree.join("d"), std::fs::Permissions::from_mode(0o600)).unwrap();
    });
    assert_ne!(one.digest, mode.await.unwrap().digest);
    assert_eq!(host.tree("/srv/esb/nowhere").await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// Lists what transfers have left in a directory.
fn temporary(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".ha-put.")).collect()
}

#[tokio::test]
async fn an_upload_cut_at_a_random_moment_leaves_the_old_file_or_the_new_one_and_nothing_else() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let path = "/srv/esb/big";
    let mut random = Random(0xfeed_beef);
    std::fs::write(home.join("big"), "").unwrap();
    let mut whole = std::collections::HashSet::from([ContentDigest::of(b"")]);
    let (mut old, mut new) = (0, 0);
    for trial in 0..trials(12) {
        let host = drive(machine.access());
        host.stat(path).await.unwrap();
        let content = format!("{trial:07}\n").repeat(1_000_000).into_bytes();
        let digest = ContentDigest::of(&content);
        let pause = Duration::from_millis(random.below(150));
        let upload = tokio::spawn(async move { host.put(FIRST, put(path, &content)).await });
        sleep(pause).await;
        machine.kill_sessions();
        let said = upload.await.unwrap();
        let is = ContentDigest::of(&std::fs::read(home.join("big")).unwrap());
        // The far end may still be at it: what was sent whole comes into place a moment later, never a part of it.
        whole.insert(digest);
        assert!(whole.contains(&is), "trial {trial}: a part of a file is there");
        match said {
            Ok(_) => assert_eq!(is, digest, "trial {trial}"),
            Err(error) if error.effect() == Effect::None => assert_ne!(is, digest, "trial {trial}: {error}"),
            Err(_) => {}
        }
        if is == digest { new += 1 } else { old += 1 }
    }
    assert!(old > 0, "{old} old, {new} new");
    let host = drive(machine.access());
    host.put(FIRST, put(path, b"end")).await.unwrap();
    assert_eq!((std::fs::read(home.join("big")).unwrap(), temporary(&home)), (b"end".to_vec(), Vec::new()));
}

#[tokio::test]
async fn what_a_machine_that_lost_its_power_has_left_of_an_upload_is_swept_by_the_next_one() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    host.stat("/srv/esb/big").await.unwrap();
    let content = vec![7_u8; 200_000_000];
    let upload = tokio::spawn(async move { host.put(FIRST, put("/srv/esb/big", &content)).await });
    while temporary(&home).is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    machine.power_cycle().unwrap();
    assert!(upload.await.unwrap().is_err());
    assert_eq!(temporary(&home).len(), 1);
    drive(machine.access()).put(FIRST, put("/srv/esb/small", b"x")).await.unwrap();
    assert!(temporary(&home).is_empty() && !home.join("big").exists());
}
