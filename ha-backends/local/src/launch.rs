//! Starting programs with default signal dispositions.
//!
//! A program inherits which signals are ignored. A controller under `nohup`, or in the background of a shell, ignores some,
//! and a server that it starts could never be interrupted. There such a program is started through `env --default-signal`
//! (GNU coreutils 8.31 or later): setting dispositions between fork and exec would take unsafe code.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::OnceCell;

/// Prepares to run `program`: a path, or a name that is looked up in the `PATH` of this process.
///
/// # Errors
/// `NotFound` and `PermissionDenied` where that is known before the start.
pub(crate) async fn command(program: &Path, arguments: &[String]) -> io::Result<Command> {
    if !ignores_signals() {
        return Ok(plain(program, arguments));
    }
    let program = found(program)?;
    if !resets_signals().await {
        // The controller ignores them itself, and this machine's `env` knows no `--default-signal`.
        let fix = "start the controller without nohup and in the foreground";
        tracing::warn!(program = %program.display(), fix, "what is started ignores signals");
        return Ok(plain(&program, arguments));
    }
    let mut command = Command::new(ENV);
    command.args(["--default-signal", "--"]);
    if program.as_os_str().as_encoded_bytes().contains(&b'=') {
        // To env it would be a variable.
        command.args(["/bin/sh", "-c", "exec \"$0\" \"$@\""]);
    }
    command.arg(program).args(arguments);
    Ok(command)
}

const ENV: &str = "/usr/bin/env";
/// SIGPIPE, which every Rust program ignores, and which the standard library resets for what it starts.
const SIGPIPE: u64 = 1 << 12;

fn plain(program: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Tells whether this process ignores signals that a program would inherit.
fn ignores_signals() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & !SIGPIPE != 0)
}

/// Tells whether this machine's `env` can reset signals.
async fn resets_signals() -> bool {
    static RESETS: OnceCell<bool> = OnceCell::const_new();
    let asked = || async {
        let mut command = Command::new(ENV);
        command.args(["--default-signal", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().await.is_ok_and(|status| status.success())
    };
    *RESETS.get_or_init(asked).await
}

/// Finds the program as an exec would: what cannot be run is an error of this call, not an exit code of `env`.
pub(crate) fn found(program: &Path) -> io::Result<PathBuf> {
    let can_run = |path: &Path| fs::metadata(path).map(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    if program.components().count() > 1 || program.is_absolute() {
        return match can_run(program)? {
            true => Ok(program.into()),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let mut places = std::env::split_paths(&path).map(|dir| dir.join(program));
    places.find(|place| can_run(place).is_ok_and(|can| can)).ok_or_else(|| io::ErrorKind::NotFound.into())
}
