use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::load::RequestLog;

/// How a server of the lab behaves. Times in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CarbonConfig {
    /// Where it listens. Default 127.0.0.1.
    pub address: Ipv4Addr,
    /// The traffic port there.
    pub port: u16,
    /// A second port there that answers as the first one does, as a console's beside the services'; 0 for none.
    pub second_port: u16,
    /// The release that is installed at first.
    pub release: String,
    /// From the start of the process until the port is open and the pid file is written. Default 150.
    pub port_delay_ms: u64,
    /// From then until it serves; meanwhile it answers 503. Default 250.
    pub ready_delay_ms: u64,
    /// How long a stopping server waits for requests in flight. Default 5,000.
    pub grace_ms: u64,
    /// Never ends after SIGTERM.
    pub hang_on_stop: bool,
    /// Ends with exit code 1 right after its start.
    pub crash_on_start: bool,
    /// Listens and never serves.
    pub never_ready: bool,
    /// The lab's lifeline socket: the server ends when nobody holds its other end.
    pub lifeline: PathBuf,
}

impl CarbonConfig {
    /// Describes a well-behaved server.
    pub fn new(port: u16, release: impl Into<String>) -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST,
            port,
            second_port: 0,
            release: release.into(),
            port_delay_ms: 150,
            ready_delay_ms: 250,
            grace_ms: 5_000,
            hang_on_stop: false,
            crash_on_start: false,
            never_ready: false,
            lifeline: PathBuf::new(),
        }
    }

    /// Describes a well-behaved server on a free port that serves a few milliseconds after its start.
    pub fn fast(release: impl Into<String>) -> Self {
        Self { port_delay_ms: 0, ready_delay_ms: 0, ..Self::new(0, release) }
    }

    /// Lets it listen on an address of the machine that it is started on.
    #[must_use]
    pub fn listening_on(mut self, address: Ipv4Addr) -> Self {
        self.address = address;
        self
    }

    /// Lets it answer on a second port too.
    #[must_use]
    pub fn with_second_port(mut self, port: u16) -> Self {
        self.second_port = port;
        self
    }

    /// Lets it listen at once after its start and answer 503 for so many milliseconds.
    #[must_use]
    pub fn with_warm_up(mut self, ms: u64) -> Self {
        (self.port_delay_ms, self.ready_delay_ms) = (0, ms);
        self
    }
}

/// How the current program is started again to play a role.
#[derive(Clone, Debug)]
pub struct Relaunch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl Relaunch {
    /// For a program that calls [`run_if_asked`](super::run_if_asked) first of all.
    ///
    /// # Errors
    /// When the path of the current program cannot be read.
    pub fn program() -> io::Result<Self> {
        Ok(Self { program: std::env::current_exe()?, arguments: Vec::new() })
    }

    /// For a test binary with `ha_lab::roles!();` at its root.
    ///
    /// # Errors
    /// When the path of the current program cannot be read.
    pub fn test() -> io::Result<Self> {
        let arguments = ["--exact", "ha_lab_role", "--nocapture", "--quiet"].map(String::from).to_vec();
        Ok(Self { program: std::env::current_exe()?, arguments })
    }
}

/// An installed server: its directory tree and its scripts.
#[derive(Clone, Debug)]
pub struct CarbonHome {
    path: PathBuf,
    address: SocketAddr,
    second_port: u16,
}

impl CarbonHome {
    /// Installs a server in `path`, which must not exist.
    ///
    /// # Errors
    /// What the file system says.
    pub fn install(path: &Path, config: &CarbonConfig, relaunch: &Relaunch) -> io::Result<Self> {
        fs::create_dir(path)?;
        for dir in ["bin", "backup", "repository/conf", "repository/logs", "repository/deployment/server/carbonapps"] {
            fs::create_dir_all(path.join(dir))?;
        }
        fs::write(path.join("bin/version.txt"), format!("{}\n", config.release))?;
        fs::write(path.join("repository/conf/fake-carbon.json"), serde_json::to_vec_pretty(config)?)?;
        script(&path.join("bin/wso2server.sh"), &server_script(path, relaunch))?;
        script(&path.join("bin/patch.sh"), &patch_script(path))?;
        let address = SocketAddr::from((config.address, config.port));
        Ok(Self { path: path.to_path_buf(), address, second_port: config.second_port })
    }

    /// Returns the home directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the traffic port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the second port; 0 where it has none.
    pub fn second_port(&self) -> u16 {
        self.second_port
    }

    /// Returns the log of the requests that the server began (`S id`) and ended (`E id`).
    pub fn request_log(&self) -> PathBuf {
        self.path.join("repository/logs/requests.log")
    }

