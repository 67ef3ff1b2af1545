use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;

use super::build::{Engine, Shared};
use super::events::{EVENTS, Events};
use crate::backend::{Admin, ErrorKind, Health, Member, Ready, ServerProcess, StepError};
use crate::machine::monitor::{Ask, Input, Monitor, MonitorEvent, MonitorPolicy, Saw, Watchpoint};
use crate::telemetry;
use crate::topology::{BalancerIx, Name, NodeIx, Topology};

/// Follows a monitor. Dropping it ends the watching, which only reads.
///
/// # Examples
///
/// ```
/// use ha_core::engine::{Engine, MonitorEvent, MonitorPolicy, OnLoss, RunError};
/// use ha_core::procedure::OutageRequest;
///
/// /// Watches, and runs what the policy lets run without asking.
/// async fn watch(engine: &Engine) -> Result<(), RunError> {
///     let mut monitor = engine.monitor(MonitorPolicy::default().with_on_loss(OnLoss::Run));
///     while let Some(event) = monitor.next_event().await {
///         match &event {
///             MonitorEvent::Proposed { act: true, domains, .. } => {
///                 let planned = engine.plan(&OutageRequest::of_all(domains)).await?;
///                 println!("{}", engine.run("outage-1".into(), planned).await?.wait().await?);
///             }
///             MonitorEvent::Proposed { .. } | MonitorEvent::SiteLost { .. } => println!("please decide: {event}"),
///             _ => println!("{event}"), // new kinds may come
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct MonitorHandle {
    events: mpsc::Receiver<MonitorEvent>,
    taken_back: mpsc::UnboundedSender<NodeIx>,
    topology: Arc<Topology>,
    task: JoinHandle<()>,
}

impl MonitorHandle {
    /// Waits for the next event; `None` when the watching has ended, which only a runtime that shuts down does. Up to 1,024 events
    /// wait to be taken; what comes beyond that is lost, and a [`MonitorEvent::Missed`] says how many. The monitor never waits.
    ///
    /// # Cancel safety
    /// Cancel safe: the event is there for the next call.
    pub async fn next_event(&mut self) -> Option<MonitorEvent> {
        self.events.recv().await
    }

    /// Takes a node back that was lost, has returned or is flapping: it is watched like any other from now on, and its losses are
    /// forgotten. One that is still dead is lost again. To be called by whoever has tested the node and put it into traffic.
    ///
    /// Returns false, and does nothing, where the topology has no node of this name.
    pub fn take_back(&self, node: &str) -> bool {
        let found = self.topology.find(node);
        if let Some(node) = found {
            // A monitor that has ended has nothing to take back.
            let _ = self.taken_back.send(node);
        }
        found.is_some()
    }
}

impl Drop for MonitorHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Engine {
    /// Begins to watch the cluster in a task of its own: balancers by what their health checks say, probes and hosts directly, each
    /// with a deadline of its own, so that none waits for another. It only reads, and takes no lease: several may watch.
    ///
    /// The rules are those of [`machine::monitor`](crate::machine::monitor). Whatever `on_loss` says, the monitor never acts: it
    /// tells, and its caller does.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    /// # Cancel safety
    /// Dropping the handle ends the watching; calls to backends that are under way are dropped, and all of them only read.
    ///
    /// # Examples
    ///
    /// ```
    /// use ha_core::engine::{Engine, MonitorEvent, MonitorPolicy};
    ///
    /// async fn first_loss(engine: &Engine) -> Option<String> {
    ///     let mut monitor = engine.monitor(MonitorPolicy::default());
    ///     while let Some(event) = monitor.next_event().await {
    ///         if let MonitorEvent::NodeLost { node, .. } = event {
    ///             return Some(node);
    ///         }
    ///     }
    ///     None
    /// }
    /// ```
    pub fn monitor(&self, policy: MonitorPolicy) -> MonitorHandle {
        let (events, receiver) = mpsc::channel(EVENTS);
        let (taken_back, returns) = mpsc::unbounded_channel();
        let topology = self.shared.topology.clone();
        let began = Instant::now();
        let watching = Watching {
            machine: Monitor::new(began.elapsed(), topology.clone(), policy),
            observers: Arc::new(Observers::new(self.shared.clone())),
            events: Events::new(events, |events| MonitorEvent::Missed { events }),
            began,
        };
        let span = telemetry::monitor_span(topology.name());
        let task = tokio::spawn(watching.watch(returns).instrument(span));
        MonitorHandle { events: receiver, taken_back, topology, task }
    }
}

