//! Whole runs of the changes of sites: the loss of one, the way back, and the drill.

use std::time::Duration;

use ha_core::action::{Action, SiteAction};
use ha_core::backend::{Consumers, FenceLevel, ReplicaRole};
use ha_core::engine::RunError;
use ha_core::journal::Journal;
use ha_core::procedure::{DrillRequest, FailBackRequest, Planned, Procedure, SiteLossRequest};
use ha_core::record::{End, Entry, Record, Why};
use ha_core::topology::SiteRole;
use tokio::time::{Instant, sleep};

use super::excuse::{EXPOSURE, Floors, LONGEST_REQUEST, REACTION, UNSEEN, later};
use super::run::{Ended, is_met, run_to_its_end, schedule, trace};
use super::scenario::FAULTS;
use super::{Broken, FaultAt, Random};
use crate::world::{Controller, Operation, Served, Shape, World};

/// Which change of sites is simulated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SiteProcedure {
    /// North is lost, and south replaces it.
    Loss,
    /// Consumers are led back to north.
    FailBack,
    /// South is drilled while north serves.
    Drill,
}

/// What is simulated: two sites, a change from one to the other, and what goes wrong meanwhile.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SiteScenario {
    /// The cluster.
    pub shape: Shape,
    /// What is done.
    pub procedure: SiteProcedure,
    /// How long a write needs from the database of one site into that of the other.
    pub lag: Duration,
    /// How far the fence of north reaches.
    pub fence: FenceLevel,
    /// When, after the run has begun, the lost site comes back by itself; `None`: it does not.
    pub wakes: Option<Duration>,
    /// What goes wrong.
    pub faults: Vec<FaultAt>,
}

/// How a simulated change of sites went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SiteOutcome {
    /// The topology is refused, or what comes before the change did not end well.
    NoCluster(String),
    /// There is no plan.
    Refused(String),
    /// The plan was proven, and ran.
    Ran {
        /// How it ended.
        end: End,
        /// What it left open.
        open: Vec<String>,
        /// What was promised and the world was seen to break.
        broken: Vec<Broken>,
        /// How many faults came before the run had ended.
        met: usize,
        /// How many requests were not answered.
        lost: u64,
        /// How many writes had not left north when it was lost.
        left_behind: u64,
        /// The digest of the records and of what the clients saw.
        trace: String,
        /// How long the run took, on virtual time.
        took: Duration,
    },
}

impl SiteScenario {
    /// Makes the scenario of a seed.
    pub fn from_seed(seed: u64, procedure: SiteProcedure, faults: usize) -> Self {
        let mut random = Random::new(seed);
        let roles = [SiteRole::Hot, SiteRole::Warm, SiteRole::Cold];
        // What follows nothing has nothing of what was written.
        let roles = if procedure == SiteProcedure::FailBack { &roles[..2] } else { &roles[..] };
        let role = random.pick(roles).copied().unwrap_or(SiteRole::Warm);
        let mut shape = if random.once_in(2) { Shape::active_passive() } else { Shape::active_active(2, 750) };
        shape.spares.clear();
        if random.once_in(3) {
            shape.members.push(shape.members.first().copied().unwrap_or(1000));
            shape.serve = shape.members.len();
        }
        shape.balancers = 1 + random.below(2);
        let shape = shape.with_sites(role);
        let wakes = (procedure == SiteProcedure::Loss && random.once_in(3))
            .then(|| Duration::from_millis(u64::try_from(random.below(20_000)).unwrap_or(0)));
        let faults = (0..faults).map(|_| fault(&mut random, &shape, procedure)).collect();
        let lag = random.pick(&LAGS_MS).copied().map_or(Duration::ZERO, Duration::from_millis);
        // What has no power does not come back before a person has given it some.
        let fences = if procedure == SiteProcedure::FailBack { &FENCES[..2] } else { &FENCES[..] };
        let fence = random.pick(fences).copied().unwrap_or(FenceLevel::Database);
        Self { shape, procedure, lag, fence, wakes, faults }
    }
}

