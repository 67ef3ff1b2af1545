//! Nodes that share files, each with a home of its own on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ha_core::backend::{HoldFiles, Host, ReleaseFiles};
use ha_core::state::LeaseEpoch;
use ha_core::topology::{Component, Name, Setting};
use ha_lab::fake_carbon::Relaunch;
use ha_lab::{Lab, SshAccess, SshMachine};
use ha_local::{LocalHost, LocalHostConfig};
use ha_rsync::{Publish, Rsync, RsyncConfig, SharedNode};
use ha_ssh::{SshHost, SshHostConfig};
use tempfile::TempDir;

pub(crate) const EPOCH: LeaseEpoch = LeaseEpoch::new(1);
pub(crate) const TREE: &str = "repository/deployment";
pub(crate) const FILES: usize = 12;

pub(crate) struct Nodes {
    pub(crate) dir: TempDir,
    pub(crate) config: RsyncConfig,
    pub(crate) files: Rsync,
    /// Where the nodes are hosts of their own.
    over_ssh: Option<OverSsh>,
}

struct OverSsh {
    /// How each node is reached; those that are not are on this machine.
    access: Vec<Option<SshAccess>>,
    _hosts: Vec<ha_lab::SshHost>,
    _lab: Lab,
}

pub(crate) fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| Name::new(name).unwrap()).collect()
}

pub(crate) fn hold(node: &Name) -> HoldFiles {
    HoldFiles::new(node.clone()).with_deadline(Duration::from_secs(20))
}

pub(crate) fn release(node: &Name) -> ReleaseFiles {
    ReleaseFiles::new(node.clone()).with_deadline(Duration::from_secs(20))
}

impl Nodes {
    /// Makes nodes with the set number 1, and puts the program on them.
    pub(crate) async fn new(nodes: &[Name], publish: Publish) -> Self {
        Self::with(nodes, |config| config.publish = publish).await
    }

    pub(crate) async fn with(nodes: &[Name], change: impl FnOnce(&mut RsyncConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = |name: &Name| SharedNode::new(name.clone(), dir.path().join(name.as_str()));
        let mut config = RsyncConfig::new(TREE, nodes.iter().map(node).collect());
        change(&mut config);
        Self::installed(dir, config, None).await
    }

    /// Makes nodes that are hosts of their own, which reach each other over ssh.
    pub(crate) async fn over_ssh(nodes: &[Name], publish: Publish) -> Self {
        let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
        let hosts: Vec<_> = nodes.iter().map(|name| lab.ssh_host(name.as_str()).unwrap()).collect();
        let ssh_config = lab.ssh_config(hosts.iter().map(ha_lab::SshHost::access)).unwrap();
        // A host has a /tmp of its own; the lab's folder is everywhere.
        let dir = tempfile::tempdir_in(lab.path()).unwrap();
        let node = |name: &Name| SharedNode::new(name.clone(), dir.path().join(name.as_str()));
        let mut config = RsyncConfig::new(TREE, nodes.iter().map(node).collect());
        config.publish = publish;
        config.rsh = ["ssh", "-F", &ssh_config.display().to_string()].map(String::from).to_vec();
        let access = hosts.iter().map(|host| Some(host.access().clone())).collect();
        Self::installed(dir, config, Some(OverSsh { access, _hosts: hosts, _lab: lab })).await
    }

    /// Makes a writer on this machine, and a reader that is a machine of its own, with a power switch.
    pub(crate) async fn with_a_machine(nodes: &[Name; 2], change: impl FnOnce(&mut RsyncConfig)) -> (Self, SshMachine) {
        let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
        let machine = lab.ssh_machine(nodes[1].as_str()).unwrap();
        let ssh_config = lab.ssh_config([machine.access()]).unwrap();
        let dir = tempfile::tempdir_in(lab.path()).unwrap();
        let node = |name: &Name| SharedNode::new(name.clone(), dir.path().join(name.as_str()));
        let mut config = RsyncConfig::new(TREE, nodes.iter().map(node).collect());
        config.rsh = ["ssh", "-F", &ssh_config.display().to_string()].map(String::from).to_vec();
        change(&mut config);
        let access = vec![None, Some(machine.access().clone())];
        let nodes = Self::installed(dir, config, Some(OverSsh { access, _hosts: Vec::new(), _lab: lab })).await;
        (nodes, machine)
    }

    async fn installed(dir: TempDir, config: RsyncConfig, over_ssh: Option<OverSsh>) -> Self {
        let files = Rsync::new(&config, &hosts(&config, over_ssh.as_ref())).unwrap();
        let nodes = Self { dir, config, files, over_ssh };
        let all: Vec<Name> = nodes.config.nodes.iter().map(|node| node.name.clone()).collect();
        all.iter().for_each(|name| nodes.put(name, 1));
        nodes.files.install(EPOCH).await.unwrap();
        nodes
    }

    /// Shares the same folders otherwise.
    pub(crate) fn over(&self, config: &RsyncConfig) -> Rsync {
        Rsync::new(config, &hosts(config, self.over_ssh.as_ref())).unwrap()
    }

    /// What the next controller has.
    pub(crate) fn another(&self) -> Rsync {
        self.over(&self.config)
    }

    pub(crate) fn home(&self, node: &Name) -> PathBuf {
        self.dir.path().join(node.as_str())
    }

    pub(crate) fn tree(&self, node: &Name) -> PathBuf {
        self.home(node).join(TREE)
    }

    /// Puts a whole set where a server finds it, as a deployment does.
    pub(crate) fn put(&self, node: &Name, number: u64) {
        put(&self.home(node), number, self.config.publish);
    }

    /// Reads the number of the set that a node's server finds; `None` where it is no whole one.
    pub(crate) fn truth(&self, node: &Name) -> Option<u64> {
        let tree = self.tree(node);
        let read = |file: usize| fs::read_to_string(tree.join(format!("services/{file}.xml"))).ok();
        let texts: Option<BTreeSet<String>> = (0..FILES).map(read).collect();
        let number: u64 = fs::read_to_string(tree.join(".ha-generation")).ok()?.trim().parse().ok()?;
        (texts? == BTreeSet::from([content(number)])).then_some(number)
    }

    /// Lets the timer of every node run again and again, until the value is dropped.
    pub(crate) fn timer(&self, every: Duration) -> Timer {
        let homes: Vec<PathBuf> = self.config.nodes.iter().map(|node| node.home.clone()).collect();
        let ends = Arc::new(AtomicBool::new(false));
        let ended = ends.clone();
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                for home in &homes {
                    sync(home);
                }
                std::thread::sleep(every);
            }
        });
        Timer { ends, thread: Some(thread) }
    }

    /// Lets the sync come to its end, beside the timers that run.
    pub(crate) fn settle(&self) -> Result<(), String> {
        for node in &self.config.nodes {
            let until = Instant::now() + Duration::from_secs(30);
            // Twice: what a timer has begun before is over then.
            for _ in 0..2 {
                let mut ended = sync(&node.home);
                while ended.0 != Some(0) && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(20));
                    ended = sync(&node.home);
                }
                if ended.0 != Some(0) {
                    return Err(format!("{}: {ended:?}", node.name));
                }
            }
        }
        Ok(())
    }
}

