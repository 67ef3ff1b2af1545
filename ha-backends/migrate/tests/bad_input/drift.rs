//! A schema that somebody has changed beside the scripts.

use ha_migrate::{Finding, MigrateError};

use crate::engine::{Engine, Kind, Target};
use crate::kit::{block_on, expand, migrator};
use crate::says;

const A: (&str, &str) = ("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, n int);\nCREATE TABLE b (id int);");
const B: (&str, &str) = ("V2__b.sql", "-- an index\nCREATE INDEX ai ON a (n);\nCREATE VIEW v AS SELECT n FROM a;");
const C: (&str, &str) = ("V3__c.sql", "CREATE TABLE c (id int);");
const D: (&str, &str) = ("V4__d.sql", "ALTER TABLE a ADD COLUMN m int;");

fn refused(target: &Target, files: &[(&str, &str)]) -> (String, Vec<Finding>) {
    let error = block_on(migrator(target, files).run(&expand())).unwrap_err();
    let text = error.to_string();
    let MigrateError::Invalid(findings) = error else { panic!("{text}") };
    (text, findings)
}

#[test]
fn what_was_changed_beside_the_scripts_is_named_with_who_left_it_and_refused() {
    let engine = Engine::start(Kind::MariaDb);
    let target = engine.fresh();
    block_on(migrator(&target, &[A, B]).run(&expand())).unwrap();
    assert_eq!(block_on(migrator(&target, &[A, B]).drift()).unwrap(), []);
    // Rows are no drift.
    engine.sql(&target, "INSERT INTO a VALUES (1, 1); TRUNCATE TABLE b");
    assert_eq!(block_on(migrator(&target, &[A, B]).drift()).unwrap(), []);
    engine.sql(&target, "ALTER TABLE a ADD COLUMN by_hand int; DROP TABLE b");
    let drift = block_on(migrator(&target, &[A, B]).drift()).unwrap();
    let expected = |object: &str, version: &str, line, gone| Finding::Drift {
        object: object.into(),
        script: if version == "1" { A.0.into() } else { B.0.into() },
        version: version.into(),
        line,
        gone,
    };
    assert_eq!(drift, [expected("b", "1", 2, true), expected("a", "2", 2, false)]);
    // Nothing is to be run: nothing is in danger.
    assert!(block_on(migrator(&target, &[A, B]).run(&expand())).unwrap().applied.is_empty());
    let (text, findings) = refused(&target, &[A, B, C]);
    assert_eq!(findings, drift);
    says(
        &text,
        &[
            "b is not there any more: version 1 (V1__a.sql, line 2)",
            "a was changed since",
            "version 2 (V2__b.sql, line 2)",
        ],
    );
    says(&text, &["put it back and write the change into a script", "accept_drift"]);
    assert!(engine.try_sql(&target, "SELECT * FROM c").is_err(), "nothing was run");
}

#[test]
fn a_drift_is_accepted_by_name_and_only_as_it_is_now() {
    let engine = Engine::start(Kind::MariaDb);
    let target = engine.fresh();
    block_on(migrator(&target, &[A, B]).run(&expand())).unwrap();
    engine.sql(&target, "ALTER TABLE a ADD COLUMN by_hand int");
    let three = migrator(&target, &[A, B, C]);
    let unknown = block_on(three.accept_drift("b", "m.keller", "no idea")).unwrap_err().to_string();
    says(&unknown, &["no drift of b is known", "nothing was accepted"]);
    refused(&target, &[A, B, C]);
    block_on(three.accept_drift("a", "m.keller", "hot fix CHG-77")).unwrap();
    assert_eq!(block_on(three.run(&expand())).unwrap().applied, [C.0]);
    let note = engine.sql(&target, "SELECT note FROM ha_migration_history WHERE kind = 'D'");
    assert_eq!(note, "accepted by m.keller: hot fix CHG-77");
    // Another change is another drift.
    engine.sql(&target, "ALTER TABLE a ADD COLUMN once_more int");
    let (_, findings) = refused(&target, &[A, B, C, D]);
    assert!(matches!(findings.as_slice(), [Finding::Drift { object, .. }] if object == "a"), "{findings:?}");
    engine.sql(&target, "ALTER TABLE a DROP COLUMN once_more");
    assert_eq!(block_on(migrator(&target, &[A, B, C, D]).run(&expand())).unwrap().applied, [D.0]);
    // What a script leaves is the new truth.
    assert_eq!(block_on(migrator(&target, &[A, B, C, D]).drift()).unwrap(), []);
}

#[test]
fn where_no_definitions_are_recorded_nothing_is_said() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        block_on(migrator(&target, &[A]).run(&expand())).unwrap();
        engine.sql(&target, "ALTER TABLE a ADD COLUMN by_hand int");
        assert_eq!(block_on(migrator(&target, &[A, C]).drift()).unwrap(), [], "{kind:?}");
        assert_eq!(block_on(migrator(&target, &[A, C]).run(&expand())).unwrap().applied, [C.0], "{kind:?}");
    }
    // On MariaDB too: an empty history, and what an opaque statement may have done.
    let engine = Engine::start(Kind::MariaDb);
    let target = engine.fresh();
    assert_eq!(block_on(migrator(&target, &[A]).drift()).unwrap(), []);
    let opaque = ("V2__o.sql", "SET @s = 'ALTER TABLE a ADD COLUMN unseen int';\nEXECUTE IMMEDIATE @s;");
    block_on(migrator(&target, &[A, opaque]).run(&expand())).unwrap();
    assert_eq!(block_on(migrator(&target, &[A, opaque, C]).run(&expand())).unwrap().applied, [C.0]);
}
