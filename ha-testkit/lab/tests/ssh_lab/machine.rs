//! Machines fail as real ones do.

use std::process::Command;

use ha_lab::{Direction, SshMachine, SshSpec};

use super::session::Session;
use super::{complaint, lab, run, wait_for};

/// What the real ssh says that waits one second for a connection.
fn short_try(machine: &SshMachine) -> String {
    let tried = Command::new("ssh")
        .args(["-o", "ConnectTimeout=1", "-F"])
        .arg(machine.ssh_config())
        .args([machine.name(), "true"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&tried.stderr).into_owned()
}

#[test]
fn a_machine_answers_in_strict_mode_and_has_everything_of_its_own() {
    let lab = lab();
    let (one, two) = (lab.ssh_machine("esb1").unwrap(), lab.ssh_machine("esb2").unwrap());
    assert_eq!(run(one.access(), "hostname; cat /proc/1/comm; ls -A"), "esb1\nsshd");
    assert_ne!(one.access().host_public_key().unwrap(), two.access().host_public_key().unwrap());
    let greet = format!("exec 3<>/dev/tcp/{}/22; head -c 4 <&3", two.address());
    assert_eq!(run(one.access(), &format!("bash -c '{greet}'")), "SSH-", "machines reach each other");
    let links = run(one.access(), "cat /proc/net/dev | cut -d: -f1 -s | sort | xargs");
    assert!(links.contains("eth0") && !links.contains("hl"), "a network of its own: {links}");
    let id = "cat /etc/machine-id /proc/sys/kernel/random/boot_id";
    assert_ne!(run(one.access(), id), run(two.access(), id));
    run(one.access(), "touch /tmp/ha-lab-machine-mark");
    assert!(one.outside("/tmp/ha-lab-machine-mark").unwrap().exists());
    assert!(!std::path::Path::new("/tmp/ha-lab-machine-mark").exists());
}

#[test]
fn a_cut_link_is_silence_and_heals() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let mut patient = Session::open(machine.access(), "cat");
    let mut watchful = Session::watchful(machine.access(), "cat");
    machine.cut_link().unwrap();
    patient.say("are you there?");
    let said = watchful.lost();
    assert!(said.contains("not responding"), "{said}");
    assert!(patient.is_silent());
    machine.restore_link().unwrap();
    patient.expect("are you there?");
    assert_eq!(run(machine.access(), "echo back"), "back");
}

#[test]
fn a_blackhole_swallows_in_each_direction_until_it_heals() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    for direction in [Direction::Inbound, Direction::Outbound, Direction::Both] {
        let mut open = Session::open(machine.access(), "cat >/srv/heard");
        machine.blackhole(direction).unwrap();
        let said = short_try(&machine);
        assert!(said.contains("timed out"), "{direction:?}: {said}");
        open.say("word");
        if direction == Direction::Outbound {
            let heard = machine.outside("/srv/heard").unwrap();
            wait_for("what still comes in", || std::fs::read_to_string(&heard).is_ok_and(|text| text == "word\n"));
        }
        machine.heal().unwrap();
        assert_eq!(run(machine.access(), "echo back"), "back", "{direction:?}");
    }
}

#[test]
fn a_power_cycle_is_silent_changes_the_boot_id_and_keeps_srv() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let facts = |file: &str| run(machine.access(), &format!("cat {file}"));
    run(machine.access(), "echo kept >/srv/mark; echo lost >/run/mark");
    let (boot, id) = (facts("/proc/sys/kernel/random/boot_id"), facts("/etc/machine-id"));
    let mut session = Session::watchful(machine.access(), "sleep 600");
    let before = machine.pids();
    assert!(before.len() >= 3, "sshd, a session, its sleep: {before:?}");
    machine.power_off().unwrap();
    let said = session.lost();
    assert!(said.contains("not responding"), "the dead say no farewell: {said}");
    assert!(machine.pids().is_empty());
    machine.power_on().unwrap();
    assert!(machine.pids().iter().all(|pid| !before.contains(pid)));
    assert_ne!(facts("/proc/sys/kernel/random/boot_id"), boot);
    assert_eq!(facts("/etc/machine-id"), id);
    assert_eq!(facts("/srv/mark"), "kept");
    assert!(complaint(machine.access(), "cat /run/mark").contains("No such file"));
    machine.blackhole(Direction::Both).unwrap();
    machine.power_cycle().unwrap();
    assert_eq!(facts("/srv/mark"), "kept", "a power-cycle heals the network");
}

#[test]
fn a_frozen_session_is_silent_while_new_ones_answer_and_thaws() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let mut patient = Session::open(machine.access(), "cat");
    let mut watchful = Session::watchful(machine.access(), "cat");
    assert_eq!(machine.freeze_sessions(), 2);
    patient.say("are you there?");
    let said = watchful.lost();
    assert!(said.contains("not responding"), "{said}");
    assert!(patient.is_silent());
    assert_eq!(run(machine.access(), "echo new"), "new");
    machine.thaw_sessions();
    patient.expect("are you there?");
}

#[test]
fn what_a_killed_session_has_started_goes_on() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let mut session =
        Session::open(machine.access(), "while ! [ -e /srv/go ]; do sleep 0.05; done; echo done >/srv/done");
    assert_eq!(machine.kill_sessions(), 1);
    session.lost();
    std::fs::write(machine.outside("/srv/go").unwrap(), "").unwrap();
    let done = machine.outside("/srv/done").unwrap();
    wait_for("the orphan's end", || done.exists());
}

#[test]
fn a_small_disk_fills_up() {
    let lab = lab();
    let machine = lab.ssh_machine_with("esb1", &SshSpec::new().with_small_disk(1 << 20)).unwrap();
    assert!(complaint(machine.access(), "head -c 2000000 /dev/zero >/srv/small/big").contains("No space left"));
    assert_eq!(run(machine.access(), "rm /srv/small/big; echo fits >/srv/small/s; cat /srv/small/s"), "fits");
}
