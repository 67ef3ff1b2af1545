//! The databases under test, and the truth about them by another route than the drivers.

use std::time::{Duration, Instant};

use ha_lab::fake_carbon::Relaunch;
use ha_lab::{DatabaseSpec, Lab, MariaDbServer, PostgresServer};
use ha_migrate::{Connect, DbError, Dialect, Limits, MySql, Postgres, Session, SessionRole, Sqlite};

/// One database, new for each test.
pub(crate) trait World: Sized + Send + Sync {
    const DIALECT: Dialect;
    /// A statement that runs until it is cancelled.
    const ENDLESS: &'static str;

    fn start() -> Self;
    fn connector(&self, limits: Limits) -> Box<dyn Connect>;
    /// Runs SQL without the driver under test.
    fn try_sql(&self, sql: &str) -> Result<String, String>;

    fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap()
    }

    fn exists(&self, table: &str) -> bool {
        self.try_sql(&format!("SELECT count(*) FROM {table}")).is_ok()
    }
}

/// Opens a session with the given limits.
pub(crate) async fn open_with(world: &impl World, limits: Limits) -> Box<dyn Session> {
    world.connector(limits).open(SessionRole::Migrator).await.unwrap()
}

pub(crate) async fn open(world: &impl World) -> Box<dyn Session> {
    open_with(world, Limits::default()).await
}

pub(crate) async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The first value of an answer.
pub(crate) async fn value(session: &mut dyn Session, sql: &str) -> Result<Option<String>, DbError> {
    Ok(session.query(sql).await?.remove(0).remove(0))
}

pub(crate) struct OnPostgres {
    pub(crate) database: String,
    // Dropped before the lab.
    pub(crate) server: PostgresServer,
    pub(crate) _lab: Lab,
}

impl OnPostgres {
    pub(crate) fn with(spec: &DatabaseSpec) -> Self {
        let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
        let server = lab.postgres("db", spec).unwrap();
        let database = server.database().unwrap();
        Self { database, server, _lab: lab }
    }

    pub(crate) fn over_tcp(&self, port: u16) -> Postgres {
        Postgres::new("127.0.0.1", port, &self.database, "postgres")
    }
}

impl World for OnPostgres {
    const DIALECT: Dialect = Dialect::Postgres;
    const ENDLESS: &'static str = "SELECT pg_sleep(600)";

    fn start() -> Self {
        Self::with(&DatabaseSpec::default())
    }
    fn connector(&self, limits: Limits) -> Box<dyn Connect> {
        let (folder, port) = (self.server.socket_folder(), self.server.port());
        Box::new(Postgres::on_socket(folder, port, &self.database, "postgres").with_limits(limits))
    }
    fn try_sql(&self, sql: &str) -> Result<String, String> {
        self.server.sql(&self.database, sql).map_err(|error| error.to_string())
    }
}

pub(crate) struct OnMariaDb {
    pub(crate) database: String,
    pub(crate) server: MariaDbServer,
    pub(crate) _lab: Lab,
}

impl OnMariaDb {
    pub(crate) fn with(spec: &DatabaseSpec) -> Self {
        let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
        let server = lab.mariadb("db", spec).unwrap();
        let database = server.database().unwrap();
        Self { database, server, _lab: lab }
    }

    pub(crate) fn over_tcp(&self, port: u16) -> MySql {
        MySql::new("127.0.0.1", port, &self.database, "root").as_mariadb()
    }
}

impl World for OnMariaDb {
    const DIALECT: Dialect = Dialect::MariaDb;
    const ENDLESS: &'static str =
        "SELECT count(*) FROM seq_1_to_100000000 a, seq_1_to_100000000 b WHERE a.seq + b.seq < 0";

    fn start() -> Self {
        Self::with(&DatabaseSpec::default())
    }
    fn connector(&self, limits: Limits) -> Box<dyn Connect> {
        Box::new(MySql::on_socket(self.server.socket(), &self.database, "root").as_mariadb().with_limits(limits))
    }
    fn try_sql(&self, sql: &str) -> Result<String, String> {
        self.server.sql(&self.database, sql).map_err(|error| error.to_string())
    }
}

pub(crate) struct OnSqlite {
    pub(crate) dir: tempfile::TempDir,
}

impl OnSqlite {
    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("shared.db")
    }
}

impl World for OnSqlite {
    const DIALECT: Dialect = Dialect::Sqlite;
    const ENDLESS: &'static str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

    fn start() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }
    fn connector(&self, limits: Limits) -> Box<dyn Connect> {
        Box::new(Sqlite::new(self.file()).with_limits(limits))
    }
    fn try_sql(&self, sql: &str) -> Result<String, String> {
        let done = std::process::Command::new("sqlite3").arg(self.file()).arg(sql).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        if !done.status.success() || !said.is_empty() {
            return Err(said);
        }
        Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_string())
    }
}

/// Runs each test on each database.
macro_rules! on {
    ($world:ident in $module:ident: $($test:ident),+ $(,)?) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let world = <$crate::world::$world as $crate::world::World>::start();
                    super::$test(&world).await;
                }
            )+
        }
    };
}

macro_rules! on_all {
    ($($test:ident),+ $(,)?) => {
        $crate::world::on!(OnPostgres in postgres: $($test),+);
        $crate::world::on!(OnMariaDb in mariadb: $($test),+);
        $crate::world::on!(OnSqlite in sqlite: $($test),+);
    };
}

/// Runs each test on each database that is a server.
macro_rules! on_servers {
    ($($test:ident),+ $(,)?) => {
        $crate::world::on!(OnPostgres in postgres: $($test),+);
        $crate::world::on!(OnMariaDb in mariadb: $($test),+);
    };
}

pub(crate) use {on, on_all, on_servers};
