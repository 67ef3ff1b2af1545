//! The procedures as a practitioner's article tells them, read literally, beside the orders that hold: each as a plan for
//! a simulated cluster, with what the explorer has to say about it.
//!
//! Source: "How to achieve 100% availability on WSO2 product deployments", and exhaustive searches on small models.

mod literal;

use std::time::Duration;

use ha_core::engine::RunError;
use ha_core::law::Invariant;
use ha_core::plan::Draft;
use ha_core::plan::Plan;
use ha_core::procedure::{
    AddNodeRequest, HandOverRequest, OutageRequest, PlanError, Procedure, RejoinRequest, RetireNodeRequest,
};
use ha_core::state::{SchemaChange, SchemaVerdict};
use ha_core::topology::{Topology, TopologyError};

use crate::world::{Shape, World};

/// One plan and what is known about it.
///
/// # Examples
///
/// ```
/// use ha_core::safety::prove;
/// use ha_testkit::golden::{Expected, cases};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in cases().await.unwrap() {
///     let proven = prove(case.world.topology(), &case.plan).is_ok();
///     assert_eq!(proven, case.expected == Expected::Proven, "{}", case.name);
/// }
/// # });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Case {
    /// What it is, as text.
    pub name: &'static str,
    /// The shape of the cluster.
    pub shape: Shape,
    /// The world it is for.
    pub world: World,
    /// The plan.
    pub plan: Plan,
    /// What the explorer has to find.
    pub expected: Expected,
}

/// What the explorer has to find.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Expected {
    /// A proof.
    Proven,
    /// A counterexample that breaks this invariant and whose last event has this in it.
    Refused(Invariant, &'static str),
}

/// How many spares planned work needs on a cluster where all members serve.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SparesNeeded {
    /// So many.
    Spares(usize),
    /// The cluster breaks the law already at rest.
    RefusedAtRest,
}

/// Lists the table of spares: members, capacity of each in thousandths of the peak, spares needed.
pub const SPARES: [(usize, u64, SparesNeeded); 7] = [
    (2, 750, SparesNeeded::Spares(1)),
    (2, 1000, SparesNeeded::Spares(1)),
    (3, 500, SparesNeeded::Spares(1)),
    (3, 750, SparesNeeded::Spares(0)),
    (4, 340, SparesNeeded::Spares(1)),
    (4, 500, SparesNeeded::Spares(0)),
    (2, 500, SparesNeeded::RefusedAtRest),
];

