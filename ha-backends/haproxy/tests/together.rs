//! Looks at one pool that begin together are one question, and none of them is worse off for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ha_core::backend::{Admin, Effect, ErrorKind, MemberRef, MemberSnapshot, ObserveBalancer, StepError};
use ha_core::topology::Name;
use ha_haproxy::{Endpoint, HaProxy, HaProxyConfig};
use ha_lab::{ScriptedAnswer, ScriptedSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

const SERVERS: [&str; 3] = ["esb1", "esb2", "esb3"];

/// Answers as HAProxy does, with what `spoil` makes of the answer to a question about the whole pool.
struct Fake {
    socket: ScriptedSocket,
    backend: HaProxy,
    _dir: tempfile::TempDir,
}

fn fake(spoil: impl Fn(String) -> ScriptedAnswer + Send + Sync + 'static) -> Fake {
    fake_until(Duration::from_secs(20), spoil)
}

fn fake_until(deadline: Duration, spoil: impl Fn(String) -> ScriptedAnswer + Send + Sync + 'static) -> Fake {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let socket = ScriptedSocket::on_unix(&path, move |line| {
        let text = line.split(';').map(|command| answer(command) + "\n").collect();
        if line.contains(" 6 -1") { spoil(text) } else { ScriptedAnswer::text(text) }
    });
    let mut config = HaProxyConfig::new(&path);
    config.deadline = deadline;
    Fake { socket: socket.unwrap(), backend: HaProxy::new(config), _dir: dir }
}

fn answer(command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words[..] {
        ["show", "info"] => "Name: HAProxy\nVersion: 2.6.12\nPid: 7\nUptime_sec: 5\nStopping: 0\n".into(),
        ["show", "servers", "state", "esb"] => {
            let names = "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
                         srv_check_state srv_port";
            let line = |id: usize| format!("4 esb {id} {} 127.0.0.1 2 {} 1 1 6 8280\n", SERVERS[id - 1], (id - 1) * 4);
            format!("1\n# {names}\n{}", (1..=SERVERS.len()).map(line).collect::<String>())
        }
        ["show", "stat", "esb", kind, id] => {
            let names = "pxname,svname,cookie,bck,tracked,scur,qcur,stot,econ,eresp,hrsp_5xx,check_status,check_health,\
                         check_rise,check_fall,srv_icur,priv_idle_cur,used_conn_cur,type";
            let line = |name: &str, kind: u8| format!("esb,{name},,0,,0,0,0,0,0,0,L7OK,4,2,3,0,0,0,{kind},\n");
            let servers = SERVERS.iter().zip(1..).filter(|(_, number)| id == "-1" || id == number.to_string());
            let servers = servers.filter(|_| kind != "2").map(|(name, _)| line(name, 2)).collect::<String>();
            let pool = if kind == "4" { String::new() } else { line("BACKEND", 1) };
            format!("# {names},\n{servers}{pool}")
        }
        _ => format!("[3]: Unknown command {command:?}.\n"),
    }
}

fn member(name: &str) -> MemberRef {
    MemberRef::new(Name::new("esb").unwrap(), Name::new(name).unwrap())
}

impl Fake {
    /// Reads these at once, as a look at a cluster does; the answers are in the order of the names.
    async fn read(&self, names: &[&str]) -> Vec<Result<MemberSnapshot, StepError>> {
        let mut reads = JoinSet::new();
        for (place, name) in names.iter().enumerate() {
            let (backend, member) = (self.backend.clone(), member(name));
            reads.spawn(async move { (place, backend.look(&member).await) });
        }
        let mut answers = reads.join_all().await;
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    fn lines(&self) -> Vec<String> {
        self.socket.lines()
    }
}

#[tokio::test]
async fn a_look_at_all_servers_of_a_pool_is_one_question() {
    let fake = fake(ScriptedAnswer::text);
    let seen = fake.read(&SERVERS).await;
    let told = |seen: Result<MemberSnapshot, StepError>| {
        let seen = seen.unwrap();
        (seen.process.generation, seen.member.admin, seen.quiescence.map(|figures| figures.is_closed()))
    };
    let told: Vec<_> = seen.into_iter().map(told).collect();
    assert_eq!(told, [(7, Admin::Ready, None), (7, Admin::Ready, None), (7, Admin::Drain, Some(true))]);
    assert_eq!(fake.lines(), ["show info;show servers state esb;show stat esb 6 -1"]);
    // The next look is another question: nothing is remembered.
    fake.read(&SERVERS).await;
    assert_eq!(fake.lines().len(), 2);
}

#[tokio::test]
async fn a_look_and_a_reading_of_the_whole_pool_are_one_question() {
    let fake = fake(ScriptedAnswer::text);
    let (row, pool) = (member("esb3"), Name::new("esb").unwrap());
    let (look, members) = tokio::join!(fake.backend.look(&row), fake.backend.members(&pool));
    let (look, members) = (look.unwrap(), members.unwrap());
    assert_eq!((look.member, members.len()), (members[2].1, SERVERS.len()));
    assert_eq!(fake.lines(), ["show info;show servers state esb;show stat esb 6 -1"]);
    // Alone it is the same question.
    assert_eq!(fake.backend.members(&pool).await.unwrap(), members);
    assert_eq!(fake.lines().len(), 2);
}

#[tokio::test]
async fn a_look_asks_no_older_workers_and_tells_what_runs_once_there_are_known_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let (path, master_path) = (dir.path().join("admin.sock"), dir.path().join("master.sock"));
    let workers = "#<PID> <type>\n7 master\n# workers\n7 worker\n# old workers\n# programs\n\n";
    let master = ScriptedSocket::on_unix(&master_path, move |_| ScriptedAnswer::text(workers)).unwrap();
    let _admin = ScriptedSocket::on_unix(&path, |line| {
        ScriptedAnswer::text(line.split(';').map(|command| answer(command) + "\n").collect::<String>())
    });
    let backend = HaProxy::new(HaProxyConfig::new(&path).with_master(Endpoint::Unix(master_path)));
    let row = member("esb3");
    assert_eq!(backend.look(&row).await.unwrap().quiescence, None);
    assert!(master.lines().is_empty());
    let figures = backend.quiescence(&row).await.unwrap();
    assert_eq!(backend.look(&row).await.unwrap().quiescence, Some(figures));
    assert_eq!(master.lines(), ["show proc"]);
}