/// Drives a monitor until it is aborted.
struct Watching {
    machine: Monitor,
    observers: Arc<Observers>,
    events: Events<MonitorEvent>,
    began: Instant,
}

type Answered = (Ask, Vec<(NodeIx, Saw)>);

impl Watching {
    async fn watch(mut self, mut taken_back: mpsc::UnboundedReceiver<NodeIx>) {
        let (mut tasks, mut open) = (JoinSet::<Answered>::new(), HashMap::<Id, Ask>::new());
        loop {
            while let Some(ask) = self.machine.poll_command(self.began.elapsed()) {
                let observers = self.observers.clone();
                let answer = async move {
                    let saw = timeout(ask.within, observers.ask(ask.of)).await.unwrap_or_default();
                    (ask, saw)
                };
                open.insert(tasks.spawn(answer.in_current_span()).id(), ask);
            }
            while let Some(event) = self.machine.poll_event() {
                let detail = serde_json::to_string(&event).unwrap_or_default();
                tracing::debug!(event = event.kind(), detail, "monitor event");
                self.events.send(event);
            }
            let wake = self.machine.poll_timeout();
            let woken = self.began + wake.unwrap_or_default();
            tokio::select! {
                biased;
                Some(node) = taken_back.recv() => {
                    self.machine.handle(self.began.elapsed(), Input::TakenBack { node });
                }
                Some(joined) = tasks.join_next_with_id() => {
                    if let Some((ask, saw)) = answer_of(joined, &mut open) {
                        self.machine.handle(self.began.elapsed(), Input::Answered { ask, saw });
                    }
                }
                () = sleep_until(woken), if wake.is_some() => {}
            }
        }
    }
}

/// Returns an answer; a backend that has panicked gave none.
fn answer_of(joined: Result<(Id, Answered), JoinError>, open: &mut HashMap<Id, Ask>) -> Option<Answered> {
    match joined {
        Ok((id, answered)) => {
            open.remove(&id);
            Some(answered)
        }
        Err(error) => open.remove(&error.id()).map(|ask| (ask, Vec::new())),
    }
}

/// Whom a monitor asks.
struct Observers {
    shared: Arc<Shared>,
    /// What each balancer calls its pools, and the nodes in them.
    seats: Vec<Vec<Seats>>,
}

type Seats = (Name, BTreeMap<Name, NodeIx>);

impl Observers {
    fn new(shared: Arc<Shared>) -> Self {
        let topology = &shared.topology;
        let pools_of = |balancer: BalancerIx| {
            let pools = topology.pools().filter(|(_, pool)| pool.balancers.contains(&balancer));
            let nodes =
                |pool| topology.nodes().filter_map(move |(node, of)| Some((of.port(pool)?.member.clone(), node)));
            pools.map(|(index, pool)| (pool.backend.clone(), nodes(index).collect())).collect()
        };
        let seats = topology.balancers().map(|(balancer, _)| pools_of(balancer)).collect();
        Self { shared, seats }
    }

    async fn ask(&self, of: Watchpoint) -> Vec<(NodeIx, Saw)> {
        match of {
            Watchpoint::Balancer(balancer) => self.ask_balancer(balancer).await,
            Watchpoint::Probe(node) => vec![(node, seen_by_probe(self.shared.probes[node.index()].ready().await))],
            Watchpoint::Host(node) => vec![(node, seen_by_host(self.shared.hosts[node.index()].process().await))],
        }
    }

    async fn ask_balancer(&self, balancer: BalancerIx) -> Vec<(NodeIx, Saw)> {
        let mut seen = BTreeMap::new();
        for (pool, nodes) in &self.seats[balancer.index()] {
            // What cannot be read says nothing.
            let members = self.shared.balancers[balancer.index()].members(pool).await.unwrap_or_default();
            for (name, member) in &members {
                if let Some(node) = nodes.get(name) {
                    let saw = seen.entry(*node).or_insert(Saw::NoAnswer);
                    *saw = graver(*saw, seen_by_balancer(member));
                }
            }
        }
        seen.into_iter().collect()
    }
}