/// Derives how many spares a patch of such a cluster needs.
///
/// # Errors
/// What was wrong besides the lack of a spare.
///
/// # Examples
///
/// ```
/// use ha_testkit::golden::{SparesNeeded, spares_needed};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// // Two members, each with three quarters of the peak.
/// assert_eq!(spares_needed(2, 750).await.unwrap(), SparesNeeded::Spares(1));
/// # });
/// ```
pub async fn spares_needed(members: usize, capacity: u64) -> Result<SparesNeeded, RunError> {
    for spares in 0..=2 {
        let shape = Shape::active_active(members, capacity).with_spares(&vec![capacity; spares]);
        let world = match shape.world() {
            Ok(world) => world,
            Err(error) if is_refused_at_rest(&error) => return Ok(SparesNeeded::RefusedAtRest),
            Err(error) => {
                let source = PlanError::Incomplete(error.to_string());
                return Err(RunError::Plan { source, seen: Vec::new() });
            }
        };
        match world.engine().plan(&world.patch_to("2.0")).await {
            Ok(_) => return Ok(SparesNeeded::Spares(spares)),
            Err(RunError::Plan { source: PlanError::Unprovable { .. }, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(RunError::Plan { source: PlanError::Incomplete("two spares are not enough".into()), seen: Vec::new() })
}

/// Makes the cases of an upgrade over a clone of the database.
async fn clones() -> Result<[Case; 3], RunError> {
    let cloned = planned_clone(&Shape::active_passive().with_clone()).await?;
    let refused = |what| Expected::Refused(Invariant::Schema, what);
    let (early, spare) = (literal::clone_opened_early(&cloned), literal::clone_opened_beside_the_spare(&cloned));
    Ok([
        case("upgrade over a clone, opened when the first node uses it", &cloned, early, refused("take writes")),
        case("upgrade over a clone, opened before the spare has left", &cloned, spare, refused("take writes")),
        case("upgrade over a clone, corrected", &cloned, cloned.plan.clone(), Expected::Proven),
    ])
}

fn is_refused_at_rest(error: &TopologyError) -> bool {
    error.diagnostics().iter().all(|found| found.message.contains("at rest the law is broken"))
}

/// Makes every case: each literal reading, and each corrected order.
///
/// # Errors
/// When a corrected order cannot be planned.
pub async fn cases() -> Result<Vec<Case>, RunError> {
    let mut cases = Vec::new();
    let files = Shape::active_passive().with_files();
    let update = planned_update(&files).await?;
    let without_spare = literal::update_without_spare(&update);
    cases.push(case(
        "update without a spare",
        &update,
        without_spare,
        Expected::Refused(Invariant::OneMoreFailure, "deploy"),
    ));
    let shared = literal::update_with_sharing_for_all(&update);
    cases.push(case(
        "update, sharing re-enabled for all nodes at once",
        &update,
        shared,
        Expected::Refused(Invariant::Sync, "release sync"),
    ));
    cases.push(case("update, corrected", &update, update.plan.clone(), Expected::Proven));
    let service = planned_service(&files.clone().with_exposure()).await?;
    let at_once = literal::service_exposed_after_one_test(&service);
    cases.push(case(
        "add a service, tested once and exposed at once",
        &service,
        at_once,
        Expected::Refused(Invariant::Tested, "expose /orders"),
    ));
    let serving = planned_service(&Shape::active_active(3, 750).with_files().with_exposure()).await?;
    let at_once = literal::service_exposed_after_one_test(&serving);
    cases.push(case(
        "add a service where all serve, tested once and exposed at once",
        &serving,
        at_once,
        Expected::Refused(Invariant::Tested, "expose /orders"),
    ));
    let early = literal::service_exposed_before_the_spare_has_left(&service);
    cases.push(case(
        "add a service, exposed before the spare has left",
        &service,
        early,
        Expected::Refused(Invariant::Tested, "expose /orders"),
    ));
    cases.push(case("add a service, corrected", &service, service.plan.clone(), Expected::Proven));
    cases.push(case("add a service where all serve, corrected", &serving, serving.plan.clone(), Expected::Proven));
    let database = Shape::active_passive().with_database();
    let upgrade = planned_upgrade(&database).await?;
    let breaking = literal::upgrade_with_breaking_scripts(&upgrade);
    cases.push(case(
        "upgrade, the scripts run at once against the shared database",
        &upgrade,
        breaking,
        Expected::Refused(Invariant::Schema, "bring the schema"),
    ));
    let early = literal::upgrade_contracted_before_the_second_node(&upgrade);
    cases.push(case(
        "upgrade, contracted before the second node is changed",
        &upgrade,
        early,
        Expected::Refused(Invariant::Schema, "bring the schema"),
    ));
    let spare = literal::upgrade_contracted_before_the_spare_has_left(&upgrade);
    cases.push(case(
        "upgrade, contracted before the spare has left",
        &upgrade,
        spare,
        Expected::Refused(Invariant::Schema, "bring the schema"),
    ));
    cases.push(case("upgrade, corrected", &upgrade, upgrade.plan.clone(), Expected::Proven));
    cases.extend(clones().await?);
    let patch = planned_patch(&Shape::active_passive()).await?;
    let untested = literal::patch_admitted_untested(&patch);
    cases.push(case(
        "patch, admitted before it is tested",
        &patch,
        untested,
        Expected::Refused(Invariant::Tested, "admit"),
    ));
    let undrained = literal::patch_without_drain(&patch);
    cases.push(case(
        "patch, restarted without being drained",
        &patch,
        undrained,
        Expected::Refused(Invariant::Drained, "stop"),
    ));
    cases.push(case("patch, corrected", &patch, patch.plan.clone(), Expected::Proven));
    let serving = planned_patch(&Shape::active_active(2, 750).with_spares(&[750])).await?;
    let bare = literal::without_spares(&serving);
    cases.push(case(
        "active/active at 75 % each, patched without a spare",
        &serving,
        bare,
        Expected::Refused(Invariant::Now, "take out"),
    ));
    let idle = literal::with_an_idle_spare(&serving);
    cases.push(case(
        "active/active at 75 % each, the spare not serving",
        &serving,
        idle,
        Expected::Refused(Invariant::Now, "take out"),
    ));
    cases.push(case("active/active at 75 % each, a serving spare", &serving, serving.plan.clone(), Expected::Proven));
    Ok(cases)
}

/// Makes the cases of outages: a member is lost before the plan is made.
///
/// # Errors
/// When a corrected order cannot be planned.
///
/// # Examples
///
/// ```
/// use ha_core::safety::prove;
/// use ha_testkit::golden::{Expected, recoveries};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in recoveries().await.unwrap() {
///     let proven = prove(case.topology(), &case.plan).is_ok();
///     assert_eq!(proven, case.expected == Expected::Proven, "{}", case.name);
/// }
/// # });
/// ```
pub async fn recoveries() -> Result<Vec<Case>, RunError> {
    let mut cases = Vec::new();
    let passive = planned_outage(&Shape::active_passive(), false).await?;
    let untested = literal::without_gates(&passive);
    cases.push(case(
        "outage, the replacement takes requests before it is tested",
        &passive,
        untested,
        Expected::Refused(Invariant::Tested, "admit"),
    ));
    cases.push(case("outage, active/passive", &passive, passive.plan.clone(), Expected::Proven));
    let serving = planned_outage(&Shape::active_active(2, 1000).with_spares(&[1000]), false).await?;
    cases.push(case("outage, active/active", &serving, serving.plan.clone(), Expected::Proven));
    let back = planned_outage(&Shape::active_passive(), true).await?;
    let untested = literal::without_gates(&back);
    cases.push(case(
        "return of a lost member, in traffic as soon as its server runs",
        &back,
        untested,
        Expected::Refused(Invariant::Tested, "stand by"),
    ));
    let early = literal::stand_in_retired_first(&back);
    cases.push(case(
        "return of a lost member, the spare retired before it",
        &back,
        early,
        Expected::Refused(Invariant::OneMoreFailure, "stop spare1"),
    ));
    cases.push(case("return of a lost member", &back, back.plan.clone(), Expected::Proven));
    cases.extend(growth().await?);
    Ok(cases)
}

/// Makes the cases of clusters that grow, shrink or hand their writer over.
async fn growth() -> Result<Vec<Case>, RunError> {
    let mut cases = Vec::new();
    let three = Shape::active_active(3, 1000).with_files().with_provision();
    let handed = planned_by(&three, &HandOverRequest::to("esb1"), |_| {}).await?;
    let mut open = Draft::from(handed.plan.clone());
    open.stages.remove(0);
    cases.push(case(
        "hand-over, while files are still copied",
        &handed,
        open.into(),
        Expected::Refused(Invariant::OneWriter, "hand writer"),
    ));
    cases.push(case("hand-over of the writer", &handed, handed.plan.clone(), Expected::Proven));
    let absent = |world: &World| {
        world.let_write("esb1");
        world.not_installed("esb3");
    };
    let added = planned_by(&three, &AddNodeRequest::of("esb3"), absent).await?;
    let untested = literal::without_gates(&added);
    cases.push(case(
        "a node is added, in traffic as soon as its server runs",
        &added,
        untested,
        Expected::Refused(Invariant::Tested, "admit"),
    ));
    cases.push(case("a node is added", &added, added.plan.clone(), Expected::Proven));
    let retired = planned_by(&three, &RetireNodeRequest::of("esb3"), |_| {}).await?;
    let mut kept = Draft::from(retired.plan.clone());
    kept.stages.retain(|stage| stage.name != "hand the writer over");
    cases.push(case(
        "a node is retired that still writes the shared files",
        &retired,
        kept.into(),
        Expected::Refused(Invariant::Order, "retire"),
    ));
    cases.push(case("a node is retired", &retired, retired.plan.clone(), Expected::Proven));
    Ok(cases)
}

/// Plans a procedure for a cluster of this shape, once it was made what the procedure is about.
async fn planned_by(shape: &Shape, procedure: &dyn Procedure, make: impl FnOnce(&World)) -> Result<Planned, RunError> {
    let world = world(shape)?;
    make(&world);
    let plan = world.engine().plan(procedure).await?.plan().clone();
    Ok(Planned { shape: shape.clone(), world, plan })
}

/// Loses the first member at rest, and plans what follows; with `back`, its return after that.
async fn planned_outage(shape: &Shape, back: bool) -> Result<Planned, RunError> {
    let world = world(shape)?;
    let engine = world.engine();
    world.lose("esb1");
    let outage = OutageRequest::of("esb1");
    let planned = engine.plan(&outage).await?;
    if !back {
        return Ok(Planned { shape: shape.clone(), world, plan: planned.plan().clone() });
    }
    engine.run("outage".into(), planned).await?.wait().await?;
    world.repair("esb1");
    let plan = engine.plan(&RejoinRequest::of("esb1")).await?.plan().clone();
    Ok(Planned { shape: shape.clone(), world, plan })
}

fn case(name: &'static str, of: &Planned, plan: Plan, expected: Expected) -> Case {
    Case { name, shape: of.shape.clone(), world: of.world.clone(), plan, expected }
}

/// A corrected plan and the world that it is for.
struct Planned {
    shape: Shape,
    world: World,
    plan: Plan,
}

impl Case {
    /// Returns the topology that the plan is for.
    pub fn topology(&self) -> &Topology {
        self.world.topology()
    }
}

async fn planned_patch(shape: &Shape) -> Result<Planned, RunError> {
    let world = world(shape)?;
    let plan = world.engine().plan(&world.patch_to("2.0")).await?.plan().clone();
    Ok(Planned { shape: shape.clone(), world, plan })
}

async fn planned_update(shape: &Shape) -> Result<Planned, RunError> {
    let world = world(shape)?;
    let plan = world.engine().plan(&world.update_to(2)).await?.plan().clone();
    Ok(Planned { shape: shape.clone(), world, plan })
}

async fn planned_service(shape: &Shape) -> Result<Planned, RunError> {
    let world = world(shape)?;
    let plan = world.engine().plan(&world.add_service()).await?.plan().clone();
    Ok(Planned { shape: shape.clone(), world, plan })
}

async fn planned_upgrade(shape: &Shape) -> Result<Planned, RunError> {
    let world = world(shape)?;
    let plan = world.engine().plan(&world.upgrade_to("2.0")).await?.plan().clone();
    Ok(Planned { shape: shape.clone(), world, plan })
}

async fn planned_clone(shape: &Shape) -> Result<Planned, RunError> {
    let world = world(shape)?;
    world.set_schema_change(SchemaChange::new(SchemaVerdict::NeedsWindow, "scripts"));
    let request = world.upgrade_to("2.0").with_window(Duration::from_secs(60));
    let plan = world.engine().plan(&request).await?.plan().clone();
    Ok(Planned { shape: shape.clone(), world, plan })
}

fn world(shape: &Shape) -> Result<World, RunError> {
    shape.world().map_err(|error| RunError::Plan { source: PlanError::Incomplete(error.to_string()), seen: Vec::new() })
}
