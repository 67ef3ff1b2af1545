//! Batches of SQL Server.

use super::blocks::{Previous, Unclosed};
use super::keyword::Keyword;

/// Follows a batch: where a `;` ends a statement in it, and where it is cut only by `GO`.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// How many BEGIN and CASE are open, and where the first began.
    open: usize,
    first: usize,
    /// Where a BEGIN was read whose next word tells whether it is a transaction.
    begun: Option<usize>,
    /// An END was read whose next word tells whether it is of a conversation.
    ended: bool,
    /// END TRY or END CATCH was just read.
    ended_try: bool,
    is_altering: bool,
    /// It creates a procedure, function or trigger: the whole batch is its text.
    is_program: bool,
    /// It declares variables, which live to the end of the batch.
    is_declared: bool,
}

impl Batch {
    pub(super) fn word(&mut self, keyword: Keyword, at: usize, previous: Previous) {
        use Keyword as K;
        let was_end = std::mem::take(&mut self.ended);
        if was_end && keyword != K::Conversation {
            self.open = self.open.saturating_sub(1);
        }
        self.ended_try = was_end && matches!(keyword, K::Try | K::Catch);
        if let Some(at) = self.begun.take()
            && !matches!(keyword, K::Tran | K::Transaction | K::Distributed | K::Dialog | K::Conversation)
        {
            self.push(at);
        }
        match keyword {
            K::Begin => self.begun = Some(at),
            K::Case => self.push(at),
            K::End => self.ended = true,
            K::Create | K::Alter => self.is_altering |= previous == Previous::Nothing,
            // CREATE PROCEDURE, CREATE OR ALTER PROCEDURE
            K::Proc | K::Procedure | K::Function | K::Trigger => {
                self.is_program |= self.is_altering && matches!(previous, Previous::Word(K::Create | K::Alter));
            }
            K::Declare => self.is_declared |= previous == Previous::Nothing,
            _ => {}
        }
    }

    fn push(&mut self, at: usize) {
        if self.open == 0 {
            self.first = at;
        }
        self.open += 1;
    }

    /// Takes what is no word.
    pub(super) fn settle(&mut self) {
        self.ended_try = false;
        if std::mem::take(&mut self.ended) {
            self.open = self.open.saturating_sub(1);
        }
        if let Some(at) = self.begun.take() {
            self.push(at);
        }
    }

    /// Tells whether a `;` ends the statement. Without `GO` in the script, a program ends with its END, and a batch with
    /// variables at the end of a line, as WSO2's runner has it.
    pub(super) fn ends(&mut self, has_go: impl FnOnce() -> bool, ends_line: impl FnOnce() -> bool) -> bool {
        let is_ended = self.ended || self.ended_try;
        self.settle();
        if self.open > 0 {
            return false;
        }
        match (self.is_program, self.is_declared) {
            (true, _) => is_ended && !has_go(),
            (false, true) => !has_go() && ends_line(),
            (false, false) => true,
        }
    }

    pub(super) fn unclosed(&mut self) -> Option<Unclosed> {
        self.settle();
        (self.open > 0).then_some((self.first, "BEGIN or CASE is not closed: add END"))
    }
}
