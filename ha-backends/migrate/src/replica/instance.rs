//! One PostgreSQL instance: what is asked of it, and what its answers mean.

use std::time::Duration;

use ha_core::backend::{Effect, ErrorKind, ReplicaRole, StepError};

use super::PostgresCopy;
use crate::history::text;
use crate::{Connect, DbError, DbErrorKind, Dialect, Limits, Session, SessionRole, UrlConnect, UrlError};

/// One instance, over sessions of its own.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) copy: PostgresCopy,
    connect: UrlConnect,
}

/// What an instance does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    pub(super) role: ReplicaRole,
    pub(super) epoch: u64,
    /// The end of what it has, in bytes of the log.
    pub(super) position: u64,
    pub(super) behind: Option<Duration>,
    /// The history of the log that it writes or has, by its number.
    pub(super) timeline: u64,
    pub(super) conninfo: String,
    pub(super) streams: bool,
}

/// What lets an instance recover from its next start on.
const SIGNAL: &str = "standby.signal";
/// The epochs with which somebody was promoted.
const TABLE: &str = "ha_site_epoch";

/// One row: whether it recovers, the position, milliseconds since the newest transaction, the timeline, whom it follows, whether it
/// receives from there.
const STATUS: &str = "SELECT pg_is_in_recovery(), \
    CASE WHEN pg_is_in_recovery() \
        THEN greatest(coalesce(pg_last_wal_receive_lsn(), '0/0'), coalesce(pg_last_wal_replay_lsn(), '0/0')) \
        ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn, \
    CASE WHEN pg_is_in_recovery() \
        THEN floor(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000) ELSE 0 END::bigint, \
    CASE WHEN pg_is_in_recovery() \
        THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint())) \
        ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END, \
    current_setting('primary_conninfo'), \
    EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')";

impl Instance {
    pub(super) fn new(copy: PostgresCopy, limits: Limits) -> Result<Self, UrlError> {
        let connect =
            UrlConnect::new(&copy.url, limits)?.with_user(copy.user.clone()).with_password(copy.password.clone());
        Ok(Self { copy, connect })
    }

    pub(super) async fn open(&self, operation: &'static str, role: SessionRole) -> Result<Box<dyn Session>, StepError> {
        let opened = self.connect.open(role).await;
        opened.map_err(|error| self.failed(operation, error).without_effect())
    }

    /// Maps what the database says.
    pub(super) fn failed(&self, operation: &'static str, error: DbError) -> StepError {
        let (kind, effect) = match error.kind {
            DbErrorKind::Unreachable => (ErrorKind::Unreachable, Effect::None),
            DbErrorKind::Denied => (ErrorKind::Denied, Effect::None),
            DbErrorKind::ConnectionLost => (ErrorKind::Unreachable, Effect::Unknown),
            DbErrorKind::Cancelled | DbErrorKind::LockTimeout => (ErrorKind::Timeout, Effect::Unknown),
            _ => (ErrorKind::Protocol, Effect::Unknown),
        };
        let context = format!("{}: {error}", self.connect.target());
        let failed = StepError::new(kind, operation, self.copy.site.as_str()).with_context(context);
        if effect == Effect::None { failed.without_effect() } else { failed }
    }

    pub(super) async fn query(
        &self,
        operation: &'static str,
        session: &mut dyn Session,
        sql: &str,
    ) -> Result<Vec<Vec<Option<String>>>, StepError> {
        session.query(sql).await.map_err(|error| self.failed(operation, error))
    }

    pub(super) async fn execute(
        &self,
        operation: &'static str,
        session: &mut dyn Session,
        sql: &str,
    ) -> Result<(), StepError> {
        session.execute(sql).await.map(|_| ()).map_err(|error| self.failed(operation, error))
    }

