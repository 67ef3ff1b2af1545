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

/// Makes a suite of the paths of its cases: their type, their list, and the macro by which
/// [`conformance!`](crate::conformance!) makes a test of each.
macro_rules! suite {
    ($(#[$doc:meta])* $suite:ident on $fixture:ident, listed by $list:ident: $($module:ident :: $case:ident)*) => {
        $(#[$doc])*
        pub type Case = super::Case<dyn $fixture>;

        /// All cases.
        pub const CASES: &[Case] =
            &[$(Case::new(stringify!($case), |fixture| Box::pin($module::$case(fixture)))),*];

        /// Runs one case by its name, for [`conformance!`](crate::conformance!).
        ///
        /// # Panics
        /// As [`Tally::check`](super::Tally::check).
        pub fn check(tally: &super::Tally, fixture: &(dyn $fixture + 'static), case: &str) {
            super::case::check(tally, CASES, (fixture, fixture.name()), case);
        }

        /// Makes a test of each case.
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $list {
            ($tests:tt) => {
                $crate::__conformance_tests! { $suite $tests $($case)* }
            };
        }
    };
}
pub(super) use suite;

/// Makes one test of every case of a suite, on the fixture that the expression gives.
///
/// The suites are `balancer`, `membership`, `host`, `probe`, `files`, `exposure`, `artifacts`, `database`, `clone`, `provisioner`, `workload`,
/// `fence`, `replica`, `site_switch` and `requests`. Cases may be skipped for the reasons in `skips` only. When the last has ended it prints how
/// many held and how many were skipped, and why; a test
/// runner with a process for each test prints a line for each case instead. Once a module.
///
/// # Examples
///
/// ```no_run
/// mod balancers {
///     use ha_testkit::conformance::balancer::FakeFixture;
///
///     // Both could be given: `FakeFixture` can do everything, and nothing is skipped.
///     ha_testkit::conformance!(balancer, FakeFixture::new(), skips = []);
/// }
///
/// mod probes {
///     use ha_testkit::conformance::probe::FakeProbeFixture;
///
///     ha_testkit::conformance!(probe, FakeProbeFixture::new(), skips = ["fixture: hung"]);
/// }
/// ```
#[macro_export]
macro_rules! conformance {
    ($suite:ident, $fixture:expr $(,)?) => {
        $crate::conformance!($suite, $fixture, skips = []);
    };
    (balancer, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__balancer_cases! { [($fixture) $skips] }
    };
    (clone, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__clone_cases! { [($fixture) $skips] }
    };
    (membership, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__membership_cases! { [($fixture) $skips] }
    };
    (host, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__host_cases! { [($fixture) $skips] }
    };
    (probe, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__probe_cases! { [($fixture) $skips] }
    };
    (files, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__files_cases! { [($fixture) $skips] }
    };
    (exposure, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__exposure_cases! { [($fixture) $skips] }
    };
    (artifacts, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__artifacts_cases! { [($fixture) $skips] }
    };
    (database, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__database_cases! { [($fixture) $skips] }
    };
    (fence, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__fence_cases! { [($fixture) $skips] }
    };
    (replica, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__replica_cases! { [($fixture) $skips] }
    };
    (site_switch, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__site_switch_cases! { [($fixture) $skips] }
    };
    (requests, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__requests_cases! { [($fixture) $skips] }
    };
    (provisioner, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__provisioner_cases! { [($fixture) $skips] }
    };
    (workload, $fixture:expr, skips = $skips:tt $(,)?) => {
        $crate::__workload_cases! { [($fixture) $skips] }
    };
}

/// Makes the tests of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($suite:ident [($fixture:expr) [$($reason:expr),* $(,)?]] $($case:ident)*) => {
        static CONFORMANCE: $crate::conformance::Tally = $crate::conformance::Tally::new(
            stringify!($suite),
            $crate::conformance::$suite::CASES.len(),
            &[$($reason),*],
        );
        $(
            #[test]
            fn $case() {
                $crate::conformance::$suite::check(&CONFORMANCE, &$fixture, stringify!($case));
            }
        )*
    };
}
