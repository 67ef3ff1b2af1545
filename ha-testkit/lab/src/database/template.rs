use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::folder::DataFolder;
use super::output;
use super::user::ServiceUser;

/// The first data of a server, made once for each of its versions and copied for every server.
pub(super) struct Template<'a> {
    /// `postgres` or `mariadb`.
    pub(super) kind: &'a str,
    /// What the program says of its version.
    pub(super) version: &'a str,
    pub(super) user: &'a ServiceUser,
    /// Fills the folder `data`, which is not there yet, inside a folder of the user.
    pub(super) build: &'a dyn Fn(&Path) -> io::Result<()>,
}

/// Changed with every change of how a template is made.
const RECIPE: u32 = 3;

impl Template<'_> {
    /// Copies it to `data`, and makes it first where this version has none.
    pub(super) fn copy_to(&self, data: &Path) -> io::Result<()> {
        let parent = home()?;
        fs::create_dir_all(&parent)?;
        let version: String =
            self.version.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
        let user = rustix::process::geteuid().as_raw();
        let made = parent.join(format!("{}-{version}-{user}-{RECIPE}", self.kind));
        if !made.exists() {
            // One makes it, the others wait for it here; the lock ends with its process.
            let lock = File::create(parent.join(format!("{}.lock", self.kind)))?;
            lock.lock()?;
            if !made.exists() {
                self.make(&made)?;
            }
        }
        copy(&made, data)
    }

    fn make(&self, made: &Path) -> io::Result<()> {
        let folder = DataFolder::make(&format!("{}-template", self.kind), self.user, false)?;
        let data = folder.path().join("data");
        (self.build)(&data)?;
        let half = made.with_extension("half");
        if half.exists() {
            fs::remove_dir_all(&half)?;
        }
        copy(&data, &half)?;
        fs::rename(&half, made)
    }
}

/// Owner, mode and times stay.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    output(Command::new("cp").arg("-a").arg(from).arg(to)).map(drop)
}

/// The build's target folder, which cargo marks, or a temporary one.
fn home() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    Ok(target.map_or_else(std::env::temp_dir, Path::to_path_buf).join("ha-lab-databases"))
}
