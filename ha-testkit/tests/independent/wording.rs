//! Sections 3 and 4 of DESIGN.md, sentence by sentence.
//!
//! Two readings, where the sentences leave room. *Backup*: "or, where none is In, of the Ready Backup members": one of them
//! takes everything, and nobody can say which, so that the smallest counts. *Lost*: a member of a lost domain is excepted from
//! I4, I5 and I6: the fault took it, the balancer's own check keeps requests away, and no command of ours can reach it.

use super::model::{At, Cluster, Edge, Runs, State, Work};

/// What can be broken.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Rule {
    Now,
    OneMoreFailure,
    OneWriter,
    Schema,
    Sync,
    Tested,
    Drained,
    WayBack,
    Repaid,
    /// Our own commands lower no sum below the last quiet state's, less the lost domain's part.
    Lowered,
    /// What stays lost: the rest carries what is required after a loss.
    Settled,
    /// A balancer that forgets exposes what is under change, and no window says so.
    Undeclared,
    /// An action cannot be given where the plan gives it.
    Order,
}

/// The I1 sum of each pool, and its I2 sum without each domain.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Sums(Vec<u64>);

impl Sums {
    /// The smaller of each.
    pub(crate) fn least(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, other)| *one.min(other)).collect())
    }

    /// Whether any of them falls on the way from `before` to here, to below `floor`.
    pub(crate) fn falls(&self, before: &Self, floor: &Self) -> bool {
        self.0.iter().zip(&before.0).zip(&floor.0).any(|((now, before), floor)| now < before && now < floor)
    }
}

