//! A host in a folder of its own, beside scripts that a command runs there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ha_core::topology::{Component, Name, Setting};
use ha_local::{LocalHost, LocalHostConfig};

/// Writes a program.
pub(crate) fn script(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(String::from).collect()
}

/// Drives the server of the folder `home` in this one.
pub(crate) fn host(dir: &Path) -> LocalHost {
    let home = dir.join("home");
    let text = |key: &str, value: &str| (key.to_string(), Setting::Text(value.into()));
    let list = |key: &str, value: &str| (key.to_string(), Setting::List(words(value)));
    let mut host = Component::new(Name::new("local").unwrap());
    host.settings = [
        text("home", &home.display().to_string()),
        list("start", "server/start.sh"),
        list("stop", "server/stop.sh"),
        list("version", "server/version.sh"),
        text("pid_file", "server.pid"),
        text("identity", &home.display().to_string()),
    ]
    .into_iter()
    .collect();
    LocalHost::new(LocalHostConfig::from_component(&host).unwrap())
}
