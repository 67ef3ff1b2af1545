use std::io;
use std::sync::{Arc, Weak};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Duration, Instant, timeout_at};

use crate::channel::Channel;
use crate::exec::Answer;
use crate::failure::SshFailure;
use crate::frame::{Frame, Nonce};
use crate::master::Master;
use crate::script::Script;

/// A shell on the host that answers one script after another, over one session: a fraction of what a session
/// for each would cost.
///
/// Each script runs in a subshell without input, between marks of its own nonce. A shell that has not answered in full is
/// never used again.
#[derive(Debug)]
pub(crate) struct Shell {
    // It ends with its connection, which it does not keep open.
    master: Weak<Master>,
    channel: Channel,
    /// Until then its login shell may take long.
    has_answered: bool,
}

/// More output than this is better read over a session of its own.
const OUTPUT: usize = 1 << 20;

impl Shell {
    /// Begins one.
    async fn open(master: &Arc<Master>) -> Result<Self, SshFailure> {
        Ok(Self { master: Arc::downgrade(master), channel: master.open_session().await?, has_answered: false })
    }

    /// Tells whether it runs over this connection.
    pub(crate) fn is_of(&self, master: &Arc<Master>) -> bool {
        std::ptr::eq(self.master.as_ptr(), Arc::as_ptr(master))
    }

    /// Runs a script that reads nothing from its input, if it begins by `begun_by`. Without an answer the shell is ended.
    ///
    /// # Cancel safety
    /// A dropped future ends the shell.
    async fn ask(
        mut self,
        script: &Script,
        nonce: &Nonce,
        begun_by: Instant,
        until: Instant,
    ) -> Result<(Self, Answer), NoReply> {
        let mut out = Frame::new(nonce, script.keep);
        let mut err = if script.at_once { Frame::begun(nonce, script.keep) } else { Frame::new(nonce, script.keep) };
        let text = script.wrap_apart(nonce);
        let Channel { stdin, stdout, stderr, .. } = &mut self.channel;
        drain(stderr);
        let write = async {
            stdin.write_all(text.as_bytes()).await?;
            stdin.flush().await
        };
        let exchange = async {
            if script.at_once {
                tokio::try_join!(write, answer(stdout, &mut out, begun_by))?;
                return if out.code() == Some(0) { Ok(()) } else { answer(stderr, &mut err, begun_by).await };
            }
            tokio::try_join!(write, answer(stdout, &mut out, begun_by), answer(stderr, &mut err, begun_by))?;
            Ok(())
        };
        let answered = timeout_at(until, exchange).await;
        let is_silent = script.at_once && out.code() == Some(0);
        if !matches!(answered, Ok(Ok(()))) || !(is_silent || out.code() == err.code()) {
            let error = match &answered {
                Ok(Ok(())) => "its two ends disagree on how the script ended".into(),
                Ok(Err(error)) => error.to_string(),
                Err(late) => late.to_string(),
            };
            tracing::debug!(error, "shell given up");
            return Err(if out.has_begun() { NoReply::InTheMiddle } else { NoReply::NotStarted });
        }
        let is_cut = out.is_cut() || err.is_cut();
        let code = out.code().ok_or(NoReply::InTheMiddle)?;
        self.has_answered = true;
        Ok((self, Answer { code, stdout: out.into_content(), stderr: err.into_content(), is_cut }))
    }
}

/// Drops what scripts whose answer came at once have said beside it: the pipe would be full some day.
fn drain(stderr: &Receiver) {
    let mut chunk = [0; 1024];
    // As much as a pipe holds; whoever writes without an end is not waited for.
    for _ in 0..64 {
        if !matches!(stderr.try_read(&mut chunk), Ok(1..)) {
            return;
        }
    }
}

/// A shell that was asked has not answered in full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NoReply {
    /// It was not seen to begin.
    NotStarted,
    /// Its script takes longer, or it was lost meanwhile.
    InTheMiddle,
}

