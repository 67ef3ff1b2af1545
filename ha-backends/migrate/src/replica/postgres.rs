use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, DemoteReplica, ErrorKind, FollowReplica, ObserveReplica, PromoteReplica, Replica, ReplicaRole,
    ReplicaSeen, StepError,
};
use ha_core::state::{LeaseEpoch, SiteEpoch};
use ha_core::telemetry::call_span;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use super::PostgresReplicaConfig;
use super::command;
use super::instance::{Instance, Seen, again};
use crate::{Limits, SessionRole, UrlError};

/// The copy of a PostgreSQL in one of several sites, by streaming replication.
///
/// A promotion is `pg_promote`, and a row with the epoch in the table `ha_site_epoch`, which is replicated. A demotion restarts the
/// instance as one that recovers and follows nobody: its fast shutdown has sent all that it has to its standbys, and it cannot take a
/// write by any session's own setting. To follow, a copy that has nothing of its own only connects to the other; one that has is
/// rebuilt by a command, and only where a person lets its writes go.
///
/// # Examples
///
/// ```
/// use ha_migrate::{PostgresCopy, PostgresReplica, PostgresReplicaConfig};
///
/// let copy = |site: &str| {
///     PostgresCopy::new(site, format!("jdbc:postgresql://{site}/orders?user=ha"), format!("host={site} user=replicator"))
/// };
/// let restart = ["systemctl", "restart", "postgresql"].map(String::from).to_vec();
/// let config = PostgresReplicaConfig::new(copy("north"), vec![copy("south")], restart);
/// assert!(PostgresReplica::new(config).is_ok()); // nothing is opened yet
/// ```
#[derive(Clone, Debug)]
pub struct PostgresReplica {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: PostgresReplicaConfig,
    own: Instance,
    others: Vec<Instance>,
    /// One change at a time: each begins with what it reads.
    changing: Mutex<()>,
}

/// How often it is looked whether something has come true.
const LOOK: Duration = Duration::from_millis(50);
/// A lost site is not waited for longer.
const CONNECT: Duration = Duration::from_secs(2);

impl PostgresReplica {
    /// Drives the instance that `config` names. Nothing is opened yet.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn new(config: PostgresReplicaConfig) -> Result<Self, UrlError> {
        let limits = Limits { connect: CONNECT, ..Limits::default() };
        let own = Instance::new(config.own.clone(), limits)?;
        let others = config.others.iter().map(|copy| Instance::new(copy.clone(), limits));
        let others = others.collect::<Result<_, _>>()?;
        Ok(Self { inner: Arc::new(Inner { config, own, others, changing: Mutex::default() }) })
    }
}

impl Inner {
    fn error(&self, kind: ErrorKind, operation: &'static str, context: impl Into<String>) -> StepError {
        StepError::new(kind, operation, self.own.copy.site.as_str()).with_context(context.into())
    }

    fn no_time(&self, operation: &'static str, until: Instant) -> Result<(), StepError> {
        if Instant::now() >= until {
            let context = "no time was left to change anything";
            return Err(self.error(ErrorKind::Timeout, operation, context).without_effect());
        }
        Ok(())
    }

    /// Looks until the instance is like this. It may be starting: what cannot be read is read again.
    async fn until(
        &self,
        operation: &'static str,
        until: Instant,
        is_so: impl Fn(&Seen) -> bool + Send,
    ) -> Result<Seen, StepError> {
        loop {
            let seen = self.own.seen(operation).await;
            match seen {
                Ok(seen) if is_so(&seen) => return Ok(seen),
                Ok(seen) if Instant::now() >= until => {
                    let context = format!("it is {:?} with epoch {} at the deadline", seen.role, seen.epoch);
                    return Err(self.error(ErrorKind::Timeout, operation, context));
                }
                Err(error) if Instant::now() >= until => return Err(again(error, operation)),
                Ok(_) | Err(_) => sleep(LOOK).await,
            }
        }
    }

    async fn restart(&self, operation: &'static str, until: Instant) -> Result<(), StepError> {
        let left = until.saturating_duration_since(Instant::now()).min(self.config.command_deadline);
        command::run((operation, &self.own.copy.site), &self.config.restart, &[], left).await
    }

    /// Lets what recovers connect to the one that `conninfo` reaches from now on.
    async fn reload(&self, operation: &'static str, conninfo: &str) -> Result<(), StepError> {
        let mut session = self.own.open(operation, SessionRole::Reader).await?;
        self.own.connect_to(operation, session.as_mut(), conninfo).await?;
        let reloaded = self.own.query(operation, session.as_mut(), "SELECT pg_reload_conf()").await;
        reloaded.map(drop).map_err(|error| again(error, operation))
    }

