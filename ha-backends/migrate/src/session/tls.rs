//! Whether a connection is encrypted, and whose certificate is believed.

use std::path::PathBuf;

/// How a connection is protected. It is never weaker than asked for: a server without TLS is refused, and so is the wish
/// itself where the feature `tls` is not built in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Tls {
    /// Clear text, as over a Unix socket or a network of one's own.
    #[default]
    Off,
    /// Encrypted, with any certificate: safe from readers, not from somebody in between (`sslmode=require`,
    /// `sslMode=trust`).
    Encrypt,
    /// Encrypted, the certificate signed by a CA of this PEM file, for whatever name (`verify-ca`). The driver of MariaDB
    /// and MySQL checks the name all the same.
    VerifyCa(PathBuf),
    /// Encrypted, the certificate signed by a CA of this PEM file for the host that was named (`verify-full`).
    VerifyFull(PathBuf),
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
impl Tls {
    /// Refuses a wish that this build, or a Unix socket, cannot fulfil.
    pub(super) fn check(&self, over_socket: bool) -> Result<(), crate::DbError> {
        let refused = |message: &str| Err(crate::DbError::new(crate::DbErrorKind::Refused, message));
        if *self == Self::Off {
            Ok(())
        } else if over_socket {
            refused("TLS is asked for, and a Unix socket has none: connect to the host, or do without TLS")
        } else if cfg!(feature = "tls") {
            match self {
                Self::Off | Self::Encrypt => Ok(()),
                Self::VerifyCa(file) | Self::VerifyFull(file) => match std::fs::File::open(file) {
                    Ok(_) => Ok(()),
                    Err(error) => refused(&format!("the CA's file {}: {error}", file.display())),
                },
            }
        } else {
            refused(
                "TLS is asked for, and ha-migrate is built without its feature tls: build it with, nothing was sent",
            )
        }
    }
}
