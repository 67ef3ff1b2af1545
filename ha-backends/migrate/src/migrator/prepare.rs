//! From a script's text to a unit of work.

use crate::machine::{Key, Unit, UnitKind, sha256};
use crate::script::Phase;
use crate::split::split;
use crate::{Dialect, Kind, MigrateError, backfill};

/// A script as its file tells it.
#[derive(Clone, Debug)]
pub(super) struct Raw<'a> {
    pub(super) kind: UnitKind,
    pub(super) version: String,
    pub(super) description: String,
    pub(super) phase: Phase,
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) sha256: String,
    pub(super) crc32: i32,
}

/// Cuts and classifies a script.
pub(super) fn unit(dialect: Dialect, raw: Raw<'_>) -> Result<Unit, MigrateError> {
    let wrong = |line: usize, what: String| MigrateError::Script { script: raw.file.into(), line, what };
    let cut = split(dialect, raw.text).map_err(|error| wrong(error.line, error.what))?;
    let mut verify = None;
    let mut statements = Vec::new();
    for statement in &cut {
        if statement.copy_data.is_some() {
            let what = "COPY with its rows cannot be run: write INSERT statements, or load the rows before";
            return Err(wrong(statement.line, what.into()));
        }
        if backfill::verify_line(statement.above).is_some() {
            verify = Some((statement.text.to_owned(), statement.line));
        } else {
            statements.push((statement.text.to_owned(), statement.line));
        }
    }
    let header = backfill::read_header(raw.text).map_err(|(line, what)| wrong(line, what))?;
    let version = match raw.kind {
        UnitKind::Versioned => raw.version,
        UnitKind::Repeatable => format!("R:{}", raw.description),
        UnitKind::Undo => format!("U:{}", raw.version),
    };
    let key = Key { version, phase: raw.phase };
    let mut unit = Unit::plan(dialect, key, raw.kind, raw.file, statements).map_err(|unfit| MigrateError::Script {
        script: unfit.script,
        line: unfit.line,
        what: unfit.what,
    })?;
    unit.description = raw.description;
    unit.sha256 = if raw.sha256.is_empty() { sha256(raw.text.replace("\r\n", "\n").as_bytes()) } else { raw.sha256 };
    unit.crc32 = raw.crc32;
    match (header, verify) {
        (Some(mut spec), verify) => {
            if let Some(other) = unit.steps.iter().find(|step| step.class.kind != Kind::Dml) {
                return Err(wrong(other.line, "a backfill holds INSERT, UPDATE and DELETE only".into()));
            }
            if unit.steps.is_empty() {
                return Err(wrong(0, "a backfill needs a statement with :from and :to".into()));
            }
            spec.verify = verify.map(|(text, _)| text);
            unit.backfill = Some(spec);
            unit.transactional = false;
        }
        (None, Some((_, line))) => {
            return Err(wrong(line, "ha:verify belongs to a backfill: add -- ha:backfill table=t key=id".into()));
        }
        (None, None) => {}
    }
    Ok(unit)
}
