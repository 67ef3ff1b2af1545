//! Random clusters and plans. A [`Sketch`] says everything that a case is made of, in a form that can be made smaller.

use std::time::Duration;

use ha_core::plan::{Draft, OnFailure, Plan, Stage};
use ha_core::procedure::{
    PatchRequest, PlanError, Procedure, ReleaseFacts, Snapshot, UpdateRequest, UpgradeRequest, plan,
};
use ha_core::state::{
    CloneFacts, ClusterState, Facts, Generation, MemberKind, MemberState, NodeState, Process, Releases, SchemaChange,
    SchemaRange, SchemaVerdict, Site, SiteEpoch, SiteState, Sync, Traffic, Work, WriterEpoch,
};
use ha_core::topology::{Component, Name, NodeSpec, Permille, Policy, PoolSpec, PortSpec, SiteRole, Topology};
use ha_testkit::simulate::{Random, mutants};

/// A cluster, and what is to be done to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Sketch {
    pub(crate) members: Vec<Host>,
    pub(crate) spares: Vec<Host>,
    pub(crate) balancers: usize,
    pub(crate) pools: Vec<Entry>,
    /// Whether there is a second data centre, with a stopped server.
    pub(crate) far: bool,
    pub(crate) soak: bool,
    pub(crate) change: Change,
    /// Whether the new release, or the new files, are declared to serve beside the old.
    pub(crate) beside: bool,
    /// The schema states that the new release can use, where they are not the usual ones.
    pub(crate) new_uses_old_schema: bool,
    /// The scripts break the old release: the database is cloned.
    pub(crate) breaking: bool,
    /// Which member writes the shared files.
    pub(crate) writer: usize,
}

/// A node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Host {
    /// Its capacity in each pool; 0 where it is not in it.
    pub(crate) capacity: Vec<u64>,
    pub(crate) rack: usize,
    pub(crate) cold: u16,
    pub(crate) work: bool,
    /// Whether it is entered as a backup.
    pub(crate) backup: bool,
    /// Whether a spare runs at rest.
    pub(crate) runs: bool,
}

/// A pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) serve: usize,
    pub(crate) peak: u64,
    pub(crate) now: u16,
    pub(crate) after_loss: Option<u16>,
    /// Whether it is behind the last balancer alone.
    pub(crate) last_balancer: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    Patch,
    PatchInTest,
    Update,
    Upgrade,
}

impl Entry {
    pub(crate) fn of(serve: usize) -> Self {
        Self { serve, peak: 1000, now: 1000, after_loss: None, last_balancer: false }
    }
}

impl Host {
    pub(crate) fn of(capacity: u64, rack: usize) -> Self {
        Self { capacity: vec![capacity], rack, cold: 1000, work: false, backup: false, runs: false }
    }
}

impl Sketch {
    /// A cluster of one pool that is patched.
    pub(crate) fn of(members: Vec<Host>, pool: Entry) -> Self {
        Self {
            members,
            spares: Vec::new(),
            balancers: 1,
            pools: vec![pool],
            far: false,
            soak: false,
            change: Change::Patch,
            beside: true,
            new_uses_old_schema: false,
            breaking: false,
            writer: 0,
        }
    }

    pub(crate) fn random(random: &mut Random) -> Self {
        let pools = 1 + usize::from(random.once_in(3));
        let balancers = 1 + usize::from(random.once_in(3));
        let count = 2 + random.below(3);
        let active_passive = random.once_in(2);
        let usual = random.pick(&[340, 500, 600, 750, 1000, 1000, 1000]).copied().unwrap_or(1000);
        let odd = random.once_in(3);
        let all_cold = random.once_in(6);
        let host = |random: &mut Random, rack: usize, spare: bool| {
            let capacity = |random: &mut Random| {
                let other = random.pick(&[100, 300, 600, 1000, 1500]).copied().unwrap_or(1000);
                if odd && random.once_in(2) { other } else { usual }
            };
            let mut capacity: Vec<u64> = (0..pools).map(|_| capacity(random)).collect();
            if pools > 1 && random.once_in(6) {
                capacity[random.below(pools)] = 0;
            }
            Host {
                capacity,
                rack,
                cold: if all_cold || random.once_in(8) { 500 } else { 1000 },
                work: !spare && random.once_in(6),
                backup: random.once_in(4),
                runs: spare && random.once_in(4),
            }
        };
        let mut rack = 0;
        let mut members = Vec::new();
        for _ in 0..count {
            rack += usize::from(!random.once_in(6));
            members.push(host(random, rack, false));
        }
        let spares = random.below(3);
        let spares = (0..spares)
            .map(|_| {
                rack += usize::from(!random.once_in(6));
                host(random, rack, true)
            })
            .collect();
        let pools = (0..pools)
            .map(|pool| Entry {
                serve: if active_passive { 1 + usize::from(random.once_in(5)) } else { count },
                peak: 1000,
                now: if random.once_in(4) { random.pick(&[100, 300, 500]).copied().unwrap_or(500) } else { 1000 },
                after_loss: random.once_in(4).then(|| random.pick(&[300, 500, 900]).copied().unwrap_or(500)),
                last_balancer: pool > 0 && random.once_in(2),
            })
            .collect();
        let change = match random.below(4) {
            0 => Change::Update,
            1 => Change::Upgrade,
            2 => Change::PatchInTest,
            _ => Change::Patch,
        };
        Self {
            writer: random.below(members.len()),
            members,
            spares,
            balancers,
            pools,
            far: random.once_in(8),
            soak: random.once_in(2),
            change,
            beside: !random.once_in(16),
            new_uses_old_schema: random.once_in(16),
            breaking: random.once_in(3),
        }
    }

