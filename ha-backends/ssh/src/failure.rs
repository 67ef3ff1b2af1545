use std::time::Duration;

use ha_core::backend::{ErrorKind, StepError};

/// Why a host could not be asked, or did not answer. It is the `source` of the [`StepError`], for callers who must tell
/// one from another.
///
/// # Examples
///
/// ```
/// use std::error::Error as _;
/// use ha_core::backend::StepError;
/// use ha_ssh::SshFailure;
///
/// /// Tells whether somebody has to look at the host keys before it makes sense to try again.
/// fn is_about_host_keys(error: &StepError) -> bool {
///     let failure = error.source().and_then(|source| source.downcast_ref());
///     matches!(
///         failure,
///         Some(SshFailure::HostKeyUnknown(_) | SshFailure::HostKeyChanged(_) | SshFailure::HostKeyRevoked(_))
///     )
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SshFailure {
    /// No key of this host is on file. Permanent: nothing was executed.
    #[error("no key of this host is in known_hosts: {0}")]
    HostKeyUnknown(String),
    /// The host shows another key than the one on file. Permanent: nothing was executed.
    #[error("the host's key has changed: {0}")]
    HostKeyChanged(String),
    /// The host shows a key that is marked as revoked. Permanent: nothing was executed.
    #[error("the host's key is revoked: {0}")]
    HostKeyRevoked(String),
    /// The host refused the login. Permanent: trying again may lock the account.
    #[error("the login was refused: {0}")]
    LoginRefused(String),
    /// ssh refuses its own settings. Permanent.
    #[error("ssh refuses its settings: {0}")]
    Settings(String),
    /// The host could not be reached.
    #[error("the host cannot be reached: {0}")]
    Unreachable(String),
    /// No connection came about inside the deadline.
    #[error("no connection inside the deadline: {0}")]
    ConnectTimedOut(String),
    /// The host refused one more session on the connection.
    #[error("the host refused a session: {0}")]
    SessionRefused(String),
    /// The connection was lost after the script was sent: nobody knows whether it ran.
    #[error("the connection was lost before the script reported its end: {0}")]
    LinkLost(String),
    /// The script was sent and did not report its end inside the deadline: it may still run.
    #[error("the script did not report its end inside {0:?}")]
    Unanswered(Duration),
    /// Another machine than before answers at this address. Permanent.
    #[error("another machine answers there: it was {was}, it is {is}")]
    OtherMachine {
        /// The machine id that was seen first.
        was: String,
        /// The machine id that answers now.
        is: String,
    },
    /// The host answered something that is not understood.
    #[error("unexpected answer: {0}")]
    Protocol(String),
}

/// The pause before a host that was not reached is tried again.
pub(crate) const RECONNECT: Duration = Duration::from_secs(1);

impl SshFailure {
    /// Reads ssh's own message on why no connection came about.
    pub(crate) fn of_connect(message: &str) -> Self {
        let line = |part: &str| message.lines().map(str::trim).find(|line| line.contains(part));
        let any = |parts: &[&str]| parts.iter().find_map(|part| line(part)).map(String::from);
        if let Some(found) = any(&["REVOKED HOST KEY", "marked as revoked", "revoked host key"]) {
            return Self::HostKeyRevoked(found);
        }
        if let Some(found) = any(&["REMOTE HOST IDENTIFICATION HAS CHANGED", "POSSIBLE DNS SPOOFING"]) {
            return Self::HostKeyChanged(any(&["Host key for", "Offending"]).unwrap_or(found));
        }
        if let Some(found) = any(&["host key is known for", "Host key verification failed"]) {
            return Self::HostKeyUnknown(found);
        }
        let refused = ["Permission denied (", "Too many authentication failures", "No more authentication methods"];
        if let Some(found) = any(&refused) {
            return Self::LoginRefused(found);
        }
        let settings = ["Bad configuration option", "Can't open user config file", "Bad owner or permissions"];
        if let Some(found) =
            any(&settings).or_else(|| any(&["bad configuration", "unsupported option", "command-line"]))
        {
            return Self::Settings(found);
        }
        let last = message.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("ssh said nothing").into();
        match any(&["timed out", "Timeout, server"]) {
            Some(found) => Self::ConnectTimedOut(found),
            None => Self::Unreachable(last),
        }
    }

