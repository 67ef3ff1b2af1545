//! The main job over ssh: four servers on four hosts behind real HAProxy are patched by the engine and, on the same
//! cluster in the same run, by a hand-written script over a multiplexed ssh and the admin socket: the floor.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use examples::{Fallible, Followed, Show, page};
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch, quoted};
use ha_lab::load::{Class, Load};
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec, SshHost};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::meter::{Cost, Meter};
use super::{CLOCKS, Options, controller_of};

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
    hosts: Vec<SshHost>,
    homes: Vec<CarbonHome>,
    balancer: HaProxyProcess,
    config: PathBuf,
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
    let cluster = Cluster::start().await?;
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

/// Patches the cluster once and loses a random host in the middle, with all that runs on it; tells whether requests failed only until
/// HAProxy had seen the loss, and the living hosts have one release.
pub(crate) async fn lose_host(options: &Options, show: &Show) -> Fallible<bool> {
    show.line("starting four hosts with sshd, a server on each, and HAProxy in front");
    let cluster = Cluster::start().await?;
    let load = Load::new(cluster.balancer.address(), 150)
        .with_class(Class::new("/orders", "orders ", 9))
        .with_class(Class::new("/orders?ms=50", "orders ", 1))
        .start()?;
    show.line("load: 150 requests/s, open loop, keep-alive");
    sleep(Duration::from_secs(1)).await;
    let victim = fastrand::usize(..HOSTS.len());
    let mut controller = controller_of(cluster.lab.path(), "4.2.0", "4.2.1")?;
    let (mut steps, mut window) = (0, None);
    let report = loop {
        let lost = window.is_some();
        let has_come = |told: &serde_json::Value| {
            steps += u32::from(told["event"] == "step-started");
            !lost && steps >= options.kill_at
        };
        match controller.follow(show, &load, has_come).await? {
            Followed::Ended(report) => break report,
            Followed::Reached => {
                show.line(&format!("{} is lost with all that runs on it, in step {}", HOSTS[victim], options.kill_at));
                let lost = load.elapsed();
                cluster.homes[victim].kill()?;
                tokio::task::block_in_place(|| cluster.hosts[victim].stop())?;
                // What is held out just then has no checks, and gets nothing.
                let up = format!("esb,{},", HOSTS[victim]);
                let until = Instant::now() + Duration::from_secs(10);
                let is_up = |rows: &str| rows.lines().any(|row| row.starts_with(&up) && row.contains(",UP,"));
                while is_up(&cluster.balancer.ask("show stat esb 4 -1")?) {
                    if Instant::now() >= until {
                        return Err("HAProxy has not seen the loss in 10 s".into());
                    }
                    sleep(Duration::from_millis(5)).await;
                }
                window = Some((lost, load.elapsed()));
            }
        }
    };
    sleep(Duration::from_secs(1)).await;
    let load = load.stop().await;
    let (lost, detected) = window.ok_or("the run ended before the step at which a host was to be lost")?;
    show.counts(&load, None);
    println!("host lost          {:>9} ms after the load began", lost.as_millis());
    println!("loss detected      {:>9} ms later, by the balancer", detected.saturating_sub(lost).as_millis());
    let outside = |at: &u64| {
        let at = Duration::from_millis(*at);
        at + CLOCKS < lost || at > detected + CLOCKS
    };
    let end = report["end"].as_str().unwrap_or("");
    let release = if end == "all-new" { "4.2.1" } else { "4.2.0" };
    let mut living = cluster.homes.iter().enumerate().filter(|(place, _)| *place != victim);
    let whole = living.all(|(_, home)| home.release() == release);
    let repaid = report["open"].as_array().is_some_and(Vec::is_empty);
    let told = serde_json::json!({ "run": report, "load": load });
    page::write(&options.out, show, &told, &[("report", "/run")], &[("esb", &load)])?;
    let failures = [load.first_failure_ms, load.last_failure_ms];
    Ok(matches!(end, "all-new" | "all-old") && repaid && whole && !failures.iter().flatten().any(outside))
}

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
    async fn start() -> Fallible<Self> {
        let lab = Lab::open(Relaunch::program()?)?;
        let (mut hosts, mut homes) = (Vec::new(), Vec::new());
        for name in HOSTS {
            hosts.push(lab.ssh_host(name)?);
            homes.push(lab.carbon(&format!("{name}-home"), CarbonConfig::new(0, "4.2.0").with_warm_up(WARM_UP_MS))?);
        }
        let config = lab.ssh_config(hosts.iter().map(SshHost::access))?;
        std::fs::write(&config, format!("{}{KEX}", std::fs::read_to_string(&config)?))?;
        let rows = HOSTS.iter().zip(&homes).map(|(name, home)| ServerSpec::new(*name, home.port())).collect();
        // Without its own timeout a check fails that is not answered within the interval, and a machine that is busy for
        // a tenth of a second would lose all its servers.
        let spec = HaProxySpec::new("esb", rows)
            .with_master()
            .with_checks_every(CHECK_INTERVAL, 2, 3)
            .with_backend_line("timeout check 2s");
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

    fn topology(&self) -> String {
        let master = self.balancer.master_socket().map_or_else(String::new, |path| path.display().to_string());
        let mut text = format!(
            "[cluster]\nname = \"ssh-demo\"\n[policy]\npeak_load = 1000\ndrain_deadline = \"20s\"\nready_deadline = \"30s\"\n\
             after_loss = \"finish\"\nstop_deadline = \"30s\"\ncommand_deadline = \"30s\"\nsoak = \"0s\"\nlease_ttl = \"30s\"\n\
             [pool]\nname = \"esb\"\nserve = 4\n\
             [[balancer]]\nname = \"lb1\"\nbackend = \"haproxy\"\nsocket = \"{}\"\nmaster = \"{master}\"\n",
            self.balancer.socket().display(),
        );
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
home = "{home}"
start = ["bin/wso2server.sh", "start"]
stop = ["bin/wso2server.sh", "stop"]
version = ["cat", "bin/version.txt"]
pid_file = "wso2carbon.pid"
identity = "{identity}"
[node.probe]
backend = "http"
url = "http://127.0.0.1:{port}/services/Version"
test_url = "http://127.0.0.1:{port}/selftest"
test_expect = "ok"
"#,
                host = host.name(),
                config = self.config.display(),
                home = home.path().display(),
                identity = home.identity(),
                port = home.port(),
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
