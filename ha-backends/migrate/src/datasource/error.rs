//! A configuration that cannot be read.

/// A configuration that cannot be read. Never holds a value that may be a password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{file}:{line}: {}{what}", if key.is_empty() { String::new() } else { format!("{key}: ") })]
#[non_exhaustive]
pub struct DatasourceError {
    /// The file, as it was named by the caller.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The key or element; empty for the whole file.
    pub key: String,
    /// What is wrong, and the fix.
    pub what: String,
}

impl DatasourceError {
    pub(super) fn new(file: &str, line: usize, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, key: key.into(), what: what.into() }
    }
}
