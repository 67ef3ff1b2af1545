use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ha_core::backend::Admin;
use ha_core::state::{MemberKind, WriterEpoch};
use ha_core::topology::{BalancerIx, Pool};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::required::Required;
use crate::world::World;
use crate::world::model::{FakeMember, FakeNode, Inner};

/// A promise of the law that the world was seen to break.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Broken {
    /// When, after the watch began.
    pub at: Duration,
    /// What.
    pub what: String,
}

/// A sum of capacity that the law binds: of a pool on one balancer, as it serves, or without a failure domain.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Sum {
    pub(super) place: String,
    pub(super) domain: Option<String>,
}

/// A sum that was short of what is required.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Short {
    pub(super) sum: Sum,
    pub(super) has: u64,
    /// What is required of it after a loss.
    pub(super) after_loss: u64,
}

/// Something that was seen to be broken, with the sum that it is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    pub(super) at: Duration,
    pub(super) what: String,
    pub(super) short: Option<Short>,
}

impl From<Seen> for Broken {
    fn from(Seen { at, what, short: _ }: Seen) -> Self {
        Self { at, what }
    }
}

/// Watches a world from outside: what serves, what is tested, who writes. It knows no plan and no model.
#[derive(Debug)]
pub(super) struct Watch {
    found: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(10);

impl Watch {
    pub(super) fn start(world: World) -> Self {
        let found = Arc::new(Mutex::new(Vec::new()));
        let (began, told) = (Instant::now(), found.clone());
        let task = tokio::spawn(async move {
            loop {
                let seen = broken(&world);
                if !seen.is_empty() {
                    let at = began.elapsed();
                    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    told.extend(seen.into_iter().map(|(what, short)| Seen { at, what, short }));
                }
                sleep(INTERVAL).await;
            }
        });
        Self { found, task }
    }

