use crate::backend::Incarnation;

/// Parses a pid file as real servers write it: digits, white space, NUL padding. 0 and 1 are no servers.
///
/// # Examples
///
/// ```
/// use ha_core::backend::linux::parse_pid_file;
///
/// assert_eq!(parse_pid_file(b"4711\n\0\0\0"), Some(4711));
/// assert_eq!(parse_pid_file(b"1\n"), None);
/// ```
pub fn parse_pid_file(bytes: &[u8]) -> Option<u32> {
    let padding = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let begin = bytes.iter().position(|byte| !padding(byte))?;
    let end = bytes.iter().rposition(|byte| !padding(byte))?;
    let digits = std::str::from_utf8(&bytes[begin..=end]).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|pid| *pid > 1)
}

/// Tells whether a command line, as `/proc/<pid>/cmdline` has it, has `argument` as a whole argument.
///
/// # Examples
///
/// ```
/// use ha_core::backend::linux::has_argument;
///
/// assert!(has_argument(b"java\0-Dcarbon.home=/srv/esb1\0", "-Dcarbon.home=/srv/esb1"));
/// assert!(!has_argument(b"java\0-Dcarbon.home=/srv/esb10\0", "-Dcarbon.home=/srv/esb1"));
/// ```
pub fn has_argument(command_line: &[u8], argument: &str) -> bool {
    command_line.split(|byte| *byte == 0).any(|found| found == argument.as_bytes())
}

/// One line of `/proc/<pid>/stat`, as far as it says which life of a process this is.
///
/// # Examples
///
/// ```
/// use ha_core::backend::linux::ProcessStat;
///
/// let line = "4711 (java) S 1 4711 4711 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0";
/// let stat = ProcessStat::parse(line).ok_or("no such line")?;
/// assert_eq!(stat.incarnation("boot1").as_str(), "boot1:4711:98765");
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ProcessStat {
    /// The process id.
    pub pid: u32,
    /// Its state letter; `Z` and `X` are dead.
    pub state: char,
    /// Its process group.
    pub group: i32,
    /// When it began, in clock ticks since the machine booted.
    pub start_time: u64,
}

impl ProcessStat {
    /// Parses the line. The name in brackets may hold anything, brackets included: fields count from behind the last one.
    pub fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.rsplit_once(')')?;
        let pid = before.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let state = fields.first()?.chars().next()?;
        let (group, start_time) = (fields.get(2)?.parse().ok()?, fields.get(19)?.parse().ok()?);
        Some(Self { pid, state, group, start_time })
    }

    /// Tells whether the process can still do anything.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

    /// Identifies this life of the process, on the boot of its machine that `boot_id` names.
    pub fn incarnation(&self, boot_id: &str) -> Incarnation {
        Incarnation::new(format!("{}:{}:{}", boot_id.trim(), self.pid, self.start_time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_read_as_real_servers_write_it() {
        let mut padded = b"4711\n".to_vec();
        padded.resize(100, 0);
        for (bytes, pid) in [
            (padded.as_slice(), Some(4711)),
            (b"4711", Some(4711)),
            (b" 4711 \r\n", Some(4711)),
            (b"", None),
            (b"\0\0\0", None),
            (b"0", None),
            (b"1\n", None),
            (b"-5", None),
            (b"47 11", None),
            (b"99999999999999999999", None),
            (b"pid: 4711", None),
            (b"\xff\xfe", None),
        ] {
            assert_eq!(parse_pid_file(bytes), pid, "{bytes:?}");
        }
    }

    #[test]
    fn a_part_of_an_argument_identifies_nobody() {
        let line = b"java\0-Dcarbon.home=/opt/esb1\0-Xmx1g\0";
        assert!(has_argument(line, "-Dcarbon.home=/opt/esb1"));
        assert!(!has_argument(line, "-Dcarbon.home=/opt/esb"));
        assert!(!has_argument(line, "carbon.home=/opt/esb1"));
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let tail = "S 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 987654 1000 1";
        for name in ["sh", "a) Z (b", "x y"] {
            let stat = ProcessStat::parse(&format!("4711 ({name}) {tail}")).unwrap();
            assert_eq!(stat, ProcessStat { pid: 4711, state: 'S', group: 42, start_time: 987_654 }, "{name}");
            assert_eq!(stat.incarnation("boot\n").as_str(), "boot:4711:987654");
        }
        assert_eq!(ProcessStat::parse(""), None);
        assert_eq!(ProcessStat::parse("4711 (sh) S 1"), None);
        assert!(!ProcessStat::parse(&format!("4711 (sh) {}", tail.replacen('S', "Z", 1))).unwrap().is_alive());
    }
}
