use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::folder::DataFolder;
use super::process::{PausedServer, ServerProcess};
use super::template::Template;
use super::user::ServiceUser;
use super::{DatabaseSpec, output, program};
use crate::Lab;

/// A private MariaDB. Dropping it ends it and removes its data.
///
/// The user `root` needs no password, from the socket and from 127.0.0.1.
#[derive(Debug)]
pub struct MariaDbServer {
    process: ServerProcess,
    client: PathBuf,
    port: u16,
    databases: AtomicU32,
}

const PACKAGE: &str = "mariadb-server";

/// Without durability a kill of the server may lose the last second of commits.
const FAST: [&str; 3] =
    ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-flush-method=nosync"];

const SETTINGS: [&str; 8] = [
    // As Debian sets it.
    "--character-set-server=utf8mb4",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--performance-schema=0",
    "--innodb-buffer-pool-size=16M",
    "--innodb-use-native-aio=0",
    "--bind-address=127.0.0.1",
    "--max-connect-errors=1000000",
];

/// A log file of another size would be made anew at every start.
const LOG_FILE: &str = "--innodb-log-file-size=8M";

/// In bootstrap mode every line is a statement.
const GRANTS: &str = "FLUSH PRIVILEGES;\nCREATE OR REPLACE USER 'root'@'127.0.0.1';\n\
    GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n";

impl MariaDbServer {
    pub(super) fn start(lab: &Lab, name: &str, spec: &DatabaseSpec) -> io::Result<Self> {
        let (server, user) = (program("mariadbd", PACKAGE)?, ServiceUser::find("mysql", PACKAGE)?);
        let client = program("mariadb", "mariadb-client")?;
        let version = output(Command::new(&server).arg("--version"))?;
        let folder = DataFolder::make("mariadb", &user, spec.on_disk)?;
        let data = folder.path().join("data");
        let build = |data: &Path| build(&server, &user, data);
        Template { kind: "mariadb", version: version.trim(), user: &user, build: &build }.copy_to(&data)?;
        let (port, socket) = (lab.free_port()?, folder.path().join("mariadb.sock"));
        // First of all, so that no file of the machine is read.
        let mut argv = vec![server.display().to_string(), "--no-defaults".into(), LOG_FILE.into()];
        argv.push(format!("--datadir={}", data.display()));
        argv.push(format!("--tmpdir={}", folder.path().display()));
        argv.push(format!("--socket={}", socket.display()));
        argv.push(format!("--port={port}"));
        argv.extend(SETTINGS.map(String::from));
        if !spec.durable {
            argv.extend(FAST.map(String::from));
        }
        argv.extend(spec.settings.iter().map(|setting| format!("--{setting}")));
        let log = lab.path().join(format!("{name}.log"));
        let process = ServerProcess::start(lab.relaunch().clone(), user.argv(argv), log, folder, socket, answers)?;
        Ok(Self { process, client, port, databases: AtomicU32::new(0) })
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.process.folder().join("mariadb.sock")
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
        self.sql("mysql", &format!("CREATE DATABASE {name}"))?;
        Ok(name)
    }

    /// Runs SQL through the mariadb client as root, and returns the rows, their columns separated by tabs: the truth by
    /// another route than a driver's.
    ///
    /// # Errors
    /// What the server says, up to the first statement that fails.
    pub fn sql(&self, database: &str, sql: &str) -> io::Result<String> {
        let mut client = Command::new(&self.client);
        client.args([
            "--no-defaults",
            "--user=root",
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
        ]);
        client.arg(format!("--socket={}", self.socket().display()));
        Ok(output(client.args(["-e", sql, database]))?.trim_end().to_string())
    }

    /// Returns its process id.
    ///
    /// # Errors
    /// When it was killed.
    pub fn pid(&self) -> io::Result<u32> {
        self.process.pid()
    }

    /// Ends it with SIGKILL. Its data stays until this is dropped.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Starts it anew on the same data and port, after a [`kill`](Self::kill) where it still runs.
    ///
    /// # Errors
    /// As [`Lab::mariadb`].
    pub fn restart(&self) -> io::Result<()> {
        self.process.restart()
    }

    /// Stops it (SIGSTOP) until the guard is dropped.
    ///
    /// # Errors
    /// When it was killed, or does not stop.
    pub fn pause(&self) -> io::Result<PausedServer> {
        self.process.pause()
    }
}

fn build(server: &Path, user: &ServiceUser, data: &Path) -> io::Result<()> {
    let install = program("mariadb-install-db", PACKAGE)?;
    let options = ["--no-defaults", "--basedir=/usr", "--skip-test-db", "--auth-root-authentication-method=normal"];
    let datadir = format!("--datadir={}", data.display());
    output(user.command(&install).args(options).args([LOG_FILE, &datadir]))?;
    let mut bootstrap = user.command(server);
    bootstrap.args(["--no-defaults", LOG_FILE, "--innodb-use-native-aio=0", "--bootstrap", &datadir]);
    let mut child = bootstrap.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(GRANTS.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(io::Error::other(format!("mariadbd --bootstrap: {said}"))) }
}

/// Tells whether the server takes sessions: it greets with protocol version 10.
fn answers(socket: &Path) -> bool {
    let listen = || -> io::Result<[u8; 5]> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut greeting = [0; 5];
        stream.read_exact(&mut greeting)?;
        Ok(greeting)
    };
    listen().is_ok_and(|greeting| greeting[4] == 10)
}
