use std::io;
use std::path::Path;
use std::process::Command;

/// Whom a database server runs as: it refuses to run as root.
#[derive(Clone, Debug)]
pub(super) enum ServiceUser {
    /// The user of this process.
    Own,
    /// The user that Debian's package makes.
    Of { name: &'static str, uid: u32, gid: u32 },
}

impl ServiceUser {
    /// Finds the user that a package has made; for root only, anybody else starts servers as himself.
    pub(super) fn find(name: &'static str, package: &str) -> io::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        let users = std::fs::read_to_string("/etc/passwd")?;
        let ids = |line: &str| {
            let mut fields = line.split(':');
            let named = fields.next() == Some(name);
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            named.then_some((uid, gid))
        };
        let missing = || {
            let words =
                format!("there is no user {name}, which the server runs as: RUNLEVEL=1 apt-get install {package}");
            io::Error::new(io::ErrorKind::NotFound, words)
        };
        let (uid, gid) = users.lines().find_map(ids).ok_or_else(missing)?;
        Ok(Self::Of { name, uid, gid })
    }

    /// Gives a file or folder to the user.
    pub(super) fn own(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Of { uid, gid, .. } => std::os::unix::fs::chown(path, Some(*uid), Some(*gid)),
        }
    }

    /// The command line that runs `argv` as the user, in the same process.
    pub(super) fn argv(&self, argv: Vec<String>) -> Vec<String> {
        match self {
            Self::Own => argv,
            Self::Of { name, .. } => {
                let mut line =
                    ["setpriv", "--reuid", name, "--regid", name, "--clear-groups"].map(String::from).to_vec();
                line.extend(argv);
                line
            }
        }
    }

    /// A command that runs `program` as the user, from a folder that it may be in.
    pub(super) fn command(&self, program: &Path) -> Command {
        let argv = self.argv(vec![program.display().to_string()]);
        let mut words = argv.iter();
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command.args(words).current_dir("/");
        command
    }
}
