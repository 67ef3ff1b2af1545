use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, DetachedWork, Ended, ErrorKind, ObserveDetachedWork, Ran, RunCommand, StepError, WorkId, WorkOutput,
    WorkState,
};
use ha_core::state::LeaseEpoch;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use crate::exec::Answer;
use crate::failure::SshFailure;
use crate::frame::Keep;
use crate::host::{Inner, LATE, SshHost};
use crate::quote::{HoldsNul, is_variable, quote, quote_all};
use crate::script::{CANCEL, GUARD, Head, RUNNER, START, STATE, Script, seconds};

/// How long one question waits for the end of work: then the next one does.
const WAIT: Duration = Duration::from_secs(15);
/// The first and the longest pause before a host that did not answer is asked again; each is twice the one before.
const AGAIN: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(200)];

/// The state of work, as its run file says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum WorkStatus {
    State(WorkState),
    /// The program is not there; nothing was begun.
    Missing,
    /// The home is not there; nothing was begun.
    NoHome,
    /// It was cancelled before it began.
    Cancelled,
    /// The epoch could not be kept; nothing was begun.
    Broken,
}

impl WorkStatus {
    fn parse(line: &str) -> Option<Self> {
        let state = |state| Some(Self::State(state));
        match line.split_once(' ').unwrap_or((line, "")) {
            ("absent", "") => state(WorkState::Absent),
            ("starting", "") => state(WorkState::Starting),
            ("running", "") => state(WorkState::Running),
            ("lost", "") => state(WorkState::Lost),
            ("overdue", "") => state(WorkState::Overdue),
            ("fenced", "") => state(WorkState::Refused(ErrorKind::Fenced)),
            ("busy", "") => state(WorkState::Refused(ErrorKind::Busy)),
            ("exited", code) => state(WorkState::Exited(code.parse().ok()?)),
            ("signaled", signal) => state(WorkState::Signaled(signal.parse().ok()?)),
            ("missing", "") => Some(Self::Missing),
            ("nohome", "") => Some(Self::NoHome),
            ("cancelled", "") => Some(Self::Cancelled),
            ("broken", "") => Some(Self::Broken),
            _ => None,
        }
    }

    fn state(self) -> WorkState {
        match self {
            Self::State(state) => state,
            Self::Missing | Self::NoHome => WorkState::Refused(ErrorKind::NotFound),
            Self::Cancelled => WorkState::Refused(ErrorKind::Conflict),
            Self::Broken => WorkState::Refused(ErrorKind::Denied),
        }
    }
}

/// Writes the file that the runner reads the command from.
fn command_file(command: &RunCommand) -> Result<String, HoldsNul> {
    let mut text = String::new();
    for (name, value) in &command.env {
        text.push_str(&format!("export {name}={}\n", quote(value)?));
    }
    text.push_str(&format!("set -- {}", quote_all(command.argv.iter().map(String::as_str))?));
    Ok(text)
}

impl Inner {
    fn work_head(&self, id: &WorkId) -> Result<Head, HoldsNul> {
        Ok(self.head()?.raw(&format!("d=\"$G/work/{id}\"\n")))
    }

    /// Puts together the script that starts work unless it was started before, and goes on with `after`: at once,
    /// or when the work has ended, if it is started by this.
    fn start_script(
        &self,
        operation: &'static str,
        epoch: LeaseEpoch,
        id: &WorkId,
        command: &RunCommand,
        until_its_end: bool,
        after: &str,
    ) -> Result<String, StepError> {
        let unsupported = |message: String| self.refuse(ErrorKind::Unsupported, operation, message);
        if command.argv.first().is_none_or(String::is_empty) {
            return Err(unsupported("the command is empty".into()));
        }
        if let Some((name, _)) = command.env.iter().find(|(name, _)| !is_variable(name)) {
            let message = "take letters, digits and _, and no name that begins with ha_, which are the runner's own";
            return Err(unsupported(format!("{name:?} cannot name a variable: {message}")));
        }
        let wait = self.config.lock_wait().min(command.deadline);
        let head = self.work_head(id).and_then(|head| {
            let head = head.text("command", &command_file(command)?)?.text("runner", &format!("{GUARD}{RUNNER}"))?;
            let head = head.text("wait", &seconds(wait))?.text("deadline", &seconds(command.deadline))?;
            head.text("here", if until_its_end { "yes" } else { "no" })
        });
        let head = head.map_err(self.nul(operation))?.number("epoch", epoch.number());
        Ok(head.then([GUARD, STATE, START, after]))
    }