#[tokio::test]
async fn a_server_that_is_read_alone_is_asked_for_alone() {
    let fake = fake(ScriptedAnswer::text);
    for _ in 0..2 {
        fake.backend.look(&member("esb2")).await.unwrap();
    }
    let narrow = "show info;show servers state esb;show stat esb 4 2;show stat esb 2 -1";
    assert_eq!(fake.lines(), ["show info;show servers state esb", narrow, narrow]);
}

#[tokio::test]
async fn a_server_that_the_pool_does_not_have_does_not_hinder_the_others() {
    let fake = fake(ScriptedAnswer::text);
    let seen = fake.read(&["esb1", "esb9", "esb3"]).await;
    assert!(seen[0].is_ok() && seen[2].is_ok());
    let error = seen[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("esb9"), "{error}");
}

#[tokio::test]
async fn where_the_whole_pool_cannot_be_understood_each_server_is_asked_for_alone() {
    // A server that is just being added stands in one table and not in the other; another one's line is damaged.
    for (there, instead) in [("esb,esb2,,0,,0", "esb,esb2,,0,,x"), ("esb,esb2,", "esb,esb7,")] {
        let fake = fake(move |text| ScriptedAnswer::text(text.replace(there, instead)));
        for seen in fake.read(&SERVERS).await {
            seen.unwrap();
        }
        let lines = fake.lines();
        assert_eq!(lines[0], "show info;show servers state esb;show stat esb 6 -1");
        assert!(
            lines.contains(&"show info;show servers state esb;show stat esb 4 2;show stat esb 2 -1".to_string()),
            "{lines:?}"
        );
    }
}

#[tokio::test]
async fn a_common_question_that_nobody_answers_is_asked_once_and_every_reader_says_so() {
    let fake = fake_until(Duration::from_millis(300), |_| ScriptedAnswer::hang());
    for (seen, name) in fake.read(&SERVERS).await.into_iter().zip(SERVERS) {
        let error = seen.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::None), "{error}");
        assert!(error.to_string().contains(&format!("esb/{name}")), "{error}");
    }
    assert_eq!(fake.lines().len(), 1);
}

#[tokio::test]
async fn a_read_that_begins_while_a_question_is_on_its_way_is_another_question() {
    let questions = AtomicU32::new(0);
    let fake = fake(move |text| match questions.fetch_add(1, Ordering::SeqCst) {
        0 => ScriptedAnswer::hang(),
        _ => ScriptedAnswer::text(text),
    });
    let mut early = pin!(fake.read(&SERVERS));
    while fake.lines().is_empty() {
        assert!(timeout(Duration::from_millis(5), &mut early).await.is_err(), "nobody answers it");
    }
    for seen in fake.read(&SERVERS).await {
        seen.unwrap();
    }
    assert_eq!(fake.lines().len(), 2);
}

#[tokio::test]
async fn no_reader_waits_for_another_one_to_be_polled() {
    let fake = fake(ScriptedAnswer::text);
    let (one, two) = (member("esb1"), member("esb2"));
    let mut idle = pin!(fake.backend.look(&one));
    // It begins, and is not looked after any more.
    let waker = std::task::Waker::noop();
    assert!(idle.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    fake.backend.look(&two).await.unwrap();
    idle.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_is_given_up_hinders_nobody() {
    let fake = fake(ScriptedAnswer::text);
    let (one, two) = (member("esb1"), member("esb2"));
    let mut first = Box::pin(fake.backend.look(&one));
    let waker = std::task::Waker::noop();
    assert!(first.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    drop(first);
    fake.backend.look(&two).await.unwrap();
    for seen in fake.read(&SERVERS).await {
        seen.unwrap();
    }
}
