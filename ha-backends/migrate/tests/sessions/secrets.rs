//! Passwords: the right one opens, and none is ever printed.

use ha_migrate::{Connect, DbErrorKind, MySql, Postgres, Secret, SessionRole};

use crate::world::{OnMariaDb, OnPostgres, World, value};

const PASSWORD: &str = "Zwölf!'\\ horses";

async fn check(right: &dyn Connect, wrong: &dyn Connect, unknown: &dyn Connect, made: &str) {
    let mut session = right.open(SessionRole::Migrator).await.unwrap();
    assert_eq!(value(session.as_mut(), "SELECT 1").await.unwrap().unwrap(), "1");
    let denied = session.execute(made).await.unwrap_err();
    assert_eq!(denied.kind, DbErrorKind::Denied, "{denied}");
    let mut printed = format!("{right:?} {session:?} {:?} {} {denied:?}", session.canceller(), right.target());
    for connect in [wrong, unknown] {
        let error = connect.open(SessionRole::Migrator).await.unwrap_err();
        assert!(matches!(error.kind, DbErrorKind::Denied | DbErrorKind::Missing), "{error:?}");
        printed += &format!("{connect:?} {error:?} {error}");
    }
    assert!(!printed.contains("horses"), "{printed}");
    assert!(printed.contains("***"), "{printed}");
}

#[tokio::test]
async fn postgresql_takes_the_password_and_nobody_prints_it() {
    let world = OnPostgres::start();
    world.sql(&format!("CREATE ROLE guest LOGIN PASSWORD '{}'", PASSWORD.replace('\'', "''")));
    let connect = |password: &str, database: &str| {
        Postgres::new("127.0.0.1", world.server.port(), database, "guest").with_password(Secret::new(password))
    };
    let [right, wrong] = [PASSWORD, "no horses"].map(|password| connect(password, &world.database));
    check(&right, &wrong, &connect(PASSWORD, "nowhere"), "CREATE ROLE other").await;
    let none = Postgres::new("127.0.0.1", world.server.port(), &world.database, "guest");
    assert_eq!(none.open(SessionRole::Migrator).await.unwrap_err().kind, DbErrorKind::Denied);
}

#[tokio::test]
async fn mariadb_takes_the_password_and_nobody_prints_it() {
    let world = OnMariaDb::start();
    let quoted = PASSWORD.replace('\\', "\\\\").replace('\'', "''");
    world.sql(&format!(
        "CREATE USER guest@127.0.0.1 IDENTIFIED BY '{quoted}'; GRANT SELECT ON {}.* TO guest@127.0.0.1",
        world.database
    ));
    let connect = |password: &str, database: &str| {
        MySql::new("127.0.0.1", world.server.port(), database, "guest").with_password(Secret::new(password))
    };
    let [right, wrong] = [PASSWORD, "no horses"].map(|password| connect(password, &world.database));
    check(&right, &wrong, &connect(PASSWORD, "nowhere"), "CREATE TABLE t (id int)").await;
}
