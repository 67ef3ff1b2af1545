//! Reads what the machine has printed about itself and its processes. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ha_core::backend::linux::{ProcessStat, parse_pid_file};
use ha_core::backend::{HostIdentity, Incarnation, ServerProcess};

use crate::failure::SshFailure;

/// Reads the answer of `probe.sh`, asked and answered at these times of our own clock.
pub(crate) fn identity(text: &str, asked: SystemTime, answered: SystemTime) -> Result<HostIdentity, SshFailure> {
    let mut lines = text.lines().map(str::trim);
    let (machine, boot) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if machine.is_empty() || boot.is_empty() {
        return Err(SshFailure::Protocol(format!("it does not say which machine it is: {:?}", brief(text))));
    }
    let identity = HostIdentity::new(machine, boot);
    let theirs = lines.next().and_then(|nanoseconds| nanoseconds.parse::<u64>().ok()).map(Duration::from_nanos);
    let ours = [asked, answered].map(|time| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis());
    let ahead = theirs.and_then(|theirs| {
        let [theirs, asked, answered] = [theirs.as_millis(), ours[0], ours[1]].map(|ms| i64::try_from(ms).ok());
        Some(theirs? - (asked? + answered?) / 2)
    });
    let identity = ahead.map_or(identity.clone(), |ahead| identity.with_clock_ahead_ms(ahead));
    let tools = lines.next().unwrap_or_default().split_whitespace().map(Box::from).collect();
    Ok(identity.with_tools(tools))
}

/// What `process.sh` has seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Processes {
    boot: String,
    /// The pid that the pid file names.
    pub(crate) named: Option<u32>,
    /// What the pid file says instead of a pid: `-1` or `1`, at which a script would signal everybody, or the first of all.
    pub(crate) nonsense: Option<String>,
    found: Vec<ProcessStat>,
}

impl Processes {
    pub(crate) fn parse(text: &str) -> Result<Self, SshFailure> {
        let strange = || SshFailure::Protocol(format!("no boot id: {:?}", brief(text)));
        // The pid file follows an empty line; without one, line feeds at the end may be lost.
        let (seen, pid_file) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = seen.lines();
        let boot = lines.next().map(str::trim).filter(|boot| boot.len() == 36).ok_or_else(strange)?.to_string();
        let said = pid_file.replace('\n', " ");
        let named = parse_pid_file(said.as_bytes());
        let nonsense = (named.is_none() && !said.trim().is_empty()).then(|| brief(said.trim()));
        let found = lines.filter_map(ProcessStat::parse).filter(ProcessStat::is_alive).collect();
        Ok(Self { boot, named, nonsense, found })
    }

    /// Returns the server's process: the one that the pid file names if it is the server's, else the first found.
    pub(crate) fn server(&self) -> Option<&ProcessStat> {
        self.found.iter().find(|stat| Some(stat.pid) == self.named).or(self.found.first())
    }

    pub(crate) fn state(&self) -> ServerProcess {
        self.server().map_or(ServerProcess::Stopped, |stat| ServerProcess::Running(stat.incarnation(&self.boot)))
    }
}

/// Takes an incarnation apart: boot id, pid, start time.
pub(crate) fn split(life: &Incarnation) -> Option<(&str, u32, u64)> {
    let mut parts = life.as_str().split(':');
    let (boot, pid, began) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((boot, pid, began))
}

