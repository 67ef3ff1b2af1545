use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::channel::Channel;
use crate::failure::SshFailure;
use crate::frame::{Frame, Nonce};
use crate::script::{Input, Script};

/// What a script that has reported its end has said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// A part of the output was dropped.
    pub(crate) is_cut: bool,
}

impl Answer {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn message(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().into()
    }
}

/// Runs one script over one session, until it reports its end, the connection is lost, or `until`.
pub(crate) async fn execute(
    channel: Channel,
    script: Script,
    nonce: &Nonce,
    until: Instant,
    permit: OwnedSemaphorePermit,
) -> Result<Answer, SshFailure> {
    let Channel { mut stdin, stdout, stderr, session } = channel;
    let begun = Arc::new(Notify::new());
    let sent = AtomicBool::new(false);
    let (mut out, mut err) = (Frame::new(nonce, script.keep), Frame::new(nonce, script.keep));
    let began = Instant::now();
    let write = async {
        let text = script.wrap(nonce);
        // From the first byte on the script may run; braces see to it that half of it does not.
        sent.store(true, Ordering::SeqCst);
        stdin.write_all(text.as_bytes()).await?;
        stdin.flush().await?;
        if !matches!(script.input, Input::Nothing) {
            // The shell has read its script to the end by then, and takes nothing of what comes behind it.
            begun.notified().await;
            feed(&mut stdin, script.input).await?;
        }
        drop(stdin);
        Ok::<(), io::Error>(())
    };
    let read = async {
        let (out, err) = tokio::join!(read(stdout, &mut out, Some(&begun)), read(stderr, &mut err, None));
        out.and(err)
    };
    let whole = async {
        tokio::pin!(write, read);
        let mut written = false;
        loop {
            tokio::select! {
                biased;
                ended = &mut read => return ended,
                // A script may end without reading its input: only what it reports counts.
                _ = &mut write, if !written => written = true,
            }
        }
    };
    let ended = timeout_at(until, whole).await;
    let (code, is_cut) = (out.code(), out.is_cut() || err.is_cut());
    if let Some(code) = code {
        tokio::spawn(async move {
            session.reap().await;
            drop(permit);
        });
        return Ok(Answer { code, stdout: out.into_content(), stderr: err.into_content(), is_cut });
    }
    if ended.is_err() {
        return Err(match sent.load(Ordering::SeqCst) {
            true => SshFailure::Unanswered(until.saturating_duration_since(began)),
            false => SshFailure::ConnectTimedOut("the script was not sent".into()),
        });
    }
    session.reap().await;
    let message = String::from_utf8_lossy(&err.into_content()).trim().to_string();
    Err(SshFailure::LinkLost(if message.is_empty() { "its streams ended".into() } else { message }))
}

/// Reads one stream until the script reports its end there, or the stream ends.
async fn read(mut stream: impl AsyncRead + Unpin, frame: &mut Frame, begun: Option<&Notify>) -> io::Result<()> {
    let mut chunk = vec![0_u8; 32 * 1024];
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        let before = frame.has_begun();
        frame.push(&chunk[..count]);
        if let (false, true, Some(begun)) = (before, frame.has_begun(), begun) {
            begun.notify_one();
        }
        if frame.code().is_some() {
            return Ok(());
        }
    }
}

async fn feed(stdin: &mut (impl AsyncWrite + Unpin), input: Input) -> io::Result<()> {
    match input {
        Input::Nothing => {}
        Input::Bytes(bytes) => stdin.write_all(&bytes).await?,
        Input::Local(path) => {
            let mut file = tokio::fs::File::open(path).await?;
            let mut chunk = vec![0_u8; 64 * 1024];
            loop {
                let count = file.read(&mut chunk).await?;
                if count == 0 {
                    break;
                }
                stdin.write_all(&chunk[..count]).await?;
            }
        }
    }
    stdin.flush().await
}
