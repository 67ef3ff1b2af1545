//! How long consumers wait after the active server of two was killed with -9, until the passive serves them: by the outage procedure of
//! the engine, whose passive stands by outside of the balancer, beside a `backup` server of HAProxy alone and beside keepalived, in
//! turns and in one run. All of them look equally often, and call dead what has failed three looks.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use examples::cluster::get;
use examples::{Balancing, Fallible, Front, Hosts, Server, Show};
use ha_backends::local::{Check, EmbeddedBalancer};
use ha_backends::sqlite::SqliteStore;
use ha_core::engine::{Engine, MonitorEvent, MonitorHandle, MonitorPolicy, OnLoss};
use ha_core::procedure::OutageRequest;
use ha_core::record::End;
use ha_core::state::MemberKind;
use ha_core::topology::{Name, Topology};
use ha_lab::Lab;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use super::keepalived::{self, Pair};
use super::{NAMES, Options, topology};

/// How many looks in a row must fail.
const FALL: u32 = 3;
/// How many checks in a row of a balancer must pass.
const RISE: u32 = 2;
/// How often a consumer asks.
const ASKS_EVERY: Duration = Duration::from_millis(4);
/// How long all goes well before the kill.
const AT_REST: Duration = Duration::from_millis(500);
/// How long a fail-over may take at most: whatever takes longer has failed.
const FAILED_AFTER: Duration = Duration::from_secs(20);
/// How often a turn is measured at most, should there be false alarms.
const ATTEMPTS: u32 = 3;
/// What the reaction is to stay below.
const REACTION_LIMIT: Duration = Duration::from_millis(100);

/// What leads consumers to the passive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// The monitor and the outage procedure, with this in front.
    Procedure(Balancing),
    /// HAProxy alone.
    BackupRow,
    Keepalived,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Procedure(Balancing::Embedded) => "procedure, embedded balancer",
            Self::Procedure(Balancing::HaProxy | Balancing::Pair) => "procedure, HAProxy in front",
            Self::BackupRow => "HAProxy, backup server",
            Self::Keepalived => "keepalived",
        }
    }
}

/// One fail-over that came to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailOver {
    /// From the kill to the first answer of the passive.
    pub(crate) served: Duration,
    /// From the kill to the monitor's verdict, where there is a monitor.
    detected: Option<Duration>,
}

impl FailOver {
    /// `None` where the passive served before the kill.
    pub(crate) fn between(killed: Instant, served: Instant) -> Option<Self> {
        Some(Self { served: served.checked_duration_since(killed)?, detected: None })
    }

    fn reaction(&self) -> Option<Duration> {
        self.detected.map(|detected| self.served.saturating_sub(detected))
    }
}

/// Measures each way so many turns; tells whether every one failed over.
pub(crate) async fn compare(options: &Options, show: &Show) -> Fallible<bool> {
    let mut ways = vec![Way::Procedure(Balancing::HaProxy), Way::Procedure(Balancing::Embedded), Way::BackupRow];
    match keepalived::missing() {
        Some(why) => show.line(&format!("keepalived is left out: {why}")),
        None => ways.push(Way::Keepalived),
    }
    let every = options.check_every;
    show.line(&format!(
        "{} turns of {} ways; each looks every {} ms and calls dead what has failed {FALL} looks; a consumer asks every {} ms",
        options.turns,
        ways.len(),
        every.as_millis(),
        ASKS_EVERY.as_millis()
    ));
    let mut measured: Vec<(Way, Vec<FailOver>)> = ways.iter().map(|way| (*way, Vec::new())).collect();
    let mut failed = 0;
    for turn in 1..=options.turns {
        for (way, done) in &mut measured {
            let name = way.name();
            match one_of(*way, options, show).await {
                Ok(one) => {
                    let parts = one.detected.map_or_else(String::new, |detected| {
                        let reaction = one.reaction().unwrap_or_default();
                        format!(" = detection {} + reaction {}", ms(detected), ms(reaction))
                    });
                    show.line(&format!("turn {turn:>2}: {name:<29} {:>9}{parts}", ms(one.served)));
                    done.push(one);
                }
                Err(error) => {
                    failed += 1;
                    show.line(&format!("turn {turn:>2}: {name:<29} FAILED: {error}"));
                }
            }
        }
    }
    print(&measured, failed);
    write(&options.out, every, &measured, failed)?;
    Ok(failed == 0)
}