fn brief(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::script::{FIND, Head, LIVES, PROCESS};

    const BOOT: &str = "0f3e2d1c-0000-4000-8000-123456789abc";

    fn stat(pid: u32, state: char, began: u64) -> String {
        format!("{pid} (java) {state} 1 {pid} {pid} 0 -1 0 1 0 0 0 0 0 0 0 20 0 1 0 {began} 1000 1")
    }

    #[test]
    fn the_pid_file_chooses_among_the_servers_processes_and_names_no_stranger() {
        let text = format!("{BOOT}\n{}\n{}\n\n4712\n", stat(4711, 'S', 10), stat(4712, 'S', 20));
        let life = |text: &str| Processes::parse(text).unwrap().state();
        let running = |pid, began| ServerProcess::Running(Incarnation::new(format!("{BOOT}:{pid}:{began}")));
        assert_eq!(life(&text), running(4712, 20));
        assert_eq!(life(&format!("{BOOT}\n{}\n\n99  ", stat(4711, 'S', 10))), running(4711, 10));
        assert_eq!(life(&format!("{BOOT}\n{}", stat(4711, 'S', 10))), running(4711, 10));
        assert_eq!(life(BOOT), ServerProcess::Stopped);
        assert_eq!(life(&format!("{BOOT}\n\n4711\n")), ServerProcess::Stopped);
        assert_eq!(life(&format!("{BOOT}\n{}\n\n4711\n", stat(4711, 'Z', 10))), ServerProcess::Stopped);
        assert!(Processes::parse("").is_err());
        assert!(Processes::parse("bash: /proc: no such file\n").is_err());
    }

    /// Runs the look on this machine, for a server that was last seen as `seen`.
    fn look(home: &std::path::Path, identity: &str, seen: (&str, u32, u64)) -> ServerProcess {
        let head = Head::new().text("home", &home.display().to_string()).unwrap().text("pid_file", "pid").unwrap();
        let head = head.text("identity", identity).unwrap().text("seen", seen.0).unwrap();
        let script = head.number("pid", seen.1).number("start", seen.2).then([FIND, LIVES, PROCESS]);
        let mut sh = Command::new("/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        sh.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        Processes::parse(&String::from_utf8(sh.wait_with_output().unwrap().stdout).unwrap()).unwrap().state()
    }

    fn running(home: &std::path::Path, identity: &str) -> (Incarnation, u32) {
        loop {
            if let ServerProcess::Running(life) = look(home, identity, ("", 0, 0)) {
                let pid = split(&life).unwrap().1;
                return (life, pid);
            }
        }
    }

    #[test]
    fn a_pid_and_a_start_of_another_boot_or_another_start_are_a_stranger() {
        let home = tempfile::tempdir().unwrap();
        let mut server = Command::new("/bin/sh").args(["-c", "sleep 60; :", "-Dhome=1"]).spawn().unwrap();
        let (life, pid) = running(home.path(), "-Dhome=1");
        let (boot, _, start) = split(&life).unwrap();
        std::fs::write(home.path().join("pid"), pid.to_string()).unwrap();
        // Its identity is not asked for again: it is the same life.
        let same = look(home.path(), "-Dhome=2", (boot, pid, start));
        let others = [(BOOT, pid, start), (boot, pid, start + 1), ("", 0, 0)];
        let others = others.map(|seen| look(home.path(), "-Dhome=2", seen));
        server.kill().unwrap();
        server.wait().unwrap();
        assert_eq!(same, ServerProcess::Running(life.clone()));
        assert_eq!(others, [ServerProcess::Stopped, ServerProcess::Stopped, ServerProcess::Stopped]);
        let (boot, _, start) = split(&life).unwrap();
        assert_eq!(look(home.path(), "-Dhome=1", (boot, pid, start)), ServerProcess::Stopped, "it is gone");
    }

    #[test]
    fn a_server_that_becomes_itself_again_and_again_is_found_at_every_look() {
        let home = tempfile::tempdir().unwrap();
        let (script, identity) = (home.path().join("again.sh"), format!("-Dhome={}", home.path().display()));
        // Every few milliseconds: without the pause, all five passes of one look in thousands fall between two programs.
        let again = "n=0; while [ $n -lt 60000 ]; do n=$((n + 1)); done; exec /bin/sh \"$0\" \"$@\"\n";
        std::fs::write(&script, again).unwrap();
        let mut server = Command::new("/bin/sh").arg(&script).arg(&identity).spawn().unwrap();
        let (life, pid) = running(home.path(), &identity);
        let (boot, _, start) = split(&life).unwrap();
        // Also by one who has not seen it before.
        let seen = [(boot, pid, start), ("", 0, 0)].into_iter().cycle().take(600);
        let looks = seen.map(|seen| look(home.path(), &identity, seen));
        let missed = looks.filter(|seen| *seen == ServerProcess::Stopped).count();
        server.kill().unwrap();
        server.wait().unwrap();
        assert_eq!(missed, 0);
    }

    #[test]
    fn a_machine_whose_processes_cannot_be_searched_is_no_stopped_server() {
        let head = Head::new().text("home", "/nowhere").unwrap().text("pid_file", "pid").unwrap();
        let head = head.text("identity", "-Dx").unwrap().text("seen", "").unwrap().number("pid", 0).number("start", 0);
        let script = head.then(["PATH=/nowhere\n", FIND, LIVES, PROCESS]);
        let ran = Command::new("/bin/sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(ran.status.code(), Some(crate::script::refusal::DENIED));
    }

    #[test]
    fn a_life_is_boot_pid_and_start() {
        let life = Incarnation::new(format!("{BOOT}:4711:10"));
        assert_eq!(split(&life), Some((BOOT, 4711, 10)));
        for wrong in ["", "b:1", "b:x:1", "b:1:2:3"] {
            assert_eq!(split(&Incarnation::new(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn a_setsid_that_does_not_wait_is_none_and_the_clock_is_told_once_all_the_same() {
        use std::os::unix::fs::PermissionsExt;
        let programs = tempfile::tempdir().unwrap();
        let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
        let probe = || {
            let asked = SystemTime::now();
            let ran = Command::new("/bin/sh").args(["-c", crate::script::PROBE]).env("PATH", &path).output().unwrap();
            identity(&String::from_utf8(ran.stdout).unwrap(), asked, SystemTime::now()).unwrap()
        };
        assert!(probe().has("setsid"));
        let setsid = programs.path().join("setsid");
        std::fs::write(&setsid, "#!/bin/sh\necho 'setsid: invalid option -- w' >&2\nexit 1\n").unwrap();
        std::fs::set_permissions(&setsid, std::fs::Permissions::from_mode(0o755)).unwrap();
        let seen = probe();
        assert!(!seen.has("setsid") && seen.has("flock"), "{seen:?}");
        assert!(seen.clock_ahead_ms.is_some_and(|ahead| ahead.abs() < 1_000), "{seen:?}");
    }

    #[test]
    fn a_machine_says_who_it_is_and_how_its_clock_goes() {
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        let text = format!("m1\n{BOOT}\n10500000000\nflock sh \n");
        let seen = identity(&text, at(10_000), at(10_200)).unwrap();
        assert_eq!((&*seen.machine, &*seen.boot, seen.clock_ahead_ms), ("m1", BOOT, Some(400)));
        assert!(seen.has("flock") && !seen.has("setsid"));
        assert_eq!(identity(&format!("m1\n{BOOT}\n10%N\n"), at(0), at(0)).unwrap().clock_ahead_ms, None);
        assert!(identity("", at(0), at(0)).is_err());
    }
}
