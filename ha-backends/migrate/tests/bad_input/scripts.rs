//! Scripts that were edited, left out, given twice, saved in another encoding, written for another product, or fail half-way.

use ha_migrate::script::{LoadOptions, Note, Scripts};
use ha_migrate::{Finding, MigrateError, Migrator};

use crate::engine::{Engine, Kind};
use crate::kit::{block_on, expand, migrator, policy};
use crate::says;

#[test]
fn an_edited_script_is_refused_with_both_checksums_and_changes_nothing() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let text = "CREATE TABLE a (id int);\nINSERT INTO a VALUES (1);\n";
        let late = ("V2__b.sql", "CREATE TABLE b (id int);");
        block_on(migrator(&target, &[("V1__a.sql", text)]).run(&expand())).unwrap();
        // Other line ends are no edit.
        let dos = text.replace('\n', "\r\n");
        assert!(block_on(migrator(&target, &[("V1__a.sql", &dos)]).status()).unwrap().findings.is_empty(), "{kind:?}");
        let edited = text.replace("(1)", "(2)");
        let refused = block_on(migrator(&target, &[("V1__a.sql", &edited), late]).run(&expand())).unwrap_err();
        let MigrateError::Invalid(findings) = &refused else { panic!("{kind:?}: {refused}") };
        let [Finding::Edited { was, is, .. }] = findings.as_slice() else { panic!("{kind:?}: {refused}") };
        assert_eq!(engine.sql(&target, "SELECT sha256 FROM ha_migration_history"), *was, "{kind:?}");
        assert!(was.len() == 64 && is.len() == 64 && was != is, "{kind:?}: {refused}");
        says(&refused.to_string(), &["V1__a.sql", "line 2", was, is, "put it back", "accept_checksum"]);
        assert!(
            engine.try_sql(&target, "SELECT * FROM b").is_err(),
            "{kind:?}: nothing is run beside an edited script"
        );
    }
}

#[test]
fn a_gap_is_a_note_and_a_version_given_twice_is_refused_before_the_database_is_touched() {
    let engine = Engine::start(Kind::Sqlite);
    let target = engine.fresh();
    let load = |files: &[(&str, &str)]| Scripts::from_memory(files.iter().copied(), &LoadOptions::new());
    let one = ("V1__a.sql", "CREATE TABLE a (id int);");
    let four = ("V4__d.sql", "CREATE TABLE d (id int);");
    let gap = load(&[one, four]).unwrap();
    let [Note::Gap { after, before }] = gap.notes() else { panic!("{:?}", gap.notes()) };
    assert_eq!((after.to_string(), before.to_string()), ("1".into(), "4".into()));
    let builder = Migrator::builder(target.connect(), gap).with_policy(policy());
    block_on(builder.build().unwrap().run(&expand())).unwrap();
    let twice = load(&[one, ("V1_0__b.sql", "CREATE TABLE b (id int);")]).unwrap_err().to_string();
    says(&twice, &["V1_0__b.sql", "V1__a.sql", "version 1", "next free version"]);
    // The script that fills the gap comes too late.
    let late = block_on(migrator(&target, &[one, ("V2__b.sql", "CREATE TABLE b (id int);"), four]).run(&expand()));
    says(&late.unwrap_err().to_string(), &["V2__b.sql", "V4__d.sql", "higher version", "out_of_order"]);
    assert!(engine.try_sql(&target, "SELECT * FROM b").is_err());
}

#[test]
fn a_script_in_another_encoding_is_refused_with_its_line_and_byte() {
    let dir = tempfile::tempdir().unwrap();
    for (file, bytes, place) in [
        ("V1__latin.sql", b"CREATE TABLE a (id int);\n-- Gr\xfc\xdfe\n".as_slice(), "V1__latin.sql:2: byte 30"),
        ("V2__utf16.sql", b"\xff\xfeC\0R\0E\0".as_slice(), "V2__utf16.sql:1: byte 0"),
        ("V3__nul.sql", b"SELECT 1;\n\0".as_slice(), "V3__nul.sql:2: byte 10"),
    ] {
        std::fs::write(dir.path().join(file), bytes).unwrap();
        let refused = Scripts::from_dir(dir.path(), &LoadOptions::new()).unwrap_err().to_string();
        says(&refused, &[place, "UTF-8"]);
        std::fs::remove_file(dir.path().join(file)).unwrap();
    }
}