    async fn promote(&self, request: &PromoteReplica, until: Instant) -> Result<Applied, StepError> {
        let operation = "promote";
        let (wanted, now) = (request.epoch.number(), self.own.seen(operation).await?);
        let is_primary = now.role == ReplicaRole::Primary;
        // What a demotion has left behind that did not come to its end: a restart would let it recover.
        let armed = is_primary && self.own.is_armed(operation).await?;
        if is_primary && now.epoch == wanted && !armed {
            return Ok(Applied::AlreadySo);
        }
        // What was demoted may go on with the epoch that it had; what follows another has that one's.
        if now.epoch > wanted || (now.epoch == wanted && now.role == ReplicaRole::Standby) {
            let context = format!("the copy has epoch {}", now.epoch);
            return Err(self.error(ErrorKind::Conflict, operation, context).without_effect());
        }
        self.no_time(operation, until)?;
        if armed {
            self.own.disarm(operation).await?;
        }
        if !is_primary {
            let mut session = self.own.open(operation, SessionRole::Reader).await?;
            self.own.query(operation, session.as_mut(), "SELECT pg_promote(false)").await?;
            drop(session);
            self.until(operation, until, |now| now.role == ReplicaRole::Primary).await?;
        }
        if now.epoch != wanted || !is_primary {
            self.own.keep(operation, wanted).await.map_err(|error| again(error, operation))?;
        }
        self.until(operation, until, |now| now.role == ReplicaRole::Primary && now.epoch == wanted).await?;
        Ok(Applied::Applied)
    }

    async fn demote(&self, until: Instant) -> Result<Applied, StepError> {
        let operation = "demote";
        if self.own.seen(operation).await?.role != ReplicaRole::Primary {
            return Ok(Applied::AlreadySo);
        }
        self.no_time(operation, until)?;
        // The shutdown ends every session, and sends what it has to the standbys that are connected.
        let now = self.turn(operation, "", until.max(Instant::now() + self.config.command_deadline)).await?;
        loop {
            for other in &self.others {
                let seen = other.seen(operation).await;
                if seen.is_ok_and(|seen| seen.role == ReplicaRole::Standby && seen.position >= now.position) {
                    return Ok(Applied::Applied);
                }
            }
            if Instant::now() >= until {
                let context = format!("it takes no writes, and no standby reaches its position {}", now.position);
                return Err(self.error(ErrorKind::Conflict, operation, context));
            }
            sleep(LOOK).await;
        }
    }

    /// Makes a primary one that recovers, from the one that `conninfo` reaches or from nobody. Where that does not come about, a
    /// later restart does not do it either.
    async fn turn(&self, operation: &'static str, conninfo: &str, until: Instant) -> Result<Seen, StepError> {
        let mut session = self.own.open(operation, SessionRole::Reader).await?;
        let signal = self.own.signal(operation, session.as_mut()).await?;
        self.own.connect_to(operation, session.as_mut(), conninfo).await?;
        let turned = async {
            // A crash from here on leaves an instance that takes no writes: that is what was asked for.
            self.own.execute(operation, session.as_mut(), &format!("COPY (SELECT WHERE false) TO {signal}")).await?;
            drop(session);
            self.restart(operation, until).await?;
            self.until(operation, Instant::now() + CONNECT, |now| now.role != ReplicaRole::Primary).await
        };
        match turned.await {
            Ok(seen) => Ok(seen),
            Err(error) => Err(self.taken_back(operation, error).await),
        }
    }

    /// Takes back what would turn a primary that runs on, and says of the error how it is left.
    async fn taken_back(&self, operation: &'static str, error: StepError) -> StepError {
        let left = match self.own.seen(operation).await {
            Ok(now) if now.role == ReplicaRole::Primary => match self.own.disarm(operation).await {
                Ok(()) => "it takes writes as before".to_string(),
                Err(armed) => format!("it takes writes as before, but {armed}"),
            },
            Ok(_) => "it takes no writes".to_string(),
            Err(_) => "it does not answer: read it again".to_string(),
        };
        self.error(error.kind(), operation, format!("{error}; {left}")).caused_by(error)
    }

