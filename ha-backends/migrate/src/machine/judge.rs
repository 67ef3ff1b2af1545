//! Whether a statement happened whose answer never came.

use super::{Capabilities, Print, Step};
use crate::Kind;

/// What the catalogue says of a statement whose answer never came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Applied,
    NotApplied,
    /// It cannot be told, and this is why.
    Ambiguous(String),
}

/// Compares what a statement names before it and now. Never guesses.
pub(crate) fn judge(can: &Capabilities, step: &Step, before: &[Print], now: &[Print]) -> Verdict {
    let ambiguous = |why: &str| Verdict::Ambiguous(why.into());
    if step.class.outside_transaction && step.begins(REPEATABLE) {
        return Verdict::NotApplied;
    }
    match step.class.kind {
        Kind::Setting | Kind::Query => return Verdict::NotApplied,
        Kind::Opaque => return ambiguous("what the statement does cannot be told from its text"),
        Kind::Dml => return ambiguous("it writes rows of a table whose engine does not roll back"),
        Kind::Ddl | Kind::Transaction => {}
    }
    if !can.atomic_ddl {
        return ambiguous("a DDL statement of this server can be left half-done by a crash");
    }
    if step.observable().next().is_none() {
        return match step.begins(REPEATABLE) {
            true => Verdict::NotApplied,
            false => ambiguous("no definition shows whether it happened"),
        };
    }
    if before.len() != now.len() || before.len() != step.observable().count() {
        return ambiguous("the journal holds no fingerprint of what it names");
    }
    let changes: Option<Vec<bool>> = before.iter().zip(now).map(|(before, now)| now.changed_since(before)).collect();
    let Some(changes) = changes else { return ambiguous("the server does not show the definition of what it names") };
    if changes.iter().all(|changed| *changed) {
        return Verdict::Applied;
    }
    if changes.iter().any(|changed| *changed) {
        return ambiguous("part of what it names has changed, and part has not");
    }
    // A rename of equals, or rows removed: invisible in definitions, visible in the tables' numbers.
    let hidden = needs_identity(step) && !before.iter().chain(now).all(Print::has_identity);
    if hidden { ambiguous("what it changes does not show in definitions") } else { Verdict::NotApplied }
}

/// Tells whether definitions alone do not show that a statement happened.
pub(crate) fn needs_identity(step: &Step) -> bool {
    step.class.kind == Kind::Ddl && (!step.class.writes.is_empty() || step.begins(&["RENAME", "TRUNCATE"]))
}

/// Statements that do the same when they are run twice.
const REPEATABLE: &[&str] = &[
    "VACUUM",
    "ANALYZE",
    "OPTIMIZE TABLE",
    "CHECK TABLE",
    "REINDEX",
    "CLUSTER",
    "ALTER SYSTEM",
    "REFRESH MATERIALIZED VIEW",
    "PRAGMA",
    "GRANT",
    "REVOKE",
    "COMMENT ON",
    "FLUSH",
];

#[cfg(test)]
mod tests {
    use super::super::Manner;
    use super::*;
    use crate::{Dialect, ObjectKind, ObjectName, classify};

    fn can(atomic_ddl: bool) -> Capabilities {
        Capabilities { dialect: Dialect::MariaDb, atomic_ddl }
    }

    fn step(kind: Kind, text: &str, tables: &[&str], writes: bool) -> Step {
        let table =
            |name: &&str| ObjectName { kind: ObjectKind::Table, name: (*name).into(), schema: None, table: None };
        let objects: Vec<_> = tables.iter().map(table).collect();
        let mut class = classify(Dialect::MariaDb, "gibberish");
        (class.kind, class.objects) = (kind, objects.clone());
        if writes {
            class.writes = objects;
        }
        Step { text: text.into(), line: 1, sha256: String::new(), class, manner: Manner::Between, rows: None }
    }

    #[test]
    fn a_statement_is_done_or_not_only_where_its_objects_say_so() {
        use Verdict::{Applied, NotApplied};
        let unclear = Verdict::Ambiguous(String::new());
        let ddl = |text, tables: &[&str]| step(Kind::Ddl, text, tables, false);
        for (name, atomic, step, before, now, expected) in [
            ("create, made", true, ddl("CREATE TABLE a", &["a"]), "absent", "d=1", Applied),
            ("create, not made", true, ddl("CREATE TABLE a", &["a"]), "absent", "absent", NotApplied),
            ("alter, done", true, ddl("ALTER TABLE a", &["a"]), "d=1", "d=2", Applied),
            ("alter, not done", true, ddl("ALTER TABLE a", &["a"]), "d=1", "d=1", NotApplied),
            ("drop of two, none", true, ddl("DROP TABLE a, b", &["a", "b"]), "d=1 d=2", "d=1 d=2", NotApplied),
            ("drop of two, one", true, ddl("DROP TABLE a, b", &["a", "b"]), "d=1 d=2", "absent d=2", unclear.clone()),
            ("drop of two, both", true, ddl("DROP TABLE a, b", &["a", "b"]), "d=1 d=2", "absent absent", Applied),
            ("rename, done", true, ddl("RENAME TABLE a TO b", &["a", "b"]), "d=1 absent", "absent d=1", Applied),
            ("rename, equals", true, ddl("RENAME TABLE a TO b", &["a", "b"]), "d=1 d=1", "d=1 d=1", unclear.clone()),
            (
                "rename, equals with numbers",
                true,
                ddl("RENAME TABLE a TO b", &["a", "b"]),
                "d=1,i=1 d=1,i=2",
                "d=1,i=1 d=1,i=2",
                NotApplied,
            ),
            ("old server", false, ddl("ALTER TABLE a", &["a"]), "d=1", "d=1", unclear.clone()),
            ("no fingerprint", true, ddl("ALTER TABLE a", &["a"]), "", "d=1", unclear.clone()),
            ("hidden", true, ddl("ALTER TABLE a", &["a"]), "?", "d=1", unclear.clone()),
            ("nothing to look at", true, ddl("CREATE SERVER s", &[]), "", "", unclear.clone()),
            ("harmless twice", true, ddl("GRANT SELECT ON t TO u", &[]), "", "", NotApplied),
            (
                "truncate without numbers",
                true,
                step(Kind::Ddl, "TRUNCATE a", &["a"], true),
                "d=1",
                "d=1",
                unclear.clone(),
            ),
            ("truncate, not done", true, step(Kind::Ddl, "TRUNCATE a", &["a"], true), "d=1,i=4", "d=1,i=4", NotApplied),
            ("truncate, done", true, step(Kind::Ddl, "TRUNCATE a", &["a"], true), "d=1,i=4", "d=1,i=5", Applied),
            ("opaque", true, step(Kind::Opaque, "CALL p()", &[], false), "", "", unclear.clone()),
            ("rows that stay", true, step(Kind::Dml, "INSERT", &["a"], true), "", "", unclear),
        ] {
            let verdict = judge(&can(atomic), &step, &Print::split(before), &Print::split(now));
            assert_eq!(std::mem::discriminant(&verdict), std::mem::discriminant(&expected), "{name}: {verdict:?}");
        }
    }
}
