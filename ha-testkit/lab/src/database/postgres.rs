use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::folder::DataFolder;
use super::process::{PausedServer, ServerProcess};
use super::template::Template;
use super::user::ServiceUser;
use super::{DatabaseSpec, not_installed, output};
use crate::{Inside, Lab};

/// A private PostgreSQL. Dropping it ends it and removes its data.
///
/// The superuser `postgres` needs no password, from the socket, from 127.0.0.1 and from machines of a lab; over TCP every other user does.
#[derive(Debug)]
pub struct PostgresServer {
    process: ServerProcess,
    bin: PathBuf,
    address: Ipv4Addr,
    port: u16,
    databases: AtomicU32,
    user: ServiceUser,
    restart: PathBuf,
    rebuild: PathBuf,
}

const PACKAGE: &str = "postgresql";

/// Without durability a kill of the server may lose the last commits, and nothing else.
const FAST: [&str; 3] = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

const SETTINGS: [&str; 9] = [
    // In the folder, which is removed; elsewhere a killed server would leave it.
    "dynamic_shared_memory_type=mmap",
    "shared_buffers=16MB",
    "wal_level=minimal",
    "max_wal_senders=0",
    "autovacuum=off",
    "jit=off",
    "min_wal_size=2MB",
    "log_min_messages=fatal",
    "log_min_error_statement=panic",
];

const HBA: &str = "local all all trust\nhost replication postgres 127.0.0.1/32 trust\nhost replication postgres 10.213.0.0/16 trust\n\
    host all postgres 127.0.0.1/32 trust\nhost all postgres 10.213.0.0/16 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// What waits in the scripts below: a minute at most, so that whoever runs them is told.
const WAIT: &str = r#"patiently() {
    left=3000
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { echo "not so in 60 s: $*" >&2; exit 1; }
        sleep 0.02
    done
}
gone() { ! kill -0 "$1" 2>/dev/null; }
away() { ! [ -e "$1" ]; }
ready() { grep -q '^ready' "$1/postmaster.pid" 2>/dev/null; }
"#;

/// Starts it again after each clean stop, once nobody holds it.
const SUPERVISE: &str = r#"hold=$1; shift
while "$@"; do patiently away "$hold"; done"#;

/// SIGINT is a fast shutdown; the eighth line of the pid file says how far the next start is.
const RESTART: &str = r#"pid=$(head -n 1 "$1/postmaster.pid") || exit 1
kill -INT "$pid" || exit 1
patiently gone "$pid"
patiently ready "$1"
"#;

const REBUILD: &str = r#"set -e
data=$1 hold=$2; shift 2
: >"$hold"
if pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null); then
    kill -INT "$pid"
    patiently gone "$pid"
