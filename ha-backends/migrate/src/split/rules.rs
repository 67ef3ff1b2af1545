use crate::Dialect;

/// How a dialect's text is read: what quotes, comments and words are.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one rule of one dialect, set once, below")]
pub(super) struct Rules {
    /// `\'` in `'...'` and `"..."`, `#` comments, `/*! code */`, `DELIMITER`, and `--` that needs a blank behind it.
    pub(super) mysql: bool,
    /// `E'...'`, `COPY`, psql's commands, and `;` in parentheses ends nothing.
    pub(super) postgres: bool,
    /// `q'[...]'`.
    pub(super) q_quotes: bool,
    /// `` `name` ``.
    pub(super) backticks: bool,
    /// `[name]`, and whether `]]` is a bracket in it.
    pub(super) brackets: Option<bool>,
    /// `$$...$$`, and whether there may be a tag between the two.
    pub(super) dollars: Option<bool>,
    /// `/* /* */ */` is one comment.
    pub(super) nested_comments: bool,
    /// `//` begins a comment anywhere; elsewhere only where a line between two statements begins with it.
    pub(super) slash_comments: bool,
    /// A line comment ends at a carriage return, too.
    pub(super) return_ends_comment: bool,
    /// `#` is a letter of names.
    pub(super) hash_in_words: bool,
    /// A line of only `/` ends a statement.
    pub(super) lone_slash: bool,
}

impl Rules {
    pub(super) fn of(dialect: Dialect) -> Self {
        let plain = Self {
            mysql: false,
            postgres: false,
            q_quotes: false,
            backticks: false,
            brackets: None,
            dollars: None,
            nested_comments: false,
            slash_comments: false,
            return_ends_comment: false,
            hash_in_words: false,
            lone_slash: false,
        };
        match dialect {
            Dialect::Db2 => Self { nested_comments: true, hash_in_words: true, lone_slash: true, ..plain },
            Dialect::H2 => {
                Self { backticks: true, dollars: Some(false), nested_comments: true, slash_comments: true, ..plain }
            }
            Dialect::MariaDb | Dialect::MySql => Self { mysql: true, backticks: true, ..plain },
            Dialect::Oracle => Self { q_quotes: true, hash_in_words: true, lone_slash: true, ..plain },
            Dialect::Postgres => {
                Self { postgres: true, dollars: Some(true), nested_comments: true, return_ends_comment: true, ..plain }
            }
            Dialect::Sqlite => Self { backticks: true, brackets: Some(false), ..plain },
            Dialect::SqlServer => Self { brackets: Some(true), nested_comments: true, hash_in_words: true, ..plain },
        }
    }
}
