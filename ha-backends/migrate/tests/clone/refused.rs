//! What a clone is refused for, and what breaks off.

use ha_core::backend::{CloneDatabase, Database, Effect, ErrorKind, LeaseEpoch, StepError, TakeCloneStep};
use ha_core::state::{CloneStage, CloneStep, Copies, Source};
use ha_migrate::{CloningError, ConfiguredDatabase};

use super::engine::Kind;
use super::{Pair, url};

pub(crate) async fn take(
    database: &ConfiguredDatabase,
    step: CloneStep,
) -> Result<ha_core::backend::Cloned, StepError> {
    database.clone_step(LeaseEpoch::new(1), TakeCloneStep::new(step)).await
}

#[test]
fn a_clone_in_the_same_database_is_refused() {
    let pair = Pair::start(Kind::Sqlite);
    let mut config = pair.config();
    config.clone_url = Some(config.url.clone());
    assert!(matches!(ConfiguredDatabase::new(config), Err(CloningError::Same)));
}

#[test]
fn a_clone_of_another_product_is_refused() {
    let pair = Pair::start(Kind::Sqlite);
    let mut config = pair.config();
    config.clone_url = Some("jdbc:postgresql://db1/orders?user=app".into());
    let error = ConfiguredDatabase::new(config).unwrap_err();
    assert!(matches!(error, CloningError::OtherProduct { .. }), "{error}");
}

/// Nothing is frozen before that is found out.
#[test]
fn a_clone_over_tls_that_the_programs_which_copy_cannot_be_held_to_is_refused() {
    let pair = Pair::start(Kind::Sqlite);
    let mut config = pair.config();
    let url = |host: &str, mode: &str| format!("jdbc:mariadb://{host}/orders?user=app&sslMode={mode}");
    for (source, clone) in [("trust", "verify-full"), ("verify-full", "trust")] {
        config.url = url("db1", source);
        config.clone_url = Some(url("db2", clone));
        let error = ConfiguredDatabase::new(config.clone()).unwrap_err();
        assert!(error.to_string().contains("sslMode=verify-full"), "{error}");
    }
    config.clone_url = Some(url("db2", "verify-full"));
    ConfiguredDatabase::new(config).unwrap();
}

#[test]
fn without_the_url_of_a_clone_a_database_is_not_cloned() {
    let pair = Pair::start(Kind::Sqlite);
    let mut config = pair.config();
    config.clone_url = None;
    assert!(ConfiguredDatabase::new(config).unwrap().cloning().is_none());
}

#[test]
fn the_url_of_the_clone_is_told_without_its_secrets() {
    let pair = Pair::start(Kind::Sqlite);
    let mut config = pair.config();
    config.url = "jdbc:postgresql://db1/orders?user=app&password=geheim".into();
    config.clone_url = Some("jdbc:postgresql://db2/orders?user=app&password=geheim".into());
    let database = ConfiguredDatabase::new(config).unwrap();
    assert_eq!(database.clone_url(), "jdbc:postgresql://db2/orders");
    assert!(!format!("{:?}", database.cloning()).contains("geheim"));
}

#[tokio::test]
async fn a_clone_that_cannot_be_reached_is_told_without_effect() {
    let pair = Pair::start(Kind::Postgres);
    let mut config = pair.config();
    config.clone_url = Some("jdbc:postgresql://127.0.0.1:1/orders?user=postgres".into());
    let database = ConfiguredDatabase::new(config).unwrap();
    for error in [database.copies().await.map(drop), take(&database, CloneStep::Freeze).await.map(drop)] {
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::None), "{error}");
    }
}

#[tokio::test]
async fn without_the_programs_that_copy_the_setting_is_named_and_the_next_copies() {
    let pair = Pair::start(Kind::Postgres);
    let mut config = pair.config();
    config.clone_tools = Some("/nowhere".into());
    let database = ConfiguredDatabase::new(config).unwrap();
    take(&database, CloneStep::Freeze).await.unwrap();
    let error = take(&database, CloneStep::Copy).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("clone_tools"), "{error}");
    assert_eq!(database.copies().await.unwrap(), Copies::new(Source::Frozen, CloneStage::Copying));
    take(&pair.database(), CloneStep::Copy).await.unwrap();
}

/// Half a copy, as a disk that was full or a program that was killed leaves it.
#[tokio::test]
async fn half_a_copy_is_told_from_what_others_have_put_there_and_made_anew() {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Sqlite) {
        let pair = Pair::start(kind);
        let database = pair.database();
        take(&database, CloneStep::Freeze).await.unwrap();
        take(&database, CloneStep::Copy).await.unwrap();
        pair.engine.sql(&pair.clone, "UPDATE ha_migration_clone SET stage = 'copying'; DROP TABLE tenants");
        assert_eq!(database.copies().await.unwrap().clone, CloneStage::Copying);
        let cloned = take(&database, CloneStep::Copy).await.unwrap();
        assert_eq!((cloned.tables, cloned.rows), (2, 5), "{}", url(&pair.engine, &pair.clone));
        take(&database, CloneStep::Compare).await.unwrap();
    }
}

/// What a statement without its usual effect could slip through.
#[tokio::test]
async fn a_frozen_table_refuses_writes_that_ignore_errors_or_replace_rows() {
    for (kind, statements) in [
        (Kind::Sqlite, &["INSERT OR IGNORE INTO orders VALUES (9, 9)", "REPLACE INTO orders VALUES (1, 9)"][..]),
        (
            Kind::Postgres,
            &[
                "INSERT INTO orders VALUES (9, 9) ON CONFLICT DO NOTHING",
                "TRUNCATE orders",
                "SET session_replication_role = replica; INSERT INTO orders VALUES (9, 9)",
            ],
        ),
        (Kind::MariaDb, &["INSERT IGNORE INTO orders VALUES (9, 9)", "REPLACE INTO orders VALUES (1, 9)"]),
    ] {
        let pair = Pair::start(kind);
        take(&pair.database(), CloneStep::Freeze).await.unwrap();
        let before = pair.engine.sql(&pair.source, "SELECT id, amount FROM orders ORDER BY id");
        for statement in statements {
            let _ = pair.engine.try_sql(&pair.source, statement);
            let after = pair.engine.sql(&pair.source, "SELECT id, amount FROM orders ORDER BY id");
            assert_eq!(after, before, "{statement}");
        }
    }
}
