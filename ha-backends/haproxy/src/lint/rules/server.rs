use std::collections::HashMap;

use super::super::facts::cuts_sessions;
use super::super::server::{Server, budget};
use super::{Findings, Pool};
use crate::left_out::written_address;

pub(super) fn run(pool: &Pool<'_>, out: &mut Findings) {
    for server in &pool.proxy.servers {
        no_check(server, out);
        passive_check(server, out);
        agent(server, out);
        sessions_cut(server, out);
        backup_sessions_cut(server, out);
        tracking(server, out);
        disabled(pool, server, out);
        small_weight(pool, server, out);
        odd_name(server, out);
    }
    names_twice(pool, out);
    addresses_twice(pool, out);
}

/// Measured: without a check a frozen server got and failed its share of the traffic until it thawed (563 of 1,800), and
/// one put back before it was ready failed 320 of 3,010.
fn no_check(server: &Server<'_>, out: &mut Findings) {
    if !server.has("check") && !server.has("agent-check") && !server.has("track") {
        let message = format!("server {} has no check: HAProxy never takes it out by itself", server.name);
        out.danger("no-check", server.at, "server", message, "add \"check\"");
    }
}

/// Measured: an agent that says `ready` every 200 ms lifts each drain and each maintenance, of a spare whose server does not run
/// too; a take-out then turns back.
fn agent(server: &Server<'_>, out: &mut Findings) {
    if let Some(param) = server.param("agent-check") {
        let message = "an agent that says ready, drain or maint undoes what is set here";
        let fix = "let it say up, down and weights only";
        out.advice("agent-check", param.at, "agent-check", message, fix);
    }
}

/// One slow request marks a healthy server down. Measured with requests of 2 to 5 s and a timeout of 3 s: both servers
/// went down, 232 requests failed against 11 without it.
fn passive_check(server: &Server<'_>, out: &mut Findings) {
    let Some(observe) = server.param("observe").filter(|param| param.value == "layer7") else { return };
    let limit = server.param("error-limit").map_or(Some(10), |param| param.value.parse::<u32>().ok());
    if server.value("on-error") == "mark-down" && limit.is_some_and(|limit| limit < 10) {
        let message = "a few slow requests mark a healthy server down, then the next one";
        let fix = "leave \"observe layer7\" out, or use \"on-error fastinter\"";
        out.danger("observe", observe.at, "observe layer7", message, fix);
    }
}

/// Measured: maintenance under traffic killed 7 of 2,160 requests, and one failed check 611 in one run of three.
fn sessions_cut(server: &Server<'_>, out: &mut Findings) {
    if let Some(param) = server.param("on-marked-down").filter(|_| cuts_sessions(server)) {
        let message = "maintenance and a failed check cut the requests in flight";
        let fix = "leave it out, or drain to 0 sessions before each maintenance";
        out.danger("shutdown-sessions", param.at, "on-marked-down shutdown-sessions", message, fix);
    }
}

/// Measured, one server and a backup: 10 of 366 requests were cut when the server was put back.
fn backup_sessions_cut(server: &Server<'_>, out: &mut Findings) {
    if let Some(param) = server.param("on-marked-up").filter(|param| param.value == "shutdown-backup-sessions") {
        let message = "putting the server back cuts the requests in flight on the backup servers";
        let keyword = "on-marked-up shutdown-backup-sessions";
        out.danger("shutdown-backup-sessions", param.at, keyword, message, "leave it out");
    }
}

/// Measured: `ready` for a tracking server does not lift what it tracks, and the answer is empty as for success.
fn tracking(server: &Server<'_>, out: &mut Findings) {
    if let Some(track) = server.param("track") {
        let message = format!("server {} follows {}: commands for it succeed without effect", server.name, track.value);
        out.danger("track", track.at, "track", message, "use its own check, or take out the server that it follows");
    }
}

/// Manual (`disabled`): the server starts in maintenance. Measured: a reload forgets every state set at run time.
fn disabled(pool: &Pool<'_>, server: &Server<'_>, out: &mut Findings) {
    let Some(param) = server.param("disabled") else { return };
    let mut names = server.names(&mut budget()).into_iter();
    if names.any(|name| !pool.expect.spares.contains(&name)) {
        let message = format!("server {} starts in maintenance, and goes back there at each reload", server.name);
        out.advice("disabled", param.at, "disabled", message, "leave it out, or declare the server as a spare");
    }
}

/// Measured: 10 % of HAProxy's default weight 1 is 0, set with the answer of success: the server gets no traffic.
fn small_weight(pool: &Pool<'_>, server: &Server<'_>, out: &mut Findings) {
    let (Some(percent), Some(weight)) = (pool.expect.canary_percent, server.weight()) else { return };
    if percent > 0 && u32::from(weight) * u32::from(percent) < 100 {
        let message = format!("{percent} % of server {}'s weight {weight} rounds down to 0: no traffic", server.name);
        let at = server.param("weight").map_or(server.at, |param| param.at);
        out.danger("small-weight", at, "weight", message, "set \"weight 100\" on every server");
    }
}

/// Manual: names are of letters, digits and `-_.:`; HAProxy refuses others, and on the admin socket they are other commands.
fn odd_name(server: &Server<'_>, out: &mut Findings) {
    let allowed = |char: char| char.is_ascii_alphanumeric() || "_.:-".contains(char);
    if !server.name.contains('$') && (server.name.is_empty() || !server.name.chars().all(allowed)) {
        let message = format!("server name {:?} has other characters than A-Z a-z 0-9 _ . : -", server.name);
        out.danger("server-name", server.at, "server", message, "rename the server");
    }
}

/// HAProxy refuses such a file at the next start or reload ("please use distinct names").
fn names_twice(pool: &Pool<'_>, out: &mut Findings) {
    let (mut seen, mut budget) = (HashMap::new(), budget());
    for server in &pool.proxy.servers {
        let mut twice = None;
        for name in server.names(&mut budget) {
            let line = *seen.entry(name.clone()).or_insert(server.at.line.number);
            if line != server.at.line.number {
                twice.get_or_insert((name, line));
            }
        }
        if let Some((name, line)) = twice {
            let message = format!("server {name} is already there at line {line}");
            out.danger("server-twice", server.at, "server", message, "rename one of them");
        }
    }
}

/// Measured: 84 of 1,392 requests were lost over the second entry of a server whose first was taken out.
fn addresses_twice(pool: &Pool<'_>, out: &mut Findings) {
    let mut seen = HashMap::new();
    for server in pool.proxy.servers.iter().filter(|server| !server.has("disabled")) {
        // A template's servers get their addresses from elsewhere, and a variable may be any.
        let Some(address) = written_address(server.address).filter(|_| server.is_single()) else { continue };
        let (first, line) = *seen.entry(address).or_insert((server.name, server.at.line.number));
        if line != server.at.line.number {
            let (name, at) = (server.name, server.address);
            let message = format!("servers {first} (line {line}) and {name} are both {at}: one server entered twice");
            let fix = "enter it once: the other entry goes on sending requests to a server that is taken out";
            out.danger("address-twice", server.at, "server", message, fix);
        }
    }
}
