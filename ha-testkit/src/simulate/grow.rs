//! Whole runs of what changes who the members are, and who writes for them: a hand-over, a node that is added, one that is retired.

use std::time::Duration;

use ha_core::backend::Admin;
use ha_core::engine::RunError;
use ha_core::plan::Plan;
use ha_core::procedure::{AddNodeRequest, HandOverRequest, PlanError, Procedure, RetireNodeRequest};
use ha_core::record::End;
use ha_core::state::{MemberKind, Sync, Work, WriterEpoch};
use ha_core::topology::Pool;
use tokio::time::sleep;

use super::blind::Before;
use super::required::Required;
use super::run::simulate_judged;
use super::scenario::{FAULTS, add_surroundings, all_serve};
use super::watch::{Sum, all_sums};
use super::{Asks, FaultAt, Outcome, Random};
use crate::world::{Controller, Operation, Shape, World};

/// What is simulated: a cluster whose members or whose writer change, and what goes wrong in that.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GrowScenario {
    /// The cluster.
    pub shape: Shape,
    /// Whether the members that stand by are held out on the balancers; else they are backups.
    pub standby_held_out: bool,
    /// What is done.
    pub procedure: Grow,
    /// To which member.
    pub node: String,
    /// Whether something is installed on the node that is added, and whether what is on the one that is retired stays.
    pub installed: bool,
    /// What goes wrong.
    pub faults: Vec<FaultAt>,
}

/// What changes the members.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Grow {
    /// The right to write shared files is handed to a member.
    HandOver,
    /// A declared node becomes a member.
    AddNode,
    /// A member is retired.
    RetireNode,
}

/// How a simulated change of the members went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Grown {
    /// The topology is refused.
    NoCluster(String),
    /// There is no plan.
    Refused {
        /// Why.
        why: String,
        /// Why that is not true; `None` where it is.
        untrue: Option<String>,
    },
    /// The plan was proven, and ran.
    Ran(Outcome),
}

impl GrowScenario {
    /// Makes the scenario of a seed, with so many faults.
    pub fn from_seed(seed: u64, procedure: Grow, faults: usize) -> Self {
        let mut random = Random::new(seed);
        let mut shape = shape(&mut random, procedure);
        let standby_held_out = random.once_in(2);
        let node = match procedure {
            Grow::AddNode => shape.members.len(),
            Grow::HandOver | Grow::RetireNode => 1 + random.below(shape.members.len()),
        };
        // It is in a domain of its own: what is lost with it is not what this is about.
        shape.together.clear();
        let installed = random.once_in(2);
        let node = format!("esb{node}");
        let faults = (0..faults).map(|_| fault(&mut random, &shape, &node, procedure)).collect();
        Self { shape, standby_held_out, procedure, node, installed, faults }
    }

    /// Puts the world into the state that it is about.
    fn set_up(&self, world: &World) {
        let stands_by = |number: usize| number > self.shape.serve;
        for number in (1..=self.shape.members.len()).filter(|number| self.standby_held_out && stands_by(*number)) {
            world.configure(&format!("esb{number}"), MemberKind::Backup, Admin::Maint);
        }
        if self.procedure == Grow::AddNode {
            if self.shape.files {
                world.let_write("esb1");
            }
            if self.installed { world.not_added(&self.node) } else { world.not_installed(&self.node) }
        }
        if self.shape.second_puller {
            world.with_node("esb2", |node| node.work = Work::Off);
        }
    }

    fn request(&self) -> Box<dyn Procedure> {
        match self.procedure {
            Grow::HandOver => Box::new(HandOverRequest::to(&self.node)),
            Grow::AddNode => Box::new(AddNodeRequest::of(&self.node)),
            Grow::RetireNode if self.installed || !self.shape.provision => Box::new(RetireNodeRequest::of(&self.node)),
            Grow::RetireNode => Box::new(RetireNodeRequest::of(&self.node).and_remove()),
        }
    }

