use super::blocks::Blocks;
use super::keyword::Keyword;
use super::lex::{Kind, Lexer, Token};
use super::rules::Rules;
use super::{SplitError, Statement};
use crate::Dialect;

/// The longest delimiter, as the mysql client has it.
const LONGEST_DELIMITER: usize = 16;

/// Cuts a script into statements.
#[derive(Debug)]
pub(super) struct Cutter<'a> {
    dialect: Dialect,
    rules: Rules,
    script: &'a str,
    lexer: Lexer<'a>,
    blocks: Blocks,
    delimiter: Option<&'a str>,
    statements: Vec<Statement<'a>>,
    /// Where the statement begins and ends that is being read.
    start: Option<usize>,
    end: usize,
    /// Where the one before it ended, with its terminator.
    above: usize,
    /// A place whose line is known.
    counted: (usize, usize),
    /// Where "Start of Procedure" was read.
    procedure: Option<usize>,
    has_go: Option<bool>,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(dialect: Dialect, script: &'a str) -> Self {
        let rules = Rules::of(dialect);
        let lexer = Lexer::new(script, rules);
        Self {
            dialect,
            rules,
            script,
            above: lexer.at,
            lexer,
            blocks: Blocks::new(dialect),
            delimiter: None,
            statements: Vec::new(),
            start: None,
            end: 0,
            counted: (0, 1),
            procedure: None,
            has_go: None,
        }
    }

    pub(super) fn run(mut self) -> Result<Vec<Statement<'a>>, SplitError> {
        loop {
            if self.at_delimiter() {
                continue;
            }
            let Some(token) = self.lexer.next(self.delimiter)? else { break };
            self.take(token)?;
        }
        if let Some(at) = self.procedure {
            return Err(self.refuse(at, "\"Start of Procedure\" has no \"End of Procedure\" behind it: add it"));
        }
        if self.start.is_some()
            && self.delimiter.is_none()
            && let Some((at, what)) = self.blocks.unclosed()
        {
            return Err(self.refuse(at.max(self.start.unwrap_or_default()), what));
        }
        if self.blocks.is_copy() {
            let start = self.start.unwrap_or_default();
            return Err(self.refuse(
                start,
                "COPY ... FROM STDIN without rows: add ; and the rows, and a line of only \\. behind them",
            ));
        }
        self.finish(self.script.len());
        Ok(self.statements)
    }

    /// Ends the statement at a delimiter that the script set.
    fn at_delimiter(&mut self) -> bool {
        let Some(delimiter) = self.delimiter.filter(|_| !self.lexer.is_versioned()) else { return false };
        let is_here = self.lexer.rest(self.lexer.at).starts_with(delimiter.as_bytes());
        if is_here {
            self.lexer.at += delimiter.len();
            self.finish(self.lexer.at);
        }
        is_here
    }

    fn take(&mut self, token: Token) -> Result<(), SplitError> {
        let text = self.script.get(token.start..token.end).unwrap_or_default();
        let is_code = self.lexer.is_versioned();
        match token.kind {
            Kind::Blank => return Ok(()),
            Kind::Comment => return self.comment(token, text),
            Kind::Semicolon if self.delimiter.is_none() && self.procedure.is_none() && !is_code => {
                return self.semicolon(token);
            }
            // The last one before "End of Procedure" is none of the text.
            Kind::Semicolon if self.procedure.is_some() => return Ok(()),
            Kind::Slash if self.is_slash_comment(token) => {
                self.lexer.at = self.lexer.line_end(token.start);
                return Ok(());
            }
            Kind::Slash if self.rules.lone_slash && self.lexer.is_alone_on_its_line(token.start, token.end) => {
                self.finish(token.end);
                return Ok(());
            }
            Kind::Word if self.is_directive(token, text)? => return Ok(()),
            // MySQL wants a blank behind `--`; WSO2's markers have none.
            Kind::Sign if text == "-" && self.is_marker(token) => {
                let end = self.lexer.line_end(token.start);
                self.lexer.at = end;
                let line = self.script.get(token.start..end).unwrap_or_default();
                return self.comment(Token { end, ..token }, line);
            }
            Kind::Sign | Kind::Dot if self.start.is_none() => self.shell_command(token, text)?,
            _ => {}
        }
        self.start.get_or_insert(token.start);
        self.end = token.end;
        match token.kind {
            Kind::Word if self.delimiter.is_none() => self.blocks.word(text.as_bytes(), token.start),
            _ if self.delimiter.is_none() => self.blocks.sign(token.kind, token.start),
            _ => {}
        }
        Ok(())
    }

    /// Tells whether `//` begins a line between two statements, a comment in WSO2's scripts.
    fn is_slash_comment(&self, token: Token) -> bool {
        self.start.is_none() && self.lexer.rest(token.end).starts_with(b"/") && self.lexer.begins_its_line(token.start)
    }

    fn is_marker(&self, token: Token) -> bool {
        self.lexer.rest(token.start).starts_with(b"--<![CDATA[") && self.lexer.begins_its_line(token.start)
    }

    fn semicolon(&mut self, token: Token) -> Result<(), SplitError> {
        if self.start.is_none() {
            self.above = token.end;
            return Ok(());
        }
        let (script, has_go, lexer) = (self.script, &mut self.has_go, &self.lexer);
        let has_go =
            || *has_go.get_or_insert_with(|| script.lines().any(|line| line.trim().eq_ignore_ascii_case("go")));
        if !self.blocks.ends(token.start, has_go, || lexer.ends_its_line(token.end)) {
            self.end = token.end;
            return Ok(());
        }
        let is_copy = self.blocks.is_copy();
        self.finish(token.end);
        if is_copy { self.copy_data(token) } else { Ok(()) }
    }

    /// Ends the statement whose terminator ends here.
    fn finish(&mut self, end: usize) {
        if let Some(start) = self.start.take() {
            let text = self.script.get(start..self.end).unwrap_or_default();
            let above = self.script.get(self.above..start).unwrap_or_default();
            let line = self.line(start);
            self.statements.push(Statement { text, line, offset: start, above, copy_data: None });
        }
        self.above = end;
        self.blocks.clear();
    }

    fn comment(&mut self, token: Token, text: &'a str) -> Result<(), SplitError> {
        if self.delimiter.is_none() && text.contains("Start of Procedure") && self.start.is_none() {
            self.procedure = Some(token.start);
        } else if self.procedure.is_some() && text.contains("End of Procedure") {
            self.procedure = None;
            self.finish(token.end);
        } else if self.dialect == Dialect::Db2
            && self.start.is_none()
            && let Some(delimiter) = text.strip_prefix("--#SET TERMINATOR")
        {
            self.set_delimiter(token.start, delimiter.trim())?;
        }
        Ok(())
    }

    /// Takes words that are no SQL: `DELIMITER`, `GO`, `REM`.
    fn is_directive(&mut self, token: Token, text: &str) -> Result<bool, SplitError> {
        let is_first = self.start.is_none();
        let is_delimiter = self.rules.mysql && text.eq_ignore_ascii_case("delimiter");
        if is_delimiter && self.lexer.rest(token.end).first().is_none_or(u8::is_ascii_whitespace) {
            if let Some(start) = self.start.filter(|_| self.lexer.begins_its_line(token.start)) {
                let delimiter = self.delimiter.unwrap_or(";");
                let line = self.line(start);
                let what =
                    format!("DELIMITER inside the statement of line {line}: end that one with {delimiter} first");
                return Err(self.refuse(token.start, &what));
            }
            if is_first {
                let line = self.script.get(token.end..self.line_end(token.end)).unwrap_or_default();
                self.set_delimiter(token.start, line.trim())?;
                self.lexer.at = token.end + line.len();
                return Ok(true);
            }
        }
        if self.dialect == Dialect::SqlServer
            && text.eq_ignore_ascii_case("go")
            && self.lexer.begins_its_line(token.start)
        {
            let line = self.script.get(token.end..self.line_end(token.end)).unwrap_or_default();
            let count = line.split("--").next().unwrap_or_default().trim();
            if count.is_empty() || count == "1" {
                self.lexer.at = token.end + line.len();
                self.finish(self.lexer.at);
                return Ok(true);
            }
            if count.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(self
                    .refuse(token.start, "GO with a count runs the batch more than once: write the batch that often"));
            }
        }
        if self.dialect == Dialect::Oracle
            && is_first
            && matches!(Keyword::of(text.as_bytes()), Keyword::Rem | Keyword::Remark)
        {
            self.lexer.at = self.line_end(token.end);
            return Ok(true);
        }
        Ok(false)
    }

    /// Refuses the commands of psql and of the sqlite3 shell, which no server knows.
    fn shell_command(&self, token: Token, text: &str) -> Result<(), SplitError> {
        let shell = match (self.dialect, text) {
            (Dialect::Postgres, "\\") => "psql",
            (Dialect::Sqlite, ".") => "the sqlite3 shell",
            _ => return Ok(()),
        };
        let line = self.script.get(token.start..self.line_end(token.start)).unwrap_or_default();
        let command: String = line.split_whitespace().next().unwrap_or_default().chars().take(20).collect();
        Err(self.refuse(token.start, &format!("{command} is a command of {shell}, not SQL: take the line out")))
    }

    fn set_delimiter(&mut self, at: usize, delimiter: &'a str) -> Result<(), SplitError> {
        let mut words = delimiter.split_whitespace();
        let Some(delimiter) = words.next() else {
            return Err(self.refuse(at, "no delimiter is named: write DELIMITER and the delimiter, such as $$"));
        };
        if delimiter.len() > LONGEST_DELIMITER || delimiter.contains(['\\', '\'', '"', '`']) {
            return Err(self.refuse(at, "not a delimiter: at most 16 bytes, no quotes and no backslash, such as $$"));
        }
        if words.next().is_some_and(|word| !word.starts_with('#') && !word.starts_with("--")) {
            return Err(
                self.refuse(at, "text behind the delimiter, which the client would skip: put it on a line of its own")
            );
        }
        self.delimiter = Some(delimiter).filter(|delimiter| *delimiter != ";");
        Ok(())
    }

    /// Takes the rows of a COPY, which begin in the next line.
    fn copy_data(&mut self, semicolon: Token) -> Result<(), SplitError> {
        let end = self.line_end(semicolon.end);
        let rest = self.script.get(semicolon.end..end).unwrap_or_default().trim();
        if !rest.is_empty() && !rest.starts_with("--") {
            return Err(self.refuse(
                semicolon.end,
                "text behind COPY ... FROM STDIN; in its line: the rows begin in the next line",
            ));
        }
        let start = (end + 1).min(self.script.len());
        let mut at = start;
        for line in self.script.get(start..).unwrap_or_default().split_inclusive('\n') {
            if line.trim_end_matches(['\r', '\n']) == "\\." {
                if let Some(statement) = self.statements.last_mut() {
                    statement.copy_data = self.script.get(start..at);
                }
                self.lexer.at = at + line.len();
                self.above = self.lexer.at;
                return Ok(());
            }
            at += line.len();
        }
        Err(self.refuse(semicolon.start, "the rows of COPY have no end: add a line of only \\."))
    }

    fn line_end(&self, from: usize) -> usize {
        let rest = self.lexer.rest(from);
        from + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
    }

    /// Returns the line of a place that is not before the last one asked for.
    fn line(&mut self, at: usize) -> usize {
        let (counted, line) = self.counted;
        let between = self.script.as_bytes().get(counted..at).unwrap_or_default();
        let line = line + between.iter().filter(|&&byte| byte == b'\n').count();
        self.counted = (at.max(counted), line);
        line
    }

    fn refuse(&self, at: usize, what: &str) -> SplitError {
        self.lexer.unclosed(at, what)
    }
}
