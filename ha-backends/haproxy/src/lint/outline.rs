use super::check::{check_path, send};
use super::model::{Config, Proxy};
use super::server::{Server, budget};

/// What a `haproxy.cfg` declares that a topology names: its sockets, and its backends with their servers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Outline {
    /// The `stats socket` lines, in their order.
    pub sockets: Vec<OutlineSocket>,
    /// The `backend` and `listen` sections that have servers, in their order.
    pub pools: Vec<OutlinePool>,
}

/// One `stats socket` line.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct OutlineSocket {
    /// Its line, from 1 on.
    pub line: usize,
    /// The path of a unix socket, or a host and a port, as it is written there, without `unix@` or `ipv4@`.
    pub address: String,
    /// Whether it has `level admin`, which taking a server out needs.
    pub is_admin: bool,
}

/// One `backend` or `listen` section.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct OutlinePool {
    /// Its first line, from 1 on.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Whether it speaks HTTP.
    pub is_http: bool,
    /// The path that its health check asks for, where that is declared.
    pub check_path: Option<String>,
    /// Its servers in their order; at most 4,096 names of templates.
    pub servers: Vec<OutlineServer>,
}

/// One server.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct OutlineServer {
    /// Its line, from 1 on.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Its address as it is written there; environment variables stay as they are.
    pub address: String,
    /// Whether it has `ssl`.
    pub is_tls: bool,
    /// Whether it takes traffic only while no other is usable.
    pub is_backup: bool,
    /// Whether it is held out.
    pub is_disabled: bool,
}

/// Reads what a `haproxy.cfg` declares, as HAProxy reads it: with what is inherited from `defaults` and `default-server`. Servers in
/// conditional blocks (`.if`) are among it, whatever the condition.
///
/// # Guarantees
/// Never panics, opens nothing, and gives the same answer for the same text.
///
/// # Examples
///
/// ```
/// use ha_haproxy::outline;
///
/// let text = "global\n  stats socket /run/haproxy/admin.sock level admin\n\
///             backend esb\n  option httpchk GET /health\n  server esb1 10.0.0.1:8280 check\n  server esb2 10.0.0.2:8280 check backup\n";
/// let found = outline(text);
/// assert!(found.sockets[0].is_admin);
/// assert_eq!(found.pools[0].check_path.as_deref(), Some("/health"));
/// assert!(found.pools[0].servers[1].is_backup);
/// ```
pub fn outline(text: &str) -> Outline {
    let config = Config::parse(text);
    let sockets = config.global(&["stats", "socket"]).filter(|found| found.line.words.len() > 2);
    let sockets = sockets.map(|found| OutlineSocket {
        line: found.line.number,
        address: without_family(found.line.word(2)).into(),
        is_admin: found.line.after("level") == Some("admin"),
    });
    let mut budget = budget();
    let proxies = config.proxies();
    let with_servers = proxies.iter().filter(|proxy| proxy.section.kind() != "frontend" && !proxy.servers.is_empty());
    Outline { sockets: sockets.collect(), pools: with_servers.map(|proxy| pool(proxy, &mut budget)).collect() }
}

fn pool(proxy: &Proxy<'_>, budget: &mut u32) -> OutlinePool {
    OutlinePool {
        line: proxy.section.header().line.number,
        name: proxy.section.name().into(),
        is_http: proxy.is_http(),
        check_path: declared_path(proxy),
        servers: proxy.servers.iter().flat_map(|found| servers(found, budget)).collect(),
    }
}

fn servers(found: &Server<'_>, budget: &mut u32) -> Vec<OutlineServer> {
    let one = |name: String| OutlineServer {
        line: found.at.line.number,
        name,
        address: without_family(found.address).into(),
        is_tls: found.has("ssl"),
        is_backup: found.has("backup"),
        is_disabled: found.has("disabled"),
    };
    found.names(budget).into_iter().map(one).collect()
}

/// Returns the path that the file itself names: what is asked for without one is no page that somebody has chosen.
fn declared_path(proxy: &Proxy<'_>) -> Option<String> {
    let option = proxy.last(&["option", "httpchk"])?;
    let sends = send(proxy, option).is_some_and(|found| found.line.after("uri").is_some());
    let declared = option.line.words.len() > 2 || sends;
    declared.then(|| check_path(proxy, option)).flatten().filter(|path| path.starts_with('/'))
}

fn without_family(address: &str) -> &str {
    let families = ["unix@", "ipv4@", "ipv6@", "tcp4@", "tcp6@"];
    families.into_iter().find_map(|family| address.strip_prefix(family)).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_topology_names_is_read_with_what_is_inherited() {
        let text = "global\n  stats socket unix@/run/a.sock mode 600 level admin expose-fd listeners\n  \
                    stats socket ipv4@127.0.0.1:9999 level operator\ndefaults\n  mode http\n  option httpchk /defaulted\n  \
                    default-server check\nfrontend in\n  bind :80\n  default_backend esb\nbackend esb\n  \
                    option httpchk GET /services/Version HTTP/1.1\n  server esb1 10.0.0.1:8280\n  \
                    server esb2 ipv4@10.0.0.2:8280 backup\n  server spare1 10.0.0.3:8280 backup disabled\n\
                    backend other\n  http-check send meth GET uri /sent\n  server-template t 1-2 x.example:9443 ssl\n\
                    listen stats\n  bind :8404\nbackend raw\n  mode tcp\n  no option httpchk\n  server a /run/a.sock\n";
        let found = outline(text);
        let sockets: Vec<_> = found.sockets.iter().map(|one| (one.line, one.address.as_str(), one.is_admin)).collect();
        assert_eq!(sockets, [(2, "/run/a.sock", true), (3, "127.0.0.1:9999", false)]);
        let pools: Vec<_> = found.pools.iter().map(|one| (one.name.as_str(), one.check_path.as_deref())).collect();
        assert_eq!(pools, [("esb", Some("/services/Version")), ("other", Some("/sent")), ("raw", None)]);
        let servers: Vec<_> = found.pools[0]
            .servers
            .iter()
            .map(|one| (one.name.as_str(), one.address.as_str(), one.is_backup, one.is_disabled))
            .collect();
        let expected = [
            ("esb1", "10.0.0.1:8280", false, false),
            ("esb2", "10.0.0.2:8280", true, false),
            ("spare1", "10.0.0.3:8280", true, true),
        ];
        assert_eq!(servers, expected);
        let templates: Vec<_> = found.pools[1].servers.iter().map(|one| (one.name.as_str(), one.is_tls)).collect();
        assert_eq!(templates, [("t1", true), ("t2", true)]);
        assert!(!found.pools[2].is_http && found.pools[0].is_http);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(global|backend|listen|server|stats socket|option httpchk|[ -~]{0,8}|[ \n\"'#\\\\]){0,40}") {
            let found = outline(&text);
            prop_assert!(found.pools.iter().map(|pool| pool.servers.len()).sum::<usize>() < 10_000);
        }
    }
}
