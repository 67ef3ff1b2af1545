/// A piece of a word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) enum Part {
    /// Text as it is, and whether quotes keep it from being split or matched.
    Text { text: String, quoted: bool },
    /// The value of a variable, and what is taken where it has none.
    Variable { name: String, default: Option<String>, quoted: bool },
    /// What a command prints.
    Output { text: String, quoted: bool },
    /// Something else that the shell works out; as it is written.
    Other(String),
}

/// A word, before the shell expands it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in super::super) struct Word {
    pub(in super::super) parts: Vec<Part>,
    pub(in super::super) line: usize,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Word(Word),
    Operator(&'static str),
    Redirect { fd: Option<u32>, operator: &'static str },
    Newline,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: usize,
}

/// A text, cut into tokens.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    pub(super) tokens: Vec<Token>,
    /// What a plain sh does not know.
    pub(super) bashisms: Vec<(usize, String)>,
    /// What could not be read.
    pub(super) unclear: Vec<(usize, String)>,
}

impl Word {
    /// Returns the text of a word without quotes and expansions.
    pub(in super::super) fn plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text { text, quoted: false }] => Some(text),
            _ => None,
        }
    }

    /// Tells whether a variable of this name is in it, also in what it runs or works out.
    pub(in super::super) fn mentions(&self, variable: &str) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Text { .. } => false,
            Part::Variable { name, .. } => name == variable,
            Part::Output { text, .. } | Part::Other(text) => {
                text.contains(&format!("${variable}")) || text.contains(&format!("${{{variable}"))
            }
        })
    }

    /// Shows it about as it is written.
    pub(in super::super) fn shown(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text { text, .. } | Part::Other(text) => text.clone(),
            Part::Variable { name, .. } => format!("${name}"),
            Part::Output { text, .. } => format!("$({text})"),
        };
        self.parts.iter().map(part).collect()
    }
}

/// Cuts a text into tokens; its first line has the number `line`, and so have all where the text is one word of a file.
pub(super) fn lex(text: &str, line: usize, is_file: bool) -> Lexed {
    let mut lexer =
        Lexer { chars: text.chars().collect(), at: 0, line, is_file, out: Lexed::default(), documents: Vec::new() };
    lexer.run();
    lexer.out
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    is_file: bool,
    out: Lexed,
    /// The ends of the texts that begin behind the next line end, and whether tabs in front of them do not count.
    documents: Vec<(String, bool)>,
}

