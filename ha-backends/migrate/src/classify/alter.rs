//! ALTER.

use super::column::Column;
use super::scan::{Draft, Scan, is_word};
use super::tokens::Tok;
use super::{Change, ConstraintKind, DropKind, ObjectKind, ObjectName, Rewriting};
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

/// What the clause before this one did: SQL Server and H2 go on after a comma without the word.
#[derive(Clone, Copy, PartialEq)]
enum Verb {
    None,
    Add,
    DropColumn,
}

struct Alter {
    table: ObjectName,
    draft: Draft,
    verb: Verb,
    unchecked: bool,
}

impl Alter {
    fn push(&mut self, change: Change) {
        self.draft.0.changes.push(change);
    }

    fn unread(&mut self, clause: &Scan<'_>) {
        let words = clause.tokens.text(clause.at..clause.end.min(clause.at + 6));
        self.push(Change::Unread { table: self.table.clone(), clause: words });
    }

    fn setting(&mut self, column: String) {
        self.push(Change::ColumnSetting { table: self.table.clone(), column });
    }

    /// Reads one clause; none where it is not understood.
    fn clause(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        let begin = scan.at;
        let word = match scan.keyword() {
            Some(word) => word,
            None if self.verb == Verb::Add => return self.add(scan),
            None => String::new(),
        };
        match word.as_str() {
            "ADD" => {
                self.verb = Verb::Add;
                self.add(scan)
            }
            "DROP" => self.drop(scan),
            "ALTER" => self.alter_column(scan),
            "MODIFY" => self.modify(scan),
            "CHANGE" => self.change_column(scan),
            "RENAME" => self.rename(scan),
            "SET" => self.set(scan),
            "VALIDATE" => {
                scan.take("CONSTRAINT").then_some(())?;
                let name = scan.ident()?;
                self.push(Change::ValidateConstraint { table: self.table.clone(), name });
                Some(())
            }
            "ENGINE" | "TYPE" => {
                scan.take_mark("=");
                let engine = scan.ident()?;
                self.rewrite(Rewriting::Engine(engine))
            }
            "CONVERT" => self.rewrite(Rewriting::Charset),
            "FORCE" if scan.done() => self.rewrite(Rewriting::Rebuild),
            "ROW_FORMAT" | "KEY_BLOCK_SIZE" | "REBUILD" | "MOVE" => self.rewrite(Rewriting::Rebuild),
            "ORDER" => self.rewrite(Rewriting::Rebuild),
            "ATTACH" | "DETACH" | "EXCHANGE" | "SWITCH" => self.partition(scan, &word),
            "TRUNCATE" | "COALESCE" | "REORGANIZE" | "PARTITION" | "DISCARD" | "IMPORT" | "REMOVE" => {
                let destroys = matches!(word.as_str(), "TRUNCATE" | "DISCARD");
                self.push(Change::Partition { table: self.table.clone(), concurrently: false, destroys });
                Some(())
            }
            "CLUSTER" | "INHERIT" | "NO" | "OF" | "REPLICA" | "OWNER" | "ENABLE" | "DISABLE" | "RESET" | "COMMENT"
            | "DEFAULT" | "AUTO_INCREMENT" | "CHARACTER" | "CHARSET" | "COLLATE" | "STATS_PERSISTENT" | "FORCE"
            | "NOT" | "APPEND" | "PCTFREE" | "LOCKSIZE" | "ACTIVATE" | "VOLATILE" | "DATA" | "NOCHECK" | "CHECK"
            | "NOWAIT" | "WAIT" | "ALGORITHM" | "LOCK" | "STATS_AUTO_RECALC" | "MAX_ROWS" | "MIN_ROWS" => Some(()),
            _ => {
                scan.at = begin;
                match self.verb {
                    Verb::Add => self.add(scan),
                    Verb::DropColumn => self.drop_column(scan),
                    Verb::None => None,
                }
            }
        }
    }

    fn rewrite(&mut self, by: Rewriting) -> Option<()> {
        self.push(Change::Rewrite { table: self.table.clone(), by });
        Some(())
    }

