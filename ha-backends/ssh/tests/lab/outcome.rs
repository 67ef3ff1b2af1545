//! Whether the command ran: H1, H2, H4.

use std::time::Duration;

use ha_core::backend::{DetachedWork, Effect, Ended, ErrorKind, Host, ObserveDetachedWork, WorkState};
use ha_lab::Direction;
use tokio::time::{Instant, sleep};

use crate::fixture::{FIRST, drive, ended, id, install, lab, lines, sh};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn exit_codes_signals_and_lost_connections_are_different_values() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    for code in [0, 1, 7, 126, 127, 137, 143, 255] {
        let ran = host.run(FIRST, sh(&format!("exit {code}"), LONG)).await.unwrap();
        assert_eq!(ran.ended, Ended::Exited(code));
    }
    for (name, signal) in [("TERM", 15), ("KILL", 9), ("INT", 2), ("SEGV", 11), ("PIPE", 13)] {
        let ran = host.run(FIRST, sh(&format!("echo out; kill -{name} $$"), LONG)).await.unwrap();
        assert_eq!((ran.ended, ran.stdout.as_str()), (Ended::Signaled(signal), "out\n"), "{name}");
    }
    let run = {
        let host = host.clone();
        tokio::spawn(async move { host.run(FIRST, sh("sleep 5", Duration::from_secs(3))).await })
    };
    sleep(Duration::from_millis(500)).await;
    machine.stop().unwrap();
    let error = run.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{error}");
    // The connection is known to be gone by now: nothing can have been sent.
    let error = host.run(FIRST, sh("exit 0", Duration::from_secs(3))).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::None), "{error}");
}

#[tokio::test]
async fn a_command_says_what_it_says_and_not_more_than_is_kept() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    let command = sh("pwd; echo \"$HA_NODE\" >&2; exit 3", LONG).with_env("HA_NODE", "esb'1");
    let ran = host.run(FIRST, command).await.unwrap();
    assert_eq!((ran.ended, ran.stdout.as_str(), ran.stderr.as_str()), (Ended::Exited(3), "/srv/esb\n", "esb'1\n"));
    let mut command = sh("seq 1 100000", LONG);
    command.output_limit = 7;
    assert_eq!(host.run(FIRST, command).await.unwrap().stdout, "100000\n");
    let missing = ha_core::backend::RunCommand::new(vec!["no-such-program".into()], LONG);
    let error = host.run(FIRST, missing).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::None), "{error}");
}

#[tokio::test]
async fn a_command_past_its_deadline_is_killed_with_its_group_and_its_effect_is_unknown() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    let began = Instant::now();
    let slow = sh("sleep 30 & sleep 30; echo x >>late", Duration::from_secs(1)).with_id(id("slow"));
    let error = host.run(FIRST, slow).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(ended(&host, &id("slow")).await, WorkState::Overdue);
    let sleeps = || machine.pids().iter().filter(|pid| command_line(**pid).starts_with("sleep\x0030")).count();
    assert_eq!((sleeps(), lines(home.join("late"))), (0, 0));
}

fn command_line(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

#[tokio::test]
async fn a_silent_network_leaves_the_outcome_unknown_in_time_and_the_effect_is_found_again() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let faults: [(&str, &dyn Fn()); 5] = [
        ("cut", &|| machine.cut_link().unwrap()),
        ("deaf", &|| machine.blackhole(Direction::Inbound).unwrap()),
        ("mute", &|| machine.blackhole(Direction::Outbound).unwrap()),
        ("hole", &|| machine.blackhole(Direction::Both).unwrap()),
        ("frozen", &|| assert!(machine.freeze_sessions() > 0)),
    ];
    for (name, inflict) in faults {
        let host = drive(machine.access());
        let command = sh(&format!("sleep 1; echo x >>{name}"), Duration::from_secs(2)).with_id(id(name));
        let began = Instant::now();
        let call = tokio::spawn(async move { (host.run(FIRST, command).await, host) });
        sleep(Duration::from_millis(600)).await;
        inflict();
        let (ran, host) = call.await.unwrap();
        match ran {
            Err(error) => assert_eq!(error.effect(), Effect::Unknown, "{name}: {error}"),
            // A machine that hears nothing still says how the command ended.
            Ok(ran) => assert!(name == "deaf" && ran.is_success(), "{name}: {ran:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(3), "{name}: {:?}", began.elapsed());
        machine.heal().unwrap();
        machine.restore_link().unwrap();
        machine.thaw_sessions();
        assert_eq!(ended(&host, &id(name)).await, WorkState::Exited(0), "{name}");
        assert_eq!(lines(home.join(name)), 1, "{name}");
    }
}

#[tokio::test]
async fn a_link_cut_during_a_command_is_resolved_by_attaching_again_inside_the_deadline() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    let began = Instant::now();
    let run = {
        let host = host.clone();
        tokio::spawn(async move { host.run(FIRST, sh("sleep 2; echo x >>once; echo done", LONG)).await })
    };
    sleep(Duration::from_millis(800)).await;
    assert!(machine.kill_sessions() > 0);
    let ran = run.await.unwrap().unwrap();
    assert_eq!((ran.ended, ran.stdout.as_str()), (Ended::Exited(0), "done\n"));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(lines(home.join("once")), 1);
    // The same with silence: the keepalive gives the connection up after 4 s, the link is back by then.
    let run = {
        let host = host.clone();
        tokio::spawn(async move { host.run(FIRST, sh("sleep 2; echo x >>twice", LONG)).await })
    };
    sleep(Duration::from_millis(800)).await;
    machine.freeze_sessions();
    let ran = run.await.unwrap().unwrap();
    assert!(ran.is_success(), "{ran:?}");
    machine.thaw_sessions();
    assert_eq!(lines(home.join("twice")), 1);
}

#[tokio::test]
async fn a_blip_of_four_seconds_does_not_end_a_call_with_the_default_keepalive() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let mut settings = crate::fixture::settings(machine.access());
    settings.remove("keepalive");
    let host = crate::fixture::build(settings);
    let run = tokio::spawn(async move { host.run(FIRST, sh("sleep 6; echo x >>once", LONG)).await });
    sleep(Duration::from_millis(1500)).await;
    machine.cut_link().unwrap();
    sleep(Duration::from_secs(4)).await;
    machine.restore_link().unwrap();
    let ran = run.await.unwrap().unwrap();
    assert!(ran.is_success() && lines(home.join("once")) == 1, "{ran:?}");
}

#[tokio::test]
async fn work_of_a_machine_that_lost_its_power_is_lost_and_not_run_again() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    host.launch(FIRST, id("w"), sh("echo x >>begun; sleep 30", LONG)).await.unwrap();
    while lines(home.join("begun")) == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    machine.power_cycle().unwrap();
    assert_eq!(ended(&host, &id("w")).await, WorkState::Lost);
    let again = host.launch(FIRST, id("w"), sh("echo x >>begun", LONG)).await.unwrap();
    assert_eq!(again, ha_core::backend::Applied::AlreadySo);
    let error = host.run(FIRST, sh("echo x >>begun", LONG).with_id(id("w"))).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::Unknown), "{error}");
    assert_eq!((host.state(&id("w")).await.unwrap(), lines(home.join("begun"))), (WorkState::Lost, 1));
}
