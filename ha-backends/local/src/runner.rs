use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ha_core::backend::{Applied, Ended, ErrorKind, Ran, RunCommand, StepError};
use rustix::process::{Pid, Signal, getpgrp, kill_process, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::launch;

/// How long output may still come after the command itself has ended: a server that it left behind holds the pipes open.
const AFTERWARDS: Duration = Duration::from_millis(100);

/// How long a server may write down what it does before it is killed.
pub(crate) const DUMP_TIME: Duration = Duration::from_millis(500);

/// Runs a command in `home`, in a process group of its own and with default signal dispositions, to its end or its
/// deadline. Where nobody waits for it any more it runs on.
pub(crate) async fn run(home: &Path, operation: &'static str, command: RunCommand) -> Result<Ran, StepError> {
    run_or(home, operation, command, false).await
}

/// The same for a command that only reads, which is killed with its process group where nobody waits for it any more.
pub(crate) async fn read(home: &Path, operation: &'static str, command: RunCommand) -> Result<Ran, StepError> {
    run_or(home, operation, command, true).await
}

/// Kills a process group when it is dropped, as long as it is told which.
struct Kills(Option<Pid>);

impl Drop for Kills {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn run_or(home: &Path, operation: &'static str, command: RunCommand, kills: bool) -> Result<Ran, StepError> {
    let target = home.display().to_string();
    let nothing = |kind: ErrorKind, message: String| {
        Err(StepError::new(kind, operation, target.as_str()).with_context(message).without_effect())
    };
    let Some((program, arguments)) = command.argv.split_first() else {
        return nothing(ErrorKind::Unsupported, "the command is empty".into());
    };
    let relative = Path::new(program).is_relative() && program.contains('/');
    let path = if relative { home.join(program) } else { program.into() };
    let spawned = launch::command(&path, arguments).await.and_then(|mut launched| {
        launched
            .envs(command.env.iter().map(|(name, value)| (name, value)))
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    });
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return nothing(ErrorKind::NotFound, format!("{} is not there", path.display()));
        }
        Err(error) => return nothing(ErrorKind::Denied, format!("{} cannot be run: {error}", path.display())),
    };
    // Without its arguments, which may hold secrets.
    tracing::debug!(program = %path.display(), pid = child.id(), "command started");
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let mut unwaited = Kills(group.filter(|_| kills));
    let limit = command.output_limit;
    let (out, err) = (Kept::default(), Kept::default());
    let out_reader = tokio::spawn(keep_end(child.stdout.take(), limit, out.clone()));
    let err_reader = tokio::spawn(keep_end(child.stderr.take(), limit, err.clone()));
    let until = Instant::now() + command.deadline;
    let waited = timeout_at(until, child.wait()).await;
    // Its pid may be another's from here on.
    unwaited.0 = None;
    let status = match waited {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            return Err(StepError::new(ErrorKind::Protocol, operation, target).caused_by(error));
        }
        Err(_) => {
            if let Some(group) = group {
                // The group may be gone in this very moment; then there is nothing to end.
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait().await;
            let message = format!("it did not end in {:?} and was killed with its process group", command.deadline);
            return Err(StepError::new(ErrorKind::Timeout, operation, target).with_context(message));
        }
    };
    let stdout = ended(out_reader, &out).await;
    let stderr = ended(err_reader, &err).await;
    let ended = status.code().map_or_else(|| Ended::Signaled(status.signal().unwrap_or_default()), Ended::Exited);
    Ok(Ran::new(ended, stdout, stderr))
}

/// Says how a command ended, and what it printed.
pub(crate) fn told(command: &str, ran: &Ran) -> String {
    format!("{command} ended with {}: {}{}", ran.ended, ran.stderr.trim(), ran.stdout.trim())
}

/// What a command ends with when it refuses and has changed nothing.
pub(crate) const REFUSED: i32 = 3;

/// Reads how a command ended that changes something; `fail` makes an error of what it printed.
pub(crate) fn done(command: &str, ran: &Ran, fail: impl FnOnce(String) -> StepError) -> Result<(), StepError> {
    match ran.ended {
        Ended::Exited(0) => Ok(()),
        Ended::Exited(REFUSED) => Err(fail(told(command, ran)).without_effect()),
        Ended::Exited(_) | Ended::Signaled(_) => Err(fail(told(command, ran))),
    }
}

/// Refuses what a command printed where that may not be whole: of more than is kept, only the end is there.
pub(crate) fn whole(command: &str, ran: Ran, fail: impl FnOnce(String) -> StepError) -> Result<Ran, StepError> {
    let kept = RunCommand::new(Vec::new(), Duration::ZERO).output_limit;
    if ran.stdout.len() < kept {
        return Ok(ran);
    }
    Err(fail(format!("{command} printed {kept} bytes or more, and only the end of that is kept: let it print less")))
}

