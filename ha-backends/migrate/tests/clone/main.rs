//! The suite for databases that can be cloned, on PostgreSQL, MariaDB and SQLite; and what a clone is refused for. The truth is what
//! sessions of its own see.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "the tests of faults use the rest of it")]
#[path = "../faults/engine.rs"]
mod engine;
mod faults;
mod refused;

use std::sync::Arc;

use async_trait::async_trait;
use engine::{Engine, Kind, Target};
use ha_core::backend::Database;
use ha_lab::DatabaseSpec;
use ha_migrate::{ConfiguredDatabase, Connect, DbError, Limits, MigrateConfig, Session, SessionRole, connect_url};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::clone::{CloneAbility, CloneFixture, CloneSubject, Side};
use tokio::sync::Mutex;

ha_lab::roles!();

const BASE: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, amount INTEGER);
INSERT INTO orders VALUES (1, 10), (2, 20), (3, NULL);
CREATE TABLE tenants (name VARCHAR(20) PRIMARY KEY, note VARCHAR(20));
INSERT INTO tenants VALUES ('one', 'it''s'), ('two', NULL);
CREATE VIEW large AS SELECT id FROM orders WHERE amount > 15;";

pub(crate) struct Pair {
    pub(crate) engine: Engine,
    pub(crate) source: Target,
    pub(crate) clone: Target,
    scripts: tempfile::TempDir,
}

pub(crate) fn url(engine: &Engine, target: &Target) -> String {
    match target.kind {
        Kind::Sqlite => format!("jdbc:sqlite:{}", target.place),
        Kind::Postgres => format!("jdbc:postgresql://127.0.0.1:{}/{}?user=postgres", engine.port(), target.database),
        Kind::MariaDb => format!("jdbc:mariadb://127.0.0.1:{}/{}?user=root", engine.port(), target.database),
    }
}

impl Pair {
    pub(crate) fn start(kind: Kind) -> Self {
        let engine = Engine::start_with(kind, &DatabaseSpec::default().durable());
        let (source, clone) = (engine.fresh(), engine.fresh());
        let scripts = tempfile::tempdir().unwrap();
        let folder = scripts.path().join("expand");
        std::fs::create_dir(&folder).unwrap();
        let rename = "ALTER TABLE orders RENAME COLUMN amount TO total;\n";
        std::fs::write(folder.join("V1__rename.sql"), rename).unwrap();
        if kind == Kind::Sqlite {
            std::fs::write(&source.place, "").unwrap();
        }
        engine.sql(&source, BASE);
        Self { engine, source, clone, scripts }
    }

    pub(crate) fn config(&self) -> MigrateConfig {
        let mut config = MigrateConfig::new(url(&self.engine, &self.source), self.scripts.path());
        config.clone_url = Some(url(&self.engine, &self.clone));
        config
    }

    pub(crate) fn database(&self) -> ConfiguredDatabase {
        ConfiguredDatabase::new(self.config()).unwrap()
    }

    fn target(&self, side: Side) -> &Target {
        if side == Side::Clone { &self.clone } else { &self.source }
    }

    async fn session(&self, side: Side) -> Result<Box<dyn Session>, Breach> {
        let connect: Arc<dyn Connect> = connect_url(&url(&self.engine, self.target(side)), Limits::default()).unwrap();
        connect.open(SessionRole::Migrator).await.map_err(told)
    }

    /// Answers what a query says on one side; `None` where there is no such table.
    async fn ask(&self, side: Side, sql: &str) -> Result<Option<Vec<Option<String>>>, Breach> {
        let empty = std::fs::metadata(&self.target(side).place).map_or(true, |file| file.len() == 0);
        if self.engine.kind == Kind::Sqlite && empty {
            return Ok(None);
        }
        match self.session(side).await?.query(sql).await {
            Ok(rows) => Ok(Some(rows.into_iter().map(|mut row| row.remove(0)).collect())),
            Err(error) if error.kind == ha_migrate::DbErrorKind::Missing => Ok(None),
            Err(error) => Err(told(error)),
        }
    }
}

fn told(error: DbError) -> Breach {
    Breach::new(error.to_string())
}

struct Fixture(Kind);

struct Subject {
    pair: Pair,
    database: Arc<dyn Database>,
    /// A session of the source that is open all the time.
    kept: Mutex<Option<Box<dyn Session>>>,
    /// The transaction that has written.
    held: Mutex<Option<Box<dyn Session>>>,
}

