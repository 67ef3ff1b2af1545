use std::io;
use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::ErrorKind;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::servers::{Refusal, Servers};
use crate::wire::{LINE_LIMIT, Reply, Request};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Answers the admin socket until it is dropped.
pub(super) async fn serve(listener: UnixListener, servers: Arc<Servers>) {
    let mut questions: JoinSet<()> = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let servers = servers.clone();
        questions.spawn(async move {
            let _ = timeout(TIMEOUT, answer(stream, &servers)).await;
        });
        while questions.try_join_next().is_some() {}
    }
}

async fn answer(mut stream: UnixStream, servers: &Servers) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader.take(LINE_LIMIT)).read_line(&mut line).await?;
    let mut bytes = serde_json::to_vec(&reply_to(&line, servers))?;
    bytes.push(b'\n');
    writer.write_all(&bytes).await
}

/// Carries a question out and answers it; a line that was cut off is not carried out.
pub(super) fn reply_to(line: &str, servers: &Servers) -> Reply {
    let reply = if line.ends_with('\n') { decide(line, servers) } else { Err(refused("the question is not whole")) };
    reply.unwrap_or_else(|(kind, message)| Reply::Error { kind, message })
}

fn decide(line: &str, servers: &Servers) -> Result<Reply, Refusal> {
    let request: Request = serde_json::from_str(line).map_err(|error| refused(&error.to_string()))?;
    match request {
        Request::Identify => Ok(Reply::Instance(servers.identify())),
        Request::Member { pool, member } => servers.member(&pool, &member).map(Reply::Member),
        Request::Members { pool } => servers.members(&pool).map(Reply::Members),
        Request::CheckOf { pool, member } => servers.check_of(&pool, &member).map(Reply::CheckOf),
        Request::Quiescence { pool, member } => servers.quiescence(&pool, &member).map(Reply::Quiescence),
        Request::SetAdmin { pool, member, admin, epoch } => {
            servers.set_admin(&pool, &member, admin, epoch).map(Reply::Applied)
        }
        Request::SetWeight { pool, member, weight, epoch } => {
            servers.set_weight(&pool, &member, weight, epoch).map(Reply::Applied)
        }
        Request::Route { key } => {
            servers.route(&key).map(|(value, after_restart)| Reply::Route { value, after_restart })
        }
        Request::Led => servers.led(),
        Request::Lead { to, epoch } => servers.lead_to(&to, epoch).map(Reply::Applied),
        Request::SetRoute { key, pool, epoch } => servers.set_route(&key, pool.as_ref(), epoch).map(Reply::Applied),
    }
}

fn refused(message: &str) -> Refusal {
    (ErrorKind::Protocol, message.to_string())
}
