use super::lex::{Kind, Part, Token, Word, lex};

/// What joins a command to the one behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum Join {
    /// It comes next, whatever happened.
    Next,
    /// It comes where this one went well.
    And,
    /// It comes where this one failed.
    Or,
    /// It reads what this one prints.
    Pipe,
    /// It does not wait for this one.
    Background,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) struct Redirect {
    pub(in super::super) fd: Option<u32>,
    pub(in super::super) operator: &'static str,
    pub(in super::super) target: Word,
}

/// The part of a block that a command is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum Section {
    Condition,
    Body,
    Else,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) enum BlockKind {
    If,
    While,
    /// The words are `None` for those of the caller.
    For {
        variable: String,
        words: Option<Vec<Word>>,
    },
    Case,
    Function {
        name: String,
    },
    Group,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) struct Block {
    pub(in super::super) kind: BlockKind,
    pub(in super::super) line: usize,
    pub(in super::super) redirects: Vec<Redirect>,
    /// The command whose output it reads.
    pub(in super::super) piped_from: Option<usize>,
    /// The patterns of a `case`.
    pub(in super::super) patterns: String,
    /// What follows it.
    pub(in super::super) then: Join,
}

/// A simple command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) struct Command {
    pub(in super::super) line: usize,
    pub(in super::super) assigns: Vec<(String, Word)>,
    pub(in super::super) words: Vec<Word>,
    pub(in super::super) redirects: Vec<Redirect>,
    pub(in super::super) before: Join,
    pub(in super::super) then: Join,
    pub(in super::super) negated: bool,
    /// The blocks that it is in, from the outside.
    pub(in super::super) path: Vec<(usize, Section)>,
}

/// A script, as a list of commands and the blocks that they are in.
#[derive(Debug, Default)]
pub(in super::super) struct Script {
    pub(in super::super) commands: Vec<Command>,
    pub(in super::super) blocks: Vec<Block>,
    pub(in super::super) bashisms: Vec<(usize, String)>,
    pub(in super::super) unclear: Vec<(usize, String)>,
}

impl Script {
    /// Reads a text whose first line has the number `line`, and so have all where the text is one word of a file.
    pub(in super::super) fn parse(text: &str, line: usize, is_file: bool) -> Self {
        let lexed = lex(text, line, is_file);
        let script = Self { bashisms: lexed.bashisms, unclear: lexed.unclear, ..Self::default() };
        let mut parser = Parser { tokens: lexed.tokens.into_iter().peekable(), script, ..Parser::default() };
        parser.run();
        parser.script
    }
}

/// Deeper blocks are not read.
const DEPTH: usize = 64;

struct Open {
    block: usize,
    section: Section,
    /// Whether it is an `elif`: one `fi` ends it and the block around it.
    is_elif: bool,
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    script: Script,
    stack: Vec<Open>,
    command: Option<Command>,
    before: Join,
    negated: bool,
    /// A function whose body comes next.
    function: Option<String>,
    /// A block that was closed last, with nothing behind it yet.
    closed: Option<usize>,
    /// A pattern of a `case` comes next.
    is_pattern: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            tokens: Vec::new().into_iter().peekable(),
            script: Script::default(),
            stack: Vec::new(),
            command: None,
            before: Join::Next,
            negated: false,
            function: None,
            closed: None,
            is_pattern: false,
        }
    }
}

impl Parser {
    fn run(&mut self) {
        while let Some(token) = self.tokens.next() {
            if self.is_pattern {
                self.pattern(&token);
                continue;
            }
            if self.is_test() {
                self.test(token);
                continue;
            }
            let line = token.line;
            match token.kind {
                Kind::Newline => self.end(Join::Next, true),
                Kind::Operator("(") => self.open_paren(line),
                Kind::Operator(")") => {
                    self.end(Join::Next, false);
                    self.close(line, ")", |kind| matches!(kind, BlockKind::Group | BlockKind::Function { .. }));
                }
                Kind::Operator(";;" | ";&" | ";;&") => {
                    self.end(Join::Next, false);
                    self.is_pattern = self.top().is_some_and(|kind| *kind == BlockKind::Case);
                }
                Kind::Operator(operator) => self.end(join(operator), false),
                Kind::Redirect { fd, operator } => self.redirect(fd, operator, line),
                Kind::Word(word) => self.word(word),
            }
        }
        self.end(Join::Next, false);
        while let Some(open) = self.stack.pop() {
            let line = self.script.blocks[open.block].line;
            self.unclear(line, "a block that is not closed");
        }
    }

    fn unclear(&mut self, line: usize, what: &str) {
        self.script.unclear.push((line, what.into()));
    }

