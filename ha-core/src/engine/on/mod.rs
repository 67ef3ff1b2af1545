//! How the engine acts on each resource, finds out whether an action has happened, and observes: one file a resource.

mod artifact;
mod clone;
mod exposure;
mod files;
mod provision;
mod schema;
mod server;
mod site;
mod traffic;
mod work;

pub(super) use artifact::unkept;
pub(super) use clone::observe_copies;
pub(super) use exposure::observe_exposure;
pub(super) use files::observe_files;
pub(super) use schema::{compare_scripts, observe_schema, review_schema};
pub(super) use server::{CUT_SHORT, SeenServer, is_passing, observe_server};
pub(super) use site::{SeenSites, observe_sites};
pub(super) use traffic::observe_member;
pub(super) use work::observe_work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::build::Shared;
use crate::action::Order;
use crate::backend::{Applied, Effect, RunCommand, StepError, WorkId, WorkState};
use crate::plan::Plan;
use crate::record::{Evidence, OutcomeKind};
use crate::state::{LeaseEpoch, ReleaseId, SiteState};
use crate::topology::{DomainIx, NodeIx, SiteIx};

/// What came of an act or a look, and what was seen.
pub(super) type Outcome = (OutcomeKind, Evidence);

/// A read that takes longer is given up: what it would have seen is unknown.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(5);

