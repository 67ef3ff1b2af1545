//! What the bare text shows: HA024, HA025, HA029.

use super::context::Context;
use super::{Rule, Severity, Verdict};
use crate::{Change, Dialect};

pub(super) fn check(context: &mut Context<'_>) {
    if let Some((placeholder, quoted)) = placeholder(context.statement.text) {
        let what = format!("{placeholder} is not filled in: give the placeholder a value");
        let severity = if quoted { Severity::Warning } else { Severity::Error };
        let mut finding = context.finding(Rule::Placeholder, severity, what);
        if !quoted {
            finding.verdict = Verdict::Opaque;
        }
        context.push(finding);
    }
    other_product(context);
    long_names(context);
}

/// HA025: what this product's parser refuses and another's takes.
fn other_product(context: &mut Context<'_>) {
    let Some(foreign) = foreign(context.dialect(), context.statement.text) else { return };
    let what =
        format!("this is SQL of {foreign}, and {} refuses it: take the script of the database", context.dialect());
    let finding = context.finding(Rule::WrongProduct, Severity::Error, what);
    context.push(finding);
}

/// Names the product whose SQL a statement is, where this one refuses it.
pub(crate) fn foreign(dialect: Dialect, text: &str) -> Option<&'static str> {
    let text = plain(text);
    let upper = text.to_ascii_uppercase();
    let mysql_only = || text.contains('`') || upper.contains("AUTO_INCREMENT") || upper.contains("ENGINE=");
    Some(match dialect {
        Dialect::Postgres if mysql_only() => "MySQL",
        Dialect::Oracle | Dialect::Db2 if text.contains('`') => "MySQL",
        Dialect::MariaDb | Dialect::MySql if upper.contains("CONCURRENTLY") || upper.contains("BIGSERIAL") => {
            "PostgreSQL"
        }
        Dialect::Postgres if upper.contains("VARCHAR2(") || upper.contains("NUMBER(") => "Oracle",
        Dialect::Sqlite if upper.contains("ENGINE=") || upper.contains("CONCURRENTLY") => "another product",
        _ => return None,
    })
}

/// HA029.
fn long_names(context: &mut Context<'_>) {
    let (most, unit): (usize, _) = match context.dialect() {
        Dialect::Postgres => (63, "bytes"),
        Dialect::MariaDb | Dialect::MySql => (64, "characters"),
        Dialect::Db2 | Dialect::Oracle | Dialect::SqlServer => (128, "bytes"),
        Dialect::H2 | Dialect::Sqlite => return,
    };
    let mut names: Vec<&str> = context
        .class
        .objects
        .iter()
        .filter(|object| object.kind != crate::ObjectKind::Other)
        .map(|object| object.name.as_str())
        .collect();
    for change in &context.class.changes {
        if let Change::AddColumn { column: name, .. }
        | Change::RenameColumn { to: name, .. }
        | Change::AddConstraint { name: Some(name), .. } = change
        {
            names.push(name);
        }
    }
    let length = |name: &str| if unit == "bytes" { name.len() } else { name.chars().count() };
    let long = names.into_iter().find(|name| length(name) > most).map(str::to_owned);
    if let Some(long) = long {
        let then = if context.dialect() == Dialect::Postgres { "cuts it in silence" } else { "refuses it" };
        let what = format!("{long} is longer than {most} {unit}: {} {then}; shorten it", context.dialect());
        let finding = context.finding(Rule::LongName, Severity::Error, what);
        context.push(finding);
    }
}

/// A `${name}` or `<name>` that is left, and whether it stands in quoted text.
fn placeholder(text: &str) -> Option<(String, bool)> {
    let mut quoted = None;
    for (mark, at) in marks(text) {
        let rest = text.get(at..).unwrap_or_default();
        match mark {
            Mark::Code | Mark::Name => {
                if let Some(found) = between(rest, "${", '}').or_else(|| between(rest, "<", '>')) {
                    return Some((found, false));
                }
            }
            Mark::Text => {
                if quoted.is_none() {
                    quoted = between(rest, "${", '}');
                }
            }
        }
    }
    quoted.map(|found| (found, true))
}

/// The words between two marks, where they begin here and hold letters, digits, `_`, `.`, `-`, `:` only.
fn between(rest: &str, open: &str, close: char) -> Option<String> {
    let inside = rest.strip_prefix(open)?;
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '-' | ':'))?;
    let first = inside.chars().next()?;
    let closed = inside.get(end..)?.starts_with(close);
    // a type of one letter, as in `a <b> c`, is no placeholder
    let long = end > 2;
    (closed && first.is_ascii_alphabetic() && long)
        .then(|| rest.get(..open.len() + end + 1).unwrap_or_default().to_owned())
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Mark {
    Code,
    Name,
    Text,
}

/// Each `$` and `<` outside of comments, and what it stands in.
fn marks(text: &str) -> Vec<(Mark, usize)> {
    let mut found = Vec::new();
    walk(text, |mark, at, byte| {
        if byte == b'$' || byte == b'<' {
            found.push((mark, at));
        }
    });
    found
}

/// The text without comments and quoted text.
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    walk(text, |mark, _, byte| {
        if mark == Mark::Code {
            bytes.push(byte);
        }
    });
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every byte outside of comments, with what it stands in. Quotes belong to the code.
fn walk(text: &str, mut see: impl FnMut(Mark, usize, u8)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut mark = Mark::Code;
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        match (mark, byte) {
            (Mark::Code, b'-') if next == Some(b'-') => {
                while bytes.get(at).is_some_and(|&byte| byte != b'\n') {
                    at += 1;
                }
                continue;
            }
            (Mark::Code, b'/') if next == Some(b'*') => {
                at += 2;
                while at < bytes.len() && !(bytes.get(at) == Some(&b'*') && bytes.get(at + 1) == Some(&b'/')) {
                    at += 1;
                }
                at += 2;
                continue;
            }
            (Mark::Code, b'\'') => mark = Mark::Text,
            (Mark::Text, b'\'') => mark = Mark::Code,
            (Mark::Code, b'"') => mark = Mark::Name,
            (Mark::Name, b'"') => mark = Mark::Code,
            _ => {
                see(mark, at, byte);
                at += 1;
                continue;
            }
        }
        at += 1;
    }
}
