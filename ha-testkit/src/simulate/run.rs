use std::time::Duration;

use ha_core::engine::{Engine, RunError, RunHandle};
use ha_core::journal::{Journal, LeaseError};
use ha_core::machine::FoldError;
use ha_core::plan::{Digest, Plan};
use ha_core::procedure::{PlanError, Planned};
use ha_core::record::{End, Entry, Record};
use ha_core::safety::Counterexample;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::asks::Operators;
use super::blind::Before;
use super::excuse::{Floors, LONGEST_REQUEST, REACTION, UNSEEN, later, lost_without_excuse};
use super::watch::{Seen, Watch, short_after_loss, sums};
use super::{Broken, FaultAt, Scenario, harm_of};
use crate::world::{Controller, Served, World};

/// How one simulated run went.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "most runs end so, and it is moved once")]
pub enum Outcome {
    /// The topology, or the cluster in its present state, is refused before a plan is made.
    NoCluster(String),
    /// The plan was refused with a counterexample.
    Refused {
        /// The plan.
        plan: Box<Plan>,
        /// Why.
        counterexample: Box<Counterexample>,
        /// What the plan does when a tool carries it out that knows no law: empty when it does no harm.
        harm: Vec<String>,
    },
    /// The plan was proven, and ran.
    Ran {
        /// How it ended.
        end: End,
        /// What it left open.
        open: Vec<String>,
        /// What the law promises and the world was seen to break: empty when the law holds.
        broken: Vec<Broken>,
        /// What the clients saw.
        served: Served,
        /// The digest of every record of the run and of what the clients saw: the same seed gives the same.
        trace: String,
        /// How many faults came before the run had ended.
        met: usize,
        /// How long the run took, on virtual time.
        took: Duration,
    },
}

/// Runs a scenario. Call it inside a paused tokio runtime.
///
/// # Examples
///
/// ```
/// use ha_testkit::simulate::{Outcome, Scenario, simulate};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// // The cluster, the change and the one fault of seed 7.
/// if let Outcome::Ran { broken, .. } = simulate(&Scenario::from_seed(7, 1)).await {
///     assert_eq!(broken, []);
/// }
/// # });
/// ```
pub async fn simulate(scenario: &Scenario) -> Outcome {
    let world = match scenario.shape.world() {
        Ok(world) => world,
        Err(error) => return Outcome::NoCluster(error.to_string()),
    };
    let planned = match scenario.procedure.plan(&world).await {
        Ok(planned) => planned,
        Err(RunError::Plan { source: PlanError::Unprovable { plan, counterexample, .. }, .. }) => {
            let harm = harm_of(&scenario.shape, &plan);
            return Outcome::Refused { plan, counterexample, harm };
        }
        Err(error) => return Outcome::NoCluster(error.to_string()),
    };
    simulate_plan(&world, planned, &scenario.faults).await
}

/// Runs a plan in its world, whoever proved it, with these faults.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_testkit::simulate::{FaultAt, Outcome, Procedure, simulate_plan};
/// use ha_testkit::world::World;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = World::active_passive();
/// let planned = Procedure::Patch.plan(&world).await.unwrap();
/// let forgets = FaultAt::Forget { after: Duration::from_secs(5), balancer: "lb1".into() };
/// let Outcome::Ran { broken, .. } = simulate_plan(&world, planned, &[forgets]).await else { panic!("it runs") };
/// assert_eq!(broken, []);
/// # });
/// ```
pub async fn simulate_plan(world: &World, planned: Planned, faults: &[FaultAt]) -> Outcome {
    simulate_death(world, planned, faults, &Controller::new(), &async |_| {}).await
}

/// Runs a plan under a controller that may die; `meanwhile` happens to the world before another one takes over.
///
/// # Examples
///
/// ```
/// use ha_testkit::simulate::{Outcome, Procedure, simulate_death};
/// use ha_testkit::world::{Controller, Death, World};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = World::active_passive();
/// let planned = Procedure::Patch.plan(&world).await.unwrap();
/// let controller = Controller::dying(Death::After(5));
/// let outcome = simulate_death(&world, planned, &[], &controller, &async |_| {}).await;
/// let Outcome::Ran { broken, served, .. } = outcome else { panic!("it runs") };
/// assert_eq!((broken.len(), served.lost), (0, 0));
/// # });
/// ```
pub async fn simulate_death(
    world: &World,
    planned: Planned,
    faults: &[FaultAt],
    controller: &Controller,
    meanwhile: &impl AsyncFn(&World),
) -> Outcome {
    let untrue = |world: &World, before: &Before, plan: &Plan, end: End| before.untrue(world, plan, end);
    simulate_judged(world, planned, faults, controller, meanwhile, &untrue).await
}

