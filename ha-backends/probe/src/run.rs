use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use ha_core::backend::{ErrorKind, StepError};
use ha_core::topology::{Reported, Settings};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use crate::answer::{OpContext, ending};

/// How a program ended by itself.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    stderr: String,
}

impl Ran {
    /// Says how it failed, with the end of what it said.
    pub(crate) fn message(&self) -> String {
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        format!("exit code {}: {}", self.code, ending(said))
    }

    pub(crate) fn first_line(&self) -> &str {
        self.stdout.lines().next().unwrap_or_default()
    }
}

/// A program that prints more is ended.
const OUTPUT_LIMIT: u64 = 1024 * 1024;
/// How long output may still come after the program has ended: a process that it left behind holds the pipes open.
const AFTERWARDS: Duration = Duration::from_millis(100);

/// Refuses an argument vector whose program depends on the folder that the controller was started in.
pub(crate) fn checked(
    settings: &mut Settings<'_>,
    key: &'static str,
    argv: Result<Vec<String>, Reported>,
) -> Result<Vec<String>, Reported> {
    let argv = argv?;
    match argv.first() {
        Some(program) if program.contains('/') && Path::new(program).is_relative() => {
            Err(settings.wrong(key, "give the program with an absolute path, or by its name alone"))
        }
        Some(_) | None => Ok(argv),
    }
}

/// Reads the setting of a program that may be missing.
pub(crate) fn optional_program(settings: &mut Settings<'_>, key: &'static str) -> Result<Vec<String>, Reported> {
    let argv = settings.optional_argv(key);
    checked(settings, key, argv)
}

/// Says that the program of a setting is not there, or cannot be run.
pub(crate) fn missing(key: &str, argv: &[String]) -> Option<String> {
    let program = argv.first()?;
    let can_run =
        |path: &Path| fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    let is_there = if program.contains('/') {
        can_run(Path::new(program))
    } else {
        let path = env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        env::split_paths(&path).any(|folder| can_run(&folder.join(program)))
    };
    let message = || {
        format!("setting {key}: there is no program {program} here that can be run: correct it, or install the program")
    };
    (!is_there).then(message)
}

/// Runs a program in `/`, without a shell, in a process group of its own. Whoever drops the future ends the whole group:
/// so do deadlines.
pub(crate) async fn run(asked: OpContext<'_>, argv: &[String]) -> Result<Ran, StepError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(asked.failed(ErrorKind::Unsupported, "the command is empty"));
    };
    let spawned = Command::new(program)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => asked.failed(ErrorKind::NotFound, format!("{program} is not there")),
        _ => asked.failed(ErrorKind::Denied, format!("{program} cannot be run: {error}")),
    })?;
    // Declared after the child, thus dropped before it: the group is ended while its first process still bears its number.
    let mut group = Group(child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw));
    let broken = |error: io::Error| asked.failed(ErrorKind::Protocol, format!("{program}: {error}"));
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let status = {
        let mut reading = pin!(async { tokio::try_join!(keep(out, &mut stdout), keep(err, &mut stderr)) });
        let mut still_reading = true;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status.map_err(broken)?,
                read = &mut reading, if still_reading => {
                    read.map_err(broken)?;
                    still_reading = false;
                }
            }
        };
        group.0 = None;
        if still_reading && let Ok(read) = timeout(AFTERWARDS, reading).await {
            read.map_err(broken)?;
        }
        status
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match status.code() {
        Some(code) => Ok(Ran { code, stdout: text(&stdout), stderr: text(&stderr) }),
        None => Err(asked.failed(ErrorKind::Protocol, format!("{program} did not end by itself: {status}"))),
    }
}

/// The process group of a program that has not ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be gone in this very moment; then there is nothing to end.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn keep(source: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) -> io::Result<()> {
    let Some(source) = source else { return Ok(()) };
    let mut source = source.take(OUTPUT_LIMIT + 1);
    while source.read_buf(kept).await? > 0 {}
    if source.limit() == 0 {
        return Err(io::Error::other(format!("it printed more than {OUTPUT_LIMIT} bytes and was ended")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: OpContext<'_> = OpContext { operation: "ready", target: "esb1" };

    async fn sh(script: &str) -> Result<Ran, StepError> {
        let argv = ["/bin/sh", "-c", script].map(String::from);
        ASKED.within(Duration::from_secs(5), run(ASKED, &argv)).await
    }

    #[tokio::test]
    async fn a_process_that_is_left_behind_does_not_hold_the_program_open() {
        let ran = sh("sleep 3 & echo 1.0").await.unwrap();
        assert_eq!((ran.code, ran.first_line()), (0, "1.0"));
    }

    #[tokio::test]
    async fn endless_output_ends_the_program() {
        let error = sh("exec yes").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.to_string().contains("1048576"), "{error}");
    }

    #[tokio::test]
    async fn a_failed_program_tells_the_end_of_what_it_said() {
        assert_eq!(sh("echo out; echo err >&2; exit 3").await.unwrap().message(), "exit code 3: err");
        assert_eq!(sh("echo out; exit 3").await.unwrap().message(), "exit code 3: out");
        assert_eq!(sh("kill -9 $$").await.unwrap_err().kind(), ErrorKind::Protocol);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = run(ASKED, &["/no/such/program".into()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("/no/such/program"), "{error}");
        assert_eq!(run(ASKED, &["/etc/passwd".into()]).await.unwrap_err().kind(), ErrorKind::Denied);
    }
}