/// Returns what a balancer says of a node by one of its members.
fn seen_by_balancer(member: &Member) -> Saw {
    match (member.admin, member.health) {
        (Admin::Drain | Admin::Maint, _) => Saw::HeldOut,
        (Admin::Ready, Health::Up) => Saw::Alive,
        (Admin::Ready, Health::Down) => Saw::Dead,
        (Admin::Ready, Health::UpInPart | Health::Rising | Health::Unchecked | Health::Paused) => Saw::Unsure,
    }
}

/// Returns what a balancer says of a node that is in several of its pools: that it is down in one of them is said, since another
/// observer would contradict; that it is held out, only if it is in all of them.
fn graver(one: Saw, other: Saw) -> Saw {
    let gravity = |saw: Saw| match saw {
        Saw::Dead => 5,
        Saw::Alive => 4,
        Saw::Running => 3,
        Saw::Unsure => 2,
        Saw::HeldOut => 1,
        Saw::NoAnswer => 0,
    };
    if gravity(one) >= gravity(other) { one } else { other }
}

fn seen_by_probe(ready: Result<Ready, StepError>) -> Saw {
    match ready {
        Ok(Ready::Yes { .. }) => Saw::Alive,
        Ok(Ready::NotYet(_)) => Saw::Running,
        Ok(Ready::Closed) => Saw::Dead,
        Err(error) => not_seen(&error),
    }
}

fn seen_by_host(process: Result<ServerProcess, StepError>) -> Saw {
    match process {
        Ok(ServerProcess::Running(_)) => Saw::Running,
        Ok(ServerProcess::Stopped) => Saw::Dead,
        Err(error) => not_seen(&error),
    }
}

/// Tells a node that does not answer from an observer that cannot ask.
fn not_seen(error: &StepError) -> Saw {
    match error.kind() {
        ErrorKind::Gone | ErrorKind::Timeout | ErrorKind::Unreachable => Saw::NoAnswer,
        ErrorKind::Busy
        | ErrorKind::Conflict
        | ErrorKind::Denied
        | ErrorKind::Fenced
        | ErrorKind::NotFound
        | ErrorKind::Protocol
        | ErrorKind::Unsupported => Saw::Unsure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::MemberKind;

    #[test]
    fn a_balancer_speaks_only_of_what_it_checks_and_gives_traffic() {
        let rows = [
            (Admin::Ready, Health::Up, Saw::Alive),
            (Admin::Ready, Health::UpInPart, Saw::Unsure),
            (Admin::Ready, Health::Rising, Saw::Unsure),
            (Admin::Ready, Health::Down, Saw::Dead),
            (Admin::Ready, Health::Unchecked, Saw::Unsure),
            (Admin::Drain, Health::Down, Saw::HeldOut),
            (Admin::Maint, Health::Paused, Saw::HeldOut),
        ];
        for (admin, health, expected) in rows {
            let member = Member::new(admin, health, MemberKind::Primary);
            assert_eq!(seen_by_balancer(&member), expected, "{admin:?} {health:?}");
        }
    }

    #[test]
    fn down_in_one_pool_is_said_and_held_out_in_one_is_not() {
        let of = |members: &[Saw]| members.iter().copied().fold(Saw::NoAnswer, graver);
        assert_eq!(of(&[Saw::Alive, Saw::Dead]), Saw::Dead);
        assert_eq!(of(&[Saw::HeldOut, Saw::Alive]), Saw::Alive);
        assert_eq!(of(&[Saw::HeldOut, Saw::HeldOut]), Saw::HeldOut);
        assert_eq!(of(&[Saw::HeldOut, Saw::Unsure]), Saw::Unsure);
        assert_eq!(of(&[]), Saw::NoAnswer);
    }

    #[test]
    fn an_observer_that_cannot_ask_says_nothing_and_a_node_that_does_not_answer_may_be_dead() {
        let error = |kind| StepError::new(kind, "ready", "esb1").without_effect();
        assert_eq!(seen_by_probe(Err(error(ErrorKind::Timeout))), Saw::NoAnswer);
        assert_eq!(seen_by_probe(Err(error(ErrorKind::Denied))), Saw::Unsure);
        assert_eq!(seen_by_probe(Ok(Ready::NotYet("503".into()))), Saw::Running);
        assert_eq!(seen_by_host(Err(error(ErrorKind::Unreachable))), Saw::NoAnswer);
        assert_eq!(seen_by_host(Ok(ServerProcess::Stopped)), Saw::Dead);
    }
}
