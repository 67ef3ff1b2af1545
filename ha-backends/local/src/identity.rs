use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

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

/// How often, and how far apart, it is looked again while a process is in the middle of an exec.
const EXEC_LOOKS: u32 = 10;
const EXEC_PAUSE: Duration = Duration::from_millis(2);

/// Finds the process of a server: the one that the pid file names if it is the server's, else one whose command line has
/// `identity` as a whole argument. The pid file of a starting server is late, and that of another life stays behind. A
/// process in the middle of an exec has no command line: that nothing was found then is no answer, and it is looked again.
pub(crate) fn find(pid_file: &Path, identity: &str) -> Option<Life> {
    for _ in 0..EXEC_LOOKS {
        let named = fs::read(pid_file).ok().and_then(|bytes| parse_pid_file(&bytes));
        let mut in_exec = false;
        let mut look = |pid: u32| match life(pid, identity) {
            Look::Found(life) => Some(life),
            Look::InExec => {
                in_exec = true;
                None
            }
            Look::Other => None,
        };
        let found = named.and_then(&mut look).or_else(|| {
            let processes = fs::read_dir("/proc").ok()?.flatten();
            let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
            pids.filter(|pid| *pid > 1).find_map(look)
        });
        if found.is_some() || !in_exec {
            return found;
        }
        std::thread::sleep(EXEC_PAUSE);
    }
    None
}

/// What one process is.
enum Look {
    Found(Life),
    /// It has a program and no whole command line yet. (What has no program is a zombie or the kernel's own.)
    InExec,
    Other,
}

/// Identifies the life of a process that is this server's and is no zombie.
fn life(pid: u32, identity: &str) -> Look {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return Look::Other };
    if !has_argument(&line, identity) {
        // Nothing or half of it is there while the process becomes another program.
        let is_whole = line.last() == Some(&0);
        let has_program = !is_whole && fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        return if has_program { Look::InExec } else { Look::Other };
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let stat = stat.and_then(|stat| ProcessStat::parse(&stat)).filter(ProcessStat::is_alive);
    match stat.zip(boot_id().ok()) {
        Some((stat, boot)) => Look::Found(Life { pid, group: stat.group, incarnation: stat.incarnation(&boot) }),
        None => Look::Other,
    }
}

/// Reads which boot of the machine this is.
pub(crate) fn boot_id() -> io::Result<String> {
    fs::read_to_string(BOOT_ID)
}

/// Reads which machine this is.
pub(crate) fn machine() -> io::Result<HostIdentity> {
    // A machine without an id has at least a name.
    let machine = fs::read_to_string("/etc/machine-id").or_else(|_| fs::read_to_string("/proc/sys/kernel/hostname"))?;
    let boot = boot_id()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |tool: &&str| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file());
    let tools = TOOLS.iter().filter(|tool| there(tool)).map(|tool| (*tool).into()).collect();
    Ok(HostIdentity::new(machine.trim(), boot.trim()).with_clock_ahead_ms(0).with_tools(tools))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_in_the_middle_of_its_exec_is_found_at_every_look() {
        let dir = tempfile::tempdir().unwrap();
        let (script, identity) = (dir.path().join("again.sh"), format!("carbon.home={}", dir.path().display()));
        // It becomes itself again for ever, with the same arguments.
        std::fs::write(&script, "exec /bin/sh \"$0\" \"$@\"\n").unwrap();
        let mut server = std::process::Command::new("/bin/sh").arg(&script).arg(&identity).spawn().unwrap();
        let pid_file = dir.path().join("server.pid");
        while find(&pid_file, &identity).is_none() {}
        let missed = (0..3_000).filter(|_| find(&pid_file, &identity).is_none()).count();
        server.kill().unwrap();
        server.wait().unwrap();
        assert_eq!(missed, 0);
        assert!(find(&pid_file, &identity).is_none(), "it is gone");
    }

    #[test]
    fn a_pid_that_lives_and_is_another_program_is_not_the_server() {
        let mut stranger = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("server.pid");
        fs::write(&pid_file, stranger.id().to_string()).unwrap();
        assert!(find(&pid_file, "carbon.home=/nowhere").is_none());
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