    pub(super) fn end(self) -> Vec<Seen> {
        self.task.abort();
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Says in which pool less answers well, on the worst balancer, than has to be left after a loss.
pub(super) fn short_after_loss(world: &World) -> Option<String> {
    let inner = world.truth();
    world.topology().pools().find_map(|(_, pool)| {
        let there = pool.balancers.iter().filter(|balancer| is_there(world, &inner, **balancer));
        let has = there.map(|balancer| carried(world, &inner, pool, *balancer, None, &[])).min().unwrap_or(0);
        (has < Required::of(pool).after_loss).then(|| format!("capacity {has} is left in pool {}", pool.name))
    })
}

/// Tells whether consumers can come by a balancer.
fn is_there(world: &World, inner: &Inner, balancer: BalancerIx) -> bool {
    inner.balancers.contains_key(world.topology().balancer(balancer).name.as_str())
}

fn works(world: &World, inner: &Inner, node: &FakeNode) -> bool {
    let shared = (world.topology().files().is_some(), world.topology().database().is_some());
    node.is_ready() && !node.stopping && node.answers_well(shared, inner)
}

/// Adds up what a pool's members on one balancer carry, by HAProxy's rule; without a failure domain what could be admitted.
/// Members of `excluded` nodes are not counted.
fn carried(
    world: &World,
    inner: &Inner,
    pool: &Pool,
    balancer: BalancerIx,
    without: Option<&[String]>,
    excluded: &[String],
) -> u64 {
    let topology = world.topology();
    let on = inner.balancers.get(topology.balancer(balancer).name.as_str());
    let members: Vec<&FakeMember> =
        on.into_iter().flatten().filter(|member| member.pool == pool.backend.as_str()).collect();
    let usable = |member: &&&FakeMember| {
        let there = !without.is_some_and(|gone| gone.contains(&member.node)) && !excluded.contains(&member.node);
        // A reserve may be held out: it can be admitted. What is under change or never tested is none.
        let admitted = member.admin == Admin::Ready || without.is_some();
        let node = inner.nodes.get(&member.node);
        there && admitted && node.is_some_and(|node| works(world, inner, node) && node.is_tested())
    };
    let declared = topology.pools().find(|(_, declared)| declared.name == pool.name).map(|(index, _)| index);
    let of = |member: &&FakeMember| {
        let node = topology.nodes().find(|(_, node)| node.name.as_str() == member.node);
        let port = node.zip(declared).and_then(|((_, node), pool)| node.ports.iter().find(|port| port.pool == pool));
        port.map_or(0, |port| port.capacity)
    };
    let mut primaries = members.iter().filter(|member| member.kind == MemberKind::Primary).filter(usable).peekable();
    if primaries.peek().is_some() {
        return primaries.map(of).sum();
    }
    members.iter().filter(|member| member.kind == MemberKind::Backup).find(usable).map_or(0, of)
}

/// Adds up every sum that the law binds, without these nodes.
pub(super) fn sums(world: &World, excluded: &[String]) -> BTreeMap<Sum, u64> {
    let inner = world.truth();
    let all = all_sums(world, &inner, excluded).into_iter();
    all.map(|(_, sum, has)| (sum, has)).collect()
}

pub(super) fn all_sums<'a>(world: &'a World, inner: &Inner, excluded: &[String]) -> Vec<(&'a Pool, Sum, u64)> {
    let topology = world.topology();
    let mut all = Vec::new();
    let each = topology.pools().flat_map(|(_, pool)| pool.balancers.iter().map(move |one| (pool, *one)));
    for (pool, balancer) in each.filter(|(_, balancer)| is_there(world, inner, *balancer)) {
        let place = format!("{} on {}", pool.name, topology.balancer(balancer).name);
        let now = carried(world, inner, pool, balancer, None, excluded);
        all.push((pool, Sum { place: place.clone(), domain: None }, now));
        for domain in topology.domains() {
            let gone: Vec<String> =
                topology.nodes_of(domain).map(|node| topology.node(node).name.to_string()).collect();
            let left = carried(world, inner, pool, balancer, Some(&gone), excluded);
            let domain = Some(topology.domain_name(domain).to_string());
            all.push((pool, Sum { place: place.clone(), domain }, left));
        }
    }
    all
}

/// Lists what is broken.
pub(super) fn look(world: &World) -> Vec<String> {
    broken(world).into_iter().map(|(what, _)| what).collect()
}

fn broken(world: &World) -> Vec<(String, Option<Short>)> {
    let inner = world.truth();
    let mut broken = Vec::new();
    for (pool, sum, has) in all_sums(world, &inner, &[]) {
        let required = Required::of(pool);
        let (least, what) = match &sum.domain {
            None => (required.now, format!("I1 {}: capacity {has} serves, {} is required", sum.place, required.now)),
            Some(domain) => {
                let least = required.after_loss;
                (least, format!("I2 {} without {domain}: {has} is left, {least} is required", sum.place))
            }
        };
        if has < least {
            broken.push((what, Some(Short { sum, has, after_loss: required.after_loss })));
        }
    }
    for (name, members) in &inner.balancers {
        for member in members.iter().filter(|member| member.admin == Admin::Ready) {
            let Some(node) = inner.nodes.get(&member.node) else { continue };
            if node.is_ready() && !node.is_tested() {
                let what = format!("I6 {}: takes requests on {name} and has not passed its test", member.node);
                broken.push((what, None));
            }
            if node.is_ready() && inner.offers(name) && !node.has_service() {
                let what =
                    format!("I6 {}: takes requests on {name} and lacks the service that is offered there", member.node);
                broken.push((what, None));
            }
        }
    }
    let copies = inner.copies.copies();
    if copies.source.may_take_writes() && copies.clone.may_take_writes() {
        broken.push((format!("I4 writes are taken in two places: {copies}"), None));
    }
    let writers = inner.nodes.values().filter(|node| node.writer > WriterEpoch::default()).count();
    if writers > 1 {
        broken.push((format!("I3 {writers} nodes may write"), None));
    }
    broken
}