impl Cluster<'_> {
    /// "exposed(n) = In, Backup, Draining or Unknown on any balancer instance."
    pub(crate) fn is_exposed(&self, state: &State, node: usize) -> bool {
        self.nodes[node].seats.iter().any(|seat| state.seats[*seat] != At::Out)
    }

    pub(crate) fn is_lost(&self, state: &State, node: usize) -> bool {
        state.lost == Some(self.nodes[node].domain)
    }

    /// Ready, in production, tested, its schema range fits, and not lost.
    pub(crate) fn is_good(&self, state: &State, node: usize) -> bool {
        let stands = &state.nodes[node];
        stands.runs == Runs::Ready
            && !stands.in_test
            && stands.passed
            && !stands.changing
            && !self.is_lost(state, node)
            && self.fits_schema(state, node)
    }

    /// Whether a server that runs, or may run, has a release that cannot use the schema in a state.
    pub(crate) fn any_uses_less_than(&self, state: &State, schema: ha_core::state::Schema) -> bool {
        let then = State { schema, ..state.clone() };
        let nodes = state.nodes.iter().enumerate();
        nodes.filter(|(_, node)| !matches!(node.runs, Runs::Gone | Runs::Stopped)).any(|(index, _)| {
            let range = then.nodes[index].release.and_then(|release| self.facts.releases.schema(release));
            !range.is_some_and(|range| range.first <= schema && schema <= range.last)
        })
    }

    pub(crate) fn fits_schema(&self, state: &State, node: usize) -> bool {
        let schema = if self.uses_clone(state, node) { ha_core::state::Schema::Contracted } else { state.schema };
        let range = state.nodes[node].release.and_then(|release| self.facts.releases.schema(release));
        let fits = range.is_some_and(|range| range.first <= schema && schema <= range.last);
        !self.database || fits && self.uses_the_right_copy(state, node)
    }

    /// "serving(n) = In on all instances of all its pools and Ready."
    fn is_serving(&self, state: &State, node: usize) -> bool {
        let mut seats = self.nodes[node].seats.iter();
        self.is_good(state, node) && seats.all(|seat| state.seats[*seat] == At::Admitted && !self.seats[*seat].backup)
    }

    /// "reserve(n) = not under change, Ready, warm, tested, schema in range, able to be admitted at once": what is on its way
    /// out is not.
    fn is_reserve(&self, state: &State, node: usize) -> bool {
        let leaving = self.nodes[node].seats.iter().any(|seat| state.seats[*seat] == At::Draining);
        self.is_good(state, node) && state.nodes[node].warm && !leaving
    }

    /// "Capacity is, for each pool, the least over the balancer instances of the Ready members that are In there or, where none
    /// is In, of the Ready Backup members there; each counts times its warm-up factor."
    fn carried(&self, state: &State, pool: usize, counts: impl Fn(usize, usize) -> bool) -> u64 {
        let on = |balancer: &usize| {
            let (mut primary, mut backup) = (None, None::<u64>);
            for (index, seat) in self.seats.iter().enumerate() {
                if seat.pool != pool || seat.balancer != *balancer || !counts(index, seat.node) {
                    continue;
                }
                let share = if state.nodes[seat.node].warm { 1000 } else { self.nodes[seat.node].cold };
                let carries = seat.capacity * share / 1000;
                if seat.backup {
                    backup = Some(backup.map_or(carries, |least| least.min(carries)));
                } else {
                    primary = Some(primary.unwrap_or(0) + carries);
                }
            }
            primary.or(backup).unwrap_or(0)
        };
        self.pools[pool].balancers.iter().map(on).min().unwrap_or(0)
    }

    pub(crate) fn serves(&self, state: &State, pool: usize) -> u64 {
        self.carried(state, pool, |seat, node| state.seats[seat] == At::Admitted && self.is_good(state, node))
    }

    /// "capacity((serving + reserve) without d)"
    fn left_without(&self, state: &State, pool: usize, domain: usize) -> u64 {
        self.carried(state, pool, |_, node| {
            self.nodes[node].domain != domain
                && !self.is_lost(state, node)
                && (self.is_serving(state, node) || self.is_reserve(state, node))
        })
    }

    /// The sums that I1 and I2 speak of, less the part of a lost domain.
    pub(crate) fn sums(&self, state: &State) -> Sums {
        let pools = 0..self.pools.len();
        Sums(
            pools
                .flat_map(|pool| {
                    let domains = (0..self.domains).map(move |domain| self.left_without(state, pool, domain));
                    std::iter::once(self.serves(state, pool)).chain(domains)
                })
                .collect(),
        )
    }

    /// Everything that a quiet state breaks.
    pub(crate) fn quiet(&self, state: &State) -> Vec<Rule> {
        let mut broken = self.bound(state);
        for (index, pool) in self.pools.iter().enumerate() {
            if self.serves(state, index) < pool.now {
                broken.push(Rule::Now);
            }
            if (0..self.domains).any(|domain| self.left_without(state, index, domain) < pool.after_loss) {
                broken.push(Rule::OneMoreFailure);
            }
        }
        broken
    }

    /// "Settled: a domain stays lost. capacity(serving) >= survive_one x peak replaces I1."
    pub(crate) fn settled(&self, state: &State) -> Vec<Rule> {
        let mut broken = self.bound(state);
        broken.extend(self.short(state).then_some(Rule::Settled));
        broken
    }

    pub(crate) fn short(&self, state: &State) -> bool {
        self.pools.iter().enumerate().any(|(index, pool)| self.serves(state, index) < pool.after_loss)
    }

    /// I3 to I6: what binds our commands in every phase.
    pub(crate) fn bound(&self, state: &State) -> Vec<Rule> {
        let checks = [
            (self.one_writer(state), Rule::OneWriter),
            (state.two.writes_once() && self.schema(state), Rule::Schema),
            (self.sync(state), Rule::Sync),
            (self.tested(state), Rule::Tested),
        ];
        checks.into_iter().filter(|(holds, _)| !holds).map(|(_, rule)| rule).collect()
    }

    /// "I3: at most one node may write shared files, and its WriterEpoch is the highest any host has seen."
    pub(crate) fn one_writer(&self, state: &State) -> bool {
        let writers: Vec<u64> = state.nodes.iter().map(|node| node.writer).filter(|epoch| *epoch > 0).collect();
        writers.len() <= 1 && writers.iter().all(|epoch| *epoch >= state.epoch)
    }

    /// "I4: every node that is exposed, or Ready and not under change, has the schema's state in its range; releases exposed at
    /// once are pairwise compatible."
    fn schema(&self, state: &State) -> bool {
        let mut releases = Vec::new();
        for (index, node) in state.nodes.iter().enumerate().filter(|(index, _)| !self.is_lost(state, *index)) {
            let exposed = self.is_exposed(state, index);
            if (exposed || node.runs == Runs::Ready && !node.changing) && !self.fits_schema(state, index) {
                return false;
            }
            // A server that is not there answers nobody; that it is exposed is I6's matter.
            releases.extend(node.release.filter(|_| exposed && node.runs == Runs::Ready));
        }
        let beside = |one, other| self.facts.releases.may_serve_beside(one, other);
        releases.iter().all(|one| releases.iter().all(|other| beside(*one, *other)))
    }

    pub(crate) fn writer(&self, state: &State) -> Option<usize> {
        state.nodes.iter().position(|node| node.writer > 0)
    }

    /// "I5: an edge that is Active or Running and whose ends differ has the writer as its source, tested and of higher sequence,
    /// and a target that is not exposed."
    fn sync(&self, state: &State) -> bool {
        let Some(source) = self.writer(state) else { return true };
        let from = state.nodes[source];
        state.nodes.iter().enumerate().all(|(index, node)| {
            let same = node.files.is_some() && node.files == from.files;
            if index == source || node.edge != Edge::Open || same || self.is_lost(state, index) {
                return true;
            }
            let number = |files| self.facts.generations.sequence(files);
            let higher = match (from.files, node.files) {
                (Some(from), Some(to)) => number(from) > number(to),
                (from, _) => from.is_some(),
            };
            from.passed && !from.changing && higher && !self.is_exposed(state, index)
        })
    }

    /// "I6: every exposed node is Ready, in the Production domain, and has passed its gate after its last change."
    fn tested(&self, state: &State) -> bool {
        state.nodes.iter().enumerate().all(|(index, node)| {
            let good = node.runs == Runs::Ready && !node.in_test && node.passed && !node.changing;
            good || self.is_lost(state, index) || !self.is_exposed(state, index)
        })
    }

    /// "I7: no command stops a process with requests in flight or pulled work On."
    pub(crate) fn is_drained(&self, state: &State, node: usize) -> bool {
        let stands = state.nodes[node];
        let pulls = stands.runs == Runs::Ready && matches!(stands.work, Work::On | Work::Unknown);
        !self.is_exposed(state, node) && !pulls
    }

    /// "So a node under change must be unreachable by default (stopped with refused connections redispatched ...); where it
    /// cannot be, the plan carries DegradedWindow."
    pub(crate) fn is_reachable_under_change(&self, state: &State) -> bool {
        state.nodes.iter().enumerate().any(|(index, node)| {
            let good = node.runs == Runs::Ready && !node.in_test && node.passed && !node.changing;
            let refuses = matches!(node.runs, Runs::Stopped | Runs::Gone);
            !good && !refuses && self.is_exposed(state, index)
        })
    }

    /// "I11: the ledger is empty."
    pub(crate) fn is_repaid(&self, state: &State) -> bool {
        self.two_are_repaid(state) && state.nodes.iter().all(|node| node.loans == super::model::Loans::default())
    }
}
