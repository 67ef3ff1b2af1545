//! What a run finds: done, half-done, edited, missing, and what only a person can tell.

use ha_migrate::script::Phase;
use ha_migrate::{Choice, DirtyReason, Finding, MigrateError, Resolution, Run, ScriptState, Undo};

use crate::engine::{Engine, Kind};
use crate::kit::{block_on, expand, migrator, policy, scripts};

#[test]
fn twice_equals_once_and_the_status_says_what_is_done() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let files = [
            ("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, n int);\nINSERT INTO a VALUES (1, 1);"),
            ("V2__b.sql", "UPDATE a SET n = n + 1;"),
            ("R__v.sql", "DROP VIEW IF EXISTS v;\nCREATE VIEW v AS SELECT n FROM a;"),
        ];
        let one = migrator(&target, &files);
        block_on(async {
            let before = one.status().await.unwrap();
            assert!(before.scripts.iter().all(|script| script.state == ScriptState::Pending), "{before:?}");
            assert_eq!(one.run(&expand()).await.unwrap().applied, ["V1__a.sql", "V2__b.sql", "R__v.sql"]);
            assert_eq!(one.run(&expand()).await.unwrap().applied, Vec::<String>::new());
            assert!(one.status().await.unwrap().is_complete(Phase::Expand));
            // A repeatable one runs again when it changed, and only then.
            let mut changed = files;
            changed[2].1 = "DROP VIEW IF EXISTS v;\nCREATE VIEW v AS SELECT n, id FROM a;";
            let two = migrator(&target, &changed);
            assert_eq!(two.status().await.unwrap().scripts[2].state, ScriptState::Outdated);
            assert_eq!(two.run(&expand()).await.unwrap().applied, ["R__v.sql"]);
            assert_eq!(two.run(&expand()).await.unwrap().applied, Vec::<String>::new());
        });
        assert_eq!(engine.sql(&target, "SELECT n FROM a"), "2", "{kind:?}");
    }
}

#[test]
fn a_script_that_failed_in_the_middle_is_mended_from_there() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let first = "CREATE TABLE a (id int PRIMARY KEY, n int);\nINSERT INTO a VALUES (1, 1);\n";
        let broken = format!("{first}UPDATE a SET nothing = 1;\n");
        let failed = block_on(migrator(&target, &[("V1__a.sql", &broken)]).run(&expand())).unwrap_err();
        let MigrateError::Statement(of) = &failed else { panic!("{failed}") };
        assert_eq!((of.statement, of.line, of.done), (3, 3, if kind == Kind::MariaDb { 2 } else { 0 }), "{failed}");
        if kind == Kind::MariaDb {
            // The done part has to stay as it is.
            let edited = broken.replace("VALUES (1, 1)", "VALUES (1, 2)");
            let refused = block_on(migrator(&target, &[("V1__a.sql", &edited)]).run(&expand())).unwrap_err();
            let MigrateError::Invalid(findings) = &refused else { panic!("{refused}") };
            assert_eq!(*findings, [Finding::PrefixEdited { script: "V1__a.sql".into(), line: 2 }]);
        }
        let mended = format!("{first}UPDATE a SET n = n + 1;\n");
        block_on(migrator(&target, &[("V1__a.sql", &mended)]).run(&expand())).unwrap();
        assert_eq!(engine.sql(&target, "SELECT count(*), max(n) FROM a").replace(['|', '\t'], " "), "1 2", "{kind:?}");
    }
}