    /// Says why a refusal is not true: what is left without the node carries what is required, and nothing else is in the way.
    fn untrue_refusal(&self, world: &World, error: &RunError) -> Option<String> {
        let RunError::Plan { source, .. } = error else { return Some("it is refused for no reason of a plan".into()) };
        match (self.procedure, source) {
            (Grow::HandOver, PlanError::AlreadySo { .. }) => None,
            (Grow::RetireNode, PlanError::NotReady { .. }) if self.shape.work && self.node == "esb1" => None,
            (Grow::RetireNode, PlanError::Unprovable { .. }) => {
                let carries = !is_short(world, std::slice::from_ref(&self.node));
                carries.then(|| "what is left carries what is required".into())
            }
            _ => Some("nothing is in the way".into()),
        }
    }

    /// Lists what is not as the end says.
    fn untrue_end(&self, world: &World, before: &Before, plan: &Plan, end: End) -> Vec<String> {
        if end != End::AllNew {
            return before.untrue(world, plan, end);
        }
        let inner = world.truth();
        let mut untrue = Vec::new();
        let mut demand = |holds: bool, what: &str| {
            if !holds {
                untrue.push(format!("{} {what}", self.node));
            }
        };
        let Some(node) = inner.nodes.get(&self.node) else { return vec!["there is no such node".into()] };
        let mut on = inner.balancers.values().flatten().filter(|member| member.node == self.node);
        let writes = |node: &crate::world::model::FakeNode| node.writer > WriterEpoch::default();
        match self.procedure {
            Grow::HandOver => demand(writes(node), "does not write"),
            Grow::AddNode => {
                demand(node.is_ready() && node.is_tested(), "is not ready and tested");
                let same = !node.absent && !node.damaged && node.configuration == "c1" && node.installed == "1.0";
                demand(same, "is not what the members are");
                demand(!self.shape.files || (node.sync == Sync::Active && node.generation.is_some()), "has no files");
            }
            Grow::RetireNode => {
                demand(node.process.is_none(), "runs");
                // A balancer that loses its state after the run, or as it ends, has what is configured.
                let forgets = |fault: &FaultAt| matches!(fault, FaultAt::Forget { .. });
                let forgotten = self.faults.iter().any(forgets);
                demand(forgotten || on.all(|member| member.admin == Admin::Maint), "is not held out");
                demand(!writes(node) && matches!(node.sync, Sync::Held | Sync::None), "takes part in file sharing");
                demand(node.work != Work::On, "pulls work");
                demand(self.installed || !self.shape.provision || node.absent, "is still installed");
            }
        }
        if self.shape.files && inner.nodes.values().filter(|node| writes(node)).count() != 1 {
            untrue.push("nobody writes".into());
        }
        let held = |(name, node): (&String, &crate::world::model::FakeNode)| {
            (node.sync == Sync::Held && *name != self.node).then(|| format!("the file sync into {name} is held"))
        };
        untrue.extend(inner.nodes.iter().filter_map(held));
        untrue
    }
}

/// Tells whether a cluster lacks anything that is required, without these nodes.
fn is_short(world: &World, without: &[String]) -> bool {
    let inner = world.truth();
    let short = |(pool, sum, has): &(&Pool, Sum, u64)| {
        let required = Required::of(pool);
        *has < if sum.domain.is_none() { required.now } else { required.after_loss }
    };
    all_sums(world, &inner, without).iter().any(short)
}

fn shape(random: &mut Random, procedure: Grow) -> Shape {
    let mut shape = if random.once_in(2) {
        let mut shape = Shape::active_passive();
        shape.members = vec![1000; 2 + random.below(3)];
        shape.serve = 1 + random.below(shape.members.len() - 1);
        shape
    } else {
        let mut shape = all_serve(random);
        // One more than the least, that one can be missed.
        let capacity = shape.members.first().copied().unwrap_or(1000);
        shape.members.push(capacity);
        shape.serve += 1;
        shape
    };
    add_surroundings(random, &mut shape);
    shape.files = procedure == Grow::HandOver || random.once_in(2);
    shape.provision = procedure == Grow::AddNode || random.once_in(2);
    shape.second_puller = shape.work && procedure == Grow::RetireNode && random.once_in(2);
    if random.once_in(3) {
        let serve = if random.once_in(2) { shape.serve } else { 1 };
        shape.second_pool = u16::try_from(serve).ok();
    }
    shape
}

