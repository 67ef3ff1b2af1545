use std::time::Duration;

use ha_core::engine::RunError;
use ha_core::procedure::Planned;
use ha_core::state::{SchemaChange, SchemaVerdict};

use super::Random;
use crate::world::{Fault, Operation, Shape, World};

/// What is simulated: a cluster, a procedure, and what goes wrong when.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// The cluster.
    pub shape: Shape,
    /// What is done to it.
    pub procedure: Procedure,
    /// What goes wrong.
    pub faults: Vec<FaultAt>,
}

/// A procedure of a simulation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Procedure {
    /// Patch every server.
    Patch,
    /// The same, each server tested in its test domain first.
    PatchInTestDomain,
    /// Update the shared files.
    Update,
    /// Upgrade with the database.
    Upgrade,
    /// Add a service to the shared files, and expose it.
    AddService,
    /// Upgrade with a clone of the database, in a window.
    Clone,
}

impl Procedure {
    /// Plans this change of a world, and proves the plan.
    ///
    /// # Errors
    /// As [`Engine::plan`](ha_core::engine::Engine::plan).
    pub async fn plan(self, world: &World) -> Result<Planned, RunError> {
        let engine = world.engine();
        match self {
            Self::Patch => engine.plan(&world.patch_to("2.0")).await,
            Self::PatchInTestDomain => engine.plan(&world.patch_to("2.0").in_test_domain_first()).await,
            Self::Update => engine.plan(&world.update_to(2)).await,
            Self::AddService => engine.plan(&world.add_service()).await,
            Self::Upgrade => engine.plan(&world.upgrade_to("2.0")).await,
            Self::Clone => {
                world.set_schema_change(SchemaChange::new(SchemaVerdict::NeedsWindow, "scripts"));
                engine.plan(&world.upgrade_to("2.0").with_window(Duration::from_secs(600))).await
            }
        }
    }
}

/// What a person does with a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Asks {
    /// Asks for the rollback.
    RollBack,
    /// Pauses it for so long.
    Pause {
        /// How long.
        lasts: Duration,
    },
    /// Stops it, and has the step at which it stopped tried again; where that is refused, resumes it.
    AbortAndRetry,
    /// Approves from then on whatever it waits for, so long after it is asked.
    Approve {
        /// How long after.
        within: Duration,
    },
}

/// One fault.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FaultAt {
    /// A node and its host are lost.
    Loss {
        /// When, after the run began.
        after: Duration,
        /// The node.
        node: String,
    },
    /// One more failure domain is lost, at the first moment from then on at which the cluster survives that.
    LossOnceSurvived {
        /// From when on, after the run began.
        after: Duration,
        /// A node of the domain.
        node: String,
    },
    /// A node that is lost comes back by itself, and its server starts.
    Return {
        /// When, after the run began.
        after: Duration,
        /// The node.
        node: String,
    },
    /// A balancer is restarted and has its configured state again.
    Forget {
        /// When, after the run began.
        after: Duration,
        /// The balancer.
        balancer: String,
    },
    /// The process of a balancer is killed: consumers come by the other. Some time later it may be there again, in its configured
    /// state.
    BalancerGone {
        /// When, after the run began.
        after: Duration,
        /// The balancer.
        balancer: String,
        /// How long it is gone; for good without.
        time: Option<Duration>,
    },
    /// A person asks something of the run, from a process of his own: no fault, and it may come together with one.
    Asked {
        /// When, after the run began.
        after: Duration,
        /// What.
        what: Asks,
    },
    /// The controller is killed; another one goes on when the lease has run out.
    Death {
        /// When, after the run began.
        after: Duration,
    },
    /// The call of this number (from 0) of an operation goes wrong.
    Call {
        /// The operation.
        operation: Operation,
        /// On which node or balancer.
        name: String,
        /// How many calls of it go well before.
        skip: usize,
        /// How.
        fault: Fault,
    },
}

impl FaultAt {
    /// Tells when a balancer has its configured state again, after the run began.
    pub(super) fn forgets_after(&self) -> Option<Duration> {
        match self {
            Self::Forget { after, .. } => Some(*after),
            Self::BalancerGone { after, time, .. } => time.map(|time| *after + time),
            Self::Loss { .. }
            | Self::LossOnceSurvived { .. }
            | Self::Return { .. }
            | Self::Asked { .. }
            | Self::Death { .. }
            | Self::Call { .. } => None,
        }
    }
}

impl Scenario {
    /// Makes the scenario of a seed, with so many faults.
    pub fn from_seed(seed: u64, faults: usize) -> Self {
        let mut random = Random::new(seed);
        let (mut shape, procedure) = shape(&mut random);
        // Drawn apart, so that a seed keeps its cluster and its faults.
        let mut pools = Random::new(seed ^ SECOND_POOL);
        if pools.once_in(3) {
            let serve = if pools.once_in(2) { shape.serve } else { 1 };
            shape.second_pool = u16::try_from(serve).ok();
        }
        let mut faults: Vec<FaultAt> = (0..faults).map(|_| fault(&mut random, &shape)).collect();
        let mut services = Random::new(seed ^ NEW_SERVICE);
        let adds = procedure == Procedure::Update && services.once_in(2);
        if adds {
            shape.exposure = true;
            for fault in &mut faults {
                if services.once_in(4) {
                    *fault = fault_of_exposure(&mut services);
                }
            }
        }
        let mut clones = Random::new(seed ^ CLONE);
        let cloned = procedure == Procedure::Upgrade && clones.once_in(2);
        if cloned {
            shape.clone = true;
            for fault in &mut faults {
                if clones.once_in(4) {
                    *fault = fault_of_clone(&mut clones);
                }
            }
        }
        // Drawn last, so that a seed keeps what else goes wrong.
        let mut fronts = Random::new(seed ^ FRONTS);
        // The second pool is behind the last of them alone.
        if shape.balancers > 1
            && shape.second_pool.is_none()
            && fronts.once_in(4)
            && let Some(fault) = faults.first_mut()
        {
            *fault = balancer_gone(&mut fronts, 26_000);
        }
        let procedure = match (adds, cloned) {
            (true, _) => Procedure::AddService,
            (_, true) => Procedure::Clone,
            (false, false) => procedure,
        };
        Self { shape, procedure, faults }
    }
}

