use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

use super::{Goal, Key, Policy, Unit, UnitKind, baseline_version, compare_versions};
use crate::history::{History, HistoryRow};
use crate::script::{Change, Digest, Phase, Recorded};

/// What does not fit between history and scripts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// An applied script has other line ends, or other blank lines at its end: harmless, nothing is to do.
    LineEnds {
        /// The script.
        script: String,
    },
    /// An applied script says something else now.
    Edited {
        /// The script.
        script: String,
        /// The first line of the script that differs, from 1; 0 where that cannot be told.
        line: usize,
        /// What stands there now, or that statements are missing.
        what: String,
        /// The checksum of what was applied: SHA-256, or Flyway's where that tool applied it.
        was: String,
        /// The same of the script as it is now.
        is: String,
    },
    /// A half-applied script was changed in a part that is done.
    PrefixEdited {
        /// The script.
        script: String,
        /// The line of the first statement that differs, from 1.
        line: usize,
    },
    /// A script that is not applied comes before one that is.
    OutOfOrder {
        /// The script.
        script: String,
        /// The applied version.
        applied: String,
    },
    /// An object is not what the last statement that names it left.
    Drift {
        /// The object, as it is accepted.
        object: String,
        /// The script that left it.
        script: String,
        /// That script's version.
        version: String,
        /// The line of its statement, from 1.
        line: usize,
        /// The object is not there any more.
        gone: bool,
    },
    /// An applied script is not among the scripts.
    Missing {
        /// The script.
        script: String,
        /// Its version.
        version: String,
    },
    /// A version was applied that is higher than all scripts: they are older than the database.
    Future {
        /// The script.
        script: String,
        /// Its version.
        version: String,
    },
}

impl Finding {
    /// Tells whether nothing is run because of it.
    pub fn is_error(&self) -> bool {
        match self {
            Self::Edited { .. } | Self::PrefixEdited { .. } | Self::OutOfOrder { .. } | Self::Drift { .. } => true,
            Self::LineEnds { .. } | Self::Missing { .. } | Self::Future { .. } => false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineEnds { script } => {
                write!(
                    f,
                    "{script} differs from what was applied in comments, blanks or line ends only: nothing is to do"
                )
            }
            Self::Edited { script, line, what, was, is } => {
                write!(f, "{script} was edited after it was applied")?;
                if *line > 0 {
                    write!(f, ", first in line {line}")?;
                }
                write!(
                    f,
                    ": {what} (checksum {was} when it was applied, {is} now): put it back and write the change into a new \
                     script, or accept the edit by name with accept_checksum"
                )
            }
            Self::PrefixEdited { script, line } => write!(
                f,
                "{script} is half-applied, and line {line} was edited, which is done: put it back, and mend what comes after"
            ),
            Self::OutOfOrder { script, applied } => write!(
                f,
                "{script} is not applied, and {applied} after it is: give it a higher version, or allow out_of_order"
            ),
            Self::Drift { object, script, version, line, gone } => {
                let what = if *gone {
                    "is not there any more"
                } else {
                    "was changed since, by hand, another tool or a newer server"
                };
                write!(
                    f,
                    "{object} {what}: version {version} ({script}, line {line}) left it otherwise; put it back and write the change \
                     into a script, or accept it by name with accept_drift"
                )
            }
            Self::Missing { script, version } => {
                write!(f, "{script} ({version}) was applied and is not there any more: put it back among the scripts")
            }
            Self::Future { script, version } => {
                write!(f, "{script} ({version}) was applied by newer scripts than these: use the newer ones")
            }
        }
    }
}

/// Compares history and scripts.
pub(crate) fn validate(units: &[Unit], history: &History, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    let newest = newest(history);
    for unit in units {
        match history.of(&unit.key).filter(|row| row.state.is_applied()) {
            Some(row) if unit.kind != UnitKind::Repeatable => findings.extend(edited(unit, row)),
            Some(_) => {}
            None => {
                findings.extend(prefix(unit, history));
                if unit.kind == UnitKind::Versioned && !policy.out_of_order && !history.is_below_baseline(unit) {
                    findings.extend(out_of_order(unit, history, &newest));
                }
            }
        }
    }
    let keys: HashSet<&Key> = units.iter().map(|unit| &unit.key).collect();
    for row in &history.rows {
        let last = history.of(&row.key).is_some_and(|last| last.rank == row.rank);
        let known = keys.contains(&row.key);
        if last && !known && row.state.is_applied() && row.kind == "V" {
            let (script, version) = (row.script.clone(), row.key.version.clone());
            let newest = units.iter().filter(|unit| unit.kind == UnitKind::Versioned);
            let future =
                newest.map(|unit| compare_versions(&unit.key.version, &version)).all(|order| order == Ordering::Less);
            findings.push(if future {
                Finding::Future { script, version }
            } else {
                Finding::Missing { script, version }
            });
        }
    }
    findings
}

/// The baseline script that makes the schema: the newest one where there is nothing yet, or one that is half-done.
pub(crate) fn baseline_to_run(units: &[Unit], history: &History) -> Option<usize> {
    if !history.is_fresh() {
        return None;
    }
    let baselines = || units.iter().enumerate().filter(|(_, unit)| unit.kind == UnitKind::Baseline);
    let half = baselines().find(|(_, unit)| history.steps_of(&unit.key).next().is_some());
    half.or_else(|| baselines().next_back().filter(|_| history.schema_is_empty)).map(|(index, _)| index)
}