/// Measures one turn; one in which somebody called the active dead before it was killed is said, and measured again.
async fn one_of(way: Way, options: &Options, show: &Show) -> Fallible<FailOver> {
    for _ in 0..ATTEMPTS {
        if let Some(one) = fail_over(way, options).await? {
            return Ok(one);
        }
        show.line(&format!("{}: a false alarm, the active server was called dead before its kill", way.name()));
    }
    Err(format!("the active server was called dead before its kill {ATTEMPTS} times").into())
}

/// Fails over once; `None` where somebody called the active dead before it was killed.
async fn fail_over(way: Way, options: &Options) -> Fallible<Option<FailOver>> {
    match way {
        Way::Procedure(balancing) => Cluster::start(options, balancing, true).await?.by_procedure().await,
        Way::BackupRow => Cluster::start(options, Balancing::HaProxy, false).await?.by_balancer().await,
        Way::Keepalived => Pair::start(options.check_every).await?.fail_over().await,
    }
}

/// An active and a passive server behind a balancer, and for the procedure a spare.
struct Cluster {
    homes: Vec<CarbonHome>,
    front: Front,
    engine: Option<Engine>,
    every: Duration,
    /// Last: the others end before it.
    _lab: Lab,
}

impl Cluster {
    /// Starts it. With `held_out` the passive runs and stands by outside of the balancer: only the procedure admits it.
    async fn start(options: &Options, balancing: Balancing, held_out: bool) -> Fallible<Self> {
        let (lab, every) = (Lab::open(Relaunch::program()?)?, options.check_every);
        let names = if held_out { &NAMES[..] } else { &NAMES[..2] };
        let homes = names.iter().map(|name| lab.carbon(&format!("{name}-home"), CarbonConfig::fast("4.2.0")));
        let homes: Vec<CarbonHome> = homes.collect::<Result<_, _>>()?;
        let server = |(place, home): (usize, &CarbonHome)| Server {
            name: NAMES[place],
            port: home.port(),
            kind: if place == 0 || place == 1 && held_out { MemberKind::Primary } else { MemberKind::Backup },
            held_out: place > 0 && held_out,
        };
        let servers: Vec<Server> = homes.iter().enumerate().map(server).collect();
        let front = match balancing {
            Balancing::Embedded => embedded(&lab, &servers, every).await?,
            Balancing::HaProxy | Balancing::Pair => {
                Front::haproxy(&lab, balancing, &servers, |_, spec| Ok(spec.with_checks_every(every, RISE, FALL)))?
            }
        };
        for home in &homes[..2] {
            tokio::task::block_in_place(|| home.start())?;
        }
        let engine = if held_out {
            let hosts = Hosts::start(&lab, &NAMES, false)?;
            let topology = Topology::from_toml_str(&topology(options, &front, &hosts, &homes))?;
            let store = Arc::new(SqliteStore::open(lab.path().join("journal.db"))?);
            Some(ha_backends::connect(&topology)?.engine(topology).with_store(store.clone(), store).build()?)
        } else {
            None
        };
        Ok(Self { homes, front, engine, every, _lab: lab })
    }

    fn address(&self) -> Fallible<SocketAddr> {
        Ok(*self.front.addresses().first().ok_or("there is no balancer")?)
    }

    /// Kills the active server; returns when.
    fn kill_active(&self) -> Fallible<Instant> {
        let killed = Instant::now();
        if tokio::task::block_in_place(|| self.homes[0].kill())? {
            Ok(killed)
        } else {
            Err("the active server did not run".into())
        }
    }

