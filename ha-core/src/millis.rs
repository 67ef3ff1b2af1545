//! Durations as whole numbers of milliseconds in JSON, under keys that end in `_ms`: for `#[serde(with = "crate::millis")]`.
//! What is no whole number of milliseconds is rounded up, so that a limit is never read back shorter than it was, and
//! never as 0 unless it was; more than 2^64 - 1 ms is written as that.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Writes a duration as milliseconds, rounded up.
pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_nanos().div_ceil(NANOS)).unwrap_or(u64::MAX))
}

/// Reads a number of milliseconds.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

/// The same for a duration that may be missing: for `#[serde(with = "crate::millis::optional")]`, beside `default`.
pub(crate) mod optional {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize, Serialize)]
    struct Millis(#[serde(with = "super")] Duration);

    /// Writes a duration as milliseconds, rounded up.
    pub(crate) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(Millis).serialize(serializer)
    }

    /// Reads a number of milliseconds.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Millis>::deserialize(deserializer)?.map(|Millis(duration)| duration))
    }
}

const NANOS: u128 = 1_000_000;

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
    struct Limit {
        #[serde(with = "crate::millis", rename = "limit_ms")]
        limit: Duration,
    }

    fn json_of(limit: Duration) -> String {
        serde_json::to_string(&Limit { limit }).unwrap()
    }

    #[test]
    fn a_duration_is_a_number_of_milliseconds_that_reads_back() {
        for ms in [0, 1, 1500, 600_000, u64::MAX] {
            let limit = Duration::from_millis(ms);
            let json = json_of(limit);
            assert_eq!(json, format!("{{\"limit_ms\":{ms}}}"));
            assert_eq!(serde_json::from_str::<Limit>(&json).unwrap(), Limit { limit });
        }
    }

    #[test]
    fn less_than_a_millisecond_is_rounded_up_and_never_lost() {
        assert_eq!(json_of(Duration::from_nanos(1)), "{\"limit_ms\":1}");
        assert_eq!(json_of(Duration::from_micros(1500)), "{\"limit_ms\":2}");
        assert_eq!(json_of(Duration::MAX), format!("{{\"limit_ms\":{}}}", u64::MAX));
    }
}
