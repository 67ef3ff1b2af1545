//! What the gate, the checks of the source and the directed release cost beside the same rsync without them.
//!
//! Floors, in the same run and in turns: raw rsync with the same options over the same ssh master, and `sha256sum` of the
//! same files. Needs root.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ha_backends::local::{LocalHost, LocalHostConfig};
use ha_backends::rsync::{Publish, Rsync, RsyncConfig, SharedNode};
use ha_backends::ssh::{SshHost, SshHostConfig};
use ha_core::backend::{FileSync, HoldFiles, Host, ReleaseFiles};
use ha_core::state::LeaseEpoch;
use ha_core::topology::{Component, Name, Setting};
use ha_lab::fake_carbon::{Relaunch, run_if_asked};
use ha_lab::{Lab, SshHost as Machine};
use tokio::runtime::Runtime;

const FILES: usize = 10_000;
const CHANGED: usize = 100;
const TURNS: usize = 21;
const EPOCH: LeaseEpoch = LeaseEpoch::new(1);
const TREE: &str = "shared";

struct Bench {
    _lab: Lab,
    _reader: Machine,
    dir: tempfile::TempDir,
    ssh_config: PathBuf,
    files: Rsync,
    nodes: [Name; 2],
}

fn component(home: &Path) -> Component {
    let mut component = Component::new(Name::new("host").unwrap());
    let list = |text: &str| Setting::List(vec![text.into()]);
    component.settings.extend([
        ("home".into(), Setting::Text(home.display().to_string())),
        ("start".into(), list("true")),
        ("stop".into(), list("true")),
        ("version".into(), list("true")),
        ("pid_file".into(), Setting::Text("pid".into())),
        ("identity".into(), Setting::Text("-Dno.such.server".into())),
    ]);
    component
}

impl Bench {
    /// A writer on this machine and a reader behind ssh, with one master between them.
    fn start(runtime: &Runtime) -> Self {
        let lab = Lab::open(Relaunch::program().unwrap()).unwrap();
        let reader = lab.ssh_host("esb2").unwrap();
        let dir = tempfile::tempdir_in(lab.path()).unwrap();
        let ssh_config = dir.path().join("ssh_config");
        let master = dir.path().join("master");
        let stanza = fs::read_to_string(reader.access().ssh_config()).unwrap();
        let shared = format!(
            "{stanza}\nHost *\n    ControlMaster auto\n    ControlPath {}\n    ControlPersist 600\n",
            master.display()
        );
        fs::write(&ssh_config, shared).unwrap();
        let nodes = ["esb1", "esb2"].map(|name| Name::new(name).unwrap());
        let homes = ["esb1", "esb2"].map(|name| dir.path().join(name));
        for (at, home) in homes.iter().enumerate() {
            fs::create_dir_all(home.join(TREE)).unwrap();
            if at == 0 {
                fill(&home.join(TREE));
            }
        }
        fs::create_dir_all(dir.path().join("raw")).unwrap();
        let mut config = RsyncConfig::new(
            TREE,
            nodes.iter().zip(&homes).map(|(name, home)| SharedNode::new(name.clone(), home)).collect(),
        );
        config.rsh = ["ssh", "-F", ssh_config.to_str().unwrap()].map(String::from).to_vec();
        let mut there = component(&homes[1]);
        there.settings.extend([
            ("host".into(), Setting::Text("esb2".into())),
            ("ssh_config".into(), Setting::Text(reader.access().ssh_config().display().to_string())),
            ("state_dir".into(), Setting::Text(homes[1].join(".ha").display().to_string())),
        ]);
        let hosts: Vec<(String, Arc<dyn Host>)> = vec![
            ("esb1".into(), Arc::new(LocalHost::new(LocalHostConfig::from_component(&component(&homes[0])).unwrap()))),
            ("esb2".into(), Arc::new(SshHost::new(SshHostConfig::from_component(&there).unwrap()))),
        ];
        let files = Rsync::new(&config, &hosts).unwrap();
        runtime.block_on(files.install(EPOCH)).unwrap();
        let bench = Self { _lab: lab, _reader: reader, dir, ssh_config, files, nodes };
        // Both begin with a whole copy.
        bench.sync();
        bench.raw();
        bench
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("esb1").join(TREE)
    }

    /// Shares the same files by releases, two of which the reader has then.
    fn released(&self, runtime: &Runtime) -> Rsync {
        let homes = ["switched1", "switched2"].map(|name| self.dir.path().join(name));
        let nodes = self.nodes.iter().zip(&homes).map(|(name, home)| SharedNode::new(name.clone(), home));
        let mut config = RsyncConfig::new(TREE, nodes.collect());
        config.publish = Publish::Switch;
        let hosts = self.nodes.iter().zip(&homes).map(|(name, home)| {
            let host = LocalHost::new(LocalHostConfig::from_component(&component(home)).unwrap());
            (name.to_string(), Arc::new(host) as Arc<dyn Host>)
        });
        for home in &homes {
            fs::create_dir_all(home.join("shared.releases")).unwrap();
        }
        let files = Rsync::new(&config, &hosts.collect::<Vec<_>>()).unwrap();
        for release in ["one", "two"] {
            fill(&homes[0].join("shared.releases").join(release));
            fs::write(homes[0].join("shared.releases").join(release).join("name"), release).unwrap();
            let link = homes[0].join("link");
            std::os::unix::fs::symlink(format!("shared.releases/{release}"), &link).unwrap();
            fs::rename(&link, homes[0].join(TREE)).unwrap();
            runtime.block_on(files.install(EPOCH)).unwrap();
            timed(Command::new(homes[0].join(".ha-files/ha-files")).arg("sync"));
        }
        files
    }

