use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The highest lease epoch that a balancer has seen, kept in a file beside its admin socket: whoever was replaced does not
/// come back by a restart.
#[derive(Debug, Default)]
pub(super) struct KeptEpoch {
    seen: u64,
    /// Where it is kept; `None` before the balancer is started.
    file: Option<PathBuf>,
}

impl KeptEpoch {
    /// Reads the epoch that is kept for the balancer at `socket`; 0 where none is.
    pub(super) fn of(socket: &Path) -> io::Result<Self> {
        let mut name = socket.file_name().unwrap_or_default().to_os_string();
        name.push(".epoch");
        let file = socket.with_file_name(name);
        let seen = match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().map_err(|_| {
                let message = format!("{} holds no number: restore the highest epoch by hand", file.display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(Self { seen, file: Some(file) })
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Keeps a higher epoch durably.
    pub(super) fn raise(&mut self, epoch: u64) -> io::Result<()> {
        if epoch <= self.seen {
            return Ok(());
        }
        if let Some(file) = &self.file {
            let new = file.with_extension("epoch.new");
            let mut written = File::create(&new)?;
            written.write_all(format!("{epoch}\n").as_bytes())?;
            written.sync_all()?;
            fs::rename(&new, file)?;
            if let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                File::open(dir)?.sync_all()?;
            }
        }
        self.seen = epoch;
        Ok(())
    }
}
