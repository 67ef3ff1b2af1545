//! Cuts a script into its statements, each dialect as its own client does.
//!
//! What ends a statement: `;`, the delimiter that `DELIMITER` sets (MySQL, MariaDB) or `--#SET TERMINATOR` (Db2), a line of
//! only `/` (Oracle, Db2), a line of only `GO` (SQL Server). None of them counts in quotes, comments, a stored program's body
//! or the rows of a `COPY`. The comment lines "Start of Procedure" and "End of Procedure" of WSO2's scripts enclose one statement.

mod blocks;
mod cut;
mod decode;
mod keyword;
mod lex;
mod rules;
mod tsql;

#[cfg(test)]
mod split_test;

pub use decode::{DecodeError, decode};

use crate::Dialect;

/// One statement of a script.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Statement<'a> {
    /// Its text, without the terminator and what follows its last word; comments inside it stay.
    pub text: &'a str,
    /// The line of its first word, from 1.
    pub line: usize,
    /// Where its text begins in the script, in bytes.
    pub offset: usize,
    /// The comments and blanks between the statement before it, or the script's beginning, and it.
    pub above: &'a str,
    /// The rows of a `COPY ... FROM STDIN`, as they stand in the script, without the `\.` line.
    pub copy_data: Option<&'a str>,
}

/// A script that cannot be cut.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SplitError {
    /// The line where what is not closed begins, from 1.
    pub line: usize,
    /// What is wrong, and the fix.
    pub what: String,
}

/// Cuts a script, in time linear in its length and without copying it.
///
/// # Errors
/// [`SplitError`] where a quote, comment, block or parenthesis (PostgreSQL) is not closed, a delimiter cannot be one, or a command
/// of the database's shell stands where a statement should.
///
/// # Examples
/// ```
/// use ha_migrate::{Dialect, split::split};
///
/// let script = "CREATE TABLE t (c text DEFAULT ';'); -- one\nINSERT INTO t VALUES ('it''s')";
/// let statements = split(Dialect::Postgres, script)?;
/// assert_eq!(statements[0].text, "CREATE TABLE t (c text DEFAULT ';')");
/// assert_eq!((statements[1].text, statements[1].line), ("INSERT INTO t VALUES ('it''s')", 2));
/// # Ok::<(), ha_migrate::split::SplitError>(())
/// ```
pub fn split(dialect: Dialect, script: &str) -> Result<Vec<Statement<'_>>, SplitError> {
    cut::Cutter::new(dialect, script).run()
}
