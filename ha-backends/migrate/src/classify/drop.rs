//! DROP, TRUNCATE and RENAME.

use super::scan::{Draft, Scan};
use super::tokens::Tok;
use super::{Change, DropKind, ObjectKind, ObjectName};
use crate::Dialect;

impl Scan<'_> {
    pub(super) fn drop(mut self) -> Option<Draft> {
        self.skip_any(&["TEMPORARY", "TEMP", "FOREIGN", "PUBLIC", "MATERIALIZED"]);
        let word = self.keyword()?;
        let (kind, object) = drop_kind(&word)?;
        let concurrently = self.take("CONCURRENTLY");
        let if_exists = self.if_exists();
        let mut draft = Draft::ddl().outside_transaction_if(
            concurrently
                || matches!(word.as_str(), "TABLESPACE" | "SUBSCRIPTION")
                || (word == "DATABASE" && self.is_postgres()),
        );
        loop {
            let mut object = self.name(object)?;
            if self.sees_mark("@") {
                // MySQL: 'user'@'host'
                self.at = self.end;
            }
            if object.kind == ObjectKind::Index && self.dialect == Dialect::SqlServer && object.schema.is_some() {
                // SQL Server, old form: DROP INDEX table.index
                object.table = object.schema.take();
            }
            self.parenthesis();
            if self.take("ON") {
                let table = self.name(ObjectKind::Table)?;
                object = object.of_table(&table);
            }
            draft = draft.object(object.clone()).change(Change::Drop { kind, object, concurrently, if_exists });
            if !self.take_mark(",") {
                break;
            }
        }
        self.online(&mut draft);
        let tail = [
            "CASCADE",
            "RESTRICT",
            "NOWAIT",
            "WAIT",
            "ALGORITHM",
            "LOCK",
            "PURGE",
            "CONSTRAINTS",
            "FORCE",
            "WITH",
            "ONLINE",
        ];
        let known = self.done() || tail.iter().any(|word| self.sees(word));
        known.then_some(draft)
    }

    pub(super) fn truncate(mut self) -> Option<Draft> {
        self.take("TABLE");
        let mut draft = Draft::ddl();
        loop {
            self.take("ONLY");
            let table = self.name(ObjectKind::Table)?;
            self.take_mark("*");
            draft = draft.writing(table.clone()).change(Change::Truncate { table });
            if !self.take_mark(",") {
                break;
            }
        }
        let tail = [
            "CASCADE",
            "RESTRICT",
            "RESTART",
            "CONTINUE",
            "NOWAIT",
            "WAIT",
            "IMMEDIATE",
            "DROP",
            "REUSE",
            "IGNORE",
            "PURGE",
            "PRESERVE",
        ];
        let known = self.done() || tail.iter().any(|word| self.sees(word));
        self.online(&mut draft);
        known.then_some(draft)
    }

    /// RENAME TABLE a TO b, c TO d (MariaDB, MySQL, Db2); RENAME a TO b (Oracle).
    pub(super) fn rename(mut self) -> Option<Draft> {
        let kind = if self.take("INDEX") { ObjectKind::Index } else { ObjectKind::Table };
        if self.sees("USER") || self.sees("COLUMN") {
            return None;
        }
        let _ = self.take("TABLE") || self.take("TABLES");
        self.if_exists();
        let mut draft = Draft::ddl();
        loop {
            let from = self.name(kind)?;
            self.bounded_wait(&mut draft);
            if !self.take("TO") {
                return None;
            }
            let to = self.name(kind)?;
            draft = draft.renamed(from, to);
            if !self.take_mark(",") {
                break;
            }
        }
        self.done().then_some(draft)
    }

    /// NOWAIT or WAIT n.
    pub(super) fn bounded_wait(&mut self, draft: &mut Draft) {
        if self.take("NOWAIT") {
            draft.0.online.bounded_wait = true;
        } else if self.sees("WAIT") && matches!(self.peek_at(1), Some(Tok::Number)) {
            self.at += 2;
            draft.0.online.bounded_wait = true;
        }
    }

    pub(super) fn is_postgres(&self) -> bool {
        self.dialect == Dialect::Postgres
    }
}

impl Draft {
    /// The old name, then the new; a table or view that is renamed is a change of its own.
    pub(super) fn renamed(self, from: ObjectName, mut to: ObjectName) -> Self {
        if to.schema.is_none() {
            to.schema.clone_from(&from.schema);
        }
        let draft = self.object(from.clone()).object(to.clone());
        match from.kind {
            ObjectKind::Table | ObjectKind::View => draft.change(Change::RenameTable { from, to }),
            ObjectKind::Index
            | ObjectKind::Sequence
            | ObjectKind::Trigger
            | ObjectKind::Routine
            | ObjectKind::Type
            | ObjectKind::Schema
            | ObjectKind::Other => draft,
        }
    }
}

fn drop_kind(word: &str) -> Option<(DropKind, ObjectKind)> {
    Some(match word {
        "TABLE" | "TABLES" => (DropKind::Table, ObjectKind::Table),
        "VIEW" => (DropKind::View, ObjectKind::View),
        "INDEX" => (DropKind::Index, ObjectKind::Index),
        "SEQUENCE" => (DropKind::Sequence, ObjectKind::Sequence),
        "TRIGGER" => (DropKind::Trigger, ObjectKind::Trigger),
        "FUNCTION" | "PROCEDURE" | "PROC" | "ROUTINE" | "AGGREGATE" | "PACKAGE" | "ALIAS" => {
            (DropKind::Routine, ObjectKind::Routine)
        }
        "TYPE" | "DOMAIN" => (DropKind::Type, ObjectKind::Type),
        "SCHEMA" | "DATABASE" => (DropKind::Schema, ObjectKind::Schema),
        "EVENT" | "EXTENSION" | "ROLE" | "USER" | "POLICY" | "RULE" | "TABLESPACE" | "SUBSCRIPTION" | "PUBLICATION"
        | "STATISTICS" | "SYNONYM" | "COLLATION" | "SERVER" => (DropKind::Other, ObjectKind::Other),
        _ => return None,
    })
}
