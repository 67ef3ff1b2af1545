use std::collections::BTreeMap;
use std::time::Duration;

use ha_core::backend::{Admin, Weight};
use ha_core::state::RowKind;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::World;
use super::model::{FakeRow, Inner};

/// Simulated clients: one request over every balancer every 10 ms or as asked for, each of 30 ms, every 20th of 2 s.
#[derive(Debug)]
pub struct Clients {
    stop: watch::Sender<bool>,
    task: JoinHandle<Served>,
}

/// What the clients saw.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Served {
    /// Requests sent.
    pub sent: u64,
    /// Requests that got no whole answer.
    pub lost: u64,
    /// Whole answers by the release that gave them.
    pub by_release: BTreeMap<String, u64>,
    /// Why requests were lost, with their number.
    pub reasons: BTreeMap<String, u64>,
}

impl Clients {
    pub(super) fn start(world: World, pause: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut requests: JoinSet<Result<String, String>> = JoinSet::new();
            let mut served = Served::default();
            while !*stopped.borrow() {
                for balancer in world.topology().balancers.iter().map(|balancer| balancer.name.to_string()) {
                    served.sent += 1;
                    let long = served.sent.is_multiple_of(20);
                    requests.spawn(request(world.clone(), balancer, long));
                }
                while let Some(done) = requests.try_join_next() {
                    served.count(done.unwrap_or_else(|error| Err(error.to_string())));
                }
                sleep(pause).await;
            }
            while let Some(done) = requests.join_next().await {
                served.count(done.unwrap_or_else(|error| Err(error.to_string())));
            }
            served
        });
        Self { stop, task }
    }

    /// Sends no more, waits for what is under way, and returns what was seen.
    ///
    /// # Panics
    /// When the clients' task panicked.
    pub async fn stop(self) -> Served {
        let _ = self.stop.send(true);
        match self.task.await {
            Ok(served) => served,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Served {
    fn count(&mut self, answer: Result<String, String>) {
        match answer {
            Ok(release) => *self.by_release.entry(release).or_default() += 1,
            Err(reason) => {
                self.lost += 1;
                *self.reasons.entry(reason).or_default() += 1;
            }
        }
    }
}

async fn request(world: World, balancer: String, long: bool) -> Result<String, String> {
    let (node, life, release, cuts) = {
        let mut inner = world.lock();
        let node = choose(&inner, &balancer).ok_or("no usable server")?;
        let row = row(&mut inner, &balancer, &node).ok_or("no such row")?;
        row.in_flight += 1;
        let cuts = row.cuts;
        let shared = (world.topology().files.is_some(), world.topology().database.is_some());
        let schema = inner.schema;
        let fake = inner.nodes.get(&node).ok_or("no such node")?;
        let works = fake.is_ready() && !fake.stopping && fake.answers_well(shared, schema);
        match fake.process.as_ref().filter(|_| works) {
            Some(life) => (node.clone(), life.number, life.release.clone(), cuts),
            None => {
                let reason = format!("{node} was sent a request and did not serve");
                if let Some(row) = self::row(&mut inner, &balancer, &node) {
                    row.in_flight -= 1;
                }
                return Err(reason);
            }
        }
    };
    sleep(if long { Duration::from_secs(2) } else { Duration::from_millis(30) }).await;
    let mut inner = world.lock();
    let alive = inner.nodes.get(&node).and_then(|fake| fake.process.as_ref()).is_some_and(|now| now.number == life);
    if let Some(row) = row(&mut inner, &balancer, &node) {
        if row.cuts != cuts {
            return Err(format!("{node}'s sessions were closed by force"));
        }
        row.in_flight = row.in_flight.saturating_sub(1);
        row.idle = if row.admin == Admin::Maint { 0 } else { 1 };
    }
    if alive { Ok(release) } else { Err(format!("{node} went away with a request in flight")) }
}

/// Chooses as HAProxy does: the ready primaries in turn, and where none is usable the first usable backup.
fn choose(inner: &Inner, balancer: &str) -> Option<String> {
    let rows = inner.balancers.get(balancer)?;
    let checked_up = |row: &&FakeRow| {
        row.admin == Admin::Ready
            && row.weight > Weight::new(0)
            && inner.nodes.get(&row.node).is_some_and(super::model::FakeNode::is_ready)
    };
    let primary =
        rows.iter().filter(|row| row.kind == RowKind::Primary).filter(checked_up).min_by_key(|row| row.in_flight);
    let chosen = primary.or_else(|| rows.iter().filter(|row| row.kind == RowKind::Backup).find(checked_up));
    chosen.map(|row| row.node.clone())
}

fn row<'a>(inner: &'a mut Inner, balancer: &str, node: &str) -> Option<&'a mut FakeRow> {
    inner.balancers.get_mut(balancer)?.iter_mut().find(|row| row.node == node)
}
