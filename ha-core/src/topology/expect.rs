use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Permille;
use super::reader::Reader;

/// What a machine and its server are held against by [`Engine::doctor`](crate::engine::Engine::doctor). No plan depends on it.
///
/// What a node does not say itself it takes from the cluster, and then from its profile.
///
/// # Examples
///
/// ```
/// use ha_core::topology::Expect;
///
/// let expect = Expect::new()
///     .with_java("11-21".parse()?)
///     .with_secrets(["repository/resources/security/wso2carbon.jks"])
///     .with_check_path("/services/Version");
/// assert_eq!(expect.java_command(), ["java", "-version"]);
/// assert_eq!(expect.free_disk().to_string(), "0.100");
/// # Ok::<(), ha_core::topology::InvalidJavaRange>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Expect {
    /// The major versions of Java that the product supports. Default: none, and Java is not looked at.
    pub java: Option<JavaRange>,
    /// What prints the version of the Java that the server runs with; it must only read. Default `java -version`.
    pub java_command: Option<Vec<String>>,
    /// The files, below the server's home or absolute, that are to be the same on all nodes. Default: none. A list that is empty
    /// says so whatever the profile names.
    pub secrets: Option<Vec<String>>,
    /// The files, below the server's home or absolute, that are not to be there at rest. Default: none; an empty list as above.
    pub locks: Option<Vec<String>>,
    /// The path that the balancers are to ask. Default: that of the node's probe, where it has a `url`.
    pub check_path: Option<String>,
    /// The port that the balancers are to ask. Default: that to which they send the requests.
    pub check_port: Option<u16>,
    /// How long the server may take to stop by itself. Default: the policy's `stop_deadline`.
    pub stop_budget: Option<Duration>,
    /// The share of the file system of the server's home that is to be free. Default 0.1.
    pub free_disk: Option<Permille>,
    /// How far the clocks of two machines may be apart; only the cluster says it. Default 1 s.
    pub clock_skew: Option<Duration>,
    /// How many days the last drill may be ago; only the cluster says it. Default 90.
    pub drill_days: Option<u16>,
}

impl Expect {
    /// Expects the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the versions of Java that the product supports.
    #[must_use]
    pub fn with_java(mut self, range: JavaRange) -> Self {
        self.java = Some(range);
        self
    }

    /// Sets what prints the version of the server's Java; it must only read.
    #[must_use]
    pub fn with_java_command(mut self, argv: Vec<String>) -> Self {
        self.java_command = Some(argv);
        self
    }

