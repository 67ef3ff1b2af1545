//! Servers that must not be migrated, and passwords that do not open them.

use std::sync::Arc;

use async_trait::async_trait;
use ha_migrate::{
    Cancel, Connect, DbError, DbErrorKind, Dialect, Done, MigrateError, Migrator, MySql, Postgres, Rows, Secret,
    Session, SessionId, SessionRole,
};

use crate::engine::{Engine, Kind, Target};
use crate::kit::{block_on, expand, migrator, policy, scripts};
use crate::says;

const FILES: [(&str, &str); 1] = [("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, n int);")];

fn run(connect: Arc<dyn Connect>) -> Result<ha_migrate::Report, MigrateError> {
    let builder = Migrator::builder(connect, scripts(&FILES)).with_policy(policy());
    block_on(builder.build().unwrap().run(&expand()))
}

fn nothing_is_there(engine: &Engine, target: &Target) {
    for table in ["a", "ha_migration_lock"] {
        assert!(engine.try_sql(target, &format!("SELECT * FROM {table}")).is_err(), "{:?}: {table}", engine.kind);
    }
}

#[test]
fn a_wrong_password_is_denied_at_once_and_the_right_one_goes_on() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let database = &target.database;
        engine.sql(&target, &match kind {
            Kind::MariaDb => {
                format!("CREATE USER guest@127.0.0.1 IDENTIFIED BY 'right'; GRANT ALL ON {database}.* TO guest@127.0.0.1")
            }
            Kind::Postgres | Kind::Sqlite => {
                "CREATE ROLE guest LOGIN PASSWORD 'right'; GRANT ALL ON SCHEMA public TO guest".into()
            }
        });
        let connect = |password: &str| -> Arc<dyn Connect> {
            let password = Secret::new(password);
            match kind {
                Kind::MariaDb => Arc::new(
                    MySql::new("127.0.0.1", engine.port(), database, "guest").with_password(password).as_mariadb(),
                ),
                Kind::Postgres | Kind::Sqlite => {
                    Arc::new(Postgres::new("127.0.0.1", engine.port(), database, "guest").with_password(password))
                }
            }
        };
        let began = std::time::Instant::now();
        let denied = run(connect("wrong")).unwrap_err();
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{kind:?}: it is not tried again");
        let MigrateError::Database { error, .. } = &denied else { panic!("{kind:?}: {denied}") };
        assert_eq!(error.kind, DbErrorKind::Denied, "{denied}");
        says(&denied.to_string(), &["connect", "guest", "check user, password and privileges"]);
        assert!(!denied.to_string().contains("wrong"), "{denied}");
        nothing_is_there(&engine, &target);
        assert_eq!(run(connect("right")).unwrap().applied, ["V1__a.sql"], "{kind:?}");
    }
}

#[test]
fn a_replica_is_refused_and_nothing_is_tried_on_it() {
    let engine = Engine::start_with(Kind::Postgres, &ha_lab::DatabaseSpec::default().with_setting("wal_level=replica"));
    let target = engine.fresh();
    engine.kill();
    std::fs::write(engine.folder().join("data/standby.signal"), "").unwrap();
    engine.restart();
    let refused = block_on(migrator(&target, &FILES).run(&expand())).unwrap_err();
    assert!(matches!(refused, MigrateError::Unsupported(_)), "{refused}");
    says(&refused.to_string(), &["the server is a standby", "connect to the primary"]);
    nothing_is_there(&engine, &target);
    // It was made the primary.
    engine.sql(&target, "SELECT pg_promote(true, 30)");
    assert_eq!(block_on(migrator(&target, &FILES).run(&expand())).unwrap().applied, ["V1__a.sql"]);

    let engine = Engine::start(Kind::MariaDb);
    let target = engine.fresh();
    engine.sql(&target, "SET GLOBAL read_only = 1");
    let refused = block_on(migrator(&target, &FILES).run(&expand())).unwrap_err();
    assert!(matches!(refused, MigrateError::Unsupported(_)), "{refused}");
    says(&refused.to_string(), &["read_only is ON", "connect to the primary"]);
    nothing_is_there(&engine, &target);
    engine.sql(&target, "SET GLOBAL read_only = 0");
    assert_eq!(block_on(migrator(&target, &FILES).run(&expand())).unwrap().applied, ["V1__a.sql"]);
}