    fn add(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        let named = scan.take("CONSTRAINT");
        if named {
            scan.if_not_exists();
            let unnamed = ["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"].iter().any(|word| scan.sees(word));
            let name = if unnamed { None } else { Some(scan.ident()?) };
            return self.constraint(scan, name);
        }
        if ["PRIMARY", "FOREIGN", "CHECK", "EXCLUDE"].iter().any(|word| scan.sees(word))
            || (scan.sees("UNIQUE") && !matches!(self.mysql_index(scan), Some(true)))
        {
            return self.constraint(scan, None);
        }
        if matches!(self.mysql_index(scan), Some(true)) {
            let unique = scan.take("UNIQUE");
            scan.skip_any(&["FULLTEXT", "SPATIAL", "INDEX", "KEY"]);
            scan.if_not_exists();
            let name = if scan.sees_mark("(") || scan.sees("USING") { None } else { Some(scan.ident()?) };
            self.push(Change::CreateIndex {
                table: self.table.clone(),
                name,
                unique,
                concurrently: false,
                if_not_exists: false,
            });
            return Some(());
        }
        if scan.take("PARTITION") || scan.sees_all(&["RANGE", "PARTITION"]) {
            self.push(Change::Partition { table: self.table.clone(), concurrently: false, destroys: false });
            return Some(());
        }
        if scan.sees("GENERATED") || scan.sees_all(&["SYSTEM", "VERSIONING"]) || scan.sees_all(&["PERIOD", "FOR"]) {
            return None;
        }
        scan.take("COLUMN");
        scan.if_not_exists();
        if let Some(inside) = scan.parenthesis() {
            let inside = scan.part(inside);
            for clause in inside.clauses() {
                let mut clause = inside.part(clause);
                let constraint =
                    ["CONSTRAINT", "PRIMARY", "FOREIGN", "CHECK", "UNIQUE"].iter().any(|word| clause.sees(word));
                if constraint { self.add(&mut clause)? } else { self.add_column(clause.column()?) }
            }
            return Some(());
        }
        let column = scan.column()?;
        self.add_column(column);
        Some(())
    }

    /// MariaDB, MySQL: ADD [UNIQUE | FULLTEXT | SPATIAL] {INDEX | KEY}.
    fn mysql_index(&self, scan: &Scan<'_>) -> Option<bool> {
        if !matches!(scan.dialect, Dialect::MariaDb | Dialect::MySql) {
            return None;
        }
        let first = ["UNIQUE", "FULLTEXT", "SPATIAL"].iter().any(|word| scan.sees(word));
        let key = |ahead| scan.peek_at(ahead).is_some_and(|tok| is_word(tok, "INDEX") || is_word(tok, "KEY"));
        // a column may be called `key` only where it is quoted, and `index` too
        Some(key(0) || (first && (key(1) || !scan.sees("UNIQUE"))) || scan.sees("UNIQUE"))
    }

    fn add_column(&mut self, column: Column) {
        let constraint = |kind, references: Option<ObjectName>, definition| Change::AddConstraint {
            table: self.table.clone(),
            name: None,
            kind,
            not_valid: false,
            using_index: false,
            references,
            definition,
        };
        let mut more = Vec::new();
        if column.primary {
            more.push(constraint(ConstraintKind::PrimaryKey, None, format!("PRIMARY KEY ({})", column.name)));
        }
        if column.unique {
            more.push(constraint(ConstraintKind::Unique, None, format!("UNIQUE ({})", column.name)));
        }
        if let Some(to) = &column.references {
            let definition = format!("FOREIGN KEY ({}) REFERENCES {}", column.name, to.name);
            more.push(constraint(ConstraintKind::ForeignKey, Some(to.clone()), definition));
        }
        let nullable = column.nullable && !column.primary;
        self.push(Change::AddColumn {
            table: self.table.clone(),
            column: column.name,
            data_type: column.data_type,
            nullable,
            default: column.default,
            default_text: column.default_text,
            generated: column.generated,
            numbered: column.numbered,
        });
        self.draft.0.changes.append(&mut more);
    }

