//! Which process holds a lease, so that its death is seen at once on the machine that both run on.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ha_core::backend::linux::ProcessStat;

/// One life of a process, on one boot of one machine, as somebody of the same user in the same namespace can look it up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Holder {
    boot_id: String,
    /// Process ids of another namespace are other processes.
    namespace: String,
    /// Where `/proc` hides the processes of other users, they look as if they had ended.
    user: u32,
    pid: u32,
    start_time: u64,
}

impl Holder {
    /// Returns this process; `None` where `/proc` does not tell.
    pub(crate) fn this() -> Option<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_string();
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?.display().to_string();
        let user = std::fs::metadata("/proc/self").ok()?.uid();
        let stat = ProcessStat::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)?;
        Some(Self { boot_id, namespace, user, pid: stat.pid, start_time: stat.start_time })
    }

    pub(crate) fn to_text(&self) -> String {
        let Self { boot_id, namespace, user, pid, start_time } = self;
        format!("{boot_id} {namespace} {user} {pid} {start_time}")
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ').map(String::from);
        let (boot_id, namespace) = (words.next()?, words.next()?);
        let (user, pid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let start_time = words.next()?.parse().ok()?;
        Some(Self { boot_id, namespace, user, pid, start_time })
    }

    /// Tells whether this holder has ended for certain, as `observer` can see it. A machine that was booted since holds none of
    /// its processes; of another machine, another namespace and another user nothing is concluded.
    pub(crate) fn has_ended(&self, observer: &Self) -> bool {
        let sees = self.boot_id == observer.boot_id
            && self.namespace == observer.namespace
            && (self.user == observer.user || observer.user == 0);
        sees && !is_alive(self.pid, self.start_time)
    }
}

/// A process that has ended and was not waited for yet has one thread left, which does nothing; a first thread that ended
/// before the others is no end.
fn is_alive(pid: u32, start_time: u64) -> bool {
    let folder = Path::new("/proc").join(pid.to_string());
    if !folder.exists() {
        return false;
    }
    let Ok(line) = std::fs::read_to_string(folder.join("stat")) else { return folder.exists() };
    let Some(stat) = ProcessStat::parse(&line) else { return true };
    let threads = std::fs::read_dir(folder.join("task")).map_or(0, Iterator::count);
    stat.start_time == start_time && (stat.is_alive() || threads > 1)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    fn holder_of(pid: u32) -> Holder {
        let stat = ProcessStat::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap()).unwrap();
        Holder { pid, start_time: stat.start_time, ..Holder::this().unwrap() }
    }

    #[test]
    fn a_holder_is_read_as_it_was_written() {
        let this = Holder::this().unwrap();
        assert_eq!(Holder::parse(&this.to_text()), Some(this));
        for text in ["", "boot", "boot ns 0 1", "boot ns 0 x 1", "boot ns 0 1 -1"] {
            assert_eq!(Holder::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_a_process_that_can_be_seen_from_here_is_ever_called_dead() {
        let this = Holder::this().unwrap();
        assert!(!this.has_ended(&this));
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let holder = holder_of(child.id());
        assert!(!holder.has_ended(&this));
        let reused = Holder { start_time: holder.start_time.wrapping_sub(1), ..holder.clone() };
        assert!(reused.has_ended(&this), "the pid is another process's now");
        child.kill().unwrap();
        // Not waited for yet: nothing of it runs.
        let until = Instant::now() + Duration::from_secs(20);
        while !holder.has_ended(&this) {
            assert!(Instant::now() < until, "a killed process looks alive");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(holder.has_ended(&this));
        for there in [
            Holder { boot_id: "another".into(), ..holder.clone() },
            Holder { namespace: "pid:[1]".into(), ..holder.clone() },
        ] {
            assert!(!there.has_ended(&this), "{there:?}");
        }
        // Only root sees the processes of all users for certain.
        let (root, somebody) = (Holder { user: 0, ..this.clone() }, Holder { user: 4_711, ..this });
        let of_another = Holder { user: 815, ..holder };
        assert!(of_another.has_ended(&root) && !of_another.has_ended(&somebody));
    }
}
