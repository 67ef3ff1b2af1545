//! What the running HAProxy itself shows of a configuration: it may be another one than the file, and there may be no file.

use std::net::SocketAddr;

use ha_core::backend::{Admin, ConfigFinding, Expectations};

use crate::declared::{LeftOut, Linted};
use crate::left_out::{self, Known, same};
use crate::lint::PoolFacts;
use crate::wire::ServerState;

const DIFFERS: &str = "running-differs";
const TWICE: &str = "address-twice";

/// Finds what endangers a change, but for what the lint of the file has reported.
pub(crate) fn findings(
    states: &[ServerState],
    expect: &Expectations,
    linted: &Linted,
    accepts: impl Fn(&str) -> bool,
) -> Vec<ConfigFinding> {
    let mut found = Vec::new();
    if !accepts(left_out::RULE) && !expect.members.is_empty() {
        found.extend(left_out(states, expect, &linted.left_out));
    }
    let own: Vec<&ServerState> = states.iter().filter(|state| state.backend == expect.pool.as_str()).collect();
    if !accepts(TWICE) {
        found.extend(twice(&own));
    }
    if let Some((files, facts)) = linted.facts.as_ref().filter(|_| !accepts(DIFFERS)) {
        found.extend(differs(&own, files, facts));
    }
    found
}

/// Servers of backends that nobody declared.
fn left_out(states: &[ServerState], expect: &Expectations, reported: &[LeftOut]) -> Vec<ConfigFinding> {
    let written = |state: &ServerState| state.address.map_or_else(String::new, |address| address.to_string());
    let is_member = |state: &&ServerState| {
        state.backend == expect.pool.as_str() && expect.members.iter().any(|member| member.as_str() == state.name)
    };
    let own: Vec<(&str, String)> =
        states.iter().filter(is_member).map(|state| (state.name.as_str(), written(state))).collect();
    let members: Vec<Known<'_>> = own.iter().map(|(name, address)| Known { name, address }).collect();
    let is_declared =
        |backend: &str| [&expect.pool].into_iter().chain(&expect.declared).any(|pool| pool.as_str() == backend);
    let is_reported = |state: &ServerState| {
        let of_backend = |section: &str| section.split_once(' ').is_some_and(|(_, name)| name == state.backend);
        reported.iter().any(|(section, keyword)| of_backend(section) && *keyword == format!("server {}", state.name))
    };
    let others = states.iter().filter(|state| !is_declared(&state.backend) && !is_reported(state));
    let finding = |state: &ServerState| {
        let (found, member) = same(Known { name: &state.name, address: &written(state) }, &members)?;
        let (fix, rule) = (left_out::FIX, left_out::RULE);
        let message = format!("backend {}: {}; {fix} [{rule}]", state.backend, found.message(&state.name, member));
        let finding = if found.is_danger() { ConfigFinding::danger(message) } else { ConfigFinding::advice(message) };
        Some(finding.with_rule(rule))
    };
    others.filter_map(finding).collect()
}

/// One server that the backend has twice: taken out by one name it goes on being used by the other. An entry in maintenance
/// sends it nothing.
fn twice(own: &[&ServerState]) -> Vec<ConfigFinding> {
    let mut found = Vec::new();
    let in_use: Vec<(&ServerState, SocketAddr)> = own
        .iter()
        .filter(|state| state.admin() != Admin::Maint)
        .filter_map(|state| Some((*state, state.address?)))
        .collect();
    for (at, (state, address)) in in_use.iter().enumerate() {
        if let Some((first, _)) = in_use.iter().take(at).find(|(_, other)| other == address) {
            found.push(ConfigFinding::danger(format!(
                "backend {}: servers {} and {} are both {address}: one server entered twice; enter it once, or put one entry \
                 into maintenance [{TWICE}]",
                state.backend, first.name, state.name
            ))
            .with_rule(TWICE));
        }
    }
    found
}

/// Servers of the file that HAProxy does not have, or elsewhere: it runs another configuration, and what the file says of the
/// other settings need not be so. Servers that only HAProxy has may have been added at run time.
fn differs(own: &[&ServerState], files: &str, facts: &PoolFacts) -> Option<ConfigFinding> {
    let differing = facts.servers.iter().find_map(|server| {
        let Some(state) = own.iter().find(|state| state.name == server.name) else {
            return Some(format!("it has no server {}", server.name));
        };
        let written: SocketAddr = server.address.parse().ok()?;
        let running = state.address.filter(|running| *running != written)?;
        Some(format!("server {} is {running} there and {written} in the file", server.name))
    })?;
    let backend = own.first().map_or("", |state| state.backend.as_str());
    Some(ConfigFinding::advice(format!(
        "{files}: line {}: backend {backend}: HAProxy runs another configuration, so what is in force cannot be known from \
         this one: {differing}; reload HAProxy, or correct config_file [{DIFFERS}]",
        facts.line
    )))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ha_core::topology::Name;

    use super::*;
    use crate::lint::pool_facts;
    use crate::wire::parse_all_states;

    fn states(lines: &[&str]) -> Vec<ServerState> {
        let header = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
                      srv_check_state srv_port\n";
        parse_all_states(&format!("{header}{}\n\n", lines.join("\n"))).unwrap()
    }

    fn found(states: &[ServerState], file: Option<&str>, accepted: &str) -> Vec<String> {
        let expect = Expectations::new(Name::new("be").unwrap(), Duration::from_secs(1));
        let facts = file.and_then(|text| pool_facts(text, "be")).map(|facts| ("/etc/h.cfg".to_string(), facts));
        let linted = Linted { facts, ..Linted::default() };
        let findings = findings(states, &expect, &linted, |rule| rule == accepted);
        assert!(findings.iter().all(|finding| finding.is_danger == finding.message.contains(TWICE)), "{findings:?}");
        findings.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn one_server_entered_twice_is_a_danger_unless_one_entry_is_in_maintenance() {
        let both = |bits: u32| {
            let twin = format!("4 be 2 s1b 10.0.0.1 2 {bits} 1 1 6 8280");
            states(&["4 be 1 s1 10.0.0.1 2 0 1 1 6 8280", &twin, "4 be 3 s2 10.0.0.1 2 0 1 1 6 8281"])
        };
        let found_ = found(&both(0), None, "");
        assert_eq!(found_.len(), 1, "{found_:?}");
        assert!(found_[0].contains("servers s1 and s1b are both 10.0.0.1:8280"), "{found_:?}");
        assert_eq!((found(&both(1), None, ""), found(&both(0), None, TWICE)), (vec![], vec![]));
    }

    #[test]
    fn a_file_that_haproxy_does_not_run_is_told_with_what_differs() {
        let running = states(&["4 be 1 s1 10.0.0.1 2 0 1 1 6 8280", "4 be 2 added 10.0.0.9 2 0 1 1 6 8280"]);
        let file = |servers: &str| format!("backend be\n{servers}");
        for (servers, differing) in [
            ("server s1 10.0.0.1:8280\n", None),
            ("server s1 esb1.example:8280\n", None),
            ("server s1 10.0.0.2:8280\n", Some("server s1 is 10.0.0.1:8280 there and 10.0.0.2:8280")),
            ("server s1 10.0.0.1:8280\nserver s2 10.0.0.2:8280\n", Some("it has no server s2")),
        ] {
            let found = found(&running, Some(&file(servers)), "");
            assert_eq!(found.len(), usize::from(differing.is_some()), "{servers}: {found:?}");
            assert!(found.iter().all(|message| message.contains(differing.unwrap())), "{found:?}");
        }
    }
}
