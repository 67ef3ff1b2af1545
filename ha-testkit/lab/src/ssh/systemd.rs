//! The systemd of a host: root's own instance, in control groups of the lab, with units from one folder.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::launch::quoted;
use super::tools;

/// Where Linux shows its trees of control groups: side by side (v1, hybrid), or the one tree (v2).
const CONTROL_GROUPS: [&str; 3] = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// Starts the systemd of a host in the control group `$2` and nothing outside of it, with units from `/srv/units` alone.
const SYSTEMD: &str = r#"
set -e
trees=unified
if grep -q name=systemd /proc/self/cgroup; then trees="unified systemd"; fi
mkdir /run/trees
mount -t tmpfs trees /run/trees
mkdir /run/trees/unified /run/trees/systemd
mount -t cgroup2 cgroup2 /run/trees/unified
case $trees in *systemd) mount -t cgroup -o none,name=systemd cgroup /run/trees/systemd ;; esac
for tree in $trees; do
    mkdir -p "/run/trees/$tree/$2"
    echo 0 >"/run/trees/$tree/$2/cgroup.procs"
done
umount -R /run/trees
export XDG_RUNTIME_DIR=/run/user/0 SYSTEMD_UNIT_PATH=/srv/units HOME=/root
exec unshare --cgroup --mount sh -ec '
    if [ "$2" = unified ]; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
    else
        mount -t tmpfs cgroup /sys/fs/cgroup
        mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
        mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
        mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    fi
    exec "$1" --user --unit=host.target
' systemd "$1" "$trees"
"#;
/// Where Debian keeps it.
const SYSTEMD_PROGRAM: &str = "/lib/systemd/systemd";

/// Removes the control groups of a lab's hosts.
pub(super) fn remove_control_groups(lab: &Path, within: Duration) {
    let Some(prefix) = lab.file_name().map(|name| format!("{}.", name.to_string_lossy())) else { return };
    let left = || {
        let groups = CONTROL_GROUPS.iter().flat_map(|tree| fs::read_dir(tree).into_iter().flatten().flatten());
        groups.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).map(|entry| entry.path())
    };
    let until = Instant::now() + within;
    // What still holds a process stays, and a killed process is there for a moment more.
    loop {
        left().for_each(|group| prune(&group));
        if left().next().is_none() || Instant::now() >= until {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn prune(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        prune(&below.path());
    }
    let _ = fs::remove_dir(group);
}

/// Returns what starts it, to be run by the first process of the host whose folder is `dir`.
pub(super) fn launch_script(dir: &Path, hostname: &str) -> io::Result<String> {
    tools::program("systemctl")?;
    let lab = dir.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    fs::write(dir.join("systemd.sh"), SYSTEMD)?;
    let dir = quoted(dir)?;
    // Without the first folder systemd does not believe that it may run as a user's.
    Ok(format!(
        "mkdir -p /run/systemd/system /srv/units\nmkdir -p -m 0700 /run/user/0\n\
         for unit in host basic shutdown; do\n\
         printf '[Unit]\\nDefaultDependencies=no\\n' >/srv/units/$unit.target\ndone\n\
         sh {dir}/systemd.sh {SYSTEMD_PROGRAM} '{lab}.{hostname}' </dev/null &\n"
    ))
}
