//! A server that behaves as a WSO2 Carbon one: its directory tree, its script with the same verbs and the same lies, and
//! its process.

mod answer;
mod business;
mod control;
mod home;
mod server;

pub use business::{Answered, Asked, Business};
pub(crate) use home::script;
pub use home::{CarbonConfig, CarbonHome, Relaunch, quoted};

use std::ffi::OsString;

/// The environment variable that names the role to play.
pub(crate) const ROLE: &str = "HA_TESTKIT_ROLE";

/// The example key of RFC 6455 and its answer: the one handshake that the load generator sends and the server knows, so
/// that neither needs SHA-1. HAProxy passes it on.
pub(crate) const HANDSHAKE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const HANDSHAKE_ANSWER: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Plays the role that this process was started for, and never returns then; otherwise returns at once.
///
/// Call it first of all: before arguments are read, before a runtime is started.
pub fn run_if_asked() {
    run_if_asked_with(Business::none());
}

/// The same, where the servers have a part of the program's own.
pub fn run_if_asked_with(business: Business) {
    let Some(role) = std::env::var_os(ROLE) else { return };
    let code = if role == "carbon" {
        server::run(&argument("carbon.home="), business)
    } else if role == "warden" {
        crate::warden::warden()
    } else if role == "reaper" {
        crate::tomcat::reaper()
    } else if role == "guardian" {
        crate::ssh::guardian()
    } else {
        eprintln!("{ROLE}={} is no role", role.to_string_lossy());
        2
    };
    std::process::exit(code)
}

fn argument(prefix: &str) -> OsString {
    let found = std::env::args_os()
        .find_map(|argument| argument.to_str().and_then(|argument| argument.strip_prefix(prefix)).map(OsString::from));
    found.unwrap_or_default()
}
