//! Where a statement ends that has statements in it.

use super::keyword::Keyword;
use super::lex::Kind;
use super::tsql::Batch;
use crate::Dialect;

/// What was read before, as far as it tells what the next word is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Previous {
    Nothing,
    Word(Keyword),
    Semicolon,
    Colon,
    Dot,
    Close,
    Quoted,
    Sign,
}

/// A block that is open, and where it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) kind: BlockKind,
    pub(super) at: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BlockKind {
    Begin,
    CaseExpression,
    CaseStatement,
    /// IF, LOOP, WHILE, REPEAT, FOR: closed by END and the same word.
    Other(Keyword),
}

/// How the end of the statement is found that is being read.
#[derive(Debug)]
pub(super) enum Shape {
    /// Its first words are still to be read.
    Unknown,
    /// `CREATE` was read, and perhaps words that may stand before what is created; `DEFINER` among them.
    Create { has_definer: bool },
    /// The first `;` ends it.
    Plain,
    /// `COPY`: whether `FROM STDIN` was read.
    Copy { from_stdin: bool },
    /// Only a line of `/` ends it.
    PlSql,
    /// psql's rule: BEGIN (ATOMIC) and CASE are counted in `CREATE FUNCTION` and `CREATE PROCEDURE`.
    Atomic,
    /// SQLite's own rule: a trigger ends with `; END ;`.
    SqliteTrigger { is_ended: bool },
    /// A stored program (MySQL, MariaDB, Db2), and whether its body has begun.
    Program { in_body: bool },
    /// A batch of SQL Server.
    Batch(Batch),
}

/// Follows a statement.
#[derive(Debug)]
pub(super) struct Blocks {
    dialect: Dialect,
    shape: Shape,
    previous: Previous,
    open: Vec<Block>,
    /// Where an END was read whose next word tells what it closes.
    ended: bool,
    /// The statement within the program is a DECLARE.
    in_declare: bool,
    /// The parentheses that are open (PostgreSQL): how many, and where the first began.
    parentheses: usize,
    first_parenthesis: usize,
}

