//! Tables of `deployment.toml` with their lines, and the references in their values.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{DatasourceError, Location};

/// How often a reference may lead to another one.
const LONGEST_WAY: usize = 8;

/// A file that is open.
pub(super) struct File<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) root: DeTable<'a>,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> File<'a> {
    pub(super) fn open(
        name: &'a str,
        text: &'a str,
        env: &'a dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, DatasourceError> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Self { name, text, root: root.into_inner(), env }),
            // its message may quote the text, which may be a password
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(text, span.start));
                Err(DatasourceError::new(
                    name,
                    line,
                    "",
                    "this is no TOML: look for an open quote or a key that is there twice",
                ))
            }
        }
    }

    pub(super) fn at(&self, offset: usize) -> Location {
        Location { file: self.name.to_owned(), line: line_of(self.text, offset) }
    }

    pub(super) fn error(&self, offset: usize, key: impl Into<String>, what: impl Into<String>) -> DatasourceError {
        DatasourceError::new(self.name, self.at(offset).line, key, what)
    }

    /// A plain value as text.
    pub(super) fn scalar(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, DatasourceError> {
        plain(value.get_ref()).ok_or_else(|| self.error(value.span().start, key, "is a table or list: write one value"))
    }

    /// A plain value with its `$env{NAME}` and `$ref{a.b}` filled in.
    pub(super) fn filled(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, DatasourceError> {
        let offset = value.span().start;
        let mut text = self.scalar(key, value)?;
        for _ in 0..LONGEST_WAY {
            let Some((begin, end)) = reference(&text) else { return Ok(text) };
            let (kind, name) = text.get(begin + 1..end).and_then(|inside| inside.split_once('{')).unwrap_or_default();
            let filled = match kind {
                "env" => (self.env)(name).ok_or_else(|| {
                    self.error(
                        offset,
                        key,
                        format!("the environment variable {name} is not set here: set it for this process too"),
                    )
                })?,
                "ref" => self.lookup(name).ok_or_else(|| {
                    self.error(
                        offset,
                        key,
                        format!("$ref{{{name}}} leads to no value of this file: name table and key"),
                    )
                })?,
                _ => {
                    let what =
                        format!("${kind}{{{name}}} is known to the server only: write the value, or $env{{NAME}}");
                    return Err(self.error(offset, key, what));
                }
            };
            text.replace_range(begin..=end, &filled);
            if text.len() > self.text.len().saturating_add(65_536) {
                break;
            }
        }
        Err(self.error(offset, key, "its references lead to each other without end: write the value"))
    }

    /// The value of `database.shared_db.url`.
    fn lookup(&self, path: &str) -> Option<String> {
        let mut parts = path.split('.');
        let mut value = self.root.get(parts.next()?)?.get_ref();
        for part in parts {
            let DeValue::Table(table) = value else { return None };
            value = table.get(part)?.get_ref();
        }
        plain(value)
    }
}

fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.as_ref().to_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The first `$word{...}`, from its `$` to its `}`.
fn reference(text: &str) -> Option<(usize, usize)> {
    for (begin, _) in text.match_indices('$') {
        let rest = text.get(begin + 1..)?;
        let Some(open) = rest.find('{') else { continue };
        let word = rest.get(..open).unwrap_or_default();
        if ["env", "ref", "secret", "sys"].contains(&word)
            && let Some(close) = rest.find('}')
        {
            return Some((begin, begin + 1 + close));
        }
    }
    None
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count() + 1
}