    pub(crate) fn topology(&self) -> Option<Topology> {
        let fake = || Component::new(Name::new("fake").unwrap());
        let soak = Duration::from_secs(u64::from(self.soak) * 2);
        let mut builder = Topology::builder("orders").policy(Policy::default().with_soak(soak));
        for number in 1..=self.balancers {
            builder = builder.balancer(format!("lb{number}"), fake());
        }
        for (index, pool) in self.pools.iter().enumerate() {
            let serve = pool.serve.min(self.in_pool(index).count());
            let mut spec = PoolSpec::new(format!("pool{index}"), u16::try_from(serve).unwrap(), pool.peak)
                .with_serve_now(Permille::new(pool.now));
            if let Some(after) = pool.after_loss {
                spec = spec.with_survive_one(Permille::new(after));
            }
            if pool.last_balancer {
                spec = spec.with_balancers([format!("lb{}", self.balancers)]);
            }
            builder = builder.pool(spec);
        }
        if self.change == Change::Update {
            builder = builder.files(fake());
        }
        if self.change == Change::Upgrade {
            builder = builder.database(fake());
        }
        if self.far {
            builder = builder.site("here", SiteRole::Serving).site("far", SiteRole::Warm);
        }
        for (name, host, spare) in self.hosts() {
            let mut node = NodeSpec::new(name.clone(), 1, fake(), fake())
                .with_domain(format!("rack{}", host.rack))
                .with_warm_up(Permille::new(host.cold))
                .with_pools(
                    (0..self.pools.len()).filter(|pool| host.capacity[*pool] > 0).map(|pool| format!("pool{pool}")),
                );
            for (pool, capacity) in host.capacity.iter().enumerate().filter(|(_, capacity)| **capacity > 0) {
                let member = format!("{name}-{pool}");
                node =
                    node.with_port(PortSpec::new(format!("pool{pool}")).with_member(member).with_capacity(*capacity));
            }
            node = if host.work { node.with_work(fake()) } else { node };
            node = if self.far { node.with_site("here") } else { node };
            builder = builder.node(if spare { node.as_spare() } else { node });
        }
        if self.far {
            builder = builder.node(NodeSpec::new("away", 1000, fake(), fake()).with_site("far"));
        }
        builder.build().ok()
    }

    fn hosts(&self) -> impl Iterator<Item = (String, &Host, bool)> {
        let members = self.members.iter().enumerate().map(|(index, host)| (format!("esb{}", index + 1), host, false));
        members.chain(self.spares.iter().enumerate().map(|(index, host)| (format!("spare{}", index + 1), host, true)))
    }