    pub(super) async fn seen(&self, operation: &'static str) -> Result<Seen, StepError> {
        let mut session = self.open(operation, SessionRole::Reader).await?;
        let session = session.as_mut();
        let status = self.query(operation, session, STATUS).await.map_err(StepError::without_effect)?;
        let there = format!("SELECT to_regclass('public.{TABLE}') IS NOT NULL");
        let there = self.query(operation, session, &there).await.map_err(StepError::without_effect)?;
        let epochs = match cell(&there, 0) {
            Some("t") => {
                let highest = format!("SELECT coalesce(max(epoch), 1) FROM public.{TABLE}");
                self.query(operation, session, &highest).await.map_err(StepError::without_effect)?
            }
            // Nobody was ever promoted: it has the epoch that all begin with.
            _ => vec![vec![Some("1".into())]],
        };
        read(&status, &epochs).ok_or_else(|| {
            // Whom it follows is not told: a connection string may hold a password.
            let told = status.iter().map(|row| row.iter().take(4).collect::<Vec<_>>()).collect::<Vec<_>>();
            let context = format!("{} answered {told:?} and {epochs:?}", self.connect.target());
            StepError::new(ErrorKind::Protocol, operation, self.copy.site.as_str())
                .with_context(context)
                .without_effect()
        })
    }

    /// Returns the path of the file that lets it recover from its next start on, as a literal.
    pub(super) async fn signal(&self, operation: &'static str, session: &mut dyn Session) -> Result<String, StepError> {
        let folder = self.query(operation, session, "SELECT current_setting('data_directory', true)").await;
        let folder = folder.map_err(StepError::without_effect)?;
        match cell(&folder, 0).filter(|folder| !folder.is_empty()) {
            Some(folder) => Ok(text(Dialect::Postgres, &format!("{folder}/{SIGNAL}"))),
            None => {
                let context =
                    format!("{} does not tell its data_directory: grant pg_read_all_settings", self.connect.target());
                Err(StepError::new(ErrorKind::Denied, operation, self.copy.site.as_str())
                    .with_context(context)
                    .without_effect())
            }
        }
    }

    /// Says whom it follows as long as it recovers.
    pub(super) async fn connect_to(
        &self,
        operation: &'static str,
        session: &mut dyn Session,
        conninfo: &str,
    ) -> Result<(), StepError> {
        let conninfo = text(Dialect::Postgres, conninfo);
        self.execute(operation, session, &format!("ALTER SYSTEM SET primary_conninfo = {conninfo}")).await
    }

    /// Tells whether its next start lets it recover.
    pub(super) async fn is_armed(&self, operation: &'static str) -> Result<bool, StepError> {
        let mut session = self.open(operation, SessionRole::Reader).await?;
        let found = format!("SELECT (pg_stat_file('{SIGNAL}', true)).modification IS NOT NULL");
        let found = self.query(operation, session.as_mut(), &found).await.map_err(StepError::without_effect)?;
        Ok(cell(&found, 0) != Some("f"))
    }

    /// Removes what would let a primary recover from its next start on.
    pub(super) async fn disarm(&self, operation: &'static str) -> Result<(), StepError> {
        let mut session = self.open(operation, SessionRole::Reader).await?;
        // The server runs its programs in its data directory.
        let remove = format!("COPY (SELECT WHERE false) TO PROGRAM 'rm -f {SIGNAL}'");
        let removed = self.execute(operation, session.as_mut(), &remove).await;
        if !self.is_armed(operation).await.map_err(|error| again(error, operation))? {
            return Ok(());
        }
        let context = format!(
            "the file {SIGNAL} in the data directory of {} makes it a standby at its next start, and cannot be removed: remove it",
            self.connect.target()
        );
        let armed = StepError::new(ErrorKind::Conflict, operation, self.copy.site.as_str());
        let armed = armed.with_context(context).without_effect();
        Err(match removed {
            Ok(()) => armed,
            Err(error) => armed.caused_by(error),
        })
    }

    /// Keeps an epoch in the database.
    pub(super) async fn keep(&self, operation: &'static str, epoch: u64) -> Result<(), StepError> {
        let mut session = self.open(operation, SessionRole::Migrator).await?;
        // Durable here, and no standby is waited for: those of a synchronous one may be lost.
        self.execute(operation, session.as_mut(), "SET synchronous_commit = local").await?;
        let table = format!(
            "CREATE TABLE IF NOT EXISTS public.{TABLE} (epoch bigint PRIMARY KEY, since timestamptz NOT NULL DEFAULT now())"
        );
        self.execute(operation, session.as_mut(), &table).await?;
        let keep = format!("INSERT INTO public.{TABLE} (epoch) VALUES ({epoch}) ON CONFLICT DO NOTHING");
        self.execute(operation, session.as_mut(), &keep).await
    }

