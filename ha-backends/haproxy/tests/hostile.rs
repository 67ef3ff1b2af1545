//! Real HAProxy over bad lines, a socket whose connections are all taken, and a socket forwarded over SSH. Every call ends
//! inside its deadline, and what it says of its effect is true.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use ha_core::backend::{Admin, Effect, ErrorKind, LoadBalancer, MemberRef, ObserveBalancer, SetAdmin};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;
use ha_haproxy::{Endpoint, HaProxy, HaProxyConfig};
use ha_lab::fake_carbon::Relaunch;
use ha_lab::{
    FaultProxy, HaProxyProcess, HaProxySpec, Lab, Leg, LinkFault, ScriptedAnswer, ScriptedSocket, ServerSpec,
};

ha_lab::roles!();

const EPOCH: LeaseEpoch = LeaseEpoch::new(1);

fn member(name: &str) -> MemberRef {
    MemberRef::new(Name::new("esb").unwrap(), Name::new(name).unwrap())
}

fn set(admin: Admin) -> SetAdmin {
    SetAdmin::new(member("esb1"), admin)
}

/// HAProxy in front of servers that do not exist; only its admin socket matters here.
fn start(lab: &Lab) -> HaProxyProcess {
    let rows = ["esb1", "esb2"].map(|name| ServerSpec::new(name, lab.free_port().unwrap()));
    lab.haproxy("lb1", &HaProxySpec::new("esb", rows.to_vec()).without_checks()).unwrap()
}

fn lab() -> Lab {
    Lab::open(Relaunch::test().unwrap()).unwrap()
}

