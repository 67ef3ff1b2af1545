//! Runs a machine against a database: one session, one command at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Blocker, Event, Migrator, OldRelease, Run, ask};
use crate::history::{Fence, Flyway, History, Prepared, Tables, Writer};
use crate::machine::{At, Command, Input, Machine, Step, Summary, Unit, sha256};
use crate::{DbError, DbErrorKind, Dialect, MigrateError, Session, SessionId, SessionRole};

/// What one run has in hand.
pub(super) struct Driver<'a> {
    pub(super) migrator: &'a Migrator,
    pub(super) units: Arc<[Unit]>,
    pub(super) run: &'a Run,
    pub(super) session: Option<Box<dyn Session>>,
    pub(super) tables: Tables,
    pub(super) fence: Fence,
    pub(super) lock_key: String,
    /// PostgreSQL: where the session looks for names when a script begins.
    pub(super) search_path: String,
    pub(super) deadline: Instant,
    /// What the present session has prepared, and how often that was done.
    pub(super) prepared: Option<Prepared>,
    pub(super) prepares: u32,
    /// Until then no transaction can have become old: every one that there was is younger.
    quiet_until: Option<Instant>,
    dialect: Dialect,
}

impl<'a> Driver<'a> {
    pub(super) fn new(migrator: &'a Migrator, run: &'a Run, units: Arc<[Unit]>, limit: Duration) -> Self {
        let dialect = migrator.connect.dialect();
        let fence = Fence {
            epoch: 0,
            owner: migrator.owner_of_run(),
            lease: run.lease,
            session: SessionId { number: 0, began: String::new() },
            rank: 0,
        };
        Self {
            migrator,
            units,
            run,
            session: None,
            tables: migrator.tables.clone(),
            fence,
            lock_key: String::new(),
            search_path: String::new(),
            deadline: after(limit),
            prepared: None,
            prepares: 0,
            quiet_until: None,
            dialect,
        }
    }

    /// Tells whether no transaction is old, without a question as long as none can be.
    async fn is_quiet(&mut self) -> Result<bool, Failed> {
        let now = Instant::now();
        if self.quiet_until.is_some_and(|until| now < until) {
            return Ok(true);
        }
        let oldest = ask::oldest_transaction(self.session()?).await?;
        // Counted from before the question: what was so old then is older by what the answer took.
        self.quiet_until = ask::OLD.checked_sub(oldest).map(|left| now + left);
        Ok(oldest < ask::OLD && Instant::now() < now + ask::OLD)
    }

    /// Runs the machine to its end.
    pub(super) async fn drive(&mut self, mut machine: Machine) -> (Summary, Result<(), MigrateError>) {
        let start = Instant::now();
        loop {
            let now = start.elapsed();
            if let Some(outcome) = machine.outcome() {
                // Closed on any exit, and its lock with it.
                self.session = None;
                return (machine.summary().clone(), outcome.clone().map(drop));
            }
            let Some(command) = machine.poll_command(now) else {
                if let Some(until) = machine.poll_timeout() {
                    tokio::time::sleep_until(start + until.min(Duration::from_secs(365 * 86_400))).await;
                }
                machine.handle(start.elapsed(), Input::Tick);
                continue;
            };
            let cancel = self.session.as_ref().map(|session| session.canceller());
            let deadline = self.deadline;
            let input = match tokio::time::timeout_at(deadline, self.run_command(&command)).await {
                Ok(Ok(input)) => input,
                Ok(Err(Failed { error, step })) => {
                    if matches!(error.kind, DbErrorKind::ConnectionLost | DbErrorKind::Unreachable) {
                        self.session = None;
                    }
                    tracing::debug!(error = %error, "migration command failed");
                    self.tell_failure(&command, &error);
                    Input::Failed { error, step }
                }
                Err(_) => {
                    if let Some(cancel) = cancel {
                        let _ = tokio::time::timeout(Duration::from_secs(1), cancel.cancel()).await;
                    }
                    self.session = None;
                    Input::DeadlinePassed
                }
            };
            machine.handle(start.elapsed(), input);
        }
    }

