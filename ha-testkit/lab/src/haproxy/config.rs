use std::net::SocketAddr;
use std::path::PathBuf;

use super::{HaProxySpec, ServerSpec};
use crate::Inside;

/// Where one HAProxy of the lab listens and keeps its files; the same over all its reloads and restarts.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) inside: Option<Inside>,
    pub(super) address: SocketAddr,
    pub(super) tcp_admin: Option<SocketAddr>,
    pub(super) config: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) master: Option<PathBuf>,
    pub(super) state: PathBuf,
    pub(super) log: PathBuf,
}

/// Writes the configuration that `spec` describes.
pub(super) fn render(spec: &HaProxySpec, place: &Place, version: (u32, u32)) -> String {
    let mut sections = vec![global(spec, place), defaults(spec, version)];
    if spec.as_listen {
        let bind = format!("bind {}", place.address);
        sections.push(backend(spec, &format!("listen {}", spec.pool), Some(bind), &spec.servers));
    } else {
        sections.push(frontend(spec, place));
        sections.push(backend(spec, &format!("backend {}", spec.pool), None, &spec.servers));
    }
    let more = spec.more_pools.iter();
    sections.extend(more.map(|(pool, servers)| backend(spec, &format!("backend {pool}"), None, servers)));
    sections.extend(spec.sections.iter().map(|text| format!("{text}\n")));
    sections.concat()
}

fn section(head: &str, lines: impl IntoIterator<Item = Option<String>>, more: &[String]) -> String {
    let own = lines.into_iter().flatten();
    own.chain(more.iter().cloned()).fold(format!("{head}\n"), |text, line| format!("{text}    {line}\n"))
}

fn global(spec: &HaProxySpec, place: &Place) -> String {
    let lines = [
        Some(format!("stats socket {} level {}", place.socket.display(), spec.level)),
        place.tcp_admin.map(|address| format!("stats socket ipv4@{address} level {}", spec.level)),
        Some("stats timeout 10s".into()),
        Some("maxconn 2000".into()),
        spec.cli_connections.map(|connections| format!("stats maxconn {connections}")),
        spec.hard_stop_after.map(|after| format!("hard-stop-after {}ms", after.as_millis())),
        spec.state_file.then(|| format!("server-state-file {}", place.state.display())),
    ];
    section("global", lines, &spec.global_lines)
}

fn defaults(spec: &HaProxySpec, version: (u32, u32)) -> String {
    let http = !spec.tcp_mode;
    let lines = [
        Some(format!("mode {}", if http { "http" } else { "tcp" })),
        Some("timeout connect 2s".into()),
        Some("timeout client 60s".into()),
        Some("timeout server 60s".into()),
        Some(format!("retries {}", spec.retries)),
        spec.redispatch.then(|| "option redispatch 1".into()),
        // Not in every 2.4.
        (http && version >= (2, 5)).then(|| "option idle-close-on-response".into()),
        spec.state_file.then(|| "load-server-state-from-file global".into()),
    ];
    section("defaults", lines, &spec.defaults_lines)
}

fn frontend(spec: &HaProxySpec, place: &Place) -> String {
    let bind = Some(format!("bind {}", place.address));
    let others = spec.more_pools.iter().filter(|_| !spec.tcp_mode);
    let rules = others.map(|(pool, _)| Some(format!("use_backend {pool} if {{ path_beg /{pool} }}")));
    let fallback = Some(format!("default_backend {}", spec.pool));
    let head = format!("frontend {}", spec.frontend);
    section(&head, std::iter::once(bind).chain(rules).chain([fallback]), &spec.frontend_lines)
}

fn backend(spec: &HaProxySpec, head: &str, bind: Option<String>, servers: &[ServerSpec]) -> String {
    let http = !spec.tcp_mode;
    let path = spec.check.as_ref().filter(|_| !spec.tcp_check);
    let options = [
        Some(format!("balance {}", spec.balance)),
        path.map(|path| format!("option httpchk GET {path}")),
        path.map(|_| "http-check expect status 200".into()),
        spec.reuse.as_ref().filter(|_| http).map(|mode| format!("http-reuse {mode}")),
        (spec.cookie && http).then(|| "cookie SRV insert indirect nocache".into()),
        spec.stick.then(|| "stick-table type ip size 10k expire 10m".into()),
        spec.stick.then(|| "stick on src".into()),
        spec.end_sessions_when_down.then(|| "default-server on-marked-down shutdown-sessions".into()),
    ];
    let lines = spec.backend_lines.iter().cloned().map(Some);
    let rows = servers.iter().map(|server| Some(row(spec, server)));
    section(head, std::iter::once(bind).chain(options).chain(lines).chain(rows), &[])
}

fn row(spec: &HaProxySpec, server: &ServerSpec) -> String {
    let checked = spec.check.is_some() && server.track.is_none();
    let every = spec.check_every.as_millis();
    let words = [
        Some(format!("server {} {}:{}", server.name, server.address, server.port)),
        checked.then(|| format!("check inter {every}ms fall {} rise {}", spec.fall, spec.rise)),
        server.track.as_ref().map(|row| format!("track {row}")),
        server.weight.map(|weight| format!("weight {weight}")),
        (spec.cookie && !spec.tcp_mode).then(|| format!("cookie {}", server.name)),
        server.backup.then(|| "backup".into()),
        server.held_out.then(|| "disabled".into()),
        Some(server.words.clone()).filter(|words| !words.is_empty()),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
