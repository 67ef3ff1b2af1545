//! Sources, readers and remote shells that are not as they should be: nothing is published half, nothing is deleted beyond the
//! budget, and the error says what to do.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use ha_core::backend::{Effect, ErrorKind, FileSync, ObserveFileSync};
use ha_core::state::Sync;
use ha_rsync::Publish;

use crate::nodes::{EPOCH, Nodes, hold, names, release, sync};

/// What the error of a release has to say, and of which kind it is.
struct Expected(&'static str, ErrorKind);

#[tokio::test]
async fn a_source_that_is_no_set_is_copied_nowhere() {
    #[allow(clippy::type_complexity, reason = "a table")]
    let table: [(&str, fn(&Path), Expected); 9] = [
        (
            "an empty folder",
            |tree| fs::remove_dir_all(tree).and_then(|()| fs::create_dir(tree)).unwrap(),
            Expected("not mounted", ErrorKind::Conflict),
        ),
        ("no folder", |tree| fs::remove_dir_all(tree).unwrap(), Expected("", ErrorKind::NotFound)),
        (
            "no number",
            |tree| fs::remove_file(tree.join(".ha-generation")).unwrap(),
            Expected(".ha-generation", ErrorKind::Conflict),
        ),
        (
            "a number that is none",
            |tree| fs::write(tree.join(".ha-generation"), "two").unwrap(),
            Expected(".ha-generation", ErrorKind::Conflict),
        ),
        (
            "a link out of it",
            |tree| symlink("/etc/passwd", tree.join("services/passwd")).unwrap(),
            Expected("./services/passwd leads out", ErrorKind::Conflict),
        ),
        (
            "a link up and out",
            |tree| symlink("a/../../../x", tree.join("services/x")).unwrap(),
            Expected("./services/x leads out", ErrorKind::Conflict),
        ),
        (
            "a pipe",
            |tree| assert!(std::process::Command::new("mkfifo").arg(tree.join("pipe")).status().unwrap().success()),
            Expected("./pipe is no file", ErrorKind::Conflict),
        ),
        (
            "more deletions than the budget has",
            |tree| fs::remove_dir_all(tree.join("services")).unwrap(),
            Expected("delete_budget", ErrorKind::Conflict),
        ),
        (
            "a file in its place",
            |tree| fs::remove_dir_all(tree).and_then(|()| fs::write(tree, "x")).unwrap(),
            Expected("", ErrorKind::NotFound),
        ),
    ];
    for (what, spoil, Expected(message, kind)) in table {
        let names = names(&["esb1", "esb2"]);
        let nodes = Nodes::with(&names, |config| config.delete_budget = 5).await;
        let reader = &names[1];
        nodes.put(&names[0], 2);
        spoil(&nodes.tree(&names[0]));
        nodes.files.hold(EPOCH, hold(reader)).await.unwrap();
        let refused = nodes.files.release(EPOCH, release(reader)).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{what}: {refused}");
        let told = format!("{refused}");
        assert!(told.contains(message) || message == "delete_budget" && told.contains("may 5"), "{what}: {told}");
        assert_eq!(nodes.files.shared(reader).await.unwrap().sync, Sync::Held, "{what}: it stays held");
        assert_eq!(nodes.truth(reader), Some(1), "{what}: {told}");
        fs::remove_file(nodes.home(reader).join(".ha-files/held/ha")).unwrap();
        let (code, said) = sync(&nodes.home(&names[0]));
        assert_ne!(code, Some(0), "{what}: {said}");
        assert!(nodes.tree(reader).join("services/3.xml").exists(), "{what}: {said}");
    }
}

#[tokio::test]
async fn names_may_be_anything_and_loops_of_links_are_links() {
    let names = names(&["esb1", "esb2"]);
    for publish in [Publish::InPlace, Publish::Switch] {
        let nodes = Nodes::new(&names, publish).await;
        nodes.put(&names[0], 2);
        let odd: [&[u8]; 9] = [
            b"two words",
            b"it's",
            b"\"quoted\"",
            b"-n",
            b"line\nline",
            b"gr\xc3\xbcn",
            b"\xff\xfe",
            b"*",
            b"$(id) `id` ;#",
        ];
        for name in odd {
            fs::write(nodes.tree(&names[0]).join("services").join(OsStr::from_bytes(name)), name).unwrap();
        }
        symlink("loop2", nodes.tree(&names[0]).join("loop1")).unwrap();
        symlink("loop1", nodes.tree(&names[0]).join("loop2")).unwrap();
        symlink(".", nodes.tree(&names[0]).join("services/itself")).unwrap();
        nodes.files.hold(EPOCH, hold(&names[1])).await.unwrap();
        nodes.files.release(EPOCH, release(&names[1])).await.unwrap();
        for name in odd {
            let there = nodes.tree(&names[1]).join("services").join(OsStr::from_bytes(name));
            assert_eq!(fs::read(&there).unwrap(), name, "{}", there.display());
        }
        assert_eq!(fs::read_link(nodes.tree(&names[1]).join("loop1")).unwrap(), Path::new("loop2"));
        let (one, other) = (nodes.files.shared(&names[0]).await.unwrap(), nodes.files.shared(&names[1]).await.unwrap());
        assert_eq!(one.generation, other.generation);
    }
}

#[tokio::test]
async fn what_belongs_to_a_node_alone_is_never_copied_deleted_or_counted() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::with(&names, |config| config.local_only = vec!["local".into(), "conf/node.xml".into()]).await;
    for (name, text) in [(&names[0], "one"), (&names[1], "two")] {
        let tree = nodes.tree(name);
        for folder in ["local/deep", "conf"] {
            fs::create_dir_all(tree.join(folder)).unwrap();
        }
        fs::write(tree.join("local/deep/state.db"), text).unwrap();
        fs::write(tree.join("conf/node.xml"), text).unwrap();
    }
    fs::write(nodes.tree(&names[0]).join("conf/all.xml"), "all").unwrap();
    fs::write(nodes.tree(&names[0]).join(".ha-generation"), "2").unwrap();
    nodes.files.hold(EPOCH, hold(&names[1])).await.unwrap();
    nodes.files.release(EPOCH, release(&names[1])).await.unwrap();
    let read = |path: &str| fs::read_to_string(nodes.tree(&names[1]).join(path)).unwrap();
    assert_eq!((read("local/deep/state.db").as_str(), read("conf/node.xml").as_str()), ("two", "two"));
    assert_eq!(read("conf/all.xml"), "all");
    let (one, other) = (nodes.files.shared(&names[0]).await.unwrap(), nodes.files.shared(&names[1]).await.unwrap());
    assert_eq!(one.generation, other.generation);
}