    async fn follow(&self, request: &FollowReplica, until: Instant) -> Result<Applied, StepError> {
        let operation = "follow";
        let refuse = |kind, context: String| Err(self.error(kind, operation, context).without_effect());
        let Some(other) = self.others.iter().find(|other| other.copy.site == request.of) else {
            return refuse(ErrorKind::NotFound, format!("there is no other site {}", request.of));
        };
        let mut now = self.own.seen(operation).await?;
        let conninfo = other.copy.conninfo.as_str();
        if now.role == ReplicaRole::Standby && now.conninfo == conninfo {
            // A receiver that was told just now where to connect does so anew, and streams in a moment.
            let soon = until.min(Instant::now() + RECONNECT);
            if now.streams || self.until(operation, soon, |now| now.streams).await.is_ok() {
                return Ok(Applied::AlreadySo);
            }
            now = self.own.seen(operation).await?;
        }
        let there = other.seen(operation).await?;
        if there.role != ReplicaRole::Primary {
            return refuse(ErrorKind::Conflict, format!("the copy in {} takes no writes", request.of));
        }
        let left_at = match now.timeline == there.timeline {
            true => Some(there.position),
            false => other.left_at(operation, there.timeline, now.timeline).await?,
        };
        let has_own = left_at.is_none_or(|left_at| now.position > left_at);
        if has_own && !request.discard {
            let context = match left_at {
                Some(at) => {
                    format!("it has {} bytes of log that {} has not, from {at} on", now.position - at, request.of)
                }
                None => format!("{} does not know its timeline {}", request.of, now.timeline),
            };
            return refuse(ErrorKind::Conflict, context);
        }
        if has_own && self.config.rebuild.is_empty() {
            return refuse(ErrorKind::Unsupported, "it must be rebuilt: give the command rebuild".into());
        }
        self.no_time(operation, until)?;
        if has_own {
            let env = [("HA_OF", request.of.clone()), ("HA_CONNINFO", conninfo.to_string())];
            let left = until.saturating_duration_since(Instant::now()).min(self.config.command_deadline);
            command::run((operation, &self.own.copy.site), &self.config.rebuild, &env, left).await?;
            let now = self.until(operation, until, |now| now.role != ReplicaRole::Primary).await?;
            // A base backup brings the settings of the one that it was taken from.
            if now.conninfo != conninfo {
                self.reload(operation, conninfo).await.map_err(|error| again(error, operation))?;
            }
        } else if now.role == ReplicaRole::Primary {
            self.turn(operation, conninfo, until).await?;
        } else {
            self.reload(operation, conninfo).await?;
        }
        let follows = |now: &Seen| {
            let is_it = now.role == ReplicaRole::Standby && now.conninfo == conninfo && now.streams;
            is_it && now.position >= there.position && now.epoch >= there.epoch
        };
        self.until(operation, until, follows).await?;
        Ok(Applied::Applied)
    }
}

/// How long a standby may take to connect to the one that it follows.
const RECONNECT: Duration = Duration::from_secs(2);

impl PostgresReplica {
    /// Makes a change in a task of its own: a dropped future does not cut it. Its deadline begins now, whoever is waited for.
    async fn apart<F, C>(&self, operation: &'static str, deadline: Duration, change: C) -> Result<Applied, StepError>
    where
        F: Future<Output = Result<Applied, StepError>> + Send + 'static,
        C: FnOnce(Arc<Inner>, Instant) -> F + Send + 'static,
    {
        let (site, inner, until) = (self.inner.own.copy.site.clone(), self.inner.clone(), Instant::now() + deadline);
        let one_at_a_time = async move {
            let Ok(_changing) = timeout_at(until, inner.changing.lock()).await else {
                let context = "another change of this copy did not end before the deadline";
                return Err(inner.error(ErrorKind::Timeout, operation, context).without_effect());
            };
            change(inner.clone(), until).await
        };
        let task = tokio::spawn(one_at_a_time.instrument(call_span(NAME, operation, &site)));
        task.await.unwrap_or_else(|error| Err(StepError::new(ErrorKind::Protocol, operation, site).caused_by(error)))
    }
}

/// The backend's name in a topology.
const NAME: &str = "postgres";

#[async_trait]
impl ObserveReplica for PostgresReplica {
    async fn replica(&self) -> Result<ReplicaSeen, StepError> {
        let span = call_span(NAME, "replica", &self.inner.own.copy.site);
        async {
            let seen = self.inner.own.seen("replica").await?;
            let replica = ReplicaSeen::new(seen.role, SiteEpoch::new(seen.epoch));
            Ok(replica.with_position(Some(seen.position)).with_behind(seen.behind))
        }
        .instrument(span)
        .await
    }
}

#[async_trait]
impl Replica for PostgresReplica {
    async fn promote(&self, _lease: LeaseEpoch, request: PromoteReplica) -> Result<Applied, StepError> {
        let deadline = request.deadline;
        self.apart("promote", deadline, |inner, until| async move { inner.promote(&request, until).await }).await
    }

    async fn demote(&self, _lease: LeaseEpoch, request: DemoteReplica) -> Result<Applied, StepError> {
        self.apart("demote", request.deadline, |inner, until| async move { inner.demote(until).await }).await
    }

    async fn follow(&self, _lease: LeaseEpoch, request: FollowReplica) -> Result<Applied, StepError> {
        let deadline = request.deadline;
        self.apart("follow", deadline, |inner, until| async move { inner.follow(&request, until).await }).await
    }
}
