//! The rows: what sites write into haproxy.cfg, and what is right then.

use std::time::Duration;

use ha_lab::{HaProxySpec, ServerSpec};

use super::row::{Clients, Meanwhile, Row};

pub(crate) fn all() -> Vec<Row> {
    [balance(), checks(), sticky(), connections(), queues(), names(), others(), reloads(), dangers()].concat()
}

/// How servers are chosen.
fn balance() -> Vec<Row> {
    vec![
        Row::held("balance roundrobin", |p| p.esb()).main(),
        Row::held("balance leastconn", |p| p.esb().with_balance("leastconn")),
        Row::held("balance static-rr", |p| p.esb().with_balance("static-rr")),
        Row::held("balance first", |p| p.words("maxconn 50").with_balance("first")),
        Row::held("balance source", |p| p.esb().with_balance("source")).clients(Clients::Busy(6)),
        Row::held("balance uri", |p| p.esb().with_balance("uri whole")),
        Row::held("balance url_param", |p| p.esb().with_balance("url_param ms")),
        Row::held("balance hdr", |p| p.esb().with_balance("hdr(x-request-id)")),
        Row::held("balance random(3)", |p| p.esb().with_balance("random(3)")),
        Row::held("balance uri, hash-type consistent, hash-balance-factor", |p| {
            p.esb()
                .with_balance("uri whole")
                .with_backend_line("hash-type consistent")
                .with_backend_line("hash-balance-factor 150")
        }),
        Row::held("weights 100 and 10", |p| p.with(|s| s.with_weight(100), |s| s.with_weight(10))),
        Row::held("canary of a tenth", |p| p.with(|s| s.with_weight(100), |s| s)).canary("0.1").main(),
        Row::refused("canary of a tenth of weight 1", "[small-weight]", |p| p.esb()).canary("0.1"),
        Row::refused("the other server has weight 0", "esb2 is not ready", |p| p.with(|s| s, |s| s.with_weight(0)))
            .by_rotation("last usable server"),
    ]
}

/// What HAProxy asks its servers.
fn checks() -> Vec<Row> {
    vec![
        Row::held("no checks", |p| p.esb().without_checks()).main(),
        Row::held("checks that only connect", |p| p.esb().with_tcp_checks_only()),
        Row::held("checks every 2 s", |p| p.esb().with_checks_every(Duration::from_secs(2), 2, 3)).main(),
        Row::held("rise 5, fall 5", |p| p.esb().with_checks_every(Duration::from_millis(100), 5, 5)),
        Row::held("fastinter and downinter", |p| p.words("fastinter 50ms downinter 1s")),
        Row::held("http-check connect, send and expect", |p| {
            let lines =
                ["option httpchk", "http-check connect", "http-check send meth GET uri /services/Version hdr host e"];
            let spec = p.words("check inter 100ms").without_checks();
            lines
                .into_iter()
                .fold(spec, HaProxySpec::with_backend_line)
                .with_backend_line("http-check expect status 200")
        }),
        Row::held("http-check disable-on-404", |p| p.esb().with_backend_line("http-check disable-on-404")),
        Row::held("observe layer4", |p| p.words("observe layer4 error-limit 50")),
        Row::held("observe layer7, fastinter on error", |p| {
            p.words("observe layer7 error-limit 50 on-error fastinter")
        }),
        Row::held("slowstart", |p| p.words("slowstart 1s")).main(),
        Row::held("agents that say up", |p| p.words(&format!("agent-check agent-port {} agent-inter 200ms", p.agent)))
            .main(),
        Row::held("agents that give the weight", |p| {
            p.words(&format!("weight 100 agent-check agent-port {} agent-inter 200ms", p.agent))
        })
        .agent("up 75%"),
        Row::refused("the other server is down by its agent", "esb2 is not ready", agent_of_the_other)
            .agent("down")
            .by_rotation("last usable server")
            .main(),
        Row::refused("the other server is stopped by its agent", "esb2 is not ready", agent_of_the_other)
            .agent("stopped")
            .by_rotation("last usable server"),
        Row::refused("the other server drains by its agent", "esb2 is not ready", agent_of_the_other)
            .agent("drain")
            .by_rotation("last usable server"),
        Row::refused("the other server is in maintenance by its agent", "esb2 is not ready", agent_of_the_other)
            .agent("maint")
            .by_rotation("last usable server"),
        Row::refused("the other server follows one that is down", "[track]", |p| {
            let checks = format!("backend checks\n    server c2 127.0.0.1:{} check inter 100ms", p.nobody);
            p.with(|s| s, |s| s.tracking("checks/c2")).with_section(checks)
        })
        .by_rotation("last usable server")
        .main(),
        Row::refused("a server follows another one", "[track]", |p| {
            let checks = format!("backend checks\n    server c1 127.0.0.1:{} check inter 100ms", p.esb1);
            let mut servers = p.servers(|s| s, |s| s);
            servers[0] = ServerSpec::new("esb1", p.esb1).tracking("checks/c1");
            HaProxySpec::new("esb", servers).with_section(checks)
        })
        .by_rotation("tracks another server"),
    ]
}

