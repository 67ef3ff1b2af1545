//! What the HAProxy backend adds to HAProxy's own socket, and what polling it costs with 1,000 servers, on a real HAProxy.
//!
//! Floor, in the same run and in turns: the same command lines over a blocking socket, read to their end and not parsed.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ha_backends::haproxy::{HaProxy, HaProxyConfig};
use ha_core::backend::{Admin, LoadBalancer, MemberRef, ObserveBalancer, SetAdmin};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;
use ha_lab::fake_carbon::{Relaunch, run_if_asked};
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::time::{MissedTickBehavior, interval};

const POLL: Duration = Duration::from_millis(20);
const TURN: Duration = Duration::from_secs(1);
const TURNS: u32 = 6;

/// One exchange of the floor.
fn raw(socket: &Path, line: &str) -> usize {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap()
}

/// The same over tokio, which the backend uses.
async fn raw_tokio(socket: &Path, line: &str) -> usize {
    let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap()
}

fn timed<T>(samples: &mut Vec<Duration>, call: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let value = call();
    samples.push(began.elapsed());
    value
}

fn median(samples: &mut [Duration]) -> f64 {
    samples.sort_unstable();
    samples[samples.len() / 2].as_secs_f64() * 1e6
}

/// What is measured against what.
struct Bench<'a> {
    runtime: &'a Runtime,
    socket: &'a Path,
    rounds: usize,
}

impl Bench<'_> {
    /// Measures the backend, the blocking floor and the tokio floor in turns; `lines` are those of one call, by round.
    fn compare(&self, name: &str, lines: impl Fn(usize) -> Vec<String>, mut call: impl FnMut(usize)) {
        let (mut ours, mut blocking, mut on_tokio) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..self.rounds + self.rounds / 10 {
            // Three calls that do the same to HAProxy: changes alternate with every one.
            timed(&mut ours, || call(3 * round));
            let asked = lines(3 * round + 1);
            timed(&mut blocking, || asked.iter().map(|line| raw(self.socket, line)).sum::<usize>());
            let asked = lines(3 * round + 2);
            timed(&mut on_tokio, || {
                self.runtime.block_on(async {
                    for line in &asked {
                        raw_tokio(self.socket, line).await;
                    }
                });
            });
        }
        // The first calls warm up.
        let [ours, blocking, on_tokio] = [ours, blocking, on_tokio].map(|mut all| median(&mut all[self.rounds / 10..]));
        println!(
            "{name:<34} {ours:>9.0} us {blocking:>9.0} us {on_tokio:>9.0} us {:>7.2} x {:>7.2} x",
            ours / blocking,
            ours / on_tokio
        );
    }

    fn commands(&self, backend: &HaProxy, pool: &str, servers: usize) {
        let member = MemberRef::new(Name::new(pool).unwrap(), Name::new("s1").unwrap());
        let named = |name: &str| format!("{name}, pool of {servers}");
        let figures = format!("show info;show stat {pool} 4 1");
        self.compare(
            &named("quiescence"),
            |_| vec![figures.clone()],
            |_| {
                self.runtime.block_on(backend.quiescence(&member)).unwrap();
            },
        );
        let states = format!("show servers state {pool}");
        let whole = format!("{states};show stat {pool} 4 1;show stat {pool} 2 -1");
        self.compare(
            &named("member"),
            |_| vec![whole.clone()],
            |_| {
                self.runtime.block_on(backend.member(&member)).unwrap();
            },
        );
        let admin = |round: usize| if round.is_multiple_of(2) { Admin::Drain } else { Admin::Ready };
        let word = |round: usize| if round.is_multiple_of(2) { "drain" } else { "ready" };
        // As the backend sends it: what changes something asks for errors with their severity.
        let change = |round: usize| format!("set severity-output number;set server {pool}/s1 state {}", word(round));
        self.compare(
            &named("set_admin (read, write, read)"),
            |round| vec![states.clone(), change(round), states.clone()],
            |round| {
                let request = SetAdmin::new(member.clone(), admin(round));
                self.runtime.block_on(backend.set_admin(LeaseEpoch::new(1), request)).unwrap();
            },
        );
    }
}

