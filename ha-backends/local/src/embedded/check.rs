use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Check;
use super::servers::Servers;

const TIMEOUT: Duration = Duration::from_secs(1);

/// Checks one server for as long as the balancer lives.
pub(super) async fn watch(servers: Arc<Servers>, server: usize, check: Check) {
    loop {
        if let Some(address) = servers.to_check(server) {
            let passed = matches!(timeout(TIMEOUT, ask(address, &check.path)).await, Ok(Ok(true)));
            servers.checked(server, passed, check.rise, check.fall);
        }
        sleep(check.interval).await;
    }
}

async fn ask(address: SocketAddr, path: &str) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head).await?;
    Ok(head.starts_with(b"HTTP/1.") && head.ends_with(b" 200"))
}