    fn top(&self) -> Option<&BlockKind> {
        self.stack.last().map(|open| &self.script.blocks[open.block].kind)
    }

    /// Ends the command that is read, and says what follows it.
    fn end(&mut self, then: Join, is_newline: bool) {
        if let Some(mut command) = self.command.take() {
            command.then = then;
            self.script.commands.push(command);
        } else if let Some(block) = self.closed {
            self.script.blocks[block].then = then;
        } else if is_newline {
            // A line end behind && and | goes on.
            return;
        }
        (self.closed, self.before, self.negated) = (None, then, false);
    }

    fn begin(&mut self, line: usize) -> &mut Command {
        let (before, negated) = (self.before, std::mem::take(&mut self.negated));
        let path = || self.stack.iter().map(|open| (open.block, open.section)).collect();
        self.command.get_or_insert_with(|| Command {
            line,
            assigns: Vec::new(),
            words: Vec::new(),
            redirects: Vec::new(),
            before,
            then: Join::Next,
            negated,
            path: path(),
        })
    }

    fn open(&mut self, kind: BlockKind, section: Section, line: usize) {
        if self.stack.len() >= DEPTH {
            self.unclear(line, "blocks as deep as these");
            self.tokens = Vec::new().into_iter().peekable();
            return;
        }
        let kind = match self.function.take() {
            Some(name) if kind == BlockKind::Group => BlockKind::Function { name },
            Some(_) | None => kind,
        };
        let piped_from = (self.before == Join::Pipe).then(|| self.script.commands.len().checked_sub(1)).flatten();
        self.script.blocks.push(Block {
            kind,
            line,
            redirects: Vec::new(),
            piped_from,
            patterns: String::new(),
            then: Join::Next,
        });
        self.stack.push(Open { block: self.script.blocks.len() - 1, section, is_elif: false });
        (self.before, self.negated) = (Join::Next, false);
    }

    fn close(&mut self, line: usize, word: &str, fits: impl Fn(&BlockKind) -> bool) {
        if self.top().is_some_and(fits) {
            self.closed = self.stack.pop().map(|open| open.block);
        } else {
            self.unclear(line, &format!("{word} closes nothing"));
        }
    }

    fn turn(&mut self, section: Section, line: usize, word: &str) {
        (self.before, self.negated) = (Join::Next, false);
        let is_block = self.top().is_some_and(|kind| match kind {
            BlockKind::If => ["then", "elif", "else"].contains(&word),
            BlockKind::While | BlockKind::For { .. } => word == "do",
            BlockKind::Case | BlockKind::Function { .. } | BlockKind::Group => false,
        });
        match self.stack.last_mut().filter(|_| is_block) {
            Some(open) => open.section = section,
            None => self.unclear(line, &format!("{word} belongs to nothing")),
        }
    }

    fn open_paren(&mut self, line: usize) {
        let is_next_closing = self.tokens.peek().is_some_and(|token| matches!(token.kind, Kind::Operator(")")));
        match self.command.take() {
            None => self.open(BlockKind::Group, Section::Body, line),
            Some(command) if is_next_closing && command.words.len() == 1 && command.assigns.is_empty() => {
                self.tokens.next();
                self.function = command.words[0].plain().map(Into::into);
            }
            Some(mut command) => {
                let begins_list =
                    command.words.is_empty() && command.assigns.last().is_some_and(|(_, value)| value.parts.is_empty());
                if begins_list {
                    self.script.bashisms.push((line, "a list in a variable".into()));
                    if let Some((_, value)) = command.assigns.last_mut() {
                        value.parts.push(Part::Other("(..)".into()));
                    }
                } else {
                    self.unclear(line, "a parenthesis in a command");
                }
                self.command = Some(command);
                self.skip_to_paren();
            }
        }
    }

    fn skip_to_paren(&mut self) {
        let mut depth = 1_u32;
        for token in self.tokens.by_ref() {
            match token.kind {
                Kind::Operator("(") => depth += 1,
                Kind::Operator(")") if depth == 1 => return,
                Kind::Operator(")") => depth -= 1,
                Kind::Operator(_) | Kind::Word(_) | Kind::Redirect { .. } | Kind::Newline => {}
            }
        }
    }

    fn pattern(&mut self, token: &Token) {
        match &token.kind {
            Kind::Operator(")") => self.is_pattern = false,
            Kind::Word(word) if word.plain() == Some("esac") => {
                self.is_pattern = false;
                self.close(token.line, "esac", |kind| *kind == BlockKind::Case);
            }
            Kind::Word(word) => {
                if let Some(open) = self.stack.last() {
                    self.script.blocks[open.block].patterns.push_str(&word.shown());
                }
            }
            Kind::Operator(_) | Kind::Redirect { .. } | Kind::Newline => {}
        }
    }

