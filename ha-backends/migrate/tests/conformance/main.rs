//! The suite for databases, on PostgreSQL, MariaDB and SQLite. The truth is what the product's own client says.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "the tests of faults use the rest of it")]
#[path = "../faults/engine.rs"]
mod engine;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::{Engine, Kind, Target};
use ha_core::backend::Database;
use ha_lab::DatabaseSpec;
use ha_migrate::script::{LoadOptions, Scripts};
use ha_migrate::{MigrateBackend, Migrator, OldRelease, Policy, Session, SessionRole};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::database::{
    DatabaseAbility, DatabaseFixture, DatabaseSubject, OLD_RELEASE, ScriptPhase, Waiting,
};

ha_lab::roles!();

const BASE: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, amount INTEGER);
INSERT INTO orders VALUES (1, 10), (2, 20), (3, 30);
CREATE TABLE marks (phase VARCHAR(20));";

const BACKFILL: &str = "UPDATE orders SET total = amount WHERE total IS NULL;
INSERT INTO marks VALUES ('backfill');";
const CONTRACT: &str = "ALTER TABLE orders DROP COLUMN amount;
INSERT INTO marks VALUES ('contract');";

/// MariaDB is told to refuse what it cannot do at once.
fn at_once(kind: Kind) -> &'static str {
    if kind == Kind::MariaDb { ", ALGORITHM=INSTANT" } else { "" }
}

fn scripts(kind: Kind, waiting: Waiting) -> Scripts {
    let clause = at_once(kind);
    let expand = format!("ALTER TABLE orders ADD COLUMN total INTEGER{clause};\nINSERT INTO marks VALUES ('expand');");
    let contract = CONTRACT.replace("amount;", &format!("amount{clause};"));
    let split = |expand: String| {
        vec![
            ("expand/V1__add_total.sql", expand),
            ("backfill/V2__fill_total.sql", BACKFILL.into()),
            ("contract/V3__drop_amount.sql", contract.clone()),
        ]
    };
    let files = match waiting {
        Waiting::Split => split(expand),
        Waiting::Edited => split(expand.replace("INTEGER", "BIGINT")),
        Waiting::Additive => vec![("expand/V1__add_total.sql", expand)],
        Waiting::Breaking => {
            vec![("expand/V1__rename.sql", format!("ALTER TABLE orders RENAME COLUMN amount TO total{clause};"))]
        }
        _ => Vec::new(),
    };
    Scripts::from_memory(files, &LoadOptions::new()).unwrap()
}

struct Fixture(Kind);

struct Subject {
    engine: Engine,
    target: Target,
    database: Arc<dyn Database>,
    waiting: Mutex<Waiting>,
    /// A session that holds the table, or is of the old release.
    held: tokio::sync::Mutex<Vec<Box<dyn Session>>>,
}

impl Subject {
    fn new(kind: Kind) -> Self {
        // What was committed outlives the death of the server.
        let engine = Engine::start_with(kind, &DatabaseSpec::default().durable());
        let target = engine.fresh();
        engine.sql(&target, BASE);
        if kind == Kind::MariaDb {
            engine.sql(
                &target,
                &format!("CREATE USER 'old'@'localhost'; GRANT ALL ON `{}`.* TO 'old'@'localhost'", target.database),
            );
        }
        let database = Self::value(&target, Waiting::Split);
        Self { engine, target, database, waiting: Mutex::new(Waiting::Split), held: tokio::sync::Mutex::default() }
    }

    fn value(target: &Target, waiting: Waiting) -> Arc<dyn Database> {
        let policy = Policy::default().with_connect_deadline(Duration::from_millis(500));
        let builder = Migrator::builder(target.connect(), scripts(target.kind, waiting)).with_policy(policy);
        let builder = match target.kind {
            Kind::Postgres => builder.with_old_release(OldRelease::new(OLD_RELEASE).with_application("esb-1.0")),
            Kind::MariaDb => builder.with_old_release(OldRelease::new(OLD_RELEASE).with_user("old")),
            Kind::Sqlite => builder,
        };
        Arc::new(MigrateBackend::new(builder.build().unwrap()))
    }

    fn number(&self, sql: &str) -> Result<u64, Breach> {
        let told = self.engine.try_sql(&self.target, sql)?;
        told.trim().parse().map_err(|_| Breach::new(format!("{sql}: {told}")))
    }

    fn has(&self, column: &str) -> Result<bool, Breach> {
        let sql = match self.target.kind {
            Kind::Sqlite => format!("SELECT count(*) FROM pragma_table_info('orders') WHERE name = '{column}'"),
            Kind::Postgres => format!(
                "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders' AND column_name = '{column}'"
            ),
            Kind::MariaDb => format!(
                "SELECT count(*) FROM information_schema.columns WHERE table_schema = database() AND table_name = 'orders' \
                 AND column_name = '{column}'"
            ),
        };
        Ok(self.number(&sql)? > 0)
    }

    async fn session(&self) -> Result<Box<dyn Session>, Breach> {
        self.target.connect().open(SessionRole::Migrator).await.map_err(|error| Breach::new(error.to_string()))
    }
}

fn name_of(phase: ScriptPhase) -> &'static str {
    match phase {
        ScriptPhase::Expand => "expand",
        ScriptPhase::Backfill => "backfill",
        ScriptPhase::Contract => "contract",
    }
}

#[async_trait]
impl DatabaseFixture for Fixture {
    fn name(&self) -> String {
        format!("migrations of {}", self.0.name())
    }

