//! Each class of failure, provoked for real.

use std::time::Duration;

use ha_migrate::{DbErrorKind, Dialect, Limits, SessionRole};

use crate::world::{OnMariaDb, OnPostgres, OnSqlite, World, on_all, on_servers, open, open_with, value};

async fn what_is_there_or_not_or_wrong_is_told_apart<W: World>(world: &W) {
    let mut session = open(world).await;
    session.execute("CREATE TABLE t (id int PRIMARY KEY, name varchar(10) NOT NULL)").await.unwrap();
    session.execute("CREATE INDEX i ON t (name)").await.unwrap();
    session.execute("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let drop_index = if W::DIALECT == Dialect::MariaDb { "DROP INDEX nowhere ON t" } else { "DROP INDEX nowhere" };
    for (sql, kind) in [
        ("CREATE TABLE t (id int)", DbErrorKind::Duplicate),
        ("ALTER TABLE t ADD COLUMN name varchar(10)", DbErrorKind::Duplicate),
        ("CREATE INDEX i ON t (id)", DbErrorKind::Duplicate),
        ("SELECT * FROM nowhere", DbErrorKind::Missing),
        ("DROP TABLE nowhere", DbErrorKind::Missing),
        ("SELECT absent FROM t", DbErrorKind::Missing),
        ("ALTER TABLE t DROP COLUMN absent", DbErrorKind::Missing),
        (drop_index, DbErrorKind::Missing),
        ("INSERT INTO t VALUES (1, 'b')", DbErrorKind::Refused),
        ("INSERT INTO t VALUES (2, NULL)", DbErrorKind::Refused),
        ("ALTRE TABLE t", DbErrorKind::Refused),
    ] {
        let error = session.execute(sql).await.unwrap_err();
        assert_eq!(error.kind, kind, "{sql}: {error}");
        assert!(!error.code.is_empty() && !error.message.is_empty(), "{sql}: {error:?}");
    }
    assert_eq!(value(session.as_mut(), "SELECT count(*) FROM t").await.unwrap().unwrap(), "1", "the session goes on");
}

async fn a_lock_that_is_not_granted_is_a_lock_timeout<W: World>(world: &W) {
    let limits = Limits::default().with_row_lock(Duration::from_millis(100));
    let (mut holder, mut session) = (open(world).await, open_with(world, limits).await);
    holder.execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    holder.execute("INSERT INTO t VALUES (1)").await.unwrap();
    holder.execute(if W::DIALECT == Dialect::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" }).await.unwrap();
    holder.execute("UPDATE t SET id = 2").await.unwrap();
    for sql in ["ALTER TABLE t ADD COLUMN c int", "UPDATE t SET id = 3"] {
        let error = session.execute(sql).await.unwrap_err();
        assert_eq!(error.kind, DbErrorKind::LockTimeout, "{sql}: {error}");
    }
    holder.execute("COMMIT").await.unwrap();
    session.execute("ALTER TABLE t ADD COLUMN c int").await.unwrap();
}

async fn a_cancelled_statement_ends_and_the_session_goes_on<W: World>(world: &W) {
    let mut session = open(world).await;
    let cancel = session.canceller();
    // Between two statements it does nothing.
    cancel.cancel().await.unwrap();
    assert_eq!(value(session.as_mut(), "SELECT 1").await.unwrap().unwrap(), "1");
    let error = {
        let mut running = std::pin::pin!(session.query(W::ENDLESS));
        loop {
            tokio::select! {
                ended = &mut running => break ended.unwrap_err(),
                () = tokio::time::sleep(Duration::from_millis(50)) => cancel.cancel().await.unwrap(),
            }
        }
    };
    assert_eq!(error.kind, DbErrorKind::Cancelled, "{error}");
    assert_eq!(value(session.as_mut(), "SELECT 2").await.unwrap().unwrap(), "2");
}

async fn a_statement_ends_at_its_limit_and_the_session_goes_on<W: World>(world: &W) {
    let limits = Limits::default().with_statement(Duration::from_millis(100)).with_read(Duration::from_millis(200));
    for role in [SessionRole::Migrator, SessionRole::Reader] {
        let mut session = world.connector(limits).open(role).await.unwrap();
        let error = session.query(W::ENDLESS).await.unwrap_err();
        assert_eq!(error.kind, DbErrorKind::Cancelled, "{role:?}: {error}");
        assert_eq!(value(session.as_mut(), "SELECT 2").await.unwrap().unwrap(), "2");
    }
}

async fn a_reader_writes_nothing<W: World>(world: &W) {
    open(world).await.execute("CREATE TABLE t (id int)").await.unwrap();
    let mut reader = world.connector(Limits::default()).open(SessionRole::Reader).await.unwrap();
    for sql in ["INSERT INTO t VALUES (1)", "CREATE TABLE u (id int)", "DROP TABLE t"] {
        let error = reader.execute(sql).await.unwrap_err();
        assert_eq!(error.kind, DbErrorKind::ReadOnly, "{sql}: {error}");
    }
    assert_eq!(value(reader.as_mut(), "SELECT count(*) FROM t").await.unwrap().unwrap(), "0");
}

on_all! {
    what_is_there_or_not_or_wrong_is_told_apart,
    a_lock_that_is_not_granted_is_a_lock_timeout,
    a_cancelled_statement_ends_and_the_session_goes_on,
    a_statement_ends_at_its_limit_and_the_session_goes_on,
    a_reader_writes_nothing,
}

mod servers {
    use super::*;

    async fn one_of_a_deadlock_is_told_so<W: World>(world: &W) {
        // The server finds it before a lock is given up.
        let limits = Limits::default().with_lock(Duration::from_secs(20)).with_row_lock(Duration::from_secs(20));
        let (mut one, mut other) = (open_with(world, limits).await, open_with(world, limits).await);
        one.execute("CREATE TABLE t (id int PRIMARY KEY, n int)").await.unwrap();
        one.execute("INSERT INTO t VALUES (1, 0), (2, 0)").await.unwrap();
        for (session, id) in [(&mut one, 1), (&mut other, 2)] {
            session.execute("BEGIN").await.unwrap();
            session.execute(&format!("UPDATE t SET n = 1 WHERE id = {id}")).await.unwrap();
        }
        let cross = async {
            tokio::join!(
                async {
                    let answer = one.execute("UPDATE t SET n = 2 WHERE id = 2").await;
                    (answer, one.execute("ROLLBACK").await)
                },
                async {
                    let answer = other.execute("UPDATE t SET n = 2 WHERE id = 1").await;
                    (answer, other.execute("ROLLBACK").await)
                },
            )
        };
        let ((one, _), (other, _)) = cross.await;
        let kinds: Vec<_> = [one, other].into_iter().filter_map(Result::err).map(|error| error.kind).collect();
        assert_eq!(kinds, [DbErrorKind::Deadlock]);
    }

    on_servers! { one_of_a_deadlock_is_told_so }
}

#[tokio::test]
async fn a_full_resource_of_postgresql_is_full() {
    let world = OnPostgres::start();
    let mut session = open(&world).await;
    session.execute("SET work_mem = '64kB'; SET temp_file_limit = '128kB'").await.unwrap();
    let error = session.query("SELECT i FROM generate_series(1, 100000) i ORDER BY md5(i::text)").await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Full, "{error}");
}

#[tokio::test]
async fn a_full_table_of_mariadb_is_full() {
    let world = OnMariaDb::start();
    let mut session = open(&world).await;
    session.execute("SET max_heap_table_size = 16384").await.unwrap();
    session.execute("CREATE TABLE t (a char(250)) ENGINE=MEMORY").await.unwrap();
    let error = session.execute("INSERT INTO t SELECT seq FROM seq_1_to_10000").await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (DbErrorKind::Full, "1114"), "{error}");
}

