//! Whole runs of what follows a loss at rest: the outage, and the return of what was lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ha_core::backend::Admin;
use ha_core::engine::RunError;
use ha_core::journal::Journal;
use ha_core::procedure::{OutageRequest, PlanError, Planned, Procedure, RejoinRequest};
use ha_core::record::{End, Why};
use ha_core::topology::AfterLoss;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::excuse::{EXPOSURE, Floors, LONGEST_REQUEST, REACTION, UNSEEN, later};
use super::loss_scenario::Return;
use super::loss_watch::{LossSeen, LossWatch};
use super::run::{self, Ended, run_to_its_end, schedule, trace};
use super::watch::short_after_loss;
use super::{Broken, FaultAt, LossScenario};
use crate::world::{Controller, Served, World};

/// How a simulated outage, or the return of what was lost, went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Aftermath {
    /// The topology is refused; or, where a return is simulated, the outage before it.
    NoCluster(String),
    /// There is no plan.
    Refused {
        /// Why, with the counterexample where there is one.
        why: String,
        /// Why that is not true: empty when nothing that could be done would do. `None` where that was not asked.
        untrue: Option<String>,
    },
    /// The fault came before the run had begun: nothing was changed.
    NotBegun {
        /// What is broken all the same.
        broken: Vec<Broken>,
    },
    /// The plan was proven, and ran.
    Ran {
        /// How it ended.
        end: End,
        /// What it left open.
        open: Vec<String>,
        /// What the law promises and the world was seen to break: empty when the law holds.
        broken: Vec<Broken>,
        /// How many of the scenario's faults came before the run had ended.
        met: usize,
        /// The digest of every record of the run and of what the clients saw: the same seed gives the same.
        trace: String,
        /// How long the run took, on virtual time.
        took: Duration,
    },
}

/// Runs a scenario. Call it inside a paused tokio runtime.
///
/// # Examples
///
/// ```
/// use ha_testkit::simulate::{Aftermath, LossScenario, simulate_loss};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// // A cluster that has lost a node, and one fault while that is followed up.
/// if let Aftermath::Ran { broken, .. } = simulate_loss(&LossScenario::outage(7, 1)).await {
///     assert_eq!(broken, []);
/// }
/// # });
/// ```
pub async fn simulate_loss(scenario: &LossScenario) -> Aftermath {
    let world = match scenario.shape.world() {
        Ok(world) => world,
        Err(error) => return Aftermath::NoCluster(error.to_string()),
    };
    scenario.lose(&world);
    sleep(Duration::from_secs(3)).await;
    let procedure: Box<dyn Procedure> = match scenario.returns {
        None => Box::new(scenario.outage_request()),
        Some(how) => {
            if let Err(why) = secured(&world, &scenario.outage_request()).await {
                return Aftermath::NoCluster(why);
            }
            scenario.bring_back(&world, how);
            sleep(Duration::from_secs(3)).await;
            Box::new(scenario.rejoin_request(how))
        }
    };
    match world.engine().plan(&*procedure).await {
        Ok(planned) => run(scenario, &world, planned).await,
        Err(error) => Aftermath::Refused { untrue: scenario.untrue_refusal(&world, &error), why: error.to_string() },
    }
}

impl LossScenario {
    fn lose(&self, world: &World) {
        if self.standby_held_out {
            for number in self.shape.serve + 1..=self.shape.members.len() {
                let name = format!("esb{number}");
                let kind = ha_core::state::MemberKind::Backup;
                world.configure(&name, kind, Admin::Maint);
            }
        }
        for node in &self.lost {
            if self.with_host { world.lose(node) } else { world.crash(node) }
        }
    }

    fn outage_request(&self) -> OutageRequest {
        OutageRequest::of_all(&self.lost)
    }

    fn rejoin_request(&self, how: Return) -> RejoinRequest {
        let rejoin = RejoinRequest::of(self.lost.first().cloned().unwrap_or_default());
        let script = |what: &str| vec!["patch".to_string(), what.to_string()];
        match how {
            Return::Stopped | Return::Running => rejoin,
            Return::WithOtherRelease => rejoin.with_change(script("apply"), script("restore")),
        }
    }

    fn bring_back(&self, world: &World, how: Return) {
        let Some(node) = self.lost.first() else { return };
        self.lost.iter().for_each(|node| world.repair(node));
        match how {
            Return::Stopped => world.repair(node),
            Return::Running => world.return_by_itself(node),
            Return::WithOtherRelease => {
                world.install(node, "0.9");
                world.repair(node);
            }
        }
    }