const LAGS_MS: [u64; 4] = [0, 20, 130, 700];
const FENCES: [FenceLevel; 3] = [FenceLevel::Servers, FenceLevel::Database, FenceLevel::Power];

fn fault(random: &mut Random, shape: &Shape, procedure: SiteProcedure) -> FaultAt {
    let count = shape.members.len();
    let (own, other) = ("esb", "esb-south");
    let brought = if procedure == SiteProcedure::FailBack { own } else { other };
    let node = |of: &str, number: usize| if of == own { format!("esb{number}") } else { format!("south{number}") };
    let brought = node(brought, 1 + random.below(count));
    let longest = [300, 3_000, 12_000].get(random.below(3)).copied().unwrap_or(300);
    let after = Duration::from_millis(u64::try_from(random.below(longest)).unwrap_or(0));
    let balancer = if procedure == SiteProcedure::FailBack { "lb1" } else { "lb-south1" };
    let sites = |site: &str| site.to_string();
    match random.below(8) {
        0 => FaultAt::Loss { after, node: brought },
        1 => FaultAt::Forget { after, balancer: balancer.into() },
        2 | 3 => FaultAt::Death { after },
        _ => {
            let promoted = if procedure == SiteProcedure::FailBack { "north" } else { "south" };
            let operations = [
                (Operation::Lead, "switch".to_string()),
                (Operation::Lead, "switch".to_string()),
                (Operation::FenceSite, sites("north")),
                (Operation::Promote, sites(promoted)),
                (Operation::Promote, sites(promoted)),
                (Operation::Demote, sites("south")),
                (Operation::Follow, sites(promoted)),
                (Operation::Start, brought.clone()),
                (Operation::Test, brought.clone()),
                (Operation::SetAdmin, balancer.to_string()),
            ];
            let (operation, name) = random.pick(&operations).cloned().unwrap_or((Operation::Lead, "switch".into()));
            let skip = usize::from(operation == Operation::Lead && random.once_in(2));
            FaultAt::Call { operation, name, skip, fault: random.pick(&FAULTS).copied().unwrap_or(FAULTS[0]) }
        }
    }
}

/// Runs a scenario. Call it inside a paused tokio runtime.
///
/// # Examples
///
/// ```
/// use ha_testkit::simulate::{SiteOutcome, SiteProcedure, SiteScenario, simulate_site};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// // A site is lost, and one thing goes wrong while the other replaces it.
/// let scenario = SiteScenario::from_seed(7, SiteProcedure::Loss, 1);
/// if let SiteOutcome::Ran { broken, .. } = simulate_site(&scenario).await {
///     assert_eq!(broken, []);
/// }
/// # });
/// ```
pub async fn simulate_site(scenario: &SiteScenario) -> SiteOutcome {
    let world = match scenario.shape.world() {
        Ok(world) => world,
        Err(error) => return SiteOutcome::NoCluster(error.to_string()),
    };
    world.set_lag(Some(scenario.lag));
    world.set_fence_level("north", scenario.fence);
    let loss = SiteLossRequest::of("north").with_window_accepted_by("tester");
    let mut left_behind = 0;
    let request: Box<dyn Procedure> = match scenario.procedure {
        SiteProcedure::Loss => {
            left_behind = lose_north(&world).await;
            Box::new(loss)
        }
        SiteProcedure::FailBack => {
            left_behind = lose_north(&world).await;
            sleep(Duration::from_secs(1)).await;
            if let Err(why) = to_its_end(&world, "loss", &loss).await {
                return SiteOutcome::NoCluster(why);
            }
            world.restore_site("north");
            sleep(Duration::from_secs(2)).await;
            Box::new(FailBackRequest::to("north").with_discarded_by("tester"))
        }
        SiteProcedure::Drill => Box::new(DrillRequest::of("south")),
    };
    match world.engine().plan(&*request).await {
        Ok(planned) => run(scenario, &world, planned, left_behind).await,
        Err(error) => SiteOutcome::Refused(error.to_string()),
    }
}