const OPERATORS: [&str; 10] = [";;&", ";;", ";&", "&&", "||", "|&", ";", "|", "&", "("];
const REDIRECTS: [&str; 12] = ["&>>", "&>", "<<<", "<<-", "<<", "<&", "<>", ">>", ">&", ">|", "<", ">"];

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek(0)?;
        self.at += 1;
        if char == '\n' && self.is_file {
            self.line += 1;
        }
        Some(char)
    }

    fn looks_at(&self, text: &str) -> bool {
        text.chars().zip(0..).all(|(char, ahead)| self.peek(ahead) == Some(char))
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.next();
        }
    }

    fn push(&mut self, kind: Kind, line: usize) {
        self.out.tokens.push(Token { kind, line });
    }

    fn bashism(&mut self, what: &str) {
        self.out.bashisms.push((self.line, what.into()));
    }

    /// Gives up the rest of the text.
    fn broken(&mut self, line: usize, what: &str) {
        self.out.unclear.push((line, what.into()));
        self.at = self.chars.len();
    }

    fn run(&mut self) {
        while let Some(char) = self.peek(0) {
            let line = self.line;
            match char {
                ' ' | '\t' | '\r' => self.skip(1),
                '\\' if self.peek(1) == Some('\n') => self.skip(2),
                '\n' => {
                    self.skip(1);
                    self.push(Kind::Newline, line);
                    self.documents();
                }
                '#' => {
                    while self.peek(0).is_some_and(|char| char != '\n') {
                        self.skip(1);
                    }
                }
                '(' if self.peek(1) == Some('(') => self.arithmetic(line),
                ')' => {
                    self.skip(1);
                    self.push(Kind::Operator(")"), line);
                }
                _ => self.operator_or_word(line),
            }
        }
    }

    fn operator_or_word(&mut self, line: usize) {
        let is_process = ["<(", ">("].iter().any(|text| self.looks_at(text));
        if !is_process {
            if let Some(operator) = REDIRECTS.into_iter().find(|operator| self.looks_at(operator)) {
                return self.redirect(None, operator, line);
            }
            if let Some(operator) = OPERATORS.into_iter().find(|operator| self.looks_at(operator)) {
                if operator == "|&" {
                    self.bashism("|&");
                }
                self.skip(operator.len());
                return self.push(Kind::Operator(operator), line);
            }
        }
        let word = self.word();
        let digits = word.plain().filter(|text| text.len() < 4).and_then(|text| text.parse().ok());
        if let (Some(fd), Some('<' | '>')) = (digits, self.peek(0))
            && let Some(operator) = REDIRECTS.into_iter().find(|operator| self.looks_at(operator))
        {
            return self.redirect(Some(fd), operator, line);
        }
        self.push(Kind::Word(word), line);
    }

    fn redirect(&mut self, fd: Option<u32>, operator: &'static str, line: usize) {
        if ["&>>", "&>", "<<<"].contains(&operator) {
            self.bashism(operator);
        }
        self.skip(operator.len());
        self.push(Kind::Redirect { fd, operator }, line);
        if ["<<", "<<-"].contains(&operator) {
            while matches!(self.peek(0), Some(' ' | '\t')) {
                self.skip(1);
            }
            let end = self.word();
            let text = end.parts.iter().map(|part| match part {
                Part::Text { text, .. } | Part::Other(text) => text.clone(),
                Part::Variable { name, .. } => format!("${name}"),
                Part::Output { text, .. } => text.clone(),
            });
            self.documents.push((text.collect(), operator == "<<-"));
            self.push(Kind::Word(end), line);
        }
    }

    /// Passes over the texts that were announced in the line before.
    fn documents(&mut self) {
        for (end, tabs) in std::mem::take(&mut self.documents) {
            let begin = self.line;
            loop {
                if self.peek(0).is_none() {
                    return self.broken(begin, "a text behind << has no end");
                }
                let (number, mut line) = (self.line, String::new());
                while let Some(char) = self.next().filter(|char| *char != '\n') {
                    line.push(char);
                }
                let bare = if tabs { line.trim_start_matches('\t') } else { &line };
                if bare == end {
                    break;
                }
                if line.contains("rsync") {
                    self.out.unclear.push((number, "rsync in a text that another program gets".into()));
                }
            }
        }
    }

    fn arithmetic(&mut self, line: usize) {
        self.bashism("((");
        let begin = self.at;
        while self.peek(0).is_some() && !self.looks_at("))") {
            self.skip(1);
        }
        if self.peek(0).is_none() {
            return self.broken(line, "(( without ))");
        }
        self.skip(2);
        let text = self.chars[begin..self.at].iter().collect();
        self.push(Kind::Word(Word { parts: vec![Part::Other(text)], line }), line);
    }

    fn word(&mut self) -> Word {
        let line = self.line;
        let mut parts = Vec::new();
        while let Some(char) = self.peek(0) {
            match char {
                ' ' | '\t' | '\n' | ';' | '|' | '&' | ')' => break,
                '\r' if matches!(self.peek(1), None | Some('\n')) => break,
                '<' | '>' if self.peek(1) != Some('(') || !parts.is_empty() => break,
                '(' => break,
                '<' | '>' => {
                    self.bashism("<(");
                    self.skip(2);
                    let text = self.until_paren(line);
                    parts.push(Part::Output { text, quoted: true });
                }
                '\'' => {
                    self.skip(1);
                    let text = self.until('\'', line);
                    parts.push(Part::Text { text, quoted: true });
                }
                '"' => {
                    self.skip(1);
                    self.double_quoted(&mut parts, line);
                }
                '\\' => {
                    self.skip(1);
                    match self.next() {
                        Some('\n') => {}
                        Some(char) => text(&mut parts, char, true),
                        None => text(&mut parts, '\\', true),
                    }
                }
                '$' => self.dollar(&mut parts, false),
                '`' => self.backticks(&mut parts, false),
                char => {
                    self.skip(1);
                    text(&mut parts, char, false);
                }
            }
        }
        Word { parts, line }
    }

    fn double_quoted(&mut self, parts: &mut Vec<Part>, line: usize) {
        text_part(parts, true);
        loop {
            match self.peek(0) {
                None => return self.broken(line, "a quote that is not closed"),
                Some('"') => return self.skip(1),
                Some('$') => self.dollar(parts, true),
                Some('`') => self.backticks(parts, true),
                Some('\\') => match self.peek(1) {
                    Some('\n') => self.skip(2),
                    Some(char @ ('$' | '`' | '"' | '\\')) => {
                        self.skip(2);
                        text(parts, char, true);
                    }
                    Some(_) | None => {
                        self.skip(1);
                        text(parts, '\\', true);
                    }
                },
                Some(char) => {
                    self.next();
                    text(parts, char, true);
                }
            }
        }
    }

    fn dollar(&mut self, parts: &mut Vec<Part>, quoted: bool) {
        let line = self.line;
        self.skip(1);
        match self.peek(0) {
            Some('(') if self.peek(1) == Some('(') => {
                self.skip(2);
                let text = self.until_paren(line);
                if self.peek(0) == Some(')') {
                    self.skip(1);
                }
                parts.push(Part::Other(format!("$(({text}))")));
            }
            Some('(') => {
                self.skip(1);
                let text = self.until_paren(line);
                parts.push(Part::Output { text, quoted });
            }
            Some('{') => {
                self.skip(1);
                let inner = self.until('}', line);
                parts.push(self.braced(&inner, quoted));
            }
            Some('\'') if !quoted => {
                self.bashism("$'");
                self.skip(1);
                let inner = self.until('\'', line);
                parts.push(Part::Other(inner));
            }
            Some(char) if char.is_ascii_alphabetic() || char == '_' => {
                let mut name = String::new();
                while let Some(char) = self.peek(0).filter(|char| is_name(*char)) {
                    name.push(char);
                    self.skip(1);
                }
                parts.push(Part::Variable { name, default: None, quoted });
            }
            Some(char) if char.is_ascii_digit() || "@*#?$!-".contains(char) => {
                self.skip(1);
                parts.push(Part::Variable { name: char.to_string(), default: None, quoted });
            }
            Some(_) | None => text(parts, '$', quoted),
        }
    }

    fn braced(&mut self, inner: &str, quoted: bool) -> Part {
        let end = inner.find(|char| !is_name(char)).unwrap_or(inner.len());
        let (name, rest) = inner.split_at(end);
        if rest.is_empty() && !name.is_empty() {
            return Part::Variable { name: name.into(), default: None, quoted };
        }
        let default = rest.strip_prefix(":-");
        if let Some(default) = default.filter(|text| !name.is_empty() && !text.contains(['$', '`', '"', '\'', '\\'])) {
            return Part::Variable { name: name.into(), default: Some(default.into()), quoted };
        }
        let is_bash = ["/", "^", ",", "[", "@"].iter().any(|begin| rest.starts_with(begin))
            || rest.strip_prefix(':').is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit()))
            || inner.starts_with('!');
        if is_bash {
            self.bashism(&format!("${{{inner}}}"));
        }
        Part::Other(format!("${{{inner}}}"))
    }

    fn backticks(&mut self, parts: &mut Vec<Part>, quoted: bool) {
        let line = self.line;
        self.skip(1);
        let mut inner = String::new();
        loop {
            match self.next() {
                None => return self.broken(line, "a ` that is not closed"),
                Some('`') => break,
                Some('\\') if matches!(self.peek(0), Some('`' | '$' | '\\')) => inner.extend(self.next()),
                Some(char) => inner.push(char),
            }
        }
        parts.push(Part::Output { text: inner, quoted });
    }

    fn until(&mut self, end: char, line: usize) -> String {
        let mut text = String::new();
        loop {
            match self.next() {
                None => {
                    self.broken(line, "a quote or brace that is not closed");
                    return text;
                }
                Some(char) if char == end => return text,
                Some(char) => text.push(char),
            }
        }
    }

    /// Takes what is up to the parenthesis that closes; quotes and parentheses inside count.
    fn until_paren(&mut self, line: usize) -> String {
        let (mut text, mut depth, mut quote) = (String::new(), 1_u32, None);
        loop {
            let Some(char) = self.next() else {
                self.broken(line, "a parenthesis that is not closed");
                return text;
            };
            match (char, quote) {
                ('\\', None | Some('"')) => {
                    text.push('\\');
                    text.extend(self.next());
                    continue;
                }
                ('\'' | '"', None) => quote = Some(char),
                ('\'' | '"', Some(open)) if open == char => quote = None,
                ('(', None) => depth += 1,
                (')', None) if depth == 1 => return text,
                (')', None) => depth -= 1,
                _ => {}
            }
            text.push(char);
        }
    }
}