    /// Says why a refusal is not true: something could be done that carries what is required.
    fn untrue_refusal(&self, world: &World, error: &RunError) -> Option<String> {
        if self.returns.is_some() {
            return Some("what is repaired can be brought back".into());
        }
        let RunError::Plan { source: PlanError::Incomplete(_) | PlanError::Unprovable { .. }, .. } = error else {
            return Some("it is refused for another reason than what is left".into());
        };
        usable(world, &self.gone(world)).map(|nodes| format!("{nodes:?} carry what is required after a loss"))
    }

    /// Lists what counts as lost: the named nodes, and what shares a failure domain with one.
    fn gone(&self, world: &World) -> Vec<String> {
        let topology = world.topology();
        let domains: Vec<_> = self.lost.iter().filter_map(|name| topology.find(name)).collect();
        let domains: Vec<_> = domains.into_iter().map(|node| topology.node(node).domain).collect();
        let gone = topology.nodes().filter(|(_, node)| domains.contains(&node.domain));
        gone.map(|(_, node)| node.name.to_string()).collect()
    }
}

/// Finds living nodes that, tested and admitted alone, carry in every pool what is required after a loss.
fn usable(world: &World, gone: &[String]) -> Option<Vec<String>> {
    let names = world.topology().nodes().map(|(_, node)| node.name.to_string());
    let living: Vec<String> = names.filter(|name| !gone.contains(name)).collect();
    let sets = 0..1_u32 << living.len();
    let mut sets = sets.map(|set| living.iter().enumerate().filter(move |(bit, _)| set >> bit & 1 == 1));
    sets.find_map(|set| {
        let set: Vec<String> = set.map(|(_, name)| name.clone()).collect();
        let copy = world.copied();
        for name in &living {
            copy.crash(name);
        }
        for name in &set {
            copy.return_by_itself(name);
        }
        let mut inner = copy.truth();
        for (name, node) in &mut inner.nodes {
            if let Some(life) = node.process.as_mut().filter(|_| set.contains(name)) {
                life.ready_at = Instant::now();
                node.pass_test();
            }
        }
        for member in inner.balancers.values_mut().flatten() {
            member.admin = if set.contains(&member.node) { Admin::Ready } else { Admin::Maint };
        }
        drop(inner);
        short_after_loss(&copy).is_none().then_some(set)
    })
}

/// Runs the outage without a fault, before the return of what was lost.
async fn secured(world: &World, outage: &OutageRequest) -> Result<(), String> {
    let engine = world.engine();
    let planned = engine.plan(outage).await.map_err(|error| error.to_string())?;
    let run = engine.run("outage".into(), planned).await.map_err(|error| error.to_string())?;
    let report = run.wait().await.map_err(|error| error.to_string())?;
    if report.end == End::AllNew { Ok(()) } else { Err(format!("the outage ended {}", report.end)) }
}

/// When the loss of one more failure domain came.
type CameAt = Arc<Mutex<Option<Duration>>>;

async fn run(scenario: &LossScenario, world: &World, planned: Planned) -> Aftermath {
    let (lost, faults, controller) = (scenario.gone(world), &scenario.faults, Controller::new());
    let (clients, watch) =
        (world.clients_every(Duration::from_millis(50)), LossWatch::start(world.clone(), lost.clone()));
    let (began, floors, came_at) = (Instant::now(), Floors::default(), CameAt::default());
    let tasks: Vec<_> = faults
        .iter()
        .filter_map(|fault| match fault {
            FaultAt::LossOnceSurvived { after, node } => {
                Some(lose_once_survived(world, *after, node, &floors, &came_at))
            }
            other => schedule(world, &controller, other, &floors),
        })
        .collect();
    let report = run_to_its_end(world, planned, faults, &controller, &async |_| {}).await;
    let took = began.elapsed();
    // What has not come by now is of another day.
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let came = *came_at.lock().unwrap_or_else(PoisonError::into_inner);
    sleep(REACTION).await;
    let (served, seen) = (clients.stop().await, watch.end());
    let met = faults.iter().filter(|fault| is_met(world, fault, took, came, &controller)).count();
    let judged = Judged { scenario, faults: as_they_came(world, faults, came), floors, seen, lost, took };
    let mut broken = judged.broken(world, &served);
    let entries = world.store().read(&"run".into()).await.unwrap_or_default();
    let (end, open) = match report {
        Ok(ended) => ended,
        // Something had changed before the run began: it is refused, and nothing was changed.
        Err(RunError::StalePlan(_) | RunError::Unread { .. }) if met > 0 && entries.is_empty() => {
            (End::NeedsOperator(Why::Held), Vec::new())
        }
        Err(error) => {
            broken.push(Broken { at: took, what: format!("the run has no end: {error}") });
            (End::NeedsOperator(Why::Held), Vec::new())
        }
    };
    let ended: Ended = (end, open);
    // A controller that died before it wrote anything down has changed nothing.
    if entries.is_empty() {
        broken.retain(|broken| broken.what.starts_with("I3"));
        return Aftermath::NotBegun { broken };
    }
    broken.extend(judged.untrue_end(world, &ended).into_iter().map(|what| Broken { at: took, what }));
    let (end, open) = ended;
    Aftermath::Ran { end, open, broken, met, trace: trace(&entries, &served), took }
}

