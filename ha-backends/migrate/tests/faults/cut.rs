//! The connection is lost before or after each message of a run: what happened is found out, and nothing happens twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use ha_migrate::script::Phase;
use ha_migrate::{
    Cancel, Connect, DbError, DbErrorKind, Dialect, Done, Migrator, Rows, Run, Session, SessionId, SessionRole,
};

use crate::engine::{Engine, Kind};
use crate::kit::{Dice, block_on, count, policy, scripts};

/// Loses one connection, at one message.
#[derive(Debug)]
struct Cutting {
    inner: Arc<dyn Connect>,
    messages: Arc<AtomicU32>,
    at: u32,
    /// After the server has done it; else before.
    after: bool,
}

#[derive(Debug)]
struct CutSession {
    inner: Option<Box<dyn Session>>,
    id: SessionId,
    messages: Arc<AtomicU32>,
    at: u32,
    after: bool,
}

#[async_trait]
impl Connect for Cutting {
    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    fn target(&self) -> &str {
        self.inner.target()
    }

    async fn open(&self, role: SessionRole) -> Result<Box<dyn Session>, DbError> {
        let inner = self.inner.open(role).await?;
        let (id, messages) = (inner.id().clone(), self.messages.clone());
        Ok(Box::new(CutSession { inner: Some(inner), id, messages, at: self.at, after: self.after }))
    }
}

/// A session that is gone has nothing to cancel.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl Cancel for Nothing {
    async fn cancel(&self) -> Result<(), DbError> {
        Ok(())
    }
}

fn lost() -> DbError {
    DbError::new(DbErrorKind::ConnectionLost, "cut by the test")
}

impl CutSession {
    fn is_cut(&self) -> bool {
        self.messages.fetch_add(1, Ordering::SeqCst) + 1 == self.at
    }
}

#[async_trait]
impl Session for CutSession {
    fn id(&self) -> &SessionId {
        &self.id
    }

    fn canceller(&self) -> Box<dyn Cancel> {
        match &self.inner {
            Some(inner) => inner.canceller(),
            None => Box::new(Nothing),
        }
    }

    async fn execute(&mut self, sql: &str) -> Result<Done, DbError> {
        let cut = self.is_cut();
        let inner = self.inner.as_mut().ok_or_else(lost)?;
        if !cut {
            return inner.execute(sql).await;
        }
        if self.after {
            let _ = inner.execute(sql).await;
        }
        self.inner = None;
        Err(lost())
    }

    async fn query(&mut self, sql: &str) -> Result<Rows, DbError> {
        let cut = self.is_cut();
        let inner = self.inner.as_mut().ok_or_else(lost)?;
        if !cut {
            return inner.query(sql).await;
        }
        if self.after {
            let _ = inner.query(sql).await;
        }
        self.inner = None;
        Err(lost())
    }

    async fn copy_in(&mut self, sql: &str, rows: &str) -> Result<Done, DbError> {
        let cut = self.is_cut();
        let inner = self.inner.as_mut().ok_or_else(lost)?;
        if !cut {
            return inner.copy_in(sql, rows).await;
        }
        if self.after {
            let _ = inner.copy_in(sql, rows).await;
        }
        self.inner = None;
        Err(lost())
    }
}

pub(crate) fn files(kind: Kind) -> Vec<(&'static str, &'static str)> {
    let index = match kind {
        Kind::Postgres => "CREATE INDEX CONCURRENTLY ai ON a (n);",
        Kind::MariaDb | Kind::Sqlite => "CREATE INDEX ai ON a (n);\nUPDATE a SET n = n + 1;",
    };
    let mut files = vec![
        (
            "V1__a.sql",
            "CREATE TABLE a (id int PRIMARY KEY, n int);\nINSERT INTO a VALUES (1, 0), (2, 0), (3, 0);\nUPDATE a SET n = n + 1;",
        ),
        (
            "V2__b.sql",
            "ALTER TABLE a ADD COLUMN m int;\nUPDATE a SET n = n + 1;\nCREATE TABLE b (id int PRIMARY KEY, n int);\nDROP TABLE b;",
        ),
        ("V3__i.sql", index),
        (
            "V4__fill.sql",
            "-- ha:backfill table=a key=id batch=2\nUPDATE a SET m = coalesce(m, 0) + 1 WHERE id BETWEEN :from AND :to;\n\
             -- ha:verify\nSELECT count(*) FROM a WHERE m IS NULL;",
        ),
    ];
    if kind == Kind::Postgres {
        let rows = "UPDATE a SET n = n + 1;\nCOPY a (id, n) FROM STDIN;\n4\t1\n5\t1\n\\.\nUPDATE a SET n = n + 1;";
        files.insert(3, ("V3_1__rows.sql", rows));
        files.insert(
            4,
            ("V3_2__rows.sql", "-- ha:no-transaction\nCOPY a (id, n) FROM STDIN;\n6\t1\n\\.\nUPDATE a SET n = n + 1;"),
        );
    }
    files
}

#[test]
fn a_connection_lost_at_any_message_leads_to_the_same_end() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let (mut expected, mut messages, mut found) = (String::new(), u32::MAX, 0);
        let mut runs = 0;
        // Every message in the long job; else every third, beginning at any.
        let every = count("HA_DB_CUT_EVERY", 3);
        let first = 1 + u32::try_from(Dice::new().below(u64::from(every))).unwrap();
        // The first run is not cut: it counts the messages.
        for at in std::iter::once(0).chain((first..).step_by(every as usize)) {
            if at > messages {
                break;
            }
            for after in [false, true] {
                let target = engine.fresh();
                let counter = Arc::new(AtomicU32::new(0));
                let cutting = Cutting { inner: target.connect(), messages: counter.clone(), at, after };
                let migrator = Migrator::builder(Arc::new(cutting), scripts(&files(kind))).with_policy(policy());
                let migrator = migrator.build().unwrap();
                let report = block_on(migrator.run(&Run::to(Phase::Backfill)));
                let report = report.unwrap_or_else(|error| panic!("{kind:?}, message {at}, after: {after}: {error}"));
                if at == 0 {
                    (expected, messages) = (engine.dump(&target), counter.load(Ordering::SeqCst));
                }
                assert_eq!(engine.dump(&target), expected, "{kind:?}, message {at}, after: {after}: {report:?}");
                assert_eq!(report.reconnects, u32::from(at > 0), "{kind:?}, message {at}: {report:?}");
                (runs, found) = (runs + 1, found + report.found_applied);
            }
        }
        println!("{}: {runs} runs of {messages} messages, {found} statements found done", kind.name());
    }
}
