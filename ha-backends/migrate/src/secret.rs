//! Passwords by reference, never printed.

use std::fmt;

/// A password in memory; its `Debug` prints `***`.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Hands the password out, for the driver alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a password is read from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SecretRef {
    /// An environment variable of this process.
    Env(String),
    /// The first line of a file.
    File(std::path::PathBuf),
    /// What a command prints, without its last line end.
    Command(Vec<String>),
}