    pub(super) async fn run_command(&mut self, command: &Command) -> Result<Input, Failed> {
        if let Command::Connect = command {
            (self.session, self.prepared) = (None, None);
            let session = self.migrator.connect.open(SessionRole::Migrator).await?;
            let id = session.id().clone();
            self.fence.session = id.clone();
            self.session = Some(session);
            return Ok(Input::Connected(id));
        }
        self.tell_begin(command);
        let began = Instant::now();
        let input = self.run_on_session(command).await?;
        self.tell_end(command, &input, began.elapsed());
        Ok(input)
    }

    async fn run_on_session(&mut self, command: &Command) -> Result<Input, Failed> {
        let dialect = self.dialect;
        match command {
            Command::Connect => Ok(Input::Tick),
            Command::Identify => {
                let name = self.tables.lock_name();
                let session = self.session()?;
                let can = ask::identify(session, dialect).await?;
                self.lock_key = ask::lock_key(self.session()?, dialect, &name).await?;
                if dialect == Dialect::Postgres {
                    let sql = "SELECT current_schema(), current_setting('search_path')";
                    let rows = self.session()?.query(sql).await?;
                    self.tables = self.tables.clone().in_schema(ask::first(&rows).unwrap_or_default());
                    self.search_path = rows.first().and_then(|row| row.get(1)).cloned().flatten().unwrap_or_default();
                }
                Ok(Input::Identified(can))
            }
            Command::TryLock => {
                let (key, lock) = (self.lock_key.clone(), self.tables.lock().to_string());
                let session = self.session()?;
                if ask::try_lock(session, dialect, &key).await? {
                    return Ok(Input::Locked);
                }
                let held = ask::holder(session, dialect, &key, &lock).await?;
                if let Input::LockHeld { holder, .. } = &held {
                    self.migrator.tell(&Event::Waiting { holder: holder.clone() });
                }
                Ok(held)
            }
            Command::Terminate(other) => {
                tracing::warn!(session = %other, "session of an earlier migration ended by policy");
                ask::terminate(self.session()?, dialect, other).await?;
                Ok(DONE)
            }
            Command::CreateTables => self.create_tables().await,
            Command::BumpEpoch => self.bump().await,
            Command::ReadHistory => self.read_history().await,
            Command::LookForDrift => self.look_for_drift().await,
            Command::Import(rows) => self.import(rows).await,
            Command::LookAtOrphan(orphan) => {
                Ok(Input::Orphan { alive: ask::is_alive(self.session()?, dialect, orphan).await? })
            }
            Command::LookAtOldSessions => {
                let gone = self.run.permit.as_ref().map(|permit| permit.gone()).unwrap_or_default();
                let old: Vec<&OldRelease> =
                    self.migrator.old.iter().filter(|old| gone.is_empty() || gone.contains(&old.release)).collect();
                Ok(Input::Sessions(ask::old_sessions(self.session()?, dialect, &old).await?))
            }
            Command::LookAtBlockers { unit } => {
                if dialect == Dialect::Postgres && self.is_quiet().await? {
                    return Ok(Input::Sessions(Vec::new()));
                }
                let tables = self.unit(*unit)?.locked_tables();
                let readers_too = self.unit(*unit)?.locks_out_readers();
                let blockers: Vec<Blocker> = ask::blocked_by(self.session()?, dialect, &tables, readers_too).await?;
                if !blockers.is_empty() {
                    let script = self.unit(*unit)?.script.clone();
                    self.migrator.tell(&Event::Blocked { script, blockers: blockers.clone() });
                }
                Ok(Input::Sessions(blockers))
            }
            Command::Fingerprint(at) => {
                let step = self.step(*at)?;
                Ok(Input::Prints(crate::fingerprint::take(self.session()?, dialect, &step).await?))
            }
            Command::LookAtIndex(at) => {
                let step = self.step(*at)?;
                let index = step.concurrent_index().ok_or_else(gone)?;
                Ok(Input::Index(ask::index_state(self.session()?, index).await?))
            }
            Command::DropIndex(at) => {
                let step = self.step(*at)?;
                let index = step.concurrent_index().ok_or_else(gone)?;
                for broken in ask::broken_indexes(self.session()?, index).await? {
                    self.patiently(&format!("DROP INDEX CONCURRENTLY IF EXISTS {broken}")).await?;
                }
                Ok(DONE)
            }
            Command::LookAtEngines(at) => {
                let step = self.step(*at)?;
                let transactional = ask::all_transactional(self.session()?, dialect, &step.class.writes).await?;
                Ok(Input::Transactional(transactional))
            }
            Command::RunScript { unit, whole: true } => self.run_whole(*unit).await,
            Command::RunScript { unit, whole: false } => self.run_stepwise(*unit).await,
            Command::RunWithRow(at) => self.run_with_row(*at).await,
            Command::Begin { at, pre } => {
                let (unit, step) = (self.unit(at.unit)?, self.step(*at)?);
                let sql = self.writer().begin(&unit, at.step, &step, pre);
                self.fenced(&sql).await
            }
            Command::Run(at) => {
                let step = self.step(*at)?;
                let done = match step.concurrent_index() {
                    Some(_) => self.patiently(&step.text).await?,
                    None => self.session()?.execute(&step.text).await?.rows,
                };
                Ok(Input::Done { rows: done })
            }
            Command::Finish { at, post, how } => {
                let unit = self.unit(at.unit)?;
                let sha256 = unit.steps.get(at.step).map(|step| step.sha256.as_str());
                let sql = self.writer().finish(&unit.key, at.step, sha256, post, how);
                self.fenced(&sql).await
            }
            Command::Withdraw { at, note } => {
                let unit = self.unit(at.unit)?;
                let sql = self.writer().withdraw(&unit.key, at.step, note.as_deref());
                self.fenced(&sql).await
            }
            Command::Record { unit, took } => self.record(*unit, *took).await,
            Command::Abort { key, note } => self.abort(key, note).await,
            Command::Batch { unit, size } => self.batch(*unit, *size).await,
            Command::CountLeft { unit } => self.count_left(*unit).await,
            Command::Rewind { unit } => {
                let unit = self.unit(*unit)?;
                let step = unit.steps.first().cloned().ok_or_else(gone)?;
                let sql = self.writer().cursor(&unit, &step, None, 0);
                self.fenced(&sql).await
            }
        }
    }