fi
rm -rf "$data"/*
cd /
"$@" -X stream -c fast -d "$HA_CONNINFO" -D "$data"
printf "primary_conninfo = '%s'\n" "$HA_CONNINFO" >"$data/postgresql.auto.conf"
: >"$data/standby.signal"
rm "$hold"
patiently ready "$data"
"#;

/// The file that keeps a supervised server from being started again.
fn hold(folder: &Path) -> PathBuf {
    folder.join("hold")
}

impl PostgresServer {
    pub(super) fn start(lab: &Lab, name: &str, spec: &DatabaseSpec) -> io::Result<Self> {
        let (bin, user) = (bin()?, ServiceUser::find("postgres", PACKAGE)?);
        let version = output(Command::new(bin.join("postgres")).arg("--version"))?;
        let initdb = |data: &Path| {
            let options = ["-N", "--locale=C", "-E", "UTF8", "-A", "trust", "--wal-segsize=1", "-U", "postgres", "-D"];
            output(user.command(&bin.join("initdb")).args(options).arg(data))?;
            std::fs::write(data.join("pg_hba.conf"), HBA)
        };
        let template = Template { kind: "postgres", version: version.trim(), user: &user, build: &initdb };
        Self::start_with(lab, name, spec, |data| template.copy_to(data))
    }

    pub(super) fn start_standby(lab: &Lab, name: &str, of: &Self, spec: &DatabaseSpec) -> io::Result<Self> {
        Self::start_with(lab, name, spec, |data| {
            let options = ["-X", "stream", "-c", "fast", "-d", &of.conninfo(), "-D"];
            output(of.user.command(&of.bin.join("pg_basebackup")).args(options).arg(data))?;
            let follow = format!("primary_conninfo = '{}'\n", of.conninfo());
            std::fs::write(data.join("postgresql.auto.conf"), follow)?;
            std::fs::write(data.join("standby.signal"), "")
        })
    }

    fn start_with(
        lab: &Lab,
        name: &str,
        spec: &DatabaseSpec,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<Self> {
        let (bin, user) = (bin()?, ServiceUser::find("postgres", PACKAGE)?);
        let folder = DataFolder::make("postgres", &user, spec.on_disk)?;
        let data = folder.path().join("data");
        fill(&data)?;
        let port = lab.free_port()?;
        let mut argv = Vec::new();
        if spec.supervised {
            argv.extend(["/bin/sh".into(), "-c".into(), format!("{WAIT}{SUPERVISE}"), "sh".into()]);
            argv.push(hold(folder.path()).display().to_string());
        }
        argv.push(bin.join("postgres").display().to_string());
        argv.extend(["-D".into(), data.display().to_string()]);
        argv.extend(["-k".into(), folder.path().display().to_string(), "-p".into(), port.to_string()]);
        let fast = if spec.durable { [].as_slice() } else { FAST.as_slice() };
        let address = Inside::address(spec.inside.as_ref());
        argv.extend(["-c".into(), format!("listen_addresses={address}")]);
        for setting in SETTINGS.iter().chain(fast).copied().chain(spec.settings.iter().map(String::as_str)) {
            argv.extend(["-c".into(), setting.into()]);
        }
        let socket = folder.path().join(format!(".s.PGSQL.{port}"));
        let log = lab.path().join(format!("{name}.log"));
        let argv = Inside::argv(spec.inside.as_ref(), user.argv(argv));
        let process = ServerProcess::start(lab.relaunch().clone(), argv, log, folder, socket, answers)?;
        let script = |file: &str, text: &str| {
            let path = lab.path().join(format!("{name}-{file}"));
            std::fs::write(&path, format!("{WAIT}{text}")).map(|()| path)
        };
        let (restart, rebuild) = (script("restart.sh", RESTART)?, script("rebuild.sh", REBUILD)?);
        Ok(Self { process, bin, address, port, databases: AtomicU32::new(0), user, restart, rebuild })
    }

    /// Returns where it listens: 127.0.0.1, or the address of the machine that it runs in.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Returns the port; also a part of the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder of its socket.
    pub fn socket_folder(&self) -> &Path {
        self.process.folder()
    }

    /// Returns how a standby reaches it: a libpq connection string.
    pub fn conninfo(&self) -> String {
        format!("host={} port={} user=postgres", self.address, self.port)
    }

    /// Returns the command that restarts it with a fast shutdown, as a service manager does, and ends when it answers again. It must
    /// be supervised.
    pub fn restart_command(&self) -> Vec<String> {
        ["/bin/sh".into(), self.restart.display().to_string(), self.data().display().to_string()].into()
    }

    /// Returns the command that makes it a standby of the one that `HA_CONNINFO` reaches, by a base backup, and ends when it answers
    /// again. It must be supervised.
    pub fn rebuild_command(&self) -> Vec<String> {
        let [data, hold] = [self.data(), hold(self.process.folder())].map(|path| path.display().to_string());
        let backup = self.user.argv(vec![self.bin.join("pg_basebackup").display().to_string()]);
        [vec!["/bin/sh".into(), self.rebuild.display().to_string(), data, hold], backup].concat()
    }

    /// Returns the folder of its data.
    pub fn data(&self) -> PathBuf {
        self.process.folder().join("data")
    }

    /// Returns what it printed so far: the file of its log.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// Makes a database of its own for a test, and returns its name.
    ///
    /// # Errors
    /// What the server says.
    pub fn database(&self) -> io::Result<String> {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::SeqCst) + 1);
        // Copying files is twice as fast as logging their pages (from version 15).
        let fast = format!("CREATE DATABASE {name} STRATEGY FILE_COPY");
        self.sql("postgres", &fast).or_else(|_| self.sql("postgres", &format!("CREATE DATABASE {name}")))?;
        Ok(name)
    }

    /// Runs SQL through psql as the superuser, and returns the rows, their columns separated by `|`: the truth by another
    /// route than a driver's.
    ///
    /// # Errors
    /// What the server says, up to the first statement that fails.
    pub fn sql(&self, database: &str, sql: &str) -> io::Result<String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]).arg(self.socket_folder());
        let printed = output(psql.args(["-p", &self.port.to_string(), "-d", database, "-c", sql]))?;
        Ok(printed.trim_end().to_string())
    }

    /// Returns the process id of the main process.
    ///
    /// # Errors
    /// When it was killed.
    pub fn pid(&self) -> io::Result<u32> {
        self.process.pid()
    }

    /// Ends all its processes with SIGKILL. Its data stays until this is dropped.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Starts it anew on the same data and port, after a [`kill`](Self::kill) where it still runs.
    ///
    /// # Errors
    /// As [`Lab::postgres`].
    pub fn restart(&self) -> io::Result<()> {
        self.process.restart()
    }

    /// Stops all its processes (SIGSTOP) until the guard is dropped.
    ///
    /// # Errors
    /// When it was killed, or does not stop.
    pub fn pause(&self) -> io::Result<PausedServer> {
        self.process.pause()
    }
}

/// Finds the programs of the newest version that is installed; Debian keeps them off the search path.
fn bin() -> io::Result<PathBuf> {
    let dirs = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = dirs.filter_map(|dir| {
        let version: u32 = dir.file_name().to_str()?.parse().ok()?;
        let bin = dir.path().join("bin");
        bin.join("postgres").is_file().then_some((version, bin))
    });
    versions.max().map(|(_, bin)| bin).ok_or_else(|| not_installed("postgres", PACKAGE))
}

/// Tells whether the server takes sessions: it answers a startup message with a request to authenticate.
fn answers(socket: &Path) -> bool {
    // Length, protocol 3.0, parameters, each with its zero byte, and one more.
    const STARTUP: &[u8] = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    let ask = || -> io::Result<u8> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(STARTUP)?;
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        Ok(kind[0])
    };
    ask().is_ok_and(|kind| kind == b'R')
}
