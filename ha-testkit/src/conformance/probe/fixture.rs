use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::Probe;

use crate::conformance::Breach;

/// What a server that is not ready says, among other things.
pub const STARTING: &str = "starting";
/// What a failed business test says, among other things.
pub const FAILED: &str = "order 4711 came back empty";

/// The state of a server, as its probe meets it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Stance {
    /// It is ready and passes its test.
    Serving,
    /// It answers that it is not ready: [`STARTING`].
    NotReady,
    /// Nothing listens there.
    Closed,
    /// It is ready and its test fails: [`FAILED`].
    FailingTest,
    /// It is ready and its test never ends.
    HungTest,
    /// Its machine cannot be reached.
    Unreachable,
    /// It takes questions and never answers.
    Hung,
    /// It answers and does not stop.
    Endless,
    /// It answers byte by byte, too slowly for the deadline.
    Dribbled,
    /// It answers what nobody understands.
    Garbage,
    /// It begins the answer of a ready server and breaks off.
    Broken,
    /// It answers as ready and names no release.
    Nameless,
}

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ability {
    /// Puts the server into this state.
    Stance(Stance),
    /// Its servers say [`STARTING`] themselves.
    Message,
    /// Counts the questions that are open.
    Open,
}

impl Ability {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "fixture: message",
            Self::Open => "fixture: open questions",
            Self::Stance(Stance::Serving) => "fixture: serving",
            Self::Stance(Stance::NotReady) => "fixture: not ready",
            Self::Stance(Stance::Closed) => "fixture: closed",
            Self::Stance(Stance::FailingTest) => "fixture: failing test",
            Self::Stance(Stance::HungTest) => "fixture: hung test",
            Self::Stance(Stance::Unreachable) => "fixture: unreachable",
            Self::Stance(Stance::Hung) => "fixture: hung",
            Self::Stance(Stance::Endless) => "fixture: endless",
            Self::Stance(Stance::Dribbled) => "fixture: dribbled",
            Self::Stance(Stance::Garbage) => "fixture: garbage",
            Self::Stance(Stance::Broken) => "fixture: broken",
            Self::Stance(Stance::Nameless) => "fixture: nameless",
        }
    }
}

/// Builds subjects: probes of a kind, each with a server of its own.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::Verdict;
/// use ha_testkit::conformance::probe::{CASES, FakeProbeFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let mut skipped = Vec::new();
/// for case in CASES {
///     if let Verdict::Skipped(reason) = case.run(&FakeProbeFixture::new()).await.unwrap() {
///         skipped.push(reason);
///     }
/// }
/// assert!(skipped.contains(&"fixture: hung")); // a simulated server does not hang
/// # });
/// ```
#[async_trait]
pub trait ProbeFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant. Serving is never asked for: all can.
    fn can(&self, ability: Ability) -> bool;

    /// Builds a probe of a server that nobody else sees, which serves this release.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self, release: &str) -> Result<Box<dyn ProbeSubject>, Breach>;
}

/// One probe under test with its server. Dropping it ends all that was started for it.
///
/// A method whose [`Ability`] the fixture denies is never called; it returns a breach.
#[async_trait]
pub trait ProbeSubject: Send + Sync {
    /// Returns the value under test; always the same.
    fn probe(&self) -> Arc<dyn Probe>;

    /// Returns the deadline of one question, as the probe was told.
    fn deadline(&self) -> Duration;

    /// Puts the server into this state, with this release, before it returns. The state before is gone.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn set_stance(&self, stance: Stance, release: &str) -> Result<(), Breach>;

    /// Counts the questions that the server, or the machine, still works on.
    ///
    /// # Errors
    /// When they cannot be counted.
    async fn open(&self) -> Result<usize, Breach>;
}