#[async_trait]
impl CloneFixture for Fixture {
    fn name(&self) -> String {
        format!("clones of {}", self.0.name())
    }

    fn can(&self, _: CloneAbility) -> bool {
        true
    }

    async fn fresh(&self) -> Result<Box<dyn CloneSubject>, Breach> {
        let pair = Pair::start(self.0);
        let (database, kept) = (Arc::new(pair.database()), pair.session(Side::Source).await?);
        Ok(Box::new(Subject { pair, database, kept: Mutex::new(Some(kept)), held: Mutex::default() }))
    }
}

impl Subject {
    /// Tries all kinds of writes in one session; a row is left behind where they are accepted.
    async fn write_in(&self, session: &mut dyn Session) -> Result<bool, Breach> {
        let next = session.query("SELECT max(id) + 1 FROM orders").await.map_err(told)?;
        let next = next[0][0].clone().unwrap_or_default();
        let insert = format!("INSERT INTO orders (id) VALUES ({next})");
        let accepted = session.execute(&insert).await.is_ok();
        let id = if accepted { &next } else { "1" };
        let updated = session.execute(&format!("UPDATE orders SET id = id WHERE id = {id}")).await.is_ok();
        let deleted = session.execute(&format!("DELETE FROM orders WHERE id = {id}")).await.is_ok();
        if updated != accepted || deleted != accepted {
            let what = format!("inserts {accepted}, updates {updated} and deletes {deleted} are not accepted alike");
            return Err(Breach::new(what));
        }
        if accepted {
            session.execute(&insert).await.map_err(told)?;
        }
        Ok(accepted)
    }
}

#[async_trait]
impl CloneSubject for Subject {
    fn database(&self) -> Arc<dyn Database> {
        self.database.clone()
    }

    fn another(&self) -> Arc<dyn Database> {
        Arc::new(self.pair.database())
    }

    async fn write(&self, side: Side) -> Result<bool, Breach> {
        let accepted = self.write_in(&mut *self.pair.session(side).await?).await?;
        if side == Side::Source
            && let Some(kept) = &mut *self.kept.lock().await
            && self.write_in(&mut **kept).await? != accepted
        {
            return Err(Breach::new(format!("a new session is {accepted}, and one that was open is not")));
        }
        Ok(accepted)
    }

    async fn rows(&self, side: Side) -> Result<Option<Vec<u64>>, Breach> {
        let ids = self.pair.ask(side, "SELECT id FROM orders ORDER BY id").await?;
        Ok(ids.map(|ids| ids.into_iter().map(|id| id.unwrap().parse().unwrap()).collect()))
    }

    async fn has_total(&self, side: Side) -> Result<bool, Breach> {
        Ok(self.pair.ask(side, "SELECT total FROM orders").await?.is_some())
    }

    async fn occupy(&self) -> Result<(), Breach> {
        if self.pair.engine.kind == Kind::Sqlite {
            std::fs::write(&self.pair.clone.place, "").unwrap();
        }
        self.pair.session(Side::Clone).await?.execute("CREATE TABLE others (id INTEGER)").await.map_err(told)?;
        Ok(())
    }

    async fn spoil(&self) -> Result<(), Breach> {
        let spoilt = "UPDATE orders SET amount = 21 WHERE id = 2";
        self.pair.session(Side::Clone).await?.execute(spoilt).await.map_err(told)?;
        Ok(())
    }

    async fn hold(&self, hold: bool) -> Result<(), Breach> {
        let mut held = self.held.lock().await;
        if let Some(mut session) = held.take() {
            session.execute("COMMIT").await.map_err(told)?;
        }
        if hold {
            let mut session = self.pair.session(Side::Source).await?;
            session.execute("BEGIN").await.map_err(told)?;
            session.execute("INSERT INTO orders (id) VALUES (4711)").await.map_err(told)?;
            *held = Some(session);
        }
        Ok(())
    }

    async fn restart(&self) -> Result<(), Breach> {
        *self.kept.lock().await = None;
        self.pair.engine.kill();
        self.pair.engine.restart();
        Ok(())
    }
}

mod sqlite {
    ha_testkit::conformance!(clone, super::Fixture(super::Kind::Sqlite));
}

mod postgres {
    ha_testkit::conformance!(clone, super::Fixture(super::Kind::Postgres));
}

mod mariadb {
    ha_testkit::conformance!(clone, super::Fixture(super::Kind::MariaDb));
}
