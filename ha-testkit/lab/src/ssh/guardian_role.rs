use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::guardian::{LAB, MARK, Reply, Request};
use super::pid_space::{PidSpace, kill};
use super::{launch, systemd, tools};
use crate::fake_carbon::ROLE;

/// A lock file a slot; who holds the lock owns the slot, its names and its addresses. In it: the lab's folder.
const SLOTS: &str = "/run/ha-lab";
/// How long killed processes may take to vanish.
const GONE: Duration = Duration::from_secs(10);

/// Plays the guardian: serves the lab until standard input ends, which it does when the lab is gone, and clears away then.
pub(crate) fn guardian() -> i32 {
    let dir = PathBuf::from(std::env::var_os(LAB).unwrap_or_default());
    let (slot, lock) = match sweep().and_then(|()| claim(&dir)) {
        Ok(claimed) => claimed,
        Err(error) => {
            say(&Reply::Failed(format!("no slot for the lab in {SLOTS}: {error}")));
            return 1;
        }
    };
    say(&Reply::Ready { slot });
    let mut programs = HashMap::new();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let reply = serde_json::from_str(&line).map_err(io::Error::from).and_then(|asked| serve(&mut programs, asked));
        say(&reply.unwrap_or_else(|error| Reply::Failed(error.to_string())));
    }
    for (_, program) in programs {
        if let Err(error) = end(program) {
            eprintln!("guardian: {error}");
        }
    }
    clear(slot, &dir);
    let _ = lock.set_len(0);
    0
}

fn serve(programs: &mut HashMap<String, Child>, request: Request) -> io::Result<Reply> {
    match request {
        Request::Start { key, argv, log } => {
            if let Some(before) = programs.remove(&key) {
                end(before)?;
            }
            let log = File::options().create(true).append(true).open(log)?;
            // Ends the program even when the guardian itself is killed.
            let child = Command::new(tools::program("setpriv")?)
                .args(["--pdeathsig", "KILL", "--"])
                .args(&argv)
                .env_remove(ROLE)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()?;
            let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
            programs.insert(key, child);
            Ok(Reply::Started { pid })
        }
        Request::Stop { key } => {
            programs.remove(&key).map_or(Ok(()), end)?;
            Ok(Reply::Done(String::new()))
        }
        Request::Runs { key } => {
            Ok(Reply::Runs(programs.get_mut(&key).is_some_and(|child| matches!(child.try_wait(), Ok(None)))))
        }
        Request::Run { argv, input } => run(&argv, &input).map(Reply::Done),
    }
}

fn run(argv: &[String], input: &str) -> io::Result<String> {
    let (name, arguments) = argv.split_first().ok_or_else(|| io::Error::other("no program to run"))?;
    let mut child = Command::new(name)
        .args(arguments)
        .env_remove(ROLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{} {input}: {}", argv.join(" "), said.trim())))
}

/// Kills a program and waits until its process namespace is empty.
fn end(mut child: Child) -> io::Result<()> {
    let space = i32::try_from(child.id()).ok().and_then(PidSpace::below);
    // What is inside goes first: its parent is there to bury it then, and the system's init may take seconds to.
    let emptied = space.as_ref().map_or(Ok(()), empty);
    child.kill()?;
    child.wait()?;
    // Once more, for what was started when the namespace was new.
    emptied.and_then(|()| space.as_ref().map_or(Ok(()), empty))
}

fn empty(space: &PidSpace) -> io::Result<()> {
    let until = Instant::now() + GONE;
    loop {
        let left = space.pids();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(io::Error::other(format!("processes {left:?} did not end in {GONE:?}")));
        }
        space.signal(&left, Signal::KILL);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Clears away what labs have left whose guardian was killed too.
fn sweep() -> io::Result<()> {
    fs::create_dir_all(SLOTS)?;
    for entry in fs::read_dir(SLOTS)?.flatten() {
        let Some(slot) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(file) = File::options().write(true).open(entry.path()) else { continue };
        if file.try_lock().is_err() {
            continue;
        }
        let dir = fs::read_to_string(entry.path()).unwrap_or_default();
        if !dir.is_empty() {
            clear(slot, Path::new(&dir));
            file.set_len(0)?;
        }
    }
    Ok(())
}

fn claim(dir: &Path) -> io::Result<(u8, File)> {
    let text = dir.to_str().ok_or_else(|| io::Error::other("the path of the lab is not UTF-8"))?;
    let (addresses, routes) = (tools::run("ip", &["-4", "-o", "addr"])?, tools::run("ip", &["-4", "route"])?);
    for slot in 1..=250 {
        let subnet = launch::subnet(slot);
        if addresses.contains(&subnet) || routes.contains(&subnet) {
            continue;
        }
        let path = Path::new(SLOTS).join(slot.to_string());
        let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
        if file.try_lock().is_ok() {
            file.set_len(0)?;
            file.write_all(text.as_bytes())?;
            return Ok((slot, file));
        }
    }
    Err(io::Error::other("250 labs are open"))
}

/// Removes the namespaces, links and the folder of a lab. Goes on after errors: the rest is to go too.
fn clear(slot: u8, dir: &Path) {
    let names = launch::Names::of(slot);
    for space in entries("/run/netns").filter(|name| name.starts_with(&names.netns)) {
        let pids = tools::run("ip", &["netns", "pids", &space]).unwrap_or_default();
        pids.split_whitespace().filter_map(|pid| pid.parse().ok()).for_each(|pid| kill(pid, Signal::KILL));
        report(tools::run("ip", &["netns", "del", &space]));
    }
    let is_link = |name: &String| name.starts_with(&names.veth) || *name == names.bridge;
    for link in entries("/sys/class/net").filter(is_link) {
        report(tools::run("ip", &["link", "del", &link]));
    }
    systemd::remove_control_groups(dir, GONE);
    let ours = dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ha-lab-"));
    let until = Instant::now() + GONE;
    // Other processes of a killed lab are ending at the same time and may write into it once more.
    while ours && dir.exists() && fs::remove_dir_all(dir).is_err() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn entries(dir: &str) -> impl Iterator<Item = String> {
    fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok())
}

fn report(result: io::Result<String>) {
    if let Err(error) = result {
        eprintln!("guardian: {error}");
    }
}

/// Answers the lab. That it is gone shows when the next request is read.
fn say(reply: &Reply) {
    if let Ok(text) = serde_json::to_string(reply) {
        let _ = writeln!(io::stdout().lock(), "\n{MARK}{text}");
    }
}
