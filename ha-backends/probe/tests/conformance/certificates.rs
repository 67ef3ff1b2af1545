//! Certificates for tests, made by the openssl of this machine.

#![cfg(feature = "tls")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::LazyLock;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// A certificate that signs itself, with its key.
pub(crate) struct Certificate {
    dir: TempDir,
    /// The SHA-256 of the certificate, as openssl prints it: `AA:BB:..`.
    pub(crate) fingerprint: String,
}

/// The server's.
pub(crate) static SERVER: LazyLock<Certificate> = LazyLock::new(|| Certificate::make("server"));
/// Another one, of the same name.
pub(crate) static OTHER: LazyLock<Certificate> = LazyLock::new(|| Certificate::make("other"));

fn openssl(dir: &Path, arguments: &str) -> String {
    let ran = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(ran.status.success(), "openssl: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

impl Certificate {
    fn make(unit: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let request = format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout key.pem -out certificate.pem \
             -subj /CN=localhost/OU={unit} -addext subjectAltName=DNS:localhost,DNS:gateway.example,IP:127.0.0.1 \
             -addext basicConstraints=critical,CA:FALSE"
        );
        openssl(dir.path(), &request);
        let printed = openssl(dir.path(), "x509 -in certificate.pem -noout -fingerprint -sha256");
        let fingerprint = printed.trim().rsplit_once('=').unwrap().1.to_string();
        Self { dir, fingerprint }
    }

    /// Returns the path of the certificate in PEM.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("certificate.pem")
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_file(self.path()).unwrap()]
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(self.dir.path().join("key.pem")).unwrap()
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(self.chain(), self.key()).unwrap()))
    }
}