    /// Lets HAProxy alone lead consumers to its backup server.
    async fn by_balancer(&self) -> Fallible<Option<FailOver>> {
        let consumer = Consumer::of(self.address()?, self.homes[0].address()).await?;
        sleep(AT_REST).await;
        let killed = self.kill_active()?;
        Ok(FailOver::between(killed, consumer.served_by_another().await?))
    }

    /// Lets the monitor see the loss and the outage procedure admit the passive.
    async fn by_procedure(&self) -> Fallible<Option<FailOver>> {
        let engine = self.engine.as_ref().ok_or("there is no engine")?;
        let consumer = Consumer::of(self.address()?, self.homes[0].address()).await?;
        // The first of as many looks as fail comes with the first agreement.
        let policy = MonitorPolicy::default().with_on_loss(OnLoss::Run).with_interval(self.every);
        let mut monitor = engine.monitor(policy.with_dead_after(self.every * (FALL - 1)));
        if let Ok(verdict) = timeout(AT_REST, loss(&mut monitor, Instant::now() + FAILED_AFTER)).await {
            return verdict.map(|_| None);
        }
        let killed = self.kill_active()?;
        let lost = loss(&mut monitor, killed + FAILED_AFTER).await?;
        let detected = killed.elapsed();
        let planned = engine.plan(&OutageRequest::of_all(lost)).await?;
        let run = engine.run("outage-1".into(), planned).await?.wait().await?;
        let served = consumer.served_by_another().await?;
        if run.end != End::AllNew || !run.open.is_empty() {
            return Err(format!("the outage procedure did not end as it should: {run}").into());
        }
        Ok(FailOver::between(killed, served).map(|one| FailOver { detected: Some(detected), ..one }))
    }
}

/// Starts the embedded balancer, which is asked for its checks.
async fn embedded(lab: &Lab, servers: &[Server], every: Duration) -> Fallible<Front> {
    let mut check = Check::new("/services/Version");
    (check.interval, check.rise, check.fall) = (every, RISE, FALL);
    let mut balancer = EmbeddedBalancer::builder(Name::new("esb")?).with_check(check);
    for server in servers {
        let (name, address) = (Name::new(server.name)?, SocketAddr::from(([127, 0, 0, 1], server.port)));
        balancer = match server.held_out {
            true => balancer.with_member_held_out(name, address, server.kind),
            false => balancer.with_member(name, address, server.kind),
        };
    }
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Ok(Front::Embedded(balancer.start(any, &lab.path().join("lb1.sock")).await?))
}

/// Waits for the verdict on which the procedure may be run without asking.
async fn loss(monitor: &mut MonitorHandle, until: Instant) -> Fallible<Vec<String>> {
    loop {
        let event = timeout_at(until, monitor.next_event()).await;
        let event = event.map_err(|_| format!("the monitor has not seen the loss in {FAILED_AFTER:?}"))?;
        if let MonitorEvent::Proposed { act: true, domains, .. } = event.ok_or("the monitor has ended")? {
            return Ok(domains);
        }
    }
}

/// A consumer that asks all the time, each time over a connection of its own.
pub(crate) struct Consumer {
    served: JoinHandle<Instant>,
}

impl Consumer {
    /// Begins to ask at `front`, once the server that is active answers there.
    pub(crate) async fn of(front: SocketAddr, active: SocketAddr) -> Fallible<Self> {
        let until = Instant::now() + FAILED_AFTER;
        let known = loop {
            let (there, direct) = (instance(front).await, instance(active).await);
            if there.is_some() && there == direct {
                break there.unwrap_or_default();
            }
            if Instant::now() >= until {
                return Err(format!("the active server did not answer through {front} in {FAILED_AFTER:?}").into());
            }
            sleep(Duration::from_millis(20)).await;
        };
        Ok(Self { served: tokio::spawn(answered_by_another(front, known)) })
    }

    /// Waits until another server has answered; returns when the first answer was there.
    pub(crate) async fn served_by_another(mut self) -> Fallible<Instant> {
        let served = timeout(FAILED_AFTER, &mut self.served).await;
        Ok(served.map_err(|_| format!("no other server has answered in {FAILED_AFTER:?}"))??)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.served.abort();
    }
}

