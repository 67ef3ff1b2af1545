use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Duration, Instant, sleep};

use crate::channel::Channel;
use crate::config::SshConfig;
use crate::failure::SshFailure;
use crate::frame::Nonce;

/// Keeps one ssh connection and ends it when its standard input ends: when its owner drops it, or is killed with -9.
const SUPERVISOR: &str = r#"
d=$1
shift
"$@" &
p=$!
exec 2>/dev/null
read -r _
kill "$p"
(sleep 2; kill -9 "$p") &
k=$!
wait "$p"
kill "$k"
rm -rf -- "$d"
"#;

/// One open connection to a host: a foreground master of the system's ssh, owned by this value.
#[derive(Debug)]
pub(crate) struct Master {
    socket: PathBuf,
    dead: Arc<AtomicBool>,
    _lifeline: ChildStdin,
    _supervisor: Child,
}

/// The longest path of a control socket, for which ssh itself needs 18 bytes more of the 108 that there are.
const SOCKET_LIMIT: usize = 88;
/// The pauses between two looks for the socket: a sixteenth of the time that the login has taken, within these.
const POLL: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(20)];

impl Master {
    /// Connects and logs in.
    pub(crate) async fn open(config: &SshConfig) -> Result<Self, SshFailure> {
        let until = Instant::now() + config.connect_deadline;
        let dir = private_dir().map_err(|error| SshFailure::Settings(format!("no private directory: {error}")))?;
        let socket = dir.join("s");
        let opened = Self::start(config, &dir, socket, until).await;
        if opened.is_err() {
            // The supervisor removes it as well; it may not have begun.
            let _ = std::fs::remove_dir_all(&dir);
        }
        opened
    }

    async fn start(config: &SshConfig, dir: &Path, socket: PathBuf, until: Instant) -> Result<Self, SshFailure> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(SUPERVISOR).arg("ha-ssh").arg(dir).arg(&config.program);
        command.args(arguments(config, &socket));
        // A group of its own: a Ctrl-C at the terminal must not cut the connection of a run that ends itself in order.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let refused = |error: io::Error| SshFailure::Settings(format!("ssh cannot be started: {error}"));
        let mut supervisor = command.spawn().map_err(refused)?;
        let (Some(lifeline), Some(stderr)) = (supervisor.stdin.take(), supervisor.stderr.take()) else {
            return Err(SshFailure::Settings("ssh has no pipes".into()));
        };
        let dead = Arc::new(AtomicBool::new(false));
        let detail = tokio::spawn(standard_error(stderr, config.destination.clone(), dead.clone()));
        let began = Instant::now();
        loop {
            if dead.load(Ordering::SeqCst) {
                let detail = detail.await.unwrap_or_default();
                return Err(SshFailure::of_connect(&detail));
            }
            if socket.exists() {
                return Ok(Self { socket, dead, _lifeline: lifeline, _supervisor: supervisor });
            }
            if Instant::now() >= until {
                let deadline = config.connect_deadline;
                return Err(SshFailure::ConnectTimedOut(format!("not logged in after {deadline:?}")));
            }
            sleep((began.elapsed() / 16).clamp(POLL[0], POLL[1])).await;
        }
    }

    /// Tells whether the connection is known to be gone.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Opens a session on the connection. Without the connection it fails: it never makes one of its own.
    pub(crate) async fn open_session(&self) -> Result<Channel, SshFailure> {
        Channel::open(&self.socket).await
    }
}

fn arguments(config: &SshConfig, socket: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = ["-M", "-N", "-T", "-S"].map(String::from).to_vec();
    arguments.push(socket.display().to_string());
    if let Some(file) = &config.config_file {
        arguments.extend(["-F".into(), file.display().to_string()]);
    }
    // The first value that ssh sees counts: these come before what the file says.
    let mut option = |text: String| arguments.extend(["-o".into(), text]);
    for fixed in [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "ControlPersist=no",
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "ForkAfterAuthentication=no",
        "TCPKeepAlive=yes",
        "LogLevel=ERROR",
    ] {
        option(fixed.into());
    }
    option(format!("ConnectTimeout={}", config.connect_deadline.as_secs().max(1)));
    option(format!("ServerAliveInterval={}", config.keepalive.as_secs().max(1)));
    option(format!("ServerAliveCountMax={}", config.keepalive_count.max(1)));
    let path = |path: &Path| path.display().to_string().replace('%', "%%");
    if let Some(file) = &config.known_hosts {
        option(format!("UserKnownHostsFile=\"{}\"", path(file)));
        option("GlobalKnownHostsFile=/dev/null".into());
    }
    if let Some(file) = &config.identity_file {
        option(format!("IdentityFile=\"{}\"", path(file)));
        option("IdentitiesOnly=yes".into());
    }
    if let Some(jump) = &config.jump {
        option(format!("ProxyJump={jump}"));
    }
    if let Some(port) = config.port {
        option(format!("Port={port}"));
    }
    arguments.extend(["--".into(), config.destination.clone()]);
    arguments
}

/// Reads what ssh writes to its standard error until it ends, which it does with the connection.
async fn standard_error(mut stderr: impl AsyncRead + Unpin, host: String, dead: Arc<AtomicBool>) -> String {
    let (mut kept, mut chunk) = (Vec::new(), [0_u8; 1024]);
    while let Ok(read) = stderr.read(&mut chunk).await {
        if read == 0 {
            break;
        }
        kept.extend_from_slice(&chunk[..read]);
        let surplus = kept.len().saturating_sub(8192);
        kept.drain(..surplus);
    }
    let detail = String::from_utf8_lossy(&kept).into_owned();
    // The connection outlives the call that began it: this is in no span.
    tracing::debug!(host, detail = detail.trim(), "ssh ended");
    dead.store(true, Ordering::SeqCst);
    detail
}

/// Makes a directory for one control socket that only this user can enter.
fn private_dir() -> io::Result<PathBuf> {
    let name = format!("ha-ssh-{}", &random()?.as_str()[..12]);
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let mut last = io::Error::new(io::ErrorKind::NotFound, "every temporary directory has too long a path");
    for base in runtime.into_iter().chain([std::env::temp_dir(), "/tmp".into()]) {
        let dir = base.join(&name);
        if dir.as_os_str().len() + 2 > SOCKET_LIMIT {
            continue;
        }
        match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Makes a random word.
pub(crate) fn random() -> io::Result<Nonce> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(Nonce::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_key_is_always_checked_and_nothing_is_asked() {
        let mut config = SshConfig::new("wso2@esb1");
        config.known_hosts = Some("/etc/ha/100% known hosts".into());
        let arguments = arguments(&config, Path::new("/tmp/x/s")).join(" ");
        assert!(arguments.contains("StrictHostKeyChecking=yes") && arguments.contains("BatchMode=yes"), "{arguments}");
        assert!(arguments.contains("UserKnownHostsFile=\"/etc/ha/100%% known hosts\""), "{arguments}");
        assert!(arguments.contains("ControlPersist=no") && arguments.ends_with(" -- wso2@esb1"), "{arguments}");
    }

    #[test]
    fn the_control_socket_is_in_a_directory_of_this_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = private_dir().unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(dir.join("s").as_os_str().len() <= SOCKET_LIMIT);
        std::fs::remove_dir(&dir).unwrap();
    }
}
