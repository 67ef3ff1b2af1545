//! What an execution on another machine costs beside the system's own `ssh -S`, and what fifty machines at once cost.
//!
//! Floor, in the same run and in turns: `ssh -S` running `true`, which starts one client and one session. Needs root.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ha_backends::ssh::{SshHost, SshHostConfig};
use ha_core::backend::{Host, ObserveHost, ObserveHostFiles, RunCommand};
use ha_core::state::LeaseEpoch;
use ha_core::topology::{Component, Name, Setting};
use ha_lab::fake_carbon::{Relaunch, run_if_asked};
use ha_lab::{Lab, SshAccess, SshHost as Machine};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const ROUNDS: usize = 200;
const HOSTS: usize = 50;

/// A host of the lab; with one session there is no reading shell.
fn drive(access: &SshAccess, sessions: i64) -> SshHost {
    let mut component = Component::new(Name::new("ssh").unwrap());
    let text = |text: String| Setting::Text(text);
    let argv = |words: &[&str]| Setting::List(words.iter().map(|word| (*word).into()).collect());
    component.settings.extend([
        ("host".into(), text(format!("root@{}", access.address()))),
        ("port".into(), Setting::Integer(access.port().into())),
        ("identity_file".into(), text(access.identity_file().display().to_string())),
        ("known_hosts".into(), text(access.known_hosts().display().to_string())),
        ("home".into(), text("/srv".into())),
        ("start".into(), argv(&["true"])),
        ("stop".into(), argv(&["true"])),
        ("version".into(), argv(&["echo", "4.2.0"])),
        ("pid_file".into(), text("server.pid".into())),
        ("identity".into(), text("-Dno.such.server".into())),
        ("sessions".into(), Setting::Integer(sessions)),
        ("connect_deadline".into(), Setting::Text("60000ms".into())),
        ("read_deadline".into(), Setting::Text("60000ms".into())),
    ]);
    SshHost::new(SshHostConfig::from_component(&component).unwrap())
}

/// A master of the system's own ssh.
struct Plain {
    master: Child,
    config: PathBuf,
    name: String,
    socket: PathBuf,
}

impl Plain {
    fn start(access: &SshAccess, dir: &Path) -> Self {
        let (config, socket) = (access.ssh_config(), dir.join(access.name()));
        let mut command = Command::new("ssh");
        command.arg("-F").arg(&config).args(["-M", "-N", "-o", "ControlPath=none", "-S"]).arg(&socket);
        let master = command.arg(access.name()).stdin(Stdio::null()).spawn().unwrap();
        Self { master, config, name: access.name().into(), socket }
    }

    fn is_ready(&self) -> bool {
        self.socket.exists()
    }

