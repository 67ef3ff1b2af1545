use std::time::Duration;

/// What the lint cannot see in the file.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use ha_haproxy::LintExpectations;
///
/// let expect = LintExpectations::new()
///     .with_pool("esb")
///     .with_longest_request(Duration::from_secs(120))
///     .with_master_socket(true);
/// assert_eq!(expect.pools, ["esb"]);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LintExpectations {
    /// The backends to look at, and the frontends that lead there. Default: none named, which means all.
    pub pools: Vec<String>,
    /// How long the longest request may take. Default 60 s.
    pub longest_request: Duration,
    /// Whether the servers speak HTTP. Default true; pools in `mode http` count as HTTP in any case.
    pub http: bool,
    /// Whether a master socket exists (`haproxy -W -S ..`, which no configuration shows). Default false.
    pub master_socket: bool,
    /// The share of its weight in percent at which a server is tried first; `None` where no such try is made. Default `None`.
    pub canary_percent: Option<u8>,
    /// How many controllers use the admin socket. Default 1.
    pub controllers: u32,
    /// The servers that are `disabled` on purpose: cold spares. Default: none.
    pub spares: Vec<String>,
    /// The servers of these backends that are taken out of traffic. Default: none named, which means all.
    pub members: Vec<String>,
    /// The other backends from which they are taken out as well. Default: none.
    pub declared: Vec<String>,
}

impl LintExpectations {
    /// Expects the defaults of all fields.
    pub fn new() -> Self {
        Self {
            pools: Vec::new(),
            longest_request: Duration::from_secs(60),
            http: true,
            master_socket: false,
            canary_percent: None,
            controllers: 1,
            spares: Vec::new(),
            members: Vec::new(),
            declared: Vec::new(),
        }
    }

    /// Adds a backend to look at.
    pub fn with_pool(mut self, pool: impl Into<String>) -> Self {
        self.pools.push(pool.into());
        self
    }

    /// Sets how long the longest request may take.
    pub fn with_longest_request(mut self, longest: Duration) -> Self {
        self.longest_request = longest;
        self
    }

    /// Sets whether the servers speak HTTP.
    pub fn with_http(mut self, http: bool) -> Self {
        self.http = http;
        self
    }

    /// Sets whether a master socket exists.
    pub fn with_master_socket(mut self, exists: bool) -> Self {
        self.master_socket = exists;
        self
    }

    /// Sets the share of its weight in percent at which a server is tried first.
    pub fn with_canary_percent(mut self, percent: u8) -> Self {
        self.canary_percent = Some(percent);
        self
    }

    /// Sets how many controllers use the admin socket.
    pub fn with_controllers(mut self, controllers: u32) -> Self {
        self.controllers = controllers;
        self
    }

    /// Adds a server that is `disabled` on purpose.
    pub fn with_spare(mut self, server: impl Into<String>) -> Self {
        self.spares.push(server.into());
        self
    }

    /// Adds a server that is taken out of traffic.
    pub fn with_member(mut self, server: impl Into<String>) -> Self {
        self.members.push(server.into());
        self
    }

    /// Adds a backend from which the servers are taken out as well.
    pub fn with_declared(mut self, backend: impl Into<String>) -> Self {
        self.declared.push(backend.into());
        self
    }
}

impl Default for LintExpectations {
    fn default() -> Self {
        Self::new()
    }
}