/// CPU time of this process, all threads.
fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// CPU time of another process, to 10 ms.
fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// What is polled.
#[derive(Clone, Copy)]
enum Polled {
    Nothing,
    Quiescence,
    QuiescenceUnparsed,
    Members,
    StatUnparsed,
}

/// What polling cost: CPU time here and in HAProxy.
#[derive(Default)]
struct Cost {
    polls: u32,
    own: Duration,
    theirs: Duration,
    took: Duration,
}

/// Polls in turns of a second, so that a busy moment of the machine falls on all alike, and prints what each cost.
fn polling(runtime: &Runtime, haproxy: u32, socket: &Path, backend: &HaProxy) {
    let pool = Name::new("many").unwrap();
    let member = MemberRef::new(pool.clone(), Name::new("s500").unwrap());
    let poll = async |what: Polled| match what {
        Polled::Nothing => {}
        Polled::Quiescence => drop(backend.quiescence(&member).await.unwrap()),
        Polled::QuiescenceUnparsed => drop(raw_tokio(socket, "show info;show stat many 4 500").await),
        Polled::Members => drop(backend.members(&pool).await.unwrap()),
        Polled::StatUnparsed => drop(raw_tokio(socket, "show stat").await),
    };
    let rows = [
        (Polled::Nothing, "nothing"),
        (Polled::Quiescence, "quiescence of one member"),
        (Polled::QuiescenceUnparsed, "the same lines on tokio, not parsed"),
        (Polled::StatUnparsed, "show stat, not parsed"),
        (Polled::Members, "members of the pool"),
    ];
    let mut costs = rows.map(|_| Cost::default());
    for _ in 0..TURNS {
        for ((what, _), cost) in rows.iter().zip(&mut costs) {
            runtime.block_on(poll(*what));
            let (own, theirs, began) = (own_cpu(), cpu_of(haproxy), Instant::now());
            runtime.block_on(async {
                let mut ticks = interval(POLL);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                while began.elapsed() < TURN {
                    ticks.tick().await;
                    poll(*what).await;
                    cost.polls += 1;
                }
            });
            cost.own += own_cpu() - own;
            cost.theirs += cpu_of(haproxy) - theirs;
            cost.took += began.elapsed();
        }
    }
    for ((_, name), cost) in rows.iter().zip(&costs) {
        let share = |cpu: Duration| cpu.as_secs_f64() / cost.took.as_secs_f64() * 100.0;
        let each = cost.own.as_secs_f64() * 1e6 / f64::from(cost.polls);
        let (own, theirs) = (share(cost.own), share(cost.theirs));
        println!("{name:<44} {:>5} polls {each:>8.0} us {own:>8.2} % {theirs:>8.1} %", cost.polls);
    }
}

fn start(lab: &Lab) -> HaProxyProcess {
    let servers = |count: u16| (1..=count).map(|number| ServerSpec::new(format!("s{number}"), 9)).collect();
    let spec = HaProxySpec::new("few", servers(2)).with_pool("many", servers(1000)).without_checks();
    lab.haproxy("lb1", &spec).unwrap()
}

fn main() {
    run_if_asked();
    let lab = Lab::open(Relaunch::program().unwrap()).unwrap();
    let process = start(&lab);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (backend, socket) = (HaProxy::new(HaProxyConfig::new(process.socket())), process.socket());
    println!("medians: the backend, the same lines on a blocking socket, the same lines on tokio");
    println!("{:<34} {:>12} {:>12} {:>12} {:>9} {:>9}", "", "backend", "blocking", "tokio", "/blocking", "/tokio");
    Bench { runtime: &runtime, socket, rounds: 2000 }.commands(&backend, "few", 2);
    Bench { runtime: &runtime, socket, rounds: 300 }.commands(&backend, "many", 1000);

    println!("\npolling every 20 ms, 1,000 servers: CPU a poll, share of a core of this process, and of HAProxy");
    polling(&runtime, process.pid().unwrap(), socket, &backend);
}
