//! Reads a statement by its first words; each family of statements has a file of its own.

use super::names::fold;
use super::tokens::{Tok, Tokens};
use super::{Change, Class, Kind, ObjectKind, ObjectName};
use crate::Dialect;

/// A class under construction.
pub(super) struct Draft(pub(super) Class);

impl Draft {
    pub(super) fn of(kind: Kind) -> Self {
        Self(Class::of(kind))
    }

    pub(super) fn ddl() -> Self {
        Self::of(Kind::Ddl)
    }

    pub(super) fn object(mut self, object: ObjectName) -> Self {
        self.0.objects.push(object);
        self
    }

    pub(super) fn writing(mut self, table: ObjectName) -> Self {
        if !self.0.writes.contains(&table) {
            self.0.writes.push(table);
        }
        self
    }

    pub(super) fn change(mut self, change: Change) -> Self {
        self.0.changes.push(change);
        self
    }

    pub(super) fn outside_transaction(mut self) -> Self {
        self.0.outside_transaction = true;
        self
    }

    pub(super) fn outside_transaction_if(self, outside: bool) -> Self {
        if outside { self.outside_transaction() } else { self }
    }
}

/// A cursor over a statement's tokens.
pub(super) struct Scan<'a> {
    pub(super) dialect: Dialect,
    pub(super) tokens: &'a Tokens,
    pub(super) at: usize,
    pub(super) end: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(dialect: Dialect, tokens: &'a Tokens) -> Self {
        Self { dialect, tokens, at: 0, end: tokens.toks.len() }
    }

    /// Classifies the statement that begins here; none where it is opaque.
    pub(super) fn statement(mut self) -> Option<Draft> {
        if self.has_second_statement() {
            return None;
        }
        let begin = self.at;
        let head = self.keyword()?;
        match head.as_str() {
            "ALTER" => self.alter(),
            "CREATE" => self.create(),
            "DROP" => self.drop(),
            "TRUNCATE" => self.truncate(),
            "RENAME" => self.rename(),
            "VACUUM" | "ANALYZE" | "CLUSTER" | "REINDEX" | "REFRESH" | "OPTIMIZE" | "REPAIR" | "CHECK" | "LOCK"
            | "UNLOCK" | "FLUSH" | "REORG" | "CHECKPOINT" => self.maintenance(&head),
            "GRANT" | "REVOKE" | "COMMENT" | "SECURITY" | "REASSIGN" | "DENY" => self.other(),
            "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" | "XA" | "SAVE"
            | "PREPARE" => self.transaction(&head),
            "SET" | "RESET" | "PRAGMA" | "USE" | "DISCARD" | "LISTEN" | "UNLISTEN" | "NOTIFY" => self.setting(&head),
            "INSERT" | "REPLACE" | "UPDATE" | "DELETE" | "MERGE" | "WITH" | "SELECT" | "VALUES" | "TABLE" | "COPY" => {
                self.rows(&head, begin)
            }
            "SHOW" | "DESCRIBE" | "DESC" => Some(Draft::of(Kind::Query)),
            "EXPLAIN" => (!self.rest().iter().any(|tok| is_word(tok, "ANALYZE"))).then(|| Draft::of(Kind::Query)),
            _ => None,
        }
    }

    /// Whether a semicolon stands inside the statement although it is no stored program: the parser of the server would run two.
    fn has_second_statement(&self) -> bool {
        let stored = ["PROCEDURE", "FUNCTION", "TRIGGER", "PACKAGE", "EVENT", "TYPE", "RULE"];
        let head = self.rest();
        let creates = head.first().is_some_and(|tok| is_word(tok, "CREATE") || is_word(tok, "ALTER"))
            && head.iter().take(24).any(|tok| stored.iter().any(|word| is_word(tok, word)));
        !creates && head.iter().any(|tok| matches!(tok, Tok::Mark(mark) if mark == ";"))
    }

    pub(super) fn peek(&self) -> Option<&'a Tok> {
        self.rest().first()
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<&'a Tok> {
        self.rest().get(ahead)
    }

    pub(super) fn rest(&self) -> &'a [Tok] {
        self.tokens.toks.get(self.at..self.end).unwrap_or_default()
    }

    pub(super) fn done(&self) -> bool {
        self.at >= self.end
    }

    /// A cursor over a part of the tokens.
    pub(super) fn part(&self, range: std::ops::Range<usize>) -> Self {
        Self { dialect: self.dialect, tokens: self.tokens, at: range.start, end: range.end.min(self.end) }
    }

    /// Cuts the tokens from here on at the commas of the outermost level.
    pub(super) fn clauses(&self) -> Vec<std::ops::Range<usize>> {
        let mut cuts = Vec::new();
        let mut begin = self.at;
        let mut depth = 0_usize;
        for (at, tok) in self.rest().iter().enumerate().map(|(ahead, tok)| (self.at + ahead, tok)) {
            let Tok::Mark(mark) = tok else { continue };
            match mark.as_str() {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                "," if depth == 0 => {
                    cuts.push(begin..at);
                    begin = at + 1;
                }
                _ => {}
            }
        }
        cuts.push(begin..self.end);
        cuts
    }

    /// The text from here to the end.
    pub(super) fn text(&self) -> String {
        self.tokens.text(self.at..self.end)
    }

    /// Takes an unquoted word, in upper case.
    pub(super) fn keyword(&mut self) -> Option<String> {
        match self.peek()? {
            Tok::Word(word, false) => {
                self.at += 1;
                Some(word.to_ascii_uppercase())
            }
            Tok::Word(_, true) | Tok::Text | Tok::Number | Tok::Mark(_) => None,
        }
    }

    /// Whether this word stands here.
    pub(super) fn sees(&self, word: &str) -> bool {
        self.peek().is_some_and(|tok| is_word(tok, word))
    }

    /// Whether these words stand here.
    pub(super) fn sees_all(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| self.peek_at(ahead).is_some_and(|tok| is_word(tok, word)))
    }

    /// Takes this word, where it stands here.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let here = self.sees(word);
        self.at += usize::from(here);
        here
    }

    /// Takes these words, where all of them stand here.
    pub(super) fn take_all(&mut self, words: &[&str]) -> bool {
        let here = self.sees_all(words);
        if here {
            self.at += words.len();
        }
        here
    }

    /// Takes any of these words, again and again.
    pub(super) fn skip_any(&mut self, words: &[&str]) {
        while words.iter().any(|word| self.take(word)) {}
    }

    pub(super) fn sees_mark(&self, mark: &str) -> bool {
        matches!(self.peek(), Some(Tok::Mark(here)) if here == mark)
    }

    pub(super) fn take_mark(&mut self, mark: &str) -> bool {
        let here = self.sees_mark(mark);
        self.at += usize::from(here);
        here
    }

    /// Takes a parenthesis with all that is in it; answers the range inside.
    pub(super) fn parenthesis(&mut self) -> Option<std::ops::Range<usize>> {
        if !self.sees_mark("(") {
            return None;
        }
        let mut depth = 0_usize;
        let begin = self.at + 1;
        while let Some(tok) = self.peek() {
            if let Tok::Mark(mark) = tok {
                match mark.as_str() {
                    "(" => depth += 1,
                    ")" => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            self.at += 1;
            if depth == 0 {
                return Some(begin..self.at - 1);
            }
        }
        None
    }

    /// Takes a name of one part, folded.
    pub(super) fn ident(&mut self) -> Option<String> {
        match self.peek()? {
            Tok::Word(word, quoted) => {
                self.at += 1;
                Some(fold(self.dialect, word, *quoted))
            }
            Tok::Text | Tok::Number | Tok::Mark(_) => None,
        }
    }

    /// Takes a name of up to three parts; the last two are kept.
    pub(super) fn name(&mut self, kind: ObjectKind) -> Option<ObjectName> {
        let mut schema = None;
        let mut name = self.ident()?;
        while self.sees_mark(".") {
            self.at += 1;
            // SQL Server: `database..table`
            if self.sees_mark(".") {
                continue;
            }
            schema = Some(std::mem::replace(&mut name, self.ident()?));
        }
        Some(ObjectName { kind, name, schema, table: None })
    }

    pub(super) fn if_exists(&mut self) -> bool {
        self.take_all(&["IF", "EXISTS"])
    }

    pub(super) fn if_not_exists(&mut self) -> bool {
        self.take_all(&["IF", "NOT", "EXISTS"])
    }

    /// GRANT, REVOKE, COMMENT ...: something beside the tables, named by the whole statement.
    fn other(self) -> Option<Draft> {
        let name = self.tokens.text(0..self.tokens.toks.len().min(12));
        Some(Draft::ddl().object(ObjectName { kind: ObjectKind::Other, name, schema: None, table: None }))
    }

    /// The online clauses of the whole statement, at the outermost level.
    pub(super) fn online(&self, draft: &mut Draft) {
        let mut scan = self.part(self.at..self.end);
        while let Some(tok) = scan.peek() {
            if scan.sees("WITH") && matches!(scan.peek_at(1), Some(Tok::Mark(mark)) if mark == "(") {
                // SQL Server: WITH (ONLINE = ON)
                scan.at += 2;
                continue;
            }
            if matches!(tok, Tok::Mark(mark) if mark == "(") && !scan.with_online() {
                if scan.parenthesis().is_none() {
                    return;
                }
                continue;
            }
            if scan.take("ALGORITHM") {
                scan.take_mark("=");
                draft.0.online.algorithm = scan.keyword();
            } else if scan.take("LOCK") {
                scan.take_mark("=");
                draft.0.online.lock = scan.keyword();
            } else if scan.take("ONLINE") {
                let off = scan.take_mark("=") && scan.sees("OFF");
                draft.0.online.online |= !off;
            } else if scan.sees("NOWAIT") || (scan.sees("WAIT") && matches!(scan.peek_at(1), Some(Tok::Number))) {
                draft.0.online.bounded_wait = true;
                scan.at += 1;
            } else {
                scan.at += 1;
            }
        }
    }

    fn with_online(&self) -> bool {
        matches!(self.peek_at(1), Some(tok) if is_word(tok, "ONLINE"))
    }
}

pub(super) fn is_word(tok: &Tok, word: &str) -> bool {
    matches!(tok, Tok::Word(here, false) if here.eq_ignore_ascii_case(word))
}

/// Begins a statement: transactions and settings.
impl Scan<'_> {
    fn transaction(mut self, head: &str) -> Option<Draft> {
        let draft = Draft::of(Kind::Transaction);
        match head {
            "BEGIN" => {
                let modes = [
                    "WORK",
                    "TRAN",
                    "TRANSACTION",
                    "DEFERRED",
                    "IMMEDIATE",
                    "EXCLUSIVE",
                    "CONCURRENT",
                    "ISOLATION",
                    "READ",
                    "DEFERRABLE",
                ];
                (self.done() || modes.iter().any(|mode| self.sees(mode))).then_some(draft)
            }
            "START" => self.sees("TRANSACTION").then_some(draft),
            "PREPARE" => self.sees("TRANSACTION").then(|| draft.outside_transaction_if(false)),
            "COMMIT" | "ROLLBACK" => {
                let prepared = self.take("PREPARED");
                Some(draft.outside_transaction_if(prepared))
            }
            "SAVE" => (self.sees("TRAN") || self.sees("TRANSACTION")).then_some(draft),
            _ => Some(draft),
        }
    }

    fn setting(mut self, head: &str) -> Option<Draft> {
        let draft = Draft::of(Kind::Setting);
        match head {
            "DISCARD" => {
                let all = self.sees("ALL");
                Some(draft.outside_transaction_if(all))
            }
            // MariaDB: SET STATEMENT lock_wait_timeout = 1 FOR ALTER TABLE ...
            "SET" if self.take("STATEMENT") => {
                while let Some(tok) = self.peek() {
                    self.at += 1;
                    if is_word(tok, "FOR") {
                        let nested = self.sees("SET");
                        let mut draft = (!nested).then(|| self.statement())??;
                        draft.0.online.bounded_wait = true;
                        return Some(draft);
                    }
                }
                None
            }
            // PostgreSQL: SET CONSTRAINTS, SET ROLE; SQL Server: SET IDENTITY_INSERT t ON
            "SET" | "RESET" | "PRAGMA" => {
                let local = self.take("LOCAL");
                let mut global = self.take("GLOBAL") || self.take("PERSIST");
                self.take("SESSION");
                while self.take_mark("@") || self.take_mark("@@") {
                    global |= self.sees("GLOBAL");
                    if self.take("GLOBAL") || self.take("SESSION") {
                        self.take_mark(".");
                    }
                }
                let mut name =
                    self.name(ObjectKind::Other).map(|name| name.name.to_ascii_lowercase()).unwrap_or_default();
                if let Some(plain) = name.strip_prefix("@@") {
                    name = plain.to_owned();
                }
                let _ = self.take_mark("=") || self.take_mark(":=") || self.take("TO");
                let value = self.text();
                Some(draft.change(Change::Setting { name, local, global, value }))
            }
            _ => Some(draft),
        }
    }
}
