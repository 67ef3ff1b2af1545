//! What two components of a topology must not have in common.

use std::collections::BTreeMap;
use std::path::Path;

use ha_core::topology::{Component, Role, Setting, Topology};

use crate::error::{ConnectError, Place};

/// Balancers of this workspace, whose sockets each belong to one instance.
const BALANCERS: [&str; 2] = ["haproxy", "local"];
/// Hosts of this workspace, whose homes each belong to one server.
const HOSTS: [&str; 2] = ["local", "ssh"];

/// Finds balancers that name one socket, and nodes that name one home on one machine. What a backend of another crate means
/// by its settings is not known here.
pub(crate) fn find(topology: &Topology) -> Vec<ConnectError> {
    let mut found = Vec::new();
    let mut sockets = BTreeMap::new();
    for declared in topology.components(Role::Balancer) {
        let component = declared.component;
        if !BALANCERS.contains(&component.backend.as_str()) {
            continue;
        }
        for key in ["socket", "master"] {
            let Some(value) = value(component, key) else { continue };
            let place = Place { line: component.line_of(key), key: format!("{}.{key}", declared.key()) };
            let fix = "two names for one instance would count it twice: give each its own, or remove one";
            found.extend(meet(&mut sockets, plain(&value), place, value.clone(), fix));
        }
    }
    let mut homes = BTreeMap::new();
    for declared in topology.components(Role::Host) {
        let host = declared.component;
        let Some(home) = value(host, "home").filter(|_| HOSTS.contains(&host.backend.as_str())) else { continue };
        let machine = ["host", "port"].map(|key| value(host, key).unwrap_or_default());
        let identity = (host.backend.to_string(), machine, plain(&home));
        let place = Place { line: host.line_of("home"), key: format!("{}.home", declared.key()) };
        let fix = "two nodes with one home are one server: give each its own, or remove one";
        found.extend(meet(&mut homes, identity, place, home, fix));
    }
    found
}

/// Remembers who names a value, or tells that somebody else does.
fn meet<K: Ord>(
    seen: &mut BTreeMap<K, Place>,
    key: K,
    place: Place,
    value: String,
    fix: &'static str,
) -> Option<ConnectError> {
    if let Some(other) = seen.get(&key) {
        return Some(ConnectError::Shared { place, value, other: other.clone(), fix });
    }
    seen.insert(key, place);
    None
}

fn value(component: &Component, key: &str) -> Option<String> {
    match component.settings.get(key)? {
        Setting::Text(text) => Some(text.clone()),
        Setting::Integer(number) => Some(number.to_string()),
        Setting::Flag(_) | Setting::List(_) => None,
    }
}

/// A path without what leaves it the same: double and trailing slashes, and dots.
fn plain(path: &str) -> String {
    Path::new(path).components().collect::<std::path::PathBuf>().display().to_string()
}
