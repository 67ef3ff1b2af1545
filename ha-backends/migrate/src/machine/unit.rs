use std::cmp::Ordering;
use std::fmt;

use sha2::{Digest, Sha256};

use crate::script::{Checksums, Phase};
use crate::{Class, Dialect, Kind, ObjectKind, ObjectName, classify};

/// What a unit of work is to Flyway.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum UnitKind {
    /// Runs once, in the order of versions.
    Versioned,
    /// Runs again when its text changed, after all versioned ones.
    Repeatable,
    /// Takes a versioned one back.
    Undo,
    /// Makes the schema of its version where there is none; versioned ones up to it are not run then.
    Baseline,
}

impl UnitKind {
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Self::Versioned => "V",
            Self::Repeatable => "R",
            Self::Undo => "U",
            Self::Baseline => "B",
        }
    }
}

/// Identifies a unit in the history: its version (`R:` and the description of a repeatable one, `B:` and the version of a
/// baseline) and its phase.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Key {
    pub(crate) version: String,
    pub(crate) phase: Phase,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.phase)
    }
}

/// How a statement is run so that its effect happens exactly once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    /// Inside the transaction of its whole script.
    InScript,
    /// In a transaction of its own, with its journal row.
    WithRow,
    /// Rows changed where the tables' engine decides whether a transaction holds them.
    AsEngine,
    /// Between two journal rows: begun and done.
    Between,
    /// A setting of the session, or a query: as it is, and again after a resume.
    Plain,
}

/// One statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Step {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) sha256: String,
    pub(crate) class: Class,
    pub(crate) manner: Manner,
    /// The rows of a `COPY ... FROM STDIN`.
    pub(crate) rows: Option<std::sync::Arc<str>>,
}

impl Step {
    /// Gives a COPY its rows; they count as part of its text.
    pub(crate) fn with_rows(&mut self, rows: &str) {
        let whole = format!("{}\n{}", self.text.trim(), rows).replace("\r\n", "\n");
        self.sha256 = sha256(whole.as_bytes());
        self.rows = Some(rows.into());
    }

    /// The objects that a fingerprint can be taken of.
    pub(crate) fn observable(&self) -> impl Iterator<Item = &ObjectName> {
        self.class.objects.iter().filter(|object| match object.kind {
            ObjectKind::Other => false,
            ObjectKind::Table
            | ObjectKind::View
            | ObjectKind::Index
            | ObjectKind::Sequence
            | ObjectKind::Trigger
            | ObjectKind::Routine
            | ObjectKind::Type
            | ObjectKind::Schema => true,
        })
    }

    /// The index that it builds concurrently, if it names one.
    pub(crate) fn concurrent_index(&self) -> Option<&ObjectName> {
        let index = |object: &&ObjectName| object.kind == ObjectKind::Index;
        if self.class.concurrent_index { self.class.objects.iter().find(index) } else { None }
    }

    /// Begins with one of these words.
    pub(crate) fn begins(&self, heads: &[&str]) -> bool {
        let head = head(&self.text, 60);
        heads.iter().any(|wanted| head.starts_with(wanted))
    }
}

/// The first words, in upper case, one blank between them, without comments in front.
fn head(text: &str, limit: usize) -> String {
    let mut rest = text.trim_start();
    loop {
        let next = if let Some(comment) = rest.strip_prefix("--").or_else(|| rest.strip_prefix('#')) {
            comment.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*").filter(|comment| !comment.starts_with('!')) {
            comment.split_once("*/").map_or("", |(_, after)| after)
        } else {
            break;
        };
        rest = next.trim_start();
    }
    let cut: String = rest.chars().take(limit).collect();
    cut.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_uppercase()
}

/// How a backfill goes through its table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct BackfillSpec {
    pub(crate) table: String,
    pub(crate) key: String,
    pub(crate) batch: u64,
    /// Counts what is left to do.
    pub(crate) verify: Option<String>,
}

/// One script, cut and classified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unit {
    pub(crate) key: Key,
    pub(crate) kind: UnitKind,
    pub(crate) description: String,
    pub(crate) script: String,
    pub(crate) sha256: String,
    pub(crate) crc32: i32,
    /// Its text, and the sums that tell which line was edited since.
    pub(crate) text: std::sync::Arc<str>,
    pub(crate) checksums: Option<Checksums>,
    pub(crate) steps: Vec<Step>,
    pub(crate) backfill: Option<BackfillSpec>,
    /// The whole script in one transaction, its history row included.
    pub(crate) transactional: bool,
}

