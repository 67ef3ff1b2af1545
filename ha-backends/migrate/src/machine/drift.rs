//! What the last statements left, and whether it is still there.

use std::collections::HashMap;

use super::{Finding, Key, Print, Step, Unit};
use crate::{Kind, ObjectName};

/// A row of the journal that tells what a statement left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LeftRow {
    pub(crate) key: Key,
    pub(crate) number: usize,
    pub(crate) sha256: String,
    pub(crate) post: Vec<Print>,
}

/// An object as the last statement left it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Expected {
    pub(crate) object: ObjectName,
    pub(crate) print: Print,
    script: String,
    version: String,
    line: usize,
}

/// Follows the journal, oldest row first. `place` says what two names of one definition have in common. What an opaque statement,
/// or one that is not among the scripts any more, may have changed is not known, and nothing is expected of it.
pub(crate) fn expected(
    units: &[Unit],
    rows: &[LeftRow],
    place: impl Fn(&ObjectName) -> Option<String>,
) -> Vec<Expected> {
    let units: HashMap<&Key, &Unit> = units.iter().map(|unit| (&unit.key, unit)).collect();
    let mut left: HashMap<String, (usize, Expected)> = HashMap::new();
    for (order, row) in rows.iter().enumerate() {
        let unit = units.get(&row.key);
        let step: Option<&Step> =
            unit.and_then(|unit| unit.steps.get(row.number)).filter(|step| step.sha256 == row.sha256);
        let (Some(unit), Some(step)) = (unit, step) else {
            left.clear();
            continue;
        };
        if step.class.kind == Kind::Opaque {
            left.clear();
            continue;
        }
        for (index, object) in step.observable().enumerate() {
            let Some(place) = place(object) else { continue };
            let print = match row.post.get(index) {
                Some(Print::Seen { definition, .. }) => Print::Seen { definition: definition.clone(), identity: None },
                Some(Print::Absent) => Print::Absent,
                Some(Print::Hidden) | None => {
                    left.remove(&place);
                    continue;
                }
            };
            let (script, version) = (unit.script.clone(), row.key.version.clone());
            let expected = Expected { object: object.clone(), print, script, version, line: step.line };
            left.insert(place, (order, expected));
        }
    }
    let mut left: Vec<_> = left.into_values().collect();
    left.sort_by(|one, other| one.0.cmp(&other.0).then_with(|| one.1.name().cmp(&other.1.name())));
    left.into_iter().map(|(_, expected)| expected).collect()
}

impl Expected {
    /// The object's name, as a person accepts its drift.
    pub(crate) fn name(&self) -> String {
        // An index of MariaDB is part of its table.
        let name = self.object.table.as_ref().filter(|_| self.object.kind == crate::ObjectKind::Index);
        let name = name.unwrap_or(&self.object.name);
        self.object.schema.as_ref().map_or_else(|| name.clone(), |schema| format!("{schema}.{name}"))
    }

    /// Compares it with what is there now; `accepted` is the print that a person accepted last.
    pub(crate) fn drift(&self, now: &Print, accepted: Option<&str>) -> Option<Finding> {
        let changed = now.changed_since(&self.print) == Some(true);
        if !changed || accepted == Some(now.to_string().as_str()) {
            return None;
        }
        Some(Finding::Drift {
            object: self.name(),
            script: self.script.clone(),
            version: self.version.clone(),
            line: self.line,
            gone: *now == Print::Absent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::UnitKind;
    use super::*;
    use crate::Dialect;
    use crate::script::Phase;

    fn unit(version: &str, statements: &[&str]) -> Unit {
        let key = Key { version: version.into(), phase: Phase::Expand };
        let statements = statements.iter().enumerate().map(|(line, text)| ((*text).into(), line + 1)).collect();
        Unit::plan(Dialect::MariaDb, key, UnitKind::Versioned, &format!("V{version}.sql"), statements, true).unwrap()
    }

    fn row(unit: &Unit, number: usize, post: &str) -> LeftRow {
        let sha256 = unit.steps[number].sha256.clone();
        LeftRow { key: unit.key.clone(), number, sha256, post: Print::split(post) }
    }

    fn left(units: &[Unit], rows: &[LeftRow]) -> Vec<String> {
        let place = |object: &ObjectName| Some(object.table.clone().unwrap_or_else(|| object.name.clone()));
        let said = |one: &Expected| format!("{} {} {}:{}", one.name(), one.print, one.script, one.line);
        expected(units, rows, place).iter().map(said).collect()
    }

    #[test]
    fn the_last_statement_that_names_an_object_says_what_is_expected_of_it() {
        let one = unit("1", &["CREATE TABLE a (id int)", "CREATE TABLE b (id int)"]);
        let two = unit("2", &["CREATE INDEX i ON a (id)", "DROP TABLE b"]);
        let rows = [row(&one, 0, "d=1"), row(&one, 1, "d=2,i=9"), row(&two, 0, "d=3"), row(&two, 1, "absent")];
        let units = [one, two];
        assert_eq!(left(&units, &rows[..2]), ["a d=1 V1.sql:1", "b d=2 V1.sql:2"]);
        assert_eq!(left(&units, &rows), ["a d=3 V2.sql:1", "b absent V2.sql:2"]);
    }

    #[test]
    fn nothing_is_expected_of_what_may_have_been_changed_unseen() {
        let one = unit("1", &["CREATE TABLE a (id int)", "CALL p()", "CREATE TABLE b (id int)"]);
        let rows = [row(&one, 0, "d=1"), row(&one, 1, ""), row(&one, 2, "d=2")];
        assert_eq!(left(std::slice::from_ref(&one), &rows), ["b d=2 V1.sql:3"]);
        // A statement that is not among the scripts any more.
        let mut edited = rows.clone();
        edited[2].sha256 = "other".into();
        assert_eq!(left(std::slice::from_ref(&one), &edited), Vec::<String>::new());
        // Marked as done by a person: nobody has seen it.
        assert_eq!(left(std::slice::from_ref(&one), &[row(&one, 0, "")]), Vec::<String>::new());
        assert_eq!(left(std::slice::from_ref(&one), &[row(&one, 0, "?")]), Vec::<String>::new());
    }

    #[test]
    fn a_drift_is_told_once_and_not_after_it_was_accepted() {
        let one = unit("1", &["CREATE TABLE a (id int)"]);
        let place = |object: &ObjectName| Some(object.name.clone());
        let expected = expected(std::slice::from_ref(&one), &[row(&one, 0, "d=1,i=4")], place);
        let seen = |definition: &str| Print::Seen { definition: definition.into(), identity: None };
        assert_eq!(expected[0].drift(&seen("1"), None), None);
        assert_eq!(expected[0].drift(&Print::Hidden, None), None);
        assert!(matches!(expected[0].drift(&seen("2"), None), Some(Finding::Drift { gone: false, .. })));
        assert!(matches!(expected[0].drift(&Print::Absent, None), Some(Finding::Drift { gone: true, .. })));
        assert_eq!(expected[0].drift(&seen("2"), Some("d=2")), None);
        assert!(expected[0].drift(&seen("3"), Some("d=2")).is_some());
    }
}
