//! What two components of a topology must not have in common.

use std::collections::BTreeMap;
use std::path::Path;

use ha_core::topology::{Component, Role, Setting, Topology};

use crate::error::{ConnectError, Place};

/// Balancers of this workspace, whose sockets each belong to one instance.
const BALANCERS: [&str; 2] = ["haproxy", "local"];
/// Hosts of this workspace, whose homes each belong to one server.
const HOSTS: [&str; 2] = ["local", "ssh"];

/// Each of these names one server of a machine.
const SERVER: [(&str, &str); 4] = [
    ("home", "two nodes with one home are one server: give each its own, or remove one"),
    ("unit", "two nodes with one unit are one server: give each its own, or remove one"),
    ("pid_file", "two servers with one pid file are taken for each other: give each its own"),
    ("identity", "two servers with one identity are taken for each other: give each an argument that only it has"),
];
/// Probes of this workspace, and the setting that says where they ask.
const ADDRESSES: [(&str, &str); 3] = [("http", "url"), ("tcp", "ports"), ("log", "log")];

/// Finds balancers that name one socket, nodes that name one server of a machine, and probes that ask one address, as a copied
/// block does. What a backend of another crate means by its settings is not known here.
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
    let mut servers = BTreeMap::new();
    for declared in topology.components(Role::Host) {
        let host = declared.component;
        if !HOSTS.contains(&host.backend.as_str()) {
            continue;
        }
        let machine = ["host", "port"].map(|key| value(host, key).unwrap_or_default());
        let home = value(host, "home").map(|home| plain(&home)).unwrap_or_default();
        for (key, fix) in SERVER {
            let Some(given) = value(host, key) else { continue };
            let meant = match key {
                "home" => home.clone(),
                "pid_file" => Path::new(&home).join(&given).display().to_string(),
                _ => given.clone(),
            };
            let one = (host.backend.to_string(), machine.clone(), key, meant);
            let place = Place { line: host.line_of(key), key: format!("{}.{key}", declared.key()) };
            let shared = meet(&mut servers, one, place, given, fix);
            // What follows from one home is not told again.
            let is_home = key == "home" && shared.is_some();
            found.extend(shared);
            if is_home {
                break;
            }
        }
    }
    let mut addresses = BTreeMap::new();
    for declared in topology.components(Role::Probe) {
        let probe = declared.component;
        let Some((_, key)) = ADDRESSES.iter().find(|(backend, _)| *backend == probe.backend.as_str()) else { continue };
        let Some(given) = value(probe, key) else { continue };
        let place = Place { line: probe.line_of(key), key: format!("{}.{key}", declared.key()) };
        let one = (probe.backend.to_string(), given.clone());
        let fix = "two nodes with one address are one server to their probes: give each its own";
        found.extend(meet(&mut addresses, one, place, given, fix));
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
        Setting::List(list) => Some(list.join(" ")),
        Setting::Flag(_) => None,
    }
}

/// A path without what leaves it the same: double and trailing slashes, and dots.
fn plain(path: &str) -> String {
    Path::new(path).components().collect::<std::path::PathBuf>().display().to_string()
}
