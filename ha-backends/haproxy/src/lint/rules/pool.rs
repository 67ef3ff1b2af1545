use super::super::facts::{
    Checks, check_option, checks, hashing, is_consistent, is_pool, persistence, static_algorithm,
};
use super::super::model::Proxy;
use super::super::warning::Severity;
use super::super::words::{show, time};
use super::{Findings, Pool};

pub(super) fn run(pool: &Pool<'_>, out: &mut Findings) {
    connect_checks_only(pool, out);
    sticky_clients(pool, out);
    clients_of_stopped_servers(pool, out);
    named_servers(pool, out);
    hashed_clients(pool, out);
    static_weights(pool, out);
    short_server_timeout(pool, out);
    private_connections(pool, out);
    state_file(pool, out);
}

/// A plan for a pool that is not there can only fail.
pub(super) fn exists(proxies: &[Proxy<'_>], name: &str, out: &mut Findings) {
    let found = proxies.iter().find(|proxy| is_pool(proxy) && proxy.section.name() == name);
    match found {
        None => {
            let message = format!("there is no backend or listen section {name:?}");
            let fix = "name the pool as in this file";
            out.whole(Severity::Danger, "pool-missing", "", "backend", message, fix);
        }
        Some(proxy) if proxy.servers.is_empty() => {
            let message = "there is no server in it";
            out.danger(
                "pool-missing",
                proxy.section.header(),
                "server",
                message,
                "add its servers, or name another pool",
            );
        }
        Some(_) => {}
    }
}

/// The kernel accepts connections for a process that hangs. Measured: a connect check left a frozen server UP, and all
/// 563 of its requests failed.
fn connect_checks_only(pool: &Pool<'_>, out: &mut Findings) {
    if !pool.expect.http && !pool.proxy.is_http() {
        return;
    }
    let (chosen, option) = check_option(pool.proxy);
    let at = option.unwrap_or(pool.proxy.section.header());
    let own_state = pool.proxy.servers.iter().filter(|server| server.has("check") && !server.has("track"));
    let weakest = own_state.map(|server| checks(chosen, server)).min();
    let fix = "add \"option httpchk GET /health\" and \"http-check expect status 200\"";
    if weakest == Some(Checks::Tcp) {
        let message = "the check only connects, and a frozen process still accepts connections";
        out.danger("tcp-check", at, "option httpchk", message, fix);
    } else if weakest == Some(Checks::Other) && option.is_none() {
        let message = "the check is a TLS handshake: a server that answers errors stays in use";
        out.advice("tcp-check", at, "option httpchk", message, fix);
    }
}

/// Measured: with cookies a drained server kept 10 sessions while it showed 0; with `stick on src` it kept all traffic.
/// Maintenance moves such clients without failing one.
fn sticky_clients(pool: &Pool<'_>, out: &mut Findings) {
    if let Some(found) = persistence(pool.proxy) {
        let keyword =
            [found.line.word(0), if found.line.word(0) == "cookie" { "" } else { found.line.word(1) }].join(" ");
        let message = "a drained server keeps the clients that are bound to it, and may never get idle";
        let fix = "plan a grace after which maintenance follows; it moves these clients";
        out.advice("persistence", found, keyword.trim_end(), message, fix);
    }
}

/// Measured with cookies, a server in maintenance and then stopped: with `option persist` 414 requests of its clients ended as
/// 503, with `force-persist` 415. The first rule of the two that matches decides, so `ignore-persist` is told as well:
/// whose request leaves its server, and whose does not, is in its condition.
fn clients_of_stopped_servers(pool: &Pool<'_>, out: &mut Findings) {
    if let Some(found) = pool.proxy.last(&["option", "persist"]) {
        let message = "clients go on to their server although it is in maintenance or down, and get errors";
        out.danger("persist", found, "option persist", message, "leave it out, with \"option redispatch\"");
    }
    for (rule, message) in [
        ("force-persist", "the requests that it matches go to their server although it is in maintenance or down"),
        ("ignore-persist", "the requests that it matches leave the server that has their session, at any time"),
    ] {
        if let Some(found) = pool.proxy.last(&[rule]) {
            let fix = "leave it out of this backend, or accept it where its condition matches no client's request";
            out.danger(rule, found, rule, message, fix);
        }
    }
}

/// Manual (`use-server`): the server is used whatever the algorithm says, unless it is down, and with `option persist` or
/// `force-persist` even then. A drained server is not down. Measured: 841 requests ended as 503 with `option persist`.
fn named_servers(pool: &Pool<'_>, out: &mut Findings) {
    if let Some(found) = pool.proxy.last(&["use-server"]) {
        let message = format!("a drained server {} still gets the requests of this rule", found.line.word(1));
        let fix = "leave it out, or accept it: maintenance then follows the drain and moves these requests";
        out.danger("use-server", found, "use-server", message, fix);
    }
}

/// Manual (`balance`): when the number of running servers changes, many clients get another server.
fn hashed_clients(pool: &Pool<'_>, out: &mut Findings) {
    let Some(found) = hashing(pool.proxy) else { return };
    if is_consistent(pool.proxy) {
        let message = "taking a server out sends its clients to other servers";
        out.advice("hashed-clients", found, "balance", message, "have sessions that any server can serve");
    } else {
        let message = "taking a server out sends its clients and most of the others to other servers";
        let fix = "use \"hash-type consistent\", and have sessions that any server can serve";
        out.advice("hashed-clients", found, "balance", message, fix);
    }
}

/// Measured answer: "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'."; `balance first`
/// takes a weight and ignores it (manual).
fn static_weights(pool: &Pool<'_>, out: &mut Findings) {
    let canary = pool.expect.canary_percent.is_some();
    let weighted = pool.proxy.servers.iter().any(|server| server.has("weight"));
    if !canary && !weighted {
        return;
    }
    let severity = if canary { Severity::Danger } else { Severity::Advice };
    let first = pool
        .proxy
        .last(&["balance", "first"])
        .filter(|found| pool.proxy.last(&["balance"]).is_some_and(|last| last.line.number == found.line.number));
    if let Some(found) = static_algorithm(pool.proxy) {
        let message = "this algorithm is static: a weight cannot be changed while HAProxy runs";
        let fix = "use roundrobin, leastconn or \"hash-type consistent\"";
        out.add(severity, "static-weights", found, "balance", message.into(), fix);
    } else if let Some(found) = first {
        let message = "this algorithm ignores weights";
        out.add(severity, "static-weights", found, "balance", message.into(), "use roundrobin or leastconn");
    }
}

/// Manual (`timeout server`): a server that is silent for longer gets a 504, however well it works.
fn short_server_timeout(pool: &Pool<'_>, out: &mut Findings) {
    let Some(found) = pool.proxy.last(&["timeout", "server"]) else { return };
    let longest = pool.expect.longest_request;
    if let Some(timeout) = time(found.line.word(2)).filter(|timeout| !timeout.is_zero() && *timeout < longest) {
        let message = format!("requests are cut after {}; the longest may take {}", show(timeout), show(longest));
        out.danger("timeout-server", found, "timeout server", message, "make it longer than the longest request");
    }
}

/// Connections that belong to one client session are not purged by maintenance before HAProxy 3.3. Measured on 2.6.12:
/// 22 failed requests in 40 restarts with the pause forced, 0 with the default `http-reuse safe`.
fn private_connections(pool: &Pool<'_>, out: &mut Findings) {
    let Some(found) = pool.proxy.last(&["http-reuse"]).filter(|found| found.line.word(1) == "never") else { return };
    if pool.proxy.is_http() {
        let message = "before HAProxy 3.3 maintenance leaves such connections open, and a restarted server gets requests on dead ones";
        out.danger("http-reuse", found, "http-reuse never", message, "use \"http-reuse safe\", the default");
    }
}

/// A state file revives whatever it holds, also old addresses: GitHub haproxy/haproxy #1412, #2506, #3296.
fn state_file(pool: &Pool<'_>, out: &mut Findings) {
    let keyword = "load-server-state-from-file";
    let Some(found) = pool.proxy.last(&[keyword]).filter(|found| found.line.word(1) != "none") else { return };
    let message = "a stale file revives old states at a reload, and its addresses and ports override this file's";
    let fix = "write it (\"show servers state\") right before each reload, all of it with its last newline";
    out.advice("state-file", found, keyword, message, fix);
}