/// Lists what is to be run for a goal, in order.
pub(crate) fn pending(units: &[Unit], history: &History, goal: &Goal) -> Vec<usize> {
    let to = match goal {
        Goal::Migrate { to, .. } => *to,
        Goal::Undo => {
            let target = |unit: &Unit| {
                let version = unit.key.version.strip_prefix("U:").unwrap_or(&unit.key.version);
                Key { version: version.into(), phase: unit.key.phase }
            };
            let there = |unit: &Unit| {
                let target = target(unit);
                history.is_applied(&target)
                    || history.steps_of(&target).next().is_some()
                    || history.steps_of(&unit.key).next().is_some()
            };
            return units.iter().enumerate().filter(|(_, unit)| there(unit)).map(|(index, _)| index).collect();
        }
        Goal::Resolve(_) => return Vec::new(),
    };
    let baseline = baseline_to_run(units, history);
    let covered = |unit: &Unit| {
        let of = baseline.and_then(|index| baseline_version(&units.get(index)?.key.version));
        history.is_below_baseline(unit)
            || of.is_some_and(|of| compare_versions(&unit.key.version, of) != Ordering::Greater)
    };
    let wanted = |index: usize, unit: &Unit| {
        unit.key.phase <= to
            && match unit.kind {
                UnitKind::Versioned => !history.is_applied(&unit.key) && !covered(unit),
                UnitKind::Baseline => baseline == Some(index),
                UnitKind::Repeatable => {
                    history.of(&unit.key).is_none_or(|row| !row.state.is_applied() || row.sha256 != unit.sha256)
                }
                UnitKind::Undo => false,
            }
    };
    let mut todo: Vec<usize> =
        units.iter().enumerate().filter(|(index, unit)| wanted(*index, unit)).map(|(index, _)| index).collect();
    // A half-applied script first: nothing else may come between its statements.
    let half = |index: &usize| units.get(*index).is_some_and(|unit| history.steps_of(&unit.key).next().is_some());
    todo.sort_by_key(|index| !half(index));
    todo
}

fn edited(unit: &Unit, row: &HistoryRow) -> Option<Finding> {
    // A script that another tool applied: its checksum is all that is known.
    if row.sha256.is_empty() {
        let same = row.crc32.is_none_or(|crc32| crc32 == unit.crc32);
        let what = "its Flyway checksum differs".into();
        let (was, is) = (row.crc32.map(|crc32| crc32.to_string()).unwrap_or_default(), unit.crc32.to_string());
        return (!same).then(|| Finding::Edited { script: unit.script.clone(), line: 0, what, was, is });
    }
    if row.sha256 == unit.sha256 {
        return None;
    }
    let now = unit.statement_hashes();
    let (before, after): (Vec<&str>, Vec<&str>) = (row.statements.split(' ').collect(), now.split(' ').collect());
    let hash = |entry: &str| entry.split_once(':').map(|(_, hash)| hash.to_owned());
    let differs = (0..before.len().max(after.len())).find(|index| {
        let of = |list: &[&str]| list.get(*index).and_then(|entry| hash(entry));
        of(&before) != of(&after)
    });
    let script = unit.script.clone();
    let Some(index) = differs else {
        // Every statement is what it was: comments, blank lines or line ends.
        return Some(Finding::LineEnds { script });
    };
    let first = first_line(unit, row);
    let (line, what) = match unit.steps.get(index) {
        Some(step) => {
            let line = first.unwrap_or(step.line);
            (line, format!("{:?}", unit.text.lines().nth(line.saturating_sub(1)).unwrap_or_default()))
        }
        None => (first.unwrap_or(0), format!("it had {} statements and has {}", before.len(), after.len())),
    };
    Some(Finding::Edited { script, line, what, was: row.sha256.clone(), is: unit.sha256.clone() })
}

/// The first line that differs from what was applied, where its sums were kept.
fn first_line(unit: &Unit, row: &HistoryRow) -> Option<usize> {
    let recorded = Recorded::new(row.sha256.parse().ok()?, Digest::of(""), row.lines.clone());
    match unit.checksums.as_ref()?.change(&recorded, &unit.text) {
        Change::Edited { first } => first.map(|lines| *lines.start()),
        Change::None | Change::BlanksOnly => None,
    }
}

fn prefix(unit: &Unit, history: &History) -> Option<Finding> {
    if unit.backfill.is_some() {
        return None;
    }
    let differs = |row: &&crate::history::StepRow| {
        !row.begun && unit.steps.get(row.number).is_none_or(|step| step.sha256 != row.sha256)
    };
    let row = history.steps_of(&unit.key).filter(differs).min_by_key(|row| row.number)?;
    let line = unit.steps.get(row.number).map_or(row.line, |step| step.line);
    Some(Finding::PrefixEdited { script: unit.script.clone(), line })
}

fn out_of_order(unit: &Unit, history: &History, newest: &[(Phase, &HistoryRow)]) -> Option<Finding> {
    // A script that is half-applied was begun in time.
    if history.steps_of(&unit.key).next().is_some() {
        return None;
    }
    let (_, row) = newest.iter().find(|(phase, _)| *phase == unit.key.phase)?;
    let late = compare_versions(&unit.key.version, &row.key.version) == Ordering::Less;
    late.then(|| Finding::OutOfOrder { script: unit.script.clone(), applied: row.script.clone() })
}

/// The applied script with the highest version, of each phase.
fn newest(history: &History) -> Vec<(Phase, &HistoryRow)> {
    let of = |phase: Phase| {
        let applied = |row: &&HistoryRow| row.kind == "V" && row.key.phase == phase && history.is_applied(&row.key);
        let rows = history.rows.iter().filter(applied);
        Some((phase, rows.max_by(|left, right| compare_versions(&left.key.version, &right.key.version))?))
    };
    Phase::ALL.into_iter().filter_map(of).collect()
}
