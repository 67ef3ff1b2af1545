//! The only place where HAProxy's words become errors with a kind and an effect.

use std::io;

use ha_core::backend::{ErrorKind, StepError};

use crate::wire::{Malformed, Refused};

/// Maps a refusal. HAProxy refuses before it changes anything, so none of these has an effect.
pub(crate) fn refused(operation: &'static str, target: &str, refused: &Refused) -> StepError {
    let words = refused.0.as_str();
    let starts = |beginnings: &[&str]| beginnings.iter().any(|beginning| words.starts_with(beginning));
    let (kind, fix) = if starts(&["No such server", "No such backend", "No such proxy", "Can't find backend"]) {
        (ErrorKind::NotFound, "check pool and member against HAProxy's configuration")
    } else if starts(&["Permission denied", "This command is restricted"]) {
        (ErrorKind::Denied, "give the stats socket `level admin`")
    } else if starts(&["Unknown command"]) {
        (ErrorKind::Unsupported, "use HAProxy 2.4 or later")
    } else {
        (ErrorKind::Conflict, "see HAProxy's management guide")
    };
    let context = format!("HAProxy answered {words:?}; {fix}");
    StepError::new(kind, operation, target).with_context(context).without_effect()
}

/// Maps an answer of an unknown form to a reading command.
pub(crate) fn malformed(operation: &'static str, target: &str, malformed: Malformed) -> StepError {
    StepError::new(ErrorKind::Protocol, operation, target)
        .caused_by(malformed.clone())
        .with_context(malformed.0)
        .without_effect()
}

/// Maps a failure to connect: nothing was sent.
pub(crate) fn not_connected(operation: &'static str, target: &str, error: io::Error) -> StepError {
    let (kind, fix) = match error.kind() {
        io::ErrorKind::PermissionDenied => (ErrorKind::Denied, "give this user access to the socket"),
        io::ErrorKind::WouldBlock => (ErrorKind::Busy, "its backlog is full, HAProxy may hang"),
        io::ErrorKind::TimedOut => (ErrorKind::Timeout, "HAProxy may hang"),
        _ => (ErrorKind::Unreachable, "is HAProxy running, and is this its stats socket?"),
    };
    let context = format!("{error}; {fix}");
    StepError::new(kind, operation, target).with_context(context).caused_by(error).without_effect()
}

#[cfg(test)]
mod tests {
    use ha_core::backend::Effect;

    use super::*;

    #[test]
    fn every_known_refusal_has_its_kind_and_no_effect() {
        for (words, kind) in [
            ("No such server.", ErrorKind::NotFound),
            ("No such backend.", ErrorKind::NotFound),
            ("Can't find backend.", ErrorKind::NotFound),
            ("No such proxy.", ErrorKind::NotFound),
            ("Permission denied", ErrorKind::Denied),
            ("This command is restricted to experimental mode only.", ErrorKind::Denied),
            ("Unknown command, but maybe one of the following ones is a better match:", ErrorKind::Unsupported),
            ("Unknown command: 'x', but maybe", ErrorKind::Unsupported),
            ("Require 'backend/server'.", ErrorKind::Conflict),
            ("'set server <srv> state' expects 'ready', 'drain' and 'maint'.", ErrorKind::Conflict),
            ("cannot change health on a tracking server.", ErrorKind::Conflict),
        ] {
            let error = refused("set_admin", "be/s1", &Refused(words.into()));
            assert_eq!((error.kind(), error.effect()), (kind, Effect::None), "{words}");
            assert!(error.to_string().contains(words.split('\'').next().unwrap_or(words)), "{error}");
        }
    }
}