    fn in_pool(&self, pool: usize) -> impl Iterator<Item = usize> + '_ {
        self.members.iter().enumerate().filter(move |(_, host)| host.capacity[pool] > 0).map(|(index, _)| index)
    }

    /// How the cluster stands: the first members of each pool serve, the others stand by.
    fn start(&self, topology: &Topology) -> (ClusterState, Facts) {
        let mut facts = Facts::new(Releases::default(), ha_core::state::Generations::default());
        let old = facts.releases.enter("1.0").unwrap();
        let files = facts.generations.enter(Generation::new(1, "one")).unwrap();
        let (mut nodes, mut members) = (Vec::new(), Vec::new());
        for (index, node) in topology.nodes() {
            let place = index.index();
            let host = self.members.iter().chain(&self.spares).nth(place);
            let runs = host.is_some_and(|host| host.runs || place < self.members.len());
            let mut state = NodeState::new(Process::Stopped, Some(old), ha_core::state::ReleaseSet::default());
            if runs {
                state.process = Process::Ready { warm: true };
                state.tested.insert(old);
            }
            if host.is_some_and(|host| host.work) {
                state.work = Work::On;
            }
            state.generation = Some(files);
            if topology.files().is_some() {
                let writes = place == self.writer.min(self.members.len() - 1);
                state.sync = if writes { Sync::None } else { Sync::Active };
                state.writer = WriterEpoch::new(u64::from(writes));
            }
            nodes.push(state);
            for (_, port, _) in topology.memberships(index) {
                let pool = port.pool.index();
                let rank = host.and_then(|_| self.in_pool(pool).position(|member| member == place));
                let serves = rank.is_some_and(|rank| rank < self.pools[pool].serve) && !node.spare;
                let backup = !serves && host.is_some_and(|host| host.backup);
                members.push(match (serves, backup, node.spare || rank.is_none()) {
                    (true, ..) => MemberState::new(MemberKind::Primary, Traffic::In),
                    (false, true, false) => MemberState::new(MemberKind::Backup, Traffic::Backup),
                    (false, true, true) => MemberState::new(MemberKind::Backup, Traffic::Out),
                    (false, false, _) => MemberState::new(MemberKind::Primary, Traffic::Out),
                });
            }
        }
        let mut state = ClusterState::new(topology, nodes, members);
        if self.far {
            let site = |site, epoch| SiteState::new(site, SiteEpoch::new(epoch));
            state.sites = vec![site(Site::Serving, 1), site(Site::Warm, 0)];
        }
        (state, facts)
    }

    fn request(&self) -> Box<dyn Procedure> {
        let script = |what: &str| vec![what.to_string()];
        let mut patch = PatchRequest::new("2.0", script("apply"), script("restore"));
        if self.beside {
            patch = patch.with_beside("1.0");
        }
        match self.change {
            Change::Patch => Box::new(patch),
            Change::PatchInTest => Box::new(patch.in_test_domain_first()),
            Change::Update => Box::new(UpdateRequest::new(Generation::new(2, "two"), script("deploy"))),
            Change::Upgrade => {
                let new = if self.new_uses_old_schema { SchemaRange::OLD } else { SchemaRange::NEW };
                let patch = patch
                    .with_facts(ReleaseFacts::new("1.0").with_schema(SchemaRange::OLD))
                    .with_facts(ReleaseFacts::new("2.0").with_schema(new));
                Box::new(UpgradeRequest::new(patch).with_window(std::time::Duration::from_secs(60)))
            }
        }
    }

    /// The planner's own plan: the one that it has proven, or the last that was refused.
    pub(crate) fn plan(&self) -> Option<(Topology, Plan)> {
        let topology = self.topology()?;
        let (mut state, mut facts) = self.start(&topology);
        if self.change == Change::Upgrade {
            let old = facts.releases.enter("1.0").unwrap();
            facts.releases.declare_schema(old, SchemaRange::OLD);
            let verdict = if self.breaking { SchemaVerdict::NeedsWindow } else { SchemaVerdict::Splittable };
            facts.schema_change = Some(SchemaChange::new(verdict, "scripts"));
            facts.clone = self.breaking.then(|| CloneFacts::new("jdbc:fake:clone"));
        }
        state.schema = ha_core::state::Schema::Base;
        match plan(&*self.request(), Snapshot::new(&topology, &state, &facts)) {
            Ok(planned) => Some((topology, planned.plan().clone())),
            Err(PlanError::Unprovable { plan, .. }) => Some((topology, *plan)),
            Err(_) => None,
        }
    }

    /// Sketches with one thing less.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            change(&mut next);
            if next != *self {
                all.push(next);
            }
        };
        for index in 0..self.spares.len() {
            add(&|sketch| drop(sketch.spares.remove(index)));
        }
        for index in 0..self.members.len() {
            add(&|sketch| drop(sketch.members.remove(index)));
        }
        if self.pools.len() > 1 {
            for pool in 0..self.pools.len() {
                add(&|sketch| {
                    sketch.pools.remove(pool);
                    sketch.members.iter_mut().chain(&mut sketch.spares).for_each(|host| {
                        host.capacity.remove(pool);
                    });
                });
            }
        }
        add(&|sketch| sketch.balancers = 1);
        add(&|sketch| sketch.far = false);
        add(&|sketch| sketch.soak = false);
        add(&|sketch| sketch.change = Change::Patch);
        add(&|sketch| sketch.beside = true);
        add(&|sketch| sketch.new_uses_old_schema = false);
        add(&|sketch| sketch.breaking = false);
        add(&|sketch| sketch.writer = 0);
        for pool in 0..self.pools.len() {
            add(&|sketch| (sketch.pools[pool].now, sketch.pools[pool].after_loss) = (1000, None));
            add(&|sketch| sketch.pools[pool].last_balancer = false);
        }
        for index in 0..self.members.len() + self.spares.len() {
            let mut each = |change: &dyn Fn(&mut Host)| {
                add(&|sketch| {
                    let host = sketch.members.iter_mut().chain(&mut sketch.spares).nth(index);
                    host.into_iter().for_each(change);
                });
            };
            each(&|host| host.cold = 1000);
            each(&|host| host.work = false);
            each(&|host| host.backup = false);
            each(&|host| host.runs = false);
            each(&|host| host.rack = 100 + index);
            each(&|host| host.capacity.iter_mut().for_each(|capacity| *capacity = 1000));
        }
        all
    }
}

