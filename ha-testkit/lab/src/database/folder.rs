use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::user::ServiceUser;

/// A server's folder in memory or on disk. It is removed when this is dropped, and also when the test is killed.
#[derive(Debug)]
pub(super) struct DataFolder {
    path: PathBuf,
    sweeper: Child,
}

/// What a fresh server needs, with room to grow.
const ROOM: u64 = 256 << 20;

impl DataFolder {
    /// Makes an empty folder that only `user` may read.
    pub(super) fn make(kind: &str, user: &ServiceUser, on_disk: bool) -> io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if !on_disk && has_room(memory) { memory.to_path_buf() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix(&format!("ha-lab-{kind}-")).tempdir_in(parent)?;
        user.own(dir.path())?;
        // Its own group: a signal of the terminal ends the test, and then the sweeper's standard input.
        let sweeper = Command::new("/bin/sh")
            .args(["-c", SWEEPER, "sh"])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { path: dir.keep(), sweeper })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        drop(self.sweeper.stdin.take());
        let _ = self.sweeper.wait();
    }
}

/// Removes the folder, and the shared memory that a killed PostgreSQL leaves behind (its number is in the seventh line).
/// For a moment a dying server may still write, so it is removed until it is gone.
const SWEEPER: &str = r#"read -r _
if [ -f "$1/data/postmaster.pid" ]; then
    shm=$(sed -n '7s/.* //p' "$1/data/postmaster.pid")
    [ -z "$shm" ] || ipcrm -m "$shm"
fi
tries=0
while [ -e "$1" ] && [ "$tries" -lt 200 ]; do
    rm -rf "$1"
    tries=$((tries + 1))
    [ ! -e "$1" ] || sleep 0.05
done"#;

fn has_room(dir: &Path) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|told| told.f_bavail.saturating_mul(told.f_frsize) >= ROOM)
}
