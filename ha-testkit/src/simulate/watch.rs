use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ha_core::backend::Admin;
use ha_core::state::{RowKind, WriterEpoch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::owed::Owed;
use crate::world::World;
use crate::world::model::{FakeNode, FakeRow, Inner};

/// A promise of the law that the world was seen to break.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Broken {
    /// When, after the watch began.
    pub at: Duration,
    /// What.
    pub what: String,
}

/// Watches a world from outside: what serves, what is tested, who writes. It knows no plan and no model.
#[derive(Debug)]
pub(super) struct Watch {
    found: Arc<Mutex<Vec<Broken>>>,
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
                let seen = look(&world);
                if !seen.is_empty() {
                    let at = began.elapsed();
                    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    told.extend(seen.into_iter().map(|what| Broken { at, what }));
                }
                sleep(INTERVAL).await;
            }
        });
        Self { found, task }
    }

    pub(super) fn end(self) -> Vec<Broken> {
        self.task.abort();
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns the capacity that answers well on the worst balancer.
pub(super) fn serving(world: &World) -> u64 {
    let inner = world.truth();
    let capacity = capacities(world);
    inner.balancers.values().map(|rows| carried(world, &inner, rows, &capacity, None)).min().unwrap_or(0)
}

fn capacities(world: &World) -> BTreeMap<String, u64> {
    world.topology().nodes.iter().map(|node| (node.name.to_string(), node.capacity)).collect()
}

fn works(world: &World, inner: &Inner, node: &FakeNode) -> bool {
    let shared = (world.topology().files.is_some(), world.topology().database.is_some());
    node.is_ready() && !node.stopping && node.answers_well(shared, inner.schema)
}

fn carried(
    world: &World,
    inner: &Inner,
    rows: &[FakeRow],
    capacity: &BTreeMap<String, u64>,
    without: Option<&[String]>,
) -> u64 {
    let usable = |row: &&FakeRow| {
        let there = !without.is_some_and(|gone| gone.contains(&row.node));
        // A reserve may be held out: it can be admitted. What is under change or never tested is none.
        let admitted = row.admin == Admin::Ready || without.is_some();
        let node = inner.nodes.get(&row.node);
        there && admitted && node.is_some_and(|node| works(world, inner, node) && node.is_tested())
    };
    let of = |row: &FakeRow| capacity.get(&row.node).copied().unwrap_or(0);
    let mut primaries = rows.iter().filter(|row| row.kind == RowKind::Primary).filter(usable).peekable();
    if primaries.peek().is_some() {
        return primaries.map(of).sum();
    }
    rows.iter().filter(|row| row.kind == RowKind::Backup).find(usable).map_or(0, of)
}

pub(super) fn look(world: &World) -> Vec<String> {
    let inner = world.truth();
    let topology = world.topology();
    let (capacity, owed) = (capacities(world), Owed::of(topology));
    let mut broken = Vec::new();
    for (name, rows) in &inner.balancers {
        let has = carried(world, &inner, rows, &capacity, None);
        if has < owed.now {
            broken.push(format!("I1 {name}: capacity {has} serves, {} is owed", owed.now));
        }
        for domain in topology.domains() {
            let gone: Vec<String> =
                topology.nodes_of(domain).map(|node| topology.node(node).name.to_string()).collect();
            let left = carried(world, &inner, rows, &capacity, Some(&gone));
            if left < owed.after_loss {
                let name = &topology.domains[domain.index()];
                broken.push(format!("I2 without {name}: {left} is left, {} is owed", owed.after_loss));
            }
        }
        for row in rows.iter().filter(|row| row.admin == Admin::Ready) {
            let Some(node) = inner.nodes.get(&row.node) else { continue };
            if node.is_ready() && !node.is_tested() {
                broken.push(format!("I6 {}: takes requests on {name} and has not passed its test", row.node));
            }
        }
    }
    let writers = inner.nodes.values().filter(|node| node.writer > WriterEpoch::default()).count();
    if writers > 1 {
        broken.push(format!("I3 {writers} nodes may write"));
    }
    broken
}
