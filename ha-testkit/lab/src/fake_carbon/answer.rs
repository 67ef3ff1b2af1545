use std::convert::Infallible;
use std::fs;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::server::Server;
use super::{Answered, Asked, HANDSHAKE_ANSWER, HANDSHAKE_KEY};

/// Answers one request.
pub(super) async fn answer(server: Arc<Server>, mut request: Request<Incoming>) -> Response<Answer> {
    match request.uri().path() {
        "/liveness" => return reply(StatusCode::OK, "alive\n"),
        "/__boot" => return reply(StatusCode::OK, &server.boot),
        _ if !server.is_ready() => return reply(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        "/services/Version" => return reply(StatusCode::OK, &format!("{}\n", server.release)),
        "/health" => return reply(health(&server), "health\n"),
        "/healthz" => {
            let health = serde_json::json!({ "version": server.release, "status": "ready" });
            return reply(StatusCode::OK, &health.to_string());
        }
        "/selftest" => {
            let set = fs::read_to_string(server.home.join(SHARED).join(".ha-generation")).unwrap_or_default();
            let set = format!("g{}", set.trim());
            let marks = [&server.release, &set].map(|what| format!("fail-test-{what}"));
            if marks.iter().any(|mark| server.home.join(mark).exists()) {
                return reply(StatusCode::INTERNAL_SERVER_ERROR, "order 4711 came back empty\n");
            }
            match ask(&server, "/selftest").await {
                Some((200, _)) | None => {}
                Some((status, text)) => return reply(status_of(status), &format!("{text}\n")),
            }
            server.note("T", &set);
            return reply(StatusCode::OK, &format!("ok {}\n", server.release));
        }
        _ => {}
    }
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("-").to_string();
    server.note("S", &id);
    if request.headers().contains_key(UPGRADE) {
        return echo(server, &mut request, id);
    }
    let name = request.uri().path().trim_start_matches('/').to_string();
    let query = request.uri().query().unwrap_or("");
    let ms = query.split('&').find_map(|pair| pair.strip_prefix("ms=")).and_then(|ms| ms.parse().ok());
    let pause = Duration::from_millis(ms.unwrap_or(0));
    let _ = request.into_body().collect().await;
    let line = format!("{name} {} {}\n", server.release, server.boot);
    if name == "stream" {
        return Response::new(stream(server, id, line, pause));
    }
    if !pause.is_zero() {
        sleep(pause).await;
    }
    if let Some((status, text)) = ask(&server, &format!("/{name}")).await {
        server.note("E", &id);
        return reply(status_of(status), &format!("{text}\n"));
    }
    server.note("E", &id);
    match name.strip_prefix("services/") {
        None => reply(StatusCode::OK, &line),
        Some(service) => match deployed(&server, service) {
            Some(text) => {
                server.note("A", &format!("{service} {text}"));
                reply(StatusCode::OK, &format!("{service} {text}\n"))
            }
            None => reply(StatusCode::NOT_FOUND, "no such service\n"),
        },
    }
}

/// Asks the program's own part of the server.
async fn ask(server: &Server, path: &str) -> Option<Answered> {
    let (home, release) = (server.home.clone(), server.release.clone());
    server.business.answer(Asked { home, release, path: path.into() }).await
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The folder of deployed services, below the home.
const SHARED: &str = "repository/shared";

/// What is deployed for a service at this moment, as a server that watches its folder has it.
fn deployed(server: &Server, service: &str) -> Option<String> {
    let plain = service.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let file = server.home.join(SHARED).join("services").join(format!("{service}.xml"));
    let text = plain.then(|| fs::read_to_string(file).ok()).flatten()?;
    Some(text.split_whitespace().next().unwrap_or("-").to_string())
}

/// The status in the control file `health`; 200 without it.
fn health(server: &Server) -> StatusCode {
    let text = fs::read_to_string(server.home.join("health")).unwrap_or_default();
    text.trim().parse().ok().and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK)
}

fn reply(status: StatusCode, body: &str) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Full::new(Bytes::copy_from_slice(body.as_bytes()))));
    *response.status_mut() = status;
    response
}

/// Sends the line at once and a chunk more after each tenth of `over`.
fn stream(server: Arc<Server>, id: String, line: String, over: Duration) -> Answer {
    let (parts, body) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut part = Bytes::from(line);
        for _ in 0..10 {
            if parts.send(part).await.is_err() {
                return;
            }
            sleep(over / 10).await;
            part = Bytes::from_static(b".\n");
        }
        server.note("E", &id);
    });
    Answer::Parts(body)
}

/// Leaves HTTP: greets, then sends back all that comes. Only the handshake key of the load generator is known.
fn echo(server: Arc<Server>, request: &mut Request<Incoming>, id: String) -> Response<Answer> {
    let key = request.headers().get("sec-websocket-key").map(|key| key.as_bytes().to_vec());
    if key.as_deref() != Some(HANDSHAKE_KEY.as_bytes()) {
        return reply(StatusCode::BAD_REQUEST, "this handshake key is not known here\n");
    }
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut stream = TokioIo::new(upgraded);
        let mut bytes = format!("echo {} {}\n", server.release, server.boot).into_bytes();
        while stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok() {
            bytes.resize(1024, 0);
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => break,
                Ok(read) => bytes.truncate(read),
            }
        }
        server.note("E", &id);
    });
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header("sec-websocket-accept", HANDSHAKE_ANSWER)
        .body(Answer::Whole(Full::default()));
    answer.unwrap_or_else(|_| reply(StatusCode::INTERNAL_SERVER_ERROR, ""))
}

/// The body of an answer: all at once, or in parts.
pub(super) enum Answer {
    Whole(Full<Bytes>),
    Parts(mpsc::Receiver<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Parts(parts) => parts.poll_recv(cx).map(|part| part.map(|part| Ok(Frame::data(part)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Parts(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Parts(_) => SizeHint::default(),
        }
    }
}
