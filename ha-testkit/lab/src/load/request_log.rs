use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// What a server of the lab wrote about its requests: `S id` when one began, `E id` when it ended.
///
/// # Examples
///
/// ```
/// use ha_lab::load::RequestLog;
///
/// let mut log = RequestLog::default();
/// log.begun = vec!["7-0-1".into(), "7-0-2".into()];
/// log.ended = vec!["7-0-1".into()];
/// assert_eq!(log.unfinished(), ["7-0-2"]);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RequestLog {
    /// The requests that began, in order.
    pub begun: Vec<String>,
    /// The requests that ended, in order.
    pub ended: Vec<String>,
}

impl RequestLog {
    /// Reads a log. One that does not exist is that of a server that never served.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: impl AsRef<Path>) -> io::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let of = |mark: &str| text.lines().filter_map(|line| line.strip_prefix(mark)).map(str::to_string).collect();
        Ok(Self { begun: of("S "), ended: of("E ") })
    }

    /// Returns the requests that began after `earlier`, a reading of the same log, was taken.
    pub fn begun_since(&self, earlier: &Self) -> &[String] {
        self.begun.get(earlier.begun.len()..).unwrap_or_default()
    }

    /// Returns the requests that began and did not end.
    pub fn unfinished(&self) -> Vec<&str> {
        let mut open: BTreeMap<&str, i64> = BTreeMap::new();
        for id in &self.begun {
            *open.entry(id).or_default() += 1;
        }
        for id in &self.ended {
            *open.entry(id).or_default() -= 1;
        }
        open.into_iter().filter(|(_, times)| *times > 0).map(|(id, _)| id).collect()
    }
}
