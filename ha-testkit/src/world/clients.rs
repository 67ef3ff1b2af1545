use std::collections::BTreeMap;
use std::time::Duration;

use ha_core::backend::{Admin, Consumers, Weight};
use ha_core::state::MemberKind;
use ha_core::topology::{Pool, SiteIx, Topology};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::World;
use super::model::{FakeMember, Inner};

/// Simulated clients: one request in every pool over every balancer of it every 10 ms or as asked for, each of 30 ms, every 20th of 2 s.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_testkit::world::World;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let clients = World::active_passive().clients();
/// tokio::time::sleep(Duration::from_secs(10)).await;
/// let served = clients.stop().await;
/// assert_eq!((served.lost, served.by_release.contains_key("1.0")), (0, true));
/// # });
/// ```
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
    /// Whole answers by the site that gave them, where there are several.
    pub by_site: BTreeMap<String, u64>,
    /// Why requests were lost, with their number.
    pub reasons: BTreeMap<String, u64>,
    /// When the first and the last of the lost requests were sent, after the clients began.
    pub lost_between: Option<(Duration, Duration)>,
    /// The same figures by the pool.
    pub pools: BTreeMap<String, PoolServed>,
}

/// What the clients of one pool saw.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PoolServed {
    /// Requests sent.
    pub sent: u64,
    /// Requests that got no whole answer.
    pub lost: u64,
}

type Answer = (String, Duration, Result<AnsweredBy, String>);

/// Where an answer is from.
struct AnsweredBy {
    release: String,
    site: Option<String>,
}

/// Which of a site's pools a request is for, and over which of the balancers in front of that pool it comes.
#[derive(Clone, Copy)]
struct Entrance {
    pool: usize,
    balancer: usize,
}

/// How long a client waits for an answer while consumers are held.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a request that is held is tried.
const TRY_AGAIN: Duration = Duration::from_millis(5);

