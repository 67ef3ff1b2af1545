//! The backend against a socket that lies, dribbles, cuts and hangs, at the moment of the write.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ha_core::backend::{Admin, Effect, ErrorKind, LoadBalancer, MemberRef, ObserveBalancer, SetAdmin};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;
use ha_haproxy::{HaProxy, HaProxyConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

/// What the socket does with the changing command.
#[derive(Clone, Copy, Debug)]
enum Trick {
    HangsUp,
    Hangs,
    Dribbles,
    Endless,
    NotText,
    SaysWellAndDoesNothing,
    SaysWellAndBreaksOff,
    RefusesInItsOwnWords,
    TracksAnother,
}

const STATE: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight \
                     srv_iweight srv_check_state srv_port\n4 esb 1 esb1 127.0.0.1 2 0 1 1 6 8280\n\n";

async fn answer(mut stream: UnixStream, trick: Trick, writes: Arc<AtomicU32>) -> std::io::Result<()> {
    let mut command = [0_u8; 512];
    let read = stream.read(&mut command).await?;
    if !String::from_utf8_lossy(&command[..read]).contains("set server") {
        return stream.write_all(format!("\n{STATE}").as_bytes()).await;
    }
    writes.fetch_add(1, Ordering::SeqCst);
    match trick {
        Trick::HangsUp => Ok(()),
        Trick::Hangs => std::future::pending().await,
        Trick::Dribbles => loop {
            stream.write_all(b" ").await?;
            sleep(Duration::from_millis(30)).await;
        },
        Trick::Endless => loop {
            stream.write_all(&[b'x'; 4096]).await?;
        },
        Trick::NotText => stream.write_all(&[0xff, 0xfe, b'\n']).await,
        Trick::SaysWellAndDoesNothing => stream.write_all(format!("\n\n{STATE}").as_bytes()).await,
        Trick::SaysWellAndBreaksOff => stream.write_all(format!("\n\n{}", &STATE[..150]).as_bytes()).await,
        Trick::RefusesInItsOwnWords => stream.write_all(refusal("Something nobody has seen before.").as_bytes()).await,
        Trick::TracksAnother => stream.write_all(refusal("cannot change state on a tracking server.").as_bytes()).await,
    }
}

/// The rest of a line is carried out all the same.
fn refusal(words: &str) -> String {
    format!("\n[3]: {words}\n\n{STATE}")
}

fn serve(path: &Path, trick: Trick) -> Arc<AtomicU32> {
    let (listener, writes) = (UnixListener::bind(path).unwrap(), Arc::new(AtomicU32::new(0)));
    let counted = writes.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, trick, counted.clone()));
        }
    });
    writes
}

#[tokio::test]
async fn whatever_happens_after_the_write_is_unknown_unless_haproxy_refused_in_words() {
    for (trick, kind, effect) in [
        (Trick::HangsUp, ErrorKind::Protocol, Effect::Unknown),
        (Trick::Hangs, ErrorKind::Timeout, Effect::Unknown),
        (Trick::Dribbles, ErrorKind::Timeout, Effect::Unknown),
        (Trick::Endless, ErrorKind::Protocol, Effect::Unknown),
        (Trick::NotText, ErrorKind::Protocol, Effect::Unknown),
        (Trick::SaysWellAndDoesNothing, ErrorKind::Conflict, Effect::Unknown),
        (Trick::SaysWellAndBreaksOff, ErrorKind::Conflict, Effect::Unknown),
        (Trick::RefusesInItsOwnWords, ErrorKind::Conflict, Effect::None),
        (Trick::TracksAnother, ErrorKind::Conflict, Effect::None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let writes = serve(&path, trick);
        let mut config = HaProxyConfig::new(&path);
        config.deadline = Duration::from_millis(300);
        config.max_reply = 64 * 1024;
        let esb1 = MemberRef::new(Name::new("esb").unwrap(), Name::new("esb1").unwrap());
        let backend = HaProxy::new(config);
        let error = backend.set_admin(LeaseEpoch::new(1), SetAdmin::new(esb1, Admin::Maint)).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (kind, effect), "{trick:?}: {error}");
        assert_eq!(writes.load(Ordering::SeqCst), 1, "{trick:?}: the write is never repeated");
        assert!(error.to_string().contains("esb/esb1"), "{error}");
    }
}

#[tokio::test]
async fn a_read_has_no_effect_whatever_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    serve(&path, Trick::Hangs);
    let error = HaProxy::new(HaProxyConfig::new(&path)).identify().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Protocol, Effect::None), "{error}");
    assert!(error.to_string().contains("has no "), "{error}");
}
