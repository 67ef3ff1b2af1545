//! What HAProxy asks a server to see whether it is well: port and page, which its socket does not tell.

use std::collections::BTreeSet;

use ha_core::backend::MemberCheck;

use super::facts::{Checks, check_option, checks, is_pool};
use super::model::{Config, Found, Proxy};
use super::server::{Server, budget};

/// Reads how HAProxy checks a server; `None` where the file has no such backend, or no such server in it.
pub(crate) fn member_check(text: &str, pool: &str, server: &str) -> Option<MemberCheck> {
    let config = Config::parse(text);
    let proxies = config.proxies();
    let proxy = proxies.iter().find(|proxy| is_pool(proxy) && proxy.section.name() == pool)?;
    let mut budget = budget();
    let found = proxy.servers.iter().find(|found| found.names(&mut budget).iter().any(|name| name == server))?;
    let other = |what: String| MemberCheck::Other { what };
    if let Some(line) = config.first_condition {
        return Some(other(format!("its file has a condition in line {line}: what is in force cannot be told")));
    }
    if let Some(track) = found.param("track") {
        return Some(other(format!("it follows the state of {}", track.value)));
    }
    if let Some(addr) = found.param("addr") {
        return Some(other(format!("it checks the address {} instead of the server's", addr.value)));
    }
    let (chosen, option) = check_option(proxy);
    let connects = connects(proxy, option);
    if let Some(addr) = connects.iter().find_map(|connect| connect.line.after("addr")) {
        return Some(other(format!("it checks the address {addr} instead of the server's")));
    }
    let ports = connects.iter().map(|connect| connect.line.after("port"));
    let port = match ports.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()[..] {
        [Some(port)] => port.parse().ok(),
        [] | [None] => check_port(found),
        _ => return Some(other("it connects to several ports".into())),
    };
    Some(match checks(chosen, found) {
        Checks::None => MemberCheck::None,
        Checks::Tcp => MemberCheck::Connects { port },
        Checks::Http => MemberCheck::Asks { port, path: option.and_then(|option| check_path(proxy, option)) },
        Checks::Other if !found.has("check") => other("an agent says how it is".into()),
        Checks::Other => other(match option.map(|found| found.line.word(1)) {
            Some(name) => format!("option {name}"),
            None => "a TLS handshake".into(),
        }),
    })
}

/// Lists the check's own connections, whose port comes before that of the server's line.
fn connects<'c>(proxy: &Proxy<'c>, option: Option<Found<'c>>) -> Vec<Found<'c>> {
    let rules = option.map(|option| rules(proxy, option)).unwrap_or_default();
    rules.into_iter().filter(|found| found.line.word(1) == "connect").collect()
}

/// Lists the rules of a check. Those of a section replace all that it inherits, and an `option httpchk` of its own does so by itself;
/// those of another kind than the option's are not used (measured on 2.6).
fn rules<'c>(proxy: &Proxy<'c>, option: Found<'c>) -> Vec<Found<'c>> {
    let kind = match option.line.word(1) {
        "httpchk" => "http-check",
        "tcp-check" => "tcp-check",
        _ => return Vec::new(),
    };
    let is_rule = |found: &Found<'_>| !found.line.off && !matches!(found.line.word(1), "disable-on-404" | "send-state");
    let rules: Vec<Found<'_>> = proxy.all(&[kind]).filter(is_rule).collect();
    let is_own = kind == "http-check" && std::ptr::eq(option.section, proxy.section);
    let Some(in_force) = (if is_own { Some(proxy.section) } else { rules.last().map(|found| found.section) }) else {
        return Vec::new();
    };
    rules.into_iter().filter(|found| std::ptr::eq(found.section, in_force)).collect()
}

/// Returns the `http-check send` in force.
pub(super) fn send<'c>(proxy: &Proxy<'c>, option: Found<'c>) -> Option<Found<'c>> {
    rules(proxy, option).into_iter().rfind(|found| found.line.word(1) == "send")
}

/// Returns the port that is checked where the check's own connection names none: that of the server's line, or the server's.
fn check_port(server: &Server<'_>) -> Option<u16> {
    match server.param("port") {
        Some(port) => port.value.parse().ok(),
        None => server.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()),
    }
}