    /// Reads that log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn requests(&self) -> io::Result<RequestLog> {
        RequestLog::read(self.request_log())
    }

    /// Returns the argument that identifies the server's process: one whole argument of its command line.
    pub fn identity(&self) -> String {
        format!("carbon.home={}", self.path.display())
    }

    /// Sets the status of `/health`, which is 200 at first. The server's other paths are not affected.
    ///
    /// # Errors
    /// What the file system says.
    pub fn set_health(&self, status: u16) -> io::Result<()> {
        let new = self.path.join(".health.new");
        fs::write(&new, status.to_string())?;
        fs::rename(new, self.path.join("health"))
    }

    /// Makes the next `patch.sh apply` fail, with half of the patch in place.
    ///
    /// # Errors
    /// What the file system says.
    pub fn fail_patch(&self) -> io::Result<()> {
        fs::write(self.path.join("fail-patch"), "")
    }

    /// Makes the business test fail while the server runs `release`; or, given `gN`, while the set of files numbered `N` is there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn fail_test_of(&self, release: &str) -> io::Result<()> {
        fs::write(self.path.join(format!("fail-test-{release}")), "")
    }

    /// Makes the server listen and never serve while it runs `release`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn never_ready_with(&self, release: &str) -> io::Result<()> {
        fs::write(self.path.join(format!("never-ready-{release}")), "")
    }

    /// Returns the installed release, or an empty text while a patch is half done.
    pub fn release(&self) -> String {
        let text = fs::read_to_string(self.path.join("bin/version.txt")).unwrap_or_default();
        text.trim().to_string()
    }
}

/// Writes a script that may be run at once. Another process writes the file: were it open for writing here, a thread
/// that starts a process in that moment would hand it down, and running the script would fail (text file busy).
pub(crate) fn script(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("draft");
    fs::write(&draft, text)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755))?;
    let copied = Command::new("cp").arg("-p").args([draft.as_path(), path]).status()?;
    fs::remove_file(draft)?;
    copied.success().then_some(()).ok_or_else(|| io::Error::other(format!("cp could not write {}", path.display())))
}

/// Quotes a word for sh.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The verbs and the lies of `wso2server.sh`: start and stop return at once with 0, whatever comes of it; a pid file is
/// never deleted; a pid that lives is taken for the server's whoever it belongs to.
fn server_script(home: &Path, relaunch: &Relaunch) -> String {
    let arguments: Vec<String> = relaunch.arguments.iter().map(|argument| quoted(argument)).collect();
    format!(
        r#"#!/bin/sh
CARBON_HOME={home}
PROGRAM={program}
PID=""
if [ -e "$CARBON_HOME/wso2carbon.pid" ]; then
    PID=$(tr -d '\000\n' < "$CARBON_HOME/wso2carbon.pid")
fi
case "$1" in
start)
    if [ -n "$PID" ] && kill -0 "$PID" 2>/dev/null; then
        echo "Process is already running"
        exit 0
    fi
    {role}=carbon nohup "$PROGRAM" {arguments} "carbon.home=$CARBON_HOME" \
        >> "$CARBON_HOME/repository/logs/wso2carbon.out" 2>&1 < /dev/null &
    exit 0
    ;;
stop)
    [ -n "$PID" ] && kill -TERM "$PID" 2>/dev/null
    exit 0
    ;;
restart)
    [ -n "$PID" ] && kill -TERM "$PID" 2>/dev/null
    while [ -n "$PID" ] && kill -0 "$PID" 2>/dev/null; do sleep 1; done
    exec "$0" start
    ;;
version)
    cat "$CARBON_HOME/bin/version.txt"
    ;;
*)
    echo "Usage: wso2server.sh start|stop|restart|version" >&2
    exit 1
    ;;
esac
"#,
        home = quoted(&home.to_string_lossy()),
        program = quoted(&relaunch.program.to_string_lossy()),
        role = super::ROLE,
        arguments = arguments.join(" "),
    )
}

fn patch_script(home: &Path) -> String {
    format!(
        r#"#!/bin/sh
# apply: installs the release in HA_RELEASE; restore: brings that release back. version.txt is written last.
set -eu
CARBON_HOME={home}
cd "$CARBON_HOME"
case "$1" in
apply)
    cp -p bin/version.txt backup/version.txt
    if [ -e fail-patch ]; then
        rm -f fail-patch bin/version.txt
        echo "patch: no space left on device" >&2
        exit 1
    fi
    ;;
restore)
    ;;
*)
    echo "Usage: patch.sh apply|restore" >&2
    exit 2
    ;;
esac
echo "$HA_RELEASE" > bin/.version.txt.new
mv bin/.version.txt.new bin/version.txt
"#,
        home = quoted(&home.to_string_lossy()),
    )
}