/// Loses one more failure domain as soon as what is left carries what is required without it.
fn lose_once_survived(world: &World, after: Duration, node: &str, floors: &Floors, came_at: &CameAt) -> JoinHandle<()> {
    let (node, floors, came_at, began) = (node.to_string(), floors.clone(), came_at.clone(), Instant::now());
    later(world, after, async move |world| {
        let topology = world.topology();
        let Some(domain) = topology.find(&node).map(|node| topology.node(node).domain) else { return };
        let names = topology.nodes_of(domain).map(|node| topology.node(node).name.to_string());
        let names: Vec<String> = names.collect();
        while !is_survived(&world, topology.domain_name(domain).as_str()) {
            sleep(Duration::from_millis(100)).await;
            if began.elapsed() > Duration::from_secs(600) {
                return;
            }
        }
        *came_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(began.elapsed());
        floors.shake(&world, |world| names.iter().for_each(|name| world.lose(name))).await;
    })
}

/// Tells whether what serves and what could be admitted carries what is required without a failure domain.
fn is_survived(world: &World, domain: &str) -> bool {
    let inner = world.truth();
    let sums = super::watch::all_sums(world, &inner, &[]);
    sums.iter()
        .filter(|(_, sum, _)| sum.domain.as_deref() == Some(domain))
        .all(|(pool, _, has)| *has >= super::required::Required::of(pool).after_loss)
}

fn is_met(world: &World, fault: &FaultAt, took: Duration, came: Option<Duration>, controller: &Controller) -> bool {
    match fault {
        FaultAt::LossOnceSurvived { .. } => came.is_some(),
        other => run::is_met(world, other, took, controller),
    }
}

/// Lists the faults with the moment at which each came.
fn as_they_came(world: &World, faults: &[FaultAt], came: Option<Duration>) -> Vec<FaultAt> {
    let topology = world.topology();
    let mut all = Vec::new();
    for fault in faults {
        match (fault, came) {
            (FaultAt::LossOnceSurvived { node, .. }, Some(after)) => {
                let domain = topology.find(node).map(|node| topology.node(node).domain);
                let nodes = topology.nodes().filter(|(_, node)| Some(node.domain) == domain);
                all.extend(nodes.map(|(_, node)| FaultAt::Loss { after, node: node.name.to_string() }));
            }
            (FaultAt::LossOnceSurvived { .. }, None) => {}
            (other, _) => all.push(other.clone()),
        }
    }
    all
}

/// What is known of a run that has ended.
struct Judged<'a> {
    scenario: &'a LossScenario,
    faults: Vec<FaultAt>,
    floors: Floors,
    seen: LossSeen,
    /// What was lost before the run.
    lost: Vec<String>,
    took: Duration,
}

