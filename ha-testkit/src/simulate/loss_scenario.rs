use std::time::Duration;

use ha_core::topology::AfterLoss;

use super::scenario::{FAULTS, FRONTS, add_surroundings, all_serve, balancer_gone};
use super::{FaultAt, Random};
use crate::world::{Operation, Shape};

/// What is simulated: a cluster that loses a failure domain while no change runs, the procedure that follows, and what goes wrong
/// in that.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LossScenario {
    /// The cluster.
    pub shape: Shape,
    /// Whether the members that stand by are held out on the balancers; else they are backups.
    pub standby_held_out: bool,
    /// The members that are lost.
    pub lost: Vec<String>,
    /// Whether their hosts are lost too; else only their servers.
    pub with_host: bool,
    /// How the member comes back, where its return is what is simulated; else it is the outage.
    pub returns: Option<Return>,
    /// What goes wrong.
    pub faults: Vec<FaultAt>,
}

/// How a lost member is found when it comes back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Return {
    /// Its server is stopped.
    Stopped,
    /// Its server has started by itself.
    Running,
    /// Its server is stopped and has another release than the others.
    WithOtherRelease,
}

impl LossScenario {
    /// Makes the scenario of a seed for what follows a loss: the lost is held out, and what is left carries the load.
    pub fn outage(seed: u64, faults: usize) -> Self {
        Self::from_seed(seed, faults, false)
    }

    /// Makes the scenario of a seed for the return of what was lost.
    pub fn rejoin(seed: u64, faults: usize) -> Self {
        Self::from_seed(seed, faults, true)
    }

    fn from_seed(seed: u64, faults: usize, returns: bool) -> Self {
        let mut random = Random::new(seed);
        let shape = shape(&mut random);
        let standby_held_out = random.once_in(2);
        // Two of three times it is one that serves.
        let serves = if random.once_in(3) { shape.members.len() } else { shape.serve };
        let first = random.below(serves);
        let with_host = !random.once_in(3);
        let domain = |member: usize| (0..=member).rev().find(|index| !shape.together.contains(index));
        let all = 0..shape.members.len();
        // What shares a failure domain is lost together.
        let lost = all.filter(|member| domain(*member) == domain(first));
        let lost: Vec<String> = lost.map(|member| format!("esb{}", member + 1)).collect();
        let found = [Return::Stopped, Return::Running, Return::WithOtherRelease];
        let returns = random.pick(&found).copied().filter(|_| returns);
        let mut faults: Vec<FaultAt> = (0..faults).map(|_| fault(&mut random, &shape, &lost, returns)).collect();
        // Drawn last, so that a seed keeps what else goes wrong. The second pool is behind the last balancer alone.
        let mut fronts = Random::new(seed ^ FRONTS);
        if shape.balancers > 1
            && shape.second_pool.is_none()
            && fronts.once_in(4)
            && let Some(fault) = faults.first_mut()
        {
            *fault = balancer_gone(&mut fronts, 8_000);
        }
        Self { shape, standby_held_out, lost, with_host, returns, faults }
    }
}

fn shape(random: &mut Random) -> Shape {
    let mut shape = if random.once_in(2) {
        let mut shape = Shape::active_passive();
        if random.once_in(3) {
            shape.members = vec![1000; 3];
            shape.serve = 1 + random.below(2);
        }
        shape
    } else {
        all_serve(random)
    };
    add_surroundings(random, &mut shape);
    shape.files = random.once_in(5);
    if shape.members.len() > 2 && random.once_in(4) {
        shape.together = vec![1 + random.below(shape.members.len() - 1)];
    }
    if random.once_in(3) {
        let serve = if random.once_in(2) { shape.serve } else { 1 };
        shape.second_pool = u16::try_from(serve).ok();
    }
    if random.once_in(2) {
        shape.after_loss = AfterLoss::Finish;
    }
    shape
}

fn fault(random: &mut Random, shape: &Shape, lost: &[String], returns: Option<Return>) -> FaultAt {
    let members = (1..=shape.members.len()).map(|number| format!("esb{number}"));
    let spares = (1..=shape.spares.len()).map(|number| format!("spare{number}"));
    let nodes: Vec<String> = members.chain(spares).collect();
    let balancers: Vec<String> = (1..=shape.balancers).map(|number| format!("lb{number}")).collect();
    // Most runs are over after a few seconds, and many at once.
    let longest = [150, 2_500, 8_000].get(random.below(3)).copied().unwrap_or(150);
    let after = Duration::from_millis(u64::try_from(random.below(longest)).unwrap_or(0));
    let node = random.pick(&nodes).cloned().unwrap_or_default();
    let balancer = random.pick(&balancers).cloned().unwrap_or_default();
    match random.below(8) {
        0 => FaultAt::LossOnceSurvived { after, node },
        1 => FaultAt::Forget { after, balancer },
        2 | 3 => FaultAt::Death { after },
        4 if returns.is_none() => FaultAt::Return { after, node: random.pick(lost).cloned().unwrap_or_default() },
        _ => {
            // What comes back is started and tested; of the others mostly the spares are.
            let spares: Vec<&String> = nodes.iter().filter(|node| node.starts_with("spare")).collect();
            let started = match returns {
                Some(_) if !random.once_in(3) => lost.first(),
                _ => random.pick(&spares).copied(),
            };
            let started = started.cloned().unwrap_or(node);
            let operations = [
                (Operation::SetAdmin, balancer.clone()),
                (Operation::SetAdmin, balancer.clone()),
                (Operation::SetAdmin, balancer.clone()),
                (Operation::Start, started.clone()),
                (if returns.is_some() { Operation::Stop } else { Operation::Test }, started.clone()),
                (Operation::Test, started.clone()),
                (if returns == Some(Return::WithOtherRelease) { Operation::Run } else { Operation::Start }, started),
            ];
            let (operation, name) = random.pick(&operations).cloned().unwrap_or((Operation::SetAdmin, balancer));
            let skip = if operation == Operation::SetAdmin { random.below(4) } else { usize::from(random.once_in(4)) };
            FaultAt::Call { operation, name, skip, fault: random.pick(&FAULTS).copied().unwrap_or(FAULTS[0]) }
        }
    }
}
