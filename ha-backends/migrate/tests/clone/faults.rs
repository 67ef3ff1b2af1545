//! What must not be taken for an empty database, for a database that is at rest, or for an equal copy.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ha_core::backend::{
    CloneDatabase, Cloned, ContractPermit, Effect, ErrorKind, LeaseEpoch, StepError, TakeCloneStep,
};
use ha_core::state::{CloneStage, CloneStep, Copies, Source};
use ha_migrate::ConfiguredDatabase;

use super::engine::Kind;
use super::refused::take;
use super::{Pair, url};

fn is(error: &StepError, kind: ErrorKind, effect: Effect) {
    assert_eq!((error.kind(), error.effect()), (kind, effect), "{error}");
}

async fn steps(pair: &Pair, steps: &[CloneStep]) -> Cloned {
    let mut cloned = Cloned::default();
    for step in steps {
        cloned = take(&pair.database(), *step).await.unwrap();
    }
    cloned
}

const AGGREGATE: &str = "CREATE AGGREGATE product(integer) (SFUNC = int4mul, STYPE = integer, INITCOND = '1')";
const PAIR: &str = "CREATE TYPE pair AS (a integer, b integer)";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_copy_would_remove_is_somebody_s() {
    for (kind, definitions) in [
        (Kind::Sqlite, &["CREATE VIEW v AS SELECT 1"][..]),
        (
            Kind::Postgres,
            &[
                "CREATE SCHEMA app",
                "CREATE SCHEMA app CREATE VIEW v AS SELECT 1",
                "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
                "CREATE TYPE mood AS ENUM ('well')",
                "CREATE DOMAIN even AS integer",
                "CREATE SEQUENCE s",
                AGGREGATE,
                PAIR,
            ],
        ),
        (
            Kind::MariaDb,
            &["CREATE FUNCTION f() RETURNS INT RETURN 1", "CREATE PROCEDURE p() SELECT 1", "CREATE SEQUENCE s"],
        ),
    ] {
        let mut pair = Pair::start(kind);
        for definition in definitions {
            pair.clone = pair.engine.fresh();
            if kind == Kind::Sqlite {
                std::fs::write(&pair.clone.place, "").unwrap();
            }
            assert_eq!(pair.database().copies().await.unwrap().clone, CloneStage::Absent, "{definition}");
            pair.engine.sql(&pair.clone, definition);
            assert_eq!(pair.database().copies().await.unwrap().clone, CloneStage::Occupied, "{definition}");
            let refused = take(&pair.database(), CloneStep::Drop).await.unwrap_err();
            is(&refused, ErrorKind::Conflict, Effect::None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_types_and_partitions_are_copied_counted_and_dropped() {
    let pair = Pair::start(Kind::Postgres);
    let parts = "CREATE TABLE sales (id integer) PARTITION BY RANGE (id); \
                 CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM (0) TO (10); INSERT INTO sales VALUES (1), (2)";
    for definition in [AGGREGATE, PAIR, parts] {
        pair.engine.sql(&pair.source, definition);
    }
    let copied = steps(&pair, &[CloneStep::Freeze, CloneStep::Copy]).await;
    let compared = steps(&pair, &[CloneStep::Compare]).await;
    assert_eq!((copied.tables, copied.rows), (compared.tables, compared.rows));
    assert_eq!(copied.rows, 7);
    pair.engine.sql(&pair.clone, "UPDATE ha_migration_clone SET stage = 'copying'");
    steps(&pair, &[CloneStep::Copy, CloneStep::Compare, CloneStep::Drop]).await;
    assert_eq!(pair.database().copies().await.unwrap().clone, CloneStage::Absent);
    assert_eq!(pair.engine.sql(&pair.clone, "SELECT count(*) FROM pg_proc WHERE proname = 'product'"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_highest_lease_is_lost_is_not_changed() {
    for kind in Kind::ALL {
        let pair = Pair::start(kind);
        steps(&pair, &[CloneStep::Freeze]).await;
        pair.engine.sql(&pair.source, "DELETE FROM ha_migration_lock");
        let refused = take(&pair.database(), CloneStep::Thaw).await.unwrap_err();
        is(&refused, ErrorKind::Conflict, Effect::None);
        assert!(refused.to_string().contains("ha_migration_lock"), "{refused}");
        assert_eq!(pair.database().copies().await.unwrap().source, Source::Frozen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_call_that_ended_before_its_lease_was_noted_is_no_lost_lease() {
    for kind in Kind::ALL {
        let pair = Pair::start(kind);
        steps(&pair, &[CloneStep::Freeze, CloneStep::Thaw]).await;
        pair.engine.sql(&pair.source, "DELETE FROM ha_migration_lock; DROP TABLE ha_migration_step");
        steps(&pair, &[CloneStep::Freeze]).await;
        assert_eq!(pair.engine.sql(&pair.source, "SELECT count(*) FROM ha_migration_lock WHERE lease > 0"), "1");
    }
}

/// What applies a subscription fires no trigger of a statement.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_a_subscription_writes_is_not_frozen() {
    let pair = Pair::start(Kind::Postgres);
    let subscribe = "CREATE SUBSCRIPTION \"From\" CONNECTION 'host=127.0.0.1 port=1 user=x dbname=x' PUBLICATION p WITH (connect = false)";
    pair.engine.sql(&pair.source, subscribe);
    pair.engine.sql(&pair.source, "ALTER SUBSCRIPTION \"From\" ENABLE");
    let refused = take(&pair.database(), CloneStep::Freeze).await.unwrap_err();
    is(&refused, ErrorKind::Conflict, Effect::None);
    assert!(refused.to_string().contains("ALTER SUBSCRIPTION \"From\" DISABLE"), "{refused}");
    assert_eq!(pair.database().copies().await.unwrap().source, Source::Open);
    pair.engine.sql(&pair.source, "ALTER SUBSCRIPTION \"From\" DISABLE");
    // Its worker ends a moment later.
    while let Err(error) = take(&pair.database(), CloneStep::Freeze).await {
        is(&error, ErrorKind::Conflict, Effect::None);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(pair.database().copies().await.unwrap().source, Source::Frozen);
    pair.engine.sql(&pair.source, "ALTER SUBSCRIPTION \"From\" ENABLE");
    assert_eq!(pair.database().copies().await.unwrap().source, Source::Freezing);
    is(&take(&pair.database(), CloneStep::Copy).await.unwrap_err(), ErrorKind::Conflict, Effect::None);
}

fn migrate() -> TakeCloneStep {
    let permit = ContractPermit::by_person("the test", "no server of it was started", vec!["1.0".into()]);
    TakeCloneStep::new(CloneStep::Migrate).with_permit(permit)
}

/// It is refused when the scripts have run.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_is_migrated_and_cannot_be_frozen_is_not_without_effect() {
    let pair = Pair::start(Kind::Postgres);
    steps(&pair, &[CloneStep::Freeze, CloneStep::Copy, CloneStep::Compare]).await;
    let subscribe =
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1 user=x dbname=x' PUBLICATION p WITH (connect = false)";
    pair.engine.sql(&pair.clone, subscribe);
    pair.engine.sql(&pair.clone, "ALTER SUBSCRIPTION s ENABLE");
    let failed = pair.database().clone_step(LeaseEpoch::new(1), migrate()).await.unwrap_err();
    is(&failed, ErrorKind::Conflict, Effect::Unknown);
    assert!(format!("{failed:#}").contains("ALTER SUBSCRIPTION \"s\" DISABLE"), "{failed:#}");
    assert_eq!(pair.engine.sql(&pair.clone, "SELECT sum(total) FROM orders"), "30");
}

/// The copy is there, and another controller has the database by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_higher_lease_ends_is_not_without_effect() {
    let (pair, tools) = (Pair::start(Kind::Postgres), tempfile::tempdir().unwrap());
    steps(&pair, &[CloneStep::Freeze]).await;
    let go = tools.path().join("go");
    program(tools.path(), "pg_dump", &format!("while ! [ -e {} ]; do sleep 0.02; done", go.display()));
    program(tools.path(), "pg_restore", "cat >/dev/null");
    let mut config = pair.config();
    config.clone_tools = Some(tools.path().into());
    let copying = ConfiguredDatabase::new(config).unwrap();
    let copying = tokio::spawn(async move { take(&copying, CloneStep::Copy).await });
    while pair.database().copies().await.unwrap().clone != CloneStage::Copying {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    pair.engine.sql(&pair.source, "UPDATE ha_migration_lock SET lease = 2");
    std::fs::write(go, "").unwrap();
    is(&copying.await.unwrap().unwrap_err(), ErrorKind::Fenced, Effect::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_cannot_be_read_keeps_no_database_frozen() {
    let pair = Pair::start(Kind::Postgres);
    steps(&pair, &[CloneStep::Freeze, CloneStep::Copy, CloneStep::Compare]).await;
    std::fs::write(pair.scripts.path().join("expand/V2__broken.sql"), "CREATE TABLE ${nowhere} (id integer);\n")
        .unwrap();
    let refused = pair.database().clone_step(LeaseEpoch::new(1), migrate()).await.unwrap_err();
    is(&refused, ErrorKind::Conflict, Effect::None);
    assert_eq!(pair.database().copies().await.unwrap(), Copies::new(Source::Frozen, CloneStage::Compared));
    steps(&pair, &[CloneStep::Drop, CloneStep::Thaw]).await;
    assert_eq!(pair.database().copies().await.unwrap(), Copies::new(Source::Open, CloneStage::Absent));
}

/// The text of a value in the middle of `max_allowed_packet` is beyond it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_too_large_to_be_written_out_are_compared_all_the_same() {
    let pair = Pair::start(Kind::MariaDb);
    pair.engine.sql(
        &pair.source,
        "CREATE TABLE files (id INT PRIMARY KEY, a LONGTEXT); INSERT INTO files VALUES (1, REPEAT('a', 9000000))",
    );
    steps(&pair, &[CloneStep::Freeze, CloneStep::Copy]).await;
    pair.engine.sql(&pair.clone, "UPDATE files SET a = CONCAT(LEFT(a, 8999999), 'b')");
    let differs = take(&pair.database(), CloneStep::Compare).await.unwrap_err();
    assert!(differs.kind() == ErrorKind::Conflict && differs.to_string().contains("files"), "{differs}");
    pair.engine.sql(&pair.clone, "UPDATE files SET a = REPEAT('a', 9000000)");
    steps(&pair, &[CloneStep::Compare]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_part_of_a_copy_beside_it_is_half_a_copy() {
    let pair = Pair::start(Kind::Sqlite);
    steps(&pair, &[CloneStep::Freeze]).await;
    std::fs::write(&pair.clone.place, "").unwrap();
    std::fs::write(format!("{}.ha-part", pair.clone.place), "half").unwrap();
    assert_eq!(pair.database().copies().await.unwrap().clone, CloneStage::Copying);
    assert_eq!(steps(&pair, &[CloneStep::Copy]).await.rows, 5);
}

fn program(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A dump whose reader has ended is ended by that.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_restore_complains_of_is_said_before_what_the_dump_makes_of_it() {
    let (pair, tools) = (Pair::start(Kind::Postgres), tempfile::tempdir().unwrap());
    program(tools.path(), "pg_dump", "head -c 10000000 /dev/zero && exit 0; echo cannot write >&2; exit 1");
    program(tools.path(), "pg_restore", "echo the disk is full >&2; exit 1");
    steps(&pair, &[CloneStep::Freeze]).await;
    let mut config = pair.config();
    config.clone_tools = Some(tools.path().into());
    let failed = take(&ConfiguredDatabase::new(config).unwrap(), CloneStep::Copy).await.unwrap_err();
    is(&failed, ErrorKind::Conflict, Effect::Unknown);
    let said = failed.to_string();
    assert!(said.find("the disk is full") < said.find("cannot write") && said.contains("the disk is full"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_behind_a_socket_is_copied_over_that_socket() {
    let pair = Pair::start(Kind::MariaDb);
    let mut config = pair.config();
    let over =
        |database: &str| format!("jdbc:mariadb://127.0.0.1:1/{database}?user=root&localSocket={}", pair.source.place);
    config.url = over(&pair.source.database);
    config.clone_url = Some(over(&pair.clone.database));
    let database = ConfiguredDatabase::new(config).unwrap();
    for step in [CloneStep::Freeze, CloneStep::Copy, CloneStep::Compare] {
        take(&database, step).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_first_schema_is_another_than_public_is_not_cloned() {
    let pair = Pair::start(Kind::Postgres);
    pair.engine.sql(&pair.clone, "CREATE SCHEMA app CREATE TABLE kept (id integer)");
    let mut config = pair.config();
    config.clone_url = Some(url(&pair.engine, &pair.clone) + "&currentSchema=app");
    let database = ConfiguredDatabase::new(config).unwrap();
    for refused in [database.copies().await.map(drop), take(&database, CloneStep::Freeze).await.map(drop)] {
        let refused = refused.unwrap_err();
        is(&refused, ErrorKind::Unsupported, Effect::None);
        assert!(refused.to_string().contains("currentSchema"), "{refused}");
    }
    assert_eq!(pair.engine.sql(&pair.clone, "SELECT count(*) FROM app.kept"), "0");
}
