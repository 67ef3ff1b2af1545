//! An older controller is refused, a newer one waits.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ha_core::backend::{
    Applied, Content, DetachedWork, Effect, Ended, ErrorKind, Expect, Host, HostFiles, ObserveDetachedWork, PutFile,
    StepError, SwitchLink, WorkState,
};
use ha_core::state::{LeaseEpoch, ServerDomain};
use ha_lab::SshHost;
use tokio::time::{Instant, sleep};

use crate::fixture::{FIRST, SECOND, build, drive, ended, id, install, lab, lines, settings, sh};

const LONG: Duration = Duration::from_secs(30);

fn fenced<T: std::fmt::Debug>(what: &str, answer: Result<T, StepError>) {
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Fenced, Effect::None), "{what}: {error}");
}

#[tokio::test]
async fn a_controller_of_an_older_epoch_is_refused_whatever_it_asks_and_changes_nothing() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let (old, new) = (drive(machine.access()), drive(machine.access()));
    new.run(SECOND, sh("true", LONG)).await.unwrap();
    new.launch(SECOND, id("w"), sh("sleep 5", LONG)).await.unwrap();
    let put = PutFile::new("/srv/esb/put", Content::Bytes(b"x".to_vec()));
    fenced("run", old.run(FIRST, sh("echo x >>ran", LONG)).await);
    fenced("start", old.launch(FIRST, id("z"), sh("echo x >>ran", LONG)).await);
    fenced("cancel", old.cancel(FIRST, &id("w")).await);
    fenced("server start", Host::start(&old, FIRST, ServerDomain::Production).await);
    new.cancel(SECOND, &id("w")).await.unwrap();
    fenced("put", old.put(FIRST, put).await);
    fenced("remove", old.remove(FIRST, "/srv/esb/release", Expect::Anything).await);
    fenced("switch", old.switch(FIRST, SwitchLink::new("/srv/esb/link", "x")).await);
    assert_eq!(old.state(&id("z")).await.unwrap(), WorkState::Absent);
    assert!(home.join("release").exists() && !home.join("put").exists() && !home.join("link").exists());
    assert_eq!(lines(home.join("ran")), 0);
    assert_eq!(epochs(&kept(&machine)), ["2"]);
}

/// The state directory of the one server.
fn kept(machine: &SshHost) -> PathBuf {
    std::fs::read_dir(machine.home().unwrap().join(".ha")).unwrap().flatten().next().unwrap().path()
}

fn epochs(kept: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(kept.join("epochs")).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn what_is_kept_of_a_command_and_its_variables_is_for_its_owner_alone() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    let command = sh("echo $SECRET", LONG).with_env("SECRET", "s3cret");
    assert_eq!(host.run(FIRST, command).await.unwrap().stdout, "s3cret\n");
    let kept = kept(&machine);
    assert!(kept.join("work").read_dir().unwrap().count() > 0);
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn of_the_epochs_that_a_host_has_seen_it_keeps_the_highest() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    for epoch in [9, 10, 11] {
        host.run(LeaseEpoch::new(epoch), sh("true", LONG)).await.unwrap();
    }
    fenced("run", host.run(LeaseEpoch::new(10), sh("true", LONG)).await);
    // The others are removed in the background.
    let until = Instant::now() + LONG;
    while epochs(&kept(&machine)) != ["11"] {
        assert!(Instant::now() < until, "{:?}", epochs(&kept(&machine)));
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_commands_variables_are_not_those_of_its_runner() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    host.run(FIRST, sh("true", LONG)).await.unwrap();
    let names =
        ["G", "d", "s", "home", "epoch", "seen", "wait", "deadline", "raised", "watch", "code", "keeper", "PATH"];
    let command = names.iter().fold(sh("echo \"$G $d $epoch $seen\"", LONG), |command, name| {
        command.with_env(*name, if *name == "PATH" { "/usr/bin:/bin" } else { "9" })
    });
    let ran = host.run(SECOND, command).await.unwrap();
    assert_eq!((ran.ended, ran.stdout.as_str()), (Ended::Exited(0), "9 9 9 9\n"));
    fenced("run", host.run(FIRST, sh("true", LONG)).await);
    let error = host.run(SECOND, sh("true", LONG).with_env("ha_d", "x")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::None), "{error}");
}

#[tokio::test]
async fn nothing_is_done_where_the_epoch_cannot_be_read_or_kept() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    host.run(FIRST, sh("true", LONG)).await.unwrap();
    let (kept, mut tried) = (kept(&machine), 0);
    let mut refuses = async |what: &str| {
        tried += 1;
        let put = PutFile::new("/srv/esb/put", Content::Bytes(b"x".to_vec()));
        let run = host.run(SECOND, sh("echo x >>ran", LONG)).await.unwrap_err();
        let put = host.put(SECOND, put).await.unwrap_err();
        for error in [run, put] {
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Denied, Effect::None), "{what}: {error}");
        }
    };
    std::fs::write(kept.join("epochs/7 "), "").unwrap();
    refuses("a strange name among the epochs").await;
    std::fs::remove_file(kept.join("epochs/7 ")).unwrap();
    std::fs::rename(kept.join("epochs"), kept.join("moved")).unwrap();
    refuses("no epochs").await;
    std::fs::write(kept.join("epochs"), "").unwrap();
    refuses("a file in place of the epochs").await;
    assert_eq!((tried, lines(home.join("ran"))), (3, 0));
    assert!(!home.join("put").exists());
}

#[tokio::test]
async fn a_new_controller_waits_for_the_old_ones_effect_and_no_longer() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let (old, new) = (drive(machine.access()), drive(machine.access()));
    old.launch(FIRST, id("old"), sh("echo begin >>order; sleep 1; echo end >>order", LONG)).await.unwrap();
    while lines(home.join("order")) == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    new.run(SECOND, sh("echo new >>order", LONG)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(std::fs::read_to_string(home.join("order")).unwrap(), "begin\nend\nnew\n");
    let mut impatient = settings(machine.access());
    impatient.insert("lock_wait".into(), ha_core::topology::Setting::Text("200ms".into()));
    let impatient = build(impatient);
    new.launch(SECOND, id("long"), sh("echo x >>long; sleep 5", LONG)).await.unwrap();
    while lines(home.join("long")) == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    let error = impatient.run(SECOND, sh("echo x >>second", LONG)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Busy, Effect::None), "{error}");
    assert_eq!(lines(home.join("second")), 0);
}

#[tokio::test]
async fn a_daemon_that_a_command_leaves_behind_does_not_hold_the_lock() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    host.run(FIRST, sh("setsid sleep 30 >/dev/null 2>&1 & sleep 30 &", LONG)).await.unwrap();
    let began = Instant::now();
    host.run(SECOND, sh("true", LONG)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn work_that_still_waits_for_its_fence_is_not_cancelled_by_an_older_controller() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let (host, long) = (drive(machine.access()), Duration::from_secs(60));
    host.launch(FIRST, id("first"), sh("sleep 50", long)).await.unwrap();
    while host.state(&id("first")).await.unwrap() != WorkState::Running {
        sleep(Duration::from_millis(20)).await;
    }
    // The first one holds the lock: the second has not raised the epoch yet.
    host.launch(SECOND, id("second"), sh("true", long)).await.unwrap();
    fenced("cancel of newer work", host.cancel(FIRST, &id("second")).await);
    assert_eq!(host.cancel(FIRST, &id("first")).await.unwrap(), Applied::Applied);
    assert_eq!(ended(&host, &id("second")).await, WorkState::Exited(0));
}
