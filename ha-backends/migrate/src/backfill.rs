//! Backfills: what their header says, and the statements of a batch.

use crate::Dialect;
use crate::history::{ident, text};
use crate::machine::BackfillSpec;

/// Reads `-- ha:backfill table=t key=id batch=2000` from the comments of a script; `None` where it is not there.
///
/// # Errors
/// The line, from 1, and what is wrong with it.
pub(crate) fn read_header(script: &str) -> Result<Option<BackfillSpec>, (usize, String)> {
    for (number, line) in script.lines().enumerate() {
        let Some(rest) = directive(line, "ha:backfill") else { continue };
        let wrong = |what: String| (number + 1, what);
        let (mut table, mut key, mut batch) = (None, None, 2_000);
        for word in rest.split_whitespace() {
            match word.split_once('=') {
                Some(("table", name)) if !name.is_empty() => table = Some(name.to_owned()),
                Some(("key", name)) if !name.is_empty() => key = Some(name.to_owned()),
                Some(("batch", rows)) => match rows.parse() {
                    Ok(rows) if (1..=100_000).contains(&rows) => batch = rows,
                    Ok(_) | Err(_) => return Err(wrong(format!("batch={rows}: give a number from 1 to 100000"))),
                },
                Some(_) | None => {
                    return Err(wrong(format!("{word:?} is not understood: give table=, key= and batch=")));
                }
            }
        }
        let (Some(table), Some(key)) = (table, key) else {
            return Err(wrong("give table= and key=: the table that is filled, and its key".into()));
        };
        return Ok(Some(BackfillSpec { table, key, batch, verify: None }));
    }
    Ok(None)
}

/// The line, from 1, of the comment `-- ha:verify`: the statement below it counts what is left.
pub(crate) fn verify_line(script: &str) -> Option<usize> {
    script.lines().position(|line| directive(line, "ha:verify").is_some()).map(|line| line + 1)
}

fn directive<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.trim().strip_prefix("--")?.trim_start().strip_prefix(name)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}

/// Asks for the first and the last key of the next batch, and how many there are.
pub(crate) fn last_and_first(dialect: Dialect, spec: &BackfillSpec, cursor: Option<&str>, size: u64) -> String {
    let key = ident(dialect, &spec.key);
    let table = spec.table.split('.').map(|part| ident(dialect, part)).collect::<Vec<_>>().join(".");
    let after = cursor.map(|cursor| format!(" WHERE {key} > {}", text(dialect, cursor))).unwrap_or_default();
    format!(
        "WITH b AS (SELECT {key} AS k FROM {table}{after} ORDER BY {key} LIMIT {size}) \
         SELECT (SELECT k FROM b ORDER BY k LIMIT 1), (SELECT k FROM b ORDER BY k DESC LIMIT 1), (SELECT count(*) FROM b)"
    )
}

/// Puts the bounds of a batch, both included, for `:from` and `:to`; not inside of quotes or comments, nor behind a colon.
pub(crate) fn substituted(dialect: Dialect, statement: &str, from: &str, to: &str) -> String {
    let mut written = String::with_capacity(statement.len() + 32);
    let mut rest = statement;
    let mut before = ' ';
    while let Some(letter) = rest.chars().next() {
        if matches!(letter, '\'' | '"' | '`') {
            let end = closing(rest, letter);
            written.push_str(rest.get(..end).unwrap_or(rest));
            rest = rest.get(end..).unwrap_or("");
            before = letter;
            continue;
        }
        if rest.starts_with("--") || rest.starts_with("/*") {
            let end = if rest.starts_with("--") { rest.find('\n') } else { rest.find("*/").map(|end| end + 2) };
            let end = end.unwrap_or(rest.len());
            written.push_str(rest.get(..end).unwrap_or(rest));
            rest = rest.get(end..).unwrap_or("");
            continue;
        }
        let bound = [(":from", from), (":to", to)].into_iter().find(|(name, _)| {
            let after = rest.strip_prefix(name).map(|after| after.chars().next());
            before != ':' && after.is_some_and(|next| next.is_none_or(|next| !next.is_alphanumeric() && next != '_'))
        });
        match bound {
            Some((name, value)) => {
                written.push_str(&text(dialect, value));
                rest = rest.get(name.len()..).unwrap_or("");
                before = '\'';
            }
            None => {
                written.push(letter);
                rest = rest.get(letter.len_utf8()..).unwrap_or("");
                before = letter;
            }
        }
    }
    written
}

/// Where what is quoted at the beginning ends.
fn closing(rest: &str, quote: char) -> usize {
    rest.char_indices().skip(1).find(|(_, letter)| *letter == quote).map_or(rest.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_says_table_key_and_batch() {
        let spec = |batch| BackfillSpec { table: "t".into(), key: "id".into(), batch, verify: None };
        for (script, read) in [
            ("-- ha:backfill table=t key=id batch=500\nUPDATE", Ok(Some(spec(500)))),
            ("\n  --ha:backfill key=id  table=t", Ok(Some(spec(2_000)))),
            ("-- ha:backfilled table=t", Ok(None)),
            ("UPDATE t", Ok(None)),
        ] {
            assert_eq!(read_header(script), read, "{script}");
        }
        for (script, line) in [
            ("-- ha:backfill table=t", 1),
            ("\n-- ha:backfill table=t key=id batch=0", 2),
            ("-- ha:backfill table=t key=id speed=9", 1),
            ("-- ha:backfill table= key=id", 1),
        ] {
            assert_eq!(read_header(script).unwrap_err().0, line, "{script}");
        }
        assert_eq!(verify_line("a;\n-- ha:verify\nSELECT 1"), Some(2));
    }

    #[test]
    fn bounds_are_put_where_they_are_named_and_nowhere_else() {
        for (statement, expected) in [
            ("id BETWEEN :from AND :to", "id BETWEEN '1' AND '9'"),
            ("id >= :from::int", "id >= '1'::int"),
            ("x::from", "x::from"),
            ("':from' :fromage -- :to\n:to", "':from' :fromage -- :to\n'9'"),
            ("/* :to */ \":from\" `:to` 'it''s :to'", "/* :to */ \":from\" `:to` 'it''s :to'"),
        ] {
            assert_eq!(substituted(Dialect::Postgres, statement, "1", "9"), expected);
        }
    }

    proptest! {
        #[test]
        fn any_statement_is_taken(statement in ".{0,200}", from in ".{0,9}") {
            substituted(Dialect::MariaDb, &statement, &from, "9");
            let _ = read_header(&statement);
        }
    }
}
