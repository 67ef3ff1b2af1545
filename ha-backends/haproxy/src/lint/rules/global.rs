use std::net::IpAddr;
use std::time::Duration;

use super::super::expect::LintExpectations;
use super::super::facts::hard_stop_after;
use super::super::model::{Config, Found};
use super::super::warning::Severity;
use super::super::words::{show, time};
use super::Findings;

pub(super) fn run(config: &Config, expect: &LintExpectations, out: &mut Findings) {
    let sockets: Vec<Found<'_>> = config.global(&["stats", "socket"]).collect();
    no_admin_socket(config, &sockets, out);
    open_socket(&sockets, out);
    if !has_master(config, expect) {
        no_master(config, out);
        no_listener_handover(&sockets, out);
    }
    hard_stop(config, expect, out);
    short_socket_timeout(config, out);
    few_socket_connections(config, expect, &sockets, out);
    conditions(config, out);
}

fn missing(
    config: &Config,
    severity: Severity,
    rule: &'static str,
    keyword: &str,
    message: &str,
    fix: &str,
    out: &mut Findings,
) {
    match config.section("global") {
        Some(section) => out.add(severity, rule, section.header(), keyword, message.into(), fix),
        None => out.whole(severity, rule, "global", keyword, message.into(), fix),
    }
}

fn level<'c>(socket: Found<'c>) -> &'c str {
    socket.line.after("level").unwrap_or("operator")
}

/// Without an admin socket nothing can be drained. Manual: the level is `operator` by default, and `set server` needs
/// `admin` (measured answer: "Permission denied").
fn no_admin_socket(config: &Config, sockets: &[Found<'_>], out: &mut Findings) {
    let Some(first) = sockets.first() else {
        let message = "there is no admin socket: no server can be drained or put into maintenance";
        let fix = "add \"stats socket /run/haproxy/admin.sock mode 600 level admin\"";
        return missing(config, Severity::Danger, "admin-socket", "stats socket", message, fix, out);
    };
    if !sockets.iter().any(|socket| level(*socket) == "admin" || level(*socket).contains('$')) {
        let message = format!("level {} may not change a server (\"Permission denied\")", level(*first));
        out.danger("admin-socket", *first, "stats socket", message, "write \"level admin\"");
    }
}

/// The admin socket asks for no password: whoever reaches it owns the balancer. Manual: protect it by file rights.
fn open_socket(sockets: &[Found<'_>], out: &mut Findings) {
    for socket in sockets.iter().filter(|socket| is_open(socket.line.word(2))) {
        let fix = "bind it to a unix socket path, or at least to 127.0.0.1";
        let address = socket.line.word(2);
        if level(*socket) == "admin" {
            let message = format!("whoever reaches {address} can change HAProxy without a password");
            out.danger("open-admin-socket", *socket, "stats socket", message, fix);
        } else {
            let message = format!("whoever reaches {address} can read HAProxy's state without a password");
            out.advice("open-admin-socket", *socket, "stats socket", message, fix);
        }
    }
}

/// Tells whether other machines may reach an address; what has a variable is not judged.
fn is_open(addresses: &str) -> bool {
    const LOCAL: [&str; 8] = ["/", "unix@", "uxst@", "uxdg@", "abns@", "abnsz@", "fd@", "sockpair@"];
    addresses.split(',').filter(|address| !address.is_empty() && !address.contains('$')).any(|address| {
        if LOCAL.iter().any(|prefix| address.starts_with(prefix)) {
            return false;
        }
        let address = address.split_once('@').map_or(address, |(_, rest)| rest);
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

fn has_master(config: &Config, expect: &LintExpectations) -> bool {
    let in_file = config.global(&["master-worker"]).next().is_some() || config.section("program").is_some();
    expect.master_socket || in_file
}

/// After a reload old workers serve on, and only the master socket shows them. Measured: the new worker said 0 sessions,
/// the old one had 16; stopping the server then lost 16 of 27 long requests.
fn no_master(config: &Config, out: &mut Findings) {
    let message =
        "no master process can be seen in this file: after a reload the requests of old workers are invisible";
    let fix = "start HAProxy with -W -S /run/haproxy/master.sock, and name that socket (master = \"/run/haproxy/master.sock\" in its [[balancer]])";
    missing(config, Severity::Advice, "master-socket", "master-worker", message, fix, out);
}

/// Manual: without a master a new process takes the listeners over only from a socket with this word (`-x`).
fn no_listener_handover(sockets: &[Found<'_>], out: &mut Findings) {
    let hands_over = |socket: &Found<'_>| socket.line.after("expose-fd") == Some("listeners");
    if let Some(first) = sockets.first().filter(|_| !sockets.iter().any(hands_over)) {
        let message = "a reload without a master (-sf with -x) cannot take the listeners over";
        out.advice("expose-fd", *first, "stats socket", message, "add \"expose-fd listeners\", or run HAProxy with -W");
    }
}

/// Measured: `hard-stop-after 1s` cut 11 requests of one reload (long ones and websockets).
fn hard_stop(config: &Config, expect: &LintExpectations, out: &mut Findings) {
    if let Some((found, after)) = hard_stop_after(config).filter(|(_, after)| *after < expect.longest_request) {
        let (after, longest) = (show(after), show(expect.longest_request));
        let message = format!("a reload cuts requests after {after}; the longest may take {longest}");
        out.danger("hard-stop-after", found, "hard-stop-after", message, "make it longer than the longest request");
    }
}

/// A command whose connection is closed in between has an unknown effect: measured, it may still be executed.
fn short_socket_timeout(config: &Config, out: &mut Findings) {
    let Some(found) = config.global(&["stats", "timeout"]).last() else { return };
    if let Some(timeout) = time(found.line.word(2)).filter(|timeout| *timeout < Duration::from_secs(2)) {
        let message = format!("{} is short: a busy HAProxy closes before it answers", show(timeout));
        out.advice("stats-timeout", found, "stats timeout", message, "use 2s or more (default 10s)");
    }
}

/// Measured: 10 connections at a time are served by default; the 11th connects and hangs until one closes.
fn few_socket_connections(config: &Config, expect: &LintExpectations, sockets: &[Found<'_>], out: &mut Findings) {
    let found = config.global(&["stats", "maxconn"]).last();
    let count = found.map_or(Some(10), |found| found.line.word(2).parse::<u32>().ok());
    let Some(at) = found.or(sockets.first().copied()) else { return };
    if let Some(count) = count.filter(|count| expect.controllers > 1 && *count <= 10) {
        let message = format!("{} controllers share {count} admin connections; one more hangs", expect.controllers);
        out.advice("stats-maxconn", at, "stats maxconn", message, "set \"stats maxconn\" to 10 for each controller");
    }
}

/// Every branch is read, as if all of them were in force: which one is depends on how HAProxy was started.
fn conditions(config: &Config, out: &mut Findings) {
    if let Some(line) = config.first_condition {
        let message = "which branch is in force cannot be known from the file: all of them are read as if they were";
        out.at_line(line, "conditions", ".if", message, "lint what `haproxy -dC` prints, or accept it");
    }
}
