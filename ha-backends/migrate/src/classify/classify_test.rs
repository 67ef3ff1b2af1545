use proptest::prelude::*;

use super::*;
use Dialect::{Db2, H2, MariaDb, Oracle, Postgres, SqlServer, Sqlite};

/// The objects and writes of a statement as `kind:schema.name@table`.
fn names(objects: &[ObjectName]) -> String {
    let one = |object: &ObjectName| {
        let kind = format!("{:?}", object.kind).to_lowercase();
        let schema = object.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
        let table = object.table.as_ref().map(|table| format!("@{table}")).unwrap_or_default();
        format!("{kind}:{schema}{}{table}", object.name)
    };
    objects.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// `Kind objects > writes`, `!` for what runs outside of transactions and `~` for a concurrent index.
fn told(dialect: Dialect, statement: &str) -> String {
    let class = classify(dialect, statement);
    let mut text = format!("{:?}", class.kind).to_lowercase();
    if class.outside_transaction {
        text.push('!');
    }
    if class.concurrent_index {
        text.push('~');
    }
    for (mark, list) in [("", &class.objects), ("> ", &class.writes)] {
        if !list.is_empty() {
            text.push(' ');
            text.push_str(mark);
            text.push_str(&names(list));
        }
    }
    text
}

fn table(cases: &[(Dialect, &str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(dialect, statement, expected)| told(*dialect, statement) != *expected)
        .map(|(dialect, statement, expected)| {
            format!("{dialect}: {statement}\n  expected {expected}\n  is       {}", told(*dialect, statement))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn objects_are_those_whose_definition_changes() {
    table(&[
        (Postgres, "CREATE TABLE T (id int PRIMARY KEY)", "ddl table:t"),
        (Postgres, "CREATE TABLE IF NOT EXISTS s.\"T\" (id int REFERENCES p(id))", "ddl table:s.T"),
        (Postgres, "CREATE TABLE t AS SELECT * FROM u", "ddl table:t > table:t"),
        (Postgres, "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (2)", "ddl table:p1"),
        (MariaDb, "CREATE TABLE `T` (id int) ENGINE=InnoDB", "ddl table:T"),
        (MariaDb, "CREATE TABLE t LIKE u", "ddl table:t"),
        (Oracle, "CREATE TABLE t (id NUMBER)", "ddl table:T"),
        (SqlServer, "CREATE TABLE [dbo].[T] (id int)", "ddl table:dbo.T"),
        (Postgres, "ALTER TABLE ONLY t ADD COLUMN c int", "ddl table:t"),
        (Postgres, "ALTER TABLE t RENAME TO U", "ddl table:t table:u"),
        (MariaDb, "ALTER TABLE db.t RENAME u", "ddl table:db.t table:db.u"),
        (MariaDb, "ALTER TABLE t NOWAIT ADD COLUMN c int, ALGORITHM=INSTANT", "ddl table:t"),
        (MariaDb, "RENAME TABLE a TO b, c TO d", "ddl table:a table:b table:c table:d"),
        (MariaDb, "RENAME TABLE a NOWAIT TO b", "ddl table:a table:b"),
        (Db2, "RENAME TABLE a TO b", "ddl table:A table:B"),
        (MariaDb, "DROP TABLE IF EXISTS a, b", "ddl table:a table:b"),
        (Postgres, "DROP TABLE a CASCADE", "ddl table:a"),
        (Postgres, "DROP INDEX i", "ddl index:i"),
        (MariaDb, "DROP INDEX i ON t", "ddl index:i@t"),
        (SqlServer, "DROP INDEX t.i", "ddl index:i@t"),
        (Postgres, "DROP INDEX CONCURRENTLY IF EXISTS i", "ddl! index:i"),
        (Postgres, "CREATE UNIQUE INDEX i ON s.t (a)", "ddl index:s.i@t"),
        (Postgres, "CREATE INDEX ON t (a)", "ddl table:t"),
        (Postgres, "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)", "ddl!~ index:i@t"),
        (Postgres, "ALTER INDEX i RENAME TO j", "ddl index:i index:j"),
        (Postgres, "DROP TRIGGER r ON t", "ddl trigger:r@t"),
        (Postgres, "DROP FUNCTION f(int, text), g()", "ddl routine:f routine:g"),
        (Postgres, "CREATE VIEW v AS SELECT 1", "ddl view:v"),
        (
            MariaDb,
            "CREATE OR REPLACE ALGORITHM=MERGE DEFINER=`a`@`b` SQL SECURITY INVOKER VIEW v AS SELECT 1",
            "ddl view:v",
        ),
        (Postgres, "CREATE SEQUENCE s START 1", "ddl sequence:s"),
        (Postgres, "ALTER TYPE mood ADD VALUE 'x'", "ddl type:mood"),
        (Postgres, "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY", "ddl! table:p table:p1"),
        (MariaDb, "ALTER TABLE p EXCHANGE PARTITION p1 WITH TABLE t", "ddl table:p table:t"),
        (Sqlite, "ALTER TABLE t RENAME COLUMN a TO b", "ddl table:t"),
        (H2, "ALTER TABLE t ALTER COLUMN a RENAME TO b", "ddl table:T"),
        (Oracle, "ALTER TABLE t MODIFY (a NUMBER(10), b VARCHAR2(20))", "ddl table:T"),
        (SqlServer, "ALTER TABLE t ADD a int, b int", "ddl table:t"),
        (Db2, "ALTER TABLE t ADD COLUMN a INT ADD COLUMN b INT", "ddl table:T"),
    ]);
}

#[test]
fn stored_programs_are_defined_and_not_run() {
    table(&[
        (MariaDb, "CREATE PROCEDURE p() BEGIN INSERT INTO t VALUES (1); UPDATE u SET a = 1; END", "ddl routine:p"),
        (MariaDb, "CREATE DEFINER=`r`@`%` TRIGGER r AFTER INSERT ON t FOR EACH ROW SET @a = 1", "ddl trigger:r@t"),
        (Postgres, "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$", "ddl routine:f"),
        (Postgres, "CREATE TRIGGER r BEFORE UPDATE OF a ON s.t EXECUTE FUNCTION f()", "ddl trigger:s.r@t"),
        (Oracle, "CREATE OR REPLACE TRIGGER r BEFORE INSERT ON t BEGIN :new.id := 1; END;", "ddl trigger:R@T"),
    ]);
}

#[test]
fn what_text_does_not_tell_is_opaque() {
    for (dialect, statement) in [
        (Postgres, "DO $$ BEGIN DROP TABLE t; END $$"),
        (Postgres, "CALL p()"),
        (Postgres, "SELECT upgrade_schema()"),
        (Postgres, "EXECUTE s"),
        (Postgres, "EXPLAIN ANALYZE DELETE FROM t"),
        (Postgres, "COPY t FROM PROGRAM 'x'"),
        (Postgres, "CREATE TABLE a (b int); DROP TABLE c"),
        (Postgres, "INSERT INTO t SELECT secret_function()"),
        (Postgres, "SELECT 'unclosed"),
        (MariaDb, "PREPARE s FROM @q"),
        (MariaDb, "EXECUTE s"),
        (MariaDb, "SELECT 1 INTO @a"),
        (MariaDb, "BEGIN NOT ATOMIC SET @a = 1; END"),
        (Oracle, "BEGIN EXECUTE IMMEDIATE 'DROP TABLE t'; END;"),
        (Oracle, "DECLARE x NUMBER; BEGIN NULL; END;"),
        (SqlServer, "IF NOT EXISTS (SELECT 1) CREATE TABLE t (id int)"),
        (SqlServer, "EXEC sp_rename 't', 'u'"),
        (Db2, "CALL SYSPROC.ADMIN_CMD('REORG TABLE T')"),
        (Sqlite, ""),
        (Sqlite, ";;"),
        (Sqlite, "gibberish"),
    ] {
        assert_eq!(classify(dialect, statement), Class::of(Kind::Opaque), "{dialect}: {statement}");
    }
}

#[test]
fn rows_are_written_where_the_statement_says() {
    table(&[
        (Postgres, "INSERT INTO T VALUES (1), (2)", "dml > table:t"),
        (Postgres, "INSERT INTO t (a) SELECT now() FROM u", "dml > table:t"),
        (MariaDb, "INSERT INTO t SELECT seq, repeat('x', 10), uuid() FROM s", "dml > table:t"),
        (MariaDb, "REPLACE INTO t VALUES (1)", "dml > table:t"),
        (Sqlite, "INSERT OR IGNORE INTO t VALUES (1)", "dml > table:t"),
        (Oracle, "INSERT ALL INTO a VALUES (1) INTO b VALUES (2) SELECT 1 FROM dual", "dml > table:A table:B"),
        (Postgres, "UPDATE t SET a = 1 WHERE id = 2", "dml > table:t"),
        (Postgres, "UPDATE t AS x SET a = u.b FROM u WHERE u.id = x.id", "dml > table:t"),
        (SqlServer, "UPDATE x SET a = 1 FROM t x JOIN u ON u.id = x.id", "dml > table:t"),
        (MariaDb, "UPDATE t a JOIN u b ON a.id = b.id SET b.x = 1", "dml > table:u"),
        (MariaDb, "UPDATE t a JOIN u b ON a.id = b.id SET x = 1", "dml > table:t table:u"),
        (MariaDb, "DELETE a FROM t a JOIN u b ON a.id = b.id", "dml > table:t"),
        (Postgres, "DELETE FROM s.t USING u WHERE t.id = u.id", "dml > table:s.t"),
        (Postgres, "WITH x AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM x", "dml > table:t table:u"),
        (Postgres, "WITH x AS (SELECT 1) SELECT * FROM x", "query"),
        (Oracle, "MERGE INTO t USING u ON (t.id = u.id) WHEN MATCHED THEN UPDATE SET t.a = u.a", "dml > table:T"),
        (Postgres, "COPY t (a, b) FROM stdin", "dml > table:t"),
        (Postgres, "COPY t TO stdout", "query"),
        (Postgres, "SELECT count(*), max(a) FROM t WHERE b IN (1, 2)", "query"),
        (Postgres, "SELECT * INTO n FROM t", "ddl table:n > table:n"),
        (Postgres, "SELECT setval('s', max(id)) FROM t", "dml"),
        (Postgres, "TRUNCATE a, b CASCADE", "ddl > table:a table:b"),
        (MariaDb, "TRUNCATE TABLE a", "ddl > table:a"),
        (Postgres, "REFRESH MATERIALIZED VIEW v", "ddl > view:v"),
    ]);
}

#[test]
fn transactions_settings_and_maintenance_have_their_kind() {
    table(&[
        (Postgres, "BEGIN", "transaction"),
        (Sqlite, "BEGIN IMMEDIATE", "transaction"),
        (MariaDb, "START TRANSACTION", "transaction"),
        (Postgres, "COMMIT", "transaction"),
        (Postgres, "COMMIT PREPARED 'a'", "transaction!"),
        (Postgres, "SAVEPOINT s", "transaction"),
        (MariaDb, "LOCK TABLES t WRITE, u READ", "transaction"),
        (Postgres, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE", "transaction"),
        (Postgres, "SET lock_timeout = 0", "setting"),
        (MariaDb, "SET FOREIGN_KEY_CHECKS=0", "setting"),
        (MariaDb, "SET STATEMENT lock_wait_timeout=1 FOR ALTER TABLE t ADD c int", "ddl table:t"),
        (Sqlite, "PRAGMA foreign_keys=OFF", "setting"),
        (MariaDb, "USE db", "setting"),
        (Postgres, "VACUUM FULL t", "ddl!"),
        (Postgres, "VACUUM", "ddl!"),
        (Postgres, "ANALYZE t", "ddl"),
        (Postgres, "CLUSTER t USING i", "ddl"),
        (Postgres, "CLUSTER", "ddl!"),
        (Postgres, "REINDEX INDEX CONCURRENTLY i", "ddl!~ index:i"),
        (Postgres, "REINDEX TABLE t", "ddl"),
        (Postgres, "REINDEX DATABASE d", "ddl!"),
        (Postgres, "ALTER SYSTEM SET work_mem = '1MB'", "ddl! other:work_mem"),
        (Postgres, "CREATE DATABASE d", "ddl! schema:d"),
        (MariaDb, "CREATE DATABASE d", "ddl schema:d"),
        (MariaDb, "OPTIMIZE TABLE t", "ddl"),
        (Postgres, "GRANT SELECT ON t TO r", "ddl other:GRANT SELECT ON t TO r"),
        (MariaDb, "SHOW TABLES", "query"),
        (Postgres, "EXPLAIN SELECT 1", "query"),
    ]);
}

#[test]
fn comments_and_a_final_semicolon_change_nothing() {
    let plain = classify(Postgres, "DROP TABLE t");
    assert_eq!(classify(Postgres, "/* a ; */ DROP -- b\n TABLE t ;"), plain);
    assert_eq!(classify(MariaDb, "DROP # c ; d\nTABLE t;"), plain);
}

#[test]
fn executable_comments_are_read() {
    assert_eq!(told(MariaDb, "/*!50000 DROP TABLE t */"), "ddl table:t");
}

#[test]
fn what_nests_too_deep_is_opaque_and_takes_no_stack() {
    let nested = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    let chained = format!("SELECT 1{}", " + 1".repeat(100_000));
    let words = format!("SELECT {} '1'", "INTERVAL ".repeat(100_000));
    let signs = format!("SELECT {} 1", "- ".repeat(100_000));
    let unions = format!("SELECT 1{}", " UNION SELECT 1".repeat(100_000));
    let nots = format!("DELETE FROM t WHERE {} a", "NOT ".repeat(40));
    let negations = format!("UPDATE t SET a = {} 1", "- ".repeat(200));
    let cases = format!("SELECT {} 1", "CASE WHEN ".repeat(20));
    let intervals = format!("SELECT {} '1'", "INTERVAL ".repeat(46));
    let types = format!("SELECT CAST(a AS int{})", "[]".repeat(250));
    for text in [nested, chained, words, signs, unions, nots, negations, cases, intervals, types] {
        assert_eq!(classify(Postgres, &text).kind, Kind::Opaque);
    }
    // what is long but flat is read
    let rows = format!("INSERT INTO t VALUES (1){}", ", (1)".repeat(100_000));
    assert_eq!(told(Postgres, &rows), "dml > table:t");
    // what is as deep as is allowed
    let deep = format!("SELECT {}1{}", "(".repeat(15), ")".repeat(15));
    assert_eq!(told(Postgres, &deep), "query");
}

const ALL: [Dialect; 8] = [Db2, H2, MariaDb, Dialect::MySql, Oracle, Postgres, Sqlite, SqlServer];

proptest! {
    #[test]
    fn any_text_is_classified_without_a_panic(text in ".{0,200}") {
        for dialect in ALL {
            let _ = classify(dialect, &text);
        }
    }

    #[test]
    fn any_row_of_words_is_classified_without_a_panic(words in proptest::collection::vec(
        proptest::sample::select(vec![
            "ALTER", "TABLE", "t", "ADD", "COLUMN", "c", "int", "(", ")", ",", ".", "=", "DROP", "INDEX", "ON", "CREATE", "UNIQUE",
            "CONCURRENTLY", "IF", "NOT", "EXISTS", "NULL", "DEFAULT", "1", "'x'", "UPDATE", "SET", "WHERE", "DELETE", "FROM", "RENAME",
            "TO", "MODIFY", "CHANGE", "CONSTRAINT", "FOREIGN", "KEY", "REFERENCES", "CHECK", "LOCK", "WITH", "AS", "SELECT", "@", "`q`",
            "\"q\"", "[q]", ";", "PARTITION", "GENERATED", "::", "$$", "VACUUM", "FULL", "INTERVAL", "CASE", "WHEN", "-", "*",
        ]), 0..40,
    )) {
        for dialect in ALL {
            let class = classify(dialect, &words.join(" "));
            prop_assert!(class.kind != Kind::Opaque || class.objects.is_empty());
        }
    }
}

#[test]
fn a_comment_without_text_may_end_the_last_line() {
    for dialect in [MariaDb, Dialect::MySql, Postgres, Sqlite] {
        for text in ["UPDATE t SET a = 1 WHERE id = 2 --", "SET a = 1 --", "DROP TABLE t\n--"] {
            assert_eq!(classify(dialect, text), classify(dialect, &format!("{text}\n")), "{dialect}: {text}");
        }
        assert_eq!(classify(dialect, "UPDATE t SET a = 1 WHERE id = 2 --").kind, Kind::Dml, "{dialect}");
    }
}
