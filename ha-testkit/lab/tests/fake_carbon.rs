//! The lab's server behaves as tests of HAProxy need it: it warms up, fails its check, freezes, and logs its requests.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ha_lab::Lab;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_lab::load::RequestLog;

ha_lab::roles!();

fn lab() -> Lab {
    Lab::open(Relaunch::test().unwrap()).unwrap()
}

fn send(home: &CarbonHome, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", home.port())).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: r{path}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn get(home: &CarbonHome, path: &str) -> String {
    let mut answer = String::new();
    send(home, path).read_to_string(&mut answer).unwrap();
    answer
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_warming_server_listens_at_once_and_answers_503_until_it_serves() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::fast("1.0").with_warm_up(700)).unwrap();
    home.start().unwrap();
    assert!(get(&home, "/orders").starts_with("HTTP/1.1 503"));
    assert!(get(&home, "/health").starts_with("HTTP/1.1 503"));
    wait_for("its readiness", || get(&home, "/orders").starts_with("HTTP/1.1 200"));
    assert_eq!(home.requests().unwrap().begun, ["r/orders"], "only what was served is a request");
}

#[test]
fn the_health_path_answers_what_the_test_says_and_nothing_else_changes() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::fast("1.0")).unwrap();
    home.start().unwrap();
    assert!(get(&home, "/health").starts_with("HTTP/1.1 200"));
    for status in [503_u16, 404, 200] {
        home.set_health(status).unwrap();
        assert!(get(&home, "/health").starts_with(&format!("HTTP/1.1 {status}")));
        assert!(get(&home, "/orders").starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_frozen_server_accepts_and_answers_only_after_it_goes_on() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::fast("1.0")).unwrap();
    home.start().unwrap();
    let frozen = home.freeze().unwrap();
    let mut stream = send(&home, "/orders");
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "nothing comes");
    assert!(home.requests().unwrap().begun.is_empty());
    frozen.resume();
    stream.set_read_timeout(None).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_killed_server_leaves_its_open_requests_in_the_log_and_starts_again() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::fast("1.0")).unwrap();
    home.start().unwrap();
    assert!(home.freeze().is_ok() && home.pid().is_some());
    let cut = send(&home, "/orders?ms=60000");
    get(&home, "/done");
    wait_for("the request", || home.requests().unwrap().begun.len() == 2);
    let before = home.requests().unwrap();
    assert!(home.kill().unwrap());
    assert_eq!((home.pid(), home.kill().unwrap()), (None, false));
    assert!(home.freeze().is_err());
    drop(cut);
    home.start().unwrap();
    get(&home, "/again");
    let after = home.requests().unwrap();
    assert_eq!(after.unfinished(), ["r/orders?ms=60000"]);
    assert_eq!(after.begun_since(&before), ["r/again"]);
    assert_eq!(RequestLog::read(lab.path().join("none")).unwrap(), RequestLog::default());
}

#[test]
fn a_terminated_server_finishes_its_request_and_closes_idle_connections() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::fast("1.0")).unwrap();
    home.start().unwrap();
    let mut idle = TcpStream::connect(("127.0.0.1", home.port())).unwrap();
    idle.write_all(b"GET /orders HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 1024]).unwrap() > 0);
    let mut slow = send(&home, "/orders?ms=300");
    wait_for("the request", || home.requests().unwrap().begun.len() == 2);
    assert!(home.terminate().unwrap());
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(idle.read(&mut [0; 1024]).unwrap(), 0);
    assert_eq!(home.requests().unwrap().unfinished(), Vec::<&str>::new());
}