#[test]
fn line_ends_are_no_edit_and_an_edit_is_named_by_its_line() {
    let engine = Engine::start(Kind::Sqlite);
    let target = engine.fresh();
    let text = "CREATE TABLE a (id int);\nINSERT INTO a VALUES (1);\nINSERT INTO a\n  VALUES (2);\n";
    let status = |text: &str| {
        let migrator = migrator(&target, &[("V1__a.sql", text)]);
        let status = block_on(migrator.status()).unwrap();
        (status.findings, block_on(migrator.run(&expand())))
    };
    assert!(status(text).1.is_ok());
    let (findings, run) = status(&text.replace('\n', "\r\n"));
    assert!(findings.is_empty() && run.is_ok(), "{findings:?}");
    let (findings, run) = status(&format!("{text}\n\n"));
    assert_eq!(findings, [Finding::LineEnds { script: "V1__a.sql".into() }]);
    assert!(run.is_ok());
    let (_, run) = status(&text.replace("(2)", "(3)"));
    let Err(MigrateError::Invalid(findings)) = run else { panic!("{run:?}") };
    let [Finding::Edited { line: 4, what, .. }] = findings.as_slice() else { panic!("{findings:?}") };
    assert!(what.contains("VALUES (3)"), "{what}");
    // A person can accept it.
    let edited = text.replace("(2)", "(3)");
    let accepts = migrator(&target, &[("V1__a.sql", &edited)]);
    block_on(accepts.accept_checksum("1", Phase::Expand, "m.keller", "a comment")).unwrap();
    assert!(block_on(accepts.run(&expand())).is_ok());
}

#[test]
fn what_comes_too_late_is_refused_and_what_is_gone_is_told() {
    let engine = Engine::start(Kind::Sqlite);
    let target = engine.fresh();
    let a = ("V2__a.sql", "CREATE TABLE a (id int);");
    let b = ("V3__b.sql", "CREATE TABLE b (id int);");
    block_on(migrator(&target, &[a, b]).run(&expand())).unwrap();
    let late = ("V1__late.sql", "CREATE TABLE late (id int);");
    let refused = block_on(migrator(&target, &[late, a, b]).run(&expand())).unwrap_err();
    let MigrateError::Invalid(findings) = &refused else { panic!("{refused}") };
    assert!(matches!(findings.as_slice(), [Finding::OutOfOrder { .. }]), "{refused}");
    let missing = block_on(migrator(&target, &[b]).status()).unwrap().findings;
    assert!(matches!(missing.as_slice(), [Finding::Missing { .. }]), "{missing:?}");
    let future = block_on(migrator(&target, &[a]).status()).unwrap().findings;
    assert!(matches!(future.as_slice(), [Finding::Future { .. }]), "{future:?}");
}

/// A journal row of a statement that was begun, as a dead migrator leaves it.
fn leave_begun(engine: &Engine, target: &crate::engine::Target, step: usize, statement: &str, pre: &str) {
    let sha256 = {
        let mut digest = String::new();
        for byte in <sha2::Sha256 as sha2::Digest>::digest(statement.as_bytes()) {
            digest += &format!("{byte:02x}");
        }
        digest
    };
    engine.sql(
        target,
        &format!(
            "INSERT INTO ha_migration_step (version, phase, stmt_no, sha256, line, state, pre_fp, session_number, session_began, \
             epoch) VALUES ('2', 'expand', {step}, '{sha256}', {}, 'begun', '{pre}', 999999, 'long ago', 1)",
            step + 1
        ),
    );
}