/// Plans with one thing wrong, a few of them: steps and stages dropped, doubled, swapped, kept from a target; windows and the
/// point of no return moved.
pub(crate) fn mutated(plan: &Plan, random: &mut Random, count: usize) -> Vec<(String, Plan)> {
    let all = mutants(plan);
    let mut made = Vec::new();
    for _ in 0..count {
        let Some(mutant) = random.pick(&all) else { continue };
        if random.once_in(4) {
            let mut draft = Draft::from(plan.clone());
            let what = twist(&mut draft, random);
            made.push((what.into(), Plan::from(draft)));
        } else if random.once_in(6) {
            let again = mutants(&mutant.plan);
            let Some(second) = random.pick(&again) else { continue };
            made.push((format!("{}, {}", mutant.name, second.name), second.plan.clone()));
        } else {
            made.push((mutant.name.clone(), mutant.plan.clone()));
        }
    }
    made
}

/// Changes something that no step says by itself.
fn twist(draft: &mut Draft, random: &mut Random) -> &'static str {
    let stage = random.below(draft.stages.len());
    let step = random.below(draft.stages[stage].steps.len());
    match random.below(8) {
        0 => {
            draft.windows.clear();
            "no window declared"
        }
        1 => {
            draft.point_of_no_return += 1;
            "the point of no return later"
        }
        2 => {
            draft.point_of_no_return = draft.point_of_no_return.saturating_sub(1);
            "the point of no return earlier"
        }
        3 => {
            let steps = &mut draft.stages[stage].steps;
            steps[step] = steps[step].with_on_failure(OnFailure::Hold);
            "a step holds when it fails"
        }
        7 => {
            let steps = &mut draft.stages[stage].steps;
            steps[step] = steps[step].with_on_failure(OnFailure::Withdraw);
            "a step is withdrawn when it fails"
        }
        4 => {
            let steps = &mut draft.stages[stage].steps;
            steps[step] = steps[step].with_attempts(3);
            "a step is tried three times"
        }
        5 => {
            draft.stages[stage].nodes.reverse();
            "a wave in the other order"
        }
        _ => {
            let same = |at: usize| {
                let actions = |stage: &Stage| stage.steps.iter().map(|step| step.action).collect::<Vec<_>>();
                actions(&draft.stages[at]) == actions(&draft.stages[at + 1])
            };
            let Some(at) = (0..draft.stages.len() - 1).find(|at| same(*at)) else { return "nothing changed" };
            let second = draft.stages.remove(at + 1);
            draft.stages[at].nodes.extend(second.nodes);
            draft.point_of_no_return -= usize::from(at < draft.point_of_no_return);
            "two waves at once"
        }
    }
}

/// Plans with one stage or one step less.
pub(crate) fn shorter(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    for stage in (0..plan.stages().len()).rev() {
        let mut draft = Draft::from(plan.clone());
        draft.stages.remove(stage);
        draft.point_of_no_return -= usize::from(stage < draft.point_of_no_return);
        all.push(Plan::from(draft));
        let steps = plan.stages()[stage].steps.len();
        for step in (0..steps).rev().filter(|_| steps > 1) {
            let mut draft = Draft::from(plan.clone());
            draft.stages[stage].steps.remove(step);
            all.push(Plan::from(draft));
        }
    }
    all
}