    pub(super) fn session(&mut self) -> Result<&mut dyn Session, Failed> {
        match &mut self.session {
            Some(session) => Ok(session.as_mut()),
            None => Err(DbError::new(DbErrorKind::Unreachable, "no session is open").into()),
        }
    }

    pub(super) fn writer(&self) -> Writer<'_> {
        Writer { tables: &self.tables, fence: &self.fence, applied_by: &self.migrator.applied_by }
    }

    pub(super) fn unit(&self, index: usize) -> Result<UnitRef, Failed> {
        if index < self.units.len() { Ok(UnitRef { units: self.units.clone(), index }) } else { Err(gone()) }
    }

    pub(super) fn step(&self, at: At) -> Result<Step, Failed> {
        self.units.get(at.unit).and_then(|unit| unit.steps.get(at.step)).cloned().ok_or_else(gone)
    }

    /// Runs one fenced statement: no row changed means that a newer run has taken over.
    pub(super) async fn fenced(&mut self, sql: &str) -> Result<Input, Failed> {
        let done = self.session()?.execute(sql).await?;
        if done.rows == 0 { self.who_fenced().await } else { Ok(Input::Done { rows: 0 }) }
    }

    /// Reads the number of the run that has taken over.
    pub(super) async fn who_fenced(&mut self) -> Result<Input, Failed> {
        let sql = format!("SELECT epoch, lease, owner FROM {} WHERE id = 1", self.tables.lock());
        let (lease, own) = (self.fence.lease, (self.fence.epoch, self.fence.owner.clone()));
        let rows = self.session()?.query(&sql).await?;
        let value = |index: usize| -> Option<u64> { rows.first()?.get(index)?.as_deref()?.parse().ok() };
        let (epoch, highest) = (value(0).unwrap_or(0), value(1).unwrap_or(0));
        let owner = rows.first().and_then(|row| row.get(2)).cloned().flatten().unwrap_or_default();
        if (epoch, owner) == own && lease.is_none_or(|lease| highest <= lease) {
            // The row is ours, and the session is not the one that has the lock.
            return Ok(Input::Switched);
        }
        Ok(Input::Fenced { seen: if lease.is_some_and(|lease| highest > lease) { highest } else { epoch } })
    }

    /// Waits longer for locks than others may be made to wait: nobody queues behind the build of a concurrent index.
    async fn patiently(&mut self, sql: &str) -> Result<u64, Failed> {
        let wait = self.migrator.policy.retry_deadline.as_millis();
        let session = self.session()?;
        let before = session.query("SHOW lock_timeout").await?;
        let before = ask::first(&before).unwrap_or("50ms").replace('\'', "''");
        session.execute(&format!("SET lock_timeout = {wait}")).await?;
        let done = session.execute(sql).await;
        session.execute(&format!("SET lock_timeout = '{before}'")).await?;
        Ok(done?.rows)
    }

    async fn create_tables(&mut self) -> Result<Input, Failed> {
        let (count, mut create) = (self.tables.count(), self.tables.create());
        if self.migrator.mirror_flyway {
            create.push(Flyway(self.dialect).create());
        }
        let sqlite = self.dialect == Dialect::Sqlite;
        let mirror = self.migrator.mirror_flyway;
        let lock = self.tables.lock().to_string();
        let session = self.session()?;
        let there = ask::first(&session.query(&count).await?) == Some("3");
        let row = there && !session.query(&format!("SELECT 1 FROM {lock} WHERE id = 1")).await?.is_empty();
        if row && !mirror {
            return Ok(DONE);
        }
        if sqlite {
            session.execute("BEGIN IMMEDIATE").await?;
        }
        for sql in &create {
            if let Err(error) = session.execute(sql).await {
                if sqlite {
                    session.execute("ROLLBACK").await?;
                }
                return Err(error.into());
            }
        }
        if sqlite {
            session.execute("COMMIT").await?;
        }
        Ok(DONE)
    }

    async fn bump(&mut self) -> Result<Input, Failed> {
        let sql = self.writer().bump();
        let read = format!("SELECT epoch FROM {} WHERE id = 1", self.tables.lock());
        let session = self.session()?;
        if session.execute(&sql).await?.rows == 0 {
            return self.who_fenced().await;
        }
        let rows = session.query(&read).await?;
        let epoch = ask::first(&rows).and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        // It holds the epoch.
        (self.fence.epoch, self.prepared) = (epoch, None);
        self.migrator.tell(&Event::Locked { epoch });
        Ok(Input::EpochBumped(epoch))
    }

    async fn read_history(&mut self) -> Result<Input, Failed> {
        let tables = self.tables.clone();
        let (units, import) = (self.units.clone(), self.migrator.policy.import_flyway);
        let dialect = self.dialect;
        let session = self.session()?;
        let mut history = History::read(session, &tables).await?;
        if import && history.rows.is_empty() {
            history.flyway = Flyway(dialect).read(session, &units).await?;
        }
        history.schema_is_empty = ask::is_empty(session, &tables, &units, &history).await?;
        self.fence.rank = history.rows.last().map_or(0, |row| row.rank);
        Ok(Input::History(history))
    }
}

