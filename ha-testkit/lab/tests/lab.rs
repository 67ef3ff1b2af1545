//! The lab leaves nothing behind, even when it is killed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_lab::{HaProxySpec, Lab, ServerSpec, TomcatRelease};

ha_lab::roles!();

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn script(home: &CarbonHome, verb: &str) {
    let status = Command::new(home.path().join("bin/wso2server.sh")).arg(verb).status().unwrap();
    assert!(status.success(), "the script says well whatever happens");
}

fn connects(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Processes whose command line has `text` in it.
fn processes(text: &str) -> usize {
    let dirs = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = dirs.filter_map(|dir| std::fs::read(dir.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

#[test]
fn a_server_behaves_as_its_scripts_do_not_say() {
    let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
    let home = lab.carbon("esb1", CarbonConfig::new(0, "1.0")).unwrap();
    script(&home, "start");
    wait_for("its port", || connects(home.port()));
    let pid_file = std::fs::read(home.path().join("wso2carbon.pid")).unwrap();
    assert_eq!(pid_file.len(), 100, "NUL-padded, as Carbon 4 writes it");
    script(&home, "stop");
    wait_for("its end", || processes(&home.identity()) == 0);
    assert!(home.path().join("wso2carbon.pid").exists(), "the pid file is never removed");
}

#[test]
fn nothing_is_left_behind_after_kill_9_of_the_lab() {
    if let Some(dir) = std::env::var_os("HA_LAB_VICTIM") {
        return victim(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_is_left_behind_after_kill_9_of_the_lab", "--nocapture"])
        .env("HA_LAB_VICTIM", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let lab = lines.map_while(Result::ok).find_map(|line| line.split("lab at ").nth(1).map(str::to_string)).unwrap();
    assert!(processes(&lab) >= 4, "servers, a Tomcat, a warden's HAProxy: {}", processes(&lab));
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("the end of all that the lab had started", || processes(&lab) == 0);
    let _ = std::fs::remove_dir_all(lab);
}

fn victim(_: &Path) {
    let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
    let homes: Vec<CarbonHome> =
        ["a", "b"].iter().map(|name| lab.carbon(name, CarbonConfig::new(0, "1.0")).unwrap()).collect();
    for home in &homes {
        script(home, "start");
        wait_for("its port", || connects(home.port()));
    }
    let servers = homes.iter().zip(["a", "b"]).map(|(home, name)| ServerSpec::new(name, home.port())).collect();
    let haproxy = lab.haproxy("lb1", &HaProxySpec::new("esb", servers)).unwrap();
    assert!(connects(haproxy.port()));
    let tomcat = lab.tomcat("c", &TomcatRelease::new("1.0")).unwrap();
    tomcat.start().unwrap();
    println!("lab at {}", lab.path().display());
    std::thread::sleep(Duration::from_secs(60));
}
