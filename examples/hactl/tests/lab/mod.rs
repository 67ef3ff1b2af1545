//! A small cluster on this machine, and the real binary.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use examples::cluster::{get, node_toml};
use ha_backends::local::{Check, EmbeddedBalancer};
use ha_core::state::MemberKind;
use ha_core::topology::Name;
use ha_lab::Lab;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use serde_json::Value;

/// What the binary said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Told {
    /// Reads the standard output as one value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Reads each line of the standard output.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

/// The binary, as a user starts it in a folder, with what its surroundings could change taken away.
pub(crate) fn hactl(dir: &Path) -> Command {
    // What is started in the background may have been told to ignore signals.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_hactl")]).current_dir(dir).stdin(Stdio::null());
    command.env_remove("COLUMNS").env_remove("NO_COLOR").env_remove("SUDO_USER").env("USER", "anna");
    command
}

/// Runs it to its end.
pub(crate) fn ask(dir: &Path, arguments: &[impl AsRef<OsStr>]) -> Told {
    told(hactl(dir).args(arguments))
}

pub(crate) fn told(command: &mut Command) -> Told {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Told { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Ctrl-C, once a question is asked.
pub(crate) const CTRL_C: &str = "\u{3}";

/// Runs it on a terminal of 40 columns, on which `typed` is typed, and returns all that the terminal was sent.
pub(crate) fn on_a_terminal(command: &mut Command, typed: &str) -> (Option<i32>, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};

    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = || std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let command = command.stdin(terminal()).stdout(terminal()).stderr(terminal()).env("TERM", "xterm");
    let mut child = command.spawn().unwrap();
    // The child alone holds the terminal from here on: its end is the end of what is read.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut master = std::fs::File::from(master);
    let mut interrupts = typed == CTRL_C;
    if !interrupts {
        std::io::Write::write_all(&mut master, typed.as_bytes()).unwrap();
    }
    let (mut sent, mut bytes) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = std::io::Read::read(&mut master, &mut bytes) {
        sent.extend_from_slice(&bytes[..read]);
        // The terminal is nobody's own: what it would send for Ctrl-C is sent here.
        if interrupts && sent.windows(5).any(|end| end == b"[y/N]") {
            let pid = child.id().to_string();
            assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
            interrupts = false;
        }
    }
    (child.wait().unwrap().code(), String::from_utf8_lossy(&sent).into_owned())
}

/// An active node, a passive one and a spare, behind the embedded balancer.
pub(crate) struct Cluster {
    lab: Lab,
    homes: Vec<CarbonHome>,
    balancer: EmbeddedBalancer,
}

const NAMES: [&str; 3] = ["esb1", "esb2", "spare1"];

impl Cluster {
    pub(crate) async fn start() -> Self {
        let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
        let home = |name: &&str| lab.carbon(name, CarbonConfig::fast("4.2.0")).unwrap();
        let homes: Vec<CarbonHome> = NAMES.iter().map(home).collect();
        let address = |place: usize| SocketAddr::from(([127, 0, 0, 1], homes[place].port()));
        let name = |name: &str| Name::new(name).unwrap();
        let balancer = EmbeddedBalancer::builder(name("esb"))
            .with_member(name("esb1"), address(0), MemberKind::Primary)
            .with_member(name("esb2"), address(1), MemberKind::Backup)
            .with_member_held_out(name("spare1"), address(2), MemberKind::Backup)
            .with_check(Check::new("/services/Version"))
            .start(SocketAddr::from(([127, 0, 0, 1], 0)), &lab.path().join("lb1.sock"))
            .await
            .unwrap();
        let cluster = Self { lab, homes, balancer };
        std::fs::write(cluster.folder().join("cluster.toml"), cluster.toml()).unwrap();
        for home in &cluster.homes[..2] {
            home.start().unwrap();
        }
        let until = Instant::now() + Duration::from_secs(30);
        for address in [cluster.balancer.address(), SocketAddr::from(([127, 0, 0, 1], cluster.homes[1].port()))] {
            while get(address, "/services/Version").await.is_none() {
                assert!(Instant::now() < until, "no server answered through {address} in 30 s");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        cluster
    }

    pub(crate) fn folder(&self) -> &Path {
        self.lab.path()
    }

    /// Writes a change file that asks for a release, and returns its path.
    pub(crate) fn patch(&self, release: &str) -> PathBuf {
        let text = format!(
            "procedure = \"patch\"\nrelease = \"{release}\"\napply = [\"bin/patch.sh\", \"apply\"]\n\
             restore = [\"bin/patch.sh\", \"restore\"]\n[[facts]]\nrelease = \"{release}\"\n\
             beside = [\"4.2.0\", \"4.2.1\", \"4.2.2\", \"4.2.3\"]\n"
        );
        let file = self.folder().join(format!("patch-{release}.toml"));
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Returns the release that each member has.
    pub(crate) fn releases(&self) -> Vec<String> {
        let read = |home: &CarbonHome| std::fs::read_to_string(home.path().join("bin/version.txt")).unwrap();
        self.homes[..2].iter().map(|home| read(home).trim().to_string()).collect()
    }

    fn toml(&self) -> String {
        let mut text = format!(
            "[cluster]\nname = \"lab\"\n[policy]\npeak_load = 1000\ndrain_deadline = \"20s\"\nready_deadline = \"30s\"\n\
             stop_deadline = \"30s\"\ncommand_deadline = \"30s\"\nsoak = \"0s\"\nlease_ttl = \"4s\"\n[pool]\n\
             name = \"esb\"\nserve = 1\n[[balancer]]\nname = \"lb1\"\nbackend = \"local\"\nsocket = \"{}\"\n",
            self.balancer.socket().display()
        );
        for (name, home) in NAMES.iter().zip(&self.homes) {
            text.push_str(&node_toml(name, *name == "spare1", "backend = \"local\"\n", home));
        }
        text
    }
}