    fn constraint(&mut self, scan: &mut Scan<'_>, name: Option<String>) -> Option<()> {
        let definition = scan.text();
        let mut references = None;
        let kind = match scan.keyword()?.as_str() {
            "PRIMARY" => ConstraintKind::PrimaryKey,
            "UNIQUE" => ConstraintKind::Unique,
            "CHECK" => ConstraintKind::Check,
            "EXCLUDE" => ConstraintKind::Exclude,
            "FOREIGN" => {
                while !scan.done() && !scan.take("REFERENCES") {
                    scan.at += 1;
                }
                references = Some(scan.name(ObjectKind::Table)?);
                ConstraintKind::ForeignKey
            }
            // SQL Server: ADD CONSTRAINT d DEFAULT 0 FOR c
            "DEFAULT" => {
                self.setting(name.unwrap_or_default());
                return Some(());
            }
            _ => return None,
        };
        let rest = scan.rest();
        let pair = |first: &str, second: &str| {
            rest.windows(2).any(|two| matches!(two, [a, b] if is_word(a, first) && is_word(b, second)))
        };
        let not_valid = self.unchecked || pair("NOT", "VALID") || pair("ENABLE", "NOVALIDATE");
        let using_index = pair("USING", "INDEX");
        let table = self.table.clone();
        self.push(Change::AddConstraint { table, name, kind, not_valid, using_index, references, definition });
        Some(())
    }

    fn drop(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        let table = self.table.clone();
        if scan.take_all(&["PRIMARY", "KEY"]) {
            self.push(Change::DropConstraint { table, name: "PRIMARY KEY".into() });
            return Some(());
        }
        if scan.take_all(&["FOREIGN", "KEY"]) || scan.take("CONSTRAINT") || scan.take("CHECK") || scan.take("UNIQUE") {
            scan.if_exists();
            let name = scan.ident()?;
            self.push(Change::DropConstraint { table, name });
            return Some(());
        }
        if (scan.sees("INDEX") || scan.sees("KEY")) && scan.peek_at(1).is_some() {
            scan.at += 1;
            scan.if_exists();
            let index =
                ObjectName { kind: ObjectKind::Index, name: scan.ident()?, schema: None, table: None }.of_table(&table);
            self.push(Change::Drop { kind: DropKind::Index, object: index, concurrently: false });
            return Some(());
        }
        if scan.take("PARTITION") {
            self.push(Change::Partition { table, concurrently: false, destroys: true });
            return Some(());
        }
        if scan.sees_all(&["SYSTEM", "VERSIONING"]) {
            return None;
        }
        self.verb = Verb::DropColumn;
        scan.take("COLUMN");
        if let Some(inside) = scan.parenthesis() {
            let inside = scan.part(inside);
            for clause in inside.clauses() {
                self.drop_column(&mut inside.part(clause))?;
            }
            return Some(());
        }
        self.drop_column(scan)
    }

    fn drop_column(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        scan.take("COLUMN");
        scan.if_exists();
        let column = scan.ident()?;
        self.push(Change::DropColumn { table: self.table.clone(), column });
        Some(())
    }

    fn alter_column(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        if scan.take("CONSTRAINT") || scan.take("CHECK") || (scan.take("INDEX")) {
            return Some(());
        }
        scan.take("COLUMN");
        scan.if_exists();
        let column = scan.ident()?;
        let table = self.table.clone();
        if scan.take_all(&["RENAME", "TO"]) {
            let to = scan.ident()?;
            self.push(Change::RenameColumn { table, from: column, to, data_type: None });
        } else if scan.take_all(&["SET", "NOT", "NULL"]) {
            self.push(Change::SetNotNull { table, column });
        } else if scan.take_all(&["SET", "DATA", "TYPE"]) || scan.take("TYPE") {
            let begin = scan.at;
            while !scan.done() && !scan.sees("USING") {
                scan.at += 1;
            }
            let data_type = scan.tokens.text(begin..scan.at);
            self.push(Change::AlterType { table, column, data_type, not_null: false });
        } else if ["SET", "DROP", "RESET", "ADD", "RESTART"].iter().any(|word| scan.sees(word)) {
            self.setting(column);
        } else {
            // SQL Server, H2: ALTER COLUMN c type
            scan.at = scan.at.checked_sub(1)?;
            self.redefine(scan)?;
        }
        Some(())
    }

