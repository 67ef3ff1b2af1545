//! A session's identity, and its end.

use std::time::Duration;

use ha_migrate::{Connect, DbErrorKind, Dialect, SessionId, SessionRole};

use crate::world::{OnMariaDb, OnPostgres, World, on_all, on_servers, open, value, wait_for};

/// The sessions as the server counts them.
fn sessions(world: &impl World, id: &SessionId) -> String {
    world.sql(&match world_dialect(world) {
        Dialect::Postgres => format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {} AND application_name = 'ha-migrate' \
             AND to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') = '{}'",
            id.number, id.began
        ),
        _ => format!("SELECT count(*) FROM information_schema.processlist WHERE id = {}", id.number),
    })
}

fn world_dialect<W: World>(_: &W) -> Dialect {
    W::DIALECT
}

async fn a_session_that_was_abandoned_in_a_call_takes_no_more<W: World>(world: &W) {
    let mut session = open(world).await;
    let cut = tokio::time::timeout(Duration::from_millis(50), session.query(W::ENDLESS)).await;
    assert!(cut.is_err());
    for _ in 0..2 {
        let error = session.query("SELECT 1").await.unwrap_err();
        assert_eq!(error.kind, DbErrorKind::Unreachable, "{error}");
        assert!(error.message.contains("open another one"), "{error}");
    }
}

async fn two_sessions_at_a_time_have_two_ids_or_one_process<W: World>(world: &W) {
    let (one, other) = (open(world).await, open(world).await);
    assert!(!one.id().began.is_empty());
    if W::DIALECT == Dialect::Sqlite {
        assert_eq!(one.id().number, i64::from(std::process::id()));
        assert_eq!(one.id(), other.id());
    } else {
        assert_ne!(one.id(), other.id());
    }
}

on_all! { a_session_that_was_abandoned_in_a_call_takes_no_more, two_sessions_at_a_time_have_two_ids_or_one_process }

mod servers {
    use super::*;

    async fn the_server_knows_the_session_by_its_id<W: World>(world: &W) {
        let mut session = open(world).await;
        assert_eq!(sessions(world, session.id()), "1");
        let sql = if W::DIALECT == Dialect::Postgres { "SELECT pg_backend_pid()" } else { "SELECT CONNECTION_ID()" };
        let number = value(session.as_mut(), sql).await.unwrap().unwrap();
        assert_eq!(number, session.id().number.to_string());
    }

    async fn a_dropped_session_is_closed_at_the_server<W: World>(world: &W) {
        let session = open(world).await;
        let id = session.id().clone();
        drop(session);
        wait_for("the end of the session", || sessions(world, &id) == "0").await;
    }

    async fn a_session_dropped_in_a_statement_is_closed_and_its_lock_freed<W: World>(world: &W) {
        let mut session = open(world).await;
        let (lock, is_free, busy) = match W::DIALECT {
            Dialect::Postgres => (
                "SELECT pg_try_advisory_lock(7)",
                "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'",
                "SELECT pg_sleep(600)",
            ),
            // A MariaDB looks after its client only when the statement has ended.
            _ => ("SELECT GET_LOCK('ha', 0)", "SELECT IS_FREE_LOCK('ha')", "SELECT SLEEP(1)"),
        };
        let granted = value(session.as_mut(), lock).await.unwrap().unwrap();
        assert!(granted == "t" || granted == "1", "{granted}");
        let free = || matches!(world.sql(is_free).as_str(), "t" | "1");
        assert!(!free());
        let cut = tokio::time::timeout(Duration::from_millis(100), session.query(busy)).await;
        assert!(cut.is_err());
        let id = session.id().clone();
        drop(session);
        wait_for("the lock", free).await;
        assert_eq!(sessions(world, &id), "0");
    }

    /// Whatever the server goes on with, this side has let go.
    async fn a_session_dropped_in_a_statement_leaves_no_connection_of_this_process<W: OnTcp>(world: &W) {
        // One that answers nothing, and one that answers without end.
        for sql in [W::ENDLESS, W::STREAM] {
            let mut session = world.over_tcp().open(SessionRole::Migrator).await.unwrap();
            let cut = tokio::time::timeout(Duration::from_millis(100), session.query(sql)).await;
            assert!(cut.is_err());
            assert_eq!(established_to(world.port()), 1);
            drop(session);
            wait_for("the end of the connection", || established_to(world.port()) == 0).await;
        }
    }

    on_servers! {
        a_session_dropped_in_a_statement_leaves_no_connection_of_this_process,
        the_server_knows_the_session_by_its_id,
        a_dropped_session_is_closed_at_the_server,
        a_session_dropped_in_a_statement_is_closed_and_its_lock_freed,
    }
}

/// A server that is reached over TCP.
trait OnTcp: World {
    /// A query of more rows than anybody waits for.
    const STREAM: &'static str;
    fn port(&self) -> u16;
    fn over_tcp(&self) -> Box<dyn Connect>;
}

impl OnTcp for OnPostgres {
    const STREAM: &'static str =
        "WITH RECURSIVE n(i) AS (SELECT 1::bigint UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    fn port(&self) -> u16 {
        self.server.port()
    }
    fn over_tcp(&self) -> Box<dyn Connect> {
        Box::new(self.over_tcp(self.server.port()))
    }
}

impl OnTcp for OnMariaDb {
    const STREAM: &'static str = "SELECT seq FROM seq_1_to_100000000000";
    fn port(&self) -> u16 {
        self.server.port()
    }
    fn over_tcp(&self) -> Box<dyn Connect> {
        Box::new(self.over_tcp(self.server.port()))
    }
}

/// Connections to a port of 127.0.0.1 that no side has closed, as the kernel counts them at their client's end.
fn established_to(port: u16) -> usize {
    let remote = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|fields| fields.get(2) == Some(&remote.as_str()) && fields.get(3) == Some(&"01")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_mariadb_gives_again_after_a_restart_is_another_session() {
    let world = OnMariaDb::start();
    let (first, second) = (open(&world).await, open(&world).await);
    assert_eq!(first.id().began, second.id().began, "of one life of the server");
    assert!(first.id().number < second.id().number);
    let (id, cancel) = (first.id().clone(), first.canceller());
    // Start times are whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.server.restart().unwrap();
    let mut victim = open(&world).await;
    while victim.id().number < id.number {
        victim = open(&world).await;
    }
    assert_ne!(victim.id().began, id.began);
    // A cancel for the old session spares whoever has its number now.
    let mut running = std::pin::pin!(victim.query("SELECT SLEEP(1)"));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut running).await;
    assert!(early.is_err());
    cancel.cancel().await.unwrap();
    assert_eq!(running.await.unwrap(), [[Some("0".to_string())]], "it slept to its end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_file_is_free_when_its_session_was_dropped_in_a_transaction() {
    let world = crate::world::OnSqlite::start();
    let mut session = open(&world).await;
    session.execute("CREATE TABLE t (a); BEGIN IMMEDIATE; INSERT INTO t VALUES (1)").await.unwrap();
    let cut = tokio::time::timeout(Duration::from_millis(50), session.query(crate::world::OnSqlite::ENDLESS)).await;
    assert!(cut.is_err());
    drop(session);
    wait_for("the file's lock", || world.try_sql("INSERT INTO t VALUES (2)").is_ok()).await;
    assert_eq!(world.sql("SELECT group_concat(a) FROM t"), "2");
}