/// Gives transactions to one or the other of two sessions, as a pooler does: from its so many-th message on.
#[derive(Debug)]
struct Pooler {
    inner: Arc<dyn Connect>,
    from: usize,
    stays: usize,
}

#[derive(Debug)]
struct Pooled {
    sessions: [Box<dyn Session>; 2],
    id: SessionId,
    from: usize,
    stays: usize,
    messages: usize,
    at: usize,
    in_transaction: bool,
}

#[async_trait]
impl Connect for Pooler {
    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    fn target(&self) -> &str {
        self.inner.target()
    }

    async fn open(&self, role: SessionRole) -> Result<Box<dyn Session>, DbError> {
        let sessions = [self.inner.open(role).await?, self.inner.open(role).await?];
        let id = sessions[0].id().clone();
        Ok(Box::new(Pooled {
            sessions,
            id,
            from: self.from,
            stays: self.stays,
            messages: 0,
            at: 0,
            in_transaction: false,
        }))
    }
}

impl Pooled {
    fn next(&mut self, sql: &str) -> &mut Box<dyn Session> {
        self.messages += 1;
        if self.messages >= self.from && !self.in_transaction {
            // Now the one is free, now the other: for so many messages each.
            self.at = self.messages / self.stays % 2;
        }
        match sql {
            "BEGIN" | "START TRANSACTION" => self.in_transaction = true,
            "COMMIT" | "ROLLBACK" => self.in_transaction = false,
            _ => {}
        }
        &mut self.sessions[self.at]
    }
}

#[async_trait]
impl Session for Pooled {
    fn id(&self) -> &SessionId {
        &self.id
    }

    fn canceller(&self) -> Box<dyn Cancel> {
        self.sessions[0].canceller()
    }

    async fn execute(&mut self, sql: &str) -> Result<Done, DbError> {
        self.next(sql).execute(sql).await
    }

    async fn query(&mut self, sql: &str) -> Result<Rows, DbError> {
        self.next(sql).query(sql).await
    }

    async fn copy_in(&mut self, sql: &str, rows: &str) -> Result<Done, DbError> {
        self.next(sql).copy_in(sql, rows).await
    }
}

#[test]
fn a_pooler_that_switches_sessions_is_refused_before_a_lock_is_taken_on_one_of_them() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        let refused = run(Arc::new(Pooler { inner: target.connect(), from: 0, stays: 1 })).unwrap_err();
        assert!(matches!(refused, MigrateError::Unsupported(_)), "{kind:?}: {refused}");
        says(&refused.to_string(), &["a pooler switches sessions", "connect to the server itself"]);
        nothing_is_there(&engine, &target);
        assert_eq!(run(target.connect()).unwrap().applied, ["V1__a.sql"], "{kind:?}: without it");
    }
}

#[test]
fn a_pooler_that_switches_sessions_in_mid_run_stops_it_and_the_next_run_completes_it() {
    let files: Vec<(String, String)> = (1..=30)
        .map(|number| {
            let text =
                format!("CREATE TABLE t{number} (id int PRIMARY KEY);\nINSERT INTO t{number} VALUES ({number});");
            (format!("V{number}__t.sql"), text)
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let engine = Engine::start(kind);
        let target = engine.fresh();
        // Long after it was asked what it is.
        let pooler = Arc::new(Pooler { inner: target.connect(), from: 26, stays: 7 });
        let builder = Migrator::builder(pooler, scripts(&files)).with_policy(policy());
        let stopped = block_on(builder.build().unwrap().run(&expand())).unwrap_err();
        assert!(matches!(stopped, MigrateError::Unsupported(_)), "{kind:?}: {stopped}");
        says(
            &stopped.to_string(),
            &["a pooler switches sessions", "that which has the lock", "connect to the server itself"],
        );
        let done: usize = engine.sql(&target, "SELECT count(*) FROM ha_migration_history").parse().unwrap();
        assert!(done < files.len(), "{kind:?}: it stopped in the middle: {done}");
        let rest =
            block_on(migrator(&target, &files).run(&expand())).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(rest.applied.len(), files.len() - done, "{kind:?}");
        for number in 1..=30 {
            assert_eq!(engine.sql(&target, &format!("SELECT id FROM t{number}")), number.to_string(), "{kind:?}");
        }
    }
}