impl Clients {
    /// Sends to one site, or where consumers are led.
    pub(super) fn start(world: World, pause: Duration, site: Option<String>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut requests: JoinSet<Answer> = JoinSet::new();
            let (mut served, began) = (Served::default(), Instant::now());
            while !*stopped.borrow() {
                for (pool, entrance) in entrances(&world) {
                    served.sent += 1;
                    served.pools.entry(pool.clone()).or_default().sent += 1;
                    let (long, world, sent) = (served.sent.is_multiple_of(20), world.clone(), began.elapsed());
                    let site = site.clone();
                    requests.spawn(async move { (pool, sent, answered(world, entrance, site, long).await) });
                }
                while let Some(done) = requests.try_join_next() {
                    served.count(done.unwrap_or_else(|error| (String::new(), Duration::ZERO, Err(error.to_string()))));
                }
                sleep(pause).await;
            }
            while let Some(done) = requests.join_next().await {
                served.count(done.unwrap_or_else(|error| (String::new(), Duration::ZERO, Err(error.to_string()))));
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
    fn count(&mut self, (pool, sent, answer): Answer) {
        match answer {
            Ok(AnsweredBy { release, site }) => {
                *self.by_release.entry(release).or_default() += 1;
                if let Some(site) = site {
                    *self.by_site.entry(site).or_default() += 1;
                }
            }
            Err(reason) => {
                self.lost += 1;
                let (first, last) = self.lost_between.unwrap_or((sent, sent));
                self.lost_between = Some((first.min(sent), last.max(sent)));
                self.pools.entry(pool).or_default().lost += 1;
                *self.reasons.entry(reason).or_default() += 1;
            }
        }
    }
}

/// Lists where requests come in: each pool of the site that serves at rest, and each balancer in front of it.
fn entrances(world: &World) -> Vec<(String, Entrance)> {
    let topology = world.topology();
    let at = |(number, pool): (usize, &Pool)| {
        let name = pool.name.to_string();
        let fronts = 0..pool.balancers.len();
        fronts.map(|balancer| (name.clone(), Entrance { pool: number, balancer })).collect::<Vec<_>>()
    };
    pools_of(topology, topology.home()).enumerate().flat_map(at).collect()
}

fn pools_of(topology: &Topology, site: Option<SiteIx>) -> impl Iterator<Item = &Pool> {
    topology.pools().map(|(_, pool)| pool).filter(move |pool| pool.site == site)
}

impl Entrance {
    /// Names the balancer in a site, and what it calls the pool.
    fn of(self, topology: &Topology, site: Option<SiteIx>) -> Option<(String, String)> {
        let pool = pools_of(topology, site).nth(self.pool)?;
        let balancer = pool.balancers.get(self.balancer % pool.balancers.len().max(1))?;
        Some((topology.balancer(*balancer).name.to_string(), pool.backend.to_string()))
    }
}

/// Sends a request to the site that it is for, once it is let through to it.
async fn answered(world: World, entrance: Entrance, only: Option<String>, long: bool) -> Result<AnsweredBy, String> {
    let Some(home) = world.topology().home() else {
        let (balancer, backend) = entrance.of(world.topology(), None).ok_or("no such entrance")?;
        let release = request(&world, balancer, backend, long).await?;
        return Ok(AnsweredBy { release, site: None });
    };
    let led = only.is_none();
    let site = match only {
        Some(site) => site,
        None if world.topology().switch().is_some() => let_through(&world).await?,
        None => world.topology().site(home).name.to_string(),
    };
    let answer = in_site(&world, entrance, &site, long).await;
    if led && let Some(fake) = world.lock().sites.sites.get_mut(&site) {
        fake.in_progress = fake.in_progress.saturating_sub(1);
    }
    answer.map(|release| AnsweredBy { release, site: Some(site) })
}

/// Waits until consumers are led to a site, and counts a request in progress in it.
async fn let_through(world: &World) -> Result<String, String> {
    let began = Instant::now();
    loop {
        {
            let mut inner = world.lock();
            match inner.sites.running.clone() {
                Consumers::To(site) => {
                    inner.sites.sites.get_mut(&site).ok_or("no such site")?.in_progress += 1;
                    return Ok(site);
                }
                Consumers::Nowhere => return Err("consumers are led nowhere".into()),
                _ => {}
            }
        }
        if began.elapsed() >= PATIENCE {
            return Err("consumers were held for too long".into());
        }
        sleep(TRY_AGAIN).await;
    }
}

/// Sends a request to a site: it is a write, which its copy of the database takes before it is answered.
async fn in_site(world: &World, entrance: Entrance, site: &str, long: bool) -> Result<String, String> {
    let (balancer, backend) =
        entrance.of(world.topology(), world.topology().find_site(site)).ok_or("no such entrance")?;
    if let Some(why) = world.closed(site) {
        return Err(why);
    }
    let release = request(world, balancer, backend, long).await?;
    world.lock().write_in(site, Instant::now())?;
    world.send_log(site);
    Ok(release)
}

async fn request(world: &World, balancer: String, pool: String, long: bool) -> Result<String, String> {
    let ((member, node, life, release, cuts), balancer, kills) = {
        let mut inner = world.lock();
        // A client that cannot connect to a balancer goes to another one.
        let balancer = there(world, &inner, balancer, &pool);
        let kills = inner.kills.get(&balancer).copied();
        let member = choose(&inner, &balancer, &pool).ok_or("no usable server")?;
        let fake = find_member(&mut inner, &balancer, &pool, &member).ok_or("no such member")?;
        let node = fake.node.clone();
        fake.in_flight += 1;
        fake.counters.0 += 1;
        let cuts = fake.cuts;
        let shared = (world.topology().files().is_some(), world.topology().database().is_some());
        // Once the new service is offered, every request asks for it too.
        let offers = inner.offers(&balancer);
        let fake = inner.nodes.get(&node).ok_or("no such node")?;
        let works =
            fake.is_ready() && !fake.stopping && fake.answers_well(shared, &inner) && (!offers || fake.has_service());
        match fake.process.as_ref().filter(|_| works) {
            Some(life) => ((member, node.clone(), life.number, life.release.clone(), cuts), balancer, kills),
            None => {
                let reason = format!("{node} was sent a request and did not serve");
                if let Some(fake) = find_member(&mut inner, &balancer, &pool, &member) {
                    fake.in_flight -= 1;
                    fake.counters.1 += 1;
                }
                return Err(reason);
            }
        }
    };
    sleep(if long { Duration::from_secs(2) } else { Duration::from_millis(30) }).await;
    let mut inner = world.lock();
    if inner.kills.get(&balancer).copied() != kills {
        return Err(format!("{balancer} went away with a request in flight"));
    }
    let alive = inner.nodes.get(&node).and_then(|fake| fake.process.as_ref()).is_some_and(|now| now.number == life);
    if let Some(fake) = find_member(&mut inner, &balancer, &pool, &member) {
        if fake.cuts != cuts || !alive {
            fake.counters.1 += 1;
        }
        if fake.cuts != cuts {
            return Err(format!("{node}'s sessions were closed by force"));
        }
        fake.in_flight = fake.in_flight.saturating_sub(1);
        fake.idle = if fake.admin == Admin::Maint { 0 } else { 1 };
    }
    if alive { Ok(release) } else { Err(format!("{node} went away with a request in flight")) }
}

/// Returns the balancer, or one beside it in front of the pool where it is gone.
fn there(world: &World, inner: &Inner, balancer: String, pool: &str) -> String {
    let is_there = |name: &str| inner.balancers.contains_key(name);
    if is_there(&balancer) {
        return balancer;
    }
    let topology = world.topology();
    let of_pool = |(_, declared): &(_, &Pool)| declared.backend.as_str() == pool;
    let beside = topology.pools().filter(of_pool).flat_map(|(_, declared)| &declared.balancers);
    let mut names = beside.map(|one| topology.balancer(*one).name.to_string());
    names.find(|name| is_there(name)).unwrap_or(balancer)
}

/// Chooses a member of a pool as HAProxy does: the ready primaries in turn, and where none is usable the first usable
/// backup.
pub(crate) fn choose(inner: &Inner, balancer: &str, pool: &str) -> Option<String> {
    let members = inner.balancers.get(balancer)?.iter().filter(|fake| fake.pool == pool);
    let checked_up = |fake: &&FakeMember| {
        fake.admin == Admin::Ready
            && fake.weight > Weight::new(0)
            && inner.nodes.get(&fake.node).is_some_and(super::model::FakeNode::is_ready)
    };
    let usable: Vec<&FakeMember> = members.filter(checked_up).collect();
    let primary = usable.iter().filter(|fake| fake.kind == MemberKind::Primary).min_by_key(|fake| fake.in_flight);
    let chosen = primary.or_else(|| usable.iter().find(|fake| fake.kind == MemberKind::Backup));
    chosen.map(|fake| fake.member.clone())
}

pub(crate) fn find_member<'a>(
    inner: &'a mut Inner,
    balancer: &str,
    pool: &str,
    member: &str,
) -> Option<&'a mut FakeMember> {
    inner.balancers.get_mut(balancer)?.iter_mut().find(|fake| fake.pool == pool && fake.member == member)
}
