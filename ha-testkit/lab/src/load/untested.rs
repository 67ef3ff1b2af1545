use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// Counts the answers of deployed services that a server gave from a set of files before that set had passed the test there, by
/// set. `tested` is what every server had at first.
///
/// It reads the servers' request logs: `T gN` where the test passed, `A SERVICE gN` where a service answered, each in its order.
/// A log that does not exist is that of a server that never served.
///
/// # Errors
/// When a log cannot be read.
///
/// # Examples
///
/// ```
/// use ha_lab::load::untested_answers;
///
/// let log = std::env::temp_dir().join(format!("untested-{}.log", std::process::id()));
/// std::fs::write(&log, "A orders g1\nA orders g2\nT g2\nA orders g2\n")?;
/// assert_eq!(untested_answers(&[&log], "g1")?, [("g2".to_string(), 1)].into());
/// # std::fs::remove_file(log)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn untested_answers<P: AsRef<Path>>(logs: &[P], tested: &str) -> io::Result<BTreeMap<String, u64>> {
    let mut untested = BTreeMap::new();
    for log in logs {
        let text = match std::fs::read_to_string(log) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut passed = BTreeSet::from([tested]);
        for line in text.lines() {
            if let Some(set) = line.strip_prefix("T ") {
                passed.insert(set);
            } else if let Some((_, set)) = line.strip_prefix("A ").and_then(|answer| answer.split_once(' '))
                && !passed.contains(set)
            {
                *untested.entry(set.to_string()).or_default() += 1;
            }
        }
    }
    Ok(untested)
}