/// Says why a script cannot be run.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{script}, line {line}: {what}")]
pub(crate) struct UnfitScript {
    pub(crate) script: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Unit {
    /// Classifies the statements of a script and says how each is run.
    pub(crate) fn plan(
        dialect: Dialect,
        key: Key,
        kind: UnitKind,
        script: &str,
        statements: Vec<(String, usize)>,
        in_transaction: bool,
    ) -> Result<Self, UnfitScript> {
        let classes: Vec<Class> = statements.iter().map(|(text, _)| classify(dialect, text)).collect();
        let own = statements.iter().zip(&classes).find(|(_, class)| class.kind == Kind::Transaction);
        if let Some(((text, line), _)) = own {
            let what = format!(
                "{} would end the transaction that keeps the script whole: remove it, a script is a transaction of its own",
                head(text, 20)
            );
            return Err(UnfitScript { script: script.into(), line: *line, what });
        }
        let transactional = in_transaction
            && matches!(dialect, Dialect::Postgres | Dialect::Sqlite)
            && classes.iter().all(|class| !class.outside_transaction);
        let steps = statements
            .into_iter()
            .zip(classes)
            .map(|((text, line), class)| {
                let manner = manner(dialect, transactional, &class);
                let sha256 = sha256(text.trim().replace("\r\n", "\n").as_bytes());
                Step { text, line, sha256, class, manner, rows: None }
            })
            .collect();
        Ok(Self {
            key,
            kind,
            description: String::new(),
            script: script.into(),
            sha256: String::new(),
            crc32: 0,
            text: std::sync::Arc::from(""),
            checksums: None,
            steps,
            backfill: None,
            transactional,
        })
    }

    /// It locks tables even against readers: it changes more than their indexes and triggers.
    pub(crate) fn locks_out_readers(&self) -> bool {
        let objects = self.steps.iter().flat_map(|step| &step.class.objects);
        objects.into_iter().any(|object| match object.kind {
            ObjectKind::Index | ObjectKind::Trigger => self.steps.iter().any(|step| step.begins(&["DROP"])),
            ObjectKind::Table
            | ObjectKind::View
            | ObjectKind::Sequence
            | ObjectKind::Routine
            | ObjectKind::Type
            | ObjectKind::Schema
            | ObjectKind::Other => true,
        })
    }

    /// The tables that a transactional script changes the definition of or writes to, in its order.
    pub(crate) fn locked_tables(&self) -> Vec<ObjectName> {
        let mut tables: Vec<ObjectName> = Vec::new();
        for step in &self.steps {
            for object in &step.class.objects {
                let name = match object.kind {
                    ObjectKind::Table | ObjectKind::View => Some(&object.name),
                    ObjectKind::Index | ObjectKind::Trigger => object.table.as_ref(),
                    ObjectKind::Sequence
                    | ObjectKind::Routine
                    | ObjectKind::Type
                    | ObjectKind::Schema
                    | ObjectKind::Other => None,
                };
                let Some(name) = name else { continue };
                let same = |seen: &&ObjectName| seen.name == *name && seen.schema == object.schema;
                if tables.iter().find(same).is_none() {
                    let (name, schema) = (name.clone(), object.schema.clone());
                    tables.push(ObjectName { kind: ObjectKind::Table, name, schema, table: None });
                }
            }
        }
        tables
    }

    /// What the history keeps of the statements: line and the beginning of the hash of each of the first 2,000.
    pub(crate) fn statement_hashes(&self) -> String {
        let short = |step: &Step| format!("{}:{}", step.line, step.sha256.get(..16).unwrap_or_default());
        self.steps.iter().take(2_000).map(short).collect::<Vec<_>>().join(" ")
    }
}

fn manner(dialect: Dialect, transactional: bool, class: &Class) -> Manner {
    match class.kind {
        _ if transactional => Manner::InScript,
        Kind::Setting | Kind::Query if !class.outside_transaction => Manner::Plain,
        // PostgreSQL and SQLite roll DDL back; only what refuses a transaction goes between two rows.
        Kind::Ddl | Kind::Dml | Kind::Opaque | Kind::Query | Kind::Setting | Kind::Transaction
            if matches!(dialect, Dialect::Postgres | Dialect::Sqlite) =>
        {
            if class.outside_transaction {
                Manner::Between
            } else {
                Manner::WithRow
            }
        }
        Kind::Dml => Manner::AsEngine,
        Kind::Ddl | Kind::Opaque | Kind::Query | Kind::Setting | Kind::Transaction => Manner::Between,
    }
}

/// Writes a SHA-256 in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The version of a baseline script's key.
pub(crate) fn baseline_version(version: &str) -> Option<&str> {
    version.strip_prefix("B:")
}

/// Orders versions as Flyway does: number by number, a missing one is 0.
pub(crate) fn compare_versions(left: &str, right: &str) -> Ordering {
    let parts = |version: &str| -> Vec<(usize, String)> {
        let number = |part: &str| part.trim_start_matches('0').to_owned();
        let mut parts: Vec<_> = version.split(['.', '_']).map(number).map(|digits| (digits.len(), digits)).collect();
        while parts.last().is_some_and(|(length, _)| *length == 0) {
            parts.pop();
        }
        parts
    };
    parts(left).cmp(&parts(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_number_by_number() {
        for (left, order, right) in [
            ("1", Ordering::Equal, "1.0"),
            ("1_2", Ordering::Equal, "1.2"),
            ("1.9", Ordering::Less, "1.10"),
            ("2", Ordering::Greater, "1.99.99"),
            ("20261129020815", Ordering::Less, "20261129020816"),
            ("99999999999999999999999998", Ordering::Less, "99999999999999999999999999"),
            ("007", Ordering::Equal, "7"),
            ("0.1", Ordering::Less, "1"),
        ] {
            assert_eq!(compare_versions(left, right), order, "{left} {right}");
            assert_eq!(compare_versions(right, left), order.reverse(), "{right} {left}");
        }
    }

    #[test]
    fn the_head_of_a_statement_is_found_behind_comments() {
        for (text, wanted) in [
            ("-- why\n  vacuum   t", "VACUUM T"),
            ("/* a */ /* b */ select 1", "SELECT 1"),
            ("# c\nANALYZE", "ANALYZE"),
            ("/*!50000 ALTER */ t", "/*!50000 ALTER */ T"),
            ("--", ""),
        ] {
            assert_eq!(head(text, 40), wanted);
        }
    }
}
