use std::fs;
use std::io;
use std::path::Path;

use ha_core::backend::linux::{ProcessStat, has_argument, parse_pid_file};
use ha_core::backend::{HostIdentity, Incarnation};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// What is looked for on a machine.
const TOOLS: [&str; 7] = ["flock", "setsid", "sh", "sha256sum", "sudo", "systemctl", "timeout"];

/// One life of the server's process.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) pid: u32,
    pub(crate) group: i32,
    pub(crate) incarnation: Incarnation,
}

/// Finds the process of a server: the one that the pid file names if it is the server's, else one whose command line has
/// `identity` as a whole argument. The pid file of a starting server is late, and that of another life stays behind.
pub(crate) fn find(pid_file: &Path, identity: &str) -> Option<Life> {
    let named = fs::read(pid_file).ok().and_then(|bytes| parse_pid_file(&bytes));
    named.and_then(|pid| life(pid, identity)).or_else(|| {
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| *pid > 1).find_map(|pid| life(pid, identity))
    })
}

/// Identifies the life of a process that is this server's and is no zombie.
fn life(pid: u32, identity: &str) -> Option<Life> {
    if !has_argument(&fs::read(format!("/proc/{pid}/cmdline")).ok()?, identity) {
        return None;
    }
    let stat = ProcessStat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let boot = fs::read_to_string(BOOT_ID).ok()?;
    stat.is_alive().then(|| Life { pid, group: stat.group, incarnation: stat.incarnation(&boot) })
}

/// Reads which machine this is.
pub(crate) fn machine() -> io::Result<HostIdentity> {
    // A machine without an id has at least a name.
    let machine = fs::read_to_string("/etc/machine-id").or_else(|_| fs::read_to_string("/proc/sys/kernel/hostname"))?;
    let boot = fs::read_to_string(BOOT_ID)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |tool: &&str| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file());
    let tools = TOOLS.iter().filter(|tool| there(tool)).map(|tool| (*tool).into()).collect();
    Ok(HostIdentity::new(machine.trim(), boot.trim()).with_clock_ahead_ms(0).with_tools(tools))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_that_lives_and_is_another_program_is_not_the_server() {
        let mut stranger = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("server.pid");
        fs::write(&pid_file, stranger.id().to_string()).unwrap();
        assert!(find(&pid_file, "carbon.home=/nowhere").is_none());
        // In the middle of an exec a process has no command line yet.
        while fs::read(format!("/proc/{}/cmdline", stranger.id())).unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert!(find(&pid_file, "30").is_some_and(|life| life.pid == stranger.id()), "a whole argument identifies");
        assert!(find(&pid_file, "3").is_none_or(|life| life.pid != stranger.id()), "a part of one does not");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn this_machine_has_a_name_a_boot_and_a_shell() {
        let machine = machine().unwrap();
        assert!(!machine.machine.is_empty() && machine.boot.len() == 36 && machine.has("sh"), "{machine:?}");
    }
}
