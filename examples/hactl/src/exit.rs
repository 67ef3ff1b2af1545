use std::fmt;
use std::process::ExitCode;

/// How a command ended, for whoever called it. The codes are stable.
///
/// # Examples
///
/// ```
/// use hactl::Exit;
///
/// assert_eq!((Exit::Refused.code(), Exit::Refused.name()), (5, "refused"));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// 0.
    Done = 0,
    /// 1.
    Internal = 1,
    /// 2.
    Usage = 2,
    /// 3.
    BadFile = 3,
    /// 4.
    NotFound = 4,
    /// 5.
    Refused = 5,
    /// 6.
    NotReady = 6,
    /// 7.
    RolledBack = 7,
    /// 8.
    NeedsOperator = 8,
    /// 9.
    LeaseHeld = 9,
    /// 10.
    Unreachable = 10,
    /// 11.
    Journal = 11,
    /// 12.
    Output = 12,
    /// 13.
    NotConfirmed = 13,
    /// 14.
    Unhealthy = 14,
    /// 15.
    NotTaken = 15,
    /// 130.
    Abandoned = 130,
}

impl Exit {
    /// All of them, by their codes.
    pub const ALL: [Self; 17] = [
        Self::Done,
        Self::Internal,
        Self::Usage,
        Self::BadFile,
        Self::NotFound,
        Self::Refused,
        Self::NotReady,
        Self::RolledBack,
        Self::NeedsOperator,
        Self::LeaseHeld,
        Self::Unreachable,
        Self::Journal,
        Self::Output,
        Self::NotConfirmed,
        Self::Unhealthy,
        Self::NotTaken,
        Self::Abandoned,
    ];

    /// Returns the code of the process.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Names the class, as JSON does.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// Says what it means.
    pub fn meaning(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Done => ("done", "done as asked; there was nothing to do; all is well"),
            Self::Internal => ("internal", "an error of this program; report it"),
            Self::Usage => ("usage", "the command line is wrong"),
            Self::BadFile => ("bad-file", "a file cannot be read, or what it says is wrong"),
            Self::NotFound => ("not-found", "no such run, node, site or schema"),
            Self::Refused => ("refused", "the plan would break the law; nothing was changed"),
            Self::NotReady => ("not-ready", "the cluster, or what the change needs, is not ready; nothing was changed"),
            Self::RolledBack => ("rolled-back", "the run ended with everything as it was before"),
            Self::NeedsOperator => ("needs-operator", "a run is not at its end and waits for a person"),
            Self::LeaseHeld => ("lease-held", "another controller acts on the cluster, or took it over"),
            Self::Unreachable => ("unreachable", "part of the cluster could not be seen; nothing was changed"),
            Self::Journal => ("journal", "the journal cannot be used, or failed"),
            Self::Output => ("output", "the result cannot be written"),
            Self::NotConfirmed => ("not-confirmed", "nobody confirmed; nothing was changed"),
            Self::Unhealthy => ("unhealthy", "the doctor has found something"),
            Self::NotTaken => ("not-taken", "a request to a run was refused, or nobody has taken it yet"),
            Self::Abandoned => {
                ("abandoned", "interrupted twice, or before a run was followed: what is under way is not known")
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Lists the codes as `--help` shows them.
pub(crate) fn table() -> String {
    let line = |exit: &Exit| format!("  {:>3}  {}\n", exit.code(), exit.meaning());
    format!("Exit codes:\n{}", Exit::ALL.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_own_code_and_name_and_the_readme_lists_them() {
        let readme = include_str!("../README.md");
        let page = include_str!("../../../ha-core/src/manual/three_in_the_morning.md");
        for (place, exit) in Exit::ALL.iter().enumerate() {
            let others = &Exit::ALL[place + 1..];
            assert!(others.iter().all(|other| other.code() > exit.code() && other.name() != exit.name()), "{exit}");
            let row = format!("| {} | `{exit}` | {} |", exit.code(), exit.meaning());
            assert!(readme.contains(&row), "{row}");
            let row = format!("\n| {} | `{exit}` |", exit.code());
            assert!(page.contains(&row), "{row}");
        }
    }
}