    /// Tells whether trying again cannot help, and may do harm.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::HostKeyUnknown(_)
            | Self::HostKeyChanged(_)
            | Self::HostKeyRevoked(_)
            | Self::LoginRefused(_)
            | Self::Settings(_)
            | Self::OtherMachine { .. } => true,
            Self::Unreachable(_)
            | Self::ConnectTimedOut(_)
            | Self::SessionRefused(_)
            | Self::LinkLost(_)
            | Self::Unanswered(_)
            | Self::Protocol(_) => false,
        }
    }

    /// Tells whether the script may have run.
    pub(crate) fn may_have_run(&self) -> bool {
        matches!(self, Self::LinkLost(_) | Self::Unanswered(_) | Self::Protocol(_))
    }

    /// Makes it an error of one operation; what was not sent has no effect.
    pub(crate) fn into_step(self, operation: &'static str, target: &str) -> StepError {
        let kind = match &self {
            Self::HostKeyUnknown(_) | Self::HostKeyChanged(_) | Self::HostKeyRevoked(_) | Self::LoginRefused(_) => {
                ErrorKind::Denied
            }
            Self::Settings(_) => ErrorKind::Unsupported,
            Self::Unreachable(_) | Self::LinkLost(_) => ErrorKind::Unreachable,
            Self::ConnectTimedOut(_) | Self::Unanswered(_) => ErrorKind::Timeout,
            Self::SessionRefused(_) => ErrorKind::Busy,
            Self::OtherMachine { .. } => ErrorKind::Conflict,
            Self::Protocol(_) => ErrorKind::Protocol,
        };
        let (permanent, unknown) = (self.is_permanent(), self.may_have_run());
        let mut error = StepError::new(kind, operation, target).with_context(self.to_string()).caused_by(self);
        if !unknown {
            error = error.without_effect();
            if !permanent {
                error = error.retry_after(RECONNECT);
            }
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use ha_core::backend::{Effect, Retry};

    use super::*;

    #[test]
    fn every_refusal_of_ssh_is_told_from_every_other() {
        let changed = "@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nOffending ED25519 key in \
                       /x:1\nHost key for [h]:22 has changed and you have requested strict checking.\nHost key \
                       verification failed.";
        let revoked = "@       WARNING: REVOKED HOST KEY DETECTED!               @\nThe ED25519 host key for h is marked \
                       as revoked.\nHost key verification failed.";
        let unknown = "No ED25519 host key is known for h and you have requested strict checking.\r\nHost key \
                       verification failed.";
        let retried = |failure: SshFailure| failure.into_step("run", "h");
        for (message, kind, permanent) in [
            (changed, ErrorKind::Denied, true),
            (revoked, ErrorKind::Denied, true),
            (unknown, ErrorKind::Denied, true),
            ("root@h: Permission denied (publickey).", ErrorKind::Denied, true),
            ("/x: line 1: Bad configuration option: foo", ErrorKind::Unsupported, true),
            ("ssh: connect to host h port 22: Connection refused", ErrorKind::Unreachable, false),
            ("ssh: connect to host h port 22: No route to host", ErrorKind::Unreachable, false),
            ("ssh: Could not resolve hostname h: Name or service not known", ErrorKind::Unreachable, false),
            ("kex_exchange_identification: Connection closed by remote host", ErrorKind::Unreachable, false),
            ("ssh: connect to host h port 22: Connection timed out", ErrorKind::Timeout, false),
            ("Connection timed out during banner exchange", ErrorKind::Timeout, false),
            ("", ErrorKind::Unreachable, false),
        ] {
            let failure = SshFailure::of_connect(message);
            assert_eq!(failure.is_permanent(), permanent, "{message}");
            let error = retried(failure);
            assert_eq!((error.kind(), error.effect()), (kind, Effect::None), "{message}");
            assert_eq!(error.retry() == Retry::Never, permanent, "{message}");
        }
        assert!(matches!(SshFailure::of_connect(changed), SshFailure::HostKeyChanged(_)));
        assert!(matches!(SshFailure::of_connect(revoked), SshFailure::HostKeyRevoked(_)));
        assert!(matches!(SshFailure::of_connect(unknown), SshFailure::HostKeyUnknown(_)));
    }

    #[test]
    fn a_lost_link_is_no_failed_command() {
        let error = SshFailure::LinkLost("broken pipe".into()).into_step("run", "h");
        assert_eq!(
            (error.kind(), error.effect(), error.retry()),
            (ErrorKind::Unreachable, Effect::Unknown, Retry::Never)
        );
        let error = SshFailure::Unanswered(Duration::from_secs(1)).into_step("run", "h");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    }
}
