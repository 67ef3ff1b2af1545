//! `COPY ... FROM STDIN` with its rows, as dumps of PostgreSQL have it.

use std::process::Command;

use ha_migrate::{Finding, MigrateError};

use crate::engine::{Engine, Kind};
use crate::kit::{block_on, expand, migrator};

const BASE: (&str, &str) = ("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, t text);");

#[test]
fn the_rows_of_a_copy_are_loaded_in_the_transaction_of_their_script() {
    let engine = Engine::start(Kind::Postgres);
    let target = engine.fresh();
    let rows = "COPY a (id, t) FROM stdin;\n1\tone; not an end\n2\t\\N\n3\ttab\\tand 'quote'\n\\.\n";
    let csv = "COPY a FROM STDIN WITH (FORMAT csv);\n4,\"a, b\"\n\\.\n";
    // What comes after it fails: nothing of it stays.
    let broken = ("V2__rows.sql", format!("{rows}UPDATE a SET nothing = 1;\n"));
    let failed = block_on(migrator(&target, &[BASE, (broken.0, &broken.1)]).run(&expand())).unwrap_err();
    let MigrateError::Statement(of) = &failed else { panic!("{failed}") };
    assert_eq!((of.statement, of.line), (2, 6), "{failed}");
    assert_eq!(engine.sql(&target, "SELECT count(*) FROM a"), "0");
    let mended = format!("{rows}UPDATE a SET t = upper(t) WHERE id = 1;\n{csv}");
    let report = block_on(migrator(&target, &[BASE, ("V2__rows.sql", &mended)]).run(&expand())).unwrap();
    assert_eq!((report.applied, report.rows), (vec!["V2__rows.sql".to_owned()], 5));
    let there = engine.sql(&target, "SELECT id, coalesce(t, 'NULL') FROM a ORDER BY id");
    assert_eq!(there, "1|ONE; NOT AN END\n2|NULL\n3|tab\tand 'quote'\n4|a, b");
    // Rows are part of the script: an edit of one is an edit.
    let edited = mended.replace("4,\"a, b\"", "4,\"a, c\"");
    let refused = block_on(migrator(&target, &[BASE, ("V2__rows.sql", &edited)]).run(&expand())).unwrap_err();
    let MigrateError::Invalid(findings) = &refused else { panic!("{refused}") };
    assert!(matches!(findings.as_slice(), [Finding::Edited { line: 8, .. }]), "{refused}");
}

#[test]
fn a_row_that_does_not_fit_is_named_by_its_number_and_nothing_of_the_copy_stays() {
    let engine = Engine::start(Kind::Postgres);
    for header in ["", "-- ha:no-transaction\n"] {
        let target = engine.fresh();
        let text = format!(
            "{header}COPY a (id, t) FROM STDIN;\n1\tfine\nsecret-x\ttwo\n3\tthree\n\\.\nCREATE TABLE b (id int);\n"
        );
        let failed = block_on(migrator(&target, &[BASE, ("V2__rows.sql", &text)]).run(&expand())).unwrap_err();
        let said = failed.to_string();
        let line = if header.is_empty() { 1 } else { 2 };
        assert!(said.contains(&format!("V2__rows.sql, statement 1 (line {line})")), "{said}");
        assert!(said.contains("row 2 of the COPY"), "{said}");
        assert!(!said.contains("three") && !said.contains("two"), "{said}");
        assert_eq!(engine.sql(&target, "SELECT count(*) FROM a"), "0");
        let mended = text.replace("secret-x", "2");
        block_on(migrator(&target, &[BASE, ("V2__rows.sql", &mended)]).run(&expand())).unwrap();
        assert_eq!(engine.sql(&target, "SELECT count(*) FROM a"), "3");
    }
}

#[test]
fn a_dump_runs_as_a_script() {
    let engine = Engine::start(Kind::Postgres);
    let (from, to) = (engine.fresh(), engine.fresh());
    engine.sql(
        &from,
        "CREATE TABLE a (id serial PRIMARY KEY, t text NOT NULL, at timestamptz DEFAULT now()); \
         INSERT INTO a (t) SELECT 'row ' || g || E'\\t\\\\ \\n' FROM generate_series(1, 2000) g; \
         CREATE TABLE b (id int REFERENCES a, n numeric(9, 2)); INSERT INTO b SELECT g, g / 3.0 FROM generate_series(1, 100) g; \
         CREATE INDEX bn ON b (n); CREATE VIEW v AS SELECT a.id, n FROM a JOIN b USING (id); \
         CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;",
    );
    let (folder, port) = from.place.rsplit_once(':').unwrap();
    let dump = Command::new("pg_dump")
        .args(["-h", folder, "-p", port, "-U", "postgres", "--no-owner", &from.database])
        .output()
        .unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let dump = String::from_utf8(dump.stdout).unwrap();
    assert!(dump.contains("FROM stdin;"));
    // What is for psql alone.
    let script: String = dump
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect();
    let applied =
        block_on(migrator(&to, &[("V1__dump.sql", &script), ("V2__c.sql", "CREATE TABLE c (id int);")]).run(&expand()));
    assert_eq!(applied.unwrap().applied, ["V1__dump.sql", "V2__c.sql"]);
    engine.sql(&to, "DROP TABLE c");
    assert_eq!(engine.dump(&to), engine.dump(&from));
    assert_eq!(engine.sql(&to, "SELECT count(*), f() FROM v"), "100|1");
}
