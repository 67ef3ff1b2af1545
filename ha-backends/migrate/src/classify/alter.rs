//! ALTER.

use super::clause::{Alter, Verb};
use super::scan::{Draft, Scan, is_word};
use super::{Change, ObjectKind, ObjectName};
use crate::Dialect;

impl Scan<'_> {
    pub(super) fn alter(mut self) -> Option<Draft> {
        self.skip_any(&["ONLINE", "IGNORE", "FOREIGN", "MATERIALIZED", "EDITIONABLE"]);
        let begin = self.at;
        let word = self.keyword()?;
        match word.as_str() {
            "TABLE" => self.alter_table(),
            "VIEW" => self.alter_named(ObjectKind::View),
            "INDEX" => self.alter_named(ObjectKind::Index),
            "SEQUENCE" => self.alter_named(ObjectKind::Sequence),
            "TRIGGER" => self.alter_named(ObjectKind::Trigger),
            "FUNCTION" | "PROCEDURE" | "PROC" | "ROUTINE" | "AGGREGATE" | "PACKAGE" => {
                self.alter_named(ObjectKind::Routine)
            }
            "TYPE" | "DOMAIN" => {
                let value = self.rest().iter().take(5).any(|tok| is_word(tok, "VALUE"));
                let mut draft = self.alter_named(ObjectKind::Type)?;
                if value && let Some(name) = draft.0.objects.first().cloned() {
                    draft = draft.change(Change::AddEnumValue { name });
                }
                Some(draft)
            }
            "SCHEMA" => self.alter_named(ObjectKind::Schema),
            "DATABASE" => {
                let tablespace = self.rest().iter().any(|tok| is_word(tok, "TABLESPACE"));
                self.alter_named(ObjectKind::Schema).map(|draft| draft.outside_transaction_if(tablespace))
            }
            "SYSTEM" => {
                let _ = self.take("SET") || self.take("RESET");
                let name = self.name(ObjectKind::Other).map(|name| name.name).unwrap_or_default();
                let value = self.text();
                let object = ObjectName { kind: ObjectKind::Other, name: name.clone(), schema: None, table: None };
                let setting = Change::Setting { name, local: false, global: true, value };
                Some(Draft::ddl().object(object).change(setting).outside_transaction())
            }
            "SESSION" => {
                let _ = self.take("SET");
                let name = self.name(ObjectKind::Other).map(|name| name.name.to_ascii_lowercase()).unwrap_or_default();
                let value = self.text();
                let setting = Change::Setting { name, local: false, global: false, value };
                Some(Draft::of(super::Kind::Setting).change(setting))
            }
            "EVENT" | "EXTENSION" | "ROLE" | "USER" | "POLICY" | "RULE" | "PUBLICATION" | "SUBSCRIPTION"
            | "STATISTICS" | "DEFAULT" | "SERVER" | "COLLATION" | "TABLESPACE" | "GROUP" | "OPERATOR" | "LOGIN" => {
                let name = self.tokens.text(begin..self.end.min(begin + 12));
                Some(Draft::ddl().object(ObjectName { kind: ObjectKind::Other, name, schema: None, table: None }))
            }
            _ => None,
        }
    }

    /// ALTER of what is no table: its name, and a new one of RENAME TO.
    fn alter_named(mut self, kind: ObjectKind) -> Option<Draft> {
        self.if_exists();
        let mut object = self.name(kind)?;
        self.parenthesis();
        if self.take("ON") {
            let table = self.name(ObjectKind::Table)?;
            object = object.of_table(&table);
        }
        if self.take_all(&["RENAME", "TO"]) {
            let to = ObjectName { table: object.table.clone(), ..self.name(kind)? };
            return Some(Draft::ddl().renamed(object, to));
        }
        let mut draft = Draft::ddl().object(object.clone());
        if kind == ObjectKind::Index {
            self.online(&mut draft);
            if !draft.0.online.online && self.take("REBUILD") || self.take_all(&["SET", "TABLESPACE"]) {
                let kind = super::MaintenanceKind::Reindex;
                draft = draft.change(Change::Maintenance { kind, objects: vec![object] });
            }
        }
        Some(draft)
    }

    fn alter_table(mut self) -> Option<Draft> {
        if self.sees_all(&["ALL", "IN"]) {
            return None;
        }
        self.if_exists();
        self.take("ONLY");
        let table = self.name(ObjectKind::Table)?;
        self.take_mark("*");
        let mut draft = Draft::ddl();
        self.bounded_wait(&mut draft);
        let mut unchecked = false;
        if self.sees("WITH") && self.peek_at(1).is_some_and(|tok| is_word(tok, "CHECK") || is_word(tok, "NOCHECK")) {
            // SQL Server
            unchecked = self.peek_at(1).is_some_and(|tok| is_word(tok, "NOCHECK"));
            self.at += 2;
        }
        draft = draft.object(table.clone());
        self.online(&mut draft);
        if self.done() {
            return None;
        }
        let mut alter = Alter { table, draft, verb: Verb::None, unchecked };
        for clause in self.clauses() {
            for clause in self.db2_clauses(clause) {
                let mut clause = self.part(clause);
                let begin = clause.at;
                if alter.clause(&mut clause).is_none() {
                    clause.at = begin;
                    alter.unread(&clause);
                }
            }
        }
        Some(alter.draft)
    }

    /// Db2 has no comma between clauses.
    fn db2_clauses(&self, clause: std::ops::Range<usize>) -> Vec<std::ops::Range<usize>> {
        if self.dialect != Dialect::Db2 {
            return vec![clause];
        }
        let mut begin = clause.start;
        let mut cuts = Vec::new();
        for at in clause.start + 1..clause.end {
            let scan = self.part(at..clause.end);
            if scan.sees("ADD") || scan.sees_all(&["ALTER", "COLUMN"]) || scan.sees_all(&["DROP", "COLUMN"]) {
                cuts.push(begin..at);
                begin = at;
            }
        }
        cuts.push(begin..clause.end);
        cuts
    }
}
