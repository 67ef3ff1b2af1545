use std::borrow::Cow;
use std::io::{self, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use openssh_mux_client::{Connection, Error, EstablishedSession, NonZeroByteSlice, Session};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::time::{Duration, timeout};

use crate::failure::SshFailure;

/// One session on a connection: a shell on the host that reads its script from standard input. It ends when this is
/// dropped.
///
/// The master is asked over its own control socket, without a client process, which costs some 5 ms of CPU to start.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) stdin: Sender,
    pub(crate) stdout: Receiver,
    pub(crate) stderr: Receiver,
    pub(crate) session: Open,
}

/// A session that the master has opened.
#[derive(Debug)]
pub(crate) struct Open(EstablishedSession);

/// Whatever the login shell is, the script is read by this one.
const SHELL: &str = "exec /bin/sh -s";
/// How long a shell that has said all it has to say is given to end.
const REAP: Duration = Duration::from_millis(500);

impl Channel {
    /// Opens a session over the control socket of a master. Whatever fails has no effect: no script was sent.
    pub(crate) async fn open(socket: &Path) -> Result<Self, SshFailure> {
        let broken = |error: io::Error| SshFailure::Settings(format!("no pipes for a session: {error}"));
        let ((remote_in, stdin), (stdout, remote_out)) = (pipe().map_err(broken)?, pipe().map_err(broken)?);
        let (stderr, remote_err) = pipe().map_err(broken)?;
        let command = <&NonZeroByteSlice>::try_from(SHELL);
        let command = command.map_err(|error| SshFailure::Settings(error.to_string()))?;
        let request = Session::builder().cmd(Cow::Borrowed(command)).term(Cow::Borrowed(nothing()?)).build();
        let connection = Connection::connect(socket).await.map_err(refused)?;
        let theirs = [remote_in.as_raw_fd(), remote_out.as_raw_fd(), remote_err.as_raw_fd()];
        let session = connection.open_new_session(&request, &theirs).await.map_err(refused)?;
        let receiver = |end: io::PipeReader| Receiver::from_owned_fd(OwnedFd::from(end)).map_err(broken);
        Ok(Self {
            stdin: Sender::from_owned_fd(OwnedFd::from(stdin)).map_err(broken)?,
            stdout: receiver(stdout)?,
            stderr: receiver(stderr)?,
            session: Open(session),
        })
    }
}

impl Open {
    /// Waits for the end of a shell that has said all it has to say, and ends one that does not end.
    pub(crate) async fn reap(self) {
        // Dropped, it ends.
        let _ = timeout(REAP, self.0.wait()).await;
    }
}

/// The terminal type of a session without a terminal.
fn nothing() -> Result<&'static NonZeroByteSlice, SshFailure> {
    NonZeroByteSlice::new(&[]).ok_or_else(|| SshFailure::Settings("no terminal type".into()))
}

fn refused(error: Error) -> SshFailure {
    SshFailure::SessionRefused(match error {
        Error::RequestFailure(message) | Error::PermissionDenied(message) => message.into(),
        Error::IOError(error) => format!("its connection is gone: {error}"),
        other => other.to_string(),
    })
}