const CLONE: u64 = 0x636c_6f6e;
pub(super) const FRONTS: u64 = 0x6672_6f6e;
const SECOND_POOL: u64 = 0x706f_6f6c;
const NEW_SERVICE: u64 = 0x6164_6473;
/// How a call fails.
pub(super) const FAULTS: [Fault; 5] = [Fault::Refused, Fault::LostBefore, Fault::LostAfter, Fault::Lies, Fault::Half];

/// Draws members that all serve.
pub(super) fn all_serve(random: &mut Random) -> Shape {
    let members = 2 + random.below(3);
    let capacity = [340, 400, 500, 750, 1000].get(random.below(5)).copied().unwrap_or(1000);
    Shape::active_active(members, capacity)
}

/// Draws what is around the members: spares, balancers, and whether the first pulls work.
pub(super) fn add_surroundings(random: &mut Random, shape: &mut Shape) {
    let own = shape.members.first().copied().unwrap_or(1000);
    let spares = random.below(3);
    shape.spares = (0..spares).map(|_| if random.once_in(5) { own / 2 } else { own }).collect();
    shape.balancers = 1 + random.below(2);
    shape.work = random.once_in(4);
}

fn shape(random: &mut Random) -> (Shape, Procedure) {
    let mut shape = if random.once_in(2) { Shape::active_passive() } else { all_serve(random) };
    add_surroundings(random, &mut shape);
    if shape.members.len() > 2 && random.once_in(6) {
        shape.together = vec![1];
    }
    let procedure = match random.below(4) {
        0 => {
            shape.files = true;
            Procedure::Update
        }
        1 => {
            shape.database = true;
            Procedure::Upgrade
        }
        2 => Procedure::PatchInTestDomain,
        _ => Procedure::Patch,
    };
    (shape, procedure)
}

fn fault(random: &mut Random, shape: &Shape) -> FaultAt {
    let nodes: Vec<String> = (1..=shape.members.len())
        .map(|number| format!("esb{number}"))
        .chain((1..=shape.spares.len()).map(|number| format!("spare{number}")))
        .collect();
    let balancers: Vec<String> = (1..=shape.balancers).map(|number| format!("lb{number}")).collect();
    let after = Duration::from_millis(u64::try_from(random.below(26_000)).unwrap_or(0));
    let node = random.pick(&nodes).cloned().unwrap_or_default();
    let balancer = random.pick(&balancers).cloned().unwrap_or_default();
    match random.below(6) {
        0 => FaultAt::Loss { after, node },
        1 => FaultAt::Forget { after, balancer },
        2 => FaultAt::Death { after },
        _ => {
            let operations = [
                (Operation::SetAdmin, balancer.clone()),
                (Operation::Start, node.clone()),
                (Operation::Stop, node.clone()),
                (Operation::Run, node.clone()),
                (Operation::Test, node.clone()),
                (Operation::Share, node.clone()),
                (Operation::Migrate, "database".into()),
                (Operation::Work, node),
            ];
            let (operation, name) = random.pick(&operations).cloned().unwrap_or((Operation::SetAdmin, balancer));
            let skip = random.below(if operation == Operation::SetAdmin { 20 } else { 4 });
            let fault = random.pick(&FAULTS).copied().unwrap_or(Fault::Refused);
            FaultAt::Call { operation, name, skip, fault }
        }
    }
}

/// The process of one of two balancers ends within so many milliseconds; half of the times it is there again some time later.
pub(super) fn balancer_gone(random: &mut Random, within: usize) -> FaultAt {
    let millis = |below: usize, random: &mut Random| Duration::from_millis(random.below(below) as u64);
    let after = millis(within, random);
    let time = random.once_in(2).then(|| millis(8_000, random));
    FaultAt::BalancerGone { after, balancer: format!("lb{}", 1 + random.below(2)), time }
}

/// A step of a clone that goes wrong, or a look at it.
fn fault_of_clone(random: &mut Random) -> FaultAt {
    let fault = random.pick(&FAULTS).copied().unwrap_or(Fault::Refused);
    let (operation, skip) =
        if random.once_in(4) { (Operation::Copies, random.below(40)) } else { (Operation::CloneStep, random.below(6)) };
    FaultAt::Call { operation, name: "database".into(), skip, fault }
}

/// A call of what exposes services that goes wrong: the first, or the one after it.
fn fault_of_exposure(random: &mut Random) -> FaultAt {
    let fault = random.pick(&FAULTS).copied().unwrap_or(Fault::Refused);
    let (operation, skip) =
        if random.once_in(3) { (Operation::Route, random.below(40)) } else { (Operation::Expose, random.below(2)) };
    FaultAt::Call { operation, name: "exposure".into(), skip, fault }
}
