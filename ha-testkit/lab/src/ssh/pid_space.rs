use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// The process namespace of one host: tells its processes from all others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PidSpace(PathBuf);

impl PidSpace {
    /// Returns the namespace that the children of `unshare` are in; `None` before it has made one.
    pub(super) fn below(unshare: i32) -> Option<Self> {
        let made = std::fs::read_link(format!("/proc/{unshare}/ns/pid_for_children")).ok()?;
        // Without this check, all processes of the machine would be taken for the host's.
        let own = std::fs::read_link("/proc/self/ns/pid").ok()?;
        (made != own).then_some(Self(made))
    }

    /// Lists the processes in it, by the pids they have outside; not those that have ended and are not buried yet.
    pub(super) fn pids(&self) -> Vec<i32> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| self.has(*pid) && !has_ended(*pid)).collect()
    }

    /// Lists the processes that serve one ssh connection each.
    pub(super) fn sessions(&self) -> Vec<i32> {
        let is_session = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"sshd: root") || line.starts_with(b"sshd-session: root")
        };
        self.pids().into_iter().filter(is_session).collect()
    }

    /// Sends a signal to those of `pids` that are still in it.
    pub(super) fn signal(&self, pids: &[i32], signal: Signal) {
        for pid in pids.iter().copied().filter(|pid| self.has(*pid)) {
            kill(pid, signal);
        }
    }

    fn has(&self, pid: i32) -> bool {
        std::fs::read_link(Path::new("/proc").join(pid.to_string()).join("ns/pid")).is_ok_and(|link| link == self.0)
    }
}

fn has_ended(pid: i32) -> bool {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    line.rsplit_once(')').is_none_or(|(_, rest)| rest.starts_with(" Z") || rest.starts_with(" X"))
}

/// Sends a signal to one process; one that is gone is no error.
pub(super) fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid).filter(|pid| pid.as_raw_nonzero().get() > 1) {
        let _ = kill_process(pid, signal);
    }
}
