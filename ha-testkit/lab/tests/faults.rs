//! The fault proxy and the scripted socket spoil a connection exactly as they were told.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ha_lab::fake_carbon::Relaunch;
use ha_lab::{Endpoint, FaultProxy, HaProxySpec, Lab, Leg, LinkFault, ScriptedAnswer, ScriptedSocket, ServerSpec};

ha_lab::roles!();

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A socket that answers each command with itself.
fn parrot() -> ScriptedSocket {
    ScriptedSocket::on_tcp(|command| ScriptedAnswer::text(format!("you said {command}\n"))).unwrap()
}

fn connect(endpoint: &Endpoint) -> TcpStream {
    TcpStream::connect(("127.0.0.1", endpoint.port())).unwrap()
}

fn ask(endpoint: &Endpoint, command: &str) -> std::io::Result<String> {
    let mut stream = connect(endpoint);
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn assert_silent(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let kind = stream.read(&mut [0]).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind:?}");
    stream.set_read_timeout(None).unwrap();
}

fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_proxy_without_a_fault_passes_everything_and_keeps_what_the_client_sent() {
    let target = parrot();
    let proxy = FaultProxy::on_tcp(target.endpoint().clone()).unwrap();
    assert_eq!(ask(proxy.endpoint(), "show info").unwrap(), "you said show info\n");
    assert_eq!(ask(proxy.endpoint(), "show stat").unwrap(), "you said show stat\n");
    assert_eq!((proxy.connections(), proxy.last_request()), (2, b"show stat\n".to_vec()));
    proxy.set_both(LinkFault::Delay(Duration::from_millis(20)));
    assert_eq!(ask(proxy.endpoint(), "late").unwrap(), "you said late\n");
}

