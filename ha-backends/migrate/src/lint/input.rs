//! What is linted, and how strictly.

use crate::Dialect;
use crate::script::Phase;
use crate::split::{SplitError, split};

/// One script.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LintInput<'a> {
    /// The SQL that it is written in.
    pub dialect: Dialect,
    /// Its name, for the findings.
    pub file: &'a str,
    /// The phase that it is declared to belong to.
    pub phase: Phase,
    /// The whole text, where comments that allow a rule are looked for; may be empty.
    pub source: &'a str,
    /// Whether it is run in one transaction. Default: as the database can, unless a statement refuses one.
    pub in_transaction: Option<bool>,
    /// Its statements in order.
    pub statements: Vec<LintStatement<'a>>,
}

/// One statement of a script.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LintStatement<'a> {
    /// The line of its first word, from 1.
    pub line: usize,
    /// Its text, without the terminator.
    pub text: &'a str,
}

impl<'a> LintInput<'a> {
    /// A script of statements that are cut already, each with its line.
    pub fn new(
        dialect: Dialect,
        file: &'a str,
        phase: Phase,
        source: &'a str,
        statements: impl IntoIterator<Item = (usize, &'a str)>,
    ) -> Self {
        let statements = statements.into_iter().map(|(line, text)| LintStatement { line, text }).collect();
        Self { dialect, file, phase, source, in_transaction: None, statements }
    }

    /// Cuts a script and takes its statements.
    ///
    /// # Errors
    /// Of [`split`].
    pub fn of_script(dialect: Dialect, file: &'a str, phase: Phase, source: &'a str) -> Result<Self, SplitError> {
        let statements = split(dialect, source)?;
        Ok(Self::new(dialect, file, phase, source, statements.iter().map(|statement| (statement.line, statement.text))))
    }

    /// Says whether it is run in one transaction.
    #[must_use]
    pub fn with_transaction(mut self, in_transaction: bool) -> Self {
        self.in_transaction = Some(in_transaction);
        self
    }
}

/// How strict the rules are.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// How long somebody may wait for one statement, in milliseconds. What is estimated below is a note. Default 100; at 0
    /// nothing is.
    pub stall_millis: u64,
    /// Tables with at most so many rows are small: a change of all rows is a note. Default 1000.
    pub small_rows: u64,
    /// The product that the database is, where it is known: a script of another one is an error. Default `None`.
    pub product: Option<Dialect>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { stall_millis: 100, small_rows: 1000, product: None }
    }
}

impl Policy {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long somebody may wait, in milliseconds.
    #[must_use]
    pub fn with_stall_millis(mut self, millis: u64) -> Self {
        self.stall_millis = millis;
        self
    }

    /// Sets how many rows are few.
    #[must_use]
    pub fn with_small_rows(mut self, rows: u64) -> Self {
        self.small_rows = rows;
        self
    }

    /// Sets the product.
    #[must_use]
    pub fn with_product(mut self, product: Dialect) -> Self {
        self.product = Some(product);
        self
    }
}
