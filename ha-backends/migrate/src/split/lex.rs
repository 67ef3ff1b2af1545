use super::SplitError;
use super::rules::Rules;

/// What a piece of a script is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Blank,
    Comment,
    /// A name, keyword or number, without quotes.
    Word,
    /// A text or name in quotes of any kind.
    Quoted,
    Semicolon,
    Colon,
    Dot,
    Open,
    Close,
    Slash,
    /// Another sign, or `/*!` and its end (MySQL).
    Sign,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Takes a script apart, in one pass.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    script: &'a str,
    bytes: &'a [u8],
    rules: Rules,
    pub(super) at: usize,
    /// Where the `/*!` began that is open.
    versioned: Option<usize>,
}

const BLANK: u8 = 1;
const WORD_START: u8 = 2;
const WORD: u8 = 4;

/// What a byte may be, in any dialect.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        classes[byte as usize] = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => BLANK,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'@' | 0x80.. => WORD_START | WORD,
            b'$' => WORD,
            _ => 0,
        };
        match byte.checked_add(1) {
            Some(next) => byte = next,
            None => break classes,
        }
    }
};

fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

impl<'a> Lexer<'a> {
    pub(super) fn new(script: &'a str, rules: Rules) -> Self {
        let at = if script.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { script, bytes: script.as_bytes(), rules, at, versioned: None }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(super) fn rest(&self, at: usize) -> &'a [u8] {
        self.bytes.get(at..).unwrap_or_default()
    }

    /// Tells whether code between `/*!` and `*/` is being read, where nothing ends a statement.
    pub(super) fn is_versioned(&self) -> bool {
        self.versioned.is_some()
    }

    /// Returns the next piece. A word ends before the delimiter, since `END$$` is a name otherwise.
    pub(super) fn next(&mut self, delimiter: Option<&str>) -> Result<Option<Token>, SplitError> {
        let start = self.at;
        let Some(byte) = self.byte(start) else {
            return match self.versioned {
                Some(at) => Err(self.unclosed(at, "the comment /*! is not closed: add */")),
                None => Ok(None),
            };
        };
        let (kind, end) = if is(byte, BLANK) {
            (Kind::Blank, self.run(start, |byte| is(byte, BLANK)))
        } else if is(byte, WORD_START) || (byte == b'#' && self.rules.hash_in_words) {
            self.word(start, delimiter)?
        } else {
            self.sign(start, byte)?
        };
        self.at = end;
        Ok(Some(Token { kind, start, end }))
    }

    fn sign(&mut self, start: usize, byte: u8) -> Result<(Kind, usize), SplitError> {
        let rules = self.rules;
        let one = |kind| Ok((kind, start + 1));
        match (byte, self.byte(start + 1)) {
            (b';', _) => one(Kind::Semicolon),
            (b':', _) => one(Kind::Colon),
            (b'.', _) => one(Kind::Dot),
            (b'(', _) => one(Kind::Open),
            (b')', _) => one(Kind::Close),
            (b'\'', _) => self.quoted(start, start, b'\'', rules.mysql),
            (b'"', _) => self.quoted(start, start, b'"', rules.mysql),
            (b'`', _) if rules.backticks => self.quoted(start, start, b'`', false),
            (b'[', _) if rules.brackets.is_some() => self.bracketed(start),
            (b'$', _) if rules.dollars.is_some() => self.dollars(start),
            (b'#', _) if rules.mysql => Ok((Kind::Comment, self.line_end(start))),
            (b'-', Some(b'-')) if !rules.mysql || self.byte(start + 2).is_none_or(|next| next <= b' ') => {
                Ok((Kind::Comment, self.line_end(start)))
            }
            (b'/', Some(b'*')) => self.comment(start),
            (b'/', Some(b'/')) if rules.slash_comments => Ok((Kind::Comment, self.line_end(start))),
            (b'/', _) => one(Kind::Slash),
            (b'*', Some(b'/')) if self.versioned.take().is_some() => Ok((Kind::Sign, start + 2)),
            _ => one(Kind::Sign),
        }
    }

    fn word(&mut self, start: usize, delimiter: Option<&str>) -> Result<(Kind, usize), SplitError> {
        let is_word = |byte| is(byte, WORD) || (byte == b'#' && self.rules.hash_in_words);
        let mut end = self.run(start + 1, is_word);
        // A delimiter of signs may be inside a word; it has at most 16 bytes, so this is linear.
        let inside =
            |delimiter: &&str| !delimiter.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
        if self.versioned.is_none()
            && let Some(delimiter) = delimiter.filter(inside)
            && let Some(at) = self.script.get(start..end).and_then(|word| word.find(delimiter))
        {
            end = start + at;
        }
        if self.byte(end) == Some(b'\'') {
            let word = self.bytes.get(start..end).unwrap_or_default();
            if self.rules.postgres && word.eq_ignore_ascii_case(b"e") {
                return self.escaped(start, end);
            }
            if self.rules.q_quotes && (word.eq_ignore_ascii_case(b"q") || word.eq_ignore_ascii_case(b"nq")) {
                return self.q_quoted(start, end);
            }
        }
        Ok((Kind::Word, end))
    }

    /// Returns where a run of bytes ends.
    fn run(&self, from: usize, is_part: impl Fn(u8) -> bool) -> usize {
        from + self.rest(from).iter().position(|&byte| !is_part(byte)).unwrap_or(self.rest(from).len())
    }

    pub(super) fn line_end(&self, from: usize) -> usize {
        let ends = self.rules.return_ends_comment;
        self.run(from, |byte| byte != b'\n' && !(ends && byte == b'\r'))
    }

