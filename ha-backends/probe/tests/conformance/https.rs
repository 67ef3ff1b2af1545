//! What is special about HTTPS.

use std::sync::Arc;

use ha_core::backend::{Effect, ErrorKind, Ready, StepError};
use ha_testkit::conformance::probe::ProbeSubject;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Certificate, OTHER, SERVER};
use crate::server::{Door, State, serve};
use crate::web::{Web, WebSubject};
use crate::{component, list, text};

fn with(settings: Vec<(&'static str, ha_core::topology::Setting)>) -> Web {
    let mut web = Web::pinned();
    web.settings = settings;
    web
}

async fn subject(settings: Vec<(&'static str, ha_core::topology::Setting)>) -> WebSubject {
    with(settings).subject("1.0", Vec::new()).await.unwrap()
}

fn hex(certificate: &Certificate) -> String {
    certificate.fingerprint.replace(':', "").to_lowercase()
}

fn refused(error: &StepError) -> String {
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Protocol, Effect::None), "{error}");
    error.to_string()
}

#[tokio::test]
async fn another_certificate_is_refused_and_both_fingerprints_are_told() {
    let subject = subject(vec![("pin", text(&OTHER.fingerprint))]).await;
    for error in [subject.probe().ready().await.unwrap_err(), subject.probe().test().await.unwrap_err()] {
        let message = refused(&error);
        assert!(message.contains(&format!("sha256:{}", hex(&SERVER))), "{message}");
        assert!(message.contains(&format!("sha256:{}", hex(&OTHER))), "{message}");
    }
    assert!(subject.state.heard.lock().unwrap().is_empty(), "nothing was asked of a server that is not known");
}

#[tokio::test]
async fn a_pin_is_read_in_every_form_that_tools_print() {
    for pin in [hex(&SERVER), format!("sha256:{}", hex(&SERVER)), SERVER.fingerprint.clone()] {
        let subject = subject(vec![("pin", text(pin))]).await;
        assert!(matches!(subject.probe().ready().await, Ok(Ready::Yes { .. })));
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let subject = subject(vec![("ca", text(OTHER.path().display()))]).await;
    assert!(refused(&subject.probe().ready().await.unwrap_err()).contains("certificate"));
}

#[tokio::test]
async fn with_a_ca_the_name_counts_and_is_sent() {
    let ca = || ("ca", text(SERVER.path().display()));
    let known = subject(vec![ca(), ("host", text("gateway.example:8243"))]).await;
    assert!(matches!(known.probe().ready().await, Ok(Ready::Yes { .. })));
    assert!(known.state.heard.lock().unwrap().contains("host: gateway.example:8243\r\n"));
    let stranger = subject(vec![ca(), ("host", text("elsewhere.example"))]).await;
    assert!(refused(&stranger.probe().ready().await.unwrap_err()).contains("elsewhere.example"));
    let pinned = subject(vec![("pin", text(hex(&SERVER))), ("host", text("elsewhere.example"))]).await;
    assert!(matches!(pinned.probe().ready().await, Ok(Ready::Yes { .. })), "a pin needs no name");
}

/// Shows one certificate and signs with the key of another, as a thief would who has only the certificate.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesServerCert for Thief {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[tokio::test]
async fn a_copied_certificate_without_its_key_is_refused() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = provider.key_provider.load_private_key(OTHER.key()).unwrap();
        let thief = Arc::new(Thief(Arc::new(CertifiedKey::new(SERVER.chain(), key))));
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_cert_resolver(thief)));
        let state = Arc::new(State::default());
        let door = Door::open(Arc::new(move |stream| {
            let (acceptor, state) = (acceptor.clone(), state.clone());
            Box::pin(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(state, stream).await;
                }
            })
        }));
        let door = door.await.unwrap();
        let url = text(format!("https://{}/ready", door.address));
        let probe = ha_probe::from_component(&component("http", vec![("url", url), ("pin", text(hex(&SERVER)))]));
        refused(&probe.unwrap().ready().await.unwrap_err());
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let plain = Door::open(Arc::new(|mut stream| {
        Box::pin(async move {
            let _ = stream.read(&mut [0_u8; 64]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        })
    }));
    let plain = plain.await.unwrap();
    let url = text(format!("https://{}/ready", plain.address));
    let settings = vec![("url", url), ("pin", list(&[&hex(&SERVER)]))];
    let error = ha_probe::from_component(&component("http", settings)).unwrap().ready().await.unwrap_err();
    assert!(refused(&error).contains("tls"), "{error}");
}