    /// Tells whether a `[[` is open.
    fn is_test(&self) -> bool {
        let words = self.command.as_ref().map_or(&[] as &[Word], |command| &command.words);
        words.first().and_then(Word::plain) == Some("[[") && words.last().and_then(Word::plain) != Some("]]")
    }

    /// Takes what would be an operator elsewhere as a word of the test.
    fn test(&mut self, token: Token) {
        let line = token.line;
        let word = match token.kind {
            Kind::Word(word) => word,
            Kind::Operator(text) | Kind::Redirect { operator: text, .. } => {
                Word { parts: vec![Part::Text { text: text.into(), quoted: true }], line }
            }
            Kind::Newline => return,
        };
        self.begin(line).words.push(word);
    }

    fn redirect(&mut self, fd: Option<u32>, operator: &'static str, line: usize) {
        let Some(Token { kind: Kind::Word(target), .. }) =
            self.tokens.next_if(|token| matches!(token.kind, Kind::Word(_)))
        else {
            return self.unclear(line, &format!("{operator} without a file"));
        };
        let redirect = Redirect { fd, operator, target };
        match self.closed.filter(|_| self.command.is_none()) {
            Some(block) => self.script.blocks[block].redirects.push(redirect),
            None => self.begin(line).redirects.push(redirect),
        }
    }

    fn word(&mut self, word: Word) {
        let line = word.line;
        let is_first = self.command.as_ref().is_none_or(|command| command.words.is_empty());
        let is_alone = self.command.is_none();
        if is_alone && self.reserved(&word, line) {
            return;
        }
        if self.closed.is_some() && is_alone {
            self.unclear(line, "a word behind the end of a block");
            self.closed = None;
        }
        let bash = word.plain().filter(|text| is_first && BASH.contains(text));
        if let Some(text) = bash {
            self.script.bashisms.push((line, text.into()));
        }
        let assign = if is_first { assignment(&word) } else { None };
        let command = self.begin(line);
        match assign {
            Some(assign) => command.assigns.push(assign),
            None => command.words.push(word),
        }
    }

    fn reserved(&mut self, word: &Word, line: usize) -> bool {
        match word.plain() {
            Some("if") => self.open(BlockKind::If, Section::Condition, line),
            Some("while" | "until") => self.open(BlockKind::While, Section::Condition, line),
            Some("for") => self.open_for(line),
            Some("case") => self.open_case(line),
            Some("{") => self.open(BlockKind::Group, Section::Body, line),
            Some(text @ "then") => self.turn(Section::Body, line, text),
            Some(text @ "elif") => {
                self.turn(Section::Else, line, text);
                self.open(BlockKind::If, Section::Condition, line);
                if let Some(open) = self.stack.last_mut() {
                    open.is_elif = true;
                }
            }
            Some(text @ "else") => self.turn(Section::Else, line, text),
            Some(text @ "do") => self.turn(Section::Body, line, text),
            Some("fi") => {
                while self.stack.last().is_some_and(|open| open.is_elif) {
                    self.stack.pop();
                }
                self.close(line, "fi", |kind| *kind == BlockKind::If);
            }
            Some("done") => {
                self.close(line, "done", |kind| matches!(kind, BlockKind::While | BlockKind::For { .. }));
            }
            Some("esac") => self.close(line, "esac", |kind| *kind == BlockKind::Case),
            Some("}") => {
                self.close(line, "}", |kind| matches!(kind, BlockKind::Group | BlockKind::Function { .. }));
            }
            Some("!") => self.negated = !self.negated,
            Some("time") => {}
            Some("function") => self.open_function(line),
            Some(_) | None => return false,
        }
        true
    }

    fn open_function(&mut self, line: usize) {
        self.script.bashisms.push((line, "function".into()));
        let name = self.tokens.next_if(|token| matches!(token.kind, Kind::Word(_)));
        if let Some(Token { kind: Kind::Word(word), .. }) = name {
            self.function = word.plain().map(Into::into);
        }
        for paren in ["(", ")"] {
            self.tokens.next_if(|token| token.kind == Kind::Operator(paren));
        }
    }

    fn open_for(&mut self, line: usize) {
        let name = self.tokens.next_if(|token| matches!(token.kind, Kind::Word(_)));
        let variable = match name.map(|token| token.kind) {
            Some(Kind::Word(word)) => word.plain().map(String::from),
            Some(Kind::Operator(_) | Kind::Redirect { .. } | Kind::Newline) | None => None,
        };
        let variable = variable.unwrap_or_else(|| {
            self.unclear(line, "a loop of numbers");
            String::new()
        });
        self.skip_lines();
        let has_words = self.next_is("in");
        let mut words = Vec::new();
        while let Some(Token { kind: Kind::Word(word), .. }) =
            self.tokens.next_if(|token| has_words && matches!(token.kind, Kind::Word(_)))
        {
            words.push(word);
        }
        self.tokens.next_if(|token| token.kind == Kind::Operator(";"));
        let words = has_words.then_some(words);
        self.open(BlockKind::For { variable, words }, Section::Condition, line);
    }

