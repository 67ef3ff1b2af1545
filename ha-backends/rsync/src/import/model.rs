use std::time::Duration;

use super::cron::Trigger;
use super::finding::{Finding, Place};

/// What a crontab, its scripts and its lists say about the sharing of files.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Imported {
    /// What starts copies, in the order of the files.
    pub jobs: Vec<Job>,
    /// What is copied where, each once.
    pub edges: Vec<Edge>,
    /// What is unsafe or not understood, by file and line.
    pub findings: Vec<Finding>,
}

/// A line that starts copies, on the writer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Job {
    /// Where it is written.
    pub at: Place,
    /// What starts it.
    pub trigger: Trigger,
    /// The account that it runs as, where the line says that.
    pub account: Option<String>,
    /// The command, as the shell gets it.
    pub command: String,
    /// The scripts that it runs, of those that were given.
    pub scripts: Vec<String>,
    /// What keeps a second run away, the first one taken first.
    pub locks: Vec<Lock>,
    /// Whether the line is a comment: somebody holds the copies, or has given them up.
    pub is_held: bool,
}

/// What keeps a second run away, or is meant to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Lock {
    /// How it is taken.
    pub kind: LockKind,
    /// The file or folder, as far as it is known.
    pub path: String,
    /// Where it is taken.
    pub at: Place,
}

/// How a lock is taken.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum LockKind {
    /// `flock`, or what works as it does: it ends with the process.
    Flock,
    /// A folder or file that only one run can make: it outlives a killed run.
    Exclusive,
    /// A file that is tested and then made: two runs can do both.
    TestThenSet,
    /// `flock` that does not wait, and nothing reads whether it went well.
    Unread,
}

/// One end of a copy.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct End {
    /// The account.
    pub user: Option<String>,
    /// The host; `None` for the machine that the job runs on.
    pub host: Option<String>,
    /// The path, as rsync gets it.
    pub path: String,
}

/// One folder that is copied to one place.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Edge {
    /// Where rsync is called.
    pub at: Place,
    /// The line of the list that names the destination.
    pub listed_at: Option<Place>,
    /// Where from.
    pub source: End,
    /// Where to.
    pub destination: End,
    /// The patterns that are left out.
    pub excludes: Vec<String>,
    /// The remote shell and its arguments; empty where none is named.
    pub rsh: Vec<String>,
    /// The options, without those that the other fields hold.
    pub options: Vec<String>,
    /// Whether files are deleted that the source does not have.
    pub deletes: bool,
    /// How many files a run may delete.
    pub max_delete: Option<u32>,
    /// After how long a silence rsync gives up.
    pub timeout: Option<Duration>,
}

impl End {
    /// Reads `path`, `host:path` or `user@host:path`, as rsync does: a colon behind a slash is a part of a path.
    ///
    /// `None` where the host or the account has letters that none has, or the path is missing; and for daemons (`::`,
    /// `rsync://`).
    pub fn parse(text: &str) -> Option<Self> {
        let bracketed = text.find(']').filter(|_| text.contains('['));
        let colon = text[bracketed.unwrap_or(0)..].find(':').map(|at| at + bracketed.unwrap_or(0));
        let Some((remote, path)) =
            colon.filter(|at| !text[..*at].contains('/')).map(|at| (&text[..at], &text[at + 1..]))
        else {
            let is_path = !text.is_empty() && !text.starts_with('-') && !text.contains(['\n', '\r']);
            return is_path.then(|| Self { user: None, host: None, path: text.into() });
        };
        let (user, host) = match remote.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, remote),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let letters = |text: &str, also: &str| {
            let fits = |char: char| char.is_ascii_alphanumeric() || also.contains(char);
            !text.is_empty() && !text.starts_with('-') && text.chars().all(fits)
        };
        let is_host = bare.map_or_else(|| letters(host, "._-"), |bare| letters(bare, ":.%"));
        let is_user = user.is_none_or(|user| letters(user, "._-"));
        let is_path = !path.is_empty() && !path.starts_with([':', '-']) && !path.contains(char::is_whitespace);
        let end = || Self { user: user.map(Into::into), host: Some(bare.unwrap_or(host).into()), path: path.into() };
        (is_host && is_user && is_path && !text.starts_with("rsync://")).then(end)
    }

    /// Returns the path without slashes at its end.
    pub(super) fn folder(&self) -> &str {
        let bare = self.path.trim_end_matches('/');
        bare.strip_suffix("/.").unwrap_or(bare)
    }
}

impl Edge {
    /// Returns the folder that becomes what the source is: below the destination's path, where the source has no slash at its
    /// end.
    pub fn target(&self) -> String {
        let source = &self.source.path;
        let last = source.rsplit('/').next().unwrap_or_default();
        if last.is_empty() || last == "." {
            self.destination.folder().into()
        } else {
            format!("{}/{last}", self.destination.folder())
        }
    }

    /// Tells whether the node that gets the files fetches them.
    pub fn is_pull(&self) -> bool {
        self.source.host.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_read_as_rsync_reads_them() {
        let shown = |text: &str| {
            let end = End::parse(text)?;
            Some(format!("{}|{}|{}", end.user.unwrap_or_default(), end.host.unwrap_or_default(), end.path))
        };
        for (text, expected) in [
            ("wso2@10.0.0.2:/opt/esb", "wso2|10.0.0.2|/opt/esb"),
            ("esb2:/opt/esb/", "|esb2|/opt/esb/"),
            ("wso2@[fd00::2]:/opt", "wso2|fd00::2|/opt"),
            ("/opt/a:b", "||/opt/a:b"),
            ("esb2", "||esb2"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "esb2:",
            "esb2::module",
            "rsync://esb2/x",
            "@esb2:/x",
            "a b:/x",
            "-oProxyCommand=x:/y",
            "w@-x:/y",
            "h:/a b",
            "é:/x",
            "[::1:/x",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
