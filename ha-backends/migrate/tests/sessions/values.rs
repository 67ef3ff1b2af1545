//! Values, rows and their counts.

use ha_migrate::{DbErrorKind, Dialect};

use crate::world::{OnMariaDb, OnPostgres, OnSqlite, World, on_all, open, value};

async fn values_are_text_and_null_is_none<W: World>(world: &W) {
    let mut session = open(world).await;
    session.execute("CREATE TABLE t (id int PRIMARY KEY, name varchar(100), amount numeric(10, 2))").await.unwrap();
    session.execute("INSERT INTO t VALUES (1, 'Zoë €😀', 12.5), (-2, '', NULL), (3, NULL, 0)").await.unwrap();
    let rows = session.query("SELECT id, name FROM t ORDER BY id").await.unwrap();
    let text = |text: &str| Some(text.to_string());
    assert_eq!(rows, [[text("-2"), text("")], [text("1"), text("Zoë €😀")], [text("3"), None]]);
    assert_eq!(session.query("SELECT id FROM t WHERE id = 99").await.unwrap(), Vec::<Vec<Option<String>>>::new());
    let amount = value(session.as_mut(), "SELECT amount FROM t WHERE id = 1").await.unwrap().unwrap();
    assert_eq!(amount.trim_end_matches('0'), "12.5");
    assert!(world.sql("SELECT name FROM t WHERE id = 1").contains("Zoë €😀"), "the server has it as it was sent");
}

async fn rows_are_counted_as_found_not_as_changed<W: World>(world: &W) {
    let mut session = open(world).await;
    for (sql, rows) in [
        ("CREATE TABLE t (id int PRIMARY KEY, epoch int)", 0),
        ("INSERT INTO t VALUES (1, 5), (2, 5), (3, 6)", 3),
        ("UPDATE t SET epoch = 7 WHERE id = 3", 1),
        // The fence of a lock's row: nothing becomes different, and the row is there.
        ("UPDATE t SET epoch = epoch WHERE id = 1 AND epoch = 5", 1),
        ("UPDATE t SET epoch = epoch WHERE id = 1 AND epoch = 4", 0),
        ("DELETE FROM t WHERE id > 1", 2),
        ("DELETE FROM t WHERE id > 1", 0),
        ("CREATE INDEX i ON t (epoch)", 0),
        ("UPDATE t SET epoch = 8", 1),
        ("DROP TABLE t", 0),
    ] {
        assert_eq!(session.execute(sql).await.unwrap().rows, rows, "{sql}");
    }
}

async fn a_value_that_is_no_text_is_refused_and_the_session_goes_on<W: World>(world: &W) {
    let mut session = open(world).await;
    let sql = match W::DIALECT {
        // It has no such value: bytes are hexadecimal.
        Dialect::Postgres => {
            assert_eq!(value(session.as_mut(), "SELECT '\\xff00'::bytea").await.unwrap().unwrap(), "\\xff00");
            return;
        }
        _ => "SELECT X'FF00'",
    };
    assert_eq!(session.query(sql).await.unwrap_err().kind, DbErrorKind::Refused);
    assert_eq!(value(session.as_mut(), "SELECT hex(X'FF00')").await.unwrap().unwrap(), "FF00");
}

async fn a_transaction_is_of_the_session<W: World>(world: &W) {
    let mut session = open(world).await;
    session.execute("CREATE TABLE t (id int)").await.unwrap();
    for (end, rows) in [("ROLLBACK", "0"), ("COMMIT", "1")] {
        session.execute("BEGIN").await.unwrap();
        session.execute("INSERT INTO t VALUES (1)").await.unwrap();
        assert_eq!(value(session.as_mut(), "SELECT count(*) FROM t").await.unwrap().unwrap(), "1");
        session.execute(end).await.unwrap();
        assert_eq!(world.sql("SELECT count(*) FROM t"), rows, "{end}");
    }
}

async fn a_message_of_a_megabyte_goes_both_ways<W: World>(world: &W) {
    let mut session = open(world).await;
    session.execute("CREATE TABLE t (id int, body text)").await.unwrap();
    let kind = if W::DIALECT == Dialect::MariaDb { "MEDIUMTEXT" } else { "text" };
    session.execute(&format!("CREATE TABLE big (body {kind})")).await.unwrap();
    let body = "0123456789abcdef".repeat(1 << 16);
    session.execute(&format!("INSERT INTO big VALUES ('{body}')")).await.unwrap();
    assert_eq!(value(session.as_mut(), "SELECT body FROM big").await.unwrap().unwrap(), body);
}

on_all! {
    values_are_text_and_null_is_none,
    rows_are_counted_as_found_not_as_changed,
    a_value_that_is_no_text_is_refused_and_the_session_goes_on,
    a_transaction_is_of_the_session,
    a_message_of_a_megabyte_goes_both_ways,
}

#[tokio::test]
async fn several_statements_of_one_message_are_one_transaction_on_postgresql() {
    let world = OnPostgres::start();
    let mut session = open(&world).await;
    let failed = session.execute("CREATE TABLE a (i int); INSERT INTO a VALUES (1/0)").await.unwrap_err();
    assert_eq!((failed.kind, failed.code.as_str()), (DbErrorKind::Refused, "22012"));
    assert!(!world.exists("a"));
    assert_eq!(session.execute("CREATE TABLE a (i int); INSERT INTO a VALUES (1), (2)").await.unwrap().rows, 2);
    assert!(world.exists("a"));
}

#[tokio::test]
async fn several_statements_of_one_message_end_at_the_first_that_fails_on_sqlite() {
    let world = OnSqlite::start();
    let mut session = open(&world).await;
    let failed = session.execute("CREATE TABLE a (i int); INSERT INTO b VALUES (1); CREATE TABLE c (i int)").await;
    assert_eq!(failed.unwrap_err().kind, DbErrorKind::Missing);
    assert!(world.exists("a") && !world.exists("c"));
    assert_eq!(session.query("SELECT 1; SELECT 2").await.unwrap_err().kind, DbErrorKind::Refused);
}

#[tokio::test]
async fn a_procedure_is_created_whole_and_its_answer_is_its_first_rows_on_mariadb() {
    let world = OnMariaDb::start();
    let mut session = open(&world).await;
    session.execute("CREATE PROCEDURE p() BEGIN SELECT 'one'; SELECT 'two'; END").await.unwrap();
    assert_eq!(value(session.as_mut(), "CALL p()").await.unwrap().unwrap(), "one");
    session.execute("CALL p()").await.unwrap();
    assert_eq!(value(session.as_mut(), "SELECT 3").await.unwrap().unwrap(), "3");
}