/// What is not closed, where, and what closes it.
pub(super) type Unclosed = (usize, &'static str);

impl Blocks {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            shape: Shape::Unknown,
            previous: Previous::Nothing,
            open: Vec::new(),
            ended: false,
            in_declare: false,
            parentheses: 0,
            first_parenthesis: 0,
        }
    }

    /// Begins the next statement.
    pub(super) fn clear(&mut self) {
        let open = std::mem::take(&mut self.open);
        *self = Self { open, ..Self::new(self.dialect) };
        self.open.clear();
    }

    pub(super) fn is_copy(&self) -> bool {
        matches!(self.shape, Shape::Copy { from_stdin: true })
    }

    /// Takes a word of the statement.
    pub(super) fn word(&mut self, word: &[u8], at: usize) {
        if matches!(self.shape, Shape::Plain | Shape::PlSql) {
            return;
        }
        let keyword = Keyword::of(word);
        match &mut self.shape {
            Shape::Unknown => self.first_word(keyword, at),
            Shape::Create { has_definer } => {
                let has_definer = *has_definer;
                self.shape = self.created(keyword, has_definer);
            }
            Shape::Copy { from_stdin } => {
                *from_stdin |= keyword == Keyword::Stdin && self.previous == Previous::Word(Keyword::From);
            }
            Shape::Atomic => self.atomic(keyword, at),
            Shape::SqliteTrigger { is_ended } => {
                *is_ended = keyword == Keyword::End && self.previous == Previous::Semicolon;
            }
            Shape::Program { .. } => self.program(keyword, at),
            Shape::Batch(batch) => batch.word(keyword, at, self.previous),
            Shape::Plain | Shape::PlSql => {}
        }
        self.previous = Previous::Word(keyword);
    }

    /// Takes what is no word, blank, comment or terminator.
    pub(super) fn sign(&mut self, kind: Kind, at: usize) {
        if kind == Kind::Open {
            self.first_parenthesis = if self.parentheses == 0 { at } else { self.first_parenthesis };
            self.parentheses += 1;
        } else if kind == Kind::Close {
            self.parentheses = self.parentheses.saturating_sub(1);
        }
        self.settle();
        match &mut self.shape {
            Shape::Unknown => {
                self.shape =
                    if self.dialect == Dialect::SqlServer { Shape::Batch(Batch::default()) } else { Shape::Plain }
            }
            Shape::SqliteTrigger { is_ended } => *is_ended = false,
            Shape::Create { has_definer: false } => self.shape = Shape::Plain,
            Shape::Batch(batch) => batch.settle(),
            Shape::Create { has_definer: true }
            | Shape::Plain
            | Shape::Copy { .. }
            | Shape::PlSql
            | Shape::Atomic
            | Shape::Program { .. } => {}
        }
        self.previous = match kind {
            Kind::Semicolon => Previous::Semicolon,
            Kind::Colon => Previous::Colon,
            Kind::Dot => Previous::Dot,
            Kind::Close => Previous::Close,
            Kind::Quoted => Previous::Quoted,
            Kind::Blank | Kind::Comment | Kind::Word | Kind::Open | Kind::Slash | Kind::Sign => Previous::Sign,
        };
    }

    /// Tells whether a `;` ends the statement, rather than one within it.
    pub(super) fn ends(&mut self, at: usize, has_go: impl FnOnce() -> bool, ends_line: impl FnOnce() -> bool) -> bool {
        self.settle();
        let ends = match &mut self.shape {
            Shape::Unknown | Shape::Create { .. } | Shape::Plain | Shape::Copy { .. } => !self.in_parentheses(),
            Shape::Atomic => self.open.is_empty() && !self.in_parentheses(),
            Shape::PlSql => false,
            Shape::SqliteTrigger { is_ended } => *is_ended,
            Shape::Program { .. } => self.open.is_empty(),
            Shape::Batch(batch) => batch.ends(has_go, ends_line),
        };
        if !ends {
            self.sign(Kind::Semicolon, at);
            self.in_declare = false;
        }
        ends
    }

    fn in_parentheses(&self) -> bool {
        self.dialect == Dialect::Postgres && self.parentheses > 0
    }

    /// Tells what is open at the end of the script.
    pub(super) fn unclosed(&mut self) -> Option<Unclosed> {
        self.settle();
        match &mut self.shape {
            _ if self.dialect == Dialect::Postgres && self.parentheses > 0 => {
                Some((self.first_parenthesis, "the parenthesis ( is not closed: add )"))
            }
            Shape::SqliteTrigger { is_ended: false } => {
                Some((0, "the trigger is not closed: add END; behind its last statement"))
            }
            Shape::Batch(batch) => batch.unclosed(),
            Shape::SqliteTrigger { .. }
            | Shape::Unknown
            | Shape::Create { .. }
            | Shape::Plain
            | Shape::Copy { .. }
            | Shape::PlSql
            | Shape::Atomic
            | Shape::Program { .. } => self.open.first().map(|block| (block.at, block.kind.fix())),
        }
    }

    fn first_word(&mut self, keyword: Keyword, at: usize) {
        use Dialect::{Db2, Oracle, Postgres, SqlServer};
        self.shape = match (self.dialect, keyword) {
            (SqlServer, _) => {
                let mut batch = Batch::default();
                batch.word(keyword, at, Previous::Nothing);
                Shape::Batch(batch)
            }
            (_, Keyword::Create) => Shape::Create { has_definer: false },
            (Dialect::MariaDb | Dialect::MySql, Keyword::Alter) => Shape::Create { has_definer: false },
            (Oracle, Keyword::Begin | Keyword::Declare) => Shape::PlSql,
            (Postgres, Keyword::Copy) => Shape::Copy { from_stdin: false },
            (Db2, Keyword::Begin) => {
                self.open.push(Block { kind: BlockKind::Begin, at });
                Shape::Program { in_body: true }
            }
            // `BEGIN NOT ATOMIC` is a block, BEGIN alone a transaction.
            (Dialect::MariaDb, Keyword::Begin) => Shape::Unknown,
            (Dialect::MariaDb, Keyword::Not) if self.previous == Previous::Word(Keyword::Begin) => {
                self.open.push(Block { kind: BlockKind::Begin, at });
                Shape::Program { in_body: true }
            }
            _ => Shape::Plain,
        };
    }

    /// Takes a word behind `CREATE`.
    fn created(&self, keyword: Keyword, has_definer: bool) -> Shape {
        use Dialect::{Db2, MariaDb, MySql, Oracle, Postgres, Sqlite};
        use Keyword as K;
        match (self.dialect, keyword) {
            (MariaDb | MySql, K::Procedure | K::Function | K::Trigger | K::Event | K::Package)
            | (Db2, K::Procedure | K::Function | K::Trigger) => Shape::Program { in_body: false },
            (Postgres, K::Procedure | K::Function) => Shape::Atomic,
            (Sqlite, K::Trigger) => Shape::SqliteTrigger { is_ended: false },
            (Oracle, K::Procedure | K::Function | K::Trigger | K::Package | K::Type | K::Library | K::Java) => {
                Shape::PlSql
            }
            (
                _,
                K::Or
                | K::Replace
                | K::Temp
                | K::Temporary
                | K::Editionable
                | K::Noneditionable
                | K::Aggregate
                | K::And,
            ) => Shape::Create { has_definer },
            (_, K::Definer) => Shape::Create { has_definer: true },
            // The name of the definer.
            (_, K::Other) if has_definer => Shape::Create { has_definer },
            _ => Shape::Plain,
        }
    }

    fn atomic(&mut self, keyword: Keyword, at: usize) {
        match keyword {
            Keyword::Begin => self.open.push(Block { kind: BlockKind::Begin, at }),
            Keyword::Case if !self.open.is_empty() => self.open.push(Block { kind: BlockKind::CaseExpression, at }),
            Keyword::End => {
                self.open.pop();
            }
            _ => {}
        }
    }

    fn program(&mut self, keyword: Keyword, at: usize) {
        use Keyword as K;
        if self.ended {
            self.ended = false;
            if self.closes(keyword) {
                return;
            }
            self.close();
        }
        let begins = self.begins_statement();
        if begins {
            self.in_declare = keyword == K::Declare;
        }
        let opened = match keyword {
            K::Begin if self.may_begin() => Some(BlockKind::Begin),
            K::Case if begins => Some(BlockKind::CaseStatement),
            K::Case if self.previous != Previous::Dot => Some(BlockKind::CaseExpression),
            K::For if begins && matches!(self.shape, Shape::Program { in_body: true }) => {
                Some(BlockKind::Other(keyword))
            }
            K::If | K::Loop | K::While | K::Repeat if begins => Some(BlockKind::Other(keyword)),
            K::End => {
                self.ended = self.may_end();
                None
            }
            _ => None,
        };
        self.open.extend(opened.map(|kind| Block { kind, at }));
        if let Shape::Program { in_body } = &mut self.shape {
            let is_event = matches!(self.previous, Previous::Word(K::Before | K::After | K::Of | K::Or | K::Character));
            *in_body |= opened.is_some() || (keyword.is_verb() && !is_event);
        }
    }

    /// Closes what an END by itself closes, and what was taken for a block within it.
    fn settle(&mut self) {
        if std::mem::take(&mut self.ended) {
            self.close();
        }
    }

    fn close(&mut self) {
        while let Some(Block { kind: BlockKind::Other(_), .. }) = self.open.pop() {}
    }

    /// Closes a block by END and this word; tells whether it belongs to the END.
    fn closes(&mut self, keyword: Keyword) -> bool {
        match self.open.last().map(|block| block.kind) {
            Some(BlockKind::CaseStatement) if keyword == Keyword::Case => {
                self.open.pop();
                true
            }
            Some(BlockKind::Other(opened)) if opened == keyword => {
                self.open.pop();
                true
            }
            // The block was not seen to begin.
            Some(BlockKind::Begin | BlockKind::Other(_)) => {
                matches!(keyword, Keyword::If | Keyword::Loop | Keyword::While | Keyword::Repeat | Keyword::For)
            }
            Some(BlockKind::CaseExpression | BlockKind::CaseStatement) | None => false,
        }
    }

    /// Tells whether a word here is the first of a statement, not a function or a clause.
    fn begins_statement(&self) -> bool {
        use Keyword as K;
        let in_case = self.open.last().is_some_and(|block| block.kind == BlockKind::CaseExpression);
        match self.previous {
            Previous::Semicolon | Previous::Colon => true,
            Previous::Word(K::Begin | K::Then | K::Else | K::Do | K::Loop | K::Repeat | K::Atomic) => !in_case,
            Previous::Word(K::Procedure | K::Function | K::Trigger | K::Event | K::Package) => false,
            Previous::Nothing | Previous::Sign | Previous::Dot => false,
            Previous::Word(_) | Previous::Close | Previous::Quoted => {
                matches!(self.shape, Shape::Program { in_body: false })
            }
        }
    }

    /// Tells whether a BEGIN here is the block, not a column of that name.
    fn may_begin(&self) -> bool {
        use Keyword as K;
        let is_column = matches!(
            self.previous,
            Previous::Sign
                | Previous::Dot
                | Previous::Word(K::Select | K::Where | K::And | K::Or | K::Not | K::By | K::Set | K::As | K::Distinct)
        );
        !is_column || self.in_declare
    }

    /// Tells whether an END here ends a block, not a column of that name.
    fn may_end(&self) -> bool {
        let after_statement = matches!(
            self.previous,
            Previous::Semicolon
                | Previous::Word(Keyword::Begin | Keyword::Atomic | Keyword::Then | Keyword::Else | Keyword::Do)
        );
        match self.open.last().map(|block| block.kind) {
            None => false,
            Some(BlockKind::CaseExpression) => !matches!(self.previous, Previous::Sign | Previous::Dot),
            Some(BlockKind::Begin | BlockKind::CaseStatement | BlockKind::Other(_)) => after_statement,
        }
    }
}

impl BlockKind {
    fn fix(self) -> &'static str {
        match self {
            Self::Begin => "BEGIN is not closed: add END, or set DELIMITER around the program",
            Self::CaseExpression => "CASE is not closed: add END",
            Self::CaseStatement => "CASE is not closed: add END CASE",
            Self::Other(_) => "the block is not closed: add END and its first word",
        }
    }
}

impl Keyword {
    /// Tells whether it begins a statement that can be the whole body of a program.
    fn is_verb(self) -> bool {
        use Keyword as K;
        matches!(
            self,
            K::Select
                | K::Set
                | K::Return
                | K::Call
                | K::Replace
                | K::Insert
                | K::Update
                | K::Delete
                | K::With
                | K::Signal
                | K::Truncate
                | K::Alter
                | K::Drop
                | K::Create
                | K::Execute
                | K::Values
        )
    }
}
