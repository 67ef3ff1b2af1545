use ha_core::topology::Name;
use ha_haproxy::{Outline, OutlinePool, OutlineServer};

/// What a configuration of HAProxy tells of a cluster.
#[derive(Debug)]
pub(super) struct Inventory {
    /// The admin socket; `None` where none can be used.
    pub(super) socket: Option<String>,
    pub(super) pools: Vec<Pool>,
    pub(super) nodes: Vec<Node>,
}

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) name: String,
    pub(super) serve: usize,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) is_spare: bool,
    /// Its host, as ssh and URLs name it; `None` where the address is no host.
    pub(super) host: Option<String>,
    /// One for each pool that it is in, in the order of the pools.
    pub(super) ports: Vec<Port>,
}

#[derive(Debug)]
pub(super) struct Port {
    pub(super) pool: usize,
    pub(super) member: String,
    pub(super) number: Option<u16>,
    pub(super) is_tls: bool,
    pub(super) path: Option<String>,
    is_disabled: bool,
}

/// More pools than a topology takes are left for their owner.
const MOST_POOLS: usize = 16;

impl Inventory {
    pub(super) fn of(found: &Outline, notes: &mut Vec<String>) -> Self {
        let pools = usable(&found.pools, notes);
        let mut nodes: Vec<(String, Node)> = Vec::new();
        let by_host = pools.iter().all(|(_, servers)| has_one_server_a_host(servers));
        for (place, (pool, servers)) in pools.iter().enumerate() {
            for server in servers {
                let (host, number) = parts(&server.address);
                let port = Port {
                    pool: place,
                    member: server.name.clone(),
                    number,
                    is_tls: server.is_tls,
                    path: pool.check_path.clone().filter(|path| is_path(path)),
                    is_disabled: server.is_disabled,
                };
                let key = if by_host { server_host(&server.address) } else { server.name.clone() };
                let known = nodes
                    .iter_mut()
                    .find(|(known, node)| *known == key && node.ports.iter().all(|other| other.pool != place));
                match known {
                    Some((_, node)) => node.ports.push(port),
                    None => {
                        let name = free_name(&server.name, &nodes);
                        nodes.push((key, Node { name, is_spare: false, host, ports: vec![port] }));
                    }
                }
            }
        }
        let mut nodes: Vec<Node> = nodes.into_iter().map(|(_, node)| node).collect();
        let unnamed = nodes.iter().filter(|node| node.host.is_none());
        notes.extend(unnamed.map(|node| format!("node {}: its address is no host; say how it is reached", node.name)));
        mark_spares(&mut nodes, pools.len());
        let serve = |(place, (pool, servers)): (usize, &(&OutlinePool, Vec<&OutlineServer>))| {
            let of_pool = |node: &&Node| !node.is_spare && node.ports.iter().any(|port| port.pool == place);
            let members = nodes.iter().filter(of_pool).count();
            if members == 1 {
                let what = "a cluster that loses it loses everything: add a second one, or the law refuses each change";
                notes.push(format!("pool {} has one server that is no spare: {what}", pool.name));
            }
            let active = servers.iter().filter(|server| !server.is_backup && !server.is_disabled).count();
            Pool { name: pool.name.clone(), serve: active.clamp(1, members.max(1)) }
        };
        let pools: Vec<Pool> = pools.iter().enumerate().map(serve).collect();
        Self { socket: socket(found, notes), pools, nodes }
    }
}