/// Returns the path that `option httpchk` or `http-check send` asks for; what has a variable is not told.
pub(super) fn check_path(proxy: &Proxy<'_>, option: Found<'_>) -> Option<String> {
    let words = &option.line.words;
    let path = match send(proxy, option).map(|found| (found.line.after("uri"), found.line.after("uri-lf"))) {
        Some((_, Some(_))) => return None,
        Some((Some(uri), None)) => uri,
        Some((None, None)) | None => match words.len() {
            0..=2 => "/",
            3 => option.line.word(2),
            _ => option.line.word(3),
        },
    };
    (!path.contains(['$', '%'])).then(|| path.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(port: u16, path: &str) -> MemberCheck {
        MemberCheck::Asks { port: Some(port), path: Some(path.into()) }
    }

    #[test]
    fn the_port_and_the_page_are_those_that_haproxy_asks() {
        let connects = |port| MemberCheck::Connects { port };
        for (backend, server, expected) in [
            ("", "", MemberCheck::None),
            ("", "check", connects(Some(8280))),
            ("", "check port 9201", connects(Some(9201))),
            ("", "check port ${PORT}", connects(None)),
            ("option httpchk", "", MemberCheck::None),
            ("option httpchk", "check", asks(8280, "/")),
            ("option httpchk /healthz", "check", asks(8280, "/healthz")),
            ("option httpchk GET /healthz", "check port 9201", asks(9201, "/healthz")),
            ("option httpchk GET /healthz HTTP/1.1", "check ssl", asks(8280, "/healthz")),
            ("option httpchk\n http-check send meth GET uri /ready?x=1", "check", asks(8280, "/ready?x=1")),
            ("option httpchk GET /x\n http-check connect port 9201 ssl", "check", asks(9201, "/x")),
            ("option httpchk GET /x\n http-check connect port 9201", "check port 9202", asks(9201, "/x")),
            ("option httpchk GET /x\n http-check connect ssl", "check port 9202", asks(9202, "/x")),
            ("option httpchk GET /x\n tcp-check connect port 9201", "check", asks(8280, "/x")),
            ("option tcp-check\n tcp-check connect port 9201", "check", connects(Some(9201))),
            ("option tcp-check\n http-check connect port 9201", "check", connects(Some(8280))),
            ("tcp-check connect port 9201", "check", connects(Some(8280))),
            ("option httpchk GET /x\n http-check send meth GET", "check", asks(8280, "/x")),
            ("option httpchk GET ${PAGE}", "check", MemberCheck::Asks { port: Some(8280), path: None }),
        ] {
            let text = format!("backend esb\n {backend}\n server esb1 10.0.0.1:8280 {server}\n");
            assert_eq!(member_check(&text, "esb", "esb1"), Some(expected), "{backend}: {server}");
        }
    }

    #[test]
    fn what_is_inherited_counts_until_a_section_has_rules_of_its_own() {
        for (inherited, own, expected) in [
            ("http-check connect port 9201", "option httpchk GET /x", asks(8280, "/x")),
            ("http-check send meth GET uri /sent", "option httpchk GET /x", asks(8280, "/x")),
            ("option httpchk GET /x\n http-check connect port 9201", "http-check disable-on-404", asks(9201, "/x")),
            (
                "option httpchk GET /x\n http-check connect port 9201",
                "http-check send meth GET uri /y",
                asks(8280, "/y"),
            ),
        ] {
            let text = format!("defaults\n {inherited}\nbackend esb\n {own}\n server esb1 10.0.0.1:8280 check\n");
            assert_eq!(member_check(&text, "esb", "esb1"), Some(expected), "{inherited}: {own}");
        }
    }

    #[test]
    fn what_is_no_check_of_the_server_itself_is_told_as_such() {
        for (server, what) in [
            ("track other/esb1", "it follows the state of other/esb1"),
            ("check addr 10.0.0.9", "it checks the address 10.0.0.9 instead of the server's"),
            ("agent-check agent-port 99", "an agent says how it is"),
            ("check ssl", "a TLS handshake"),
        ] {
            let text = format!("backend esb\n server esb1 10.0.0.1:8280 {server}\n");
            let expected = MemberCheck::Other { what: what.into() };
            assert_eq!(member_check(&text, "esb", "esb1"), Some(expected), "{server}");
        }
        for (lines, what) in [
            ("http-check connect addr 10.0.0.9 port 80", "it checks the address 10.0.0.9 instead of the server's"),
            ("http-check connect port 80\n http-check connect port 81", "it connects to several ports"),
            (
                ".if feature(OPENSSL)\n http-check send uri /x\n .endif",
                "its file has a condition in line 5: what is in force cannot be told",
            ),
        ] {
            let text = format!(
                "defaults\n http-check connect port 9201\nbackend esb\n option httpchk\n {lines}\n server esb1 10.0.0.1:8280 check\n"
            );
            let expected = MemberCheck::Other { what: what.into() };
            assert_eq!(member_check(&text, "esb", "esb1"), Some(expected), "{lines}");
        }
        let text = "backend esb\n option mysql-check\n server-template esb 1-2 10.0.0.1:8280 check\n";
        assert_eq!(member_check(text, "esb", "esb2"), Some(MemberCheck::Other { what: "option mysql-check".into() }));
        assert_eq!((member_check(text, "esb", "esb3"), member_check(text, "mgmt", "esb1")), (None, None));
    }
}