#[tokio::test]
async fn a_full_file_of_sqlite_is_full() {
    let world = OnSqlite::start();
    let mut session = open(&world).await;
    session.execute("PRAGMA max_page_count = 2; CREATE TABLE t (a)").await.unwrap();
    let error = session.execute("INSERT INTO t VALUES (zeroblob(100000))").await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (DbErrorKind::Full, "13"), "{error}");
}

#[tokio::test]
async fn a_change_that_mariadb_cannot_make_online_is_refused_as_such() {
    let world = OnMariaDb::start();
    let mut session = open(&world).await;
    session.execute("CREATE TABLE t (id int PRIMARY KEY, n int)").await.unwrap();
    for clause in ["ALGORITHM=INPLACE", "ALGORITHM=INSTANT"] {
        let error = session.execute(&format!("ALTER TABLE t MODIFY n bigint, {clause}")).await.unwrap_err();
        assert_eq!(error.kind, DbErrorKind::OnlineRefused, "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_or_not_there_is_told_at_once() {
    let world = OnSqlite::start();
    std::fs::write(world.file(), "this is a text of more than a few bytes, not a database").unwrap();
    let error = world.connector(Limits::default()).open(SessionRole::Migrator).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (DbErrorKind::Refused, "26"), "{error}");
    let missing = ha_migrate::Sqlite::new(world.dir.path().join("none.db")).with_create(false);
    let error = ha_migrate::Connect::open(&missing, SessionRole::Reader).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Unreachable, "{error}");
    assert!(!world.dir.path().join("none.db").exists());
}
