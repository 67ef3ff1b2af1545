//! The clauses of ALTER TABLE that add and change columns, constraints and indexes.

use super::clause::Alter;
use super::column::Column;
use super::scan::{Scan, is_word};
use super::{Change, ConstraintKind, ObjectKind, ObjectName};
use crate::Dialect;

impl Alter {
    pub(super) fn add(&mut self, scan: &mut Scan<'_>) -> Option<()> {
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

    pub(super) fn alter_column(&mut self, scan: &mut Scan<'_>) -> Option<()> {
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

    pub(super) fn modify(&mut self, scan: &mut Scan<'_>) -> Option<()> {
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

    pub(super) fn change_column(&mut self, scan: &mut Scan<'_>) -> Option<()> {
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
}
