//! How one node takes part, on its own disk: whether the sync into it is held, whether it may write, and the highest writer epoch
//! that it has seen. Each is a file of its own that is replaced as a whole.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ha_core::state::WriterEpoch;

const STATE: &str = ".ha-files";
const HELD: &str = "held";
const WRITER: &str = "writer";
const SEEN: &str = "seen";
const LOCK: &str = "lock";
const POLL: Duration = Duration::from_millis(10);

/// The state of one node below its home.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    dir: PathBuf,
}

/// A transfer into the node, or the proof that there is none, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Quiet {
    _lock: File,
}

impl Gate {
    pub(crate) fn of(home: &Path) -> Self {
        Self { dir: home.join(STATE) }
    }

    /// Where sets are staged: on the file system of the home.
    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.join("staged")
    }

    /// Where the set before the present one is.
    pub(crate) fn previous(&self) -> PathBuf {
        self.dir.join("previous")
    }

    pub(crate) fn is_held(&self) -> io::Result<bool> {
        self.dir.join(HELD).try_exists()
    }

    /// Closes the gate: no transfer begins from here on, whoever dies. Says who closed it and why, for people.
    pub(crate) fn close(&self, why: &str) -> io::Result<()> {
        self.write(HELD, why)
    }

    pub(crate) fn open(&self) -> io::Result<()> {
        self.remove(HELD)
    }

    /// Returns the epoch with which the node may write; `None` where it never was told.
    pub(crate) fn writer(&self) -> io::Result<Option<WriterEpoch>> {
        self.number(WRITER)
    }

    pub(crate) fn set_writer(&self, epoch: WriterEpoch) -> io::Result<()> {
        self.write(WRITER, &epoch.number().to_string())
    }

    pub(crate) fn seen(&self) -> io::Result<WriterEpoch> {
        Ok(self.number(SEEN)?.unwrap_or_default())
    }

    pub(crate) fn set_seen(&self, epoch: WriterEpoch) -> io::Result<()> {
        self.write(SEEN, &epoch.number().to_string())
    }

    /// Tells whether a transfer is under way.
    pub(crate) fn is_running(&self) -> io::Result<bool> {
        Ok(self.try_quiet()?.is_none())
    }

    /// Waits until no transfer is under way, and keeps the next one away; `None` at the deadline.
    pub(crate) fn quiet(&self, within: Duration) -> io::Result<Option<Quiet>> {
        let until = Instant::now() + within;
        loop {
            if let Some(quiet) = self.try_quiet()? {
                return Ok(Some(quiet));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }

    pub(crate) fn try_quiet(&self) -> io::Result<Option<Quiet>> {
        fs::create_dir_all(&self.dir)?;
        let lock = File::options().create(true).truncate(false).write(true).open(self.dir.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Quiet { _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn number(&self, name: &str) -> io::Result<Option<WriterEpoch>> {
        let path = self.dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let odd = || io::Error::new(io::ErrorKind::InvalidData, format!("{} holds no number", path.display()));
                text.trim().parse().map(|number| Some(WriterEpoch::new(number))).map_err(|_| odd())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let new = self.dir.join(format!("{name}.new"));
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join(name))?;
        File::open(&self.dir)?.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.dir.join(name)) {
            Ok(()) => File::open(&self.dir)?.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}
