#![doc = include_str!("../README.md")]

mod database;
mod endpoint;
pub mod fake_carbon;
mod fault_proxy;
mod haproxy;
mod lab;
mod life;
pub mod load;
mod machine;
mod pause;
mod port;
mod scripted;
mod ssh;
mod tomcat;
mod warden;

pub use database::{DatabaseSpec, MariaDbServer, PausedServer, PostgresServer};
pub use endpoint::Endpoint;
pub use fault_proxy::{FaultProxy, Leg, LinkFault};
pub use haproxy::{HaProxyProcess, HaProxySpec, ServerSpec, Workers, haproxy_version};
pub use lab::Lab;
pub use machine::{Direction, Inside, SshMachine};
pub use pause::Paused;
pub use port::ReservedPort;
pub use scripted::{ScriptedAnswer, ScriptedSocket};
pub use ssh::{SYSTEMCTL, SshAccess, SshHost, SshSpec, Tarpit, TarpitKind};
pub use tomcat::{TomcatHome, TomcatRelease, write_war};
pub use warden::Warded;

/// Adds the hidden test that plays a role of this crate when a lab starts the test binary again. Once a test binary.
#[macro_export]
macro_rules! roles {
    () => {
        #[test]
        fn ha_lab_role() {
            $crate::fake_carbon::run_if_asked();
        }
    };
}
