//! Work that outlives its connection: H3, H15.

use std::time::Duration;

use ha_core::backend::{Applied, DetachedWork, ErrorKind, Host, ObserveDetachedWork, WorkState};
use tokio::time::sleep;

use crate::fixture::{FIRST, Random, drive, ended, id, install, lab, lines, sh, start_surely, trials};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn starts_with_the_client_killed_or_the_link_cut_at_random_run_exactly_once_each() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let judge = runtime();
    let mut random = Random(0x5eed_cafe);
    for trial in 0..trials(30) {
        let (name, command) = (id(&format!("trial-{trial}")), sh(&format!("echo x >>trial-{trial}"), LONG));
        let (fault, pause) = (random.below(4), Duration::from_millis(random.below(60)));
        let client = runtime();
        let host = drive(machine.access());
        // The connection is up: the fault falls into the start itself.
        assert_eq!(client.block_on(host.state(&name)).unwrap(), WorkState::Absent, "{trial}");
        let (starter, started, asked) = (host.clone(), name.clone(), command.clone());
        let start = client.spawn(async move { starter.launch(FIRST, started, asked).await });
        std::thread::sleep(pause);
        match fault {
            // The controller dies: its tasks, its ssh and its lifeline go.
            0 => {
                drop(host);
                client.shutdown_background();
            }
            1 => {
                machine.kill_sessions();
                let _ = client.block_on(start);
            }
            2 => {
                machine.cut_link().unwrap();
                std::thread::sleep(Duration::from_millis(200));
                drop(host);
                client.shutdown_background();
                machine.restore_link().unwrap();
            }
            _ => drop(client.block_on(start).unwrap().unwrap()),
        }
        let host = drive(machine.access());
        judge.block_on(async {
            start_surely(&host, &name, &command).await;
            assert_eq!(ended(&host, &name).await, WorkState::Exited(0), "trial {trial}, fault {fault}, {pause:?}");
        });
        assert_eq!(lines(home.join(format!("trial-{trial}"))), 1, "trial {trial}, fault {fault}, {pause:?}");
    }
}

#[tokio::test]
async fn two_starts_at_once_under_one_name_are_one_run() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    for turn in 0..5 {
        let hosts = [drive(machine.access()), drive(machine.access())];
        let (name, command) = (id(&format!("w{turn}")), sh(&format!("echo x >>w{turn}"), LONG));
        let [one, other] = &hosts;
        let (one, other) = tokio::join!(
            one.launch(FIRST, name.clone(), command.clone()),
            other.launch(FIRST, name.clone(), command.clone())
        );
        let applied = [one.unwrap(), other.unwrap()];
        assert!(applied.contains(&Applied::Applied), "{applied:?}");
        assert_eq!(ended(&hosts[0], &name).await, WorkState::Exited(0));
        assert_eq!(lines(home.join(format!("w{turn}"))), 1);
    }
}

#[tokio::test]
async fn two_runs_under_one_name_are_one_run_and_both_learn_how_it_ended() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let (one, other) = (drive(machine.access()), drive(machine.access()));
    let command = sh("echo x >>once; sleep 0.3; echo said; exit 4", LONG).with_id(id("run.7"));
    let (one, other) = tokio::join!(one.run(FIRST, command.clone()), other.run(FIRST, command.clone()));
    for ran in [one.unwrap(), other.unwrap()] {
        assert_eq!((ran.ended, ran.stdout.as_str()), (ha_core::backend::Ended::Exited(4), "said\n"));
    }
    assert_eq!(lines(home.join("once")), 1);
}

#[tokio::test]
async fn work_is_seen_running_its_output_is_read_and_it_is_cancelled_with_its_group() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    assert_eq!(host.state(&id("w")).await.unwrap(), WorkState::Absent);
    assert_eq!(host.tail(&id("w"), 10).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(host.cancel(FIRST, &id("w")).await.unwrap(), Applied::AlreadySo);
    let command = sh("echo out; echo err >&2; sleep 60 & sleep 60", LONG);
    assert_eq!(host.launch(FIRST, id("w"), command.clone()).await.unwrap(), Applied::Applied);
    assert_eq!(host.launch(FIRST, id("w"), command).await.unwrap(), Applied::AlreadySo);
    while host.tail(&id("w"), 10).await.map_or(true, |output| output.stderr.is_empty()) {
        sleep(Duration::from_millis(20)).await;
    }
    let output = host.tail(&id("w"), 10).await.unwrap();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(host.state(&id("w")).await.unwrap(), WorkState::Running);
    assert_eq!(host.cancel(FIRST, &id("w")).await.unwrap(), Applied::Applied);
    assert_eq!(ended(&host, &id("w")).await, WorkState::Signaled(15));
    assert_eq!(host.cancel(FIRST, &id("w")).await.unwrap(), Applied::AlreadySo);
}

#[tokio::test]
async fn another_controller_finds_the_work_of_one_that_died() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let first = drive(machine.access());
    let command = sh("echo x >>once; sleep 1; exit 9", LONG).with_id(id("patch-7.12"));
    let run = {
        let command = command.clone();
        tokio::spawn(async move { first.run(FIRST, command).await })
    };
    while lines(home.join("once")) == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    machine.kill_sessions();
    run.abort();
    let second = drive(machine.access());
    assert_eq!(second.state(&id("patch-7.12")).await.unwrap(), WorkState::Running);
    let ran = second.run(crate::fixture::SECOND, command).await.unwrap();
    assert_eq!(ran.ended, ha_core::backend::Ended::Exited(9));
    assert_eq!(lines(home.join("once")), 1);
}
