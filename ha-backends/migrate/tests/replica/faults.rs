//! What goes wrong in the middle of a change: what the error says of its effect, and what is left behind.

use std::os::unix::fs::MetadataExt;

use ha_core::backend::{Applied, Effect, ErrorKind, FollowReplica, PromoteReplica, ReplicaRole, StepError};
use ha_core::state::SiteEpoch;
use tokio::time::timeout;

use super::*;

const LEASE: LeaseEpoch = LeaseEpoch::new(1);
/// Whether a restart would turn it.
const ARMED: &str = "SELECT (pg_stat_file('standby.signal', true)).size";

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(String::from).collect()
}

/// The value of a site with something changed.
fn with(copies: &Copies, at: At, change: impl FnOnce(&mut PostgresReplicaConfig)) -> PostgresReplica {
    let mut config = Copies::config(&copies.servers, at);
    change(&mut config);
    PostgresReplica::new(config).unwrap()
}

fn promotion(epoch: u64) -> PromoteReplica {
    PromoteReplica::new(SiteEpoch::new(epoch))
}

fn unknown(error: &StepError, kind: ErrorKind) {
    assert_eq!((error.kind(), error.effect()), (kind, Effect::Unknown), "{error}");
}

async fn role(copies: &Copies, at: At) -> ReplicaRole {
    copies.replicas[place(at)].replica().await.unwrap().role
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demotion_that_fails_has_an_unknown_effect_and_a_later_restart_does_not_finish_it() {
    let copies = Copies::start().unwrap();
    for (restart, kind) in
        [("/nowhere/restart", ErrorKind::NotFound), ("false", ErrorKind::Conflict), ("true", ErrorKind::Timeout)]
    {
        let north = with(&copies, At::North, |config| config.restart = words(restart));
        let error = north.demote(LEASE, DemoteReplica::new()).await.unwrap_err();
        unknown(&error, kind);
        assert!(error.to_string().contains("it takes writes as before"), "{error}");
        assert_eq!(copies.servers[0].sql("postgres", ARMED).unwrap(), "", "{restart}");
    }
    let south = FollowReplica::new("south").discarding();
    copies.replicas[1].promote(LEASE, promotion(2)).await.unwrap();
    let north = with(&copies, At::North, |config| config.restart = words("false"));
    let error = north.follow(LEASE, south).await.unwrap_err();
    unknown(&error, ErrorKind::Conflict);
    copies.restart(At::North).await.unwrap();
    assert_eq!(role(&copies, At::North).await, ReplicaRole::Primary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_a_restart_would_turn_is_not_promoted_before_that_is_taken_back() {
    let copies = Copies::start().unwrap();
    let (north, server) = (&copies.replicas[0], &copies.servers[0]);
    let file = server.socket_folder().join("data/standby.signal");
    std::fs::write(&file, "").unwrap();
    let at_once = north.promote(LEASE, promotion(1).with_deadline(Duration::ZERO)).await.unwrap_err();
    assert_eq!((at_once.kind(), at_once.effect()), (ErrorKind::Timeout, Effect::None), "{at_once}");
    assert_eq!(north.promote(LEASE, promotion(1)).await.unwrap(), Applied::Applied);
    assert!(!file.exists());
    assert_eq!(north.promote(LEASE, promotion(1)).await.unwrap(), Applied::AlreadySo);
    // What cannot be removed is a person's.
    std::fs::create_dir(&file).unwrap();
    let owner = std::fs::metadata(file.parent().unwrap()).unwrap();
    std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    for epoch in [1, 2] {
        let refused = north.promote(LEASE, promotion(epoch)).await.unwrap_err();
        assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Conflict, Effect::None), "{refused}");
        assert!(refused.to_string().contains("standby.signal"), "{refused}");
    }
    assert_eq!(north.replica().await.unwrap().epoch, SiteEpoch::new(1));
    std::fs::remove_dir(&file).unwrap();
}

/// A user that may promote, and may not keep the epoch.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_that_cannot_keep_its_epoch_has_an_unknown_effect() {
    let copies = Copies::start().unwrap();
    let user = "CREATE ROLE ha LOGIN PASSWORD 'geheim'; GRANT pg_monitor TO ha; GRANT EXECUTE ON FUNCTION pg_promote TO ha; \
                REVOKE CREATE ON SCHEMA public FROM public";
    copies.servers[0].sql("postgres", user).unwrap();
    let has_it = "SELECT count(*) FROM pg_roles WHERE rolname = 'ha'";
    while copies.servers[1].sql("postgres", has_it).unwrap() == "0" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let south = with(&copies, At::South, |config| {
        config.own.url = config.own.url.replace("user=postgres", "user=ha&password=geheim");
    });
    let error = south.promote(LEASE, promotion(2)).await.unwrap_err();
    unknown(&error, ErrorKind::Denied);
    let told = format!("{error:#}");
    assert!(told.contains("permission denied") && !error.to_string().contains("no effect"), "{told}");
    assert_eq!(role(&copies, At::South).await, ReplicaRole::Primary);
}