async fn answered_by_another(front: SocketAddr, known: String) -> Instant {
    let mut tick = interval(ASKS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked = JoinSet::new();
    loop {
        tokio::select! {
            _ = tick.tick() => {
                asked.spawn(async move { (instance(front).await, Instant::now()) });
            }
            Some(Ok((Some(instance), at))) = asked.join_next() => {
                if instance != known {
                    return at;
                }
            }
        }
    }
}

/// Asks which start of which server answers a request.
async fn instance(address: SocketAddr) -> Option<String> {
    let answer = get(address, "/orders").await?;
    // `orders RELEASE INSTANCE`
    answer.lines().last()?.split_whitespace().nth(2).map(String::from)
}

fn print(measured: &[(Way, Vec<FailOver>)], failed: u32) {
    println!("\n{:<29} {:>9} {:>9} {:>9} {:>6}", "kill -9 to the next answer", "median", "least", "most", "turns");
    let row = |name: &str, all: &[Duration]| {
        let [low, high] = [all.iter().min(), all.iter().max()].map(|at| ms(at.copied().unwrap_or_default()));
        println!("{name:<29} {:>9} {low:>9} {high:>9} {:>6}", ms(median(all)), all.len());
    };
    for (way, turns) in measured {
        row(way.name(), &served(turns));
        let (detected, reactions): (Vec<_>, Vec<_>) =
            turns.iter().filter_map(|turn| turn.detected.zip(turn.reaction())).unzip();
        if !detected.is_empty() {
            row("  detection by the monitor", &detected);
            row("  reaction of the procedure", &reactions);
            let (reaction, limit) = (median(&reactions), ms(REACTION_LIMIT));
            let verdict = if reaction < REACTION_LIMIT { "below" } else { "NOT below" };
            println!("  detection + {}: {verdict} the goal of {limit}", ms(reaction));
        }
    }
    let of = |wanted: Way| measured.iter().find(|(way, turns)| *way == wanted && !turns.is_empty());
    for (ours, theirs) in [Balancing::HaProxy, Balancing::Embedded]
        .into_iter()
        .flat_map(|ours| [Way::BackupRow, Way::Keepalived].map(|theirs| (Way::Procedure(ours), theirs)))
    {
        if let (Some((_, own)), Some((_, other))) = (of(ours), of(theirs)) {
            let ratio = median(&served(own)).as_secs_f64() / median(&served(other)).as_secs_f64();
            println!("{} / {}: {ratio:.2}", ours.name(), theirs.name());
        }
    }
    println!("fail-overs that failed {failed:>5}");
}

/// Writes all turns as `report.json`, in milliseconds.
fn write(out: &Path, every: Duration, measured: &[(Way, Vec<FailOver>)], failed: u32) -> Fallible<()> {
    let in_ms = |at: Duration| at.as_secs_f64() * 1e3;
    let turn = |one: &FailOver| json!({ "served_ms": in_ms(one.served), "detected_ms": one.detected.map(in_ms) });
    let way = |(way, turns): &(Way, Vec<FailOver>)| {
        let turns_ms: Vec<_> = turns.iter().map(turn).collect();
        json!({ "way": way.name(), "median_ms": in_ms(median(&served(turns))), "turns": turns_ms })
    };
    let ways: Vec<_> = measured.iter().map(way).collect();
    let told = json!({ "check_every_ms": in_ms(every), "fall": FALL, "failed": failed, "ways": ways });
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("report.json"), serde_json::to_vec_pretty(&told)?)?;
    println!("report: {}", out.join("report.json").display());
    Ok(())
}

fn served(turns: &[FailOver]) -> Vec<Duration> {
    turns.iter().map(|turn| turn.served).collect()
}

/// The median; of an even number, the mean of the two in the middle.
fn median(all: &[Duration]) -> Duration {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (at(middle.saturating_sub(1)) + at(middle)) / 2 } else { at(middle) }
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}
