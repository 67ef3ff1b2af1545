use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// What a load has seen in a quarter of a second.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Bucket {
    /// Requests that ended in it, the failed ones among them.
    pub ended: u64,
    /// Requests that failed in it.
    pub failed: u64,
    /// Their median latency in microseconds, failures included; `None` where none ended.
    pub p50_us: Option<u64>,
    /// The 99th percentile of the same.
    pub p99_us: Option<u64>,
}

/// What a load has seen over time.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Series {
    /// When the load began, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// How long a bucket is, in milliseconds.
    pub every_ms: u64,
    /// The buckets, one after the other without a gap; the last one may not be whole.
    pub buckets: Vec<Bucket>,
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
    /// The same over time.
    pub series: Series,
}

/// Latencies beyond ten minutes count as ten minutes.
const LONGEST_US: u64 = 600_000_000;

#[derive(Debug)]
pub(super) struct Tally {
    counts: Snapshot,
    latency: Histogram<u64>,
    first_failure: Option<Duration>,
    last_failure: Option<Duration>,
    series: Series,
    /// What has ended in the bucket that is not over yet: latencies, and failures.
    current: (Vec<u64>, u64),
}

const EVERY: Duration = Duration::from_millis(250);

impl Tally {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let latency = Histogram::new_with_bounds(1, LONGEST_US, 3)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let series = Series { began_unix_ms: ms(since), every_ms: ms(EVERY), buckets: Vec::new() };
        let (counts, current) = (Snapshot::default(), (Vec::new(), 0));
        Ok(Self { counts, latency, first_failure: None, last_failure: None, series, current })
    }

    pub(super) fn sent(&mut self) {
        self.counts.sent += 1;
    }

    pub(super) fn ended(&mut self, at: Duration, latency: Duration, outcome: Result<Served, FailureKind>) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(us);
        while at >= EVERY * u32::try_from(self.series.buckets.len() + 1).unwrap_or(u32::MAX) {
            let bucket = self.bucket();
            self.series.buckets.push(bucket);
            self.current = (Vec::new(), 0);
        }
        self.current.0.push(us);
        self.current.1 += u64::from(outcome.is_err());
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

    /// Sums up the bucket that is not over yet.
    fn bucket(&mut self) -> Bucket {
        let (latencies, failed) = &mut self.current;
        latencies.sort_unstable();
        let at = |permille: usize| latencies.get((latencies.len() * permille / 1_000).min(latencies.len().max(1) - 1));
        let ended = u64::try_from(latencies.len()).unwrap_or(u64::MAX);
        Bucket { ended, failed: *failed, p50_us: at(500).copied(), p99_us: at(990).copied() }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.counts.clone()
    }

    pub(super) fn report(&mut self) -> LoadReport {
        let mut series = self.series.clone();
        series.buckets.push(self.bucket());
        LoadReport {
            counts: self.counts.clone(),
            p50_us: self.latency.value_at_quantile(0.5),
            p99_us: self.latency.value_at_quantile(0.99),
            max_us: self.latency.max(),
            first_failure_ms: self.first_failure.map(ms),
            last_failure_ms: self.last_failure.map(ms),
            series,
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_is_counted_in_the_quarter_of_a_second_in_which_it_ends() {
        let mut tally = Tally::new().unwrap();
        let served = || Ok(Served { release: "1".into(), moved: false });
        for (at, latency) in [(0, 3), (249, 1), (250, 7), (900, 9)] {
            tally.ended(Duration::from_millis(at), Duration::from_micros(latency), served());
        }
        tally.ended(Duration::from_millis(901), Duration::from_micros(4), Err(FailureKind::Reset));
        let series = tally.report().series;
        let seen: Vec<_> = series.buckets.iter().map(|bucket| (bucket.ended, bucket.failed, bucket.p99_us)).collect();
        assert_eq!(seen, [(2, 0, Some(3)), (1, 0, Some(7)), (0, 0, None), (2, 1, Some(9))]);
        assert_eq!((series.every_ms, series.buckets[0].p50_us), (250, Some(3)));
    }
}