fn agent_of_the_other(p: super::row::Ports) -> HaProxySpec {
    p.with(|s| s, |s| s.with_words(format!("agent-check agent-port {} agent-inter 100ms", p.agent)))
}

/// Clients that stay with their server.
fn sticky() -> Vec<Row> {
    vec![
        Row::held("cookie insert indirect", |p| p.esb().with_cookie()).clients(Clients::WithCookies(8)).main(),
        Row::held("cookie insert nocache httponly, preserve", |p| {
            p.with(named_cookie, |s| s).with_backend_line("cookie SRV insert preserve httponly nocache")
        })
        .clients(Clients::WithCookies(8)),
        Row::held("dynamic cookies", |p| {
            p.esb()
                .with_backend_line("cookie SRV insert indirect nocache dynamic")
                .with_backend_line("dynamic-cookie-key secret")
        })
        .clients(Clients::WithCookies(8)),
        Row::held("stick on src", |p| p.esb().with_stick_on_source()).clients(Clients::Busy(8)).main(),
        Row::held("stick on a header", |p| {
            p.esb()
                .with_backend_line("stick-table type string len 64 size 10k expire 10m")
                .with_backend_line("stick on hdr(user-agent)")
        })
        .clients(Clients::Busy(8)),
        Row::held("option prefer-last-server", |p| p.esb().with_backend_line("option prefer-last-server")),
    ]
}

fn named_cookie(server: ServerSpec) -> ServerSpec {
    let words = format!("cookie {}", server.name);
    server.with_words(words)
}

/// How connections are kept and given up.
fn connections() -> Vec<Row> {
    vec![
        Row::held("http-reuse aggressive", |p| p.esb().with_reuse("aggressive")),
        Row::held("http-reuse always", |p| p.esb().with_reuse("always")).main(),
        Row::refused("http-reuse never", "[http-reuse]", |p| p.esb().with_reuse("never")),
        Row::held("http-reuse never, accepted", |p| p.esb().with_reuse("never")).accepting(&["http-reuse"]),
        Row::held("option http-server-close", |p| p.esb().with_defaults_line("option http-server-close")),
        Row::held("option httpclose", |p| p.esb().with_defaults_line("option httpclose")),
        Row::held("pool-max-conn 2, pool-purge-delay 1s", |p| p.words("pool-max-conn 2 pool-purge-delay 1s")),
        Row::held("option redispatch, retries 3", |p| p.esb().with_retries(3).with_redispatch()),
        Row::refused("retry-on all-retryable-errors", "[retry-on]", |p| {
            p.esb().with_retries(3).with_defaults_line("retry-on all-retryable-errors")
        }),
        Row::held("retry-on conn-failure", |p| p.esb().with_retries(3).with_defaults_line("retry-on conn-failure")),
        Row::held("mode tcp", |p| p.esb().in_tcp_mode().with_tcp_checks_only()).clients(Clients::Closing).main(),
        Row::held("option abortonclose", |p| p.esb().with_backend_line("option abortonclose")),
        Row::held("option http-buffer-request, compression", |p| {
            p.esb()
                .with_defaults_line("option http-buffer-request")
                .with_defaults_line("compression algo gzip")
                .with_defaults_line("compression type text/plain")
        }),
        Row::held("four threads", |p| p.esb().with_global_line("nbthread 4")),
    ]
}

/// Requests that wait for a slot.
fn queues() -> Vec<Row> {
    vec![
        Row::held("a queue in front of the pool, maxconn 2", |p| p.words("maxconn 2"))
            .clients(Clients::Busy(12))
            .main(),
        Row::held("a queue in front of the pool, maxconn 4, leastconn", |p| {
            p.words("maxconn 4").with_balance("leastconn")
        })
        .clients(Clients::Busy(16)),
        Row::held("a queue in front of the pool, no checks", |p| p.words("maxconn 2").without_checks())
            .clients(Clients::Busy(12))
            .main(),
        Row::held("a queue in front of the pool, minconn and fullconn", |p| {
            p.words("minconn 1 maxconn 4").with_backend_line("fullconn 20")
        })
        .clients(Clients::Busy(12)),
        Row::held("a queue in front of the pool, cookies, maxqueue 20", |p| {
            p.words("maxconn 2 maxqueue 20").with_cookie()
        })
        .clients(Clients::WithCookies(12)),
        Row::held("a queue in front of the pool, a canary", |p| {
            p.with(|s| s.with_weight(100).with_words("maxconn 3"), |s| s)
        })
        .clients(Clients::Busy(12))
        .canary("0.5"),
        Row::held("slots for all", |p| p.words("maxconn 100")),
    ]
}

