//! One configuration of the catalogue, and what is expected of it.

use std::fmt;

use ha_lab::{HaProxySpec, ServerSpec};

/// The servers that a configuration may name, by their ports on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) esb1: u16,
    pub(crate) esb2: u16,
    pub(crate) spare1: u16,
    /// An agent that says what the row wants.
    pub(crate) agent: u16,
    /// Nothing listens here.
    pub(crate) nobody: u16,
}

impl Ports {
    /// Describes two servers and a spare in one backend.
    pub(crate) fn esb(self) -> HaProxySpec {
        self.with(|server| server, |server| server)
    }

    /// The same, with more to say of each server, or of the second.
    pub(crate) fn with(
        self,
        each: impl Fn(ServerSpec) -> ServerSpec,
        second: impl Fn(ServerSpec) -> ServerSpec,
    ) -> HaProxySpec {
        HaProxySpec::new("esb", self.servers(each, second))
    }

    /// Lists the servers, for another backend.
    pub(crate) fn servers(
        self,
        each: impl Fn(ServerSpec) -> ServerSpec,
        second: impl Fn(ServerSpec) -> ServerSpec,
    ) -> Vec<ServerSpec> {
        vec![
            each(ServerSpec::new("esb1", self.esb1)),
            second(each(ServerSpec::new("esb2", self.esb2))),
            each(ServerSpec::new("spare1", self.spare1)).held_out(),
        ]
    }

    /// Adds these words to the line of each server.
    pub(crate) fn words(self, words: &str) -> HaProxySpec {
        self.with(|server| server.with_words(words), |server| server)
    }
}

/// Who sends the requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Clients {
    /// An open loop of short, slow, posted, streamed and upgraded requests.
    Mixed,
    /// The same, with some that take nearly as long as the longest may: there are always some in flight.
    Long,
    /// An open loop of requests that each have a connection of their own.
    Closing,
    /// So many clients that are never idle.
    Busy(usize),
    /// The same, each of which keeps the cookie that it is given.
    WithCookies(usize),
}

/// What somebody else does to HAProxy while a server is taken out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Meanwhile {
    Nothing,
    /// The configuration is loaded anew: what was set at run time is gone.
    Reload,
    /// The same, with the state file written right before.
    ReloadWithStateFile,
    /// Somebody makes the server ready once.
    SomebodyReadies,
}

/// What is right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expect {
    /// The patch goes through.
    Held,
    /// The plan is refused with these words.
    Refused(&'static str),
    /// The rotation refuses by itself with these words, and the patch goes through: it brings another server in first.
    Patched(&'static str),
    /// The rotation refuses by itself with these words, and the plan with those.
    RefusedByBoth(&'static str, &'static str),
}

/// One configuration.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) spec: fn(Ports) -> HaProxySpec,
    pub(crate) expect: Expect,
    pub(crate) clients: Clients,
    pub(crate) meanwhile: Meanwhile,
    /// Runs by default too.
    pub(crate) main: bool,
    /// What the agent says.
    pub(crate) agent: &'static str,
    /// More pools of the topology, by their names in haproxy.cfg.
    pub(crate) pools: &'static [&'static str],
    /// Rules of the lint that the owner accepts.
    pub(crate) accept: &'static [&'static str],
    /// The version from which on HAProxy refuses it.
    pub(crate) before: (u32, u32),
    /// Another canary than none, as a share.
    pub(crate) canary: Option<&'static str>,
}

impl Row {
    fn new(name: &'static str, expect: Expect, spec: fn(Ports) -> HaProxySpec) -> Self {
        let (clients, meanwhile) = (Clients::Mixed, Meanwhile::Nothing);
        let (main, agent, canary, before) = (false, "up", None, (u32::MAX, 0));
        Self { name, spec, expect, clients, meanwhile, main, agent, pools: &[], accept: &[], canary, before }
    }

    pub(crate) fn held(name: &'static str, spec: fn(Ports) -> HaProxySpec) -> Self {
        Self::new(name, Expect::Held, spec)
    }

    pub(crate) fn patched(name: &'static str, words: &'static str, spec: fn(Ports) -> HaProxySpec) -> Self {
        Self::new(name, Expect::Patched(words), spec)
    }

    pub(crate) fn refused(name: &'static str, words: &'static str, spec: fn(Ports) -> HaProxySpec) -> Self {
        Self::new(name, Expect::Refused(words), spec)
    }

    pub(crate) fn main(mut self) -> Self {
        self.main = true;
        self
    }

    pub(crate) fn clients(mut self, clients: Clients) -> Self {
        self.clients = clients;
        self
    }

    pub(crate) fn meanwhile(mut self, meanwhile: Meanwhile) -> Self {
        self.meanwhile = meanwhile;
        self
    }

    pub(crate) fn agent(mut self, says: &'static str) -> Self {
        self.agent = says;
        self
    }

    pub(crate) fn pools(mut self, pools: &'static [&'static str]) -> Self {
        self.pools = pools;
        self
    }

    pub(crate) fn accepting(mut self, rules: &'static [&'static str]) -> Self {
        self.accept = rules;
        self
    }

    pub(crate) fn canary(mut self, share: &'static str) -> Self {
        self.canary = Some(share);
        self
    }

    pub(crate) fn before(mut self, major: u32, minor: u32) -> Self {
        self.before = (major, minor);
        self
    }

    /// Expects the rotation alone to refuse it too.
    pub(crate) fn by_rotation(mut self, words: &'static str) -> Self {
        if let Expect::Refused(plan) = self.expect {
            self.expect = Expect::RefusedByBoth(words, plan);
        }
        self
    }
}

/// How a configuration came out: as expected, and no request failed.
#[derive(Clone, Debug)]
pub(crate) enum Result {
    Held { sent: u64 },
    Refused { sent: u64, message: String },
}

impl fmt::Display for Result {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { sent } => write!(f, "patched, {sent} requests, 0 failed"),
            Self::Refused { sent, message } => write!(f, "refused, {sent} requests, 0 failed: {message}"),
        }
    }
}