/// What cron or a timer starts on a node: its exit code and what it says.
pub(crate) fn sync(home: &Path) -> (Option<i32>, String) {
    let ran = Command::new(home.join(".ha-files/ha-files")).arg("sync").output().unwrap();
    (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

pub(crate) fn content(number: u64) -> String {
    format!("<service set=\"{number}\"/>{}", "x".repeat(usize::try_from(number % 7).unwrap()))
}

pub(crate) fn put(home: &Path, number: u64, publish: Publish) {
    let (live, new, old) = (home.join(TREE), home.join(format!("new-{number}")), home.join("old"));
    fs::create_dir_all(new.join("services")).unwrap();
    for file in 0..FILES {
        fs::write(new.join(format!("services/{file}.xml")), content(number)).unwrap();
    }
    std::os::unix::fs::symlink("../services/0.xml", new.join("services/link.xml")).unwrap();
    fs::write(new.join(".ha-generation"), number.to_string()).unwrap();
    fs::create_dir_all(live.parent().unwrap()).unwrap();
    if publish == Publish::Switch {
        let releases = home.join(format!("{TREE}.releases"));
        fs::create_dir_all(&releases).unwrap();
        let release = releases.join(format!("deployed-{number}"));
        let _ = fs::remove_dir_all(&release);
        fs::rename(&new, &release).unwrap();
        let link = home.join("link");
        std::os::unix::fs::symlink(format!("deployment.releases/deployed-{number}"), &link).unwrap();
        fs::rename(&link, &live).unwrap();
        return;
    }
    if live.exists() {
        fs::rename(&live, &old).unwrap();
    }
    fs::rename(&new, &live).unwrap();
    if old.exists() {
        fs::remove_dir_all(&old).unwrap();
    }
}

pub(crate) struct Timer {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn hosts(config: &RsyncConfig, over_ssh: Option<&OverSsh>) -> Vec<(String, Arc<dyn Host>)> {
    let text = |text: &str| Setting::Text(text.into());
    let list = |text: &str| Setting::List(vec![text.into()]);
    let host = |(place, node): (usize, &SharedNode)| {
        let mut component = Component::new(Name::new("host").unwrap());
        component.settings.extend([
            ("home".into(), text(&node.home.display().to_string())),
            ("start".into(), list("true")),
            ("stop".into(), list("true")),
            ("version".into(), list("true")),
            ("pid_file".into(), text("pid")),
            ("identity".into(), text(node.name.as_str())),
        ]);
        let host: Arc<dyn Host> = match over_ssh.and_then(|over_ssh| over_ssh.access[place].as_ref()) {
            None => Arc::new(LocalHost::new(LocalHostConfig::from_component(&component).unwrap())),
            Some(access) => {
                component.settings.extend([
                    ("host".into(), text(access.name())),
                    ("ssh_config".into(), text(&access.ssh_config().display().to_string())),
                    ("state_dir".into(), text(&node.home.join(".ha").display().to_string())),
                ]);
                Arc::new(SshHost::new(SshHostConfig::from_component(&component).unwrap()))
            }
        };
        (node.name.to_string(), host)
    };
    config.nodes.iter().enumerate().map(host).collect()
}
