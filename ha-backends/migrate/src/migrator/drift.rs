//! Whether what the scripts left is still there.

use std::sync::Arc;

use super::accept::ENDING;
use super::driver::{Driver, Failed, after};
use super::{Migrator, Run};
use crate::history::{History, Noted, RowState, Tables, left};
use crate::machine::{Finding, Input, Key, Print, Unit, expected};
use crate::script::Phase;
use crate::{DbError, DbErrorKind, Dialect, MigrateError, Session, SessionRole, fingerprint};

impl Migrator {
    /// Compares what the statements of applied scripts left with what is there now, without the lock: a finding for each object
    /// that somebody else has changed or removed. A [`run`](Self::run) that has something to do refuses them. Knows only what the
    /// journal holds: definitions of MariaDB and MySQL.
    ///
    /// # Errors
    /// [`MigrateError::Database`], [`MigrateError::Deadline`].
    pub async fn drift(&self) -> Result<Vec<Finding>, MigrateError> {
        let (limit, during) = (self.policy.deadline, "compare the schema with what the scripts left".to_owned());
        if !is_journaled(self.connect.dialect()) {
            return Ok(Vec::new());
        }
        let looking = async {
            let history = self.read_history().await?;
            if history.rows.is_empty() {
                return Ok(Vec::new());
            }
            let failed = |error| MigrateError::Database { during: during.clone(), error };
            let mut session = self.connect.open(SessionRole::Reader).await.map_err(failed)?;
            if !self.tables_there(session.as_mut()).await.map_err(failed)? {
                return Ok(Vec::new());
            }
            let found = look(session.as_mut(), &self.tables, &self.units, &history).await.map_err(failed)?;
            Ok(found.into_iter().map(|(finding, _)| finding).collect())
        };
        match tokio::time::timeout(limit, looking).await {
            Ok(found) => found,
            Err(_) => Err(MigrateError::Deadline { limit, during: during.clone(), unknown: false }),
        }
    }

    /// Accepts that an object is now what it is, in a person's name; the history keeps who and why. `object` is the name in the
    /// [`Finding::Drift`]. Another change of it is a drift again.
    ///
    /// # Errors
    /// As of [`run`](Self::run); [`MigrateError::Script`] where nothing of that name has drifted.
    pub async fn accept_drift(&self, object: &str, who: &str, why: &str) -> Result<(), MigrateError> {
        let run = Run::to(Phase::Expand);
        let limit = self.policy.deadline;
        let mut driver = Driver::new(self, &run, self.units.clone(), limit);
        let during = || format!("accept the drift of {object}");
        let note = format!("accepted by {who}: {why}");
        match tokio::time::timeout_at(after(limit), driver.accept_drift(object, &note)).await {
            Ok(Ok(Accepted::Done)) => Ok(()),
            Ok(Ok(Accepted::Nothing)) => {
                let what = format!("no drift of {object} is known: nothing was accepted");
                Err(MigrateError::Script { script: object.into(), line: 0, what })
            }
            Ok(Ok(Accepted::Fenced(seen))) => Err(MigrateError::Fenced { seen }),
            Ok(Err(failed)) if failed.error.kind == DbErrorKind::LockTimeout => {
                Err(MigrateError::Locked { holder: None, waited: ENDING })
            }
            Ok(Err(failed)) => Err(MigrateError::Database { during: during(), error: failed.error }),
            Err(_) => Err(MigrateError::Deadline { limit, during: during(), unknown: true }),
        }
    }
}

enum Accepted {
    Done,
    Nothing,
    Fenced(u64),
}

impl Driver<'_> {
    pub(super) async fn look_for_drift(&mut self) -> Result<Input, Failed> {
        let found = self.drifted().await?;
        Ok(Input::Drift(found.into_iter().map(|(finding, _)| finding).collect()))
    }

    async fn drifted(&mut self) -> Result<Vec<(Finding, Print)>, Failed> {
        let (tables, units): (Tables, Arc<[Unit]>) = (self.tables.clone(), self.units.clone());
        let session = self.session()?;
        let history = History::read(session, &tables).await?;
        Ok(look(session, &tables, &units, &history).await?)
    }

    async fn accept_drift(&mut self, object: &str, note: &str) -> Result<Accepted, Failed> {
        if let Some(seen) = self.take_lock().await? {
            return Ok(Accepted::Fenced(seen));
        }
        let is_it = |finding: &Finding| matches!(finding, Finding::Drift { object: name, .. } if name == object);
        let found = if is_journaled(self.tables.dialect()) { self.drifted().await? } else { Vec::new() };
        let Some((_, print)) = found.into_iter().find(|(finding, _)| is_it(finding)) else {
            return Ok(Accepted::Nothing);
        };
        let key = Key { version: format!("D:{object}"), phase: Phase::Expand };
        let accepted =
            Noted { kind: "D", script: object, sha256: &print.to_string(), ..Noted::of(&key, RowState::Success, note) };
        let row = self.writer().note(&accepted);
        Ok(self.write_fenced(&row).await?.map_or(Accepted::Done, Accepted::Fenced))
    }
}

/// The journal holds what each definition left; where scripts are transactions it does not.
pub(crate) fn is_journaled(dialect: Dialect) -> bool {
    match dialect {
        Dialect::MariaDb | Dialect::MySql => true,
        Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::Postgres | Dialect::Sqlite | Dialect::SqlServer => {
            false
        }
    }
}

/// What has drifted, and what is there now.
async fn look(
    session: &mut dyn Session,
    tables: &Tables,
    units: &[Unit],
    history: &History,
) -> Result<Vec<(Finding, Print)>, DbError> {
    let dialect = tables.dialect();
    let rows = left(session, tables).await?;
    let mut drifted = Vec::new();
    for expected in expected(units, &rows, |object| fingerprint::place(dialect, object)) {
        let now = fingerprint::of(session, dialect, &expected.object).await?;
        let name = expected.name();
        drifted.extend(expected.drift(&now, history.accepted_drift(&name)).map(|finding| (finding, now)));
    }
    Ok(drifted)
}
