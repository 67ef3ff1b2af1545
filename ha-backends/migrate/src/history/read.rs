//! Reads history and journal.

use super::{History, HistoryRow, RowState, StepRow, Tables};
use crate::machine::{Key, LeftRow, Print};
use crate::script::Phase;
use crate::{DbError, DbErrorKind, Dialect, Rows, Session, SessionId};

impl History {
    /// Reads both tables.
    pub(crate) async fn read(session: &mut dyn Session, tables: &Tables) -> Result<Self, DbError> {
        let cast = match tables.dialect() {
            Dialect::Postgres => "CAST(finished_at AS text)",
            Dialect::Db2
            | Dialect::H2
            | Dialect::MariaDb
            | Dialect::MySql
            | Dialect::Oracle
            | Dialect::Sqlite
            | Dialect::SqlServer => "finished_at",
        };
        let rows = session
            .query(&format!(
                "SELECT installed_rank, version, phase, kind, description, script, sha256, flyway_crc32, statements, state, line_sums, \
                 {cast} FROM {} ORDER BY installed_rank",
                tables.history()
            ))
            .await?;
        let steps = session
            .query(&format!(
                "SELECT version, phase, stmt_no, sha256, line, state, pre_fp, session_number, session_began, batch_cursor, \
                 rows_done FROM {} WHERE state IN ('begun', 'done') ORDER BY begun_at, version, phase, stmt_no",
                tables.step()
            ))
            .await?;
        Ok(Self {
            rows: read(rows, history_row, "history")?,
            steps: read(steps, step_row, "journal")?,
            ..Self::default()
        }
        .indexed())
    }
}

/// Reads what each journaled statement left, in the order in which they were done.
pub(crate) async fn left(session: &mut dyn Session, tables: &Tables) -> Result<Vec<LeftRow>, DbError> {
    let sql = format!(
        "SELECT version, phase, stmt_no, sha256, post_fp FROM {} WHERE state IN ('done', 'settled') AND post_fp IS NOT NULL \
         ORDER BY done_at, version, phase, stmt_no",
        tables.step()
    );
    read(session.query(&sql).await?, left_row, "journal")
}

fn left_row(row: &[Option<String>]) -> Option<LeftRow> {
    let (number, sha256) = (text(row, 2)?.parse().ok()?, text(row, 3)?);
    Some(LeftRow { key: key(row, 0)?, number, sha256, post: Print::split(&text(row, 4)?) })
}

fn read<T>(rows: Rows, row: fn(&[Option<String>]) -> Option<T>, what: &str) -> Result<Vec<T>, DbError> {
    let unknown = |row: &[Option<String>]| {
        let message = format!("a row of the {what} is not understood, a newer version of this tool wrote it: {row:?}");
        DbError::new(DbErrorKind::Refused, message)
    };
    rows.iter().map(|values| row(values).ok_or_else(|| unknown(values))).collect()
}

fn text(row: &[Option<String>], index: usize) -> Option<String> {
    row.get(index)?.clone()
}

fn key(row: &[Option<String>], index: usize) -> Option<Key> {
    Some(Key { version: text(row, index)?, phase: phase(row.get(index + 1)?.as_deref()?)? })
}

fn phase(word: &str) -> Option<Phase> {
    [Phase::Expand, Phase::Backfill, Phase::Contract].into_iter().find(|phase| phase.to_string() == word)
}

fn history_row(row: &[Option<String>]) -> Option<HistoryRow> {
    let states = [RowState::Success, RowState::Baseline, RowState::Undone, RowState::Aborted];
    Some(HistoryRow {
        rank: text(row, 0)?.parse().ok()?,
        key: key(row, 1)?,
        kind: text(row, 3)?,
        description: text(row, 4)?,
        script: text(row, 5)?,
        sha256: text(row, 6)?,
        crc32: text(row, 7).and_then(|crc32| crc32.parse().ok()),
        statements: text(row, 8)?,
        state: states.into_iter().find(|state| Some(state.word()) == row.get(9).and_then(Option::as_deref))?,
        lines: text(row, 10)?,
        finished_at: text(row, 11)?,
    })
}

fn step_row(row: &[Option<String>]) -> Option<StepRow> {
    let state = text(row, 5)?;
    Some(StepRow {
        key: key(row, 0)?,
        number: text(row, 2)?.parse().ok()?,
        sha256: text(row, 3)?,
        line: text(row, 4)?.parse().ok()?,
        begun: match state.as_str() {
            "begun" => true,
            "done" => false,
            _ => return None,
        },
        pre: text(row, 6).map(|pre| Print::split(&pre)).unwrap_or_default(),
        session: SessionId { number: text(row, 7)?.parse().ok()?, began: text(row, 8)? },
        cursor: text(row, 9),
        rows_done: text(row, 10)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_version_wrote_is_refused_and_not_guessed() {
        let row = |state: &str| {
            let values =
                ["1", "2.0", "expand", "V", "d", "V2__d.sql", "ab", "-7", "1:ab", state, "1:00", "2026-11-29 02:08:15"];
            values.map(|value| Some(value.to_owned())).to_vec()
        };
        let known = read(vec![row("success")], history_row, "history").unwrap();
        assert_eq!((known[0].crc32, known[0].state), (Some(-7), RowState::Success));
        assert!(read(vec![row("teleported")], history_row, "history").is_err());
        assert!(read(vec![vec![None; 11]], step_row, "journal").is_err());
        assert!(read(vec![Vec::new()], step_row, "journal").is_err());
    }
}