/// Reads one stream until the script reports its end there; it must report its beginning in time.
async fn answer(stream: &mut (impl AsyncRead + Unpin), frame: &mut Frame, begun_by: Instant) -> io::Result<()> {
    let (mut chunk, mut total) = (vec![0_u8; 8 * 1024], 0);
    while frame.code().is_none() {
        let read = stream.read(&mut chunk);
        let count = if frame.has_begun() { read.await? } else { timeout_at(begun_by, read).await?? };
        total += count;
        if count == 0 || total > OUTPUT {
            return Err(io::Error::other(if count == 0 { "it ended" } else { "it says too much" }));
        }
        frame.push(&chunk[..count]);
    }
    Ok(())
}

/// A shell that is kept from script to script, with what is known of how well it works.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    shell: Option<Shell>,
    /// How many shells in a row never answered.
    failures: u32,
    /// None is tried before.
    not_before: Option<Instant>,
}

/// A shell that is kept did not answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoAnswer {
    /// The script was not sent.
    Unsent,
    /// The script may have run.
    Sent,
}

/// How long a shell that has answered before is waited for, at most half the deadline: for its whole answer, or for the
/// beginning of a script that may take long. Then the question is asked again over a session of its own.
const PATIENCE: Duration = Duration::from_secs(2);
/// After so many shells that never answered there is a pause.
const FAILURES: u32 = 2;
const PAUSE: Duration = Duration::from_secs(30);

impl Slot {
    /// Returns until when an answer, or the beginning of a long one, is waited for.
    pub(crate) fn patience(&self, master: &Arc<Master>, until: Instant) -> Instant {
        let now = Instant::now();
        let is_known = self.shell.as_ref().is_some_and(|shell| shell.is_of(master) && shell.has_answered);
        // The login shell of a new one may be slow.
        let half = until.saturating_duration_since(now) / 2;
        now + if is_known { half.min(PATIENCE) } else { half }
    }

    /// Begins a shell over this connection, unless there is one, for whoever asks first. That it could not be begun is seen
    /// then.
    pub(crate) async fn begin(&mut self, master: &Arc<Master>) {
        if self.shell.as_ref().is_some_and(|shell| shell.is_of(master)) {
            return;
        }
        if let Ok(shell) = Shell::open(master).await {
            self.shell = Some(shell);
        }
    }

    /// Asks the shell, or a new one. The script must begin by `begun_by` and end by `until`.
    pub(crate) async fn ask(
        &mut self,
        master: &Arc<Master>,
        script: &Script,
        nonce: &Nonce,
        begun_by: Instant,
        until: Instant,
    ) -> Result<Answer, NoAnswer> {
        if self.not_before.is_some_and(|time| Instant::now() < time) {
            return Err(NoAnswer::Unsent);
        }
        let known = self.shell.take().filter(|shell| shell.is_of(master));
        let is_new = known.as_ref().is_none_or(|shell| !shell.has_answered);
        let shell = match known {
            Some(shell) => Some(shell),
            None => timeout_at(begun_by, Shell::open(master)).await.ok().and_then(Result::ok),
        };
        let (answered, silence) = match shell {
            Some(shell) => (shell.ask(script, nonce, begun_by, until).await, NoAnswer::Sent),
            None => (Err(NoReply::NotStarted), NoAnswer::Unsent),
        };
        match (answered, is_new) {
            (Ok((shell, answer)), _) => {
                self.failures = 0;
                self.shell = Some(shell);
                return Ok(answer);
            }
            (Err(NoReply::NotStarted), true) => self.failures += 1,
            (Err(_), _) => {}
        }
        if self.failures >= FAILURES {
            (self.failures, self.not_before) = (0, Some(Instant::now() + PAUSE));
        }
        Err(silence)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use super::*;

    #[tokio::test]
    async fn what_was_said_beside_answers_never_fills_the_pipe() {
        let (theirs, mut ours) = std::io::pipe().unwrap();
        let stderr = Receiver::from_owned_fd(OwnedFd::from(theirs)).unwrap();
        ours.write_all(&[b'x'; 5_000]).unwrap();
        stderr.readable().await.unwrap();
        drain(&stderr);
        let left = stderr.try_read(&mut [0; 10]).map_err(|error| error.kind());
        assert_eq!(left, Err(io::ErrorKind::WouldBlock));
        // Nor does it wait for more where nobody can say any more.
        drop(ours);
        drain(&stderr);
    }
}