/// Lists what is not as the end of a run says, beside how the world was before it.
pub(super) type Untrue<'a> = dyn Fn(&World, &Before, &Plan, End) -> Vec<String> + 'a;

/// The same, with a judge of its own for what the end of the run says.
pub(super) async fn simulate_judged(
    world: &World,
    planned: Planned,
    faults: &[FaultAt],
    controller: &Controller,
    meanwhile: &impl AsyncFn(&World),
    untrue: &Untrue<'_>,
) -> Outcome {
    let (clients, watch) = (world.clients_every(Duration::from_millis(50)), Watch::start(world.clone()));
    // What the cluster lacks before the run, which may be why it is made, is not the run's to answer for.
    let lacking = sums(world, &[]);
    let (began, floors, before) = (Instant::now(), Floors::default(), Before::of(world));
    let goal = planned.plan().clone();
    for fault in faults {
        let _ = schedule(world, controller, fault, &floors);
    }
    let report = run_to_its_end(world, planned, faults, controller, meanwhile).await;
    let took = began.elapsed();
    sleep(REACTION).await;
    let (served, seen) = (clients.stop().await, watch.end());
    let lost = faults.iter().any(|fault| matches!(fault, FaultAt::Loss { .. }));
    // A run that is over before it can see the loss reacts to nothing.
    let seen_in_time = |fault: &FaultAt| matches!(fault, FaultAt::Loss { after, .. } if *after + UNSEEN <= took);
    let is_over = lost && !faults.iter().any(seen_in_time);
    // What came before the loss is the run's to answer for all the same.
    let losses =
        || faults.iter().filter_map(|fault| if let FaultAt::Loss { after, .. } = fault { Some(*after) } else { None });
    let first_loss = losses().min().unwrap_or_default();
    let of_the_run = |seen: &Seen| {
        let Some(short) = &seen.short else { return true };
        let lowered = lacking.get(&short.sum).is_none_or(|had| short.has < *had);
        lowered && !(is_over && seen.at > took && seen.at >= first_loss)
    };
    let mut broken: Vec<Broken> =
        seen.into_iter().filter(|seen| !floors.excuse(seen, faults)).filter(of_the_run).map(Broken::from).collect();
    if let Some(short) = short_after_loss(world).filter(|_| lost && !is_over) {
        broken.push(Broken { at: began.elapsed(), what: format!("settled: {short}") });
    }
    if let Some(what) = lost_without_excuse(&served, faults).filter(|_| !is_over || lost_before(&served, first_loss)) {
        broken.push(Broken { at: took, what });
    }
    let entries = world.store().read(&"run".into()).await.unwrap_or_default();
    let (end, open) = match &report {
        Ok((end, open)) => (*end, open.clone()),
        // A node that was lost before the run began: it is refused, and nothing was changed.
        Err(RunError::StalePlan(_)) if lost && entries.is_empty() => (End::AllOld, Vec::new()),
        Err(error) => {
            broken.push(Broken { at: took, what: format!("the run has no end: {error}") });
            (End::NeedsOperator(ha_core::record::Why::Held), Vec::new())
        }
    };
    if matches!(end, End::AllNew | End::AllOld) && !open.is_empty() {
        broken.push(Broken { at: took, what: format!("the run ended {end} with loans open: {open:?}") });
    }
    if !lost {
        let untrue = untrue(world, &before, &goal, end).into_iter();
        broken.extend(untrue.map(|what| Broken { at: took, what: format!("the run ended {end}, and {what}") }));
    }
    let met = faults.iter().filter(|fault| is_met(world, fault, took, controller)).count();
    Outcome::Ran { end, open, broken, trace: trace(&entries, &served), served, met, took }
}

/// Tells whether a request was lost that a loss at this time cannot have cut.
fn lost_before(served: &Served, loss: Duration) -> bool {
    served.lost_between.is_some_and(|(first, _)| first + LONGEST_REQUEST < loss)
}