#[test]
fn sql_of_another_product_is_named_as_such_and_leaves_nothing() {
    let mariadb = "CREATE TABLE `a` (id int AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB;";
    let postgres = "CREATE TABLE a (id BIGSERIAL PRIMARY KEY, n jsonb);\nCREATE INDEX CONCURRENTLY ai ON a (n);";
    for (kind, text, product) in [
        (Kind::Postgres, mariadb, "MySQL"),
        (Kind::Sqlite, mariadb, "another product"),
        (Kind::MariaDb, postgres, "PostgreSQL"),
    ] {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let failed = block_on(migrator(&target, &[("V1__a.sql", text)]).run(&expand())).unwrap_err();
        let MigrateError::Statement(of) = &failed else { panic!("{kind:?}: {failed}") };
        assert_eq!((of.statement, of.line, of.done), (1, 1, 0), "{failed}");
        let product = format!("this is SQL of {product}");
        says(&failed.to_string(), &["V1__a.sql, statement 1 (line 1)", &product, "take the script of this database"]);
        assert!(engine.try_sql(&target, "SELECT * FROM a").is_err(), "{kind:?}");
        assert_eq!(engine.sql(&target, "SELECT count(*) FROM ha_migration_history"), "0", "{kind:?}");
    }
}

#[test]
fn a_script_that_fails_half_way_is_told_statement_by_statement() {
    let text = "CREATE TABLE a (id int PRIMARY KEY);\nCREATE TABLE b (id int);\nINSERT INTO nowhere VALUES (1);\n\
                CREATE TABLE c (id int);\nCREATE TABLE d (id int);\n";
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let failed = block_on(migrator(&target, &[("V1__a.sql", text)]).run(&expand())).unwrap_err();
        let there = |table: &str| engine.try_sql(&target, &format!("SELECT * FROM {table}")).is_ok();
        let all = ["a", "b", "c", "d"].map(there);
        if kind == Kind::MariaDb {
            says(
                &failed.to_string(),
                &[
                    "V1__a.sql, statement 3 (line 3)",
                    "2 of its 5 statements are done",
                    "statements 1 to 2 are done and stay",
                    "statements 4 to 5 were not tried",
                    "mend the script from line 3 on and leave what is above as it is, then run again",
                ],
            );
            assert_eq!(all, [true, true, false, false]);
        } else {
            let next = "the script was rolled back, nothing of it is there; mend the script, then run again";
            says(&failed.to_string(), &["V1__a.sql, statement 3 (line 3)", next]);
            assert_eq!(all, [false; 4], "{kind:?}");
        }
        let mended = text.replace("INSERT INTO nowhere", "INSERT INTO a");
        block_on(migrator(&target, &[("V1__a.sql", &mended)]).run(&expand())).unwrap();
        assert_eq!(["a", "b", "c", "d"].map(there), [true; 4], "{kind:?}");
        assert_eq!(engine.sql(&target, "SELECT count(*) FROM a"), "1", "{kind:?}");
    }
}

#[test]
fn a_backfill_that_fails_names_its_statement_and_the_batches_before_it_stay() {
    let base = (
        "V1__a.sql",
        "CREATE TABLE a (id int PRIMARY KEY, n int, m int CHECK (m < 50));\n\
         INSERT INTO a VALUES (1, 1, NULL), (2, 2, NULL), (3, 60, NULL), (4, 4, NULL);",
    );
    let fill = "-- ha:backfill table=a key=id batch=2\nUPDATE a SET n = n + 0 WHERE id BETWEEN :from AND :to;\n\
                UPDATE a SET m = n WHERE id BETWEEN :from AND :to;\n";
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let run = ha_migrate::Run::to(ha_migrate::script::Phase::Backfill);
        let failed = block_on(migrator(&target, &[base, ("V2__fill.sql", fill)]).run(&run)).unwrap_err();
        let next =
            "its batch was rolled back, the batches before it are done and stay; mend the script, then run again";
        says(&failed.to_string(), &["V2__fill.sql, statement 2 (line 3)", next]);
        assert_eq!(engine.sql(&target, "SELECT count(*) FROM a WHERE m = n"), "2", "{kind:?}");
        let mended = fill.replace("SET m = n", "SET m = n % 50");
        block_on(migrator(&target, &[base, ("V2__fill.sql", &mended)]).run(&run)).unwrap();
        assert_eq!(engine.sql(&target, "SELECT sum(m) FROM a"), "17", "{kind:?}");
    }
}
