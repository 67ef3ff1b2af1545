use std::time::Duration;

use super::model::{Config, Found, Proxy};
use super::server::{Server, budget};
use super::words::time;

/// What HAProxy asks a server to see whether it is well, from nothing to a request.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Checks {
    /// Nothing: a dead server stays in use.
    None,
    /// Only whether it accepts a connection, which a frozen process does.
    Tcp,
    /// More than a connection, but no HTTP request: a TLS handshake, an agent, a script, another protocol.
    Other,
    /// An HTTP request (`option httpchk`).
    Http,
}

/// What a `haproxy.cfg` declares about one backend, as far as it matters for taking a server out.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PoolFacts {
    /// The first line of the section, from 1 on.
    pub line: usize,
    /// Whether clients are held to their server by a cookie, a stick table, an RDP cookie or a `use-server`: a drained server
    /// keeps them.
    /// A hashing `balance` is not meant: drained servers leave the hash.
    pub persistent: bool,
    /// Whether a server has `on-marked-down shutdown-sessions`: maintenance then cuts requests in flight.
    pub cuts_sessions_on_mark_down: bool,
    /// The weakest check of a server that has its own state (no `track`); [`Checks::None`] without such servers.
    pub checks: Checks,
    /// Whether HAProxy refuses any weight but 0 and 100 percent at run time.
    pub static_weights: bool,
    /// When an old worker ends after a reload, whatever it serves; `None` where it may take its time, or cannot be read.
    pub hard_stop_after: Option<Duration>,
    /// The servers in the order of the lines. Of templates, at most 4096 in all.
    pub servers: Vec<ServerFacts>,
}

/// What a `haproxy.cfg` declares about one server.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerFacts {
    /// The line, from 1 on.
    pub line: usize,
    /// The name.
    pub name: String,
    /// The address as written, with environment variables as they are.
    pub address: String,
    /// Whether it serves only when no other does.
    pub backup: bool,
    /// The weight, 0 to 256; 1 unless set; `None` where it cannot be read (an environment variable).
    pub weight: Option<u16>,
    /// Whether it starts in maintenance.
    pub disabled: bool,
    /// The server whose state it follows: commands for this one do not lift that state.
    pub tracks: Option<String>,
    /// What HAProxy asks it.
    pub checks: Checks,
}

/// Reads what a `haproxy.cfg` declares about the backend (or `listen` section) `pool`; `None` where there is none.
///
/// # Examples
///
/// ```
/// use ha_haproxy::{Checks, pool_facts};
///
/// let text = "backend esb\n  option httpchk GET /health\n  server esb1 10.0.0.1:8280 check\n  server esb2 10.0.0.2:8280 check backup\n";
/// let facts = pool_facts(text, "esb").expect("the backend is there");
/// assert_eq!((facts.checks, facts.persistent), (Checks::Http, false));
/// assert!(facts.servers[1].backup);
/// assert!(pool_facts(text, "other").is_none());
/// ```
pub fn pool_facts(text: &str, pool: &str) -> Option<PoolFacts> {
    let config = Config::parse(text);
    let proxies = config.proxies();
    let proxy = proxies.iter().find(|proxy| is_pool(proxy) && proxy.section.name() == pool)?;
    let own_state = proxy.servers.iter().filter(|server| !server.has("track"));
    let (chosen, mut budget) = (check_option(proxy).0, budget());
    Some(PoolFacts {
        line: proxy.section.header().line.number,
        persistent: persistence(proxy).is_some(),
        cuts_sessions_on_mark_down: proxy.servers.iter().any(cuts_sessions),
        checks: own_state.map(|server| checks(chosen, server)).min().unwrap_or(Checks::None),
        static_weights: static_algorithm(proxy).is_some(),
        hard_stop_after: hard_stop_after(&config).map(|(_, after)| after),
        servers: proxy.servers.iter().flat_map(|server| server_facts(chosen, server, &mut budget)).collect(),
    })
}