    /// Reads to the closing quote; a doubled one is a part of the text.
    fn quoted(&self, start: usize, open: usize, quote: u8, backslash: bool) -> Result<(Kind, usize), SplitError> {
        let mut at = open + 1;
        loop {
            at = self.run(at, |byte| byte != quote && !(backslash && byte == b'\\'));
            match (self.byte(at), self.byte(at + 1)) {
                (None, _) => {
                    let quote = char::from(quote);
                    return Err(self.unclosed(
                        start,
                        &format!("the quote {quote} is not closed: add {quote}, or double one that is meant"),
                    ));
                }
                (Some(b'\\'), _) if backslash => at += 2,
                (_, Some(next)) if next == quote => at += 2,
                (Some(_), _) => return Ok((Kind::Quoted, at + 1)),
            }
        }
    }

    /// Reads `E'...'`, which goes on behind blanks with a line end where another quote follows.
    fn escaped(&self, start: usize, open: usize) -> Result<(Kind, usize), SplitError> {
        let (kind, mut end) = self.quoted(start, open, b'\'', true)?;
        loop {
            let next = self.run(end, |byte| is(byte, BLANK));
            let has_line_end = self.bytes.get(end..next).is_some_and(|blanks| blanks.contains(&b'\n'));
            if !has_line_end || self.byte(next) != Some(b'\'') {
                return Ok((kind, end));
            }
            end = self.quoted(start, next, b'\'', true)?.1;
        }
    }

    /// Reads Oracle's `q'[...]'`: any sign may enclose the text, and `[ { < (` are closed by their counterpart.
    fn q_quoted(&self, start: usize, open: usize) -> Result<(Kind, usize), SplitError> {
        let text = self.script.get(open + 1..).unwrap_or_default();
        let mut chars = text.chars();
        let Some(sign) = chars.next().filter(|sign| !sign.is_whitespace()) else {
            return self.quoted(start, open, b'\'', false);
        };
        let close = match sign {
            '[' => ']',
            '{' => '}',
            '<' => '>',
            '(' => ')',
            other => other,
        };
        let close = format!("{close}'");
        match chars.as_str().find(&close) {
            Some(at) => Ok((Kind::Quoted, open + 1 + sign.len_utf8() + at + close.len())),
            None => Err(self.unclosed(start, &format!("the quote q'{sign} is not closed: add {close}"))),
        }
    }

    fn bracketed(&self, start: usize) -> Result<(Kind, usize), SplitError> {
        let doubled = self.rules.brackets == Some(true);
        let mut at = start + 1;
        loop {
            at = self.run(at, |byte| byte != b']');
            match self.byte(at) {
                None => return Err(self.unclosed(start, "the bracket [ is not closed: add ]")),
                Some(_) if doubled && self.byte(at + 1) == Some(b']') => at += 2,
                Some(_) => return Ok((Kind::Quoted, at + 1)),
            }
        }
    }

    /// Reads `$tag$...$tag$`; a `$` that begins none is a sign.
    fn dollars(&self, start: usize) -> Result<(Kind, usize), SplitError> {
        let with_tag = self.rules.dollars == Some(true);
        let is_tag = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric() || !byte.is_ascii();
        let has_digit_first = self.byte(start + 1).is_some_and(|byte| byte.is_ascii_digit());
        let tag = if with_tag && !has_digit_first { self.run(start + 1, is_tag) } else { start + 1 };
        if self.byte(tag) != Some(b'$') {
            return Ok((Kind::Sign, start + 1));
        }
        let quote = self.script.get(start..=tag).unwrap_or_default();
        match self.script.get(tag + 1..).and_then(|text| text.find(quote)) {
            Some(at) => Ok((Kind::Quoted, tag + 1 + at + quote.len())),
            None => Err(self.unclosed(start, &format!("the quote {quote} is not closed: add {quote}"))),
        }
    }

    fn comment(&mut self, start: usize) -> Result<(Kind, usize), SplitError> {
        if self.rules.mysql {
            let code = if self.rest(start + 2).starts_with(b"M!") { Some(4) } else { None };
            let code = if self.byte(start + 2) == Some(b'!') { Some(3) } else { code };
            if let (Some(length), None) = (code, self.versioned) {
                self.versioned = Some(start);
                return Ok((Kind::Sign, start + length));
            }
        }
        let (mut at, mut depth) = (start + 2, 1_usize);
        while depth > 0 {
            at = self.run(at, |byte| byte != b'*' && byte != b'/');
            match (self.byte(at), self.byte(at + 1)) {
                (None, _) => return Err(self.unclosed(start, "the comment /* is not closed: add */")),
                (Some(b'*'), Some(b'/')) => (at, depth) = (at + 2, depth - 1),
                (Some(b'/'), Some(b'*')) if self.rules.nested_comments => (at, depth) = (at + 2, depth + 1),
                _ => at += 1,
            }
        }
        Ok((Kind::Comment, at))
    }

    pub(super) fn unclosed(&self, at: usize, what: &str) -> SplitError {
        let before = self.bytes.get(..at).unwrap_or_default();
        SplitError { line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(), what: what.into() }
    }

    /// Tells whether only blanks are between the beginning of a line and its end, beside what is from `start` to `end`.
    pub(super) fn is_alone_on_its_line(&self, start: usize, end: usize) -> bool {
        self.begins_its_line(start) && self.ends_its_line(end)
    }

    pub(super) fn begins_its_line(&self, start: usize) -> bool {
        let before = self.script.get(..start).unwrap_or_default();
        let before = before.trim_end_matches([' ', '\t', '\u{feff}']);
        before.is_empty() || before.ends_with(['\n', '\r'])
    }

    pub(super) fn ends_its_line(&self, end: usize) -> bool {
        matches!(self.rest(end).iter().find(|&&byte| byte != b' ' && byte != b'\t'), None | Some(b'\n' | b'\r'))
    }
}