    /// The sync that a timer starts.
    fn sync(&self) -> Duration {
        timed(Command::new(self.dir.path().join("esb1/.ha-files/ha-files")).arg("sync"))
    }

    /// The same options, and nothing around them.
    fn raw(&self) -> Duration {
        let options =
            ["-aO", "--modify-window=-1", "--delete-after", "--max-delete=100", "--timeout=30", "--delay-updates"];
        let mut rsync = Command::new("rsync");
        rsync.args(options).arg("-e").arg(format!("ssh -F {}", self.ssh_config.display()));
        rsync.arg("./").arg(format!("esb2:{}/", self.dir.path().join("raw").display())).current_dir(self.tree());
        timed(&mut rsync)
    }

    /// Gives some files a new content of the same length.
    fn change(&self, turn: usize) {
        for file in 0..CHANGED {
            let place = (turn * 37 + file * 97) % FILES;
            fs::write(path_of(&self.tree(), place), content(place, turn)).unwrap();
        }
    }
}

fn path_of(tree: &Path, file: usize) -> PathBuf {
    tree.join(format!("{}/{file}.xml", file % 100))
}

fn content(file: usize, turn: usize) -> String {
    format!("{turn:>8}{}", "x".repeat(200 + file % 4000))
}

fn fill(tree: &Path) {
    for folder in 0..100 {
        fs::create_dir_all(tree.join(folder.to_string())).unwrap();
    }
    for file in 0..FILES {
        fs::write(path_of(tree, file), content(file, 0)).unwrap();
    }
    fs::write(tree.join(".ha-generation"), "1").unwrap();
}

fn timed(command: &mut Command) -> Duration {
    let began = Instant::now();
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    assert!(ended.success(), "{ended}");
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn compare(what: &str, ours: Vec<Duration>, floor: Vec<Duration>) {
    let (ours, floor) = (median(ours), median(floor));
    println!("{what:<44} {ours:>8.1} ms   floor {floor:>8.1} ms   {:>5.2} x", ours / floor);
}

fn main() {
    run_if_asked();
    if !rustix::process::geteuid().is_root() {
        println!("files: needs root");
        return;
    }
    let runtime = Runtime::new().unwrap();
    let bench = Bench::start(&runtime);
    println!("{FILES} files, medians of {TURNS} turns; floor: rsync with the same options over the same ssh master");

    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.push(bench.sync());
        floor.push(bench.raw());
    }
    compare("sync, nothing changed", ours, floor);

    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        bench.change(turn + 1);
        if turn % 2 == 0 {
            ours.push(bench.sync());
            floor.push(bench.raw());
        } else {
            floor.push(bench.raw());
            ours.push(bench.sync());
        }
    }
    compare(&format!("sync, {CHANGED} files changed"), ours, floor);

    let (mut holds, mut releases, mut opened) = (Vec::new(), Vec::new(), Vec::new());
    let took = |call: &dyn Fn()| {
        let began = Instant::now();
        call();
        began.elapsed()
    };
    let deadline = Duration::from_secs(60);
    let hold = || {
        let request = HoldFiles::new(bench.nodes[1].clone()).with_deadline(deadline);
        runtime.block_on(bench.files.hold(EPOCH, request)).unwrap();
    };
    let release = || {
        let request = ReleaseFiles::new(bench.nodes[1].clone()).with_deadline(deadline);
        runtime.block_on(bench.files.release(EPOCH, request)).unwrap();
    };
    for turn in 0..TURNS {
        holds.push(took(&hold));
        opened.push(took(&release));
        hold();
        bench.change(TURNS + turn + 1);
        releases.push(took(&release));
    }
    println!("hold                                         {:>8.1} ms", median(holds));
    println!("release, nothing changed                     {:>8.1} ms", median(opened));
    println!("release, {CHANGED} files changed                  {:>8.1} ms", median(releases));

    let switched = bench.released(&runtime);
    let kept = runtime.block_on(switched.releases(&bench.nodes[1])).unwrap();
    assert_eq!(kept.len(), 2, "the reader keeps both releases");
    let mut back = Vec::new();
    for turn in 0..TURNS {
        let to = &kept[(turn + 1) % 2];
        back.push(took(&|| {
            runtime.block_on(switched.switch_back(EPOCH, &bench.nodes[1], to)).unwrap();
        }));
    }
    println!("switch back to a release, its files looked at   {:>5.1} ms", median(back));

    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    let tree = bench.tree();
    for _ in 0..TURNS {
        ours.push(took(&|| {
            let read = bench.files.generation_in(&bench.nodes[0], tree.to_str().unwrap());
            runtime.block_on(read).unwrap();
        }));
        let line = "find . -type f -print0 | sort -z | xargs -0 sha256sum";
        floor.push(timed(Command::new("sh").args(["-c", line]).current_dir(&tree)));
    }
    compare("manifest; floor: find, sort and sha256sum", ours, floor);
}
