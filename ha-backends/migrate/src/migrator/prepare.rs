//! From a script's text to a unit of work.

use crate::machine::{Key, Unit, UnitKind};
use crate::script::{Phase, Script, ScriptKind};
use crate::split::split;
use crate::{Dialect, Kind, MigrateError, backfill};

/// Cuts and classifies a script.
pub(super) fn unit(dialect: Dialect, script: &Script) -> Result<Unit, MigrateError> {
    let wrong = |line: usize, what: String| MigrateError::Script { script: script.file.clone(), line, what };
    let cut = split(dialect, &script.text).map_err(|error| wrong(error.line, error.what))?;
    let mut verify = None;
    let (mut statements, mut copied) = (Vec::new(), Vec::new());
    for statement in &cut {
        if let Some(rows) = statement.copy_data {
            copied.push((statements.len(), rows));
        }
        if backfill::verify_line(statement.above).is_some() {
            verify = Some((statement.text.to_owned(), statement.line));
        } else {
            statements.push((statement.text.to_owned(), statement.line));
        }
    }
    let header = backfill::read_header(&script.text).map_err(|(line, what)| wrong(line, what))?;
    let (kind, version) = match &script.kind {
        ScriptKind::Versioned(version) => (UnitKind::Versioned, version.to_string()),
        ScriptKind::Undo(version) => (UnitKind::Undo, format!("U:{version}")),
        ScriptKind::Repeatable => (UnitKind::Repeatable, format!("R:{}", script.description)),
        ScriptKind::Baseline(version) => (UnitKind::Baseline, format!("B:{version}")),
    };
    // A backfill says its phase by its header.
    let backfills = header.is_some() && script.phase == Phase::Expand;
    let phase = match kind {
        // There is nothing that it could take away from an old release.
        UnitKind::Baseline => Phase::Expand,
        UnitKind::Versioned | UnitKind::Repeatable | UnitKind::Undo if backfills => Phase::Backfill,
        UnitKind::Versioned | UnitKind::Repeatable | UnitKind::Undo => script.phase,
    };
    let key = Key { version, phase };
    let mut unit = Unit::plan(dialect, key, kind, &script.file, statements, script.transactional)
        .map_err(|unfit| MigrateError::Script { script: unfit.script, line: unfit.line, what: unfit.what })?;
    for (index, rows) in copied {
        if let Some(step) = unit.steps.get_mut(index) {
            step.with_rows(rows);
        }
    }
    unit.description.clone_from(&script.description);
    unit.sha256 = script.checksums.sha256.to_string();
    unit.crc32 = script.checksums.flyway;
    unit.text = script.text.as_str().into();
    unit.checksums = Some(script.checksums.clone());
    match (header, verify) {
        (Some(mut spec), verify) => {
            if let Some(other) = unit.steps.iter().find(|step| step.class.kind != Kind::Dml || step.rows.is_some()) {
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
