use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, BalancerCapabilities, CloseSessions, Closed, ConfigFinding, ErrorKind, Expectations, Instance,
    LoadBalancer, Member, MemberCheck, MemberRef, MemberSnapshot, ObserveBalancer, Quiescence, SetAdmin, SetWeight,
    StepError, look_by_parts,
};
use ha_core::state::LeaseEpoch;
use ha_core::telemetry::call_span_of_instance;
use ha_core::topology::{Component, Name, SettingErrors as ConfigError, Settings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing::{Instrument, Span};

use crate::wire::{LINE_LIMIT, Reply, Request};

/// Drives an [`EmbeddedBalancer`](crate::EmbeddedBalancer) over its admin socket, from its own process or another one.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{MemberRef, ObserveBalancer};
/// use ha_core::state::MemberKind;
/// use ha_core::topology::Name;
/// use ha_local::{EmbeddedBalancer, LocalBalancer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let (dir, pool, esb1) = (tempfile::tempdir()?, Name::new("esb")?, Name::new("esb1")?);
/// let socket = dir.path().join("admin.sock");
/// let server = ([127, 0, 0, 1], 8280).into();
/// let running = EmbeddedBalancer::builder(pool.clone())
///     .with_member(esb1.clone(), server, MemberKind::Primary)
///     .start(([127, 0, 0, 1], 0).into(), &socket)
///     .await?;
/// let balancer = LocalBalancer::new(running.socket());
/// assert!(balancer.member(&MemberRef::new(pool, esb1)).await?.is_usable());
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LocalBalancer {
    socket: PathBuf,
    deadline: Duration,
}

impl LocalBalancer {
    /// Drives the balancer behind `socket`; a whole call may take 2 s.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), deadline: Duration::from_secs(2) }
    }

    /// Reads the settings `socket` and `deadline`.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let (socket, deadline) =
            (settings.absolute_path("socket"), settings.duration("deadline", Duration::from_secs(2)));
        let read = (|| Ok(Self { socket: socket?, deadline: deadline? }))();
        settings.finish(read)
    }

    pub(crate) fn call(&self, op: &'static str, target: impl Display) -> Span {
        call_span_of_instance(crate::NAME, op, target, self.socket.display())
    }

    pub(crate) async fn ask(
        &self,
        operation: &'static str,
        target: String,
        request: Request,
    ) -> Result<Reply, StepError> {
        let writes = request.epoch().is_some();
        let failed = |kind: ErrorKind, error: io::Error| {
            StepError::new(kind, operation, target.clone())
                .with_context(format!("{}: {error}", self.socket.display()))
                .caused_by(error)
        };
        let stream = match timeout(self.deadline, UnixStream::connect(&self.socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                let pause = Duration::from_millis(20);
                return Err(failed(ErrorKind::Busy, error).without_effect().retry_after(pause));
            }
            Ok(Err(error)) => return Err(failed(ErrorKind::Unreachable, error).without_effect()),
            Err(_) => {
                let error = io::Error::from(io::ErrorKind::TimedOut);
                return Err(failed(ErrorKind::Timeout, error).without_effect());
            }
        };
        // From here on a write may have been taken, whatever we see.
        let judged = |error: StepError| if writes { error } else { error.without_effect() };
        match timeout(self.deadline, exchange(stream, &request)).await {
            Ok(Ok(Reply::Error { kind, message })) => {
                Err(StepError::new(kind, operation, target.clone()).with_context(message).without_effect())
            }
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(judged(failed(ErrorKind::Protocol, error))),
            Err(_) => Err(judged(failed(ErrorKind::Timeout, io::Error::from(io::ErrorKind::TimedOut)))),
        }
    }
}

async fn exchange(mut stream: UnixStream, request: &Request) -> io::Result<Reply> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = String::new();
    BufReader::new(stream.take(LINE_LIMIT)).read_line(&mut answer).await?;
    Ok(serde_json::from_str(&answer)?)
}

pub(crate) fn unexpected(operation: &'static str, target: String, writes: bool) -> StepError {
    let error =
        StepError::new(ErrorKind::Protocol, operation, target).with_context("the answer is to another question");
    if writes { error } else { error.without_effect() }
}

#[async_trait]
impl ObserveBalancer for LocalBalancer {
    fn capabilities(&self) -> BalancerCapabilities {
        BalancerCapabilities::none()
            .with_fences(true)
            .with_idle_connections(true)
            .with_older_generations(true)
            .with_weights(true)
    }

