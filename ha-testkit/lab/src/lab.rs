use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use crate::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use crate::{ReservedPort, ssh};

/// A folder of its own and everything that runs in it. Dropping it ends its servers and removes the folder.
///
/// # Examples
///
/// ```no_run
/// use ha_lab::fake_carbon::{CarbonConfig, Relaunch};
/// use ha_lab::{HaProxySpec, Lab, ServerSpec};
///
/// // In a test binary, which has a line `ha_lab::roles!();`.
/// let lab = Lab::open(Relaunch::test()?)?;
/// let server = lab.carbon("esb1", CarbonConfig::fast("1.0"))?;
/// server.start()?;
/// let haproxy = lab.haproxy("lb1", &HaProxySpec::new("esb", vec![ServerSpec::new("esb1", server.port())]))?;
/// println!("clients: {}", haproxy.address());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Lab {
    dir: TempDir,
    relaunch: Relaunch,
    lifelines: Lifelines,
    closed: Arc<AtomicBool>,
    reserved: Mutex<Vec<ReservedPort>>,
    pub(crate) guardian: Mutex<Option<Arc<ssh::Guardian>>>,
}

type Lifelines = Arc<Mutex<Vec<UnixStream>>>;

impl Lab {
    /// Opens a lab that starts its servers by `relaunch`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(relaunch: Relaunch) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("ha-lab-").tempdir()?;
        let listener = UnixListener::bind(dir.path().join("lifeline.sock"))?;
        let (lifelines, closed) = (Lifelines::default(), Arc::new(AtomicBool::new(false)));
        let (held, done) = (lifelines.clone(), closed.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if done.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    held.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
                }
            }
        });
        Ok(Self { dir, relaunch, lifelines, closed, reserved: Mutex::default(), guardian: Mutex::default() })
    }

    /// Returns the lab's folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns how the lab starts the current program again.
    pub fn relaunch(&self) -> &Relaunch {
        &self.relaunch
    }

    /// Finds a free loopback port and keeps it from every other lab for as long as this one lives.
    ///
    /// # Errors
    /// When no port is free.
    pub fn free_port(&self) -> io::Result<u16> {
        let port = ReservedPort::any()?;
        let number = port.number();
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner).push(port);
        Ok(number)
    }

    /// Installs a server; its scripts start and stop it. A port of 0 is replaced by a free one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn carbon(&self, name: &str, mut config: CarbonConfig) -> io::Result<CarbonHome> {
        if config.port == 0 {
            config.port = self.free_port()?;
        }
        config.lifeline = self.lifeline();
        CarbonHome::install(&self.path().join(name), &config, &self.relaunch)
    }

    fn lifeline(&self) -> PathBuf {
        self.path().join("lifeline.sock")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(guardian) = self.guardian.lock().unwrap_or_else(PoisonError::into_inner).take() {
            guardian.close();
        }
        self.closed.store(true, Ordering::SeqCst);
        self.lifelines.lock().unwrap_or_else(PoisonError::into_inner).clear();
        // Wakes the thread that accepts, so that it ends.
        let _ = UnixStream::connect(self.lifeline());
    }
}
