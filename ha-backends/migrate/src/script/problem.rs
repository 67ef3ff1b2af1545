use std::fmt;

use super::{NameError, Phase, Version};
use crate::split::DecodeError;

/// Something that is wrong with a script file.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Problem {
    /// The file, below the folder that was loaded.
    pub file: String,
    /// The line, from 1, where there is one.
    pub line: Option<usize>,
    /// What is wrong.
    pub kind: ProblemKind,
}

/// What is wrong with a script file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Two scripts have one version.
    #[error("version {version} is that of {other}, too: give one of them the next free version")]
    DuplicateVersion {
        /// The version.
        version: Version,
        /// The other file.
        other: String,
    },
    /// Two repeatable scripts have one description.
    #[error("its description is that of {other}, too: rename one of them")]
    DuplicateDescription {
        /// The other file.
        other: String,
    },
    /// An undo script whose versioned script is not there.
    #[error("there is no script of version {version} to undo: rename it, or add that script")]
    NothingToUndo {
        /// The version.
        version: Version,
    },
    /// Its name is none of a script.
    #[error(transparent)]
    Name(NameError),
    /// Its bytes are not text in UTF-8.
    #[error("byte {}: {}", .0.offset, .0.what)]
    Encoding(DecodeError),
    /// It is larger than the limit.
    #[error("{bytes} bytes, more than the limit of {limit}: split it, load data otherwise, or raise the limit")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A comment of its header is not understood.
    #[error("{0}")]
    Header(String),
    /// Its header and its folder name different phases.
    #[error("its header says {header}, its folder {folder}: move the file, or change the comment ha:phase")]
    Phase {
        /// The phase in the header.
        header: Phase,
        /// The phase of the folder.
        folder: Phase,
    },
    /// A placeholder has no value.
    #[error("the placeholder {0:?} has no value: give it one, or turn placeholders off")]
    Placeholder(String),
    /// There is no file for the dialect where one is needed.
    #[error("there is no file for this database, of {}: name its dialect, or add the file", if found.is_empty() { "none".into() } else { found.join(", ") })]
    NoFileForDialect {
        /// The files that are there.
        found: Vec<String>,
    },
    /// The file or folder could not be read.
    #[error("cannot be read: {0}")]
    Io(String),
}

/// Scripts that cannot be used: everything that is wrong with them.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{} in the scripts:{}", count(problems.len()), problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
#[non_exhaustive]
pub struct LoadError {
    /// What is wrong, in the order of the files.
    pub problems: Vec<Problem>,
}

fn count(problems: usize) -> String {
    if problems == 1 { "1 problem".into() } else { format!("{problems} problems") }
}

impl Problem {
    pub(super) fn new(file: &str, line: Option<usize>, kind: ProblemKind) -> Self {
        Self { file: file.into(), line, kind }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.kind),
            None => write!(f, "{}: {}", self.file, self.kind),
        }
    }
}