    fn can(&self, ability: DatabaseAbility) -> bool {
        match ability {
            DatabaseAbility::Fences | DatabaseAbility::Locks => true,
            // A file has no server to lose, and no sessions to tell.
            DatabaseAbility::Loses | DatabaseAbility::OldSessions => self.0 != Kind::Sqlite,
            _ => false,
        }
    }

    async fn fresh(&self) -> Result<Box<dyn DatabaseSubject>, Breach> {
        Ok(Box::new(Subject::new(self.0)))
    }
}

#[async_trait]
impl DatabaseSubject for Subject {
    fn database(&self) -> Arc<dyn Database> {
        self.database.clone()
    }

    fn another(&self) -> Arc<dyn Database> {
        Self::value(&self.target, *self.waiting.lock().unwrap())
    }

    async fn columns(&self) -> Result<Vec<String>, Breach> {
        let mut columns = Vec::new();
        for column in ["id", "amount", "total"] {
            if self.has(column)? {
                columns.push(column.to_string());
            }
        }
        Ok(columns)
    }

    async fn rows(&self) -> Result<u64, Breach> {
        self.number("SELECT count(*) FROM orders")
    }

    async fn unfilled(&self) -> Result<u64, Breach> {
        let is_there = self.has("total")?;
        self.number(if is_there {
            "SELECT count(*) FROM orders WHERE total IS NULL"
        } else {
            "SELECT count(*) FROM orders"
        })
    }

    async fn applied(&self, phase: ScriptPhase) -> Result<u32, Breach> {
        let count = self.number(&format!("SELECT count(*) FROM marks WHERE phase = '{}'", name_of(phase)))?;
        u32::try_from(count).map_err(|error| Breach::new(error.to_string()))
    }

    async fn scripts(&self, waiting: Waiting) -> Result<(), Breach> {
        *self.waiting.lock().unwrap() = waiting;
        Ok(())
    }

    async fn fail(&self, phase: ScriptPhase) -> Result<(), Breach> {
        let phase = name_of(phase);
        let sql = match self.target.kind {
            Kind::Sqlite => format!(
                "CREATE TRIGGER refused BEFORE INSERT ON marks WHEN NEW.phase = '{phase}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
            ),
            Kind::Postgres | Kind::MariaDb => {
                format!("ALTER TABLE marks ADD CONSTRAINT refused CHECK (phase <> '{phase}')")
            }
        };
        self.engine.try_sql(&self.target, &sql)?;
        Ok(())
    }

    async fn mend(&self) -> Result<(), Breach> {
        let sql = match self.target.kind {
            Kind::Sqlite => "DROP TRIGGER refused",
            Kind::Postgres | Kind::MariaDb => "ALTER TABLE marks DROP CONSTRAINT refused",
        };
        self.engine.try_sql(&self.target, sql)?;
        Ok(())
    }

    async fn use_old_release(&self, connected: bool) -> Result<(), Breach> {
        let mut held = self.held.lock().await;
        held.clear();
        if connected {
            let failed = |error: ha_migrate::DbError| Breach::new(error.to_string());
            let session = match self.target.kind {
                Kind::MariaDb => {
                    let old =
                        ha_migrate::MySql::on_socket(&self.target.place, &self.target.database, "old").as_mariadb();
                    ha_migrate::Connect::open(&old, SessionRole::Migrator).await.map_err(failed)?
                }
                Kind::Postgres | Kind::Sqlite => {
                    let mut session = self.session().await?;
                    session.execute("SET application_name = 'esb-1.0'").await.map_err(failed)?;
                    session
                }
            };
            held.push(session);
        }
        let sql = match self.target.kind {
            Kind::Postgres => "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'esb-1.0'",
            Kind::MariaDb => "SELECT count(*) FROM information_schema.processlist WHERE user = 'old'",
            Kind::Sqlite => return Err(Breach::new("a file tells no sessions")),
        };
        let until = Instant::now() + Duration::from_secs(10);
        while (self.number(sql)? > 0) != connected {
            if Instant::now() > until {
                return Err(Breach::new("the server does not see what became of the session"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn lock(&self, hold: bool) -> Result<(), Breach> {
        let mut held = self.held.lock().await;
        held.clear();
        if hold {
            let mut session = self.session().await?;
            let statements: &[&str] = match self.target.kind {
                Kind::Postgres => &["BEGIN", "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"],
                Kind::MariaDb => &["LOCK TABLES orders WRITE"],
                Kind::Sqlite => &["BEGIN IMMEDIATE"],
            };
            for statement in statements {
                session.execute(statement).await.map_err(|error| Breach::new(error.to_string()))?;
            }
            held.push(session);
        }
        Ok(())
    }

    async fn lose(&self) -> Result<(), Breach> {
        self.engine.kill();
        Ok(())
    }

    async fn restart(&self) -> Result<(), Breach> {
        self.held.lock().await.clear();
        self.engine.kill();
        self.engine.restart();
        Ok(())
    }
}

mod postgres {
    ha_testkit::conformance!(database, super::Fixture(super::Kind::Postgres));
}

mod mariadb {
    ha_testkit::conformance!(database, super::Fixture(super::Kind::MariaDb));
}

mod sqlite {
    ha_testkit::conformance!(
        database,
        super::Fixture(super::Kind::Sqlite),
        skips = ["fixture: loses the database", "fixture: old sessions"]
    );
}
