//! Text of SQL: names, and words put into a statement.

use super::is_mysql;
use crate::{Dialect, ObjectName};

/// A name as it is written in SQL: quoted where it must be.
pub(super) fn name(dialect: Dialect, name: &str) -> String {
    let plain = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && (dialect != Dialect::Postgres || !name.contains(|c: char| c.is_ascii_uppercase()));
    if plain {
        name.to_owned()
    } else if is_mysql(dialect) {
        format!("`{}`", name.replace('`', "``"))
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A table with its schema.
pub(super) fn table(dialect: Dialect, table: &ObjectName) -> String {
    match &table.schema {
        Some(schema) => format!("{}.{}", name(dialect, schema), name(dialect, &table.name)),
        None => name(dialect, &table.name),
    }
}

/// A statement without its semicolon.
pub(super) fn bare(text: &str) -> &str {
    text.trim().trim_end_matches(';').trim_end()
}

/// The statement with `insert` put behind the first `word` outside of parentheses; none where it is not there.
pub(super) fn with_word(text: &str, word: &str, insert: &str) -> Option<String> {
    let text = bare(text);
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut depth = 0_usize;
    while at < bytes.len() {
        let rest = bytes.get(at..)?;
        if rest.starts_with(b"--") || rest.starts_with(b"#") {
            at += rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        } else if rest.starts_with(b"/*") {
            at += rest.windows(2).skip(2).position(|two| two == b"*/").map_or(rest.len(), |end| end + 4);
        } else if matches!(rest.first(), Some(b'"' | b'`' | b'\'')) {
            let quote = rest.first().copied().unwrap_or(b'"');
            at += rest.iter().skip(1).position(|&byte| byte == quote).map_or(rest.len(), |end| end + 2);
        } else if rest.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
            if rest.get(..length).is_some_and(|here| depth == 0 && here.eq_ignore_ascii_case(word.as_bytes())) {
                let (before, after) = text.split_at_checked(at + length)?;
                return Some(format!("{before} {insert}{after}"));
            }
            at += length;
        } else {
            match rest.first() {
                Some(b'(') => depth += 1,
                Some(b')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            at += 1;
        }
    }
    None
}
