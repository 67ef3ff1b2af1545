//! CREATE.

use super::scan::{Draft, Scan, is_word};
use super::tokens::Tok;
use super::{Change, ObjectKind, ObjectName};

impl Scan<'_> {
    pub(super) fn create(mut self) -> Option<Draft> {
        let mut before = Before::default();
        while self.modifier(&mut before) {}
        let word = self.keyword()?;
        match word.as_str() {
            "TABLE" => self.create_table(&before),
            "INDEX" => self.create_index(&before),
            "TRIGGER" => self.create_trigger(),
            "VIEW" => {
                self.if_not_exists();
                let view = self.name(ObjectKind::View)?;
                Some(Draft::ddl().object(view))
            }
            "DATABASE" | "TABLESPACE" | "SUBSCRIPTION" => {
                self.if_not_exists();
                let kind = if word == "DATABASE" { ObjectKind::Schema } else { ObjectKind::Other };
                let outside = self.is_postgres();
                Some(Draft::ddl().object(self.name(kind)?).outside_transaction_if(outside))
            }
            "SCHEMA" => {
                self.if_not_exists();
                if self.take("AUTHORIZATION") {
                    return Some(Draft::ddl().object(self.name(ObjectKind::Schema)?));
                }
                let schema = self.name(ObjectKind::Schema)?;
                // PostgreSQL: CREATE SCHEMA s CREATE TABLE ...
                let more = self.rest().iter().any(|tok| is_word(tok, "CREATE"));
                (!more).then(|| Draft::ddl().object(schema))
            }
            "SEQUENCE" => self.named_object(ObjectKind::Sequence),
            "FUNCTION" | "PROCEDURE" | "PROC" | "AGGREGATE" | "PACKAGE" | "ALIAS" => {
                self.take("BODY");
                self.named_object(ObjectKind::Routine)
            }
            "TYPE" | "DOMAIN" => {
                self.take("BODY");
                self.named_object(ObjectKind::Type)
            }
            "EVENT" | "EXTENSION" | "ROLE" | "USER" | "POLICY" | "RULE" | "PUBLICATION" | "STATISTICS" | "SYNONYM"
            | "COLLATION" | "SERVER" | "CAST" | "OPERATOR" | "LANGUAGE" | "CONVERSION" | "ACCESS" | "TEXT"
            | "GROUP" | "LOGIN" => {
                let name = self.tokens.text(0..self.tokens.toks.len().min(12));
                Some(Draft::ddl().object(ObjectName { kind: ObjectKind::Other, name, schema: None, table: None }))
            }
            _ => None,
        }
    }

    /// Takes one word or clause between CREATE and what is created.
    fn modifier(&mut self, before: &mut Before) -> bool {
        if self.take_all(&["OR", "REPLACE"]) || self.take_all(&["OR", "ALTER"]) {
            before.or_replace = true;
            return true;
        }
        if self.take("TEMPORARY") || self.take("TEMP") {
            before.temporary = true;
            return true;
        }
        if self.take("UNIQUE") {
            before.unique = true;
            return true;
        }
        let plain = [
            "GLOBAL",
            "LOCAL",
            "UNLOGGED",
            "FULLTEXT",
            "SPATIAL",
            "BITMAP",
            "CLUSTERED",
            "NONCLUSTERED",
            "MATERIALIZED",
            "RECURSIVE",
            "FORCE",
            "NOFORCE",
            "EDITIONABLE",
            "NONEDITIONABLE",
            "PUBLIC",
            "VIRTUAL",
            "FOREIGN",
            "CONSTRAINT",
            "COLUMN",
            "CACHED",
            "MEMORY",
            "ROW",
            "XML",
            "ONLINE",
            "OFFLINE",
            "TRUSTED",
            "PROCEDURAL",
        ];
        if plain.iter().any(|word| self.take(word)) {
            return true;
        }
        if self.sees("DEFINER") || self.sees("ALGORITHM") {
            // MySQL: DEFINER = `user`@`host`, ALGORITHM = MERGE
            self.at += 1;
            self.take_mark("=");
            self.at += 1;
            while self.take_mark("@") {
                self.at += 1;
            }
            // the tokenizer may have read @host as one word
            if matches!(self.peek(), Some(Tok::Word(word, false)) if word.starts_with('@')) {
                self.at += 1;
            }
            self.parenthesis();
            return true;
        }
        if self.take_all(&["SQL", "SECURITY"]) {
            self.at += 1;
            return true;
        }
        if self.sees("AGGREGATE") && matches!(self.peek_at(1), Some(tok) if is_word(tok, "FUNCTION")) {
            self.at += 1;
            return true;
        }
        false
    }

    fn named_object(mut self, kind: ObjectKind) -> Option<Draft> {
        self.if_not_exists();
        Some(Draft::ddl().object(self.name(kind)?))
    }

    fn create_table(mut self, before: &Before) -> Option<Draft> {
        let if_not_exists = self.if_not_exists();
        let table = self.name(ObjectKind::Table)?;
        let mut engine = None;
        let mut from_query = false;
        let mut references = Vec::new();
        let mut parent = None;
        let mut depth = 0_usize;
        while let Some(tok) = self.peek() {
            match tok {
                Tok::Mark(mark) if mark == "(" => depth += 1,
                Tok::Mark(mark) if mark == ")" => depth = depth.saturating_sub(1),
                Tok::Mark(_) | Tok::Word(_, true) | Tok::Text | Tok::Number => {}
                Tok::Word(_, false) => {
                    if self.take("REFERENCES") {
                        let to = self.name(ObjectKind::Table)?;
                        if to.name != table.name && !references.contains(&to) {
                            references.push(to);
                        }
                        continue;
                    }
                    if depth == 0 && self.take_all(&["PARTITION", "OF"]) {
                        parent = Some(self.name(ObjectKind::Table)?);
                        continue;
                    }
                    if depth == 0 && (self.sees("ENGINE") || self.sees("TYPE")) {
                        self.at += 1;
                        self.take_mark("=");
                        engine = self.ident();
                        continue;
                    }
                    // SELECT at the outermost level, or in the parenthesis that follows AS
                    if depth <= 1 && (self.sees("SELECT") || self.sees("VALUES")) && !self.partition_values() {
                        from_query = true;
                        break;
                    }
                }
            }
            self.at += 1;
        }
        let mut draft = Draft::ddl().object(table.clone());
        if from_query {
            draft = draft.writing(table.clone());
        }
        draft = draft.change(Change::CreateTable {
            table,
            if_not_exists,
            temporary: before.temporary,
            from_query,
            or_replace: before.or_replace,
            engine,
            references,
        });
        if let Some(parent) = parent {
            draft = draft.change(Change::Partition { table: parent, concurrently: false, destroys: false });
        }
        Some(draft)
    }

    /// `FOR VALUES FROM`, `VALUES LESS THAN`, `VALUES IN`: the bounds of a partition.
    fn partition_values(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.toks.get(at));
        let next = self.peek_at(1);
        self.sees("VALUES")
            && (before.is_some_and(|tok| is_word(tok, "FOR"))
                || next.is_some_and(|tok| is_word(tok, "LESS") || is_word(tok, "IN") || is_word(tok, "FROM")))
    }

    fn create_index(mut self, before: &Before) -> Option<Draft> {
        let concurrently = self.take("CONCURRENTLY");
        let if_not_exists = self.if_not_exists();
        let index = if self.sees("ON") { None } else { Some(self.name(ObjectKind::Index)?) };
        if self.take("USING") {
            // MySQL: CREATE INDEX i USING BTREE ON t
            self.keyword()?;
        }
        if !self.take("ON") {
            return None;
        }
        self.take("ONLY");
        let table = self.name(ObjectKind::Table)?;
        let mut draft = Draft::ddl().outside_transaction_if(concurrently);
        draft.0.concurrent_index = concurrently;
        let name = index.as_ref().map(|index| index.name.clone());
        // an index without a name gets one from the server: the table is what is known
        draft = draft.object(index.map_or_else(|| table.clone(), |index| index.of_table(&table)));
        self.online(&mut draft);
        let unique = before.unique;
        Some(draft.change(Change::CreateIndex { table, name, unique, concurrently, if_not_exists }))
    }

    fn create_trigger(mut self) -> Option<Draft> {
        self.if_not_exists();
        let trigger = self.name(ObjectKind::Trigger)?;
        // ... { BEFORE | AFTER | INSTEAD OF } event [OF columns] ON table ...
        let table = loop {
            if self.done() {
                break None;
            }
            if self.take("ON") {
                break self.name(ObjectKind::Table);
            }
            self.at += 1;
        };
        let trigger = table.iter().fold(trigger, ObjectName::of_table);
        Some(Draft::ddl().object(trigger).change(Change::CreateTrigger { table }))
    }
}

/// What stood between CREATE and what is created.
#[derive(Default)]
struct Before {
    or_replace: bool,
    temporary: bool,
    unique: bool,
}
