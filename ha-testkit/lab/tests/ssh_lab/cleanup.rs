//! Nothing is left behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ha_lab::SshSpec;

use super::{lab, wait_for};

const VICTIM: &str = "HA_SSH_LAB_VICTIM";

/// What of a lab is still there: processes, namespaces and links, its folder.
struct Remains {
    dir: String,
    slot: String,
}

impl Remains {
    fn processes(&self, file: &str) -> Vec<String> {
        let dirs = std::fs::read_dir("/proc").unwrap().flatten();
        let has = |dir: &std::fs::DirEntry| {
            let text = std::fs::read(dir.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&text).contains(&self.dir)
        };
        dirs.filter(has).map(|dir| dir.file_name().to_string_lossy().into_owned()).collect()
    }

    fn network(&self) -> Vec<String> {
        let dirs = ["/run/netns", "/sys/class/net"];
        let entries = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let ours = ['b', 'v', 'n'].map(|kind| format!("hl{}{kind}", self.slot));
        names.filter(|name| ours.iter().any(|prefix| name.starts_with(prefix))).collect()
    }

    /// The control groups of its systemds, in every tree that is shown here.
    fn control_groups(&self) -> Vec<String> {
        let lab = Path::new(&self.dir).file_name().unwrap().to_string_lossy().into_owned();
        let trees = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];
        let entries = trees.iter().flat_map(|tree| std::fs::read_dir(tree).into_iter().flatten().flatten());
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(&lab)).collect()
    }

    fn all_gone(&self) -> bool {
        self.control_groups().is_empty()
            && self.processes("cmdline").is_empty()
            && self.network().is_empty()
            && !Path::new(&self.dir).exists()
    }
}

/// Starts this test again as a victim and waits until its lab is up.
fn victim(test: &str) -> (Child, Remains) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(VICTIM, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).find_map(|line| line.split("lab at ").nth(1).map(str::to_string)).unwrap();
    let (dir, slot) = told.split_once(' ').unwrap();
    let remains = Remains { dir: dir.into(), slot: slot.into() };
    assert!(remains.processes("cmdline").len() >= 4, "two sshd, two unshare: {:?}", remains.processes("cmdline"));
    assert_eq!(remains.network().len(), 3, "a bridge, a cable, a namespace: {:?}", remains.network());
    let shown = ["", "/systemd", "/unified"]
        .iter()
        .any(|tree| Path::new(&format!("/sys/fs/cgroup{tree}/cgroup.procs")).exists());
    assert!(!shown || remains.control_groups().len() >= 2, "one each: {:?}", remains.control_groups());
    (victim, remains)
}

fn live_until_killed() {
    let lab = lab();
    let spec = SshSpec::new().with_systemd();
    let host = lab.ssh_host_with("esb1", &spec).unwrap();
    let _machine = lab.ssh_machine_with("esb2", &spec).unwrap();
    println!("lab at {} {}", lab.path().display(), host.address().octets()[2]);
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn nothing_is_left_behind_after_kill_9_of_the_lab() {
    if std::env::var_os(VICTIM).is_some() {
        return live_until_killed();
    }
    let (mut victim, remains) = victim("cleanup::nothing_is_left_behind_after_kill_9_of_the_lab");
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("the end of all that the lab had made", || remains.all_gone());
}

#[test]
fn what_a_killed_guardian_left_behind_is_cleared_away_by_the_next_lab() {
    if std::env::var_os(VICTIM).is_some() {
        return live_until_killed();
    }
    let (mut victim, remains) = victim("cleanup::what_a_killed_guardian_left_behind_is_cleared_away_by_the_next_lab");
    let guardian = remains.processes("environ").into_iter().find(|pid| {
        let text = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&text).contains("HA_TESTKIT_ROLE=guardian")
    });
    let guardian = guardian.unwrap();
    assert!(Command::new("kill").args(["-9", &guardian]).status().unwrap().success());
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("the end of its programs", || remains.processes("cmdline").is_empty());
    let next = lab();
    let _host = next.ssh_host("esb1").unwrap();
    wait_for("the end of the rest", || remains.all_gone());
}

#[test]
fn a_closed_lab_has_left_nothing_behind() {
    let lab = lab();
    let host = lab.ssh_host("esb1").unwrap();
    let machine = lab.ssh_machine("esb2").unwrap();
    let remains = Remains { dir: lab.path().display().to_string(), slot: machine.address().octets()[2].to_string() };
    drop(lab);
    assert!(remains.all_gone(), "{:?} {:?}", remains.processes("cmdline"), remains.network());
    assert!(host.start().is_err(), "a host does not outlive its lab");
}
