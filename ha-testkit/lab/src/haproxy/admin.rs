use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The workers of a HAProxy, by process id.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Workers {
    /// Those that take new connections; one, except in the moment of a reload.
    pub current: Vec<u32>,
    /// Those that a reload left behind; each ends after its last connection.
    pub old: Vec<u32>,
    /// How many reloads failed since the last that did not.
    pub failed_reloads: u32,
}

/// Sends one command and reads the whole answer.
pub(super) fn ask(socket: &Path, command: &str) -> io::Result<String> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(stream, command)
}

/// The same for the master's socket, which answers to its end only when the asking side has ended.
pub(super) fn ask_master(socket: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Asks an admin socket over TCP for its worker's process id.
pub(super) fn pid_over_tcp(address: SocketAddr) -> Option<u32> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    pid_in(&exchange(stream, "show info").ok()?)
}

fn exchange(mut stream: impl Read + Write, command: &str) -> io::Result<String> {
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the worker's process id from an answer to `show info`.
pub(super) fn pid_in(info: &str) -> Option<u32> {
    info.lines().find_map(|line| line.strip_prefix("Pid: ")?.trim().parse().ok())
}

/// Reads the master's answer to `show proc`.
pub(super) fn workers_in(answer: &str) -> Workers {
    let (mut workers, mut old) = (Workers::default(), false);
    for line in answer.lines() {
        if line.starts_with('#') {
            old = line.starts_with("# old workers");
            continue;
        }
        let mut words = line.split_whitespace();
        let (pid, kind) = (words.next().and_then(|word| word.parse().ok()), words.next());
        match (pid, kind) {
            (Some(pid), Some("worker")) if old => workers.old.push(pid),
            (Some(pid), Some("worker")) => workers.current.push(pid),
            (Some(_), Some("master")) => workers.failed_reloads = failed_in(line),
            _ => {}
        }
    }
    workers
}

fn failed_in(line: &str) -> u32 {
    let failed = line.split_once("[failed: ").and_then(|(_, rest)| rest.split(']').next());
    failed.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_read_from_show_proc() {
        let answer = "#<PID>          <type>          <reloads>       <uptime>        <version>\n\
                      910             master          2 [failed: 1]   0d00h00m09s     2.6.12-1\n\
                      # workers\n915             worker          0               0d00h00m01s     2.6.12-1\n\
                      # old workers\n912             worker          2               0d00h00m08s     2.6.12-1\n\
                      # programs\n\n";
        let workers = workers_in(answer);
        assert_eq!(workers, Workers { current: vec![915], old: vec![912], failed_reloads: 1 });
    }
}