#[test]
fn an_answer_is_cut_after_exactly_as_many_bytes_as_asked_although_the_command_went_through() {
    let target = parrot();
    let proxy = FaultProxy::on_tcp(target.endpoint().clone()).unwrap();
    for (bytes, part) in [(0, ""), (1, "y"), (8, "you said")] {
        proxy.set(Leg::ToClient, LinkFault::CloseAfter(bytes));
        assert_eq!(ask(proxy.endpoint(), "hello").unwrap(), part);
    }
    proxy.set(Leg::ToClient, LinkFault::ResetAfter(0));
    assert_eq!(ask(proxy.endpoint(), "hello").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(target.lines(), ["hello"; 4]);
}

#[test]
fn a_command_that_is_cut_on_its_way_never_reaches_the_target_whole() {
    let target = parrot();
    let proxy = FaultProxy::on_tcp(target.endpoint().clone()).unwrap();
    proxy.set(Leg::ToTarget, LinkFault::CloseAfter(5));
    assert_eq!(ask(proxy.endpoint(), "set server").unwrap(), "");
    wait_for("what came", || !target.received().is_empty());
    assert_eq!(target.received(), [b"set s".to_vec()]);
    assert_eq!(proxy.last_request(), b"set server\n");
}

#[test]
fn held_bytes_are_late_and_not_lost() {
    let target = parrot();
    let proxy = FaultProxy::on_tcp(target.endpoint().clone()).unwrap();
    for direction in [Leg::ToTarget, Leg::ToClient] {
        let before = target.lines().len();
        proxy.set(direction, LinkFault::Hold);
        let mut stream = connect(proxy.endpoint());
        stream.write_all(b"hello\n").unwrap();
        assert_silent(&mut stream);
        let executed = usize::from(direction == Leg::ToClient);
        assert_eq!(target.lines().len(), before + executed, "{direction:?}");
        proxy.set(direction, LinkFault::None);
        assert_eq!(rest(stream), "you said hello\n");
    }
}

#[test]
fn garbled_bytes_are_other_bytes() {
    let target = ScriptedSocket::on_tcp(|_| ScriptedAnswer::text("abc")).unwrap();
    let proxy = FaultProxy::on_tcp(target.endpoint().clone()).unwrap();
    proxy.set(Leg::ToClient, LinkFault::Garble);
    assert_eq!(ask(proxy.endpoint(), "x").unwrap(), "`cb");
}

#[test]
fn a_refusing_proxy_leaves_open_connections_alone_and_comes_back_at_the_same_place() {
    let dir = tempfile::tempdir().unwrap();
    let target = parrot();
    let tcp = FaultProxy::on_tcp(target.endpoint().clone()).unwrap();
    let mut open = connect(tcp.endpoint());
    wait_for("the connection", || tcp.connections() == 1);
    tcp.refuse();
    let refused = TcpStream::connect(("127.0.0.1", tcp.port())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    open.write_all(b"still\n").unwrap();
    assert_eq!(rest(open), "you said still\n");
    tcp.accept_again().unwrap();
    assert_eq!(ask(tcp.endpoint(), "again").unwrap(), "you said again\n");

    let path = dir.path().join("proxy.sock");
    let unix = FaultProxy::on_unix(&path, target.endpoint().clone()).unwrap();
    unix.refuse();
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    unix.accept_again().unwrap();
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"again\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "you said again\n");
    drop(unix);
    assert!(!path.exists());
}

#[test]
fn open_connections_are_cut_when_told_and_when_the_proxy_goes() {
    let target = ScriptedSocket::on_tcp(|_| ScriptedAnswer::hang()).unwrap();
    let proxy = FaultProxy::on_tcp(target.endpoint().clone()).unwrap();
    let open = connect(proxy.endpoint());
    (&open).write_all(b"wait\n").unwrap();
    wait_for("the command", || target.lines() == ["wait"]);
    proxy.cut_all();
    assert_eq!(rest(open), "");
    let open = connect(proxy.endpoint());
    (&open).write_all(b"wait\n").unwrap();
    wait_for("the command", || target.lines().len() == 2);
    drop(proxy);
    assert_eq!(rest(open), "");
}

#[test]
fn a_half_closed_master_command_passes_the_proxy_to_real_haproxy() {
    let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
    let rows = vec![ServerSpec::new("esb1", lab.free_port().unwrap())];
    let haproxy = lab.haproxy("lb1", &HaProxySpec::new("esb", rows).without_checks().with_master()).unwrap();
    let proxy = FaultProxy::on_tcp(haproxy.master_socket().unwrap()).unwrap();
    let mut stream = connect(proxy.endpoint());
    stream.write_all(b"show proc\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(rest(stream).contains("worker"));
    let admin = FaultProxy::on_unix(lab.path().join("admin-proxy.sock"), haproxy.socket()).unwrap();
    let mut stream = UnixStream::connect(admin.endpoint().path().unwrap()).unwrap();
    stream.write_all(b"show info\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("Pid: "), "{answer}");
}

#[test]
fn a_scripted_socket_answers_as_its_script_says() {
    let long = "0123456789".repeat(20);
    let text = long.clone();
    let socket = ScriptedSocket::on_tcp(move |command| match command {
        "dribble" => ScriptedAnswer::Dribble(text.clone()),
        "cut" => ScriptedAnswer::Cut(text.clone(), 7),
        "reset" => ScriptedAnswer::Reset,
        "close" => ScriptedAnswer::Close,
        "open" => ScriptedAnswer::Open("more".into()),
        "endless" => ScriptedAnswer::Endless("x".repeat(1000)),
        _ => ScriptedAnswer::text(""),
    })
    .unwrap();
    let ask = |command| ask(socket.endpoint(), command);
    assert_eq!(ask("dribble").unwrap(), long);
    assert_eq!(ask("cut").unwrap(), "0123456");
    assert_eq!((ask("close").unwrap(), ask("anything").unwrap()), (String::new(), String::new()));
    assert_eq!(ask("reset").unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut open = connect(socket.endpoint());
    open.write_all(b"open\n").unwrap();
    open.read_exact(&mut [0; 4]).unwrap();
    assert_silent(&mut open);
    let mut endless = connect(socket.endpoint());
    endless.write_all(b"endless\n").unwrap();
    endless.read_exact(&mut vec![0; 1_000_000]).unwrap();
}

#[test]
fn a_scripted_socket_tells_exactly_what_came() {
    let socket = parrot();
    let mut stream = connect(socket.endpoint());
    stream.write_all(b"one;two\nthree\n").unwrap();
    assert_eq!(rest(stream), "you said one;two\n");
    let stream = connect(socket.endpoint());
    (&stream).write_all(b"without an end").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(stream), "you said without an end\n");
    assert_eq!(socket.received(), [b"one;two\nthree\n".to_vec(), b"without an end".to_vec()]);
    assert_eq!(socket.lines(), ["one;two", "three", "without an end"]);
}

#[test]
fn a_connection_beyond_the_places_of_a_scripted_socket_hangs_until_one_is_free() {
    let socket =
        ScriptedSocket::on_tcp(|word| if word == "sit" { ScriptedAnswer::hang() } else { ScriptedAnswer::text(word) });
    let socket = socket.unwrap();
    socket.serve_at_once(1);
    let sitting = connect(socket.endpoint());
    (&sitting).write_all(b"sit\n").unwrap();
    wait_for("the first", || socket.lines() == ["sit"]);
    let mut waiting = connect(socket.endpoint());
    waiting.write_all(b"next\n").unwrap();
    assert_silent(&mut waiting);
    drop(sitting);
    assert_eq!(rest(waiting), "next");
    socket.serve_at_once(0);
    let mut waiting = connect(socket.endpoint());
    waiting.write_all(b"never\n").unwrap();
    assert_silent(&mut waiting);
    assert_eq!(socket.lines(), ["sit", "next"]);
}

#[tokio::test]
async fn a_full_backlog_turns_a_connection_away_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let socket = ScriptedSocket::on_unix(&path, |_| ScriptedAnswer::text("")).unwrap();
    socket.serve_at_once(0);
    socket.set_backlog(0).unwrap();
    let mut held = Vec::new();
    let turned_away = loop {
        match tokio::net::UnixStream::connect(&path).await {
            Ok(stream) => held.push(stream),
            Err(error) => break error,
        }
        assert!(held.len() < 10, "the backlog never was full");
    };
    assert_eq!(turned_away.kind(), ErrorKind::WouldBlock);
}
