//! The clauses of ALTER TABLE.

use super::scan::{Draft, Scan, is_word};
use super::tokens::Tok;
use super::{Change, DropKind, ObjectKind, ObjectName, Rewriting};

/// What the clause before this one did: SQL Server and H2 go on after a comma without the word.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Verb {
    None,
    Add,
    DropColumn,
}

/// An ALTER TABLE whose clauses are read one by one.
pub(super) struct Alter {
    pub(super) table: ObjectName,
    pub(super) draft: Draft,
    pub(super) verb: Verb,
    pub(super) unchecked: bool,
}

impl Alter {
    pub(super) fn push(&mut self, change: Change) {
        self.draft.0.changes.push(change);
    }

    pub(super) fn unread(&mut self, clause: &Scan<'_>) {
        let words = clause.tokens.text(clause.at..clause.end.min(clause.at + 6));
        self.push(Change::Unread { table: self.table.clone(), clause: words });
    }

    pub(super) fn setting(&mut self, column: String) {
        self.push(Change::ColumnSetting { table: self.table.clone(), column });
    }

    /// Reads one clause; none where it is not understood.
    pub(super) fn clause(&mut self, scan: &mut Scan<'_>) -> Option<()> {
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

    fn drop(&mut self, scan: &mut Scan<'_>) -> Option<()> {
        let table = self.table.clone();
        // Oracle: DROP UNIQUE (columns)
        if scan.sees("UNIQUE") && matches!(scan.peek_at(1), Some(Tok::Mark(mark)) if mark == "(") {
            self.push(Change::DropConstraint { table, name: scan.text() });
            return Some(());
        }
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
            let if_exists = scan.if_exists();
            let index =
                ObjectName { kind: ObjectKind::Index, name: scan.ident()?, schema: None, table: None }.of_table(&table);
            self.push(Change::Drop { kind: DropKind::Index, object: index, concurrently: false, if_exists });
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
