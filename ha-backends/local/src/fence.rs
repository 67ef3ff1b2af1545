use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use ha_core::backend::{ErrorKind, StepError};
use ha_core::state::LeaseEpoch;

/// Holds a server's home for one command of one controller; the lock ends with the value. A server that the command starts
/// does not inherit it: Rust opens files close-on-exec.
#[derive(Debug)]
pub(crate) struct Fence {
    _lock: File,
}

const LOCK: &str = ".ha-epoch.lock";
const EPOCH: &str = ".ha-epoch";
const POLL: Duration = Duration::from_millis(20);

impl Fence {
    /// Takes the lock, refuses an epoch lower than the highest seen, and remembers a higher one durably. Blocks; call it
    /// where blocking is allowed.
    pub(crate) fn pass(
        home: &Path,
        epoch: LeaseEpoch,
        operation: &'static str,
        wait: Duration,
    ) -> Result<Self, StepError> {
        let error = |kind: ErrorKind, message: String| {
            StepError::new(kind, operation, home.display().to_string()).with_context(message).without_effect()
        };
        let failed = |cause: io::Error| error(ErrorKind::Unreachable, format!("its epoch cannot be kept: {cause}"));
        let lock = File::options().create(true).truncate(false).write(true).open(home.join(LOCK)).map_err(failed)?;
        let until = Instant::now() + wait;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => {
                    let message = format!("another controller's command still runs there after {wait:?}");
                    return Err(error(ErrorKind::Busy, message));
                }
                Err(TryLockError::Error(cause)) => return Err(failed(cause)),
            }
        }
        let seen = match fs::read_to_string(home.join(EPOCH)) {
            Ok(text) => text.trim().parse::<u64>().map_err(|_| {
                error(ErrorKind::Protocol, format!("{EPOCH} holds no number: restore the highest epoch by hand"))
            })?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => 0,
            Err(cause) => return Err(failed(cause)),
        };
        if epoch.number() < seen {
            let message = format!("epoch {seen} was seen there, this controller has {epoch}: it must stop");
            return Err(error(ErrorKind::Fenced, message));
        }
        if epoch.number() > seen {
            remember(home, epoch).map_err(failed)?;
        }
        Ok(Self { _lock: lock })
    }
}

fn remember(home: &Path, epoch: LeaseEpoch) -> io::Result<()> {
    let new = home.join(format!("{EPOCH}.new"));
    let mut file = File::create(&new)?;
    file.write_all(format!("{epoch}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, home.join(EPOCH))?;
    File::open(home)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_epoch_is_refused_for_ever_and_a_held_home_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let pass = |epoch| Fence::pass(dir.path(), LeaseEpoch::new(epoch), "stop", Duration::from_millis(60));
        let held = pass(2).unwrap();
        assert_eq!(pass(3).unwrap_err().kind(), ErrorKind::Busy);
        drop(held);
        drop(pass(3).unwrap());
        assert_eq!(pass(2).unwrap_err().kind(), ErrorKind::Fenced);
        drop(pass(3).unwrap());
    }
}