fn server_facts(chosen: Checks, server: &Server<'_>, budget: &mut u32) -> Vec<ServerFacts> {
    let facts = |name| ServerFacts {
        line: server.at.line.number,
        name,
        address: server.address.to_string(),
        backup: server.has("backup"),
        weight: server.weight(),
        disabled: server.has("disabled"),
        tracks: server.param("track").map(|param| param.value.to_string()),
        checks: checks(chosen, server),
    };
    server.names(budget).into_iter().map(facts).collect()
}

pub(super) fn is_pool(proxy: &Proxy<'_>) -> bool {
    proxy.section.kind() != "frontend"
}

/// Returns what holds clients to their server although it is drained.
pub(super) fn persistence<'c>(proxy: &Proxy<'c>) -> Option<Found<'c>> {
    const WORDS: [&[&str]; 6] = [
        &["cookie"],
        &["appsession"],
        &["stick", "on"],
        &["stick", "match"],
        &["persist", "rdp-cookie"],
        &["use-server"],
    ];
    WORDS
        .into_iter()
        .find_map(|words| proxy.last(words))
        .or_else(|| proxy.all(&["persist"]).find(|found| found.line.word(1).starts_with("rdp-cookie(")))
}

pub(super) fn cuts_sessions(server: &Server<'_>) -> bool {
    server.value("on-marked-down") == "shutdown-sessions"
}

/// Returns the check in force and the option that chose it.
pub(super) fn check_option<'c>(proxy: &Proxy<'c>) -> (Checks, Option<Found<'c>>) {
    const OTHERS: [&str; 9] = [
        "external-check",
        "ldap-check",
        "mysql-check",
        "pgsql-check",
        "redis-check",
        "smtpchk",
        "spop-check",
        "ssl-hello-chk",
        "tcp-check",
    ];
    let names: Vec<&str> = OTHERS.into_iter().chain(["httpchk"]).collect();
    let option = proxy.last_option(&names);
    let checks = match option.map(|found| found.line.word(1)) {
        None => Checks::Tcp,
        Some("httpchk") => Checks::Http,
        Some("tcp-check") if proxy.last(&["tcp-check", "expect"]).is_none() => Checks::Tcp,
        Some(_) => Checks::Other,
    };
    (checks, option)
}

/// Returns what HAProxy asks a server, under the check that its backend chooses. A TLS handshake needs a process that is
/// not frozen; HAProxy leaves it out where the check goes to another port or address.
pub(super) fn checks(chosen: Checks, server: &Server<'_>) -> Checks {
    let tls = || server.has("check-ssl") || (server.has("ssl") && !server.has("port") && !server.has("addr"));
    match (server.has("check"), chosen) {
        (false, _) if server.has("agent-check") => Checks::Other,
        (false, _) => Checks::None,
        (true, Checks::Tcp) if tls() => Checks::Other,
        (true, checks) => checks,
    }
}

/// Returns the `balance` that chooses by a hash.
pub(super) fn hashing<'c>(proxy: &Proxy<'c>) -> Option<Found<'c>> {
    let balance = proxy.last(&["balance"])?;
    let word = balance.line.word(1);
    let name = word.split('(').next().unwrap_or_default();
    ["source", "uri", "url_param", "hdr", "rdp-cookie", "hash"].contains(&name).then_some(balance)
}

pub(super) fn is_consistent(proxy: &Proxy<'_>) -> bool {
    proxy.last(&["hash-type"]).is_some_and(|found| found.line.word(1) == "consistent")
}

/// Returns the `balance` under which HAProxy answers "Backend is using a static LB algorithm".
pub(super) fn static_algorithm<'c>(proxy: &Proxy<'c>) -> Option<Found<'c>> {
    let balance = proxy.last(&["balance"])?;
    let is_static = balance.line.word(1) == "static-rr" || (hashing(proxy).is_some() && !is_consistent(proxy));
    is_static.then_some(balance)
}

/// Returns after which time old workers are ended; 0 switches it off.
pub(super) fn hard_stop_after(config: &Config) -> Option<(Found<'_>, Duration)> {
    let found = config.global(&["hard-stop-after"]).last()?;
    time(found.line.word(1)).filter(|after| !after.is_zero()).map(|after| (found, after))
}