/// The shortest and the longest pause between two looks.
const LEAST_PAUSE: Duration = Duration::from_millis(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The shortest pause before a failed read is asked again.
const START_AGAIN: Duration = Duration::from_millis(20);

/// Returns the pause before the next look at what has taken so long: short for what takes short, and a look costs the more
/// the longer it may still take.
fn pause(waited: Duration) -> Duration {
    (waited / 64).clamp(LEAST_PAUSE, LONGEST_PAUSE)
}

/// How long what cannot be read is asked for again before a plan or a run is refused over it.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(2);

/// Observes something, and again after a pause for as long as `patience` after the first read that failed.
pub(super) async fn read_again<T, F: Future<Output = T>>(
    patience: Duration,
    observe: impl Fn() -> F,
    is_read: impl Fn(&T) -> bool,
) -> T {
    let mut seen = observe().await;
    let failed_at = Instant::now();
    while !is_read(&seen) && failed_at.elapsed() < patience {
        tokio::time::sleep(pause(failed_at.elapsed()).max(START_AGAIN)).await;
        seen = observe().await;
    }
    seen
}

/// Carries out one order; returns inside the deadline, give or take one read.
#[derive(Debug)]
pub(super) struct Executor {
    pub(super) shared: Arc<Shared>,
    pub(super) plan: Arc<Plan>,
    pub(super) epoch: LeaseEpoch,
    pub(super) order: Order,
    /// What the host knows the order's command by.
    pub(super) work: Option<WorkId>,
    /// When the node's server was last seen to have stopped, if this controller stopped it.
    pub(super) gone_at: Option<Instant>,
    /// How long the last start of this run took.
    pub(super) start_took: Option<Duration>,
    /// The release that the node has, as far as the run knows.
    pub(super) release: Option<ReleaseId>,
    /// The failure domains that are lost, as far as the run knows.
    pub(super) lost: Vec<DomainIx>,
    /// The sites, as far as the run knows.
    pub(super) sites: Vec<SiteState>,
    /// The sites that this run has demoted, and seen to be so.
    pub(super) demoted: BTreeSet<SiteIx>,
}

impl Executor {
    pub(super) async fn act(self, deadline: Duration) -> Outcome {
        let until = Instant::now() + deadline;
        match self.order {
            Order::Server(at) => self.act_on_server(at.node, at.action, deadline).await,
            Order::Traffic(at) => self.act_on_traffic(at.node, at.action).await,
            Order::Work(at) => self.act_on_work(at.node, at.action, until).await,
            Order::Files(at) => self.act_on_files(at.node, at.action, deadline).await,
            Order::Schema(action) => self.act_on_schema(action, deadline).await,
            Order::Clone(action) => self.act_on_clone(action, deadline).await,
            Order::Exposure(action) => self.act_on_exposure(action, deadline).await,
            Order::Site(action) => self.act_on_site(action, deadline).await,
            Order::Provision(at) => self.act_on_provision(at.node, at.action, deadline).await,
        }
    }

    /// Finds out whether the order has happened, by looking.
    pub(super) async fn look(self, deadline: Duration) -> Outcome {
        if let Some(node) = self.order.node().filter(|_| self.order.is_command())
            && let Err(unsettled) = self.settle(node, Instant::now() + deadline).await
        {
            return unsettled;
        }
        match self.order {
            Order::Server(at) => self.look_at_server(at.node, at.action).await,
            Order::Traffic(at) => self.look_at_traffic(at.node, at.action).await,
            Order::Work(at) => self.look_at_work(at.node, at.action).await,
            Order::Files(at) => self.look_at_files(at.node, at.action).await,
            Order::Schema(action) => self.look_at_schema(action).await,
            Order::Clone(action) => self.look_at_clone(action).await,
            Order::Exposure(action) => self.look_at_exposure(action).await,
            Order::Site(action) => self.look_at_site(action).await,
            Order::Provision(at) => self.look_at_provision(at.node, at.action).await,
        }
    }

    /// Waits until a look sees what was asked for, or the time is over.
    async fn wait_until<F: Future<Output = Outcome>>(
        &self,
        until: Instant,
        asked: Result<Applied, StepError>,
        look: impl Fn() -> F,
    ) -> Outcome {
        if let Some(refused) = refused(&asked) {
            return refused;
        }
        let asked_at = Instant::now();
        loop {
            let (kind, evidence) = look().await;
            if kind == OutcomeKind::Done {
                return (kind, evidence);
            }
            if Instant::now() >= until {
                return (kind, Evidence::failed(format!("{evidence}{}", said(&asked))));
            }
            tokio::time::sleep(pause(asked_at.elapsed())).await;
        }
    }

    /// Waits until the order's command, which another controller may have started, runs no more.
    async fn settle(&self, node: NodeIx, until: Instant) -> Result<(), Outcome> {
        let host = &self.shared.hosts[node.index()];
        let (Some(work), Some(id)) = (host.work(), &self.work) else { return Ok(()) };
        let began = Instant::now();
        loop {
            let state = self.read(work.state(id)).await;
            match state {
                Ok(WorkState::Absent) => return Ok(()),
                Ok(state) if state.is_final() => return Ok(()),
                Ok(_) if Instant::now() >= until => return Err(unknown("its command still runs")),
                Err(error) if Instant::now() >= until => return Err(unknown(error)),
                Ok(_) | Err(_) => tokio::time::sleep(pause(began.elapsed())).await,
            }
        }
    }

    /// Runs a command of the change on a node's host, and looks at what it has done.
    async fn run<F: Future<Output = Outcome>>(
        &self,
        node: NodeIx,
        command: RunCommand,
        look: impl FnOnce() -> F,
    ) -> Outcome {
        let mut command = command.with_env("HA_NODE", self.shared.topology.node(node).name.as_str());
        command.id.clone_from(&self.work);
        match self.shared.hosts[node.index()].run(self.epoch, command).await {
            Ok(ran) if ran.is_success() => match look().await {
                (OutcomeKind::NotDone, evidence) => not_done(format!("the command ended well, and yet {evidence}")),
                outcome => outcome,
            },
            Ok(ran) => not_done(format!("the command ended with {}: {}", ran.ended, tail(&ran.stderr, &ran.stdout))),
            Err(error) if error.effect() == Effect::None => not_done(error),
            Err(error) => unknown(error),
        }
    }

    async fn read<T>(&self, read: impl Future<Output = Result<T, StepError>>) -> Result<T, String> {
        self.call("read", read).await
    }

    /// The same for a write: what was not answered in time may have happened.
    async fn write<T>(&self, write: impl Future<Output = Result<T, StepError>>) -> Result<T, String> {
        self.call("write", write).await
    }

    async fn call<T>(&self, kind: &str, call: impl Future<Output = Result<T, StepError>>) -> Result<T, String> {
        match timeout(READ_LIMIT, call).await {
            Ok(answer) => answer.map_err(|error| format!("{error:#}")),
            Err(_) => {
                let what = self.order.message(&self.shared.topology, &self.plan.facts);
                Err(format!("{what}: a {kind} was not answered in {READ_LIMIT:?}"))
            }
        }
    }
}

/// A request that provably changed nothing has failed; any other failure is judged by what the server does then.
fn refused(asked: &Result<Applied, StepError>) -> Option<Outcome> {
    match asked {
        Err(error) if error.effect() == Effect::None => Some(not_done(error)),
        Ok(_) | Err(_) => None,
    }
}

fn said(asked: &Result<Applied, StepError>) -> String {
    asked.as_ref().err().map(|error| format!(" ({error:#})")).unwrap_or_default()
}

fn tail(stderr: &str, stdout: &str) -> String {
    let text = if stderr.trim().is_empty() { stdout.trim() } else { stderr.trim() };
    let skip = text.chars().count().saturating_sub(400);
    text.chars().skip(skip).collect()
}

fn done(evidence: Evidence) -> Outcome {
    (OutcomeKind::Done, evidence)
}

fn not_done(detail: impl std::fmt::Display) -> Outcome {
    (OutcomeKind::NotDone, Evidence::failed(detail))
}

fn unknown(detail: impl std::fmt::Display) -> Outcome {
    (OutcomeKind::Unknown, Evidence::failed(detail))
}