impl Judged<'_> {
    fn more_lost(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.faults.iter().filter_map(|fault| match fault {
            FaultAt::Loss { after, node } => Some((node.as_str(), *after)),
            _ => None,
        })
    }

    /// Tells whether a fault came so late that the run had ended before it could be seen.
    fn came_late(&self) -> bool {
        let came_at = |fault: &FaultAt| match fault {
            FaultAt::Loss { after, .. } => Some(*after),
            other => other.forgets_after(),
        };
        self.faults.iter().filter_map(came_at).any(|after| after + UNSEEN > self.took)
    }

    fn broken(&self, world: &World, served: &Served) -> Vec<Broken> {
        // The policy declares the window in which one more loss is not survived.
        let unprotected = self.scenario.shape.after_loss == AfterLoss::Finish && self.more_lost().next().is_some();
        let watched = self.seen.broken.iter().filter(|seen| !self.came_late() || seen.at < self.took);
        let seen = watched.filter(|seen| {
            let in_window = unprotected && seen.short.as_ref().is_some_and(|short| short.sum.domain.is_some());
            !in_window && !self.floors.excuse(seen, &self.faults)
        });
        let mut broken: Vec<Broken> = seen.cloned().map(Broken::from).collect();
        if let Some(what) = self.lost_without_excuse(served) {
            broken.push(Broken { at: self.took, what });
        }
        let settled = self.seen.settled_at.is_some() && !self.came_late();
        if let Some(short) = short_after_loss(world).filter(|_| settled) {
            broken.push(Broken { at: self.took, what: format!("settled: {short}") });
        }
        broken
    }

    /// Says which requests were lost that no loss and no fault accounts for.
    fn lost_without_excuse(&self, served: &Served) -> Option<String> {
        let (first, last) = served.lost_between?;
        let forgets = self.faults.iter().find_map(FaultAt::forgets_after);
        // What was in flight over a balancer goes with it.
        let gone = self.faults.iter().find_map(|fault| match fault {
            FaultAt::BalancerGone { after, balancer, .. } => Some((*after, format!("{balancer} "))),
            _ => None,
        });
        if forgets.is_some_and(|after| first + LONGEST_REQUEST >= after && last < after + EXPOSURE) {
            return None;
        }
        // While nothing serves nothing is served, and what is lost answers nobody.
        let until = self.seen.settled_at.unwrap_or(self.took + REACTION);
        let until = self.more_lost().map(|(_, after)| after + REACTION).fold(until, Duration::max);
        let until = forgets.map_or(until, |after| until.max(after + EXPOSURE));
        let until = gone.as_ref().map_or(until, |(after, _)| until.max(*after));
        // What comes as the run ends is met by nobody.
        let until = if self.came_late() { Duration::MAX } else { until };
        let of_lost = |reason: &str| {
            let mut lost = self.lost.iter().map(String::as_str).chain(self.more_lost().map(|(node, _)| node));
            lost.any(|node| reason.starts_with(&format!("{node} ")))
        };
        let of_gone = |reason: &String| gone.as_ref().is_some_and(|(_, balancer)| reason.starts_with(balancer));
        let excused = |reason: &String| reason == "no usable server" || of_lost(reason) || of_gone(reason);
        let message =
            format!("{} requests were lost, sent from {first:?} to {last:?}: {:?}", served.lost, served.reasons);
        (!(served.reasons.keys().all(excused) && last <= until)).then_some(message)
    }

    /// Says what is not as the run's end says.
    fn untrue_end(&self, world: &World, (end, open): &Ended) -> Vec<String> {
        let mut untrue = Vec::new();
        if !matches!(end, End::AllNew | End::AllOld) {
            return untrue;
        }
        if !open.is_empty() {
            untrue.push(format!("the run ended {end} with loans open: {open:?}"));
        }
        if self.came_late() {
            return untrue;
        }
        if let Some(short) = short_after_loss(world) {
            untrue.push(format!("the run ended {end}, and {short}"));
        }
        let back = self.scenario.lost.first().filter(|_| self.scenario.returns.is_some());
        let inner = world.truth();
        let gone = self.lost.iter().map(String::as_str).chain(self.more_lost().map(|(node, _)| node));
        let is_back = |node: &str| back.is_some_and(|back| back == node);
        // Who comes back may be in again, unless it was lost again.
        let lost_now = |node: &str| self.more_lost().any(|(lost, _)| lost == node);
        for name in gone.filter(|node| lost_now(node) || !is_back(node)) {
            if inner.balancers.values().flatten().any(|on| on.node == name && on.admin != Admin::Maint) {
                untrue.push(format!("the run ended {end}, and {name}, which is lost, is not held out"));
            }
        }
        if let Some(name) = back.filter(|_| *end == End::AllNew)
            && let Some(node) = inner.nodes.get(name)
            && !(node.is_ready() && node.is_tested() && node.installed == "1.0")
        {
            untrue.push(format!("the run ended {end}, and {name} does not serve or stand by"));
        }
        for (_, node) in world.topology().nodes().filter(|(_, node)| node.spare) {
            let out = |on: &&crate::world::model::FakeMember| on.node == node.name.as_str() && on.admin != Admin::Maint;
            let admitted = inner.balancers.values().flatten().any(|on| out(&on));
            let Some(fake) = inner.nodes.get(node.name.as_str()) else { continue };
            if admitted
                && !(fake.is_ready() && fake.is_tested())
                && !self.more_lost().any(|(lost, _)| lost == node.name.as_str())
            {
                untrue.push(format!("the run ended {end}, and {} is admitted and does not serve", node.name));
            }
        }
        untrue
    }
}