    /// Sets the files that are to be the same on all nodes.
    #[must_use]
    pub fn with_secrets<S: Into<String>>(mut self, files: impl IntoIterator<Item = S>) -> Self {
        self.secrets = Some(files.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the files that are not to be there at rest.
    #[must_use]
    pub fn with_locks<S: Into<String>>(mut self, files: impl IntoIterator<Item = S>) -> Self {
        self.locks = Some(files.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the path that the balancers are to ask.
    #[must_use]
    pub fn with_check_path(mut self, path: impl Into<String>) -> Self {
        self.check_path = Some(path.into());
        self
    }

    /// Sets the port that the balancers are to ask.
    #[must_use]
    pub fn with_check_port(mut self, port: u16) -> Self {
        self.check_port = Some(port);
        self
    }

    /// Sets how long the server may take to stop by itself.
    #[must_use]
    pub fn with_stop_budget(mut self, budget: Duration) -> Self {
        self.stop_budget = Some(budget);
        self
    }

    /// Sets the share of the disk that is to be free.
    #[must_use]
    pub fn with_free_disk(mut self, share: Permille) -> Self {
        self.free_disk = Some(share);
        self
    }

    /// Sets how far the clocks of two machines may be apart.
    #[must_use]
    pub fn with_clock_skew(mut self, skew: Duration) -> Self {
        self.clock_skew = Some(skew);
        self
    }

    /// Sets how many days the last drill may be ago.
    #[must_use]
    pub fn with_drill_days(mut self, days: u16) -> Self {
        self.drill_days = Some(days);
        self
    }

    /// Returns what prints the version of the server's Java.
    pub fn java_command(&self) -> &[String] {
        static DEFAULT: std::sync::LazyLock<[String; 2]> =
            std::sync::LazyLock::new(|| ["java".into(), "-version".into()]);
        self.java_command.as_deref().filter(|argv| !argv.is_empty()).unwrap_or(&*DEFAULT)
    }

    /// Returns the files that are to be the same on all nodes.
    pub fn secrets(&self) -> &[String] {
        self.secrets.as_deref().unwrap_or_default()
    }

    /// Returns the files that are not to be there at rest.
    pub fn locks(&self) -> &[String] {
        self.locks.as_deref().unwrap_or_default()
    }

    /// Returns the share of the disk that is to be free.
    pub fn free_disk(&self) -> Permille {
        self.free_disk.unwrap_or(Permille::new(100))
    }

    /// Returns how far the clocks of two machines may be apart.
    pub fn clock_skew(&self) -> Duration {
        self.clock_skew.unwrap_or(Duration::from_secs(1))
    }

    /// Returns how many days the last drill may be ago.
    pub fn drill_days(&self) -> u16 {
        self.drill_days.unwrap_or(90)
    }

    /// Reads the table `expect` of the cluster, or of a node.
    pub(super) fn read(owner: &Reader<'_, '_>, is_cluster: bool) -> Self {
        let Some(table) = owner.table("expect") else { return Self::default() };
        let java = table.text("java").and_then(|text| match text.value.parse() {
            Ok(range) => Some(range),
            Err(error) => {
                let error: InvalidJavaRange = error;
                table.wrong(text.line, "java", error.to_string(), "give the versions that the product supports");
                None
            }
        });
        let check_port = table.count("check_port").and_then(|port| match u16::try_from(port.value) {
            Ok(number) => Some(number),
            Err(_) => {
                table.wrong(port.line, "check_port", "is no port", "give a number from 1 to 65535");
                None
            }
        });
        let texts = |key: &'static str| -> Option<Vec<String>> {
            let read = table.texts(key)?.value;
            if let Some(odd) = read.iter().find(|text| text.value.is_empty() || text.value.contains(['\0', '\n'])) {
                table.wrong(odd.line, key, "a text in it is empty, or has a line feed or NUL", "correct it");
            }
            Some(read.into_iter().map(|text| text.value).collect())
        };
        let read = Self {
            java,
            java_command: texts("java_command"),
            secrets: texts("secrets"),
            locks: texts("locks"),
            check_path: table.text("check_path").map(|path| path.value),
            check_port,
            stop_budget: table.duration("stop_budget").map(|budget| budget.value),
            free_disk: table.share("free_disk").map(|share| share.value),
            clock_skew: if is_cluster { table.duration("clock_skew").map(|skew| skew.value) } else { None },
            drill_days: if is_cluster {
                table.count("drill_days").map(|days| u16::try_from(days.value).unwrap_or(u16::MAX))
            } else {
                None
            },
        };
        table.finish();
        read
    }

    /// Lists what it says and `before` did not, as it would be written in `cluster.toml`.
    pub(super) fn beside(&self, before: &Self) -> Vec<(&'static str, String)> {
        let quoted = |text: Option<String>| text.map(|text| format!("{text:?}"));
        let list = |list: &Option<Vec<String>>| list.as_ref().map(|list| format!("{list:?}"));
        let of = |expect: &Self| {
            [
                ("java", quoted(expect.java.map(|range| range.to_string()))),
                ("java_command", list(&expect.java_command)),
                ("secrets", list(&expect.secrets)),
                ("locks", list(&expect.locks)),
                ("check_path", quoted(expect.check_path.clone())),
                ("check_port", expect.check_port.map(|port| port.to_string())),
                ("stop_budget", quoted(expect.stop_budget.map(|budget| format!("{}s", budget.as_secs())))),
                ("free_disk", expect.free_disk.map(|share| share.to_string())),
            ]
        };
        let new = of(self).into_iter().zip(of(before)).filter(|((_, now), (_, before))| now != before);
        new.filter_map(|((key, now), _)| Some((key, now?))).collect()
    }

    /// Takes from `other` what it does not say itself.
    pub(super) fn or(&mut self, other: &Self) {
        let Self {
            java,
            java_command,
            secrets,
            locks,
            check_path,
            check_port,
            stop_budget,
            free_disk,
            clock_skew,
            drill_days,
        } = self;
        *java = java.or(other.java);
        for (own, other) in [(java_command, &other.java_command), (secrets, &other.secrets), (locks, &other.locks)] {
            if own.is_none() {
                own.clone_from(other);
            }
        }
        if check_path.is_none() {
            check_path.clone_from(&other.check_path);
        }
        *check_port = check_port.or(other.check_port);
        *stop_budget = stop_budget.or(other.stop_budget);
        *free_disk = free_disk.or(other.free_disk);
        *clock_skew = clock_skew.or(other.clock_skew);
        *drill_days = drill_days.or(other.drill_days);
    }
}

/// A range of major versions of Java.
///
/// # Examples
///
/// ```
/// use ha_core::topology::JavaRange;
///
/// let range: JavaRange = "11-21".parse()?;
/// assert!(range.contains(17) && !range.contains(8));
/// assert!("17".parse::<JavaRange>()?.contains(17) && "11+".parse::<JavaRange>()?.contains(25));
/// # Ok::<(), ha_core::topology::InvalidJavaRange>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct JavaRange {
    least: u16,
    /// `None` for no end.
    most: Option<u16>,
}

/// Refuses a text that is no range of versions.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is no range of Java versions: give \"11-21\", \"17\" or \"11+\"")]
pub struct InvalidJavaRange {
    text: String,
}

impl JavaRange {
    /// Tells whether a major version is in the range.
    pub fn contains(self, major: u16) -> bool {
        self.least <= major && self.most.is_none_or(|most| major <= most)
    }
}

impl FromStr for JavaRange {
    type Err = InvalidJavaRange;

    fn from_str(text: &str) -> Result<Self, InvalidJavaRange> {
        let number = |text: &str| text.parse::<u16>().ok().filter(|number| (1..1000).contains(number));
        let read = match (text.split_once('-'), text.strip_suffix('+')) {
            (Some((least, most)), _) => number(least).zip(number(most)).map(|(least, most)| (least, Some(most))),
            (None, Some(least)) => number(least).map(|least| (least, None)),
            (None, None) => number(text).map(|only| (only, Some(only))),
        };
        let read = read.filter(|(least, most)| most.is_none_or(|most| *least <= most));
        let invalid = || InvalidJavaRange { text: text.chars().take(160).collect() };
        read.map(|(least, most)| Self { least, most }).ok_or_else(invalid)
    }
}

impl fmt::Display for JavaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.most {
            None => write!(f, "{}+", self.least),
            Some(most) if most == self.least => write!(f, "{most}"),
            Some(most) => write!(f, "{}-{most}", self.least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_as_it_is_read_and_nonsense_is_refused() {
        for text in ["11-21", "17", "11+", "8"] {
            assert_eq!(text.parse::<JavaRange>().unwrap().to_string(), text);
        }
        for wrong in ["", "-", "21-11", "0", "11-", "+", "eleven", "11-21-25", "1.8"] {
            assert!(wrong.parse::<JavaRange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_said_nearer_wins_and_what_is_not_said_comes_from_further_away() {
        let mut node = Expect::new().with_check_port(1).with_secrets(["a"]);
        node.or(&Expect::new().with_check_port(2).with_check_path("/x").with_secrets(["b"]).with_drill_days(7));
        assert_eq!((node.check_port, node.check_path.as_deref()), (Some(1), Some("/x")));
        assert_eq!((node.secrets(), node.drill_days), (&["a".to_string()][..], Some(7)));
        let mut none = Expect::new().with_secrets([""; 0]);
        none.or(&Expect::new().with_secrets(["b"]).with_locks(["c"]));
        assert_eq!((none.secrets().len(), none.locks()), (0, &["c".to_string()][..]), "an empty list is said too");
    }
}