    /// Runs a command to its end, over as many connections as it takes, and at most once.
    pub(crate) async fn work(
        &self,
        epoch: LeaseEpoch,
        operation: &'static str,
        command: RunCommand,
    ) -> Result<Ran, StepError> {
        let id = command.id.clone().map_or_else(|| self.own_id(epoch, operation), Ok)?;
        let until = Instant::now() + command.deadline + LATE;
        self.need_tools(operation, until).await?;
        let (mut may_have_begun, mut pause) = (false, AGAIN[0]);
        loop {
            let wait = WAIT.min(until.saturating_duration_since(Instant::now()));
            let after = format!(
                "[ -e \"$d.rc\" ] || {{ command exec 8<\"$d.alive\" && flock -s -w {} 8; exec 8<&-; }}\nha_state\n\
                 [ ! -s \"$d.out\" ] || tail -c {limit} \"$d.out\"\n[ ! -s \"$d.err\" ] || tail -c {limit} \"$d.err\" >&2\n",
                seconds(wait),
                limit = command.output_limit
            );
            let body = self.start_script(operation, epoch, &id, &command, true, &after)?;
            let keep = Keep::Begin(command.output_limit.saturating_add(64));
            let patience = (Instant::now() + wait + self.config.read_deadline).min(until);
            let failed = match self.session.run_again(Script::new(body).with_keep(keep), patience).await {
                Ok(answer) => match self.told(operation, &id, &answer)? {
                    Some(ended) => return ended,
                    None => SshFailure::Unanswered(command.deadline),
                },
                Err(failure) if !may_have_begun && !failure.may_have_run() => {
                    return Err(failure.into_step(operation, self.target()));
                }
                Err(failure) => failure,
            };
            may_have_begun = true;
            if Instant::now() + pause >= until {
                let error = self.error(ErrorKind::Timeout, operation);
                let message = format!("it was not seen to end; ask for its state under {id}: {failed}");
                return Err(error.with_context(message).caused_by(failed));
            }
            tracing::debug!(work = %id, error = %failed, "command asked for again");
            sleep(pause).await;
            pause = (pause * 2).min(AGAIN[1]);
        }
    }

    /// Reads how a command ended; `None` while it has not.
    fn told(
        &self,
        operation: &'static str,
        id: &WorkId,
        answer: &Answer,
    ) -> Result<Option<Result<Ran, StepError>>, StepError> {
        if let Some(refused) = self.refusal(operation, answer) {
            return Err(refused);
        }
        let out = answer.out();
        let (line, out) = out.split_once('\n').unwrap_or((&out, ""));
        let strange =
            || self.error(ErrorKind::Protocol, operation).with_context(format!("unexpected status line {line:?}"));
        let told = WorkStatus::parse(line).ok_or_else(strange)?;
        let err = String::from_utf8_lossy(&answer.stderr);
        let ran = |ended| Some(Ok(Ran::new(ended, out, err.as_ref())));
        let none = |kind, message: &str| Some(Err(self.refuse(kind, operation, message)));
        Ok(match told {
            WorkStatus::State(WorkState::Exited(code)) => ran(Ended::Exited(code)),
            WorkStatus::State(WorkState::Signaled(signal)) => ran(Ended::Signaled(signal)),
            WorkStatus::State(WorkState::Overdue) => {
                let message = "it passed its deadline and was killed with its process group";
                Some(Err(self.error(ErrorKind::Timeout, operation).with_context(message)))
            }
            WorkStatus::State(WorkState::Refused(ErrorKind::Fenced)) => {
                none(ErrorKind::Fenced, "a higher epoch was seen there: this controller must stop")
            }
            WorkStatus::State(WorkState::Refused(_)) => {
                none(ErrorKind::Busy, "another controller's command still ran there")
            }
            WorkStatus::State(WorkState::Lost) => {
                let message = format!("the machine was restarted, or the keeper of {id} was killed, while it ran");
                Some(Err(self.error(ErrorKind::Unreachable, operation).with_context(message)))
            }
            WorkStatus::Missing => none(ErrorKind::NotFound, "no such program there"),
            WorkStatus::NoHome => none(ErrorKind::NotFound, "its home is not there"),
            WorkStatus::Cancelled => none(ErrorKind::Conflict, "it was cancelled before it began"),
            WorkStatus::Broken => none(ErrorKind::Denied, "the highest epoch cannot be kept in its state directory"),
            WorkStatus::State(_) => None,
        })
    }
}

