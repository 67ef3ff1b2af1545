use std::error::Error;
use std::fmt;
use std::fmt::Debug;

use ha_core::backend::{Effect, ErrorKind, StepError};

/// What became of one case that found nothing wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The contract held.
    Held,
    /// It was not put to the test: the subject does not claim this, or the fixture cannot do that. Never said in silence.
    Skipped(&'static str),
}

/// A broken contract, or a fixture that could not do its work, as text.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::Breach;
///
/// fn start() -> Result<std::net::TcpListener, Breach> {
///     Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?)
/// }
/// assert_eq!(Breach::new("the member does not get it").to_string(), "the member does not get it");
/// # drop(start());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Breach(String);

impl Breach {
    /// Says what is broken.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Breach {}

impl From<std::io::Error> for Breach {
    fn from(error: std::io::Error) -> Self {
        Self(format!("the fixture failed: {error}"))
    }
}

/// Why a case ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    Skipped(&'static str),
    Breach(Breach),
}

/// What a case returns.
pub(crate) type Done = Result<(), Stop>;

impl From<Breach> for Stop {
    fn from(breach: Breach) -> Self {
        Self::Breach(breach)
    }
}

impl From<StepError> for Stop {
    fn from(error: StepError) -> Self {
        breach(format!("a call failed that had to go well: {error}"))
    }
}

/// Makes a breach with this message.
pub(crate) fn breach(message: impl Into<String>) -> Stop {
    Stop::Breach(Breach::new(message))
}

/// Skips the case where a claim is not made.
pub(crate) fn needs(claimed: bool, claim: &'static str) -> Done {
    if claimed { Ok(()) } else { Err(Stop::Skipped(claim)) }
}

/// Breaches unless this holds.
pub(crate) fn ensure(holds: bool, message: impl FnOnce() -> String) -> Done {
    if holds { Ok(()) } else { Err(breach(message())) }
}

/// Breaches unless both are the same.
pub(crate) fn same<T: PartialEq + Debug>(what: impl fmt::Display, found: T, wanted: T) -> Done {
    ensure(found == wanted, || format!("{what}: found {found:?}, wanted {wanted:?}"))
}

/// Breaches unless the call was refused like this.
pub(crate) fn refused<T: Debug>(what: &str, answer: Result<T, StepError>, kind: ErrorKind, effect: Effect) -> Done {
    match answer {
        Ok(answer) => Err(breach(format!("{what}: answered {answer:?}, and had to fail with {kind:?}"))),
        Err(error) => same(format!("{what}: {error}"), (error.kind(), error.effect()), (kind, effect)),
    }
}
