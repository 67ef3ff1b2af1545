//! Commands of this machine: argument vectors with a deadline, never a shell.

use std::process::Stdio;
use std::time::Duration;

use ha_core::backend::{ErrorKind, StepError};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

/// How much of what it complains of is kept.
const KEPT: u64 = 4096;
/// How long output may still come after the command itself has ended: a server that it left behind holds the pipe open.
const AFTERWARDS: Duration = Duration::from_millis(100);

/// Runs a command to its end or its deadline.
pub(super) async fn run(
    (operation, target): (&'static str, &str),
    argv: &[String],
    env: &[(&str, String)],
    deadline: Duration,
) -> Result<(), StepError> {
    let error = |kind, context: String| StepError::new(kind, operation, target).with_context(context);
    let Some((program, arguments)) = argv.split_first() else {
        return Err(error(ErrorKind::Unsupported, "the command is empty".into()).without_effect());
    };
    let spawned = Command::new(program)
        .args(arguments)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = spawned.map_err(|failed| {
        let kind = if failed.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Denied };
        error(kind, format!("{program} cannot be run: {failed}")).without_effect()
    })?;
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let complaint = tokio::spawn(beginning(child.stderr.take()));
    let status = match timeout(deadline, child.wait()).await {
        Ok(Ok(status)) => status,
        Ok(Err(failed)) => return Err(error(ErrorKind::Protocol, format!("{program}: {failed}"))),
        Err(_) => {
            if let Some(group) = group {
                // The group may be gone in this very moment; then there is nothing to end.
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait().await;
            let context = format!("{program} did not end in {deadline:?} and was killed with its process group");
            return Err(error(ErrorKind::Timeout, context));
        }
    };
    if status.success() {
        return Ok(());
    }
    let said = timeout(AFTERWARDS, complaint).await.ok().and_then(Result::ok).unwrap_or_default();
    Err(error(ErrorKind::Conflict, format!("{program} ended with {status}: {}", said.trim())))
}

async fn beginning(source: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut source) = source {
        let _ = (&mut source).take(KEPT).read_to_end(&mut kept).await;
        // Whatever else comes is read away: a full pipe would stop the command.
        let _ = tokio::io::copy(&mut source, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&kept).into_owned()
}
