//! The main job over ssh: four servers on four hosts behind real HAProxy are patched by the engine and, on the same
//! cluster in the same run, by a hand-written script over a multiplexed ssh and the admin socket: the floor.

use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use examples::cluster::get;
use examples::{Fallible, Followed, Show, page};
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch, quoted};
use ha_lab::load::{Class, Load, RunningLoad};
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec, SshAccess, SshHost, SshMachine};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::meter::{Cost, Meter};
use super::{CLOCKS, Options, Victim, controller_of};

const HOSTS: [&str; 4] = ["esb1", "esb2", "esb3", "esb4"];
/// How often each way is gone, in turns.
const TURNS: usize = 5;

/// How long after its start a server answers: as in the measurements that the floor's limit is from.
const WARM_UP_MS: u64 = 500;
/// How often the balancer checks a server. Often, or the grid of the checks would decide which way waits longer.
const CHECK_INTERVAL: Duration = Duration::from_millis(25);
/// For both ways: the exchange that OpenSSH 9 prefers costs each side 75 ms of CPU a login, seven times all the rest.
const KEX: &str = "Host *\n    KexAlgorithms curve25519-sha256\n";

struct Cluster {
    lab: Lab,
    hosts: Vec<Host>,
    homes: Vec<CarbonHome>,
    balancer: HaProxyProcess,
    config: PathBuf,
}

/// A host of the cluster.
enum Host {
    /// One on the loopback of this system.
    Loopback(SshHost),
    /// One with a network of its own, whose link can be cut.
    Machine(SshMachine),
}

impl Host {
    fn start(lab: &Lab, name: &str, has_link: bool) -> Fallible<Self> {
        Ok(if has_link { Self::Machine(lab.ssh_machine(name)?) } else { Self::Loopback(lab.ssh_host(name)?) })
    }

    fn access(&self) -> &SshAccess {
        match self {
            Self::Loopback(host) => host.access(),
            Self::Machine(machine) => machine.access(),
        }
    }

    /// Returns where its server listens.
    fn address(&self) -> Ipv4Addr {
        match self {
            Self::Loopback(_) => Ipv4Addr::LOCALHOST,
            Self::Machine(machine) => machine.address(),
        }
    }

    /// Loses it: a machine by its link alone, any other with all that runs on it.
    fn lose(&self) -> Fallible<()> {
        match self {
            Self::Loopback(host) => Ok(host.stop()?),
            Self::Machine(machine) => Ok(machine.cut_link()?),
        }
    }

