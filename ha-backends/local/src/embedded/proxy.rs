use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::servers::{Admission, Servers, Session};

type Answer = Response<UnsyncBoxBody<Bytes, hyper::Error>>;

/// Serves the clients of a pool until it is dropped.
pub(super) async fn serve(listener: TcpListener, servers: Arc<Servers>, pool: usize) {
    let mut connections: JoinSet<()> = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let servers = servers.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let servers = servers.clone();
                async move { Ok::<_, Infallible>(forward(&servers, pool, request).await) }
            });
            // A client that goes away is the client's affair.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(servers: &Arc<Servers>, pool: usize, mut request: Request<Incoming>) -> Answer {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = named.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(named, |(host, _)| host);
    let session = loop {
        match servers.admit(pool, host, request.uri().path()) {
            Admission::To(session) => break session,
            Admission::Held(mut led) => {
                // The balancer is gone when its servers are; then so is this task.
                let _ = led.changed().await;
            }
            Admission::NoRoute => return refusal(StatusCode::NOT_FOUND, "no route leads there\n"),
            Admission::Refused => return refusal(StatusCode::SERVICE_UNAVAILABLE, "led nowhere\n"),
            Admission::NoServer => return refusal(StatusCode::SERVICE_UNAVAILABLE, "no server is usable\n"),
        }
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Ok(uri) = format!("http://{}{path}", session.address).parse::<Uri>() else {
        return refusal(StatusCode::BAD_REQUEST, "the path cannot be forwarded\n");
    };
    *request.uri_mut() = uri;
    strip(request.headers_mut());
    match session.client.request(request).await {
        Ok(response) => {
            let (mut head, body) = response.into_parts();
            if head.status.is_server_error() {
                session.failed();
            }
            strip(&mut head.headers);
            Response::from_parts(head, Guarded { body, _session: session }.boxed_unsync())
        }
        Err(error) => {
            session.failed();
            refusal(StatusCode::BAD_GATEWAY, &format!("the server was lost: {error}\n"))
        }
    }
}

fn refusal(status: StatusCode, message: &str) -> Answer {
    let body = Full::new(Bytes::copy_from_slice(message.as_bytes())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}

/// Takes out what is meant for one hop only (RFC 9110, section 7.6.1).
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, HeaderName::from_static("keep-alive")] {
        headers.remove(name);
    }
}

/// The body of an answer; its request counts on its server until the body has ended.
struct Guarded {
    body: Incoming,
    _session: Session,
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
