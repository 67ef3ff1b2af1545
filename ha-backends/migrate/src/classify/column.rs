//! The definition of a column, as ADD COLUMN, MODIFY and CHANGE have it.

use super::scan::{Scan, is_word};
use super::tokens::Tok;
use super::{ColumnDefault, ObjectKind, ObjectName};
use crate::Dialect;

/// A column as it is defined.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) data_type: String,
    pub(super) nullable: bool,
    pub(super) default: ColumnDefault,
    pub(super) default_text: Option<String>,
    pub(super) generated: bool,
    pub(super) numbered: bool,
    pub(super) primary: bool,
    pub(super) unique: bool,
    pub(super) checked: bool,
    pub(super) references: Option<ObjectName>,
}

impl Scan<'_> {
    /// Reads `name type option ...` to the end.
    pub(super) fn column(&mut self) -> Option<Column> {
        let name = self.ident()?;
        let begin = self.at;
        self.skip_to_option();
        let data_type = self.tokens.text(begin..self.at);
        let serial = data_type.to_ascii_uppercase().contains("SERIAL");
        let mut column = Column {
            name,
            data_type,
            nullable: true,
            default: if serial { ColumnDefault::Volatile } else { ColumnDefault::None },
            default_text: None,
            generated: false,
            numbered: serial,
            primary: false,
            unique: false,
            checked: false,
            references: None,
        };
        while !self.done() {
            self.option(&mut column)?;
        }
        Some(column)
    }

    fn option(&mut self, column: &mut Column) -> Option<()> {
        if self.take_all(&["NOT", "NULL"]) {
            column.nullable = false;
        } else if self.take("DEFAULT") {
            let begin = self.at;
            // the first word belongs to the value even where it is NULL
            if self.parenthesis().is_none() {
                self.at += 1;
            }
            self.skip_to_option();
            if column.default == ColumnDefault::None {
                column.default = self.constancy(begin..self.at);
            }
            column.default_text = Some(self.tokens.text(begin..self.at));
        } else if self.take_all(&["PRIMARY", "KEY"]) {
            column.primary = true;
        } else if self.take("UNIQUE") {
            column.unique = true;
            self.take("KEY");
        } else if self.take("REFERENCES") {
            column.references = Some(self.name(ObjectKind::Table)?);
        } else if self.take("CHECK") {
            column.checked = true;
            self.parenthesis();
        } else if self.take("GENERATED") || self.take("AS") {
            let identity = self.rest().iter().take(4).any(|tok| is_word(tok, "IDENTITY"));
            let stored = ["STORED", "PERSISTENT", "PERSISTED"]
                .iter()
                .any(|word| self.rest().iter().any(|tok| is_word(tok, word)));
            column.numbered |= identity;
            column.generated |= !identity;
            if identity || stored {
                column.default = ColumnDefault::Volatile;
            }
            self.skip_any(&["ALWAYS", "BY", "DEFAULT", "AS", "IDENTITY"]);
            self.parenthesis();
        } else if self.take("AUTO_INCREMENT") || self.take("AUTOINCREMENT") || self.take("IDENTITY") {
            column.numbered = true;
            column.default = ColumnDefault::Volatile;
            self.parenthesis();
        } else if self.take("CONSTRAINT") {
            self.ident()?;
        } else if self.parenthesis().is_none() {
            self.at += 1;
        }
        Some(())
    }

    /// Goes to the next option of a column, over parentheses.
    fn skip_to_option(&mut self) {
        while let Some(tok) = self.peek() {
            if OPTIONS.iter().any(|option| is_word(tok, option)) {
                return;
            }
            if self.parenthesis().is_none() {
                self.at += 1;
            }
        }
    }

    /// Whether the server computes a default once, or for each row.
    fn constancy(&self, range: std::ops::Range<usize>) -> ColumnDefault {
        let toks = self.tokens.toks.get(range).unwrap_or_default();
        let null = matches!(toks, [only] if is_word(only, "NULL"));
        if null {
            return ColumnDefault::None;
        }
        let mut volatile = false;
        for (at, tok) in toks.iter().enumerate() {
            let Tok::Word(word, _) = tok else { continue };
            let word = word.to_ascii_uppercase();
            let called = matches!(toks.get(at + 1), Some(Tok::Mark(mark)) if mark == "(");
            let cast = at
                .checked_sub(1)
                .and_then(|at| toks.get(at))
                .is_some_and(|tok| matches!(tok, Tok::Mark(mark) if mark == "::"));
            let clock = CLOCKS.contains(&word.as_str());
            volatile |= match self.dialect {
                // refused where the table has rows
                Dialect::Sqlite => clock || called,
                Dialect::Db2
                | Dialect::H2
                | Dialect::MariaDb
                | Dialect::MySql
                | Dialect::Oracle
                | Dialect::Postgres
                | Dialect::SqlServer => called && !cast && !clock && !STEADY.contains(&word.as_str()),
            };
        }
        if volatile { ColumnDefault::Volatile } else { ColumnDefault::Constant }
    }
}

/// Words that begin an option of a column.
const OPTIONS: [&str; 27] = [
    "NOT",
    "NULL",
    "DEFAULT",
    "PRIMARY",
    "UNIQUE",
    "KEY",
    "REFERENCES",
    "CHECK",
    "CONSTRAINT",
    "GENERATED",
    "AS",
    "AUTO_INCREMENT",
    "AUTOINCREMENT",
    "IDENTITY",
    "COLLATE",
    "COMMENT",
    "FIRST",
    "AFTER",
    "BEFORE",
    "ON",
    "VIRTUAL",
    "STORED",
    "PERSISTENT",
    "INVISIBLE",
    "ENABLE",
    "USING",
    "FORMAT",
];

/// The time of the statement or transaction: one value for all rows.
const CLOCKS: [&str; 13] = [
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURDATE",
    "CURTIME",
    "GETDATE",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "NOW",
    "STATEMENT_TIMESTAMP",
    "SYSDATE",
    "SYSTIMESTAMP",
    "TRANSACTION_TIMESTAMP",
];

/// Functions whose value is the same for all rows of a statement.
const STEADY: [&str; 18] = [
    "ARRAY",
    "CAST",
    "CHAR",
    "COALESCE",
    "CONVERT",
    "CURRENT_SCHEMA",
    "DATE_TRUNC",
    "DECIMAL",
    "EMPTY_BLOB",
    "EMPTY_CLOB",
    "JSONB_BUILD_OBJECT",
    "JSON_ARRAY",
    "JSON_OBJECT",
    "LOWER",
    "TO_DATE",
    "TO_TIMESTAMP",
    "UPPER",
    "VARCHAR",
];
