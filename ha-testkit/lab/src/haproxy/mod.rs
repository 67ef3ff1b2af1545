//! HAProxy in the lab: what it is to do, and the running process with its controls.

mod admin;
mod config;
mod process;
mod spec;

pub use admin::Workers;
pub use process::{HaProxyProcess, haproxy_version};
pub use spec::{HaProxySpec, ServerSpec};

use std::io;
use std::net::SocketAddr;

use super::{Inside, Lab};
use config::Place;

impl Lab {
    /// Starts HAProxy and waits until its admin socket answers.
    ///
    /// # Errors
    /// When HAProxy is not installed (with the package to install), when it refuses its configuration (with what it
    /// printed), and when it does not answer in 20 s.
    pub fn haproxy(&self, name: &str, spec: &HaProxySpec) -> io::Result<HaProxyProcess> {
        let dir = self.path().join(name);
        std::fs::create_dir(&dir)?;
        let ip = Inside::address(spec.inside.as_ref());
        let free = || self.free_port().map(|port| SocketAddr::from((ip, port)));
        let place = Place {
            inside: spec.inside.clone(),
            address: free()?,
            tcp_admin: spec.tcp_admin.then(free).transpose()?,
            config: dir.join("haproxy.cfg"),
            socket: dir.join("admin.sock"),
            master: spec.master.then(|| dir.join("master.sock")),
            state: dir.join("server-state"),
            log: dir.join("haproxy.log"),
        };
        HaProxyProcess::start(self.relaunch().clone(), place, spec)
    }

    /// Starts a pair of HAProxys with the same rows, as two machines of a high-availability pair have: `lb1` and `lb2`.
    ///
    /// # Errors
    /// As [`haproxy`](Self::haproxy).
    pub fn haproxy_pair(&self, spec: &HaProxySpec) -> io::Result<[HaProxyProcess; 2]> {
        Ok([self.haproxy("lb1", spec)?, self.haproxy("lb2", spec)?])
    }
}
