use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::tally::Tally;
use super::verdict::{Breach, Done, Stop, Verdict};

/// One case of a suite: a sentence that must be true of everything that the suite is about, seen through a fixture `F`.
pub struct Case<F: ?Sized + 'static> {
    name: &'static str,
    run: Run<F>,
}

/// Runs a case on a fixture.
type Run<F> = for<'a> fn(&'a F) -> Running<'a>;
pub(super) type Running<'a> = Pin<Box<dyn Future<Output = Done> + Send + 'a>>;

impl<F: ?Sized> Case<F> {
    pub(super) const fn new(name: &'static str, run: Run<F>) -> Self {
        Self { name, run }
    }

    /// Returns the sentence, with underscores.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it on a fresh subject.
    ///
    /// # Errors
    /// What is broken.
    pub async fn run(&self, fixture: &F) -> Result<Verdict, Breach> {
        match (self.run)(fixture).await {
            Ok(()) => Ok(Verdict::Held),
            Err(Stop::Skipped(reason)) => Ok(Verdict::Skipped(reason)),
            Err(Stop::Breach(breach)) => Err(breach),
        }
    }
}

impl<F: ?Sized> fmt::Debug for Case<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Runs the case called `name` of a suite and notes what became of it.
///
/// # Panics
/// As [`Tally::check`].
pub(super) fn check<F: ?Sized>(tally: &Tally, cases: &[Case<F>], fixture: (&F, String), name: &str) {
    let (fixture, subject) = fixture;
    let found = cases.iter().find(|case| case.name == name);
    tally.check(&subject, name, async {
        match found {
            Some(found) => found.run(fixture).await,
            None => Err(Breach::new("there is no such case")),
        }
    });
}

/// Makes the list of cases of a suite out of the paths of their functions.
macro_rules! table {
    ([] $($module:ident :: $case:ident)*) => {
        &[$(Case::new(stringify!($case), |fixture| Box::pin($module::$case(fixture)))),*]
    };
}
pub(super) use table;
