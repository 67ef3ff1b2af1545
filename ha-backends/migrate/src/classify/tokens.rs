//! The tokens of one statement, with what nests too deep for the parser refused.

use sqlparser::dialect as sql;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::Dialect;

/// How deep parentheses may be nested.
const DEEPEST: usize = 16;
/// How many operators one expression may chain: each is one level of the parser's tree.
const LONGEST_CHAIN: usize = 256;
/// How many words may follow each other without any mark between them.
const LONGEST_WORDS: usize = 48;
/// How deep the parser itself goes: a debug build takes some 40 KiB of stack a level.
const PARSER_DEPTH: usize = 24;

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tok {
    /// A word, and whether it was quoted.
    Word(String, bool),
    /// A quoted text.
    Text,
    /// A number.
    Number,
    /// A mark or an operator.
    Mark(String),
}

/// The tokens of one statement, without white space, comments and the final semicolon.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) toks: Vec<Tok>,
    raw: Vec<Token>,
    /// Whether white space stood before each.
    spaced: Vec<bool>,
    deep: bool,
}

impl Tokens {
    /// Reads the tokens; none where the text has no end of a quote or comment.
    pub(super) fn read(dialect: Dialect, text: &str) -> Option<Self> {
        // MySQL's comments need something behind their signs, which the end of a text is to the server and not to the tokenizer.
        let closed = text.ends_with("--").then(|| format!("{text}\n"));
        let text = closed.as_deref().unwrap_or(text);
        let mut raw = Vec::new();
        let mut spaced = Vec::new();
        let mut space = false;
        for token in Tokenizer::new(parser_dialect(dialect), text).tokenize().ok()? {
            match token {
                Token::Whitespace(_) | Token::EOF => space = true,
                token => {
                    raw.push(token);
                    spaced.push(std::mem::take(&mut space));
                }
            }
        }
        while raw.last().is_some_and(|token| matches!(token, Token::SemiColon)) {
            raw.pop();
        }
        let toks: Vec<Tok> = raw.iter().map(tok).collect();
        let deep = is_deep(&toks);
        Some(Self { toks, raw, spaced, deep })
    }

    /// Parses the tokens from one on; none where the parser refuses them, or would go too deep.
    pub(super) fn parse(&self, dialect: Dialect, from: usize) -> Option<sqlparser::ast::Statement> {
        if self.deep {
            return None;
        }
        let raw = self.raw.get(from..)?.to_vec();
        let mut parser = Parser::new(parser_dialect(dialect)).with_recursion_limit(PARSER_DEPTH).with_tokens(raw);
        let statement = parser.parse_statement().ok()?;
        matches!(parser.next_token().token, Token::EOF).then_some(statement)
    }

    /// The text of a range of tokens, white space and comments as one blank.
    pub(super) fn text(&self, range: std::ops::Range<usize>) -> String {
        let mut text = String::new();
        let spaced = self.spaced.get(range.clone()).unwrap_or_default();
        for (token, spaced) in self.raw.get(range).unwrap_or_default().iter().zip(spaced) {
            if *spaced && !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&token.to_string());
        }
        text
    }
}

fn tok(token: &Token) -> Tok {
    match token {
        Token::Word(word) => Tok::Word(word.value.clone(), word.quote_style.is_some()),
        Token::Number(..) => Tok::Number,
        Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::TripleSingleQuotedString(_)
        | Token::TripleDoubleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::SingleQuotedByteStringLiteral(_)
        | Token::DoubleQuotedByteStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_) => Tok::Text,
        other => Tok::Mark(other.to_string()),
    }
}

/// Whether the parser would nest deeper than its stack allows: parentheses, chains of operators, rows of words.
fn is_deep(toks: &[Tok]) -> bool {
    let mut chains = vec![0_usize];
    let mut words = 0_usize;
    for token in toks {
        let mut operator = false;
        match token {
            Tok::Word(word, quoted) => {
                words += 1;
                operator = !quoted && CHAINING.iter().any(|chaining| word.eq_ignore_ascii_case(chaining));
            }
            Tok::Text | Tok::Number => words = 0,
            Tok::Mark(mark) => {
                words = 0;
                match mark.as_str() {
                    "(" => chains.push(0),
                    ")" if chains.len() > 1 => {
                        chains.pop();
                    }
                    "," => {
                        if let Some(chain) = chains.last_mut() {
                            *chain = 0;
                        }
                    }
                    "." | ")" | ";" => {}
                    _ => operator = true,
                }
            }
        }
        if operator && let Some(chain) = chains.last_mut() {
            *chain += 1;
            if *chain > LONGEST_CHAIN {
                return true;
            }
        }
        if chains.len() > DEEPEST || words > LONGEST_WORDS {
            return true;
        }
    }
    false
}

/// Words that nest what stands before them.
const CHAINING: [&str; 14] = [
    "AND",
    "AT",
    "BETWEEN",
    "CASE",
    "COLLATE",
    "EXCEPT",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "ISNULL",
    "LIKE",
    "NOTNULL",
    "OR",
    "UNION",
];

fn parser_dialect(dialect: Dialect) -> &'static dyn sql::Dialect {
    match dialect {
        Dialect::Db2 | Dialect::H2 => &sql::GenericDialect {},
        Dialect::MariaDb | Dialect::MySql => &sql::MySqlDialect {},
        Dialect::Oracle => &sql::OracleDialect {},
        Dialect::Postgres => &sql::PostgreSqlDialect {},
        Dialect::Sqlite => &sql::SQLiteDialect {},
        Dialect::SqlServer => &sql::MsSqlDialect {},
    }
}