    fn modify(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        scan.take("COLUMN");
        scan.if_exists();
        if let Some(inside) = scan.parenthesis() {
            let inside = scan.part(inside);
            for clause in inside.clauses() {
                self.redefine(&mut inside.part(clause))?;
            }
            return Some(());
        }
        self.redefine(scan)
    }

    /// `name type option ...` of a column that is there.
    fn redefine(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        let column = scan.column()?;
        let table = self.table.clone();
        // Oracle: MODIFY c NOT NULL, MODIFY c DEFAULT 1
        match (column.data_type.is_empty(), column.nullable) {
            (true, false) => self.push(Change::SetNotNull { table, column: column.name }),
            (true, true) => self.setting(column.name),
            (false, nullable) => {
                self.push(Change::AlterType {
                    table,
                    column: column.name,
                    data_type: column.data_type,
                    not_null: !nullable,
                });
            }
        }
        Some(())
    }

    fn change_column(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        scan.take("COLUMN");
        scan.if_exists();
        let from = scan.ident()?;
        let column = scan.column()?;
        let table = self.table.clone();
        if from.eq_ignore_ascii_case(&column.name) {
            let not_null = !column.nullable;
            self.push(Change::AlterType { table, column: column.name, data_type: column.data_type, not_null });
        } else {
            self.push(Change::RenameColumn { table, from, to: column.name, data_type: Some(column.data_type) });
        }
        Some(())
    }

    fn rename(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        let table = self.table.clone();
        if scan.take("CONSTRAINT") || ((scan.sees("INDEX") || scan.sees("KEY")) && scan.peek_at(1).is_some()) {
            return Some(());
        }
        let column = scan.take("COLUMN");
        if !column && (scan.take("TO") || scan.take("AS") || scan.take_mark("="))
            || matches!(scan.rest(), [Tok::Word(..)])
        {
            let mut to = scan.name(ObjectKind::Table)?;
            if to.schema.is_none() {
                to.schema.clone_from(&table.schema);
            }
            self.draft.0.objects.push(to.clone());
            self.push(Change::RenameTable { from: table, to });
            return Some(());
        }
        scan.if_exists();
        let from = scan.ident()?;
        scan.take("TO").then_some(())?;
        let to = scan.ident()?;
        self.push(Change::RenameColumn { table, from, to, data_type: None });
        Some(())
    }

    fn set(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        if scan.take("TABLESPACE") {
            return self.rewrite(Rewriting::Tablespace);
        }
        if scan.sees("LOGGED") || scan.sees("UNLOGGED") || scan.sees_all(&["ACCESS", "METHOD"]) {
            return self.rewrite(Rewriting::Rebuild);
        }
        if scan.take("SCHEMA") {
            let to = ObjectName { schema: Some(scan.ident()?), ..self.table.clone() };
            self.draft.0.objects.push(to.clone());
            self.push(Change::RenameTable { from: self.table.clone(), to });
            return Some(());
        }
        (scan.sees_mark("(") || scan.sees("WITHOUT") || scan.sees("STATISTICS") || scan.sees("REFERENTIAL_INTEGRITY"))
            .then_some(())
    }

    fn partition(&mut self, scan: &mut Scan<'_>, word: &str) -> Option<()> {
        let mut other = None;
        if matches!(word, "EXCHANGE" | "SWITCH") {
            while !scan.done() && !scan.take("TABLE") && !scan.take("TO") {
                scan.at += 1;
            }
            other = scan.name(ObjectKind::Table);
        } else if scan.take("PARTITION") {
            other = scan.name(ObjectKind::Table);
        }
        self.draft.0.objects.push(other?);
        let concurrently = scan.rest().iter().any(|tok| is_word(tok, "CONCURRENTLY"));
        self.draft.0.outside_transaction |= concurrently;
        self.push(Change::Partition { table: self.table.clone(), concurrently, destroys: false });
        Some(())
    }
}