#[async_trait]
impl ObserveDetachedWork for SshHost {
    async fn state(&self, id: &WorkId) -> Result<WorkState, StepError> {
        async {
            let inner = &self.inner;
            let body = inner.work_head(id).map_err(inner.nul("state"))?.then([STATE, "ha_state\n"]);
            let answer = inner.ask("state", &body, Keep::Begin(4096), inner.config.read_deadline).await?;
            if let Some(refused) = inner.refusal("state", &answer) {
                return Err(refused.without_effect());
            }
            let text = answer.out();
            let strange = || inner.refuse(ErrorKind::Protocol, "state", format!("unexpected status line {text:?}"));
            Ok(WorkStatus::parse(text.trim()).ok_or_else(strange)?.state())
        }
        .instrument(self.call("state"))
        .await
    }

    async fn tail(&self, id: &WorkId, limit: usize) -> Result<WorkOutput, StepError> {
        async {
            let inner = &self.inner;
            let tails = format!(
                "[ -e \"$d.started\" ] || exit 64\n[ ! -e \"$d.out\" ] || tail -c {limit} \"$d.out\"\n\
             [ ! -e \"$d.err\" ] || tail -c {limit} \"$d.err\" >&2\n"
            );
            let body = inner.work_head(id).map_err(inner.nul("tail"))?.then([tails.as_str()]);
            let answer = inner.ask("tail", &body, Keep::Begin(limit), inner.config.read_deadline).await?;
            if let Some(refused) = inner.refusal("tail", &answer) {
                return Err(refused.without_effect());
            }
            Ok(WorkOutput::new(answer.out(), String::from_utf8_lossy(&answer.stderr)))
        }
        .instrument(self.call("tail"))
        .await
    }
}

#[async_trait]
impl DetachedWork for SshHost {
    async fn launch(&self, epoch: LeaseEpoch, id: WorkId, command: RunCommand) -> Result<Applied, StepError> {
        async {
            let inner = self.inner.clone();
            let body = inner.start_script("launch", epoch, &id, &command, false, "echo \"$known\"\n")?;
            let limit = inner.config.read_deadline + inner.config.command_deadline;
            let answer =
                self.apart("launch", async move { inner.change("launch", Script::new(body), limit).await }).await?;
            Ok(if answer.out().trim() == "fresh" { Applied::Applied } else { Applied::AlreadySo })
        }
        .instrument(self.call("launch"))
        .await
    }