fn admin_of(process: &HaProxyProcess) -> Admin {
    let table = process.ask("show servers state esb").unwrap();
    let line = table.lines().find(|line| line.contains(" esb1 ")).unwrap();
    match line.split(' ').nth(6).unwrap() {
        "0" => Admin::Ready,
        "8" => Admin::Drain,
        "1" => Admin::Maint,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_anywhere_never_shows_an_idle_server_and_a_write_is_never_called_without_effect() {
    let lab = lab();
    let process = start(&lab);
    let proxy = FaultProxy::on_unix(lab.path().join("line.sock"), process.socket().to_path_buf()).unwrap();
    let config = HaProxyConfig::new(lab.path().join("line.sock")).with_deadline(Duration::from_secs(2));
    let whole = HaProxy::new(config.clone()).quiescence(&member("esb1")).await.unwrap();
    let answer = process.ask("show info;show stat esb 4 1").unwrap().len() as u64;
    for bytes in (0..answer).step_by(97).chain([answer - 3, answer - 2, answer - 1]) {
        let backend = HaProxy::new(config.clone());
        let known = backend.quiescence(&member("esb1")).await.unwrap();
        assert_eq!((known.sessions, known.queued), (whole.sessions, whole.queued));
        proxy.set(Leg::ToClient, LinkFault::CloseAfter(bytes));
        match backend.quiescence(&member("esb1")).await {
            Ok(figures) => assert_eq!(figures, known, "cut after {bytes}"),
            Err(error) => assert_eq!(error.effect(), Effect::None, "cut after {bytes}: {error}"),
        }
        proxy.set_both(LinkFault::None);
    }
    // The first exchange of a write reads; the cut falls into the second one, the write itself.
    for admin in [Admin::Drain, Admin::Maint, Admin::Ready] {
        proxy.set(Leg::ToClient, LinkFault::CloseAfter(0));
        let error = HaProxy::new(config.clone()).set_admin(EPOCH, set(admin)).await.unwrap_err();
        assert_eq!(error.effect(), Effect::None, "nothing was written yet: {error}");
        proxy.set_both(LinkFault::None);
        assert_ne!(admin_of(&process), admin);
        HaProxy::new(config.clone()).set_admin(EPOCH, set(admin)).await.unwrap();
        assert_eq!(admin_of(&process), admin);
    }
}

#[tokio::test]
async fn a_garbled_or_silent_line_ends_in_an_error_inside_the_deadline() {
    let lab = lab();
    let process = start(&lab);
    let proxy = FaultProxy::on_unix(lab.path().join("line.sock"), process.socket().to_path_buf()).unwrap();
    let config = HaProxyConfig::new(lab.path().join("line.sock")).with_deadline(Duration::from_millis(300));
    for (leg, fault) in [
        (Leg::ToClient, LinkFault::Garble),
        (Leg::ToTarget, LinkFault::Garble),
        (Leg::ToClient, LinkFault::Hold),
        (Leg::ToTarget, LinkFault::Hold),
    ] {
        proxy.set(leg, fault);
        let backend = HaProxy::new(config.clone());
        for error in [
            backend.quiescence(&member("esb1")).await.unwrap_err(),
            backend.identify().await.unwrap_err(),
            backend.set_admin(EPOCH, set(Admin::Maint)).await.unwrap_err(),
        ] {
            assert_eq!(error.effect(), Effect::None, "{leg:?} {fault:?}: {error}");
        }
        proxy.set_both(LinkFault::None);
    }
    assert_eq!(admin_of(&process), Admin::Ready);
}

#[tokio::test]
async fn a_socket_whose_ten_connections_are_taken_ends_in_a_timeout_and_works_again_afterwards() {
    let lab = lab();
    let process = start(&lab);
    let taken: Vec<UnixStream> = (0..10)
        .map(|_| {
            let mut stream = UnixStream::connect(process.socket()).unwrap();
            stream.write_all(b"prompt\n").unwrap();
            stream
        })
        .collect();
    let backend = HaProxy::new(HaProxyConfig::new(process.socket()).with_deadline(Duration::from_millis(300)));
    let error = backend.set_admin(EPOCH, set(Admin::Maint)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::None), "{error}");
    drop(taken);
    while backend.identify().await.is_err() {}
    assert_eq!(admin_of(&process), Admin::Ready);
}

#[tokio::test]
async fn our_own_calls_never_take_more_connections_than_they_are_given() {
    let lab = lab();
    let process = start(&lab);
    let backend = HaProxy::new(HaProxyConfig::new(process.socket()));
    let calls = (0..200).map(|_| {
        let backend = backend.clone();
        tokio::spawn(async move { backend.quiescence(&member("esb1")).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn exactly_one_line_goes_out_for_each_command_and_it_names_exactly_the_member() {
    let state = "\n1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
                 srv_check_state srv_port\n4 esb 1 esb1 127.0.0.1 2 0 1 1 6 8280\n\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let answer = move |line: &str| ScriptedAnswer::text(if line.contains("show") { state } else { "\n\n" });
    let socket = ScriptedSocket::on_unix(&path, answer).unwrap();
    let backend = HaProxy::new(HaProxyConfig::new(&path));
    let _ = backend.set_admin(EPOCH, set(Admin::Maint)).await;
    let expected =
        ["show servers state esb", "set severity-output number;set server esb/esb1 state maint;show servers state esb"];
    assert_eq!(socket.lines(), expected);
}

/// The socket of another machine, brought here by `ssh -L`.
#[tokio::test]
async fn a_socket_forwarded_over_ssh_is_driven_like_any_other() {
    let lab = lab();
    let process = start(&lab);
    let host = lab.ssh_host("lbhost").unwrap();
    let (here, config) = (lab.path().join("fwd.sock"), lab.ssh_config([host.access()]).unwrap());
    let forward = format!("{}:{}", here.display(), process.socket().display());
    let mut ssh = Command::new("ssh")
        .args(["-F", &config.display().to_string(), "-N", "-o", "ExitOnForwardFailure=yes", "-L", &forward, "lbhost"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..500 {
        if here.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let backend = HaProxy::new(HaProxyConfig::at(Endpoint::Unix(here)));
    let tried = async {
        backend.set_admin(EPOCH, set(Admin::Drain)).await?;
        backend.quiescence(&member("esb1")).await
    };
    let tried = tried.await;
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    tried.unwrap();
    assert_eq!(admin_of(&process), Admin::Drain);
    // With the line gone nothing can have happened.
    let error = backend.set_admin(EPOCH, set(Admin::Ready)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::None), "{error}");
}
