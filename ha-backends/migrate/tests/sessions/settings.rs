//! Limits and other settings reach the server as declared.

use std::time::Duration;

use ha_migrate::{Connect, Limits, MySql, Postgres, SessionRole, Sqlite};

use crate::world::{OnMariaDb, OnPostgres, OnSqlite, World, value};

fn limits() -> Limits {
    Limits::default()
        .with_lock(Duration::from_millis(1250))
        .with_row_lock(Duration::from_millis(2500))
        .with_statement(Duration::from_secs(90))
        .with_read(Duration::from_secs(5))
        .with_idle_in_transaction(Duration::from_secs(45))
        .with_idle(Duration::from_secs(120))
        .with_client_check(Duration::from_millis(300))
}

async fn check(connect: &dyn Connect, role: SessionRole, expected: &[(&str, &str)]) {
    let mut session = connect.open(role).await.unwrap();
    for (sql, setting) in expected {
        assert_eq!(value(session.as_mut(), sql).await.unwrap().unwrap(), *setting, "{role:?}: {sql}");
    }
}

#[tokio::test]
async fn postgresql_has_the_limits() {
    let world = OnPostgres::start();
    world.sql("CREATE SCHEMA \"Wso2\"");
    let connect = world.over_tcp(world.server.port()).with_limits(limits()).with_search_path("\"Wso2\", public");
    let both = [
        ("SHOW lock_timeout", "1250ms"),
        ("SHOW idle_in_transaction_session_timeout", "45s"),
        ("SHOW idle_session_timeout", "2min"),
        ("SHOW client_connection_check_interval", "300ms"),
        ("SHOW application_name", "ha-migrate"),
        ("SELECT current_schema()", "Wso2"),
    ];
    for (role, statement, read_only) in [(SessionRole::Migrator, "90s", "off"), (SessionRole::Reader, "5s", "on")] {
        check(&connect, role, &both).await;
        let statement = if statement == "90s" { "90s" } else { statement };
        check(&connect, role, &[("SHOW statement_timeout", statement), ("SHOW transaction_read_only", read_only)])
            .await;
    }
    let none = Limits::default().with_lock(Duration::ZERO).with_statement(Duration::ZERO);
    let connect = Postgres::on_socket(world.server.socket_folder(), world.server.port(), &world.database, "postgres");
    let off = [("SHOW lock_timeout", "0"), ("SHOW statement_timeout", "0")];
    check(&connect.with_limits(none), SessionRole::Migrator, &off).await;
}

#[tokio::test]
async fn mariadb_has_the_limits_and_keeps_what_is_its_own() {
    let world = OnMariaDb::start();
    let own = "SELECT CONCAT(@@sql_mode, ' ', @@foreign_key_checks, ' ', @@time_zone)";
    let (own_here, keep) = (world.sql(own), [(own, "")]);
    let connect = MySql::on_socket(world.server.socket(), &world.database, "root").with_limits(limits());
    let both = [
        ("SELECT @@lock_wait_timeout", "1"),
        ("SELECT @@innodb_lock_wait_timeout", "3"),
        ("SELECT @@idle_transaction_timeout", "45"),
        ("SELECT @@wait_timeout", "120"),
        ("SELECT @@autocommit", "1"),
        ("SELECT @@character_set_client", "utf8mb4"),
        (keep[0].0, own_here.as_str()),
    ];
    for (role, statement, read_only) in
        [(SessionRole::Migrator, "90.000000", "0"), (SessionRole::Reader, "5.000000", "1")]
    {
        check(&connect, role, &both).await;
        check(&connect, role, &[("SELECT @@max_statement_time", statement), ("SELECT @@tx_read_only", read_only)])
            .await;
    }
    let short = Limits::default().with_lock(Duration::from_millis(50));
    let connect = MySql::on_socket(world.server.socket(), &world.database, "root").with_limits(short);
    check(&connect, SessionRole::Migrator, &[("SELECT @@lock_wait_timeout", "0")]).await;
}

#[tokio::test]
async fn sqlite_has_the_limits() {
    let world = OnSqlite::start();
    let connect = Sqlite::new(world.file()).with_limits(limits());
    let off = [("PRAGMA busy_timeout", "2500"), ("PRAGMA foreign_keys", "0"), ("PRAGMA query_only", "0")];
    check(&connect, SessionRole::Migrator, &off).await;
    check(
        &connect.with_foreign_keys(true),
        SessionRole::Reader,
        &[("PRAGMA foreign_keys", "1"), ("PRAGMA query_only", "1")],
    )
    .await;
}
