//! Private instances of Debian's tomcat10: real Java servers, started and stopped by the scripts that come with them.

mod home;
mod install;
mod reaper;
mod war;

pub use home::TomcatHome;
pub(crate) use reaper::reaper;
pub use war::write_war;

use std::io;
use std::path::PathBuf;

use crate::Lab;

/// What is installed on a Tomcat: its name, and the pages that come with it.
///
/// # Examples
///
/// ```
/// use ha_lab::TomcatRelease;
///
/// let page = r#"<%@ page session="false" contentType="text/plain" %>hello"#;
/// let release = TomcatRelease::new("4.2.0").with_page("hello", page);
/// assert_eq!((release.name.as_str(), release.pages.len()), ("4.2.0", 2));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TomcatRelease {
    /// Its name, which the server answers at `/services/Version`.
    pub name: String,
    /// JSPs by the path, without the slash, at which each is served. Compiled when the server starts.
    pub pages: Vec<(String, String)>,
}

impl TomcatRelease {
    /// Describes one with the page `orders`, which answers `orders RELEASE PID`, after `ms` milliseconds where the query says so.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), pages: vec![("orders".into(), include_str!("pages/orders.jsp").into())] }
    }

    /// Adds a page, or replaces the one at the same path.
    #[must_use]
    pub fn with_page(mut self, path: impl Into<String>, jsp: impl Into<String>) -> Self {
        let path = path.into();
        self.pages.retain(|(other, _)| *other != path);
        self.pages.push((path, jsp.into()));
        self
    }
}

impl Lab {
    /// Installs a private Tomcat on free ports of 127.0.0.1, with this release on it. Its scripts start and stop it; it ends with
    /// the returned value, and when this process is killed.
    ///
    /// # Errors
    /// When Debian's tomcat10 or tomcat10-user is not installed (with how to get them), and what the file system says.
    pub fn tomcat(&self, name: &str, release: &TomcatRelease) -> io::Result<TomcatHome> {
        let ports = [self.free_port()?, self.free_port()?];
        install::install(&self.path().join(name), ports, &self.tomcat_release(release)?, release, self.relaunch())
    }

    /// Keeps a release where the `patch.sh` of each Tomcat of this lab finds it by its name; returns its folder.
    ///
    /// # Errors
    /// What the file system says.
    pub fn tomcat_release(&self, release: &TomcatRelease) -> io::Result<PathBuf> {
        let folder = self.path().join("packages").join(&release.name);
        install::write_release(&folder, release)?;
        Ok(folder)
    }
}