    fn begin(&self) -> Child {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(&self.config).arg("-S").arg(&self.socket).args([&self.name, "true"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    }

    fn run(&self) {
        assert!(self.begin().wait().unwrap().success());
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.master.kill();
        let _ = self.master.wait();
    }
}

fn wait_for(all: &[Plain]) {
    while !all.iter().all(Plain::is_ready) {
        std::thread::sleep(Duration::from_millis(4));
    }
}

/// The CPU time of this process, of its children that have ended, and of every client and master that runs, to 10 ms each.
fn cpu() -> Duration {
    let ticks = |pid: &str, until: usize| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<u64> =
            after_name.split_whitespace().take(until).skip(11).filter_map(|field| field.parse().ok()).collect();
        fields.iter().sum::<u64>()
    };
    let lives = |pid: &str| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.starts_with("ssh\0") && ["/ha-ssh-", "/bench-"].iter().any(|mark| line.contains(mark))
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let running: u64 = pids.filter(|pid| lives(pid)).map(|pid| ticks(&pid, 13)).sum();
    Duration::from_millis((ticks("self", 15) + running) * 10)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[derive(Default)]
struct Samples {
    name: &'static str,
    wall: Vec<Duration>,
    cpu: Duration,
}

impl Samples {
    fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    fn take(&mut self, times: usize, mut call: impl FnMut()) {
        let before = cpu();
        for _ in 0..times {
            let began = Instant::now();
            call();
            self.wall.push(began.elapsed());
        }
        self.cpu += cpu().saturating_sub(before);
    }

    fn print(mut self, floor: Option<f64>) -> f64 {
        self.wall.sort_unstable();
        let (median, count) = (ms(self.wall[self.wall.len() / 2]), self.wall.len());
        let cpu = ms(self.cpu) / f64::from(u32::try_from(count).unwrap());
        println!("{:<42} {median:>8.2} ms {cpu:>8.2} ms {:>7.2} x", self.name, median / floor.unwrap_or(median));
        median
    }
}

fn one(runtime: &Runtime, machine: &Machine, dir: &Path) {
    let plain = Plain::start(machine.access(), dir);
    wait_for(std::slice::from_ref(&plain));
    let (host, apart) = (drive(machine.access(), 8), drive(machine.access(), 1));
    let run = || {
        let command = RunCommand::new(vec!["true".into()], Duration::from_secs(10));
        assert!(runtime.block_on(host.run(LeaseEpoch::new(1), command)).unwrap().is_success());
    };
    let stat = |host: &SshHost| drop(runtime.block_on(host.stat("/srv")).unwrap());
    stat(&host);
    stat(&apart);
    run();
    plain.run();
    let mut all = [
        "ssh -S true",
        "look, over a session of its own",
        "look, over the reading shell",
        "process, over a session of its own",
        "process, over the reading shell",
        "installed, over a session of its own",
        "installed, over the reading shell",
        "guarded detached run",
    ]
    .map(Samples::new);
    // In turns of ten, which the clock of CPU time needs.
    for _ in 0..ROUNDS / 10 {
        let process = |host: &SshHost| drop(runtime.block_on(host.process()).unwrap());
        let installed = |host: &SshHost| drop(runtime.block_on(host.installed()).unwrap());
        all[0].take(10, || plain.run());
        all[1].take(10, || stat(&apart));
        all[2].take(10, || stat(&host));
        all[3].take(10, || process(&apart));
        all[4].take(10, || process(&host));
        all[5].take(10, || installed(&apart));
        all[6].take(10, || installed(&host));
        all[7].take(10, run);
    }
    println!("one host, medians of {ROUNDS}: wall, CPU of this side with clients and masters, wall / ssh -S");
    let mut floor = None;
    for samples in all {
        let median = samples.print(floor);
        floor = floor.or(Some(median));
    }
}

/// The memory of all descendants of this process whose command line has `mark`, in MiB, shared pages divided.
fn memory(mark: &str) -> (usize, f64) {
    let of = |pid: &str| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        if pid == std::process::id().to_string() || !String::from_utf8_lossy(&line).contains(mark) {
            return None;
        }
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let found: Vec<f64> = entries.filter_map(|entry| of(&entry.file_name().to_string_lossy())).collect();
    (found.len(), found.iter().sum::<f64>() / 1024.0)
}

fn many(runtime: &Runtime, lab: &Lab, dir: &Path) {
    let machines: Vec<Machine> = (0..HOSTS).map(|number| lab.ssh_host(&format!("m{number}")).unwrap()).collect();
    println!(
        "\n{HOSTS} hosts at once: connecting all with one read on each, one more read on each, memory of the clients"
    );
    let began = Instant::now();
    let plain: Vec<Plain> = machines.iter().map(|machine| Plain::start(machine.access(), dir)).collect();
    let each = || {
        let running: Vec<Child> = plain.iter().map(Plain::begin).collect();
        running.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    };
    wait_for(&plain);
    each();
    let connected = ms(began.elapsed());
    let began = Instant::now();
    each();
    let again = ms(began.elapsed());
    let (count, mib) = memory(&dir.display().to_string());
    println!(
        "{:<42} {connected:>8.0} ms {again:>8.0} ms {count:>4} processes {mib:>6.1} MiB",
        "ssh masters, ssh -S true"
    );
    drop(plain);
    let hosts: Vec<SshHost> = machines.iter().map(|machine| drive(machine.access(), 8)).collect();
    let each = || {
        runtime.block_on(async {
            let mut all = JoinSet::new();
            for host in hosts.clone() {
                all.spawn(async move { host.process().await.unwrap() });
            }
            all.join_all().await;
        });
    };
    let began = Instant::now();
    each();
    let ours = ms(began.elapsed());
    let began = Instant::now();
    each();
    let ours_again = ms(began.elapsed());
    let (count, mib) = memory("ha-ssh");
    println!("{:<42} {ours:>8.0} ms {ours_again:>8.0} ms {count:>4} processes {mib:>6.1} MiB", "this backend, process");
    println!("{:<42} {:>8.2} x  {:>8.2} x", "ratio", ours / connected, ours_again / again);
}

fn main() {
    run_if_asked();
    let lab = Lab::open(Relaunch::program().unwrap()).unwrap();
    let dir = tempfile::Builder::new().prefix("bench-").tempdir_in("/tmp").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    one(&runtime, &lab.ssh_host("esb1").unwrap(), dir.path());
    many(&runtime, &lab, dir.path());
}
