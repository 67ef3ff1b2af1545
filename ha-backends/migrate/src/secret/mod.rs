//! Passwords by reference, never printed.

mod command;
mod redact;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt;

pub(crate) use redact::redact;

/// How long a command may take to print a password: 10 s.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(10);
/// How many bytes a command may print, or a file hold: 4 KiB.
pub const LONGEST: usize = 4096;

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
    /// What a command prints, without its last line end. The first is the program, and no shell is asked.
    Command(Vec<String>),
    /// An alias in the vault of a WSO2 server (`svns:secretAlias`, `$secret{alias}`), which only that server opens.
    Alias(String),
}

/// A password that cannot be read. Never holds what was read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The environment variable is not set, or is no text.
    #[error("the environment variable {name} {what}: set it to the password")]
    Env {
        /// The variable.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file cannot be read.
    #[error("the password file {} {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the fix.
        what: String,
    },
    /// The command did not print a password.
    #[error("the password command {program:?} {what}; run it by hand as this user")]
    Command {
        /// The program, without its arguments, which may hold secrets.
        program: String,
        /// What is wrong with it.
        what: String,
    },
    /// The alias is in the vault of a server.
    #[error(
        "the password is the alias {alias:?} in the server's vault, which only the server opens: give it by environment, file or \
         command"
    )]
    Alias {
        /// The alias.
        alias: String,
    },
}

impl SecretRef {
    /// Reads the password. Of a file the first line, of a command all it prints; both without the line end, at most
    /// [`LONGEST`] bytes.
    ///
    /// # Errors
    /// [`SecretError`]: it is not there, empty, no UTF-8, too long; a command that fails or takes longer than
    /// [`COMMAND_DEADLINE`] is killed with its process group; an alias is never read.
    /// # Cancel safety
    /// Cancel safe: a command under way is killed with its process group.
    ///
    /// ```no_run
    /// # async fn read() -> Result<(), ha_migrate::SecretError> {
    /// use ha_migrate::SecretRef;
    ///
    /// let password = SecretRef::File("/run/secrets/shared_db".into()).read().await?;
    /// assert_eq!(format!("{password:?}"), "***");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Env(name) => {
                let fail = |what| SecretError::Env { name: name.clone(), what };
                let value = std::env::var_os(name).ok_or_else(|| fail("is not set"))?;
                let value = value.into_string().map_err(|_| fail("is no UTF-8"))?;
                if value.is_empty() { Err(fail("is empty")) } else { Ok(Secret(value)) }
            }
            Self::File(path) => file(path).await,
            Self::Command(argv) => command::read(argv).await,
            Self::Alias(alias) => Err(SecretError::Alias { alias: alias.clone() }),
        }
    }
}

async fn file(path: &Path) -> Result<Secret, SecretError> {
    let fail = |what: String| SecretError::File { path: path.to_owned(), what };
    let unreadable = |error: std::io::Error| fail(format!("cannot be read ({error}): let this user read it"));
    let meta = tokio::fs::metadata(path).await.map_err(unreadable)?;
    if meta.is_dir() {
        return Err(fail("is a directory: name the file in it".into()));
    }
    let opened = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
    opened.take(most).read_to_end(&mut bytes).await.map_err(unreadable)?;
    let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = first.strip_suffix(b"\r").unwrap_or(first);
    if line.len() > LONGEST || (bytes.len() > LONGEST && !bytes.contains(&b'\n')) {
        return Err(fail(format!("has more than {LONGEST} bytes in its first line: is it the right file?")));
    }
    if line.is_empty() {
        return Err(fail("has an empty first line: write the password there".into()));
    }
    match std::str::from_utf8(line) {
        Ok(line) => Ok(Secret(line.to_owned())),
        Err(_) => Err(fail("is no UTF-8: write the password as UTF-8".into())),
    }
}