    async fn identify(&self) -> Result<Instance, StepError> {
        async {
            let target = self.socket.display().to_string();
            match self.ask("identify", target.clone(), Request::Identify).await? {
                Reply::Instance(instance) => Ok(instance),
                _ => Err(unexpected("identify", target, false)),
            }
        }
        .instrument(self.call("identify", self.socket.display()))
        .await
    }

    async fn member(&self, member: &MemberRef) -> Result<Member, StepError> {
        async {
            let request = Request::Member { pool: member.pool.to_string(), member: member.member.to_string() };
            match self.ask("member", member.to_string(), request).await? {
                Reply::Member(state) => Ok(state),
                _ => Err(unexpected("member", member.to_string(), false)),
            }
        }
        .instrument(self.call("member", member))
        .await
    }

    async fn look(&self, member: &MemberRef) -> Result<MemberSnapshot, StepError> {
        async { look_by_parts(self, member).await }.instrument(self.call("look", member)).await
    }

    async fn members(&self, pool: &Name) -> Result<Vec<(Name, Member)>, StepError> {
        async {
            let request = Request::Members { pool: pool.to_string() };
            match self.ask("members", pool.to_string(), request).await? {
                Reply::Members(members) => Ok(members),
                _ => Err(unexpected("members", pool.to_string(), false)),
            }
        }
        .instrument(self.call("members", pool))
        .await
    }

    async fn config_findings(&self, expect: &Expectations) -> Result<Vec<ConfigFinding>, StepError> {
        async { Ok(Vec::new()) }.instrument(self.call("config_findings", &expect.pool)).await
    }

    async fn check_of(&self, member: &MemberRef) -> Result<MemberCheck, StepError> {
        async {
            let request = Request::CheckOf { pool: member.pool.to_string(), member: member.member.to_string() };
            match self.ask("check_of", member.to_string(), request).await? {
                Reply::CheckOf(check) => Ok(check),
                _ => Err(unexpected("check_of", member.to_string(), false)),
            }
        }
        .instrument(self.call("check_of", member))
        .await
    }

    async fn quiescence(&self, member: &MemberRef) -> Result<Quiescence, StepError> {
        async {
            let request = Request::Quiescence { pool: member.pool.to_string(), member: member.member.to_string() };
            match self.ask("quiescence", member.to_string(), request).await? {
                Reply::Quiescence(figures) => Ok(figures),
                _ => Err(unexpected("quiescence", member.to_string(), false)),
            }
        }
        .instrument(self.call("quiescence", member))
        .await
    }
}

#[async_trait]
impl LoadBalancer for LocalBalancer {
    async fn set_admin(&self, epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError> {
        let span = self.call("set_admin", &request.member);
        async {
            let (member, admin) = (request.member, request.admin);
            let (pool, name) = (member.pool.to_string(), member.member.to_string());
            let ask = Request::SetAdmin { pool, member: name, admin, epoch: epoch.number() };
            match self.ask("set_admin", member.to_string(), ask).await? {
                Reply::Applied(applied) => Ok(applied),
                _ => Err(unexpected("set_admin", member.to_string(), true)),
            }
        }
        .instrument(span)
        .await
    }

    async fn set_weight(&self, epoch: LeaseEpoch, request: SetWeight) -> Result<Applied, StepError> {
        let span = self.call("set_weight", &request.member);
        async {
            let (member, weight) = (request.member, request.weight);
            let (pool, name) = (member.pool.to_string(), member.member.to_string());
            let ask = Request::SetWeight { pool, member: name, weight, epoch: epoch.number() };
            match self.ask("set_weight", member.to_string(), ask).await? {
                Reply::Applied(applied) => Ok(applied),
                _ => Err(unexpected("set_weight", member.to_string(), true)),
            }
        }
        .instrument(span)
        .await
    }

    async fn close_sessions(&self, _epoch: LeaseEpoch, request: CloseSessions) -> Result<Closed, StepError> {
        let span = self.call("close_sessions", &request.member);
        async {
            let error = StepError::new(ErrorKind::Unsupported, "close_sessions", request.member.to_string());
            Err(error.with_context("the embedded balancer lets every request end by itself").without_effect())
        }
        .instrument(span)
        .await
    }
}
