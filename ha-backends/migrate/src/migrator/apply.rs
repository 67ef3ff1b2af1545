//! Runs scripts and statements, each with what the history keeps of it.

use std::time::Duration;

use tokio::time::Instant;

use super::driver::{DONE, Driver, Failed, gone};
use super::{Event, ask};
use crate::backfill::{last_and_first, substituted};
use crate::history::{Flyway, HistoryRow, Noted, Prepared, Record, RowState, is_fenced};
use crate::machine::{At, Input, Key, Step, Unit, UnitKind};
use crate::{DbError, DbErrorKind, Dialect, Done, Kind};

impl Driver<'_> {
    fn dialect(&self) -> Dialect {
        self.tables.dialect()
    }

    fn begin(&self) -> &'static str {
        match self.dialect() {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::MariaDb | Dialect::MySql => "START TRANSACTION",
            Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::Postgres | Dialect::SqlServer => "BEGIN",
        }
    }

    /// What the last statements of a script's transaction write: its history row first.
    fn rows_of(&self, unit: &Unit, record: &Record<'_>) -> Vec<String> {
        let state = match unit.kind {
            UnitKind::Undo => RowState::Undone,
            UnitKind::Versioned | UnitKind::Repeatable | UnitKind::Baseline => RowState::Success,
        };
        let note = self.run.permit.as_ref().filter(|_| unit.key.phase == crate::script::Phase::Contract);
        let note = note.map(|permit| format!("permitted by {}", permit.granted_by()));
        let mut rows = vec![self.writer().record(unit, record, state, note.as_deref())];
        if !unit.transactional || unit.kind == UnitKind::Undo {
            rows.push(self.writer().settle(&unit.key));
        }
        if let Some(version) = unit.key.version.strip_prefix("U:") {
            rows.push(self.writer().settle(&Key { version: version.into(), phase: unit.key.phase }));
        }
        if self.migrator.mirror_flyway {
            rows.push(Flyway(self.dialect()).mirror(&self.tables, unit, &self.migrator.applied_by, "0"));
        }
        rows
    }

    /// PostgreSQL: the whole script with its history row in one message. If this process dies, both are there or neither is.
    pub(super) async fn run_whole(&mut self, index: usize) -> Result<Input, Failed> {
        let unit = self.unit(index)?;
        let prepared = self.prepared().await?;
        let mut message = format!("BEGIN;\nEXECUTE {};\n", prepared.fence);
        for step in &unit.steps {
            message.push_str(&step.text);
            // A comment at its end would swallow the semicolon.
            message.push_str("\n;\n");
        }
        for row in self.rows_of(&unit, &Record::Prepared(&prepared)) {
            message.push_str(&row);
            message.push_str(";\n");
        }
        message.push_str("COMMIT");
        match self.session()?.execute(&message).await {
            Ok(_) => {}
            Err(error) => {
                if Prepared::is_missing(&error) {
                    self.prepared = None;
                }
                return self.rolled_back(error, None).await;
            }
        }
        self.restore_path(&unit).await?;
        Ok(DONE)
    }

    /// Prepares what each whole script needs: to plan it every time takes longer than a small script.
    async fn prepared(&mut self) -> Result<Prepared, Failed> {
        if let Some(prepared) = &self.prepared {
            return Ok(prepared.clone());
        }
        self.prepares += 1;
        let (prepared, message) = self.writer().prepare(self.prepares);
        self.session()?.execute(&message).await?;
        self.prepared = Some(prepared.clone());
        Ok(prepared)
    }

    /// The same statement by statement: a failure names its own.
    pub(super) async fn run_stepwise(&mut self, index: usize) -> Result<Input, Failed> {
        let unit = self.unit(index)?;
        let (began, begin, fence) = (Instant::now(), self.begin(), self.writer().fence());
        let raced = self.writer().raced(&unit.key);
        self.session()?.execute(begin).await?;
        if let Some(stopped) = self.fence_in_transaction(&fence, &raced).await? {
            return Ok(stopped);
        }
        let mut rows = 0;
        for (number, step) in unit.steps.iter().enumerate() {
            match self.perform(step).await {
                Ok(done) => rows += done.rows,
                Err(failed) => return self.rolled_back(failed.error, Some(number)).await,
            }
        }
        for row in self.rows_of(&unit, &Record::Took(began.elapsed())) {
            if let Err(error) = self.session()?.execute(&row).await {
                return self.rolled_back(error, None).await;
            }
        }
        if let Err(error) = self.session()?.execute("COMMIT").await {
            return self.rolled_back(error, None).await;
        }
        self.restore_path(&unit).await?;
        Ok(Input::Done { rows })
    }

    /// Runs one statement, a COPY with its rows.
    async fn perform(&mut self, step: &Step) -> Result<Done, Failed> {
        let session = self.session()?;
        Ok(match &step.rows {
            Some(rows) => session.copy_in(&step.text, rows).await?,
            None => session.execute(&step.text).await?,
        })
    }

    /// Fences inside the transaction that was begun; ends it where this run is not the latest, or comes late.
    async fn fence_in_transaction(&mut self, fence: &str, raced: &str) -> Result<Option<Input>, Failed> {
        let stopped = match self.session()?.execute(fence).await {
            Ok(done) if done.rows == 0 => Some(false),
            Ok(_) if self.dialect() == Dialect::Sqlite => match self.session()?.query(raced).await {
                Ok(rows) => (!rows.is_empty()).then_some(true),
                Err(error) => return self.rolled_back(error, None).await.map(Some),
            },
            Ok(_) => None,
            Err(error) => return self.rolled_back(error, None).await.map(Some),
        };
        match stopped {
            None => Ok(None),
            Some(raced) => {
                self.session()?.execute("ROLLBACK").await?;
                if raced { Ok(Some(Input::Raced)) } else { self.who_fenced().await.map(Some) }
            }
        }
    }

    /// Rolls a failed transaction back, and says what failed.
    async fn rolled_back(&mut self, error: DbError, step: Option<usize>) -> Result<Input, Failed> {
        if !matches!(error.kind, DbErrorKind::ConnectionLost | DbErrorKind::Unreachable) {
            let ended = self.session()?.execute("ROLLBACK").await;
            // SQLite ends some transactions itself.
            if let Err(other) = ended
                && matches!(other.kind, DbErrorKind::ConnectionLost | DbErrorKind::Unreachable)
            {
                return Err(other.into());
            }
        }
        if is_fenced(&error) {
            return self.who_fenced().await;
        }
        Err(Failed { error, step })
    }

    /// A statement in a transaction of its own, with its journal row.
    pub(super) async fn run_with_row(&mut self, at: At) -> Result<Input, Failed> {
        let (unit, step) = (self.unit(at.unit)?, self.step(at)?);
        let (begin, raced) = (self.begin(), self.writer().raced(&unit.key));
        let (fence, row) = (self.writer().fence(), self.writer().ran(&unit, at.step, &step));
        self.session()?.execute(begin).await?;
        if self.dialect() == Dialect::Sqlite
            && let Some(stopped) = self.fence_in_transaction(&fence, &raced).await?
        {
            return Ok(stopped);
        }
        let rows = match self.perform(&step).await {
            Ok(done) => done.rows,
            Err(failed) => return self.rolled_back(failed.error, Some(at.step)).await,
        };
        self.commit_with(&[row], at.step).await.map(|stopped| stopped.unwrap_or(Input::Done { rows }))
    }

    /// Writes the rows that end a transaction, the first of them fenced, and commits.
    async fn commit_with(&mut self, rows: &[String], step: usize) -> Result<Option<Input>, Failed> {
        for (index, row) in rows.iter().enumerate() {
            match self.session()?.execute(row).await {
                Ok(done) if index == 0 && done.rows == 0 => {
                    self.session()?.execute("ROLLBACK").await?;
                    return self.who_fenced().await.map(Some);
                }
                Ok(_) => {}
                Err(error) => return self.rolled_back(error, Some(step)).await.map(Some),
            }
        }
        match self.session()?.execute("COMMIT").await {
            Ok(_) => Ok(None),
            Err(error) => self.rolled_back(error, Some(step)).await.map(Some),
        }
    }

    pub(super) async fn record(&mut self, index: usize, took: Duration) -> Result<Input, Failed> {
        let unit = self.unit(index)?;
        let rows = self.rows_of(&unit, &Record::Took(took));
        let (begin, fence, raced) = (self.begin(), self.writer().fence(), self.writer().raced(&unit.key));
        self.session()?.execute(begin).await?;
        // Without a lock of the session, another migrator may have come to the end of it first.
        if self.dialect() == Dialect::Sqlite
            && let Some(stopped) = self.fence_in_transaction(&fence, &raced).await?
        {
            return Ok(stopped);
        }
        let stopped = self.commit_with(&rows, unit.steps.len()).await?;
        self.restore_path(&unit).await?;
        Ok(stopped.unwrap_or(DONE))
    }

    pub(super) async fn abort(&mut self, key: &Key, note: &str) -> Result<Input, Failed> {
        let script = self.units.iter().find(|unit| unit.key == *key).map(|unit| unit.script.clone());
        let row = self
            .writer()
            .note(&Noted { script: script.as_deref().unwrap_or(""), ..Noted::of(key, RowState::Aborted, note) });
        let rows = [row, self.writer().settle(key)];
        let begin = self.begin();
        self.session()?.execute(begin).await?;
        Ok(self.commit_with(&rows, 0).await?.unwrap_or(DONE))
    }

    pub(super) async fn import(&mut self, rows: &[HistoryRow]) -> Result<Input, Failed> {
        let note = "taken over from flyway_schema_history";
        let write = |row: &HistoryRow| {
            let (kind, script, crc32) = (row.kind.as_str(), row.script.as_str(), row.crc32);
            self.writer().note(&Noted { kind, script, crc32, ..Noted::of(&row.key, RowState::Baseline, note) })
        };
        let rows: Vec<String> = rows.iter().map(write).collect();
        let begin = self.begin();
        self.session()?.execute(begin).await?;
        Ok(self.commit_with(&rows, 0).await?.unwrap_or(DONE))
    }

    /// The next batch of a backfill: its rows, and the cursor behind them, in one transaction.
    pub(super) async fn batch(&mut self, index: usize, size: u64) -> Result<Input, Failed> {
        let dialect = self.dialect();
        let unit = self.unit(index)?;
        let spec = unit.backfill.clone().ok_or_else(gone)?;
        let first = unit.steps.first().cloned().ok_or_else(gone)?;
        let began = Instant::now();
        let (begin, fence) = (self.begin(), self.writer().fence());
        let raced = self.writer().raced(&unit.key);
        let read = format!(
            "SELECT batch_cursor, rows_done FROM {} WHERE version = {} AND phase = {} AND stmt_no = 0 AND state = 'done'",
            self.tables.step(),
            crate::history::text(dialect, &unit.key.version),
            crate::history::text(dialect, &unit.key.phase.to_string()),
        );
        self.session()?.execute(begin).await?;
        if let Some(stopped) = self.fence_in_transaction(&fence, &raced).await? {
            return Ok(stopped);
        }
        let rows = match self.session()?.query(&read).await {
            Ok(rows) => rows,
            Err(error) => return self.rolled_back(error, Some(0)).await,
        };
        let cursor = rows.first().and_then(|row| row.first()).cloned().flatten();
        let total: u64 =
            rows.first().and_then(|row| row.get(1)).cloned().flatten().and_then(|done| done.parse().ok()).unwrap_or(0);
        let range = match self.session()?.query(&last_and_first(dialect, &spec, cursor.as_deref(), size)).await {
            Ok(range) => range,
            Err(error) => return self.rolled_back(error, Some(0)).await,
        };
        let value = |index: usize| range.first().and_then(|row| row.get(index)).cloned().flatten();
        let (Some(from), Some(to)) = (value(0), value(1)) else {
            self.session()?.execute("ROLLBACK").await?;
            return Ok(Input::Batch { rows: 0, more: false, took: began.elapsed(), lag: Duration::ZERO });
        };
        let found: u64 = value(2).and_then(|count| count.parse().ok()).unwrap_or(0);
        let mut changed = 0;
        for (number, step) in unit.steps.iter().enumerate() {
            match self.session()?.execute(&substituted(dialect, &step.text, &from, &to)).await {
                Ok(done) => changed += done.rows,
                Err(error) => return self.rolled_back(error, Some(number)).await,
            }
        }
        let total = total + changed;
        let row = self.writer().cursor(&unit, &first, Some(&to), total);
        if let Some(stopped) = self.commit_with(&[row], 0).await? {
            return Ok(stopped);
        }
        let took = began.elapsed();
        let lag = ask::lag(self.session()?, dialect).await;
        let rate = u64::try_from(u128::from(changed) * 1_000 / took.as_millis().max(1)).unwrap_or(u64::MAX);
        tracing::debug!(script = unit.script, rows = changed, total, rate, "rows backfilled");
        self.migrator.tell(&Event::Batch { script: unit.script.clone(), rows: changed, total, rate });
        Ok(Input::Batch { rows: changed, more: found >= size, took, lag })
    }

    pub(super) async fn count_left(&mut self, index: usize) -> Result<Input, Failed> {
        let unit = self.unit(index)?;
        let Some(verify) = unit.backfill.as_ref().and_then(|spec| spec.verify.clone()) else {
            return Ok(Input::Left(0));
        };
        let rows = self.session()?.query(&verify).await?;
        match ask::first(&rows).map(str::parse) {
            Some(Ok(left)) => Ok(Input::Left(left)),
            Some(Err(_)) | None => {
                let message = "the statement below ha:verify answers no number: make it a SELECT count(*)";
                Err(DbError::new(DbErrorKind::Refused, message).into())
            }
        }
    }

    /// Gives the session its search path again, where a script may have changed it: the next one is written for that.
    async fn restore_path(&mut self, unit: &Unit) -> Result<(), Failed> {
        let changes = self.dialect() == Dialect::Postgres
            && unit.steps.iter().any(|step| {
                matches!(step.class.kind, Kind::Setting | Kind::Query | Kind::Opaque)
                    && step.text.to_ascii_lowercase().contains("search_path")
            });
        if changes {
            let path = crate::history::text(Dialect::Postgres, &self.search_path);
            self.session()?.query(&format!("SELECT set_config('search_path', {path}, false)")).await?;
        }
        Ok(())
    }
}
