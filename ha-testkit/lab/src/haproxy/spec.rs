use std::net::Ipv4Addr;
use std::time::Duration;

use crate::Inside;

/// One server row of a lab's HAProxy.
///
/// # Examples
///
/// ```
/// use ha_lab::ServerSpec;
///
/// let backup = ServerSpec::new("esb2", 8290).as_backup().with_weight(100).with_words("maxconn 3");
/// assert!(backup.backup && !backup.held_out);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerSpec {
    /// The row's name.
    pub name: String,
    /// Where it listens. Default 127.0.0.1.
    pub address: Ipv4Addr,
    /// Its port there.
    pub port: u16,
    /// A backup row.
    pub backup: bool,
    /// Begins in maintenance.
    pub held_out: bool,
    /// Its weight, 0 to 256; `None` for HAProxy's default, 1.
    pub weight: Option<u32>,
    /// The row whose health and state it follows, as `backend/server`. It is then not checked itself.
    pub track: Option<String>,
    /// More words for its line.
    pub words: String,
}

impl ServerSpec {
    /// Describes a row that takes traffic from the beginning.
    pub fn new(name: impl Into<String>, port: u16) -> Self {
        let words = String::new();
        let (name, address) = (name.into(), Ipv4Addr::LOCALHOST);
        Self { name, address, port, backup: false, held_out: false, weight: None, track: None, words }
    }

    /// Says that it listens on another machine.
    #[must_use]
    pub fn at(mut self, address: Ipv4Addr) -> Self {
        self.address = address;
        self
    }

    /// Makes it a backup row.
    #[must_use]
    pub fn as_backup(mut self) -> Self {
        self.backup = true;
        self
    }

    /// Lets it begin in maintenance.
    #[must_use]
    pub fn held_out(mut self) -> Self {
        self.held_out = true;
        self
    }

    /// Sets its weight, 0 to 256.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Lets it follow the row `backend/server`.
    #[must_use]
    pub fn tracking(mut self, row: impl Into<String>) -> Self {
        self.track = Some(row.into());
        self
    }

    /// Adds words to its line, such as `maxconn 3`.
    #[must_use]
    pub fn with_words(mut self, words: impl Into<String>) -> Self {
        self.words = words.into();
        self
    }
}

/// What a lab's HAProxy is to do. It hides nothing by default: no retries, no redispatch.
///
/// # Examples
///
/// ```
/// use ha_lab::{HaProxySpec, ServerSpec};
///
/// let spec = HaProxySpec::new("esb", vec![ServerSpec::new("esb1", 8280)])
///     .checking("/healthz")
///     .with_master()
///     .with_backend_line("timeout queue 30s");
/// assert_eq!(spec.servers.len(), 1);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HaProxySpec {
    /// The backend's name.
    pub pool: String,
    /// Its rows.
    pub servers: Vec<ServerSpec>,
    /// The path of the health check; `None` for no checks.
    pub check: Option<String>,
    /// The level of the admin socket: `admin`, `operator` or `user`.
    pub level: String,
    pub(super) inside: Option<Inside>,
    pub(super) more_pools: Vec<(String, Vec<ServerSpec>)>,
    pub(super) check_every: Duration,
    pub(super) rise: u32,
    pub(super) fall: u32,
    pub(super) tcp_check: bool,
    pub(super) tcp_mode: bool,
    pub(super) master: bool,
    pub(super) tcp_admin: bool,
    pub(super) state_file: bool,
    pub(super) hard_stop_after: Option<Duration>,
    pub(super) cli_connections: Option<u32>,
    pub(super) retries: u32,
    pub(super) redispatch: bool,
    pub(super) reuse: Option<String>,
    pub(super) balance: String,
    pub(super) cookie: bool,
    pub(super) stick: bool,
    pub(super) end_sessions_when_down: bool,
    pub(super) global_lines: Vec<String>,
    pub(super) defaults_lines: Vec<String>,
    pub(super) backend_lines: Vec<String>,
    pub(super) frontend: String,
    pub(super) frontend_lines: Vec<String>,
    pub(super) as_listen: bool,
    pub(super) sections: Vec<String>,
}

impl HaProxySpec {
    /// Describes a backend with checks of `/services/Version` (every 100 ms, rise 2, fall 3) and an admin socket.
    pub fn new(pool: impl Into<String>, servers: Vec<ServerSpec>) -> Self {
        Self {
            pool: pool.into(),
            servers,
            check: Some("/services/Version".into()),
            level: "admin".into(),
            inside: None,
            more_pools: Vec::new(),
            check_every: Duration::from_millis(100),
            rise: 2,
            fall: 3,
            tcp_check: false,
            tcp_mode: false,
            master: false,
            tcp_admin: false,
            state_file: false,
            hard_stop_after: None,
            cli_connections: None,
            retries: 0,
            redispatch: false,
            reuse: None,
            balance: "roundrobin".into(),
            cookie: false,
            stick: false,
            end_sessions_when_down: false,
            global_lines: Vec::new(),
            defaults_lines: Vec::new(),
            backend_lines: Vec::new(),
            frontend: "in".into(),
            frontend_lines: Vec::new(),
            as_listen: false,
            sections: Vec::new(),
        }
    }

    /// Runs it in the network of a machine, where it listens on the machine's address.
    #[must_use]
    pub fn inside(mut self, machine: Inside) -> Self {
        self.inside = Some(machine);
        self
    }