/// Runs a plan as `run`, and lets another controller go on where this one dies.
pub(super) async fn run_to_its_end(
    world: &World,
    planned: Planned,
    faults: &[FaultAt],
    controller: &Controller,
    meanwhile: &impl AsyncFn(&World),
) -> Result<Ended, RunError> {
    let first = world.engine_of(controller);
    let operator = Operators::follow(world, faults);
    let running = tokio::spawn(async move { ended(first.run("run".into(), planned).await?).await });
    let end = loop {
        if controller.is_dead() {
            meanwhile(world).await;
            break take_over(&world.engine(), "run").await;
        }
        if running.is_finished() {
            break running.await.unwrap_or_else(|error| Err(RunError::Died(error.to_string())));
        }
        sleep(Duration::from_millis(100)).await;
    };
    operator.go_on(world, end).await
}

/// Tells whether a fault came before the run had ended.
pub(super) fn is_met(world: &World, fault: &FaultAt, took: Duration, controller: &Controller) -> bool {
    match fault {
        FaultAt::Loss { after, .. }
        | FaultAt::LossOnceSurvived { after, .. }
        | FaultAt::Forget { after, .. }
        | FaultAt::BalancerGone { after, .. }
        | FaultAt::Return { after, .. }
        | FaultAt::Asked { after, .. } => *after < took,
        FaultAt::Death { .. } => controller.is_dead(),
        FaultAt::Call { operation, name, fault, .. } => {
            world.fired().iter().any(|(of, on, how)| (of, on, how) == (operation, name, fault))
        }
    }
}

pub(super) fn schedule(
    world: &World,
    controller: &Controller,
    fault: &FaultAt,
    floors: &Floors,
) -> Option<JoinHandle<()>> {
    let floors = floors.clone();
    Some(match fault.clone() {
        FaultAt::Loss { after, node } => {
            later(world, after, async move |world| floors.shake(&world, |world| world.lose(&node)).await)
        }
        FaultAt::Forget { after, balancer } => later(world, after, async move |world| {
            floors.shake(&world, |world| world.restart_balancer(&balancer)).await;
        }),
        FaultAt::BalancerGone { after, balancer, time } => later(world, after, async move |world| {
            world.kill_balancer(&balancer);
            if let Some(time) = time {
                sleep(time).await;
                floors.shake(&world, |world| world.restart_balancer(&balancer)).await;
            }
        }),
        FaultAt::Return { after, node } => later(world, after, async move |world| world.return_by_itself(&node)),
        FaultAt::Death { after } => {
            let controller = controller.clone();
            later(world, after, async move |_| controller.kill())
        }
        // Somebody else asks; and whoever watches what follows a loss knows when one more is survived.
        FaultAt::Asked { .. } | FaultAt::LossOnceSurvived { .. } => return None,
        FaultAt::Call { operation, name, skip, fault } => {
            world.plan_fault_after(operation, &name, skip, fault);
            return None;
        }
    })
}

/// How a run ended, and what it left open.
pub(super) type Ended = (End, Vec<String>);

pub(super) async fn ended(run: RunHandle) -> Result<Ended, RunError> {
    let report = run.wait().await?;
    Ok((report.end, report.open))
}

/// Lets another controller go on once the dead one's lease has run out.
pub(super) async fn take_over(engine: &Engine, run: &str) -> Result<Ended, RunError> {
    loop {
        match engine.resume(run.into()).await {
            Ok(handle) => return ended(handle).await,
            Err(RunError::Lease(LeaseError::Held { .. })) => sleep(Duration::from_secs(1)).await,
            Err(RunError::Ended { end, .. }) => return Ok((end, Vec::new())),
            // It died before it wrote anything down: nothing has happened.
            Err(RunError::Fold { source: FoldError::NoSuchRun, .. }) => return Ok((End::AllOld, Vec::new())),
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn trace(entries: &[Entry], served: &Served) -> String {
    // When somebody asks is written down by the clock on the wall.
    let record = |record: &Record| match record {
        Record::Requested { request, refused, .. } => format!("{} {refused:?}", request.what.name()),
        Record::ApprovalAsked { approval } => format!("{:?} {}.{}", approval.point, approval.stage, approval.step),
        other => format!("{other:?}"),
    };
    let lines = entries.iter().map(|entry| format!("{} {} {}\n", entry.sequence, entry.epoch, record(&entry.record)));
    let seen = format!("{} {} {:?}", served.sent, served.lost, served.by_release);
    Digest::of(lines.chain([seen]).collect::<String>().as_bytes()).to_string()
}