/// Loses north while consumers write; returns how many of their writes had not left it.
async fn lose_north(world: &World) -> u64 {
    let clients = world.clients_every(Duration::from_millis(50));
    sleep(Duration::from_secs(1)).await;
    world.lose_site("north");
    let left_behind = world.writes_missing_in("south");
    clients.stop().await;
    left_behind
}

async fn to_its_end(world: &World, run: &str, request: &dyn Procedure) -> Result<(), String> {
    let engine = world.engine();
    let planned = engine.plan(request).await.map_err(|error| error.to_string())?;
    let report = engine.run(run.into(), planned).await.map_err(|error| error.to_string())?;
    let report = report.wait().await.map_err(|error| error.to_string())?;
    if report.end == End::AllNew { Ok(()) } else { Err(format!("{run} ended {}: {:?}", report.end, report.open)) }
}

async fn run(scenario: &SiteScenario, world: &World, planned: Planned, left_behind: u64) -> SiteOutcome {
    let controller = Controller::new();
    let clients = world.clients_every(Duration::from_millis(50));
    let (began, floors) = (Instant::now(), Floors::default());
    let tasks: Vec<_> =
        scenario.faults.iter().filter_map(|fault| schedule(world, &controller, fault, &floors)).collect();
    let wakes = scenario.wakes.map(|after| later(world, after, async |world| world.restore_site("north")));
    let report = run_to_its_end(world, planned, &scenario.faults, &controller, &async |_| {}).await;
    let took = began.elapsed();
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    sleep(REACTION).await;
    if let Some(wakes) = wakes {
        let _ = wakes.await;
        sleep(Duration::from_secs(2)).await;
    }
    let served = clients.stop().await;
    sleep(Duration::from_secs(1)).await;
    let entries = world.store().read(&"run".into()).await.unwrap_or_default();
    let met = scenario.faults.iter().filter(|fault| is_met(world, fault, took, &controller)).count();
    let mut broken = Vec::new();
    let ended = match report {
        Ok(ended) => ended,
        Err(RunError::StalePlan(_) | RunError::Unread { .. }) if entries.is_empty() => {
            (End::NeedsOperator(Why::Held), Vec::new())
        }
        Err(error) => {
            broken.push(format!("the run has no end: {error}"));
            (End::NeedsOperator(Why::Held), Vec::new())
        }
    };
    if !entries.is_empty() {
        let held_at = held_at(&entries);
        let judged = Judged { scenario, world, served: &served, took, met: met > 0, left_behind, held_at };
        broken.extend(judged.broken(&ended));
    }
    let (end, open) = ended;
    let broken = broken.into_iter().map(|what| Broken { at: took, what }).collect();
    // A plan says what earlier runs have measured, in time that is not simulated.
    let is_plan = |entry: &Entry| matches!(entry.record, Record::Opened { .. } | Record::Replanned { .. });
    let steps: Vec<Entry> = entries.into_iter().filter(|entry| !is_plan(entry)).collect();
    SiteOutcome::Ran { end, open, broken, met, lost: served.lost, left_behind, trace: trace(&steps, &served), took }
}

struct Judged<'a> {
    scenario: &'a SiteScenario,
    world: &'a World,
    served: &'a Served,
    took: Duration,
    met: bool,
    left_behind: u64,
    held_at: Option<Duration>,
}

/// Returns when the run began to let consumers wait.
fn held_at(entries: &[Entry]) -> Option<Duration> {
    let holds = |entry: &&Entry| match &entry.record {
        Record::Intent { order, .. } => matches!(order.action(), Action::Site(SiteAction::Hold { .. })),
        _ => false,
    };
    let began = entries.first()?.unix_ms;
    Some(Duration::from_millis(entries.iter().find(holds)?.unix_ms.saturating_sub(began)))
}

