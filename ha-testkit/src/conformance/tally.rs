use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Breach, Verdict};

/// Counts what became of the cases of one suite on one fixture, and prints it when the last has ended; under cargo-nextest,
/// which gives each case a process of its own, after each.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::balancer::{CASES, FakeFixture, check};
/// use ha_testkit::conformance::Tally;
///
/// // What `conformance!` makes a test of, for each case.
/// static TALLY: Tally = Tally::new("balancer", CASES.len(), &[]);
/// check(&TALLY, &FakeFixture::new(), "a_state_set_twice_is_applied_once");
/// ```
#[derive(Debug)]
pub struct Tally {
    suite: &'static str,
    cases: usize,
    may_skip: &'static [&'static str],
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    held: usize,
    breached: usize,
    skipped: BTreeMap<&'static str, usize>,
}

/// No case may take longer.
const LIMIT: Duration = Duration::from_secs(120);

impl Tally {
    /// Counts this many cases of `suite`; they may be skipped for these reasons only.
    pub const fn new(suite: &'static str, cases: usize, may_skip: &'static [&'static str]) -> Self {
        let seen = Seen { held: 0, breached: 0, skipped: BTreeMap::new() };
        Self { suite, cases, may_skip, seen: Mutex::new(seen) }
    }

    /// Runs one case in a runtime of its own, counts it, and fails the test where the contract is broken.
    ///
    /// # Panics
    /// On a breach, on a skip that was not announced, and after 120 s.
    #[allow(clippy::panic, reason = "a broken contract fails the test")]
    pub fn check<F>(&self, fixture: &str, case: &str, run: F)
    where
        F: Future<Output = Result<Verdict, Breach>>,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let ended = match runtime {
            Ok(runtime) => runtime.block_on(async {
                let late = Breach::new(format!("the case did not end in {LIMIT:?}"));
                tokio::time::timeout(LIMIT, run).await.unwrap_or(Err(late))
            }),
            Err(error) => Err(error.into()),
        };
        let ended = match ended {
            Ok(Verdict::Skipped(reason)) if !self.may_skip.contains(&reason) => {
                Err(Breach::new(format!("skipped, which was not announced: add {reason:?} to skips")))
            }
            ended => ended,
        };
        self.count(fixture, ended.as_ref().ok().copied());
        if let Err(breach) = ended {
            panic!("{fixture} breaks {case}: {breach}");
        }
    }

    fn count(&self, fixture: &str, verdict: Option<Verdict>) {
        // This process runs one case; the lines of all of them are counted by whoever started the run.
        if std::env::var_os("NEXTEST").is_some() {
            let ended = match verdict {
                Some(Verdict::Held) => "held".to_string(),
                Some(Verdict::Skipped(reason)) => format!("skipped ({reason})"),
                None => "breached".to_string(),
            };
            crate::figures!("{} conformance of {fixture}: {ended}", self.suite);
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match verdict {
            Some(Verdict::Held) => seen.held += 1,
            Some(Verdict::Skipped(reason)) => *seen.skipped.entry(reason).or_default() += 1,
            None => seen.breached += 1,
        }
        let skipped: usize = seen.skipped.values().sum();
        if seen.held + seen.breached + skipped == self.cases {
            let reasons: Vec<String> = seen.skipped.iter().map(|(reason, times)| format!("{times} {reason}")).collect();
            let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
            crate::figures!(
                "{} conformance of {fixture}: {} cases, {} held, {skipped} skipped{reasons}, {} breached",
                self.suite,
                self.cases,
                seen.held,
                seen.breached
            );
        }
    }
}
