use std::net::Ipv6Addr;

use super::parameters::{decoded, is_secret};
use super::{Draft, Driver, Host, Mode, Result, refuse};

/// Reads `[mode:]//[user:password@]hosts/database?a=b`, of MySQL and MariaDB.
pub(super) fn read<'a>(draft: &mut Draft<'a>, driver: Driver, rest: &'a str) -> Result<String> {
    let mut rest = rest;
    if let Some(after) = rest.strip_prefix("+srv:") {
        (draft.mode, rest) = (Mode::Discovered, after);
    }
    let modes: &[(&str, Mode)] = if driver == Driver::MySql {
        &[("loadbalance:", Mode::LoadBalance), ("replication:", Mode::Plain), ("aurora:", Mode::Plain)]
    } else {
        &[
            ("replication:", Mode::Plain),
            ("loadbalance:", Mode::LoadBalance),
            ("load-balance-read:", Mode::LoadBalance),
            ("sequential:", Mode::Plain),
        ]
    };
    if let Some((after, mode)) = modes.iter().find_map(|(name, mode)| Some((rest.strip_prefix(name)?, *mode))) {
        draft.mode = if draft.mode == Mode::Discovered { Mode::Discovered } else { mode };
        rest = after;
    }
    let Some(rest) = rest.strip_prefix("//") else {
        return refuse(format!(
            "no // before the host, or a mode that is not known: write jdbc:{}://host/database",
            scheme(driver)
        ));
    };
    let end = top_level(rest, &['/', '?']).next().unwrap_or(rest.len());
    let (hosts, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (database, query) = match rest.strip_prefix('/') {
        Some(rest) => rest.split_at_checked(rest.find('?').unwrap_or(rest.len())).unwrap_or((rest, "")),
        None => ("", rest),
    };
    hosts_of(draft, driver, hosts, 0)?;
    if database.contains('@') {
        return refuse("an @ behind the host: write such signs of a user or password as %40, and / as %2F");
    }
    draft.query(query, decoded)?;
    draft.database = Some(decoded(database)).filter(|database| !database.is_empty());
    let before = draft.text.find("//").map_or("", |at| draft.text.get(..at).unwrap_or_default());
    let hosts: Vec<&str> = draft.hosts.iter().map(|host| host.written.as_str()).collect();
    let slash = if rest.starts_with('/') { "/" } else { "" };
    Ok(format!("{before}//{}{slash}{database}", hosts.join(",")))
}

fn scheme(driver: Driver) -> &'static str {
    if driver == Driver::MySql { "mysql" } else { "mariadb" }
}

/// Finds signs that are not in parentheses or brackets.
fn top_level<'t>(text: &'t str, signs: &'t [char]) -> impl Iterator<Item = usize> + 't {
    let mut depth = 0_i32;
    text.char_indices().filter_map(move |(at, sign)| {
        match sign {
            '(' | '[' => depth = depth.saturating_add(1),
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        (depth <= 0 && signs.contains(&sign)).then_some(at)
    })
}

fn hosts_of<'a>(draft: &mut Draft<'a>, driver: Driver, hosts: &'a str, depth: usize) -> Result<()> {
    let mut start = 0;
    let ends: Vec<usize> = top_level(hosts, &[',']).chain([hosts.len()]).collect();
    for end in ends {
        let mut part = hosts.get(start..end).unwrap_or_default();
        start = end + 1;
        if let Some(at) = top_level(part, &['@']).last() {
            let (credentials, behind) = part.split_at_checked(at).unwrap_or((part, ""));
            draft.credentials(credentials, ':', decoded);
            part = behind.get(1..).unwrap_or_default();
        }
        let inside = part.strip_prefix('[').and_then(|inside| inside.strip_suffix(']'));
        match inside {
            Some(inside) if !is_ipv6(inside) => {
                if depth > 0 {
                    return refuse("a list of hosts in a list of hosts");
                }
                hosts_of(draft, driver, inside, depth + 1)?;
            }
            _ => {
                let host = match part.strip_prefix("address=") {
                    Some(address) => keyed(draft, driver, address)?,
                    None if part.starts_with('(') => keyed(draft, driver, part)?,
                    None => Host::parse(part, driver)?,
                };
                draft.hosts.push(host);
            }
        }
    }
    Ok(())
}

fn is_ipv6(text: &str) -> bool {
    text.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// Reads `(host=h)(port=p)` or `(host=h,port=p)`.
fn keyed<'a>(draft: &mut Draft<'a>, driver: Driver, text: &'a str) -> Result<Host> {
    let Some(inside) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) else {
        return refuse("address= without parentheses around its parts: write address=(host=h)(port=p)");
    };
    let separators: &[_] = if inside.contains(")(") { &[')'] } else { &[','] };
    let (mut name, mut port, mut is_replica) = ("", None, false);
    for part in inside.split(separators) {
        let (key, value) = part.trim_start_matches('(').split_once('=').unwrap_or((part, ""));
        let key = key.trim();
        if is_secret(key) {
            draft.hide(value);
        }
        match key.to_ascii_lowercase().as_str() {
            "host" => name = value.trim(),
            "port" => port = Some(Host::port(value.trim())?),
            "type" => {
                is_replica = ["replica", "slave"].iter().any(|replica| value.trim().eq_ignore_ascii_case(replica))
            }
            "user" if draft.user.is_none() => draft.user = Some(decoded(value)),
            "password" if draft.password.is_none() => draft.password = Some(decoded(value)),
            _ => {}
        }
    }
    let mut host = Host::new(name.trim_start_matches('[').trim_end_matches(']'), driver)?;
    host.is_replica = is_replica;
    if let Some(port) = port {
        host.port = port;
        host.written = host.to_string();
    }
    Ok(host)
}
