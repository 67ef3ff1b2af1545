use std::time::Duration;

use ha_core::backend::{Admin, Health, MemberRef};
use ha_core::engine::{Engine, MonitorEvent, MonitorPolicy, OnLoss};
use ha_core::procedure::{OutageRequest, RejoinRequest};
use ha_core::record::End;
use ha_core::report::RunReport;
use ha_core::topology::Name;
use ha_lab::load::{LoadReport, RunningLoad};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{Fallible, Show};

/// How far the clocks of load and balancer may be apart, with an answer under way.
const CLOCKS: Duration = Duration::from_millis(100);
/// How long the monitor may take.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

/// A member lost at rest, under load: seen by the monitor, secured by the procedure for it, and brought back where that was asked for.
pub struct Loss {
    /// How the loss was secured.
    pub outage: RunReport,
    /// How the member was brought back.
    pub rejoin: Option<RunReport>,
    /// When it was killed, and when no balancer gave it anything any more, on the clock of the load.
    killed: Duration,
    held_back: Duration,
    /// How long after the kill the monitor had seen it, and the cluster was secured.
    detected: Duration,
    secured: Duration,
    /// From here on nothing may fail.
    settled: Duration,
}

impl Loss {
    /// Kills the server of a member by `kill`, and lets the monitor start what follows; with `back` the member is repaired then.
    ///
    /// # Errors
    /// What the engine says, and when a balancer does not see the loss in 10 s, or the monitor in 60 s.
    pub async fn of(
        engine: &Engine,
        load: &RunningLoad,
        show: &Show,
        node: &str,
        back: bool,
        kill: impl Future<Output = Fallible<()>>,
    ) -> Fallible<Self> {
        let mut monitor = engine.monitor(MonitorPolicy::default().with_on_loss(OnLoss::Run));
        sleep(Duration::from_secs(2)).await;
        show.line(&format!("{node} is killed with -9"));
        let (killed, killed_at) = (load.elapsed(), Instant::now());
        kill.await?;
        let held_back = until_held_back(engine, load, node).await?;
        let lost = loop {
            let event = timeout_at(killed_at + SEEN_WITHIN, monitor.next_event()).await;
            let event = event.map_err(|_| format!("the monitor has not seen the loss in {SEEN_WITHIN:?}"))?;
            match event.ok_or("the monitor has ended")? {
                MonitorEvent::Proposed { act: true, domains, .. } => break domains,
                event => show.line(&format!("monitor: {event}")),
            }
        };
        let detected = killed_at.elapsed();
        show.line(&format!("monitor: {} is lost, {} ms after the kill", lost.join(", "), detected.as_millis()));
        let outage = show.play(engine, Some(load), "outage-1", &OutageRequest::of_all(lost)).await?;
        let secured = killed_at.elapsed();
        sleep(Duration::from_secs(1)).await;
        let settled = load.elapsed();
        let rejoin = if back {
            show.line(&format!(
                "somebody has repaired {node}: it is brought back, tested before any balancer gives it anything"
            ));
            let rejoin = show.play(engine, Some(load), "rejoin-1", &RejoinRequest::of(node)).await?;
            monitor.take_back(node);
            Some(rejoin)
        } else {
            None
        };
        sleep(Duration::from_secs(1)).await;
        Ok(Self { outage, rejoin, killed, held_back, detected, secured, settled })
    }

    /// Tells whether every run ended as it should, with nothing open, and requests failed only until the balancers had seen the loss.
    pub fn is_as_said(&self, load: &LoadReport) -> bool {
        let mut runs = std::iter::once(&self.outage).chain(&self.rejoin);
        let ended = runs.all(|run| run.end == End::AllNew && run.open.is_empty());
        let outside = |at: &u64| {
            let at = Duration::from_millis(*at);
            at + CLOCKS < self.killed || at > self.held_back + CLOCKS || at >= self.settled
        };
        ended && ![load.first_failure_ms, load.last_failure_ms].iter().flatten().any(outside)
    }

    /// Prints when what happened.
    pub fn print(&self, load: &LoadReport) {
        println!("killed             {:>9} ms after the load began", self.killed.as_millis());
        println!("balancer has seen  {:>9} ms later", self.held_back.saturating_sub(self.killed).as_millis());
        println!("monitor has seen   {:>9} ms later", self.detected.as_millis());
        println!("secured            {:>9} ms later, the spare in its place", self.secured.as_millis());
        if let (Some(first), Some(last)) = (load.first_failure_ms, load.last_failure_ms) {
            println!("requests failed    {first:>9} ms to {last} ms after the load began");
        }
    }
}

/// Waits until no balancer gives the killed server anything; returns when, on the clock of the load.
async fn until_held_back(engine: &Engine, load: &RunningLoad, node: &str) -> Fallible<Duration> {
    let backends = ha_backends::connect(engine.topology())?;
    let until = Instant::now() + Duration::from_secs(10);
    for (_, balancer) in &backends.balancers {
        loop {
            let member = balancer.member(&MemberRef::new(Name::new("esb")?, Name::new(node)?)).await?;
            if member.health == Health::Down || member.admin != Admin::Ready {
                break;
            }
            if Instant::now() >= until {
                return Err("the balancer has not seen the loss in 10 s".into());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(load.elapsed())
}
