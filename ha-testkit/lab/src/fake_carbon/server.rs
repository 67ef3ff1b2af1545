use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::answer::answer;
use super::{Business, CarbonConfig};

/// Runs the server of one home to its end; returns the exit code.
pub(super) fn run(home: &OsStr, business: Business) -> i32 {
    let home = PathBuf::from(home);
    let config = fs::read(home.join("repository/conf/fake-carbon.json"));
    let config: CarbonConfig = match config.map(|bytes| serde_json::from_slice(&bytes)) {
        Ok(Ok(config)) => config,
        Ok(Err(error)) => return fail(&format!("its configuration cannot be read: {error}")),
        Err(error) => return fail(&format!("{} is no installed server: {error}", home.display())),
    };
    if config.crash_on_start {
        return fail("FATAL: the registry database is not reachable");
    }
    if let Err(error) = hold_lifeline(&config.lifeline) {
        return fail(&format!("the lab is gone: {error}"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| runtime.block_on(serve(home, config, business)));
    match served {
        Ok(()) => 0,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(words: &str) -> i32 {
    eprintln!("fake-carbon: {words}");
    1
}

/// Ends this process at once when the lab does, however it ends: nobody is left behind.
fn hold_lifeline(socket: &Path) -> io::Result<()> {
    if socket.as_os_str().is_empty() {
        return Ok(());
    }
    let mut lifeline = UnixStream::connect(socket)?;
    std::thread::spawn(move || {
        let mut byte = [0_u8; 1];
        let _ = lifeline.read(&mut byte);
        std::process::exit(3)
    });
    Ok(())
}

/// The running server.
pub(super) struct Server {
    pub(super) home: PathBuf,
    pub(super) release: String,
    pub(super) business: Business,
    /// What tells this start of the process from every other.
    pub(super) boot: String,
    ready_at: Instant,
    never_ready: bool,
    log: File,
}

impl Server {
    /// Returns whether it serves.
    pub(super) fn is_ready(&self) -> bool {
        !self.never_ready && Instant::now() >= self.ready_at
    }

    /// Notes that a request began (`S`) or ended (`E`), that a service answered (`A`), or that a set of files passed the test (`T`).
    pub(super) fn note(&self, what: &str, id: &str) {
        // One write a line, so that a killed server leaves whole lines behind.
        let _ = (&self.log).write_all(format!("{what} {id}\n").as_bytes());
    }
}

async fn serve(home: PathBuf, config: CarbonConfig, business: Business) -> io::Result<()> {
    let began = Instant::now();
    let mut terminated = signal(SignalKind::terminate())?;
    sleep(Duration::from_millis(config.port_delay_ms)).await;
    let listener = TcpListener::bind((config.address, config.port)).await?;
    let second = match config.second_port {
        0 => None,
        port => Some(TcpListener::bind((config.address, port)).await?),
    };
    let mut pid_file = std::process::id().to_string().into_bytes();
    pid_file.push(b'\n');
    pid_file.resize(100, 0);
    fs::write(home.join("wso2carbon.pid"), pid_file)?;
    let release = fs::read_to_string(home.join("bin/version.txt"))?.trim().to_string();
    let log = OpenOptions::new().create(true).append(true).open(home.join("repository/logs/requests.log"))?;
    let server = Arc::new(Server {
        never_ready: config.never_ready || home.join(format!("never-ready-{release}")).exists(),
        boot: format!("{}-{}", std::process::id(), boot_time()),
        release,
        business,
        ready_at: Instant::now() + Duration::from_millis(config.ready_delay_ms),
        log,
        home,
    });
    println!("WSO2 Carbon started in {} sec", began.elapsed().as_secs());
    let (ending, told) = watch::channel(false);
    loop {
        tokio::select! {
            biased;
            _ = terminated.recv() => break,
            accepted = accept(&listener, second.as_ref()) => {
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let server = server.clone();
                let service = service_fn(move |request| {
                    let server = server.clone();
                    async move { Ok::<_, Infallible>(answer(server, request).await) }
                });
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                let mut told = told.clone();
                tokio::spawn(async move {
                    let mut connection = pin!(connection.with_upgrades());
                    tokio::select! {
                        _ = connection.as_mut() => return,
                        _ = told.changed() => connection.as_mut().graceful_shutdown(),
                    }
                    let _ = connection.await;
                });
            }
        }
    }
    drop((listener, second));
    if config.hang_on_stop {
        std::future::pending::<()>().await;
    }
    // Ends idle connections at once, the others after their request; upgraded ones are cut.
    let _ = ending.send(true);
    drop(told);
    let _ = timeout(Duration::from_millis(config.grace_ms), ending.closed()).await;
    Ok(())
}

/// Accepts a connection on either port.
async fn accept(first: &TcpListener, second: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    let Some(second) = second else { return first.accept().await };
    tokio::select! {
        accepted = first.accept() => accepted,
        accepted = second.accept() => accepted,
    }
}

fn boot_time() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis()
}
