//! Databases that are files: SQLite, H2, Derby.

use super::parameters::decoded;
use super::{Draft, Driver, Host, Mode, Result, refuse};

/// Reads `:memory:`, a path or `file:path`, and `?pragma=value`.
pub(super) fn sqlite<'a>(draft: &mut Draft<'a>, rest: &'a str) -> Result<String> {
    let (path, query) = rest.split_at_checked(rest.find('?').unwrap_or(rest.len())).unwrap_or((rest, ""));
    draft.query(query, decoded)?;
    // An empty path is a database in memory.
    draft.database = Some(if path.is_empty() { ":memory:" } else { path }.into());
    Ok(before_parameters(draft))
}

/// Reads `mem:name`, `[file:]path`, `tcp://host:port/path`, `ssl://...` or `zip:...`, and `;KEY=value`.
pub(super) fn h2<'a>(draft: &mut Draft<'a>, rest: &'a str) -> Result<String> {
    let (place, properties) = rest.split_at_checked(rest.find(';').unwrap_or(rest.len())).unwrap_or((rest, ""));
    draft.properties(properties, true)?;
    match place.strip_prefix("tcp:").or_else(|| place.strip_prefix("ssl:")) {
        Some(server) => {
            let Some(server) = server.strip_prefix("//") else { return refuse("no // before the host") };
            let (hosts, path) = server.split_once('/').unwrap_or((server, ""));
            for host in hosts.split(',') {
                draft.hosts.push(Host::parse(host, Driver::H2)?);
            }
            draft.database = Some(path.into());
        }
        None => {
            draft.mode = if place.starts_with("mem:") { Mode::Plain } else { Mode::Embedded };
            draft.database = Some(place.into());
        }
    }
    Ok(before_parameters(draft))
}

/// Reads `path;a=b` or `//host:port/path;a=b`.
pub(super) fn derby<'a>(draft: &mut Draft<'a>, rest: &'a str) -> Result<String> {
    let (place, properties) = rest.split_at_checked(rest.find(';').unwrap_or(rest.len())).unwrap_or((rest, ""));
    draft.properties(properties, false)?;
    match place.strip_prefix("//") {
        Some(server) => {
            let (host, path) = server.split_once('/').unwrap_or((server, ""));
            draft.hosts.push(Host::parse(host, Driver::Derby)?);
            draft.database = Some(path.into());
        }
        None => draft.database = Some(place.into()),
    }
    Ok(before_parameters(draft))
}

fn before_parameters(draft: &Draft<'_>) -> String {
    draft.text.get(..draft.parameters_at).unwrap_or_default().into()
}