    async fn cancel(&self, epoch: LeaseEpoch, id: &WorkId) -> Result<Applied, StepError> {
        async {
            let inner = self.inner.clone();
            // Not behind the lock, which the work itself holds; a lower epoch is refused all the same. The work's own counts
            // too: it says that it runs before its guard has kept it.
            let fence = "ha_seen || exit 78\n[ \"$epoch\" -ge \"$seen\" ] || exit 77\n\
                     if read -r own 2>/dev/null <\"$d.epoch\"; then [ \"$epoch\" -ge \"$own\" ] || exit 77; fi\n";
            let head = inner.work_head(id).map_err(inner.nul("cancel"))?.number("epoch", epoch.number());
            let body = head.then([GUARD, STATE, fence, CANCEL]);
            let limit = inner.config.read_deadline + Duration::from_secs(6);
            let answer =
                self.apart("cancel", async move { inner.change("cancel", Script::new(body), limit).await }).await?;
            Ok(if answer.out().trim() == "cancelled" { Applied::Applied } else { Applied::AlreadySo })
        }
        .instrument(self.call("cancel"))
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_run_file_has_one_meaning() {
        for (line, state) in [
            ("absent", WorkState::Absent),
            ("starting", WorkState::Starting),
            ("running", WorkState::Running),
            ("exited 0", WorkState::Exited(0)),
            ("exited 255", WorkState::Exited(255)),
            ("signaled 15", WorkState::Signaled(15)),
            ("overdue", WorkState::Overdue),
            ("lost", WorkState::Lost),
            ("fenced", WorkState::Refused(ErrorKind::Fenced)),
            ("busy", WorkState::Refused(ErrorKind::Busy)),
            ("missing", WorkState::Refused(ErrorKind::NotFound)),
            ("cancelled", WorkState::Refused(ErrorKind::Conflict)),
        ] {
            assert_eq!(WorkStatus::parse(line).map(WorkStatus::state), Some(state), "{line}");
        }
        for strange in ["", "exited", "exited x", "signaled", "running 1", "done", "lost\n"] {
            assert_eq!(WorkStatus::parse(strange), None, "{strange:?}");
        }
    }

    #[test]
    fn a_command_file_holds_data_as_words_only() {
        let command = RunCommand::new(vec!["bin/x".into(), "$(reboot)".into()], Duration::from_secs(1))
            .with_env("HA_NODE", "it's; reboot");
        assert_eq!(command_file(&command).unwrap(), "export HA_NODE='it'\\''s; reboot'\nset -- 'bin/x' '$(reboot)'");
        assert!(command_file(&RunCommand::new(vec!["a\0".into()], Duration::from_secs(1))).is_err());
    }

    #[test]
    fn an_epoch_that_cannot_be_kept_leaves_the_one_before_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for kept in ["work", "epochs"] {
            std::fs::create_dir(path(kept)).unwrap();
        }
        std::fs::write(path("epochs/7"), "").unwrap();
        let runner = |name: &str, epoch: &str, sync: &str| {
            std::fs::write(path(&format!("work/{name}.cmd")), "set -- true").unwrap();
            let script = format!("{sync}\n{GUARD}{RUNNER}");
            let (d, g) = (path("work").join(name).display().to_string(), dir.path().display().to_string());
            let arguments = [d.as_str(), &g, "/", epoch, "5", "5"];
            // Its output ends with the last of what it leaves in the background.
            std::process::Command::new("/bin/sh").args(["-c", &script, "ha-work"]).args(arguments).output().unwrap();
            std::fs::read_to_string(path(&format!("work/{name}.rc"))).unwrap()
        };
        // As on a disk that is full, or failing.
        let full = "sync() { case $1 in */epochs) return 1 ;; esac; command sync \"$@\"; }";
        assert_eq!(runner("w9", "9", full), "broken\n");
        assert_eq!(runner("w5", "5", ""), "fenced\n");
        let left =
            || std::fs::read_dir(path("epochs")).unwrap().map(|kept| kept.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(left(), ["7"]);
        assert_eq!(runner("w8", "8", ""), "exited 0\n");
        assert_eq!(left(), ["8"]);
    }

    #[test]
    fn a_runner_that_is_killed_before_its_command_begins_leaves_no_watch_behind() {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path().join("work/w1");
        for kept in ["work", "epochs"] {
            std::fs::create_dir(dir.path().join(kept)).unwrap();
        }
        std::fs::write(d.with_extension("cmd"), "set -- true").unwrap();
        // In place of the program that starts the command.
        let script = format!("setsid() {{ kill -9 $$; }}\n{GUARD}{RUNNER}");
        let path = |path: &std::path::Path| path.display().to_string();
        let arguments = [path(&d), path(dir.path()), "/".into(), "1".into(), "5".into(), "0.1".into()];
        let mut runner =
            std::process::Command::new("/bin/sh").args(["-c", &script, "ha-work"]).args(&arguments).spawn().unwrap();
        assert!(!runner.wait().unwrap().success());
        let left = || {
            let lines = std::fs::read_dir("/proc").unwrap().flatten();
            let lines = lines.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
            lines.filter(|line| String::from_utf8_lossy(line).contains(&arguments[0])).count()
        };
        for _ in 0..200 {
            if d.with_extension("overdue").exists() && left() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("{} processes are left", left());
    }
}