/// Asks a server that is about to be killed for a thread dump, and gives it the time to write it.
pub(crate) async fn ask_for_dump(pid: u32) -> io::Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    match kill_process(pid, Signal::QUIT) {
        Ok(()) => sleep(DUMP_TIME).await,
        Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Ends a server by force, with its process group unless that is our own.
pub(crate) fn kill(pid: u32, group: i32) -> io::Result<Applied> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(Applied::AlreadySo) };
    let group = Pid::from_raw(group).filter(|group| *group != getpgrp());
    let killed = match group {
        Some(group) => kill_process_group(group, Signal::KILL),
        None => kill_process(pid, Signal::KILL),
    };
    match killed {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(Applied::Applied),
        Err(error) => Err(error.into()),
    }
}

/// The end of a stream so far, readable while it still comes.
type Kept = Arc<Mutex<Vec<u8>>>;

async fn ended(mut reader: JoinHandle<()>, kept: &Kept) -> String {
    if timeout(AFTERWARDS, &mut reader).await.is_err() {
        reader.abort();
    }
    String::from_utf8_lossy(&kept.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

async fn keep_end(source: Option<impl AsyncRead + Unpin>, limit: usize, kept: Kept) {
    let Some(mut source) = source else { return };
    let mut chunk = [0_u8; 4096];
    while let Ok(read) = source.read(&mut chunk).await {
        if read == 0 {
            return;
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&chunk[..read]);
        let surplus = kept.len().saturating_sub(limit);
        kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use ha_core::backend::Effect;

    use super::*;

    async fn sh(script: &str, deadline: Duration) -> Result<Ran, StepError> {
        let argv = ["/bin/sh", "-c", script].map(String::from).to_vec();
        run(Path::new("/"), "run", RunCommand::new(argv, deadline)).await
    }

    #[tokio::test]
    async fn a_daemon_that_holds_the_output_open_does_not_hold_the_command_open() {
        let ran = sh("sleep 20 & echo started", Duration::from_secs(10)).await.unwrap();
        assert_eq!((ran.ended, ran.stdout.as_str()), (Ended::Exited(0), "started\n"));
    }

    #[tokio::test]
    async fn a_command_past_its_deadline_is_ended_with_its_group_and_its_effect_is_unknown() {
        let error = sh("sleep 60 & sleep 60", Duration::from_millis(200)).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    }

    #[tokio::test]
    async fn a_read_that_nobody_waits_for_any_more_leaves_no_process_behind_and_a_change_runs_on() {
        let home = tempfile::tempdir().unwrap();
        let argv = ["/bin/sh", "-c", "sleep 60 & echo $! >pid.new; mv pid.new $0; sleep 60"].map(String::from);
        let command = |name: &str| RunCommand::new([&argv[..], &[name.into()]].concat(), Duration::from_secs(60));
        let until = Instant::now() + Duration::from_secs(10);
        for (name, is_read) in [("read", true), ("change", false)] {
            let started = async {
                while !home.path().join(name).exists() {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                _ = read(home.path(), "read", command(name)), if is_read => panic!("it ended"),
                _ = run(home.path(), "run", command(name)), if !is_read => panic!("it ended"),
                () = started => {}
            }
            let pid: i32 = std::fs::read_to_string(home.path().join(name)).unwrap().trim().parse().unwrap();
            let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let runs = || stat().rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'));
            while is_read && runs() {
                assert!(Instant::now() < until, "it is left behind");
                sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(runs(), !is_read);
            if !is_read {
                let group = stat().rsplit_once(") ").unwrap().1.split(' ').nth(2).unwrap().parse().ok();
                kill_process_group(group.and_then(Pid::from_raw).unwrap(), Signal::KILL).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn endless_output_keeps_its_end() {
        let argv = ["/bin/sh", "-c", "seq 1 100000; exit 7"].map(String::from).to_vec();
        let mut command = RunCommand::new(argv, Duration::from_secs(10));
        command.output_limit = 7;
        let ran = run(Path::new("/"), "run", command).await.unwrap();
        assert_eq!((ran.ended, ran.stdout.as_str()), (Ended::Exited(7), "100000\n"));
    }

    #[tokio::test]
    async fn a_signal_is_no_exit_code() {
        let ran = sh("kill -TERM $$", Duration::from_secs(10)).await.unwrap();
        assert_eq!(ran.ended, Ended::Signaled(15));
        assert_eq!(sh("exit 143", Duration::from_secs(10)).await.unwrap().ended, Ended::Exited(143));
    }

    #[tokio::test]
    async fn a_missing_program_changes_nothing() {
        let command = RunCommand::new(vec!["./no-such-program".into()], Duration::from_secs(1));
        let error = run(Path::new("/"), "run", command).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::None));
    }
}
