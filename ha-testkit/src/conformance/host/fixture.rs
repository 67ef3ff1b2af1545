use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::Host;

use crate::conformance::Breach;

/// The release that a fresh server is installed in.
pub const RELEASE: &str = "1.0";

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ability {
    /// Its hosts run an [`Act`](super::Act): they have a `/bin/sh`, or act as if.
    Commands,
    /// Its hosts reach files: `files` is `Some`.
    Files,
    /// Its hosts refuse lower epochs. A host that claims to be guarded must.
    Fences,
    /// Brings about this condition.
    Be(Condition),
    /// Breaks every connection to the host while calls are under way, and lets new ones through.
    CutLink,
    /// Takes the host's power away and gives it back: no process is left.
    PowerCycle,
}

impl Ability {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Commands => "fixture: commands",
            Self::Files => "fixture: files",
            Self::Fences => "fixture: fences",
            Self::Be(Condition::Uninstalled) => "fixture: uninstalled",
            Self::Be(Condition::BrokenVersion) => "fixture: broken version",
            Self::Be(Condition::PidFile(_)) => "fixture: pid file",
            Self::Be(Condition::Unreachable) => "fixture: unreachable",
            Self::Be(Condition::Hung) => "fixture: hung",
            Self::CutLink => "fixture: cut link",
            Self::PowerCycle => "fixture: power cycle",
        }
    }
}

/// What may be the matter with a host or its server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Condition {
    /// The server's home is gone.
    Uninstalled,
    /// The server's version command fails.
    BrokenVersion,
    /// The server's pid file says this.
    PidFile(PidFile),
    /// Nobody listens. The values that the subject gave away before may notice late.
    Unreachable,
    /// Calls are taken and never answered.
    Hung,
}

/// What a pid file says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PidFile {
    /// The number of a process that is gone.
    Stale,
    /// The number of a living process that is not the server.
    Stranger,
    /// The number of the running server, with NUL bytes after it.
    Padded,
}

/// What is at a path of a host, seen by another route.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Found {
    /// A file with this content and these permission bits.
    File(Vec<u8>, u32),
    /// A link with this target.
    Link(String),
    /// A directory.
    Directory,
}

/// Builds subjects: hosts of a kind, each with a server of its own.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: Ability) -> bool;

    /// Builds a host that nobody else sees, with a server installed in [`RELEASE`] that is stopped and never ran. It starts
    /// and stops within a few seconds, and no epoch was seen there.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self) -> Result<Box<dyn Subject>, Breach>;
}

/// One host under test with its truth. Dropping it ends all that was started for it, the server included.
///
/// Nothing here may go through the host value under test, [`host`](Self::host) and [`another`](Self::another) excepted. A
/// method whose [`Ability`] the fixture denies is never called; it returns a breach.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Returns the value under test; always the same.
    fn host(&self) -> Arc<dyn Host>;

    /// Returns a new value for the same server, as another controller would have, with nothing in common but the host.
    fn another(&self) -> Arc<dyn Host>;

    /// Returns the server's home, as the host names it: an absolute path. Commands run there.
    fn home(&self) -> String;

    /// Reads which lives of the server there are, two when it was started twice: any text that names a life.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn lives(&self) -> Result<Vec<String>, Breach>;

    /// Reads what is at an absolute path of the host. Needs [`Ability::Commands`] or [`Ability::Files`].
    ///
    /// # Errors
    /// When it cannot be read.
    async fn look(&self, path: &str) -> Result<Option<Found>, Breach>;

    /// Puts this at an absolute path whose directory exists.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn place(&self, path: &str, what: Found) -> Result<(), Breach>;

    /// Brings about a condition.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn be(&self, condition: Condition) -> Result<(), Breach>;

    /// Ends `Unreachable` and `Hung`.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn heal(&self) -> Result<(), Breach>;

    /// Tells whether the stranger of [`PidFile::Stranger`] lives, untouched.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn stranger_lives(&self) -> Result<bool, Breach>;

    /// Breaks every connection now; new ones get through.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn cut_link(&self) -> Result<(), Breach>;

    /// Takes the power away and gives it back.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn power_cycle(&self) -> Result<(), Breach>;
}