impl Judged<'_> {
    /// Lists what was promised and is not so.
    fn broken(&self, (end, open): &Ended) -> Vec<String> {
        let (world, mut broken) = (self.world, Vec::new());
        let stale = world.stale_writes();
        if stale > 0 {
            broken.push(format!("{stale} writes were taken after another site had taken some with a higher epoch"));
        }
        let role = |site: &str| world.copy_in(site).0;
        let primaries = ["north", "south"].into_iter().filter(|site| role(site) == ReplicaRole::Primary);
        let primaries: Vec<&str> = primaries.collect();
        let (led, after_restart) = world.led();
        let is_good = matches!(end, End::AllNew | End::AllOld);
        if is_good && !open.is_empty() {
            broken.push(format!("the run ended {end} with loans open: {open:?}"));
        }
        let serves = self.serves(*end);
        if let Some(site) = serves {
            if led != Consumers::To(site.into()) || after_restart != led {
                broken.push(format!("the run ended {end}, and consumers are {led}, after a restart {after_restart}"));
            }
            if role(site) != ReplicaRole::Primary {
                broken.push(format!("the run ended {end}, and the database of {site} takes no writes"));
            }
            let missing = world.writes_missing_in(site).saturating_sub(self.excused_writes());
            if missing > 0 {
                broken.push(format!("the run ended {end}, and {site} lacks {missing} writes that were answered"));
            }
        } else if open.is_empty() && !matches!(led, Consumers::To(_)) {
            broken.push(format!("the run ended {end}, consumers are {led}, and nothing is listed as open"));
        }
        // A lost site that has come back by itself may be a primary of before, until it follows: nobody is led to it.
        let epoch = |site: &str| world.copy_in(site).1;
        let came_back = self.scenario.wakes.is_some() || self.scenario.procedure == SiteProcedure::FailBack;
        let may_be = came_back || self.scenario.fence < FenceLevel::Database;
        let is_of_before = may_be && epoch("north") < epoch("south");
        if primaries.len() > 1 && (!is_of_before || led == Consumers::To("north".into())) {
            broken.push(format!("the databases of {primaries:?} take writes, and consumers are {led}"));
        }
        broken.extend(self.lost_without_excuse(*end));
        broken
    }

    /// Returns which site serves after a good end.
    fn serves(&self, end: End) -> Option<&'static str> {
        match (end, self.scenario.procedure) {
            (End::AllNew, SiteProcedure::Loss) | (End::AllOld, SiteProcedure::FailBack) => Some("south"),
            (End::AllNew, SiteProcedure::FailBack)
            | (End::AllNew | End::AllOld, SiteProcedure::Drill)
            | (End::AllOld, SiteProcedure::Loss) => Some("north"),
            (End::NeedsOperator(_), _) => None,
        }
    }

    /// Counts the writes that the other site cannot have: what had not left north when it was lost; of a cold site those since the
    /// backup.
    fn excused_writes(&self) -> u64 {
        let cold = self.scenario.shape.recovery == Some(SiteRole::Cold);
        if cold && self.scenario.procedure == SiteProcedure::Loss {
            self.world.writes_taken("north").values().sum()
        } else {
            self.left_behind
        }
    }

    /// Says which requests were lost that no loss and no fault accounts for.
    fn lost_without_excuse(&self, end: End) -> Option<String> {
        let (first, last) = self.served.lost_between?;
        let shaken = self.scenario.faults.iter().find_map(|fault| match fault {
            FaultAt::Loss { after, .. } | FaultAt::Forget { after, .. } => Some(*after),
            _ => None,
        });
        let message = format!(
            "{} requests were lost, sent from {first:?} to {last:?} of a run of {:?}: {:?}",
            self.served.lost, self.took, self.served.reasons
        );
        // Until the other site is opened nobody is served: that is the declared window.
        if self.scenario.procedure == SiteProcedure::Loss {
            let late = end == End::AllNew && last > self.took + UNSEEN && shaken.is_none();
            return late.then_some(message);
        }
        if matches!(end, End::NeedsOperator(_)) && self.met {
            return None;
        }
        // Who has waited in front of the sites was sent long before it is answered.
        let excused = shaken.is_some_and(|after| {
            let in_progress = first + LONGEST_REQUEST >= after || self.held_at.is_some_and(|held| first >= held);
            in_progress && last < after + EXPOSURE.max(REACTION) + REACTION
        });
        (!excused).then_some(message)
    }
}
