//! What binds while a failure domain stays lost, watched from outside: DESIGN.md, section 4, "shaken" and "settled".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ha_core::backend::Admin;
use ha_core::state::WriterEpoch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::required::Required;
use super::watch::{Seen, Short, all_sums};
use crate::world::World;

/// Watches what is done to a cluster that has lost something.
#[derive(Debug)]
pub(super) struct LossWatch {
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct LossSeen {
    /// What is broken, unless a fault of the run accounts for it.
    pub(super) broken: Vec<Seen>,
    /// When what is left first carried in every pool what is required after a loss.
    pub(super) settled_at: Option<Duration>,
}

#[derive(Debug)]
struct State {
    seen: LossSeen,
    /// The nodes that are lost.
    lost: Vec<String>,
    /// Those of them that were seen held out on every balancer.
    held_out: BTreeSet<String>,
    /// Whether nothing was short when the watch began: then a quiet state is required to the end.
    quiet: Option<bool>,
    /// Below what no command may bring: of what serves, and of what the worst loss more would leave.
    floors: BTreeMap<(String, bool), u64>,
}

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(10);

impl LossWatch {
    pub(super) fn start(world: World, lost: Vec<String>) -> Self {
        let state =
            State { seen: LossSeen::default(), lost, held_out: BTreeSet::new(), quiet: None, floors: BTreeMap::new() };
        let (state, began) = (Arc::new(Mutex::new(state)), Instant::now());
        let shared = state.clone();
        let task = tokio::spawn(async move {
            loop {
                shared.lock().unwrap_or_else(PoisonError::into_inner).look(&world, began.elapsed());
                sleep(INTERVAL).await;
            }
        });
        Self { state, task }
    }

    pub(super) fn end(self) -> LossSeen {
        self.task.abort();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }
}

impl State {
    fn look(&mut self, world: &World, at: Duration) {
        self.look_at_capacity(world, at);
        self.look_at_exposure(world, at);
    }

    fn look_at_capacity(&mut self, world: &World, at: Duration) {
        let inner = world.truth();
        // What serves at a place, and the least that is left there without a failure domain.
        let mut places: BTreeMap<(String, bool), (Short, Required)> = BTreeMap::new();
        for (pool, sum, has) in all_sums(world, &inner, &[]) {
            let required = Required::of(pool);
            let key = (sum.place.clone(), sum.domain.is_some());
            let short = Short { sum, has, after_loss: required.after_loss };
            let known = places.entry(key).or_insert_with(|| (short.clone(), required));
            if has < known.0.has {
                known.0 = short;
            }
        }
        drop(inner);
        let whole = |(_, reserve): &(String, bool), (short, required): &(Short, Required)| {
            short.has >= if *reserve { required.after_loss } else { required.now }
        };
        let quiet = *self.quiet.get_or_insert_with(|| places.iter().all(|(place, it)| whole(place, it)));
        let settled = places.iter().all(|((_, reserve), (short, _))| *reserve || short.has >= short.after_loss);
        if settled && self.seen.settled_at.is_none() {
            self.seen.settled_at = Some(at);
        }
        let is_settled = self.seen.settled_at.is_some();
        for (place, (short, required)) in places {
            let least = if quiet && !place.1 { required.now } else { required.after_loss };
            let known = self.floors.get(&place).copied();
            if let Some(floor) = known.filter(|floor| short.has < *floor) {
                let what = match &short.sum.domain {
                    None => format!("I1 {}: capacity {} serves, it was {floor}", place.0, short.has),
                    Some(domain) => {
                        format!("I2 {} without {domain}: {} is left, it was {floor}", place.0, short.has)
                    }
                };
                self.seen.broken.push(Seen { at, what, short: Some(short.clone()) });
            }
            // Until all carry what they must the floor is what the loss has left; then what was reached is kept.
            let reached = short.has.min(least);
            let floor = known.map_or(reached, |floor| if is_settled { floor.max(reached) } else { floor });
            self.floors.insert(place, floor);
        }
    }

    fn look_at_exposure(&mut self, world: &World, at: Duration) {
        let inner = world.truth();
        for node in &self.lost {
            let mut on = inner.balancers.values().flatten().filter(|member| member.node == *node);
            if on.all(|member| member.admin == Admin::Maint) {
                self.held_out.insert(node.clone());
            }
        }
        let mut broken = Vec::new();
        for (name, members) in &inner.balancers {
            for member in members.iter().filter(|member| member.admin != Admin::Maint) {
                let Some(node) = inner.nodes.get(&member.node) else { continue };
                let unknown = self.lost.contains(&member.node) && !self.held_out.contains(&member.node);
                if member.admin == Admin::Ready && node.is_ready() && !node.is_tested() && !unknown {
                    broken.push(format!("I6 {}: takes requests on {name} and has not passed its test", member.node));
                }
            }
        }
        let writers = inner.nodes.values().filter(|node| node.writer > WriterEpoch::default()).count();
        if writers > 1 {
            broken.push(format!("I3 {writers} nodes may write"));
        }
        drop(inner);
        self.seen.broken.extend(broken.into_iter().map(|what| Seen { at, what, short: None }));
    }
}