/// A unit, without a copy of its statements.
pub(super) struct UnitRef {
    units: Arc<[Unit]>,
    index: usize,
}

impl std::ops::Deref for UnitRef {
    type Target = Unit;

    #[expect(clippy::indexing_slicing, reason = "checked when it is made")]
    fn deref(&self) -> &Unit {
        &self.units[self.index]
    }
}

/// A failed command, and the statement of its script that failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Failed {
    pub(super) error: DbError,
    pub(super) step: Option<usize>,
}

impl From<DbError> for Failed {
    fn from(error: DbError) -> Self {
        Self { error, step: None }
    }
}

/// The moment after so long; a year at most.
pub(super) fn after(limit: Duration) -> Instant {
    Instant::now() + limit.min(Duration::from_secs(365 * 86_400))
}

pub(super) const DONE: Input = Input::Done { rows: 0 };

/// A command names what is not there: never, as the machine has the same units.
pub(super) fn gone() -> Failed {
    DbError::new(DbErrorKind::Refused, "the statement is not there").into()
}

/// A number that differs from run to run, for pauses and names.
pub(super) fn seed() -> u64 {
    let address = std::ptr::from_ref(&DONE).addr();
    let text = format!("{}{:?}{address}", std::process::id(), Instant::now());
    u64::from_str_radix(sha256(text.as_bytes()).get(..16).unwrap_or("1"), 16).unwrap_or(1)
}