/// Names, sections, and more than one backend.
fn names() -> Vec<Row> {
    vec![
        Row::held("a frontend named as the backend", |p| p.esb().with_frontend_named("esb")).before(3, 3).main(),
        Row::held("a listen section", |p| p.esb().as_listen()),
        Row::held("a backend named 3", |p| p.esb().with_section("backend 3\n    server x 127.0.0.1:9 disabled")),
        Row::refused("two backends with the same servers, one declared", "backend mgt", |p| {
            p.esb().with_pool("mgt", p.servers(|s| s, |s| s))
        })
        .main(),
        Row::held("two backends with the same servers, both declared", |p| {
            p.esb().with_pool("mgt", p.servers(|s| s, |s| s))
        })
        .pools(&["mgt"])
        .main(),
        Row::refused("the same server twice in a backend", "[address-twice]", |p| {
            let mut servers = p.servers(|s| s, |s| s);
            servers.push(ServerSpec::new("esb1b", p.esb1));
            HaProxySpec::new("esb", servers)
        })
        .by_rotation("one server entered twice")
        .main(),
        Row::held("a second entry of a server, in maintenance", |p| {
            let mut servers = p.servers(|s| s, |s| s);
            servers.push(ServerSpec::new("slot3", p.esb1).held_out());
            HaProxySpec::new("esb", servers)
        }),
        Row::held("a server template beside the servers", |p| {
            p.esb().with_backend_line("server-template slot 3 127.0.0.1:9 disabled")
        }),
        Row::held("odd names", |p| p.esb().with_pool("a.b:c_d-1", vec![ServerSpec::new("x.y:z", p.nobody).held_out()])),
        Row::held("defaults by name", |p| p.esb().with_section("defaults other\n    mode http\n    timeout server 1s")),
    ]
}

/// Backups, slow timeouts, sockets and the rest.
fn others() -> Vec<Row> {
    vec![
        Row::held("the spare is a backup", |p| {
            let mut servers = p.servers(|s| s, |s| s);
            servers[2] = ServerSpec::new("spare1", p.spare1).as_backup().held_out();
            HaProxySpec::new("esb", servers)
        })
        .main(),
        Row::held("option allbackups", |p| p.esb().with_backend_line("option allbackups")),
        Row::held("an admin socket on TCP too", |p| p.esb().with_tcp_admin()),
        Row::refused("an operator's socket", "admin-socket", |p| p.esb().with_level("operator")),
        Row::refused("a user's socket", "admin-socket", |p| p.esb().with_level("user")),
        Row::patched("the other server is disabled", "last usable server", |p| p.with(|s| s, ServerSpec::held_out)),
        Row::refused("timeout server below the longest request", "[timeout-server]", |p| {
            p.esb().with_backend_line("timeout server 1s")
        }),
    ]
}

/// A configuration that is loaded anew, and somebody else's hands.
fn reloads() -> Vec<Row> {
    vec![
        Row::held("a reload in mid-drain", |p| p.esb().with_master())
            .clients(Clients::Long)
            .meanwhile(Meanwhile::Reload)
            .main(),
        Row::held("a reload in mid-drain, with a state file", |p| p.esb().with_master().with_state_file())
            .clients(Clients::Long)
            .meanwhile(Meanwhile::ReloadWithStateFile),
        Row::held("a reload in mid-drain, older workers unseen", |p| p.esb())
            .clients(Clients::Long)
            .meanwhile(Meanwhile::Reload),
        Row::held("somebody makes the server ready in mid-drain", |p| p.esb())
            .clients(Clients::Long)
            .meanwhile(Meanwhile::SomebodyReadies),
    ]
}

/// What would lose requests, and is refused unless the owner accepts it by name.
fn dangers() -> Vec<Row> {
    vec![
        Row::refused("option persist", "[persist]", |p| p.esb().with_cookie().with_backend_line("option persist"))
            .clients(Clients::WithCookies(8))
            .main(),
        Row::refused("force-persist", "[force-persist]", |p| {
            p.esb().with_cookie().with_backend_line("force-persist if TRUE")
        })
        .clients(Clients::WithCookies(8))
        .main(),
        Row::refused("ignore-persist", "[ignore-persist]", |p| {
            p.esb().with_cookie().with_backend_line("ignore-persist if { path_beg /stream }")
        })
        .clients(Clients::WithCookies(8)),
        Row::held("ignore-persist, accepted", |p| {
            p.esb().with_cookie().with_backend_line("ignore-persist if { path_beg /stream }")
        })
        .accepting(&["ignore-persist"])
        .clients(Clients::WithCookies(8)),
        Row::refused("use-server", "[use-server]", |p| {
            p.esb().with_backend_line("use-server esb1 if { path_beg /orders }")
        })
        .main(),
        Row::held("use-server, accepted", |p| p.esb().with_backend_line("use-server esb1 if { path_beg /orders }"))
            .accepting(&["use-server"]),
        Row::refused("on-marked-down shutdown-sessions", "[shutdown-sessions]", |p| {
            p.esb().ending_sessions_when_down()
        })
        .main(),
        Row::held("on-marked-down shutdown-sessions, accepted", |p| p.esb().ending_sessions_when_down())
            .accepting(&["shutdown-sessions"]),
        Row::refused("on-marked-up shutdown-backup-sessions", "[shutdown-backup-sessions]", |p| {
            let mut servers = p.servers(|s| s.with_words("on-marked-up shutdown-backup-sessions"), |s| s);
            servers[2] = ServerSpec::new("spare1", p.spare1).as_backup().held_out();
            HaProxySpec::new("esb", servers)
        })
        .main(),
    ]
}
