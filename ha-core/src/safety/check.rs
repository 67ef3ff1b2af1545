use super::explore::{ExploredState, Explorer};
use crate::law::{Invariant, Phase, Violation, consumers_wait, no_site_serves};
use crate::machine::{RunState, newly_lost, without_what_leaves};
use crate::plan::Degraded;
use crate::record::{End, Mode};
use crate::state::{ClusterState, Process, ServerDomain, Site};
use crate::topology::{PoolIx, SiteIx};

/// What the law asks of one explored state.
impl Explorer<'_> {
    pub(super) fn broken(&mut self, state: &ExploredState) -> Option<Violation> {
        let cluster = &state.run.cluster;
        if let Some(undeclared) = self.undeclared_wait(cluster) {
            return Some(undeclared);
        }
        let law = self.law;
        let is_required = |index: &PoolIx| law.requires(cluster, *index);
        match self.phase(state) {
            Phase::Quiet => {
                let pools = self.topology.pools().zip(&mut self.proof.pools);
                for ((index, pool), noted) in pools.filter(|((index, _), _)| is_required(index)) {
                    let (now, after) = (pool.required_now(), pool.required_after_loss());
                    let (capacity, worst) = (self.law.capacity(cluster, index), self.law.worst_loss(cluster, index));
                    let left = worst.map_or(after, |(left, _)| left);
                    if capacity < now || left < after {
                        return self.law.check(cluster, Phase::Quiet).err();
                    }
                    noted.now.note(capacity, now);
                    noted.one_more_failure.note(left, after);
                }
                if let Err(violation) = self.law.some_site(cluster, Invariant::Now) {
                    return Some(violation);
                }
                if let Err(violation) = self.law.bound(cluster) {
                    return Some(violation);
                }
            }
            Phase::Shaken => {
                if let Err(violation) = self.law.check(cluster, Phase::Shaken) {
                    return Some(violation);
                }
                let pools = self.topology.pools().zip(&mut self.proof.pools);
                for ((index, _), noted) in pools.filter(|((index, _), _)| is_required(index)) {
                    noted.note_shaken(self.law.capacity(cluster, index));
                }
                if let Some(undeclared) = self.undeclared_exposure(state) {
                    return Some(undeclared);
                }
            }
            Phase::Settled => {
                if let Err(violation) = self.law.check(cluster, Phase::Settled) {
                    return Some(violation);
                }
                let pools = self.topology.pools().zip(&mut self.proof.pools);
                for ((index, pool), noted) in pools.filter(|((index, _), _)| is_required(index)) {
                    noted.settled.note(self.law.capacity(cluster, index), pool.required_after_loss());
                }
            }
        }
        self.bad_end(state)
    }

    /// Says how a command that is given after a fault lowers what the fault has left. What is being taken out of traffic, as it
    /// was allowed to be before the fault, counts as out.
    pub(super) fn lowered(&self, before: &RunState, after: &RunState) -> Option<Violation> {
        let [was, is] = [before, after].map(|run| without_what_leaves(self.law, run));
        self.law.keeps(&before.targets.last_quiet(&was), &was, &is).err()
    }

    pub(super) fn phase(&self, state: &ExploredState) -> Phase {
        let (cluster, ended) = (&state.run.cluster, matches!(state.run.cursor.mode, Mode::Ended(_)));
        if newly_lost(self.plan, cluster).is_some() {
            return if ended { Phase::Settled } else { Phase::Shaken };
        }
        if !ended && state.run.targets.lost(cluster).next().is_some() {
            return Phase::Shaken;
        }
        self.law.phase_in(self.plan.phase, cluster)
    }

    /// A balancer that loses its runtime state may expose a node whose changed server runs untested: the plan has to say so. A
    /// stopped server refuses, and the balancer goes on to the next.
    fn undeclared_exposure(&mut self, state: &ExploredState) -> Option<Violation> {
        let cluster = &state.run.cluster;
        let untested = state.run.targets.lost(cluster).find(|index| {
            let node = cluster.node(*index);
            crate::law::is_exposed(cluster, *index)
                && node.process != Process::Stopped
                && node.process != Process::Absent
                && !(node.is_tested() && node.server_domain == ServerDomain::Production)
        })?;
        if self.uses_window(Degraded::ReloadExposure) {
            return None;
        }
        let name = &self.topology.node(untested).name;
        let facts =
            format!("a balancer that loses its runtime state sends requests to {name}, which is under change and runs");
        Some(Violation::new(Invariant::Tested, facts))
    }

    /// While consumers are led from one site to another they wait: the plan has to say so.
    fn undeclared_wait(&mut self, cluster: &ClusterState) -> Option<Violation> {
        let what = match (consumers_wait(cluster), no_site_serves(cluster)) {
            (true, _) => Degraded::ConsumersWait,
            (false, true) => Degraded::NoSite,
            (false, false) => return None,
        };
        let declared = self.uses_window(what);
        (!declared).then(|| Violation::new(Invariant::Now, format!("{what}, and the plan declares no window for it")))
    }

    /// Tells whether the plan declares a window, and notes that it is used.
    fn uses_window(&mut self, what: Degraded) -> bool {
        let declared = self.plan.windows.iter().find(|window| window.what == what);
        if let Some(window) = declared {
            self.proof.use_window(window);
        }
        declared.is_some()
    }

    /// An end must be what it is called: at the goal, or rolled back, with nothing open; the fault-free run reaches the goal, and
    /// the rollback the start.
    fn bad_end(&self, state: &ExploredState) -> Option<Violation> {
        let Mode::Ended(end) = state.run.cursor.mode else { return None };
        let untouched = state.faults_left == self.budget;
        match end {
            End::NeedsOperator(_) if state.back && untouched => {
                return Some(Violation::new(Invariant::Rollback, format!("the rollback without a fault {end}")));
            }
            End::NeedsOperator(_) if untouched => {
                return Some(Violation::new(Invariant::Repaid, format!("a run without a fault {end}")));
            }
            End::NeedsOperator(_) => return None,
            End::AllNew | End::AllOld => {}
        }
        if let Err(open) = self.law.repaid(&state.run.cluster) {
            return Some(open);
        }
        if end == End::AllOld && !state.back && untouched && !self.plan.goes_back() {
            return Some(Violation::new(Invariant::Order, "a run without a fault turns back and ends all old"));
        }
        let cluster = &state.run.cluster;
        if self.plan.phase != Phase::Quiet
            && let Err(violation) = self.law.settled(cluster)
        {
            return Some(violation);
        }
        let (wrong, invariant) = if end == End::AllNew {
            (self.not_new(cluster), Invariant::Repaid)
        } else {
            (self.not_old(cluster), Invariant::Rollback)
        };
        wrong.map(|facts| Violation::new(invariant, format!("the run ended {end}, and {facts}")))
    }

    fn not_new(&self, state: &ClusterState) -> Option<String> {
        let goal = self.plan.goal;
        if goal.schema.is_some_and(|schema| schema != state.schema) {
            return Some(format!("the schema is {}", state.schema));
        }
        if goal.exposure.is_some_and(|exposure| exposure != state.exposure) {
            return Some(format!("the route of the service is {}", state.exposure));
        }
        if let Some(site) = goal.site.filter(|site| !is_serving(state, *site)) {
            return Some(format!("site {} does not serve", self.topology.site(site).name));
        }
        for (index, node) in self.topology.members().filter(|(_, node)| !state.is_lost(node.domain)) {
            let node_state = state.node(index);
            if goal.release.is_some() && node_state.release != goal.release {
                return Some(format!("{} has another release", node.name));
            }
            if goal.generation.is_some() && node_state.generation != goal.generation {
                return Some(format!("{} has other files", node.name));
            }
        }
        None
    }

    fn not_old(&self, state: &ClusterState) -> Option<String> {
        if state.exposure != self.plan.start.exposure {
            return Some(format!("the route of the service is {}", state.exposure));
        }
        let mut sites = self.topology.sites.iter().zip(self.plan.start.sites.iter().zip(&state.sites));
        if let Some((site, _)) = sites.find(|(_, (was, is))| was.site == Site::Serving && is.site != Site::Serving) {
            return Some(format!("site {} does not serve", site.name));
        }
        for (index, node) in self.topology.members().filter(|(_, node)| !state.is_lost(node.domain)) {
            let Some(known) = self.plan.known_good.get(index.index()).copied().flatten() else { continue };
            let node_state = state.node(index);
            if node_state.release != Some(known.release) {
                return Some(format!("{} has another release", node.name));
            }
            if node_state.generation != Some(known.generation) {
                return Some(format!("{} has other files", node.name));
            }
        }
        None
    }
}

fn is_serving(state: &ClusterState, site: SiteIx) -> bool {
    state.sites.get(site.index()).is_some_and(|known| known.site == Site::Serving)
}
