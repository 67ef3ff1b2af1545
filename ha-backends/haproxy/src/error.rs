//! The only place where HAProxy's words become errors with a kind and an effect.

use std::io;
use std::path::Path;

use ha_core::backend::{ErrorKind, StepError};

use crate::config::Endpoint;
use crate::transport::OpContext;
use crate::wire::{Malformed, Refused};

/// Maps a refusal. HAProxy refuses before it changes anything, so none of these has an effect.
pub(crate) fn refused(about: OpContext<'_>, refused: &Refused) -> StepError {
    let words = refused.0.as_str();
    let (kind, fix) = kind_of(words);
    let context = format!("HAProxy answered {:?}; {fix}", words.chars().take(200).collect::<String>());
    StepError::new(kind, about.operation, about.target).with_context(context).without_effect()
}

fn kind_of(words: &str) -> (ErrorKind, &'static str) {
    for (beginning, kind, fix) in KNOWN {
        if words.starts_with(beginning) {
            return (*kind, fix);
        }
    }
    (ErrorKind::Conflict, "see HAProxy's management guide")
}

const NAMES: &str = "check pool and member against HAProxy's configuration";
const LEVEL: &str = "give the stats socket `level admin`";

/// How HAProxy's answers begin (2.4 to 3.4), what they mean, and what to do.
const KNOWN: &[(&str, ErrorKind, &str)] = &[
    ("No such server", ErrorKind::NotFound, NAMES),
    ("No such backend", ErrorKind::NotFound, NAMES),
    ("No such proxy", ErrorKind::NotFound, NAMES),
    ("Can't find backend", ErrorKind::NotFound, NAMES),
    ("Can't find the target PID", ErrorKind::NotFound, "that worker is gone"),
    ("Permission denied", ErrorKind::Denied, LEVEL),
    ("This command is restricted to experimental", ErrorKind::Unsupported, "use HAProxy 2.5 or later to add servers"),
    ("This command is restricted", ErrorKind::Denied, LEVEL),
    (
        "Unknown map identifier",
        ErrorKind::NotFound,
        "name the map file in HAProxy's configuration: use_backend %[path,map_beg(<map>)]",
    ),
    ("Unknown command", ErrorKind::Unsupported, "use HAProxy 2.4 or later, and its stats socket"),
    (
        "Backend is using a static LB algorithm",
        ErrorKind::Unsupported,
        "weights need a dynamic one: roundrobin, leastconn",
    ),
    ("Absolute weight can only", ErrorKind::Unsupported, "weights are 0 to 256"),
    ("Proxy is disabled", ErrorKind::Conflict, "an older worker cannot be changed, it can only be waited for"),
    ("Already exists a server", ErrorKind::Conflict, "a server of this name is there with another address"),
    ("Only servers in maintenance mode can be deleted", ErrorKind::Conflict, "take it out first"),
    ("Server still has connections", ErrorKind::Conflict, "wait until nothing connects to it"),
    ("This server cannot be removed", ErrorKind::Conflict, "HAProxy's configuration refers to it"),
    ("Require 'backend/server'", ErrorKind::Conflict, NAMES),
];

/// Maps an answer of an unknown form to a reading command.
pub(crate) fn malformed(about: OpContext<'_>, malformed: Malformed) -> StepError {
    StepError::new(ErrorKind::Protocol, about.operation, about.target)
        .caused_by(malformed.clone())
        .with_context(malformed.0)
        .without_effect()
}

/// Says what became of a question that was asked for several readers.
pub(crate) fn of_all(about: OpContext<'_>, kind: ErrorKind, words: &str) -> StepError {
    let words = format!("it was asked for together with others: {words}");
    StepError::new(kind, about.operation, about.target).with_context(words).without_effect()
}

/// Says that a pool has no such server.
pub(crate) fn not_found(about: OpContext<'_>, words: String) -> StepError {
    StepError::new(ErrorKind::NotFound, about.operation, about.target).with_context(words).without_effect()
}

/// Maps a failure of an instance's map file.
pub(crate) fn of_file(about: OpContext<'_>, instance: &str, map: &Path, error: io::Error) -> StepError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::Unreachable,
    };
    let context = format!("the map file {} of {instance}: {error}", map.display());
    StepError::new(kind, about.operation, about.target).with_context(context).caused_by(error)
}

/// Maps a failure to connect: nothing was sent.
pub(crate) fn not_connected(about: OpContext<'_>, endpoint: &Endpoint, error: io::Error) -> StepError {
    let (kind, fix) = match error.kind() {
        io::ErrorKind::PermissionDenied => (ErrorKind::Denied, "give this user access to the socket"),
        io::ErrorKind::WouldBlock => (ErrorKind::Busy, "its backlog is full, HAProxy may hang"),
        io::ErrorKind::TimedOut => (ErrorKind::Timeout, "HAProxy may hang"),
        _ => (ErrorKind::Unreachable, "is HAProxy running, and is this its stats socket?"),
    };
    let context = format!("{endpoint}: {error}; {fix}");
    StepError::new(kind, about.operation, about.target).with_context(context).caused_by(error).without_effect()
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
            ("Can't find the target PID matching the prefix '@!99999'", ErrorKind::NotFound),
            ("Permission denied", ErrorKind::Denied),
            ("This command is restricted to experimental mode only.", ErrorKind::Unsupported),
            ("Unknown map identifier. Please use #<id> or <file>.", ErrorKind::NotFound),
            ("Unknown command, but maybe one of the following ones is a better match:", ErrorKind::Unsupported),
            ("Unknown command: 'x', but maybe", ErrorKind::Unsupported),
            ("Require 'backend/server'.", ErrorKind::Conflict),
            ("'set server <srv> state' expects 'ready', 'drain' and 'maint'.", ErrorKind::Conflict),
            ("cannot change health on a tracking server.", ErrorKind::Conflict),
            ("Absolute weight can only be between 0 and 256 inclusive.", ErrorKind::Unsupported),
            (
                "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.",
                ErrorKind::Unsupported,
            ),
            ("Proxy is disabled.", ErrorKind::Conflict),
            ("Already exists a server with the same name in backend.", ErrorKind::Conflict),
            ("Only servers in maintenance mode can be deleted.", ErrorKind::Conflict),
            ("Server still has connections attached to it, cannot remove it.", ErrorKind::Conflict),
            (
                "This server cannot be removed at runtime due to other configuration elements pointing to it.",
                ErrorKind::Conflict,
            ),
        ] {
            let about = OpContext { operation: "set_admin", target: "be/s1" };
            let error = refused(about, &Refused(words.into()));
            assert_eq!((error.kind(), error.effect()), (kind, Effect::None), "{words}");
            assert!(error.to_string().contains(words.split('\'').next().unwrap_or(words)), "{error}");
        }
    }
}
