use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// Counts the requests that were begun more than once, from the servers' request logs (`S id` a line; `-` is no id). A log that does
/// not exist is that of a server that never served.
///
/// # Errors
/// When a log cannot be read.
///
/// # Examples
///
/// ```
/// use ha_lab::load::double_executions;
///
/// // A server that never served has no log.
/// assert_eq!(double_executions(&["/nonexistent/requests.log"])?, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn double_executions<P: AsRef<Path>>(logs: &[P]) -> io::Result<u64> {
    let mut begun: BTreeMap<String, u64> = BTreeMap::new();
    for log in logs {
        let file = match std::fs::File::open(log) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).lines() {
            if let Some(id) = line?.strip_prefix("S ").filter(|id| *id != "-") {
                *begun.entry(id.to_string()).or_default() += 1;
            }
        }
    }
    let doubles = begun.values().filter(|times| **times > 1).count();
    Ok(u64::try_from(doubles).unwrap_or(u64::MAX))
}