#[test]
fn what_cannot_be_told_is_held_for_a_person_and_never_guessed() {
    let engine = Engine::start(Kind::MariaDb);
    let base = (
        "V1__a.sql",
        "CREATE TABLE a (id int PRIMARY KEY);\nCREATE TABLE b (id int);\nCREATE TABLE c (id int) ENGINE=Aria;",
    );
    for (statement, half, evidence) in [
        ("DROP TABLE a, b", "DROP TABLE a", "part of what it names has changed"),
        ("CALL nothing()", "SELECT 1", "cannot be told from its text"),
        ("INSERT INTO c VALUES (1), (2), (3)", "INSERT INTO c VALUES (1), (2)", "does not roll back"),
        ("TRUNCATE TABLE b", "SELECT 1", "no definition shows"),
    ] {
        let target = engine.fresh();
        let text = format!("{statement};\n");
        let half_done = migrator(&target, &[base, ("V2__half.sql", &text)]);
        block_on(migrator(&target, &[base]).run(&expand())).unwrap();
        let pre = if statement.starts_with("DROP") { "d=1 d=2" } else { "" };
        let pre = if pre.is_empty() { String::new() } else { prints_of(&engine, &target) };
        engine.sql(&target, half);
        leave_begun(&engine, &target, 0, statement, &pre);
        for _ in 0..2 {
            let held = block_on(half_done.run(&expand())).unwrap_err();
            let MigrateError::Dirty(dirty) = &held else { panic!("{statement}: {held}") };
            assert_eq!((dirty.reason, dirty.statement), (DirtyReason::Ambiguous, 1), "{held}");
            assert!(dirty.evidence.iter().any(|line| line.contains(evidence)), "{held}");
        }
        let decided = Resolution::new("2", Phase::Expand, 1, Choice::MarkApplied, "m.keller", "looked at it");
        block_on(half_done.resolve(decided)).unwrap();
        let report = block_on(half_done.run(&expand())).unwrap();
        assert_eq!(report.applied, ["V2__half.sql"], "{statement}");
        let note = engine.sql(&target, "SELECT note FROM ha_migration_step WHERE version = '2'");
        assert_eq!(note, "mark-applied by m.keller: looked at it", "{statement}");
    }
}

/// The fingerprints of tables a and b, as the journal of a script that drops both would hold them.
fn prints_of(engine: &Engine, target: &crate::engine::Target) -> String {
    let fails = "DROP TABLE a, b, missing;";
    // Takes prints, fails, and leaves the tables: their prints stay in the journal.
    let _ = fails;
    engine.sql(target, "SET FOREIGN_KEY_CHECKS = 1; CREATE TABLE child (id int, FOREIGN KEY (id) REFERENCES a (id))");
    let files = [
        (
            "V1__a.sql",
            "CREATE TABLE a (id int PRIMARY KEY);\nCREATE TABLE b (id int);\nCREATE TABLE c (id int) ENGINE=Aria;",
        ),
        ("V2__half.sql", "DROP TABLE a, b;\n"),
    ];
    let refused = block_on(migrator(target, &files).run(&expand()));
    let prints = engine.sql(target, "SELECT pre_fp FROM ha_migration_step WHERE version = '2'");
    engine.sql(
        target,
        "DROP TABLE child; DELETE FROM ha_migration_step WHERE version = '2'; CREATE TABLE IF NOT EXISTS b (id int)",
    );
    assert!(refused.is_err() && prints.split(' ').count() == 2, "{refused:?}: {prints}");
    prints
}

#[test]
fn a_decision_to_redo_runs_it_and_one_to_abort_begins_the_script_again() {
    let engine = Engine::start(Kind::MariaDb);
    let base = ("V1__a.sql", "CREATE TABLE c (id int) ENGINE=Aria;");
    let statement = "INSERT INTO c VALUES (1)";
    for (choice, rows) in [(Choice::Redo, "1"), (Choice::Abort, "1")] {
        let target = engine.fresh();
        let half_done = migrator(&target, &[base, ("V2__half.sql", &format!("{statement};"))]);
        block_on(migrator(&target, &[base]).run(&expand())).unwrap();
        leave_begun(&engine, &target, 0, statement, "");
        block_on(half_done.resolve(Resolution::new("2", Phase::Expand, 1, choice, "me", "seen"))).unwrap();
        block_on(half_done.run(&expand())).unwrap();
        assert_eq!(engine.sql(&target, "SELECT count(*) FROM c"), rows, "{choice:?}");
        let kept = engine.sql(
            &target,
            "SELECT (SELECT count(*) FROM ha_migration_step WHERE note LIKE '%by me: seen') + \
             (SELECT count(*) FROM ha_migration_history WHERE note LIKE '%by me: seen')",
        );
        assert_eq!(kept, "1", "{choice:?}: who and why are kept");
    }
}