    fn open_case(&mut self, line: usize) {
        self.tokens.next_if(|token| matches!(token.kind, Kind::Word(_)));
        self.skip_lines();
        if !self.next_is("in") {
            self.unclear(line, "case without in");
        }
        self.open(BlockKind::Case, Section::Body, line);
        self.is_pattern = true;
    }

    fn skip_lines(&mut self) {
        while self.tokens.next_if(|token| token.kind == Kind::Newline).is_some() {}
    }

    fn next_is(&mut self, text: &str) -> bool {
        let is = |token: &Token| matches!(&token.kind, Kind::Word(word) if word.plain() == Some(text));
        self.tokens.next_if(is).is_some()
    }
}

/// Commands that only bash and its like know.
const BASH: [&str; 8] = ["[[", "pushd", "popd", "source", "declare", "typeset", "let", "mapfile"];

fn join(operator: &str) -> Join {
    match operator {
        "&&" => Join::And,
        "||" => Join::Or,
        "|" | "|&" => Join::Pipe,
        "&" => Join::Background,
        _ => Join::Next,
    }
}

/// Reads `NAME=value`; `NAME+=value` is a value that is not known.
pub(in super::super) fn assignment(word: &Word) -> Option<(String, Word)> {
    let (Part::Text { text, quoted: false }, rest) = word.parts.split_first()? else { return None };
    let (name, value) = text.split_once('=')?;
    let (name, adds) = name.strip_suffix('+').map_or((name, false), |name| (name, true));
    let is_name = name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    if !is_name {
        return None;
    }
    let mut parts = if adds { vec![Part::Other("+=".into())] } else { Vec::new() };
    if !value.is_empty() {
        parts.push(Part::Text { text: value.into(), quoted: false });
    }
    parts.extend_from_slice(rest);
    Some((name.into(), Word { parts, line: word.line }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let script = Script::parse(text, 1, true);
        let show = |command: &Command| {
            let words: Vec<_> = command.words.iter().map(Word::shown).collect();
            format!("{}:{}:{}", command.line, command.path.len(), words.join(" "))
        };
        script
            .commands
            .iter()
            .map(show)
            .chain(script.unclear.iter().map(|(line, what)| format!("{line}? {what}")))
            .collect()
    }

    #[test]
    fn commands_know_the_blocks_that_they_are_in() {
        let cases: [(&str, &[&str]); 9] = [
            ("if a; then b\nelif c; then d; else e; fi\nf", &["1:1:a", "1:1:b", "2:2:c", "2:2:d", "2:2:e", "3:0:f"]),
            ("cat l | while read -r x\ndo a $x; done < y; b", &["1:0:cat l", "1:1:read -r x", "2:1:a $x", "2:0:b"]),
            ("for x in a b; do c; done", &["1:1:c"]),
            ("for x\nin a\ndo c\ndone & d", &["3:1:c", "4:0:d"]),
            ("f() {\n a\n}\nfunction g { b; }\nf", &["2:1:a", "4:1:b", "5:0:f"]),
            ("case $x in a|b) c;; (d) e ;; esac; f", &["1:1:c", "1:1:e", "1:0:f"]),
            ("[[ a && b < c ]] && d", &["1:0:[[ a && b < c ]]", "1:0:d"]),
            ("( a; { b; } ) || c", &["1:1:a", "1:2:b", "1:0:c"]),
            ("fi\nwhile x\n", &["2:1:x", "1? fi closes nothing", "2? a block that is not closed"]),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn joins_assignments_and_redirections_are_kept() {
        let script = Script::parse("A=1 B= a >x &&\n b || c &\nD=$(e) | f\nG+=h", 1, true);
        let joins: Vec<_> = script.commands.iter().map(|command| (command.before, command.then)).collect();
        assert_eq!(
            joins,
            [
                (Join::Next, Join::And),
                (Join::And, Join::Or),
                (Join::Or, Join::Background),
                (Join::Background, Join::Pipe),
                (Join::Pipe, Join::Next),
                (Join::Next, Join::Next)
            ]
        );
        assert_eq!(script.commands[0].assigns.len(), 2);
        assert_eq!(script.commands[0].redirects[0].target.shown(), "x");
        assert_eq!(script.commands[5].assigns[0].1.parts[0], Part::Other("+=".into()));
    }
}
