//! What the driver says, as what a caller can do.

use std::io;

use mysql_async::{DriverError, Error, IoError};

use super::codes::kind_of;
use crate::{DbError, DbErrorKind};

/// Maps a failed call of an open session. Without word of the server the statement is in doubt.
#[expect(clippy::wildcard_enum_match_arm, reason = "enums of mysql_async: whatever else went wrong, it is in doubt")]
pub(super) fn told(error: &Error) -> DbError {
    let kind = match error {
        Error::Server(server) => {
            return DbError::new(kind_of(server.code, &server.message), server.message.clone())
                .with_code(server.code.to_string());
        }
        // Only writing fails so: the server does not have the statement whole, and runs no part of one.
        Error::Io(IoError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => DbErrorKind::Unreachable,
        Error::Driver(DriverError::PacketTooLarge) => DbErrorKind::Refused,
        _ => DbErrorKind::ConnectionLost,
    };
    DbError::new(kind, error.to_string())
}

/// Maps a failed start of a session, which never had a statement.
pub(super) fn opening(error: &Error) -> DbError {
    let mut told = told(error);
    let refused = match error {
        #[cfg(feature = "tls")]
        Error::Io(IoError::Tls(_)) => true,
        Error::Driver(DriverError::NoClientSslFlagFromServer) => true,
        // The other end's certificate is not believed.
        Error::Io(IoError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => true,
        Error::Io(_) | Error::Driver(_) | Error::Other(_) | Error::Server(_) | Error::Url(_) => false,
    };
    if refused {
        told.kind = DbErrorKind::Refused;
    } else if told.kind == DbErrorKind::ConnectionLost {
        told.kind = DbErrorKind::Unreachable;
    }
    told
}
