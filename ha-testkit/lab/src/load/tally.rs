use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::client::Served;

/// How a request failed, as the client saw it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The connection was refused.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection ended before the answer began.
    EofBeforeAnswer,
    /// The answer ended before it was whole.
    Truncated,
    /// A status from 500 on.
    Status5xx,
    /// A status that is neither 200 nor from 500 on.
    OtherStatus,
    /// No whole answer came in time.
    Timeout,
    /// A whole answer with the wrong content.
    WrongBody,
    /// Anything else.
    Other,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::EofBeforeAnswer => "end of stream before the answer",
            Self::Truncated => "truncated answer",
            Self::Status5xx => "status 5xx",
            Self::OtherStatus => "other status",
            Self::Timeout => "timeout",
            Self::WrongBody => "wrong body",
            Self::Other => "other",
        })
    }
}

/// Counts so far.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Requests sent.
    pub sent: u64,
    /// Whole, right answers.
    pub ok: u64,
    /// Failures by kind.
    pub failed: BTreeMap<FailureKind, u64>,
    /// Whole, right answers by the second word of their body: the release that gave them.
    pub by_release: BTreeMap<String, u64>,
    /// Answers that replaced the cookie a request carried by another one: the client was moved to another server.
    #[serde(skip_serializing_if = "is_zero")]
    pub moved: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Snapshot {
    /// Counts all failures.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// What a load has seen.
///
/// # Examples
///
/// ```
/// use ha_lab::load::LoadReport;
///
/// fn line(report: &LoadReport) -> String {
///     let counts = &report.counts;
///     format!("{} sent, {} failed {:?}, p99 {} us", counts.sent, counts.failures(), counts.failed, report.p99_us)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LoadReport {
    /// The counts; every request sent is answered or failed.
    #[serde(flatten)]
    pub counts: Snapshot,
    /// Median latency in microseconds, from the moment a request was due (in a closed loop: was sent) to the end of its
    /// answer; failures included.
    pub p50_us: u64,
    /// The 99th percentile of the same.
    pub p99_us: u64,
    /// The largest of the same.
    pub max_us: u64,
    /// Milliseconds from the start to the first failure.
    pub first_failure_ms: Option<u64>,
    /// Milliseconds from the start to the last failure.
    pub last_failure_ms: Option<u64>,
}

/// Latencies beyond ten minutes count as ten minutes.
const LONGEST_US: u64 = 600_000_000;

#[derive(Debug)]
pub(super) struct Tally {
    counts: Snapshot,
    latency: Histogram<u64>,
    first_failure: Option<Duration>,
    last_failure: Option<Duration>,
}

impl Tally {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let latency = Histogram::new_with_bounds(1, LONGEST_US, 3)?;
        Ok(Self { counts: Snapshot::default(), latency, first_failure: None, last_failure: None })
    }

    pub(super) fn sent(&mut self) {
        self.counts.sent += 1;
    }

    pub(super) fn ended(&mut self, at: Duration, latency: Duration, outcome: Result<Served, FailureKind>) {
        self.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        match outcome {
            Ok(served) => {
                self.counts.ok += 1;
                self.counts.moved += u64::from(served.moved);
                *self.counts.by_release.entry(served.release).or_default() += 1;
            }
            Err(kind) => {
                *self.counts.failed.entry(kind).or_default() += 1;
                self.first_failure.get_or_insert(at);
                self.last_failure = Some(at);
            }
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.counts.clone()
    }

    pub(super) fn report(&self) -> LoadReport {
        let ms = |at: Duration| u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        LoadReport {
            counts: self.counts.clone(),
            p50_us: self.latency.value_at_quantile(0.5),
            p99_us: self.latency.value_at_quantile(0.99),
            max_us: self.latency.max(),
            first_failure_ms: self.first_failure.map(ms),
            last_failure_ms: self.last_failure.map(ms),
        }
    }
}