    /// Plugs its link in again, where that was what it lost; returns once it is reached.
    fn heal(&self) -> Fallible<()> {
        let Self::Machine(machine) = self else { return Ok(()) };
        machine.restore_link()?;
        let (address, until) = (machine.access().socket_address(), std::time::Instant::now() + SEEN_WITHIN);
        while TcpStream::connect_timeout(&address.into(), Duration::from_millis(500)).is_err() {
            if std::time::Instant::now() >= until {
                return Err(format!("{} is not reached over its healed link in {SEEN_WITHIN:?}", machine.name()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// Patches the cluster both ways in turns; tells whether no request failed, each run ended all new with nothing open, and every server
/// has the last release.
pub(crate) async fn run(options: &Options, show: &Show) -> Fallible<bool> {
    for program in ["socat", "bash"] {
        if !has(program) {
            return Err(
                format!("{program} is not installed: the floor's script needs it: apt-get install {program}").into()
            );
        }
    }
    show.line("starting four hosts with sshd, a server on each, and HAProxy in front");
    let cluster = Cluster::start(false).await?;
    let load = Load::new(cluster.balancer.address(), 150)
        .with_class(Class::new("/orders", "orders ", 5))
        .with_class(Class::new("/orders", "orders ", 5).closing())
        .with_class(Class::new("/orders?ms=50", "orders ", 1))
        .start()?;
    show.line("load: 150 requests/s, open loop, half of them on connections of their own");
    sleep(Duration::from_secs(1)).await;
    let (mut floors, mut engines, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let releases = [format!("4.2.{}", 2 * turn), format!("4.2.{}", 2 * turn + 1), format!("4.2.{}", 2 * turn + 2)];
        floors.push(cluster.floor(&releases[1]).await?);
        show.line(&format!("hand-written script: {}", floors[floors.len() - 1]));
        let (cost, told) = cluster.engine(&releases[1], &releases[2], show, &load).await?;
        engines.push(cost);
        runs.push(told);
        show.line(&format!("engine:              {cost}"));
    }
    let load = load.stop().await;
    let ratio = median(&engines).as_secs_f64() / median(&floors).as_secs_f64();
    println!("requests           {:>9}", load.counts.sent);
    println!("failed             {:>9}", load.counts.failures());
    for (kind, count) in &load.counts.failed {
        println!("  {kind:<32} {count:>6}");
    }
    println!(
        "wall, engine/floor {ratio:>12.2}  (medians of {TURNS}; the floor proves, records and rolls back nothing)"
    );
    let last = format!("4.2.{}", 2 * TURNS);
    let releases: Vec<String> = cluster.homes.iter().map(CarbonHome::release).collect();
    let costs = |costs: &[Cost]| costs.iter().map(|cost| cost.to_json()).collect::<Vec<_>>();
    let told = serde_json::json!({
        "runs": runs, "load": load, "member_releases": releases,
        "engine": costs(&engines), "floor": costs(&floors), "wall_ratio": ratio,
    });
    let page = format!("/runs/{}", TURNS - 1);
    page::write(&options.out, show, &told, &[("report", &page)], &[("esb", &load)])?;
    let is_all_new =
        |run: &serde_json::Value| run["end"] == "all-new" && run["open"].as_array().is_some_and(Vec::is_empty);
    let ended = runs.iter().all(is_all_new) && releases.iter().all(|release| *release == last);
    Ok(ended && load.counts.failures() == 0)
}

/// Patches the cluster once and loses a random host in the middle, with all that runs on it or by its link alone; tells whether requests
/// failed only until HAProxy had seen the loss, the hosts that are left have one release, and a host whose link is healed answers nobody.
pub(crate) async fn lose_host(options: &Options, show: &Show) -> Fallible<bool> {
    let by_link = options.kill == Some(Victim::Link);
    show.line("starting four hosts with sshd, a server on each, and HAProxy in front");
    let cluster = Cluster::start(by_link).await?;
    let load = Load::new(cluster.balancer.address(), 150)
        .with_class(Class::new("/orders", "orders ", 9))
        .with_class(Class::new("/orders?ms=50", "orders ", 1))
        .start()?;
    show.line("load: 150 requests/s, open loop, keep-alive");
    sleep(Duration::from_secs(1)).await;
    let victim = fastrand::usize(..HOSTS.len());
    let mut controller = controller_of(cluster.lab.path(), "4.2.0", "4.2.1")?;
    let (mut steps, mut lost) = (0, None);
    let report = loop {
        let is_lost = lost.is_some();
        let has_come = |told: &serde_json::Value| {
            steps += u32::from(told["event"] == "step-started");
            !is_lost && steps >= options.kill_at
        };
        match controller.follow(show, &load, has_come).await? {
            Followed::Ended(report) => break report,
            Followed::Reached => {
                let how = if by_link { "by its link: what runs on it goes on" } else { "with all that runs on it" };
                show.line(&format!("{} is lost {how}, in step {}", HOSTS[victim], options.kill_at));
                lost = Some(cluster.lose(victim, &load).await?);
            }
        }
    };
    let lost = lost.ok_or("the run ended before the step at which a host was to be lost")?;
    let stays_out = !by_link || cluster.stays_out(&lost, show).await?;
    sleep(Duration::from_secs(1)).await;
    let load = load.stop().await;
    show.counts(&load, None);
    println!("host lost          {:>9} ms after the load began", lost.at.as_millis());
    println!("loss detected      {:>9} ms later, by the balancer", lost.detected.saturating_sub(lost.at).as_millis());
    let outside = |at: &u64| {
        let at = Duration::from_millis(*at);
        at + CLOCKS < lost.at || at > lost.detected + CLOCKS
    };
    let end = report["end"].as_str().unwrap_or("");
    let release = if end == "all-new" { "4.2.1" } else { "4.2.0" };
    let mut living = cluster.homes.iter().enumerate().filter(|(place, _)| *place != victim);
    let whole = living.all(|(_, home)| home.release() == release);
    let repaid = report["open"].as_array().is_some_and(Vec::is_empty);
    let told = serde_json::json!({ "run": report, "load": load });
    page::write(&options.out, show, &told, &[("report", "/run")], &[("esb", &load)])?;
    let failures = [load.first_failure_ms, load.last_failure_ms];
    let ended = matches!(end, "all-new" | "all-old") && repaid && whole;
    Ok(ended && stays_out && !failures.iter().flatten().any(outside))
}

/// The loss of a host, on the clock of the load.
struct LostHost {
    victim: usize,
    at: Duration,
    detected: Duration,
    /// How many right answers of its server HAProxy had passed on by then.
    answered: u64,
}

/// How long the loss of a host, and its return, may take to be seen.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// How long a healed host is watched: checks of the balancer pass many times meanwhile.
const WATCHED_FOR: Duration = Duration::from_secs(2);

/// The median wall time.
fn median(costs: &[Cost]) -> Duration {
    let mut walls: Vec<Duration> = costs.iter().map(|cost| cost.wall).collect();
    walls.sort_unstable();
    walls.get(walls.len() / 2).copied().unwrap_or_default()
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

impl Cluster {
    /// Starts it; with `has_links` each host has a network of its own.
    async fn start(has_links: bool) -> Fallible<Self> {
        let lab = Lab::open(Relaunch::program()?)?;
        let (mut hosts, mut homes) = (Vec::new(), Vec::new());
        for name in HOSTS {
            let host = Host::start(&lab, name, has_links)?;
            let server = CarbonConfig::new(0, "4.2.0").with_warm_up(WARM_UP_MS).listening_on(host.address());
            homes.push(lab.carbon(&format!("{name}-home"), server)?);
            hosts.push(host);
        }
        let config = lab.ssh_config(hosts.iter().map(Host::access))?;
        std::fs::write(&config, format!("{}{KEX}", std::fs::read_to_string(&config)?))?;
        let row = |((name, home), host): ((&&str, &CarbonHome), &Host)| {
            ServerSpec::new(*name, home.port()).at(host.address())
        };
        let rows = HOSTS.iter().zip(&homes).zip(&hosts).map(row).collect();
        // Without its own timeout a check fails that is not answered within the interval, and a machine that is busy for
        // a tenth of a second would lose all its servers.
        let spec = HaProxySpec::new("esb", rows)
            .with_master()
            .with_checks_every(CHECK_INTERVAL, 2, 3)
            .with_backend_line("timeout check 2s");
        // A host that nobody reaches resets no connection: what waits for it would wait as long as the balancer lets it.
        let spec = if has_links { spec.ending_sessions_when_down() } else { spec };
        let balancer = lab.haproxy("lb1", &spec)?;
        let cluster = Self { lab, hosts, homes, balancer, config };
        for (name, home) in HOSTS.iter().zip(&cluster.homes) {
            let script = home.path().join("bin/wso2server.sh");
            let started = Command::new("ssh")
                .args(["-F".as_ref(), cluster.config.as_os_str(), (*name).as_ref()])
                .arg(format!("{} start", quoted(&script.to_string_lossy())))
                .stdin(Stdio::null())
                .status()
                .await?;
            if !started.success() {
                return Err(format!("the server on {name} could not be started over ssh: {started}").into());
            }
        }
        let until = Instant::now() + Duration::from_secs(30);
        while cluster.balancer.ask("show stat esb 4 -1")?.matches(",UP,").count() < HOSTS.len() {
            if Instant::now() >= until {
                return Err("the servers did not come up in 30 s".into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        std::fs::write(cluster.lab.path().join("cluster.toml"), cluster.topology())?;
        std::fs::write(cluster.lab.path().join("floor.sh"), FLOOR)?;
        Ok(cluster)
    }

    /// Loses a host and waits until the balancer gives it nothing any more: it is down, or held out. What is held out has no checks.
    async fn lose(&self, victim: usize, load: &RunningLoad) -> Fallible<LostHost> {
        let at = load.elapsed();
        if let Host::Loopback(_) = self.hosts[victim] {
            self.homes[victim].kill()?;
        }
        tokio::task::block_in_place(|| self.hosts[victim].lose())?;
        let until = Instant::now() + SEEN_WITHIN;
        loop {
            let status = self.figure(victim, "status")?;
            if status.starts_with("DOWN") || status.starts_with("MAINT") {
                break;
            }
            if Instant::now() >= until {
                return Err(format!("HAProxy has not seen the loss in {SEEN_WITHIN:?}").into());
            }
            sleep(Duration::from_millis(5)).await;
        }
        let (detected, answered) = (load.elapsed(), self.figure(victim, "hrsp_2xx")?.parse()?);
        Ok(LostHost { victim, at, detected, answered })
    }

    /// Heals the link of a host that was cut off and tells whether consumers get nothing from it, although its server may well answer:
    /// the run has held it out.
    async fn stays_out(&self, lost: &LostHost, show: &Show) -> Fallible<bool> {
        let (name, home) = (HOSTS[lost.victim], &self.homes[lost.victim]);
        let held_out = self.figure(lost.victim, "status")?.starts_with("MAINT");
        tokio::task::block_in_place(|| self.hosts[lost.victim].heal())?;
        let runs = get(home.address(), "/services/Version").await.is_some();
        let server = if runs { "its server answers there" } else { "its server was stopped by the change" };
        show.line(&format!("the link of {name} is healed: {server}"));
        sleep(WATCHED_FOR).await;
        let answered = self.figure(lost.victim, "hrsp_2xx")?.parse::<u64>()?.saturating_sub(lost.answered);
        show.line(&format!("held out: {held_out}; consumers got {answered} answers of {name} since its loss was seen"));
        Ok(held_out && answered == 0)
    }

    /// Reads a figure of a server, by its name in HAProxy's statistics.
    fn figure(&self, server: usize, name: &str) -> Fallible<String> {
        let told = self.balancer.ask("show stat esb 4 -1")?;
        let mut rows = told.lines();
        let head = rows.next().unwrap_or_default().trim_start_matches("# ");
        let place = head.split(',').position(|column| column == name);
        let of_server = format!("esb,{},", HOSTS[server]);
        let row = rows.find(|row| row.starts_with(&of_server));
        let figure = row.zip(place).and_then(|(row, place)| row.split(',').nth(place));
        Ok(figure.ok_or_else(|| format!("HAProxy does not tell {name} of {}", HOSTS[server]))?.to_string())
    }

    fn topology(&self) -> String {
        let master = self.balancer.master_socket().map_or_else(String::new, |path| path.display().to_string());
        let has_links = self.hosts.iter().any(|host| matches!(host, Host::Machine(_)));
        // A step on a host that nobody reaches is asked for four times, each time so long.
        let command_deadline = if has_links { "10s" } else { "30s" };
        let mut text = format!(
            "[cluster]\nname = \"ssh-demo\"\n[policy]\npeak_load = 1000\ndrain_deadline = \"20s\"\nready_deadline = \"30s\"\n\
             after_loss = \"finish\"\nstop_deadline = \"30s\"\ncommand_deadline = \"{command_deadline}\"\nsoak = \"0s\"\nlease_ttl = \"30s\"\n\
             [pool]\nname = \"esb\"\nserve = 4\n\
             [[balancer]]\nname = \"lb1\"\nbackend = \"haproxy\"\nsocket = \"{}\"\nmaster = \"{master}\"\n",
            self.balancer.socket().display(),
        );
        // The change drains a server to its last request before each maintenance: only the lost one's are cut.
        text.push_str(if has_links { "accept = [\"shutdown-sessions\"]\n" } else { "" });
        // What does not answer is looked at before each step: it must not be waited for long.
        let deadlines = if has_links { "connect_deadline = \"2s\"\nread_deadline = \"2s\"\n" } else { "" };
        for ((name, host), home) in HOSTS.iter().zip(&self.hosts).zip(&self.homes) {
            text.push_str(&format!(
                r#"
[[node]]
name = "{name}"
capacity = 500
[node.host]
backend = "ssh"
host = "{host}"
ssh_config = "{config}"
{deadlines}home = "{home}"
start = ["bin/wso2server.sh", "start"]
stop = ["bin/wso2server.sh", "stop"]
version = ["cat", "bin/version.txt"]
pid_file = "wso2carbon.pid"
identity = "{identity}"
[node.probe]
backend = "http"
url = "http://{address}/services/Version"
test_url = "http://{address}/selftest"
test_expect = "ok"
"#,
                host = host.access().name(),
                config = self.config.display(),
                home = home.path().display(),
                identity = home.identity(),
                address = home.address(),
            ));
        }
        text
    }

    /// Patches all servers by the hand-written script.
    async fn floor(&self, release: &str) -> Fallible<Cost> {
        let mut command = Command::new("bash");
        command
            .arg(self.lab.path().join("floor.sh"))
            .args([self.config.as_os_str(), self.balancer.socket().as_os_str()]);
        command.arg(release);
        for (name, home) in HOSTS.iter().zip(&self.homes) {
            command.arg(format!("{name}:{}:{}", home.port(), home.path().display()));
        }
        let meter = Meter::begin()?;
        let mut child = command.stdin(Stdio::null()).kill_on_drop(true).spawn()?;
        meter.watch(child.id())?;
        let status = child.wait().await?;
        if !status.success() {
            return Err(format!("the hand-written script failed: {status}").into());
        }
        meter.end()
    }

    /// Patches all servers by the engine.
    async fn engine(
        &self,
        from: &str,
        to: &str,
        show: &Show,
        load: &ha_lab::load::RunningLoad,
    ) -> Fallible<(Cost, serde_json::Value)> {
        let meter = Meter::begin()?;
        let mut controller = controller_of(self.lab.path(), from, to)?;
        meter.watch(controller.id())?;
        let Followed::Ended(report) = controller.follow(show, load, |_| false).await? else {
            return Err("the controller stopped in the middle".into());
        };
        let micros = report["controller_cpu_us"].as_u64().ok_or("the controller did not tell its CPU time")?;
        Ok((Cost { own_cpu: Duration::from_micros(micros), ..meter.end()? }, report))
    }
}

/// The floor: what a careful person writes, and nothing that a product needs: no proof, no record, no rollback. For each
/// server: are all up, drain, wait until idle, hold out, wait until nothing connects, patch, restart, wait for the new
/// release, wait for the balancer's checks, admit.
const FLOOR: &str = r#"#!/bin/bash
# usage: floor.sh SSH_CONFIG ADMIN_SOCKET RELEASE NAME:PORT:HOME...
set -eu
config=$1 socket=$2 release=$3
shift 3
dir=$(mktemp -d)
trap 'for name in $(ls "$dir"); do ssh -F "$config" -S "$dir/$name" -O exit "$name" 2>/dev/null || true; done; rm -rf "$dir"' EXIT
ask() { printf '%s\n' "$1" | socat - "UNIX-CONNECT:$socket"; }
field() { ask "show stat esb 4 -1" | awk -F, -v name="$1" -v column="$2" '
    NR == 1 { for (i = 1; i <= NF; i++) if ($i == column) at = i } $2 == name { print $at }'; }
remote() { ssh -F "$config" -S "$dir/$1" "$1" "$2"; }
answer() { exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf 'GET /services/Version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n' >&3
    cat <&3; exec 3<&- 3>&-; }
for node in "$@"; do
    name=${node%%:*}
    ssh -F "$config" -M -N -S "$dir/$name" "$name" &
done
for node in "$@"; do
    name=${node%%:*}
    until ssh -F "$config" -S "$dir/$name" -O check "$name" 2>/dev/null; do sleep 0.02; done
done
for node in "$@"; do
    IFS=: read -r name port home <<<"$node"
    [ "$(ask "show stat esb 4 -1" | grep -c ',UP,')" = $# ]
    ask "set server esb/$name state drain" >/dev/null
    until [ "$(field "$name" scur)" = 0 ]; do sleep 0.02; done
    ask "set server esb/$name state maint" >/dev/null
    until [ "$(field "$name" srv_icur)" = 0 ]; do sleep 0.02; done
    remote "$name" "HA_RELEASE=$release $home/bin/patch.sh apply" >/dev/null
    remote "$name" "$home/bin/wso2server.sh stop
        pid=\$(tr -d '\\000\\n' <$home/wso2carbon.pid)
        while kill -0 \$pid 2>/dev/null; do sleep 0.02; done
        $home/bin/wso2server.sh start" >/dev/null
    until answer "$port" 2>/dev/null | grep -q "^$release"; do sleep 0.02; done
    ask "set server esb/$name state drain" >/dev/null
    until [ "$(field "$name" check_health)" = 4 ]; do sleep 0.02; done
    ask "set server esb/$name state ready" >/dev/null
    until [ "$(field "$name" status)" = UP ]; do sleep 0.02; done
done
"#;
