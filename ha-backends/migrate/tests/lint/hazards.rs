use ha_migrate::Catalog;
use ha_migrate::Dialect::{MariaDb, Postgres, Sqlite};
use ha_migrate::script::Phase;

use super::{rules, script, word};

type Case = (&'static str, &'static str, &'static str);

fn table(dialect: ha_migrate::Dialect, cases: &[Case]) {
    let mut wrong = Vec::new();
    for (statement, expected, verdict) in cases {
        let report = script(dialect, Phase::Expand, &[statement], &Catalog::new());
        let is = (rules(&report), word(&report));
        if is != ((*expected).to_owned(), (*verdict).to_owned()) {
            wrong.push(format!("{statement}\n  expected {expected} {verdict}\n  is       {} {}", is.0, is.1));
        }
    }
    assert!(wrong.is_empty(), "{dialect}: {} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_measured_hazard_of_postgresql_fires_its_rule() {
    table(
        Postgres,
        &[
            ("ALTER TABLE t ADD COLUMN c int NOT NULL", "HA001", "Contract"),
            ("ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()", "HA002", "Backfill"),
            ("ALTER TABLE t ADD COLUMN c bigserial", "HA002", "Window"),
            ("ALTER TABLE t ADD COLUMN c int GENERATED ALWAYS AS (a + 1) STORED", "HA002", "Window"),
            ("ALTER TABLE t ALTER COLUMN c TYPE bigint", "HA003", "Contract"),
            ("ALTER TABLE t ALTER c SET DATA TYPE varchar(50)", "HA003", "Contract"),
            ("ALTER TABLE t RENAME COLUMN a TO b", "HA004", "Contract"),
            ("ALTER TABLE t RENAME TO u", "HA004", "Contract"),
            ("ALTER TABLE t DROP COLUMN c", "HA005 HA012", "Contract"),
            ("DROP TABLE t", "HA005 HA012", "Contract"),
            ("DROP VIEW v", "HA005", "Contract"),
            ("ALTER TABLE t DROP CONSTRAINT c", "HA005", "Contract"),
            ("CREATE INDEX i ON t (c)", "HA006", "ExpandOnline"),
            ("CREATE UNIQUE INDEX i ON t (c)", "HA006", "ExpandOnline"),
            ("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (c)", "HA007", "Expand"),
            ("CREATE INDEX CONCURRENTLY ON t (c)", "HA007", "Expand"),
            ("ALTER TABLE t ALTER COLUMN c SET NOT NULL", "HA008", "Contract"),
            ("ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u (id)", "HA009", "ExpandOnline"),
            ("ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0)", "HA009", "ExpandOnline"),
            ("ALTER TABLE t ADD CONSTRAINT q UNIQUE (a)", "HA009", "ExpandOnline"),
            ("ALTER TABLE t ADD PRIMARY KEY (a)", "HA009", "ExpandOnline"),
            ("ALTER TABLE t ADD CONSTRAINT e EXCLUDE USING gist (a WITH &&)", "HA009", "Window"),
            ("CREATE TABLE n (id int REFERENCES big (id))", "HA010", "Expand"),
            ("UPDATE t SET a = 1", "HA011", "Backfill"),
            ("UPDATE t SET a = 1 WHERE a IS NULL", "HA011", "Backfill"),
            ("DELETE FROM t", "HA011 HA012", "Contract"),
            ("DELETE FROM t WHERE at < now()", "HA011", "Backfill"),
            ("TRUNCATE t", "HA012", "Contract"),
            ("COMMIT", "HA013", "Expand"),
            ("BEGIN", "HA013", "Expand"),
            ("DO $$ BEGIN ALTER TABLE t ADD c int; END $$", "HA014", "Opaque"),
            ("CALL upgrade()", "HA014", "Opaque"),
            ("SELECT upgrade()", "HA014", "Opaque"),
            ("LOCK TABLE t", "HA019", "Window"),
            ("VACUUM FULL t", "HA019", "Window"),
            ("CLUSTER t USING i", "HA019", "Window"),
            ("REINDEX TABLE t", "HA019", "ExpandOnline"),
            ("REFRESH MATERIALIZED VIEW v", "HA019", "ExpandOnline"),
            ("ALTER TABLE t SET TABLESPACE s", "HA019", "Window"),
            ("ALTER TABLE t SET UNLOGGED", "HA019", "Window"),
            ("SET lock_timeout = 0", "HA021", "Expand"),
            ("SET statement_timeout TO 0", "HA021", "Expand"),
            ("ALTER SYSTEM SET work_mem = '1GB'", "HA021", "Expand"),
            ("ALTER TABLE t ADD COLUMN <column> int", "HA014 HA024", "Opaque"),
            ("INSERT INTO t VALUES ('${host}')", "HA024", "Expand"),
            ("CREATE TABLE n (id int AUTO_INCREMENT) ENGINE=InnoDB", "HA025", "Expand"),
            (
                "CREATE TABLE a123456789012345678901234567890123456789012345678901234567890123 (id int)",
                "HA029",
                "Expand",
            ),
            ("CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", "HA030", "Expand"),
        ],
    );
}

#[test]
fn every_measured_hazard_of_mariadb_fires_its_rule() {
    table(
        MariaDb,
        &[
            ("ALTER TABLE t ADD COLUMN c int NOT NULL", "HA001", "Contract"),
            ("ALTER TABLE t ADD COLUMN c char(36) DEFAULT (uuid())", "HA002", "Backfill"),
            ("ALTER TABLE t ADD COLUMN c int AUTO_INCREMENT UNIQUE", "HA002 HA009", "Window"),
            ("ALTER TABLE t MODIFY c bigint", "HA003", "Contract"),
            ("ALTER TABLE t CHANGE a a bigint", "HA003", "Contract"),
            ("ALTER TABLE t CHANGE a b int", "HA004", "Contract"),
            ("RENAME TABLE t TO u", "HA004", "Contract"),
            ("ALTER TABLE t DROP COLUMN c", "HA005 HA012 HA020", "Contract"),
            ("ALTER TABLE t DROP FOREIGN KEY f", "HA005", "Contract"),
            ("ALTER TABLE t DROP PRIMARY KEY", "HA005", "Contract"),
            ("ALTER TABLE t DROP INDEX i", "HA005", "Contract"),
            ("CREATE INDEX i ON t (c) ALGORITHM=COPY", "HA006", "ExpandOnline"),
            ("CREATE INDEX i ON t (c)", "HA020", "Expand"),
            ("ALTER TABLE t ADD INDEX i (c)", "HA020", "Expand"),
            ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (id)", "HA009", "Window"),
            ("ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0)", "HA009", "Window"),
            ("CREATE TABLE n (id int, FOREIGN KEY (id) REFERENCES big (id)) ENGINE=InnoDB", "HA010", "Expand"),
            ("UPDATE t SET a = 1", "HA011", "Backfill"),
            ("DELETE FROM t", "HA011 HA012", "Contract"),
            ("TRUNCATE TABLE t", "HA012", "Contract"),
            ("COMMIT", "HA013", "Expand"),
            ("START TRANSACTION", "HA013", "Expand"),
            ("PREPARE s FROM @q", "HA014", "Opaque"),
            ("EXECUTE s", "HA014", "Opaque"),
            ("CALL p()", "HA014", "Opaque"),
            ("DROP TABLE a, b", "HA005 HA012 HA015", "Contract"),
            ("CREATE TABLE n (id int) ENGINE=MyISAM", "HA016", "Expand"),
            ("ALTER TABLE t ENGINE=Aria", "HA016 HA019", "ExpandOnline"),
            ("LOCK TABLES t WRITE", "HA019", "Window"),
            ("OPTIMIZE TABLE t", "HA019", "Window"),
            ("ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4", "HA019", "Window"),
            ("ALTER TABLE t FORCE", "HA019", "ExpandOnline"),
            ("ALTER TABLE t ADD COLUMN c int", "HA020", "Expand"),
            ("SET FOREIGN_KEY_CHECKS=0", "HA021", "Expand"),
            ("SET GLOBAL max_connections = 10", "HA021", "Expand"),
            ("SET sql_mode = ''", "HA021", "Expand"),
            ("CREATE INDEX CONCURRENTLY i ON t (c)", "HA025", "Expand"),
            ("CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1", "HA030", "Expand"),
        ],
    );
}

#[test]
fn every_hazard_of_sqlite_fires_its_rule() {
    table(
        Sqlite,
        &[
            ("ALTER TABLE t ADD COLUMN c int NOT NULL", "HA001", "Contract"),
            ("ALTER TABLE t ADD COLUMN c text DEFAULT CURRENT_TIMESTAMP", "HA002", "Backfill"),
            ("ALTER TABLE t RENAME COLUMN a TO b", "HA004", "Contract"),
            ("ALTER TABLE t RENAME TO u", "HA004", "Contract"),
            ("ALTER TABLE t DROP COLUMN c", "HA005 HA012", "Contract"),
            ("DROP TABLE t", "HA005 HA012", "Contract"),
            ("CREATE INDEX i ON t (c)", "HA006", "Expand"),
            ("UPDATE t SET a = 1", "HA011", "Backfill"),
            ("DELETE FROM t", "HA011 HA012", "Contract"),
            ("BEGIN IMMEDIATE", "HA013", "Expand"),
            ("VACUUM", "HA019", "Window"),
            ("PRAGMA foreign_keys = OFF", "HA021", "Expand"),
            ("ALTER TABLE t ALTER COLUMN c TYPE bigint", "HA025", "Window"),
            ("ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0)", "HA025", "Window"),
        ],
    );
}

#[test]
fn harmless_statements_have_no_finding() {
    let both = [
        "CREATE TABLE n (id int PRIMARY KEY, name varchar(20) NOT NULL DEFAULT 'x', at timestamp DEFAULT CURRENT_TIMESTAMP)",
        "CREATE TABLE IF NOT EXISTS n (id int)",
        "INSERT INTO t (a, b) VALUES (1, 'a <b> c')",
        "INSERT INTO t (a) SELECT a FROM u WHERE b = 1",
        "UPDATE t SET a = 1 WHERE id = 7",
        "UPDATE t SET a = 1 WHERE id IN (1, 2, 3)",
        "UPDATE t SET a = 1 WHERE id BETWEEN 1 AND 1000",
        "UPDATE t SET a = 1 WHERE id > 10 AND id <= 20 AND a IS NULL",
        "DELETE FROM t WHERE id = 7",
        "SELECT count(*) FROM t",
        "CREATE VIEW v AS SELECT id FROM t",
    ];
    for dialect in [Postgres, MariaDb, Sqlite] {
        for statement in both {
            let report = script(dialect, Phase::Expand, &[statement], &Catalog::new());
            assert_eq!(report.findings, [], "{dialect}: {statement}");
        }
    }
    for (dialect, statement) in [
        (Postgres, "ALTER TABLE t ADD COLUMN c int"),
        (Postgres, "ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 0"),
        (Postgres, "ALTER TABLE t ADD COLUMN c timestamptz DEFAULT now()"),
        (Postgres, "ALTER TABLE t ADD COLUMN c jsonb DEFAULT '{}'::jsonb"),
        (Postgres, "ALTER TABLE t ALTER COLUMN c DROP NOT NULL"),
        (Postgres, "ALTER TABLE t ALTER COLUMN c SET DEFAULT 1"),
        (Postgres, "CREATE INDEX CONCURRENTLY i ON t (c)"),
        (Postgres, "DROP INDEX CONCURRENTLY IF EXISTS ha_nothing"),
        (Postgres, "REINDEX INDEX CONCURRENTLY i"),
        (Postgres, "REFRESH MATERIALIZED VIEW CONCURRENTLY v"),
        (Postgres, "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u (id) NOT VALID"),
        (Postgres, "ALTER TABLE t VALIDATE CONSTRAINT f"),
        (Postgres, "ALTER TABLE t ADD CONSTRAINT q UNIQUE USING INDEX i"),
        (Postgres, "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"),
        (Postgres, "CREATE SEQUENCE s"),
        (Postgres, "CREATE TYPE mood AS ENUM ('a')"),
        (Postgres, "ALTER TYPE mood ADD VALUE 'b'"),
        (Postgres, "COMMENT ON TABLE t IS 'x'"),
        (Postgres, "GRANT SELECT ON t TO r"),
        (Postgres, "SET LOCAL lock_timeout = '200ms'"),
        (Postgres, "SET lock_timeout = '200ms'"),
        (Postgres, "SET client_encoding = 'UTF8'"),
        (Postgres, "ANALYZE t"),
        (Postgres, "VACUUM t"),
        (Postgres, "COPY t FROM stdin"),
        (MariaDb, "ALTER TABLE t ADD COLUMN c int, ALGORITHM=INSTANT"),
        (MariaDb, "ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 0, ALGORITHM=INSTANT, LOCK=NONE"),
        (MariaDb, "CREATE INDEX i ON t (c) ALGORITHM=INPLACE LOCK=NONE"),
        (MariaDb, "ALTER TABLE t ADD UNIQUE KEY i (c), ALGORITHM=INPLACE, LOCK=NONE"),
        (MariaDb, "CREATE PROCEDURE p() BEGIN DELETE FROM t; END"),
        (MariaDb, "SET NAMES utf8mb4"),
        (MariaDb, "ALTER TABLE t COMMENT = 'x'"),
        (MariaDb, "ANALYZE TABLE t"),
        (
            MariaDb,
            "CREATE TABLE n (id int NOT NULL AUTO_INCREMENT, PRIMARY KEY (id)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
        ),
        (Sqlite, "ALTER TABLE t ADD COLUMN c int"),
        (Sqlite, "ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 0"),
        (Sqlite, "PRAGMA user_version = 3"),
    ] {
        let report = script(dialect, Phase::Expand, &[statement], &Catalog::new());
        let found: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| !statement.contains("ha_nothing") || finding.lock.is_some())
            .collect();
        assert!(found.is_empty(), "{dialect}: {statement}\n{found:#?}");
    }
}

#[test]
fn what_these_scripts_create_may_be_altered_and_dropped() {
    for dialect in [Postgres, MariaDb, Sqlite] {
        let statements = [
            "CREATE TABLE n (id int)",
            "ALTER TABLE n ADD COLUMN c int NOT NULL",
            "CREATE INDEX i ON n (c)",
            "UPDATE n SET c = 1",
            "ALTER TABLE n RENAME TO m",
            "DELETE FROM m",
            "DROP TABLE m",
        ];
        assert_eq!(script(dialect, Phase::Expand, &statements, &Catalog::new()).findings, [], "{dialect}");
    }
}