fn fault(random: &mut Random, shape: &Shape, node: &str, procedure: Grow) -> FaultAt {
    let nodes: Vec<String> = (1..=shape.members.len()).map(|number| format!("esb{number}")).collect();
    let balancers: Vec<String> = (1..=shape.balancers).map(|number| format!("lb{number}")).collect();
    // As long as each of them takes, about.
    let longest = match procedure {
        Grow::HandOver => 150,
        Grow::RetireNode => 700,
        Grow::AddNode => [1_500, 6_000].get(random.below(2)).copied().unwrap_or(0),
    };
    let after = Duration::from_millis(u64::try_from(random.below(longest)).unwrap_or(0));
    let any = random.pick(&nodes).cloned().unwrap_or_default();
    let balancer = random.pick(&balancers).cloned().unwrap_or_default();
    match random.below(8) {
        0 => FaultAt::Loss { after, node: any },
        1 => FaultAt::Forget { after, balancer },
        2 => FaultAt::Death { after },
        3 => FaultAt::Asked { after, what: Asks::RollBack },
        _ => {
            let of_node = |operation| (operation, node.to_string());
            let mut operations = Vec::new();
            if shape.files {
                operations.extend([(Operation::Share, any), of_node(Operation::Share)]);
            }
            match procedure {
                Grow::HandOver => {}
                Grow::AddNode => operations.extend([
                    (Operation::SetAdmin, balancer),
                    of_node(Operation::Provision),
                    of_node(Operation::Provision),
                    of_node(Operation::Installation),
                    of_node(Operation::Start),
                    of_node(Operation::Test),
                ]),
                Grow::RetireNode => {
                    operations.extend([(Operation::SetAdmin, balancer), of_node(Operation::Stop)]);
                    if shape.provision {
                        operations.extend([of_node(Operation::Provision), of_node(Operation::Installation)]);
                    }
                    if shape.work {
                        operations.extend([(Operation::Work, "esb1".into()), (Operation::Work, "esb2".into())]);
                    }
                }
            }
            let (operation, name) = random.pick(&operations).cloned().unwrap_or_else(|| of_node(Operation::Share));
            let skip = if operation == Operation::SetAdmin { random.below(4) } else { random.below(2) };
            FaultAt::Call { operation, name, skip, fault: random.pick(&FAULTS).copied().unwrap_or(FAULTS[0]) }
        }
    }
}

/// Runs a scenario. Call it inside a paused tokio runtime.
///
/// # Examples
///
/// ```
/// use ha_testkit::simulate::{Grow, GrowScenario, Grown, Outcome, simulate_grow};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// // The cluster of seed 7, a node that is added to it, and one fault.
/// if let Grown::Ran(Outcome::Ran { broken, .. }) = simulate_grow(&GrowScenario::from_seed(7, Grow::AddNode, 1)).await {
///     assert_eq!(broken, []);
/// }
/// # });
/// ```
pub async fn simulate_grow(scenario: &GrowScenario) -> Grown {
    let world = match scenario.shape.world() {
        Ok(world) => world,
        Err(error) => return Grown::NoCluster(error.to_string()),
    };
    scenario.set_up(&world);
    sleep(Duration::from_secs(1)).await;
    let planned = match world.engine().plan(&*scenario.request()).await {
        Ok(planned) => planned,
        Err(error) => {
            return Grown::Refused { untrue: scenario.untrue_refusal(&world, &error), why: error.to_string() };
        }
    };
    let untrue = |world: &World, before: &Before, plan: &Plan, end: End| scenario.untrue_end(world, before, plan, end);
    // A cluster that is short before the node is added promises nothing for a loss.
    let may_lose = !is_short(&world, &[]);
    let is_due = |fault: &&FaultAt| may_lose || !matches!(fault, FaultAt::Loss { .. });
    let faults: Vec<FaultAt> = scenario.faults.iter().filter(is_due).cloned().collect();
    let controller = Controller::new();
    Grown::Ran(simulate_judged(&world, planned, &faults, &controller, &async |_| {}, &untrue).await)
}
