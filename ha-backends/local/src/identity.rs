use std::fs;
use std::path::Path;

use ha_core::backend::Incarnation;

/// Parses a pid file as real servers write it: digits, white space, NUL padding. 0 and 1 are no servers.
pub(crate) fn parse_pid(bytes: &[u8]) -> Option<u32> {
    let padding = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let begin = bytes.iter().position(|byte| !padding(byte))?;
    let end = bytes.iter().rposition(|byte| !padding(byte))?;
    let digits = std::str::from_utf8(&bytes[begin..=end]).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|pid| *pid > 1)
}

/// Finds the process of a server: the one that the pid file names if it is the server's, else one whose command line has
/// `identity` as a whole argument. The pid file of a starting server is late, and that of another life stays behind.
pub(crate) fn find(pid_file: &Path, identity: &str) -> Option<(u32, Incarnation)> {
    let named = fs::read(pid_file).ok().and_then(|bytes| parse_pid(&bytes));
    named.and_then(|pid| incarnation(pid, identity)).or_else(|| {
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| *pid > 1).find_map(|pid| incarnation(pid, identity))
    })
}

/// Identifies the life of a process that is this server's and is no zombie.
fn incarnation(pid: u32, identity: &str) -> Option<(u32, Incarnation)> {
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    if !command_line.split(|byte| *byte == 0).any(|argument| argument == identity.as_bytes()) {
        return None;
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets included: the fields count from behind the last one.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let (state, start_time) = (fields.first()?, fields.get(19)?);
    if *state == "Z" || *state == "X" {
        return None;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some((pid, Incarnation::new(format!("{}:{pid}:{start_time}", boot.trim()))))
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
            assert_eq!(parse_pid(bytes), pid, "{bytes:?}");
        }
    }

    #[test]
    fn a_pid_that_lives_and_is_another_program_is_not_the_server() {
        let mut stranger = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("server.pid");
        fs::write(&pid_file, stranger.id().to_string()).unwrap();
        assert_eq!(find(&pid_file, "carbon.home=/nowhere"), None);
        // In the middle of an exec a process has no command line yet.
        while fs::read(format!("/proc/{}/cmdline", stranger.id())).unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert!(find(&pid_file, "30").is_some_and(|(pid, _)| pid == stranger.id()), "a whole argument identifies");
        assert!(find(&pid_file, "3").is_none_or(|(pid, _)| pid != stranger.id()), "a part of one does not");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
