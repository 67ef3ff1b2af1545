use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ha_core::topology::{Reported, SettingError, Settings};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pinned::{Fingerprint, Pinned};

/// Whom to believe over HTTPS. There is no way to believe everybody.
#[derive(Clone)]
pub(crate) struct Trust {
    config: Arc<ClientConfig>,
    shown: String,
}

impl Trust {
    pub(crate) const MISSING: &str = "https needs a pin or a ca";

    /// Reads the settings `pin` and `ca`; `secure` is the key of an https URL.
    pub(crate) fn read(settings: &mut Settings<'_>, secure: Option<&str>) -> Result<Option<Self>, Reported> {
        let (pins, ca) = (settings.texts("pin"), settings.text("ca"));
        let read = Self::of(&pins?, ca?, secure);
        settings.keep(read)
    }

    fn of(pins: &[String], ca: Option<String>, secure: Option<&str>) -> Result<Option<Self>, SettingError> {
        match (secure, ca, pins.is_empty()) {
            (None, None, true) => Ok(None),
            (None, _, _) => Err(SettingError::new("url", "pin and ca are for https, and this is http")),
            (Some(key), None, true) => Err(SettingError::new(
                key,
                "https needs pin, the SHA-256 of the server's certificate, or ca, a file of certificates in PEM",
            )),
            (Some(_), Some(_), false) => Err(SettingError::new("ca", "give it or pin, not both")),
            (Some(_), None, false) => Self::pinned(pins).map(Some),
            (Some(_), Some(ca), true) => Self::signed(Path::new(&ca)).map(Some),
        }
    }

    fn pinned(pins: &[String]) -> Result<Self, SettingError> {
        let read = |pin: &String| pin.parse().map_err(|message: String| SettingError::new("pin", message));
        let pins: Vec<Fingerprint> = pins.iter().map(read).collect::<Result<_, _>>()?;
        let shown = pins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(Pinned::new(pins, &provider));
        let builder = builder(provider).map_err(|message| SettingError::new("pin", message))?;
        Ok(Self::new(builder.dangerous().with_custom_certificate_verifier(verifier), shown))
    }

    fn signed(path: &Path) -> Result<Self, SettingError> {
        let wrong = |message: String| SettingError::new("ca", format!("{}: {message}", path.display()));
        if !path.is_absolute() {
            return Err(SettingError::new("ca", "give an absolute path"));
        }
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("there is no certificate in it".into()));
        }
        let builder = builder(Arc::new(ring::default_provider())).map_err(wrong)?;
        Ok(Self::new(builder.with_root_certificates(roots), format!("ca {}", path.display())))
    }

    fn new(builder: ConfigBuilder<ClientConfig, WantsClientCert>, shown: String) -> Self {
        let mut config = builder.with_no_client_auth();
        // Each question is a whole handshake: a resumed session would not show the certificate.
        config.resumption = Resumption::disabled();
        Self { config: Arc::new(config), shown }
    }

    /// Speaks TLS over a connection, to the server of this name.
    pub(crate) async fn connect(&self, name: &str, stream: TcpStream) -> Result<Stream, String> {
        let name = ServerName::try_from(name.to_string()).map_err(|_| format!("{name:?} is no name of a server"))?;
        let connected = TlsConnector::from(self.config.clone()).connect(name, stream).await;
        match connected {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => Err(message(&error)),
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn builder(provider: Arc<CryptoProvider>) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    // The provider is given, so that none has to be installed for the whole process.
    let builder = ClientConfig::builder_with_provider(provider);
    builder.with_protocol_versions(&[&version::TLS13, &version::TLS12]).map_err(|error| error.to_string())
}

/// Says why a handshake failed; the message of a verifier is the whole text.
fn message(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => other.to_string(),
        Some(inner) => format!("tls: {inner}"),
        None => format!("tls: {error}"),
    }
}

/// A connection with or without TLS.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }
}

macro_rules! either {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Self::Plain(stream) => {
                let $inner = Pin::new(stream);
                $call
            }
            Self::Tls(stream) => {
                let $inner = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}
