//! Two machines with a network of their own, a server and keepalived on each, and one address that the active of them has.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use examples::Fallible;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch, quoted};
use ha_lab::{Lab, SshMachine};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::NAMES;
use super::failover::{Consumer, FailOver};

/// The last byte of the address that moves: no machine of the lab has it, and the bridge has the next one.
const SHARED: u8 = 253;
/// How long the passive hears the active before that is killed.
const AT_REST: Duration = Duration::from_secs(1);

/// Tells why keepalived cannot be measured here, if it cannot.
pub(crate) fn missing() -> Option<&'static str> {
    if program().is_none() {
        Some("it is not installed: apt-get install keepalived")
    } else if !geteuid().is_root() {
        Some("its network namespaces need root")
    } else {
        None
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
    std::env::split_paths(&path).chain(beside).map(|dir| dir.join("keepalived")).find(|file| file.is_file())
}

/// The active and the passive.
pub(crate) struct Pair {
    machines: Vec<SshMachine>,
    homes: Vec<CarbonHome>,
    shared: Ipv4Addr,
    /// Last: the others end before it.
    _lab: Lab,
}

impl Pair {
    /// Starts both; the active advertises itself every so often.
    pub(crate) async fn start(advert: Duration) -> Fallible<Self> {
        let keepalived = program().ok_or("keepalived is not installed")?;
        let lab = Lab::open(Relaunch::program()?)?;
        let machines: Vec<SshMachine> =
            NAMES[..2].iter().map(|name| lab.ssh_machine(name)).collect::<Result<_, _>>()?;
        let config = lab.ssh_config(machines.iter().map(SshMachine::access))?;
        let port = lab.free_port()?;
        let [first, second, net, _] = machines[0].address().octets();
        let shared = Ipv4Addr::new(first, second, net, SHARED);
        let mut homes = Vec::new();
        for (place, machine) in machines.iter().enumerate() {
            let server = CarbonConfig::new(port, "4.2.0").with_warm_up(0).listening_on(Ipv4Addr::UNSPECIFIED);
            let home = lab.carbon(&format!("{}-home", machine.name()), server)?;
            let peer = machines[1 - place].address();
            let text = vrrp(machine.name(), place == 0, machine.address(), peer, shared, advert);
            let file = lab.path().join(format!("{}-keepalived.conf", machine.name()));
            std::fs::write(&file, text)?;
            run(&config, machine, &format!("{} start", quoted_path(&home.path().join("bin/wso2server.sh")))).await?;
            let log = file.with_extension("log");
            let line = format!(
                "nohup {} --dont-fork --log-console --use-file {} >{} 2>&1 </dev/null &",
                quoted_path(&keepalived),
                quoted_path(&file),
                quoted_path(&log)
            );
            run(&config, machine, &line).await?;
            homes.push(home);
        }
        Ok(Self { machines, homes, shared, _lab: lab })
    }

    /// Kills keepalived and the server of the active with -9: its address stays on its link, as after a real one.
    /// `None` where the passive took over before.
    pub(crate) async fn fail_over(&self) -> Fallible<Option<FailOver>> {
        let port = self.homes[0].port();
        let active = SocketAddr::from((self.machines[0].address(), port));
        let consumer = Consumer::of(SocketAddr::from((self.shared, port)), active).await?;
        sleep(AT_REST).await;
        let doomed = self.processes_of_active();
        if doomed.len() < 2 {
            return Err("keepalived and the server do not run on the active machine".into());
        }
        let killed = Instant::now();
        // Stopped first: keepalived's child would otherwise be told of its parent's end, and go in good order.
        for signal in [Signal::STOP, Signal::KILL] {
            doomed.iter().try_for_each(|pid| kill_process(*pid, signal))?;
        }
        Ok(FailOver::between(killed, consumer.served_by_another().await?))
    }

    /// Lists the processes of keepalived and of the server on the active machine.
    fn processes_of_active(&self) -> Vec<Pid> {
        let identity = self.homes[0].identity();
        let is_meant = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            let is_keepalived = words.first().is_some_and(|program| program.ends_with(b"keepalived"));
            is_keepalived || words.contains(&identity.as_bytes())
        };
        self.machines[0].pids().into_iter().filter(is_meant).filter_map(Pid::from_raw).collect()
    }
}

/// Runs a line of shell on a machine.
async fn run(config: &Path, machine: &SshMachine, line: &str) -> Fallible<()> {
    let mut command = Command::new("ssh");
    command.arg("-F").arg(config).args([machine.name(), line]).stdin(Stdio::null()).kill_on_drop(true);
    let ended = command.status().await?;
    if ended.success() { Ok(()) } else { Err(format!("on {}: {line}: {ended}", machine.name()).into()) }
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// Returns the configuration of one keepalived.
fn vrrp(name: &str, active: bool, own: Ipv4Addr, peer: Ipv4Addr, shared: Ipv4Addr, advert: Duration) -> String {
    let (state, priority) = if active { ("MASTER", 150) } else { ("BACKUP", 100) };
    let advert = advert.as_secs_f64();
    format!(
        "global_defs {{
    router_id {name}
    vrrp_version 3
}}
vrrp_instance esb {{
    state {state}
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int {advert:.2}
    unicast_src_ip {own}
    unicast_peer {{
        {peer}
    }}
    virtual_ipaddress {{
        {shared}/24
    }}
}}
"
    )
}