/// As one by `pg_basebackup` without more: the settings are those of the one that it was taken from.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_does_not_say_whom_to_follow_is_followed_by_that() {
    let copies = Copies::start().unwrap();
    copies.replicas[1].promote(LEASE, promotion(2)).await.unwrap();
    assert!(copies.write(At::North).await.unwrap());
    let north = with(&copies, At::North, |config| {
        let script = std::fs::read_to_string(&config.rebuild[1]).unwrap();
        let says = |line: &&str| line.contains("primary_conninfo");
        assert!(script.lines().any(|line| says(&line)));
        let silent: String = script.lines().filter(|line| !says(line)).map(|line| format!("{line}\n")).collect();
        config.rebuild[1] = format!("{}.silent", config.rebuild[1]);
        std::fs::write(&config.rebuild[1], silent).unwrap();
    });
    let follow = || FollowReplica::new("south").discarding().with_deadline(Duration::from_secs(60));
    assert_eq!(north.follow(LEASE, follow()).await.unwrap(), Applied::Applied);
    assert_eq!(north.follow(LEASE, follow()).await.unwrap(), Applied::AlreadySo);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_string_with_quotes_is_no_sql() {
    let copies = Copies::start().unwrap();
    let south = with(&copies, At::South, |config| config.others[0].conninfo += r" application_name='south\'s copy'");
    let south_follows = || south.follow(LEASE, FollowReplica::new("north"));
    assert_eq!(south_follows().await.unwrap(), Applied::Applied);
    assert_eq!(south_follows().await.unwrap(), Applied::AlreadySo);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_another_one_ends_at_its_own_deadline() {
    let copies = Copies::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let hold = dir.path().join("hold");
    std::fs::write(&hold, "").unwrap();
    let waits = ["/bin/sh", "-c", "while [ -e \"$0\" ]; do sleep 0.02; done; exit 1", hold.to_str().unwrap()];
    let north = with(&copies, At::North, |config| config.restart = waits.map(String::from).to_vec());
    let (first, armed) = (north.clone(), copies.servers[0].socket_folder().join("data/standby.signal"));
    let first = tokio::spawn(async move { first.demote(LEASE, DemoteReplica::new()).await });
    while !armed.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let second = north.promote(LEASE, promotion(2).with_deadline(Duration::from_millis(200)));
    let second = timeout(Duration::from_secs(60), second).await.unwrap().unwrap_err();
    assert_eq!((second.kind(), second.effect()), (ErrorKind::Timeout, Effect::None), "{second}");
    assert!(!first.is_finished());
    std::fs::remove_file(&hold).unwrap();
    unknown(&first.await.unwrap().unwrap_err(), ErrorKind::Conflict);
}