#[test]
fn a_broken_concurrent_index_is_dropped_and_built_and_never_hidden() {
    let engine = Engine::start(Kind::Postgres);
    let target = engine.fresh();
    let base = ("V1__a.sql", "CREATE TABLE a (id int, n int);\nINSERT INTO a VALUES (1, 1), (2, 1);");
    let index = ("V2__i.sql", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON a (n);");
    let both = migrator(&target, &[base, index]);
    let valid = "SELECT count(*) FILTER (WHERE indisvalid), count(*) FROM pg_index WHERE indrelid = 'a'::regclass";
    let failed = block_on(both.run(&expand())).unwrap_err();
    assert!(matches!(&failed, MigrateError::Statement(of) if of.script == "V2__i.sql"), "{failed}");
    assert_eq!(engine.sql(&target, valid), "0|0", "what the failure left is dropped");
    // One that another tool left invalid.
    assert!(engine.try_sql(&target, "CREATE UNIQUE INDEX CONCURRENTLY i ON a (n)").is_err());
    assert_eq!(engine.sql(&target, valid), "0|1");
    engine.sql(&target, "UPDATE a SET n = id");
    let report = block_on(both.run(&expand())).unwrap();
    assert_eq!((report.indexes_dropped, engine.sql(&target, valid).as_str()), (1, "1|1"));
}

#[test]
fn flyways_history_is_taken_over_and_mirrored() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let boolean = if kind == Kind::Postgres { "boolean" } else { "smallint" };
        let yes = if kind == Kind::Postgres { "true" } else { "1" };
        engine.sql(
            &target,
            &format!(
                "CREATE TABLE flyway_schema_history (installed_rank INT NOT NULL PRIMARY KEY, version VARCHAR(50), description \
                 VARCHAR(200) NOT NULL, type VARCHAR(20) NOT NULL, script VARCHAR(1000) NOT NULL, checksum INT, installed_by \
                 VARCHAR(100) NOT NULL, installed_on TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, execution_time INT NOT NULL, \
                 success {boolean} NOT NULL)"
            ),
        );
        engine.sql(
            &target,
            &format!(
                "INSERT INTO flyway_schema_history (installed_rank, version, description, type, script, checksum, installed_by, \
                 execution_time, success) VALUES (1, '1', 'a', 'SQL', 'V1__a.sql', NULL, 'me', 1, {yes})"
            ),
        );
        engine.sql(&target, "CREATE TABLE a (id int)");
        let files = [("V1__a.sql", "CREATE TABLE a (id int);"), ("V2__b.sql", "CREATE TABLE b (id int);")];
        let builder = ha_migrate::Migrator::builder(target.connect(), scripts(&files));
        let one = builder.with_policy(policy()).with_mirror_flyway(true).build().unwrap();
        assert_eq!(block_on(one.run(&expand())).unwrap().applied, ["V2__b.sql"], "{kind:?}");
        let rows = engine.sql(&target, "SELECT installed_rank, version, script FROM flyway_schema_history ORDER BY 1");
        let last = rows.lines().last().unwrap().replace(['|', '\t'], " ");
        assert_eq!(last, "2 2 V2__b.sql", "{kind:?}");
    }
}

#[test]
fn what_was_expanded_is_taken_back_in_reverse() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let files = [
            ("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, n int);"),
            ("V2__b.sql", "CREATE TABLE b (id int PRIMARY KEY, n int);\nCREATE INDEX bi ON b (n);"),
            ("V3__c.sql", "ALTER TABLE a ADD COLUMN c int;\nCREATE INDEX ai ON a (c);"),
        ];
        let base = migrator(&target, &files[..1]);
        block_on(base.run(&expand())).unwrap();
        let before = engine.dump(&target);
        let all = migrator(&target, &files);
        block_on(all.run(&expand())).unwrap();
        engine.sql(&target, "INSERT INTO b VALUES (1, 1)");
        let refused = block_on(all.undo(&Undo::down_to("1"))).unwrap_err();
        assert!(matches!(&refused, MigrateError::Script { script, .. } if script == "V2__b.sql"), "{refused}");
        engine.sql(&target, "DELETE FROM b");
        block_on(all.undo(&Undo::down_to("1"))).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(engine.dump(&target), before, "{kind:?}");
        assert_eq!(block_on(all.undo(&Undo::down_to("1"))).unwrap().applied, Vec::<String>::new());
        // And forward again.
        assert_eq!(block_on(all.run(&expand())).unwrap().applied.len(), 2, "{kind:?}");
    }
}

