use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{SshAccess, SshSpec, systemd, tools};

/// The names of what a lab adds to the network of the system. Short: a link's name has at most 15 characters.
pub(super) struct Names {
    pub(super) bridge: String,
    pub(super) veth: String,
    pub(super) netns: String,
}

impl Names {
    pub(super) fn of(slot: u8) -> Self {
        let name = |kind: char| format!("hl{slot}{kind}");
        Self { bridge: name('b'), veth: name('v'), netns: name('n') }
    }
}

/// Returns the first three bytes of a lab's addresses, with the dots.
pub(super) fn subnet(slot: u8) -> String {
    format!("10.213.{slot}.")
}

/// Returns a loopback address that only one host of one lab has.
pub(super) fn loopback(slot: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 213, slot, host)
}

/// What a host has of its own in place of the system's: folder inside, and its name in the host's folder.
const PRIVATE: [(&str, &str); 4] = [("/tmp", "tmp"), ("/run", "run"), ("/root", "home"), ("/srv", "srv")];

/// The files that a host is started from, all in its folder.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
    systemd: bool,
}

impl Files {
    /// Makes the folder and all in it but the keys. `visible` stays where it is for the host's processes too.
    pub(super) fn create(dir: PathBuf, hostname: &str, spec: &SshSpec, visible: &[&Path]) -> io::Result<Self> {
        let files = Self { dir, systemd: spec.systemd };
        // Not for all: sshd refuses keys in a folder that others may write.
        fs::DirBuilder::new().mode(0o755).create(&files.dir)?;
        for (_, name) in PRIVATE {
            fs::create_dir(files.dir.join(name))?;
        }
        fs::set_permissions(files.dir.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        fs::set_permissions(files.dir.join("home"), fs::Permissions::from_mode(0o700))?;
        for (name, text) in &spec.home_files {
            fs::write(files.dir.join("home").join(name), text)?;
        }
        if let Some(shell) = &spec.login_shell {
            fs::write(files.dir.join("passwd"), passwd(shell)?)?;
        }
        fs::write(files.dir.join("machine_id"), format!("{}\n", uuid()?.replace('-', "")))?;
        fs::write(files.script(), files.launch_script(hostname, spec, visible)?)?;
        Ok(files)
    }

    /// Writes sshd's configuration.
    pub(super) fn configure(&self, access: &SshAccess, listen: Ipv4Addr, spec: &SshSpec) -> io::Result<()> {
        let mut text = format!(
            "ListenAddress {listen}\nPort {}\nHostKey {}\nAuthorizedKeysFile {}\nMaxSessions {}\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nUseDNS no\nPidFile none\nPrintMotd no\nPrintLastLog no\n\
             MaxStartups 200:30:400\nSubsystem sftp internal-sftp\nLogLevel VERBOSE\n",
            access.port(),
            access.host_key().display(),
            access.authorized_keys().display(),
            spec.max_sessions,
        );
        if punishes()? {
            text.push_str("PerSourcePenalties no\n");
        }
        fs::write(self.dir.join("sshd_config"), text)
    }

    /// Makes what a boot makes: a new boot id and an empty `/run`.
    pub(super) fn boot(&self) -> io::Result<()> {
        fs::remove_dir_all(self.dir.join("run"))?;
        fs::create_dir(self.dir.join("run"))?;
        fs::write(self.dir.join("boot_id"), uuid()?)
    }

    pub(super) fn boot_id(&self) -> io::Result<String> {
        Ok(fs::read_to_string(self.dir.join("boot_id"))?.trim().to_string())
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("sshd.log")
    }

    /// Where its systemd listens, if it has one.
    pub(super) fn systemd_socket(&self) -> Option<PathBuf> {
        self.systemd.then(|| self.dir.join("run/user/0/systemd/private"))
    }

    pub(super) fn script(&self) -> PathBuf {
        self.dir.join("launch.sh")
    }

    /// Returns what the host sees as `inside`, a path below one of its own folders.
    pub(super) fn outside(&self, inside: &Path) -> Option<PathBuf> {
        PRIVATE.iter().find_map(|(at, name)| Some(self.dir.join(name).join(inside.strip_prefix(at).ok()?)))
    }

    fn launch_script(&self, hostname: &str, spec: &SshSpec, visible: &[&Path]) -> io::Result<String> {
        let dir = quoted(&self.dir)?;
        // Namespaces of the network that this mount namespace would hold on to.
        let mut text = format!(
            "set -e\ncd /\numount -R /run/netns 2>/dev/null || :\necho {hostname} >/proc/sys/kernel/hostname\n"
        );
        for (at, name) in PRIVATE {
            let _ = writeln!(text, "mkdir -p {at}");
            for seen in visible {
                if let Ok(below) = seen.strip_prefix(at) {
                    let (seen, below) = (quoted(seen)?, quoted(below)?);
                    let _ = writeln!(text, "mkdir -p {dir}/{name}/{below}\nmount --bind {seen} {dir}/{name}/{below}");
                }
            }
            let _ = writeln!(text, "mount --rbind {dir}/{name} {at}");
        }
        text.push_str("mkdir -p -m 0755 /run/sshd\n");
        let _ = writeln!(text, "mount --bind {dir}/boot_id /proc/sys/kernel/random/boot_id");
        let _ = writeln!(text, "! [ -e /etc/machine-id ] || mount --bind {dir}/machine_id /etc/machine-id");
        if spec.login_shell.is_some() {
            let _ = writeln!(text, "mount --bind {dir}/passwd /etc/passwd");
        }
        if let Some(bytes) = spec.small_disk {
            let _ = writeln!(text, "mkdir -p /srv/small\nmount -t tmpfs -o size={bytes} small /srv/small");
        }
        if spec.systemd {
            text.push_str(&systemd::launch_script(&self.dir, hostname)?);
        }
        let _ = writeln!(text, "exec {} -D -e -f {dir}/sshd_config", tools::program("sshd")?);
        Ok(text)
    }
}

/// Returns the system's users with another shell for root.
fn passwd(shell: &Path) -> io::Result<String> {
    if !shell.is_absolute() || !shell.is_file() {
        let name = shell.file_name().unwrap_or_default().to_string_lossy();
        let text = format!("the login shell {} is not installed: apt-get install {name}", shell.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    let change = |line: &str| match line.rsplit_once(':') {
        Some((user, _)) if user.starts_with("root:") => format!("{user}:{}\n", shell.display()),
        _ => format!("{line}\n"),
    };
    Ok(fs::read_to_string("/etc/passwd")?.lines().map(change).collect())
}

/// Whether this OpenSSH turns away clients that failed before, as it does from 9.8 on: tests of refused logins would
/// disturb later ones.
fn punishes() -> io::Result<bool> {
    let output = std::process::Command::new(tools::program("ssh")?).arg("-V").output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.strip_prefix("OpenSSH_").unwrap_or_default();
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (9, 8))
}

fn uuid() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/uuid").map(|text| text.trim().to_string())
}

pub(super) fn quoted(path: &Path) -> io::Result<String> {
    let text = path.to_str().ok_or_else(|| io::Error::other("a path of the lab is not UTF-8"))?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}
