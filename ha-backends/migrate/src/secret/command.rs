//! A password that a command prints.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{COMMAND_DEADLINE, LONGEST, Secret, SecretError};

/// Kills the command's process group when it is given up.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group may be gone in this very moment; then there is nothing to end.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

pub(super) async fn read(argv: &[String]) -> Result<Secret, SecretError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(SecretError::Command { program: String::new(), what: "is empty: name a program".into() });
    };
    let fail = |what: String| SecretError::Command { program: program.clone(), what };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // what it complains of may hold the password
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| fail(format!("cannot be run ({error})")))?;
    let mut group = Group(child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw));
    let printed = timeout(COMMAND_DEADLINE, printed(&mut child))
        .await
        .map_err(|_| fail(format!("did not end in {} s and was killed", COMMAND_DEADLINE.as_secs())))?;
    let (bytes, status) = printed.map_err(|error| fail(format!("cannot be read ({error})")))?;
    if bytes.len() > LONGEST {
        return Err(fail(format!("prints more than {LONGEST} bytes and was killed")));
    }
    // it has been waited for: its number may belong to another group by now
    group.0 = None;
    match status.and_then(|status| status.code()) {
        Some(0) => {}
        Some(code) => return Err(fail(format!("ends with exit code {code}"))),
        None => return Err(fail("was ended by a signal".into())),
    }
    let text = String::from_utf8(bytes).map_err(|_| fail("prints no UTF-8".into()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() { Err(fail("prints nothing".into())) } else { Ok(Secret::new(text)) }
}

/// What the command prints, one byte more than is allowed at most, and how it ended where it printed no more.
async fn printed(child: &mut Child) -> std::io::Result<(Vec<u8>, Option<std::process::ExitStatus>)> {
    let mut bytes = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let most = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
        stdout.take(most).read_to_end(&mut bytes).await?;
    }
    if bytes.len() > LONGEST {
        return Ok((bytes, None));
    }
    let status = child.wait().await?;
    Ok((bytes, Some(status)))
}