/// A script that stands for the remote shell.
fn rsh(dir: &Path, text: &str) -> Vec<String> {
    let script = dir.join("rsh");
    fs::write(&script, format!("#!/bin/sh\nshift\n{text}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    vec![script.display().to_string()]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_on_the_way_or_at_the_reader_is_told_by_its_cause_and_publishes_nothing() {
    let table = [
        ("a login that prints", "echo welcome; exec sh -c \"$*\"", ErrorKind::Unsupported, "prints nothing"),
        ("no such host", "echo 'ssh: no route' >&2; exit 255", ErrorKind::Unreachable, "no route"),
        (
            "no rsync there",
            "mkdir -p \"$HA_FULL\"; printf '#!/bin/sh\\nexit 127' >\"$HA_FULL/../rsync\"; chmod 755 \"$HA_FULL/../rsync\"; \
             PATH=\"$HA_FULL/..:$PATH\" exec sh -c \"$*\"",
            ErrorKind::NotFound,
            "install rsync",
        ),
        ("a link that is cut", "timeout -s KILL 0.02 sh -c \"$*\"; exit 255", ErrorKind::Unreachable, "connection"),
        (
            "a full disk",
            "exec unshare -m sh -c 'mount -t tmpfs -o size=16k none \"$HA_FULL\" && exec sh -c \"$1\"' sh \"$*\"",
            ErrorKind::Denied,
            "free space",
        ),
    ];
    for publish in [Publish::InPlace, Publish::Switch] {
        for (what, script, kind, message) in table {
            let names = names(&["esb1", "esb2"]);
            let shell = tempfile::tempdir().unwrap();
            let nodes = Nodes::with(&names, |config| {
                config.publish = publish;
                let full = config.nodes[1].home.join(".ha-files/tmp");
                config.rsh = rsh(shell.path(), &format!("export HA_FULL={}\n{script}", full.display()));
            })
            .await;
            let reader = &names[1];
            fs::create_dir_all(nodes.home(reader).join(".ha-files/tmp")).unwrap();
            nodes.put(&names[0], 2);
            fs::write(nodes.tree(&names[0]).join("services/big"), vec![b'x'; 300_000]).unwrap();
            nodes.files.hold(EPOCH, hold(reader)).await.unwrap();
            let mut request = release(reader);
            request.deadline = std::time::Duration::from_secs(8);
            let refused = nodes.files.release(EPOCH, request).await.unwrap_err();
            assert_eq!(refused.kind(), kind, "{what}, {publish:?}: {refused}");
            assert!(refused.to_string().contains(message), "{what}, {publish:?}: {refused}");
            assert_eq!(refused.effect(), Effect::Unknown);
            assert_eq!(nodes.truth(reader), Some(1), "{what}, {publish:?}");
            let shared = nodes.files.shared(reader).await.unwrap();
            assert_eq!(shared.sync, Sync::Held, "{what}, {publish:?}");
        }
    }
}

#[tokio::test]
async fn two_writers_are_one_at_every_reader() {
    let names = names(&["esb1", "esb2", "esb3"]);
    let nodes = Nodes::new(&names, Publish::InPlace).await;
    // A second node believes that it writes, with the epoch that the first one has.
    fs::write(nodes.home(&names[1]).join(".ha-files/writer"), "1\n").unwrap();
    nodes.put(&names[0], 2);
    nodes.put(&names[1], 3);
    let said = [&names[0], &names[1]].map(|name| sync(&nodes.home(name)).1);
    assert!(said[0].contains("esb2") && said[0].contains("writes the shared files"), "{said:?}");
    assert_eq!((nodes.truth(&names[0]), nodes.truth(&names[1])), (Some(2), Some(3)), "neither writes into the other");
    for reader in &names {
        let seen = nodes.files.shared(reader).await.unwrap();
        assert!(seen.writer.number() < 2);
    }
}

#[tokio::test]
async fn what_is_missing_is_named_before_anything_is_held() {
    let names = names(&["esb1", "esb2"]);
    let shell = tempfile::tempdir().unwrap();
    let nodes = Nodes::new(&names, Publish::InPlace).await;
    for node in &names {
        assert_eq!(nodes.files.missing(node).await.unwrap(), Vec::<String>::new());
    }
    fs::remove_file(nodes.tree(&names[0]).join(".ha-generation")).unwrap();
    let missing = nodes.files.missing(&names[0]).await.unwrap();
    assert!(missing.len() == 1 && missing[0].contains(".ha-generation"), "{missing:?}");
    fs::remove_dir_all(nodes.tree(&names[0])).unwrap();
    let missing = nodes.files.missing(&names[0]).await.unwrap();
    assert!(missing.len() == 1 && missing[0].contains("is no folder"), "{missing:?}");
    let unreached =
        Nodes::with(&names, |config| config.rsh = rsh(shell.path(), "echo 'no route to host' >&2; exit 255")).await;
    let missing = unreached.files.missing(&names[1]).await.unwrap();
    assert!(missing.len() == 1 && missing[0].contains("setting rsh: esb1 does not reach it as esb2"), "{missing:?}");
    assert!(missing[0].contains("no route to host"), "{missing:?}");
    let folder = Nodes::with(&names, |config| config.publish = Publish::InPlace).await;
    let mut switched = folder.config.clone();
    switched.publish = Publish::Switch;
    let missing = folder.over(&switched).missing(&names[1]).await.unwrap();
    assert!(missing.len() == 1 && missing[0].contains("in-place"), "{missing:?}");
}
