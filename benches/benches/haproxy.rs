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
use ha_testkit::fake_carbon::{Relaunch, run_if_asked};
use ha_testkit::lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::time::{MissedTickBehavior, interval};

const POLL: Duration = Duration::from_millis(20);
const POLLED_FOR: Duration = Duration::from_secs(5);

/// One exchange of the floor.
fn raw(socket: &Path, line: &str) -> usize {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap()
}

/// The same over tokio, which the backend stands on.
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

/// Polls every 20 ms for 5 s and prints what that cost, as a share of one core.
fn polled(runtime: &Runtime, haproxy: u32, name: &str, mut poll: impl AsyncFnMut()) {
    runtime.block_on(poll());
    let (own, theirs, began) = (own_cpu(), cpu_of(haproxy), Instant::now());
    let mut polls = 0_u32;
    runtime.block_on(async {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while began.elapsed() < POLLED_FOR {
            ticks.tick().await;
            poll().await;
            polls += 1;
        }
    });
    let (own, theirs, took) = (own_cpu() - own, cpu_of(haproxy) - theirs, began.elapsed());
    let share = |cpu: Duration| cpu.as_secs_f64() / took.as_secs_f64() * 100.0;
    let each = own.as_secs_f64() * 1e6 / f64::from(polls);
    println!("{name:<44} {polls:>5} polls {each:>8.0} us {:>8.2} % {:>8.1} %", share(own), share(theirs));
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

    let (pid, many) = (process.pid().unwrap(), Name::new("many").unwrap());
    let member = MemberRef::new(many.clone(), Name::new("s500").unwrap());
    println!(
        "\npolling every 20 ms for 5 s, 1,000 servers: CPU a poll, share of a core of this process, and of HAProxy"
    );
    polled(&runtime, pid, "nothing", async || {});
    polled(&runtime, pid, "quiescence of one member", async || {
        backend.quiescence(&member).await.unwrap();
    });
    polled(&runtime, pid, "the same lines on tokio, not parsed", async || {
        raw_tokio(socket, "show info;show stat many 4 500").await;
    });
    polled(&runtime, pid, "show stat, not parsed", async || {
        raw_tokio(socket, "show stat").await;
    });
    polled(&runtime, pid, "members of the pool", async || {
        backend.members(&many).await.unwrap();
    });
}