/// Lists the pools whose names, and whose servers' names, a topology can have; each name once.
fn usable<'o>(found: &'o [OutlinePool], notes: &mut Vec<String>) -> Vec<(&'o OutlinePool, Vec<&'o OutlineServer>)> {
    let mut pools: Vec<(&OutlinePool, Vec<&OutlineServer>)> = Vec::new();
    for pool in found {
        let left_out = |why: &str| format!("line {}: {:?} is left out: {why}", pool.line, pool.name);
        if Name::new(&pool.name).is_err() {
            notes.push(left_out("its name cannot be used"));
            continue;
        }
        if pools.iter().any(|(known, _)| known.name == pool.name) {
            notes.push(left_out("another section has its name"));
            continue;
        }
        if pools.len() == MOST_POOLS {
            notes.push(left_out("a cluster has up to 16 pools"));
            continue;
        }
        let mut servers: Vec<&OutlineServer> = Vec::new();
        for server in &pool.servers {
            let is_taken = servers.iter().any(|known| known.name == server.name);
            if Name::new(&server.name).is_err() || is_taken {
                notes.push(format!(
                    "line {}: server {:?} is left out: its name cannot be used",
                    server.line, server.name
                ));
            } else {
                servers.push(server);
            }
        }
        if !servers.is_empty() {
            pools.push((pool, servers));
        }
    }
    pools
}

fn has_one_server_a_host(servers: &[&OutlineServer]) -> bool {
    let hosts: Vec<String> = servers.iter().map(|server| server_host(&server.address)).collect();
    hosts.iter().enumerate().all(|(place, host)| !hosts[..place].contains(host))
}

/// What is disabled everywhere is a spare, as long as each pool keeps a member.
fn mark_spares(nodes: &mut [Node], pools: usize) {
    for node in nodes.iter_mut() {
        node.is_spare = node.ports.iter().all(|port| port.is_disabled);
    }
    for pool in 0..pools {
        let in_pool = |node: &Node| node.ports.iter().any(|port| port.pool == pool);
        if !nodes.iter().any(|node| in_pool(node) && !node.is_spare) {
            nodes.iter_mut().filter(|node| in_pool(node)).for_each(|node| node.is_spare = false);
        }
    }
}

fn free_name(wanted: &str, nodes: &[(String, Node)]) -> String {
    let is_free = |name: &String| nodes.iter().all(|(_, node)| node.name != *name);
    let numbered = (2..).map(|number| format!("{}-{number}", &wanted[..wanted.len().min(120)]));
    std::iter::once(wanted.to_string()).chain(numbered).find(is_free).unwrap_or_default()
}

fn socket(found: &Outline, notes: &mut Vec<String>) -> Option<String> {
    let can_be_used = |address: &str| {
        let is_tcp = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.starts_with('/') && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        let is_plain = address.chars().all(|letter| letter.is_ascii_graphic() && !"\"\\${}".contains(letter));
        is_plain && (address.starts_with('/') || is_tcp)
    };
    let usable = || found.sockets.iter().filter(|socket| can_be_used(&socket.address));
    match usable().find(|socket| socket.is_admin).or_else(|| usable().next()) {
        Some(socket) if socket.is_admin => Some(socket.address.clone()),
        Some(socket) => {
            notes.push(format!("line {}: give the stats socket `level admin`: a drain needs it", socket.line));
            Some(socket.address.clone())
        }
        None => {
            notes.push(
                "there is no stats socket that can be used: add `stats socket /run/haproxy/admin.sock level admin`"
                    .into(),
            );
            None
        }
    }
}

/// Returns what tells a host from another: the address without its port.
fn server_host(address: &str) -> String {
    split(address).0.to_string()
}

/// Cuts an address into its host, where it is one, and its port.
fn parts(address: &str) -> (Option<String>, Option<u16>) {
    let (host, port) = split(address);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_host = !bare.is_empty()
        && !bare.starts_with('-')
        && bare.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-:_".contains(letter));
    (is_host.then(|| bare.to_string()), port.and_then(|port| port.parse().ok()).filter(|port| *port > 0))
}

fn split(address: &str) -> (&str, Option<&str>) {
    if address.starts_with('/') {
        return (address, None);
    }
    match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        Some(_) | None => (address, None),
    }
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.chars().all(|letter| letter.is_ascii_graphic() && !"\"\\#${}%<>".contains(letter))
}