    /// Returns where another timeline than the newest was left, in bytes of the log; `None` where that is not told.
    pub(super) async fn left_at(
        &self,
        operation: &'static str,
        newest: u64,
        other: u64,
    ) -> Result<Option<u64>, StepError> {
        let mut session = self.open(operation, SessionRole::Reader).await?;
        let history = format!("SELECT pg_read_file('pg_wal/{newest:08X}.history', 0, 1000000, true)");
        let history = self.query(operation, session.as_mut(), &history).await.map_err(StepError::without_effect)?;
        Ok(cell(&history, 0).and_then(|text| switch_point(text, other)))
    }
}

/// Says of a call that failed that something was changed before it, whatever it says of its own effect.
pub(super) fn again(error: StepError, operation: &'static str) -> StepError {
    let context = "something was changed before this failed: read the copy";
    StepError::new(error.kind(), operation, error.target()).with_context(context).caused_by(error)
}

fn cell(rows: &[Vec<Option<String>>], column: usize) -> Option<&str> {
    rows.first()?.get(column)?.as_deref()
}

fn read(status: &[Vec<Option<String>>], epochs: &[Vec<Option<String>>]) -> Option<Seen> {
    let number = |column| cell(status, column)?.parse::<u64>().ok();
    let conninfo = cell(status, 4)?.to_string();
    let role = match cell(status, 0)? {
        "f" => ReplicaRole::Primary,
        "t" if conninfo.is_empty() => ReplicaRole::ReadOnly,
        "t" => ReplicaRole::Standby,
        _ => return None,
    };
    Some(Seen {
        role,
        epoch: cell(epochs, 0)?.parse().ok()?,
        position: number(1)?,
        behind: cell(status, 2).and_then(|text| text.parse().ok()).map(Duration::from_millis),
        timeline: number(3)?,
        conninfo,
        streams: cell(status, 5)? == "t",
    })
}

/// Reads a timeline's history: of each timeline before it the number, and where it was left.
fn switch_point(history: &str, timeline: u64) -> Option<u64> {
    history.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let number: u64 = words.next()?.parse().ok()?;
        let (high, low) = words.next()?.split_once('/')?;
        let position = u64::from_str_radix(high, 16)
            .ok()?
            .checked_mul(1 << 32)?
            .checked_add(u64::from_str_radix(low, 16).ok()?)?;
        (number == timeline).then_some(position)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<Vec<Option<String>>> {
        vec![cells.iter().map(|cell| (*cell != "-").then(|| (*cell).to_string())).collect()]
    }

    #[test]
    fn a_status_is_read_whole_or_not_at_all() {
        let epoch = row(&["3"]);
        let seen = read(&row(&["t", "4096", "20", "1", "host=north", "t"]), &epoch).unwrap();
        assert_eq!((seen.role, seen.epoch, seen.position, seen.timeline), (ReplicaRole::Standby, 3, 4096, 1));
        assert_eq!((seen.behind, seen.streams), (Some(Duration::from_millis(20)), true));
        let alone = read(&row(&["t", "4096", "-", "1", "", "f"]), &epoch).unwrap();
        assert_eq!((alone.role, alone.behind), (ReplicaRole::ReadOnly, None));
        assert_eq!(read(&row(&["f", "0", "0", "2", "", "f"]), &epoch).unwrap().role, ReplicaRole::Primary);
        for wrong in [
            row(&["x", "4096", "20", "1", "", "t"]),
            row(&["t", "-", "20", "1", "", "t"]),
            row(&["t", "-5", "20", "1", "", "t"]),
            row(&["t", "4096", "20", "-", "", "t"]),
            row(&["t", "4096", "20", "1", "-", "t"]),
            row(&["t"]),
            Vec::new(),
        ] {
            assert_eq!(read(&wrong, &epoch), None, "{wrong:?}");
        }
        assert_eq!(read(&row(&["f", "0", "0", "2", "", "f"]), &row(&["-"])), None);
    }

    #[test]
    fn a_timeline_s_history_says_where_each_one_before_it_was_left() {
        let history = "1\t0/30000A0\tno recovery target specified\n\n2\t1/A0\tno recovery target specified\n";
        assert_eq!(switch_point(history, 1), Some(0x30000A0));
        assert_eq!(switch_point(history, 2), Some((1 << 32) + 0xA0));
        assert_eq!(switch_point(history, 3), None);
        for wrong in ["", "1", "1 0", "1 x/y", "one 0/1", "1 FFFFFFFFF/0"] {
            assert_eq!(switch_point(wrong, 1), None, "{wrong:?}");
        }
    }
}