fn is_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

fn text_part(parts: &mut Vec<Part>, quoted: bool) -> &mut String {
    let fits = matches!(parts.last(), Some(Part::Text { quoted: last, .. }) if *last == quoted);
    if !fits {
        parts.push(Part::Text { text: String::new(), quoted });
    }
    let last = parts.len() - 1;
    match &mut parts[last] {
        Part::Text { text, .. } => text,
        Part::Variable { name: text, .. } | Part::Output { text, .. } | Part::Other(text) => text,
    }
}

fn text(parts: &mut Vec<Part>, char: char, quoted: bool) {
    text_part(parts, quoted).push(char);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let show = |token: Token| match token.kind {
            Kind::Word(word) => word.shown(),
            Kind::Operator(operator) => operator.into(),
            Kind::Redirect { fd, operator } => format!("{}{operator}", fd.map_or(String::new(), |fd| fd.to_string())),
            Kind::Newline => "NEWLINE".into(),
        };
        lex(text, 1, true).tokens.into_iter().map(show).collect()
    }

    #[test]
    fn words_are_cut_as_a_shell_cuts_them() {
        let cases: [(&str, &[&str]); 14] = [
            ("rsync -a \"ssh -i k\" x", &["rsync", "-a", "ssh -i k", "x"]),
            ("a'b c'\"d\"\\ e", &["ab cd e"]),
            ("a # b\nc#d", &["a", "NEWLINE", "c#d"]),
            ("a&&b||c;d|e&", &["a", "&&", "b", "||", "c", ";", "d", "|", "e", "&"]),
            ("a 2>&1 >>/x </y", &["a", "2>&", "1", ">>", "/x", "<", "/y"]),
            ("a $(b (c) ')') `d`", &["a", "$(b (c) ')')", "$(d)"]),
            ("${A}x$B ${C%/*}", &["$Ax$B", "${C%/*}"]),
            ("a \\\n b", &["a", "b"]),
            ("''", &[""]),
            ("f() { x; }", &["f", "(", ")", "{", "x", ";", "}"]),
            ("cat <<E\n one\nE\nx", &["cat", "<<", "E", "NEWLINE", "x"]),
            ("a\r\nb\r", &["a", "NEWLINE", "b"]),
            ("x <(y z)", &["x", "$(y z)"]),
            ("$1 $? $((1 + 2))", &["$1", "$?", "$((1 + 2))"]),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_closed_is_said_with_its_line() {
        for text in ["a\n'b\nc", "a\n\"b", "a\n$(b", "a\n`b", "a\n${b", "a\n((b"] {
            let unclear = lex(text, 1, true).unclear;
            assert_eq!(unclear.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2], "{text:?}");
        }
        assert_eq!(lex("x <<E\na", 1, true).unclear[0].0, 2);
    }
}
