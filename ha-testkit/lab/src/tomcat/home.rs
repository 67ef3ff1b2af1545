use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::process::Signal;

use super::reaper::Reaper;
use crate::database::output;
use crate::life::{PATIENCE, end, running, within};

/// A private Tomcat: the tree that `tomcat10-instance-create` makes, with
/// - `bin/startup.sh` and `bin/shutdown.sh`, Debian's own, and the pid file `tomcat.pid`, which a killed server leaves behind;
/// - `bin/patch.sh apply|restore`, which installs the release in `HA_RELEASE` and writes `version.txt` last;
/// - `console`, the pages of the release, at `/`, with `/services/Version`, which answers the release that was there when the
///   server started, and `/selftest`, which answers `ok RELEASE` once each war of `webapps` is served in its newest version;
/// - `webapps`, wars (`app##002.war` beside `app##001.war`), looked through every second, not unpacked: whatever is in the folder
///   was put there.
///
/// The server ends with the last clone of this value.
#[derive(Clone, Debug)]
pub struct TomcatHome {
    pub(super) path: PathBuf,
    pub(super) port: u16,
    pub(super) _reaper: Arc<Reaper>,
}

impl TomcatHome {
    /// Returns the home directory (`CATALINA_BASE`).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the argument that identifies the server's process. It is not `-Dcatalina.base=...`: for as long as `shutdown.sh`
    /// takes, a second Java has that argument too.
    pub fn identity(&self) -> String {
        format!("-Dha.server={}", self.path.display())
    }

    /// Returns the log of its requests: a line `S id` for each that has ended.
    pub fn request_log(&self) -> PathBuf {
        self.path.join("logs/requests.log")
    }

    /// Returns the installed release, or an empty text where none is.
    pub fn release(&self) -> String {
        fs::read_to_string(self.path.join("version.txt")).unwrap_or_default().trim().to_string()
    }

    /// Gives its pages the data source `jdbc/orders` from the next start on: a pool of at most eight connections to a PostgreSQL.
    /// `${ha.release}` in the URL is the release.
    ///
    /// # Errors
    /// When Debian's libpostgresql-jdbc-java is not installed (with how to get it), and what the file system says.
    pub fn set_postgres(&self, url: &str) -> io::Result<()> {
        let driver = Path::new("/usr/share/java/postgresql.jar");
        if !driver.exists() {
            return Err(super::install::not_installed("libpostgresql-jdbc-java"));
        }
        let lib = self.path.join("lib");
        fs::create_dir_all(&lib)?;
        fs::copy(driver, lib.join("postgresql.jar"))?;
        super::install::write_context(&self.path, Some(url))
    }

    /// Starts it by its script and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer in 20 s, with what it printed.
    pub fn start(&self) -> io::Result<()> {
        output(Command::new(self.path.join("bin/startup.sh")).stdin(Stdio::null()))?;
        if within(PATIENCE, || self.pid().is_some() && super::install::answers(self.port)) {
            return Ok(());
        }
        let printed = fs::read_to_string(self.path.join("logs/catalina.out")).unwrap_or_default();
        Err(io::Error::other(format!("the Tomcat did not answer in {PATIENCE:?}: {printed}")))
    }

    /// Returns the process id of the running server; `None` when none runs.
    pub fn pid(&self) -> Option<u32> {
        running(&self.path.join("tomcat.pid"), &self.identity())
    }

    /// Ends the running server with kill -9 and waits for its end; `false` when none runs.
    ///
    /// # Errors
    /// When the signal cannot be sent, and when the server still runs after 20 s.
    pub fn kill(&self) -> io::Result<bool> {
        self.pid().map_or(Ok(false), |pid| end(pid, Signal::KILL))
    }
}
