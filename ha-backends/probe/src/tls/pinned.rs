use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use sha2::{Digest, Sha256};

/// The SHA-256 of a certificate in DER.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    /// Reads 64 hex digits, with or without colons and `sha256:` before them.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no fingerprint: give 64 hex digits, the SHA-256 of the certificate in DER");
        let digits = text.trim().strip_prefix("sha256:").unwrap_or(text.trim());
        let digits: Vec<u32> =
            digits.chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect::<Option<_>>().ok_or_else(wrong)?;
        let bytes: Vec<u8> =
            digits.chunks_exact(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect();
        let exact = digits.len() == 64;
        bytes.try_into().ok().filter(|_| exact).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Believes a server that shows one of these certificates and proves that it has its key. Names and dates do not count:
/// the certificate itself is known.
#[derive(Debug)]
pub(super) struct Pinned {
    pins: Vec<Fingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    pub(super) fn new(pins: Vec<Fingerprint>, provider: &CryptoProvider) -> Self {
        Self { pins, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Fingerprint::of(certificate);
        if self.pins.contains(&shown) {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = Mismatch { shown, pins: self.pins.clone() };
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(mismatch)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Another certificate than the pinned ones.
#[derive(Debug)]
struct Mismatch {
    shown: Fingerprint,
    pins: Vec<Fingerprint>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pins: Vec<String> = self.pins.iter().map(ToString::to_string).collect();
        write!(f, "the server shows certificate {}, pinned is {}", self.shown, pins.join(" or "))
    }
}

impl std::error::Error for Mismatch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_tools_print_it() {
        let plain = "0123456789abcdef".repeat(4);
        let upper = plain.to_uppercase();
        let colons = upper.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned());
        let colons = colons.collect::<Vec<_>>().join(":");
        for text in [plain.clone(), format!("sha256:{plain}"), colons] {
            assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), format!("sha256:{plain}"));
        }
        for wrong in [
            "",
            "sha256:",
            "0123",
            &plain[1..],
            &format!("{plain}0"),
            &format!("{plain}00"),
            "sha1:00",
            &"x".repeat(64),
        ] {
            assert!(wrong.parse::<Fingerprint>().unwrap_err().contains("64 hex digits"), "{wrong}");
        }
    }
}