    /// Adds a backend with the same options; it gets the requests whose path begins with its name (`/crm` for `crm`).
    #[must_use]
    pub fn with_pool(mut self, pool: impl Into<String>, servers: Vec<ServerSpec>) -> Self {
        self.more_pools.push((pool.into(), servers));
        self
    }

    /// Sets the level of the admin socket: `admin`, `operator` or `user`.
    #[must_use]
    pub fn with_level(mut self, level: impl Into<String>) -> Self {
        self.level = level.into();
        self
    }

    /// Runs a master with workers (`-W`) and its own socket (`-S`); a reload then leaves old workers behind.
    #[must_use]
    pub fn with_master(mut self) -> Self {
        self.master = true;
        self
    }

    /// Adds an admin socket on a free TCP port beside the traffic's, with the same level.
    #[must_use]
    pub fn with_tcp_admin(mut self) -> Self {
        self.tcp_admin = true;
        self
    }

    /// Checks `path` instead of `/services/Version`.
    #[must_use]
    pub fn checking(mut self, path: impl Into<String>) -> Self {
        self.check = Some(path.into());
        self
    }

    /// Checks every `interval`; up after `rise` passed checks, down after `fall` failed ones.
    #[must_use]
    pub fn with_checks_every(mut self, interval: Duration, rise: u32, fall: u32) -> Self {
        (self.check_every, self.rise, self.fall) = (interval, rise, fall);
        self
    }

    /// Checks nothing.
    #[must_use]
    pub fn without_checks(mut self) -> Self {
        self.check = None;
        self
    }

    /// Checks only that a connection can be opened; a frozen server passes.
    #[must_use]
    pub fn with_tcp_checks_only(mut self) -> Self {
        self.tcp_check = true;
        self
    }

    /// Carries bytes, not requests (`mode tcp`): options that need HTTP are left out.
    #[must_use]
    pub fn in_tcp_mode(mut self) -> Self {
        self.tcp_mode = true;
        self
    }

    /// Sets `retries`. Default 0.
    #[must_use]
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Adds `option redispatch 1`; needs `with_retries` of at least 1 to have an effect.
    #[must_use]
    pub fn with_redispatch(mut self) -> Self {
        self.redispatch = true;
        self
    }

    /// Sets `http-reuse`: `never`, `safe`, `aggressive` or `always`. Default: HAProxy's, `safe`.
    #[must_use]
    pub fn with_reuse(mut self, mode: impl Into<String>) -> Self {
        self.reuse = Some(mode.into());
        self
    }

    /// Sets `balance`. Default `roundrobin`.
    #[must_use]
    pub fn with_balance(mut self, algorithm: impl Into<String>) -> Self {
        self.balance = algorithm.into();
        self
    }

    /// Keeps a client on its server by a cookie `SRV` whose value is the row's name.
    #[must_use]
    pub fn with_cookie(mut self) -> Self {
        self.cookie = true;
        self
    }

    /// Keeps a client on its server by a stick table of source addresses.
    #[must_use]
    pub fn with_stick_on_source(mut self) -> Self {
        self.stick = true;
        self
    }

    /// Adds `on-marked-down shutdown-sessions`: maintenance then kills what is in flight.
    #[must_use]
    pub fn ending_sessions_when_down(mut self) -> Self {
        self.end_sessions_when_down = true;
        self
    }

    /// Loads server states from a file at each start and reload;
    /// [`save_state`](super::HaProxyProcess::save_state) writes it.
    #[must_use]
    pub fn with_state_file(mut self) -> Self {
        self.state_file = true;
        self
    }

    /// Ends old workers this long after a reload, whatever they still do.
    #[must_use]
    pub fn with_hard_stop_after(mut self, after: Duration) -> Self {
        self.hard_stop_after = Some(after);
        self
    }

    /// Sets how many connections the admin sockets serve at once (`stats maxconn`). Default: HAProxy's, 10.
    #[must_use]
    pub fn with_cli_connections(mut self, connections: u32) -> Self {
        self.cli_connections = Some(connections);
        self
    }

    /// Adds a line to `global`.
    #[must_use]
    pub fn with_global_line(mut self, line: impl Into<String>) -> Self {
        self.global_lines.push(line.into());
        self
    }

    /// Adds a line to `defaults`.
    #[must_use]
    pub fn with_defaults_line(mut self, line: impl Into<String>) -> Self {
        self.defaults_lines.push(line.into());
        self
    }

    /// Adds a line to every backend.
    #[must_use]
    pub fn with_backend_line(mut self, line: impl Into<String>) -> Self {
        self.backend_lines.push(line.into());
        self
    }

    /// Names the frontend. Default `in`.
    #[must_use]
    pub fn with_frontend_named(mut self, name: impl Into<String>) -> Self {
        self.frontend = name.into();
        self
    }

    /// Adds a line to the frontend.
    #[must_use]
    pub fn with_frontend_line(mut self, line: impl Into<String>) -> Self {
        self.frontend_lines.push(line.into());
        self
    }

    /// Writes frontend and first backend as one `listen` section.
    #[must_use]
    pub fn as_listen(mut self) -> Self {
        self.as_listen = true;
        self
    }

    /// Adds a section as it is given, behind all others.
    #[must_use]
    pub fn with_section(mut self, text: impl Into<String>) -> Self {
        self.sections.push(text.into());
        self
    }
}