#[test]
fn a_backfill_that_leaves_rows_says_how_many() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let files = [
            (
                "V1__a.sql",
                "CREATE TABLE a (id int PRIMARY KEY, n int, m int);\nINSERT INTO a VALUES (1, 1, NULL), (2, 2, NULL), (3, 3, NULL);",
            ),
            (
                "V2__fill.sql",
                "-- ha:phase backfill\n-- ha:backfill table=a key=id batch=2\n\
                 UPDATE a SET m = n WHERE id BETWEEN :from AND :to AND n < 3;\n-- ha:verify\n\
                 SELECT count(*) FROM a WHERE m IS NULL;",
            ),
        ];
        let one = migrator(&target, &files);
        let failed = block_on(one.run(&Run::to(Phase::Backfill))).unwrap_err();
        assert_eq!(failed, MigrateError::Mismatch { script: "V2__fill.sql".into(), left: 1 }, "{kind:?}");
        assert_eq!(engine.sql(&target, "SELECT count(*) FROM a WHERE m = n"), "2");
        engine.sql(&target, "UPDATE a SET n = 0 WHERE id = 3");
        let report = block_on(one.run(&Run::to(Phase::Backfill))).unwrap();
        assert_eq!(report.applied, ["V2__fill.sql"], "{kind:?}");
    }
}

#[test]
fn settings_of_the_done_part_are_made_again_and_nothing_else_is() {
    let engine = Engine::start(Kind::MariaDb);
    let target = engine.fresh();
    let first =
        "SET @step = 5;\nCREATE TABLE a (id int PRIMARY KEY, n int);\nINSERT INTO a VALUES (1, 0);\nSELECT n FROM a;\n";
    let broken = format!("{first}UPDATE a SET nothing = 1;\n");
    let failed = block_on(migrator(&target, &[("V1__a.sql", &broken)]).run(&expand())).unwrap_err();
    assert!(matches!(&failed, MigrateError::Statement(of) if (of.statement, of.done) == (5, 4)), "{failed}");
    let mended = format!("{first}UPDATE a SET n = n + @step;\n");
    block_on(migrator(&target, &[("V1__a.sql", &mended)]).run(&expand())).unwrap();
    assert_eq!(engine.sql(&target, "SELECT count(*), max(n) FROM a"), "1\t5");
}

#[test]
fn a_script_that_changes_the_search_path_finds_its_own_history() {
    let engine = Engine::start(Kind::Postgres);
    for header in ["", "-- ha:no-transaction\n"] {
        let target = engine.fresh();
        engine.sql(&target, "CREATE SCHEMA other");
        let text = format!(
            "{header}SET search_path TO other;\nCREATE TABLE a (id int PRIMARY KEY);\nINSERT INTO a VALUES (1);"
        );
        let after = ("V2__b.sql", "CREATE TABLE b (id int);");
        let builder = ha_migrate::Migrator::builder(target.connect(), scripts(&[("V1__a.sql", &text), after]));
        let one = builder.with_policy(policy()).with_mirror_flyway(true).build().unwrap();
        assert_eq!(block_on(one.run(&expand())).unwrap().applied, ["V1__a.sql", "V2__b.sql"], "{header:?}");
        let places = engine.sql(&target, "SELECT (SELECT count(*) FROM other.a), 'public.b'::regclass");
        assert_eq!(places, "1|b", "{header:?}: the next script has the path of the session");
        assert_eq!(block_on(one.run(&expand())).unwrap().applied, Vec::<String>::new(), "{header:?}");
    }
}
