use serde::{Deserialize, Serialize};

use super::RunReport;

/// What consumers met while a run lasted, as somebody else counted it: a load generator, the access log of a balancer, a monitoring
/// system. The library does not count requests itself; what is not given is said to be not known in the renderings of a report.
///
/// # Examples
///
/// ```
/// use ha_core::report::{PoolTraffic, Traffic, TrafficBucket};
///
/// let quiet = TrafficBucket::new(125, 0).with_latency(Some(900), Some(52_000));
/// let esb = PoolTraffic::new("esb", vec![quiet; 40]);
/// let traffic = Traffic::new("access log of lb1", 1_790_000_000_000, 250, vec![esb]);
/// assert_eq!((traffic.requests(), traffic.failed()), (5_000, 0));
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Traffic {
    /// Who counted, for people.
    pub source: String,
    /// When the first bucket of each pool began, in milliseconds since 1970, by the clock of the machine that ran the run.
    pub began_unix_ms: u64,
    /// How long a bucket is, in milliseconds; 0 is taken for 1.
    pub every_ms: u64,
    /// The pools.
    pub pools: Vec<PoolTraffic>,
}

/// The traffic of one pool.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PoolTraffic {
    /// The pool, as the topology names it.
    pub pool: String,
    /// Its buckets, one after the other without a gap.
    pub buckets: Vec<TrafficBucket>,
}

/// What was counted in one bucket of time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TrafficBucket {
    /// Requests that ended in it, the failed ones among them.
    pub requests: u64,
    /// Requests that failed in it.
    pub failed: u64,
    /// Their median latency in microseconds; `None` where it is not known.
    pub p50_us: Option<u64>,
    /// The 99th percentile of the same.
    pub p99_us: Option<u64>,
}

impl Traffic {
    /// States what was counted.
    pub fn new(source: impl Into<String>, began_unix_ms: u64, every_ms: u64, pools: Vec<PoolTraffic>) -> Self {
        Self { source: source.into(), began_unix_ms, every_ms: every_ms.max(1), pools }
    }

    /// Counts the requests of all pools.
    pub fn requests(&self) -> u64 {
        self.buckets().map(|bucket| bucket.requests).sum()
    }

    /// Counts the failed requests of all pools.
    pub fn failed(&self) -> u64 {
        self.buckets().map(|bucket| bucket.failed).sum()
    }

    fn buckets(&self) -> impl Iterator<Item = &TrafficBucket> {
        self.pools.iter().flat_map(|pool| &pool.buckets)
    }

    /// Counts requests, and those of them that failed, in the buckets of a pool that touch the time of a run; of all pools for `None`.
    pub(super) fn during(&self, report: &RunReport, only: Option<&str>) -> (u64, u64) {
        let end = i128::from(report.took_ms);
        let mut counted = (0, 0);
        for pool in self.pools.iter().filter(|pool| only.is_none_or(|only| only == pool.pool)) {
            for (number, bucket) in (0..).zip(&pool.buckets) {
                let begin = self.begin_of(report, number);
                if begin <= end && begin + i128::from(self.every()) > 0 {
                    counted = (counted.0 + bucket.requests, counted.1 + bucket.failed);
                }
            }
        }
        counted
    }

    /// Returns when a bucket began, in milliseconds after the beginning of a run.
    pub(super) fn begin_of(&self, report: &RunReport, number: u64) -> i128 {
        let offset = i128::from(number) * i128::from(self.every());
        i128::from(self.began_unix_ms) + offset - i128::from(report.began_unix_ms)
    }

    pub(super) fn every(&self) -> u64 {
        self.every_ms.max(1)
    }
}

impl PoolTraffic {
    /// States the traffic of a pool.
    pub fn new(pool: impl Into<String>, buckets: Vec<TrafficBucket>) -> Self {
        Self { pool: pool.into(), buckets }
    }
}

impl TrafficBucket {
    /// Counts requests, and those of them that failed.
    pub fn new(requests: u64, failed: u64) -> Self {
        Self { requests, failed, ..Self::default() }
    }

    /// Adds median and 99th percentile of the latency, in microseconds.
    #[must_use]
    pub fn with_latency(mut self, p50_us: Option<u64>, p99_us: Option<u64>) -> Self {
        (self.p50_us, self.p99_us) = (p50_us, p99_us);
        self
    }
}
