//! Servers are identified, and the wrong ones refused.

use ha_lab::DatabaseSpec;
use ha_migrate::{Connect, DbErrorKind, Dialect, Limits, Postgres, SessionRole, identify};

use crate::world::{OnMariaDb, OnPostgres, World, on_all, open, value};

async fn a_server_tells_its_product_and_version<W: World>(world: &W) {
    for role in [SessionRole::Migrator, SessionRole::Reader] {
        let mut session = world.connector(Limits::default()).open(role).await.unwrap();
        // The URL may say MySQL and lead to a MariaDB.
        let named = if W::DIALECT == Dialect::MariaDb { Dialect::MySql } else { W::DIALECT };
        let server = identify(session.as_mut(), named).await.unwrap();
        assert_eq!(server.dialect, W::DIALECT);
        assert!(server.banner.contains(&format!("{}.{}", server.version.major, server.version.minor)), "{server:?}");
        assert!(server.version.major >= 3, "{server:?}");
        let can = server.capabilities;
        assert!(can.atomic_ddl, "{server:?}");
        assert_eq!(can.transactional_ddl, W::DIALECT != Dialect::MariaDb);
        assert_eq!(can.session_lock, W::DIALECT != Dialect::Sqlite);
        assert_eq!(can.nowait_ddl, W::DIALECT == Dialect::MariaDb);
        assert_eq!(value(session.as_mut(), "SELECT 1").await.unwrap().unwrap(), "1", "the session is as before");
    }
}

on_all! { a_server_tells_its_product_and_version }

#[tokio::test]
async fn the_wrong_dialect_is_refused() {
    let world = OnPostgres::start();
    let mut session = open(&world).await;
    for dialect in [Dialect::MariaDb, Dialect::Sqlite, Dialect::H2] {
        assert!(identify(session.as_mut(), dialect).await.is_err(), "{dialect}");
    }
}

#[tokio::test]
async fn a_read_only_mariadb_is_refused() {
    let world = OnMariaDb::start();
    world.sql("SET GLOBAL read_only = 1");
    let mut session = open(&world).await;
    let error = identify(session.as_mut(), Dialect::MariaDb).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::ReadOnly, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_of_postgresql_is_refused_and_passed_over_for_the_primary() {
    let spec = DatabaseSpec::default().with_setting("wal_level=replica");
    let (standby, primary) = (OnPostgres::with(&spec), OnPostgres::start());
    standby.server.kill();
    std::fs::write(standby.server.socket_folder().join("data/standby.signal"), "").unwrap();
    standby.server.restart().unwrap();
    let of_standby = standby.over_tcp(standby.server.port());
    let mut session = of_standby.open(SessionRole::Migrator).await.unwrap();
    let error = identify(session.as_mut(), Dialect::Postgres).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::ReadOnly, "{error}");
    assert!(error.message.contains("standby"), "{error}");
    assert_eq!(session.execute("CREATE TABLE t (a int)").await.unwrap_err().kind, DbErrorKind::ReadOnly);
    // Nobody, the standby, the primary.
    let closed = ha_lab::ReservedPort::any().unwrap();
    let cluster = Postgres::new("127.0.0.1", closed.number(), &primary.database, "postgres")
        .with_other("127.0.0.1", standby.server.port())
        .with_other("127.0.0.1", primary.server.port());
    assert!(!cluster.target().contains("postgres@"), "no user in {}", cluster.target());
    let mut session = cluster.open(SessionRole::Migrator).await.unwrap();
    identify(session.as_mut(), Dialect::Postgres).await.unwrap();
    session.execute("CREATE TABLE t (a int)").await.unwrap();
    assert!(primary.exists("t"));
}
