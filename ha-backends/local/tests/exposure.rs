//! Services exposed by commands and by the embedded balancer: the suite on scripts that keep two gateways as files, whose truth is in
//! the files, and on two balancers, whose truth is what a consumer gets; and what each exit code means.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Effect, ErrorKind, ExposeRoute, Exposure, ObserveExposure};
use ha_core::state::{LeaseEpoch, MemberKind, RouteKey, ServiceRoute};
use ha_core::topology::{Component, Name, Setting};
use ha_local::{CommandExposure, CommandExposureConfig, EmbeddedBalancer, LocalBalancer, LocalExposure};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::exposure::{ExposureAbility, ExposureFixture, ExposureSubject};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

const GATEWAYS: [&str; 2] = ["gw1", "gw2"];

const SHOW: &str = r#"#!/bin/sh
leads() { awk '$1 == ENVIRON["HA_ROUTE_KEY"] { print $2; found = 1 } END { if (!found) print "-" }' "$1"; }
for gw in gw1 gw2; do
    [ -d $gw ] || { echo "$gw does not answer" >&2; exit 1; }
    echo "$gw $(leads $gw/running) $(leads $gw/written)"
done
"#;

/// Sets or takes away, on every gateway.
const CHANGE: &str = r#"#!/bin/sh
set -e
for gw in gw1 gw2; do
    for of in written running; do
        awk '$1 != ENVIRON["HA_ROUTE_KEY"]' $gw/$of >$gw/$of.new
        [ "$1" = hide ] || echo "$HA_ROUTE_KEY $HA_ROUTE_VALUE" >>$gw/$of.new
        mv $gw/$of.new $gw/$of
    done
done
"#;

struct Gateways;

struct Scripts {
    dir: TempDir,
    exposure: Arc<CommandExposure>,
}

fn script(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(String::from).collect()
}

impl Scripts {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for gateway in GATEWAYS {
            fs::create_dir(dir.path().join(gateway)).unwrap();
            for of in ["running", "written"] {
                fs::write(dir.path().join(gateway).join(of), "").unwrap();
            }
        }
        script(dir.path(), "show.sh", SHOW);
        script(dir.path(), "change.sh", CHANGE);
        let exposure = Arc::new(Self::value(dir.path()));
        Self { dir, exposure }
    }

    fn value(home: &Path) -> CommandExposure {
        let change = |verb| words(&format!("./change.sh {verb}"));
        CommandExposure::new(CommandExposureConfig::new(home, words("./show.sh"), change("expose"), change("hide")))
    }

    fn file(&self, instance: usize, of: &str) -> PathBuf {
        self.dir.path().join(GATEWAYS[instance]).join(of)
    }

    fn set(&self, instance: usize, of: &str, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        let text = fs::read_to_string(self.file(instance, of))?;
        let others = text.lines().filter(|line| line.split(' ').next() != Some(key.as_str()));
        let mut next: String = others.map(|line| format!("{line}\n")).collect();
        next.extend(to.map(|value| format!("{key} {value}\n")));
        Ok(fs::write(self.file(instance, of), next)?)
    }
}

#[async_trait]
impl ExposureFixture for Gateways {
    fn name(&self) -> String {
        "commands that keep two gateways".into()
    }

    fn can(&self, _ability: ExposureAbility) -> bool {
        true
    }

    async fn fresh(&self) -> Result<Box<dyn ExposureSubject>, Breach> {
        Ok(Box::new(Scripts::new()))
    }
}

#[async_trait]
impl ExposureSubject for Scripts {
    fn exposure(&self) -> Arc<dyn Exposure> {
        self.exposure.clone()
    }

    fn another(&self) -> Arc<dyn Exposure> {
        Arc::new(Self::value(self.dir.path()))
    }

    async fn truth(&self, key: &RouteKey) -> Result<Vec<Option<String>>, Breach> {
        let leads = |instance: usize| {
            let text = fs::read_to_string(self.file(instance, "running")).unwrap_or_default();
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(known, _)| *known == key.as_str()).map(|(_, value)| value.to_string())
        };
        Ok((0..GATEWAYS.len()).map(leads).collect())
    }

    async fn lead(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        self.set(instance, "written", key, to)?;
        self.set(instance, "running", key, to)
    }

    async fn tear(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        self.set(instance, "running", key, to)
    }

    async fn restart(&self) -> Result<(), Breach> {
        for instance in 0..GATEWAYS.len() {
            fs::copy(self.file(instance, "written"), self.file(instance, "running"))?;
        }
        Ok(())
    }

    async fn lose_last(&self) -> Result<(), Breach> {
        Ok(fs::remove_dir_all(self.dir.path().join(GATEWAYS[1]))?)
    }
}

mod commands_that_keep_two_gateways {
    use super::Gateways;

    ha_testkit::conformance!(exposure, Gateways);
}

/// Two embedded balancers with a routes file each; the truth is what a consumer of the key gets from which pool.
struct Routes;

struct Balancers {
    dir: TempDir,
    /// What the servers of the pools `esb` and `legacy` answer is the name of their pool.
    servers: Vec<(&'static str, SocketAddr)>,
    running: Mutex<Vec<Option<EmbeddedBalancer>>>,
    exposure: Arc<LocalExposure>,
}

/// Answers every request with a word, until the test ends.
async fn server(word: &'static str) -> Result<SocketAddr, Breach> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", word.len());
            let _ = stream.write_all(format!("{head}{word}").as_bytes()).await;
        }
    });
    Ok(address)
}

impl Balancers {
    fn file(&self, instance: usize) -> PathBuf {
        self.dir.path().join(format!("routes{instance}"))
    }

    fn socket(&self, instance: usize) -> PathBuf {
        self.dir.path().join(format!("lb{instance}.sock"))
    }

    fn value(dir: &Path) -> LocalExposure {
        let instance = |at: usize| (format!("lb{at}"), LocalBalancer::new(dir.join(format!("lb{at}.sock"))));
        LocalExposure::new((0..2).map(instance).collect())
    }

    async fn start(&self, instance: usize) -> Result<(), Breach> {
        let (any, mut pools) = ("127.0.0.1:0".parse().unwrap(), self.servers.iter());
        let &(esb, address) = pools.next().unwrap();
        let mut builder = EmbeddedBalancer::builder(Name::new(esb).unwrap()).with_member(
            Name::new("one").unwrap(),
            address,
            MemberKind::Primary,
        );
        for &(pool, address) in pools {
            builder = builder.with_pool(Name::new(pool).unwrap(), any).with_member(
                Name::new("one").unwrap(),
                address,
                MemberKind::Primary,
            );
        }
        let started = builder.with_routes(self.file(instance)).start(any, &self.socket(instance)).await?;
        self.running.lock().unwrap()[instance] = Some(started);
        Ok(())
    }

    fn end(&self, instance: usize) {
        self.running.lock().unwrap()[instance] = None;
    }

    /// What is in force is changed as nobody may: over the balancer's own socket, and what is written is put back.
    async fn set(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        let pool = to.map_or("null".into(), |to| format!("\"{to}\""));
        // The epoch that was seen last fences nobody out.
        let seen = fs::read_to_string(self.socket(instance).with_extension("sock.epoch")).unwrap_or_default();
        let epoch = if seen.is_empty() { "0" } else { seen.trim() };
        let line = format!("{{\"op\":\"set-route\",\"key\":\"{key}\",\"pool\":{pool},\"epoch\":{epoch}}}\n");
        let mut stream = UnixStream::connect(self.socket(instance)).await?;
        stream.write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        if answer.contains("error") { Err(Breach::new(answer)) } else { Ok(()) }
    }
}

#[async_trait]
impl ExposureFixture for Routes {
    fn name(&self) -> String {
        "the routes of two embedded balancers".into()
    }

    fn can(&self, _ability: ExposureAbility) -> bool {
        true
    }

    async fn fresh(&self) -> Result<Box<dyn ExposureSubject>, Breach> {
        let dir = tempfile::tempdir()?;
        let mut servers = Vec::new();
        for word in ["esb", "legacy"] {
            servers.push((word, server(word).await?));
        }
        let exposure = Arc::new(Balancers::value(dir.path()));
        let balancers = Balancers { dir, servers, running: Mutex::new(vec![None, None]), exposure };
        for instance in 0..2 {
            balancers.start(instance).await?;
        }
        Ok(Box::new(balancers))
    }
}

#[async_trait]
impl ExposureSubject for Balancers {
    fn exposure(&self) -> Arc<dyn Exposure> {
        self.exposure.clone()
    }

    fn another(&self) -> Arc<dyn Exposure> {
        Arc::new(Self::value(self.dir.path()))
    }

    async fn truth(&self, key: &RouteKey) -> Result<Vec<Option<String>>, Breach> {
        let mut truth = Vec::new();
        for instance in 0..2 {
            let address = self.running.lock().unwrap()[instance].as_ref().map(EmbeddedBalancer::address);
            let Some(address) = address else {
                truth.push(None);
                continue;
            };
            let mut stream = TcpStream::connect(address).await?;
            let (host, path) = if key.as_str().starts_with('/') { ("x", key.as_str()) } else { (key.as_str(), "/") };
            let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_string();
            truth.push(answer.starts_with("HTTP/1.1 200").then_some(body));
        }
        Ok(truth)
    }

    async fn lead(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        self.set(instance, key, to).await
    }

    async fn tear(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        let before = fs::read_to_string(self.file(instance)).unwrap_or_default();
        self.set(instance, key, to).await?;
        Ok(fs::write(self.file(instance), before)?)
    }

    async fn restart(&self) -> Result<(), Breach> {
        for instance in 0..2 {
            self.end(instance);
            self.start(instance).await?;
        }
        Ok(())
    }

    async fn lose_last(&self) -> Result<(), Breach> {
        self.end(1);
        Ok(())
    }
}

mod the_routes_of_two_embedded_balancers {
    use super::Routes;

    ha_testkit::conformance!(exposure, Routes);
}

fn orders() -> ExposeRoute {
    ExposeRoute::new(ServiceRoute::new(RouteKey::new("/orders").unwrap(), Name::new("esb").unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_waits_for_another_change_waits_no_longer_than_its_own_call_may_take() {
    let dir = tempfile::tempdir().unwrap();
    // It takes what is asked, and never answers.
    let _silent = UnixListener::bind(dir.path().join("lb.sock")).unwrap();
    let silent = LocalBalancer::new(dir.path().join("lb.sock"));
    let exposure = LocalExposure::new(vec![("lb".into(), silent)]);
    let first = exposure.clone();
    let first = tokio::spawn(async move { first.expose(LeaseEpoch::new(1), orders()).await });
    sleep(Duration::from_millis(100)).await;
    let short = orders().with_deadline(Duration::from_millis(100));
    let late = exposure.expose(LeaseEpoch::new(1), short).await.unwrap_err();
    assert_eq!((late.kind(), late.effect()), (ErrorKind::Timeout, Effect::None), "{late}");
    assert!(!first.is_finished() && late.to_string().contains("another change"), "{late}");
    first.abort();
}

/// What becomes of an exposure whose commands are these lines of shell.
async fn refused(show: &str, expose: &str) -> (ErrorKind, Effect, String) {
    let dir = tempfile::tempdir().unwrap();
    let sh = |line: &str| vec!["/bin/sh".to_string(), "-c".into(), line.into()];
    let config = CommandExposureConfig::new(dir.path(), sh(show), sh(expose), sh("true"));
    let error = CommandExposure::new(config).expose(LeaseEpoch::new(1), orders()).await.unwrap_err();
    (error.kind(), error.effect(), error.to_string())
}

#[tokio::test]
async fn each_exit_code_and_output_has_its_kind_and_effect() {
    for (show, expose, kind, effect, words) in [
        ("exit 1", "true", ErrorKind::Unreachable, Effect::None, "show ended with exit code 1"),
        ("true", "true", ErrorKind::Protocol, Effect::None, "show printed no instance"),
        ("echo what is this now", "true", ErrorKind::Protocol, Effect::None, "show printed"),
        ("echo gw legacy", "true", ErrorKind::Conflict, Effect::None, "/orders leads to legacy on gw"),
        ("echo gw - legacy", "true", ErrorKind::Conflict, Effect::None, "/orders leads to legacy on gw"),
        ("echo gw -", "echo no >&2; exit 3", ErrorKind::Conflict, Effect::None, "exit code 3: no"),
        ("echo gw -", "exit 1", ErrorKind::Conflict, Effect::Unknown, "exit code 1"),
        ("echo gw -", "kill -9 $$", ErrorKind::Conflict, Effect::Unknown, "signal 9"),
        ("echo gw -", "true", ErrorKind::Conflict, Effect::Unknown, "show says that the route is dark"),
    ] {
        let (found, with, text) = refused(show, expose).await;
        assert_eq!((found, with), (kind, effect), "{show} / {expose}: {text}");
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test]
async fn the_route_goes_into_the_environment_and_no_shell_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let sh = |line: &str| vec!["/bin/sh".to_string(), "-c".into(), line.into()];
    let expose = sh("echo \"gw $HA_ROUTE_VALUE $HA_ROUTE_VALUE\" >shown; echo \"$HA_ROUTE_KEY\" >key");
    let show = sh("cat shown 2>/dev/null || echo gw -");
    let config = CommandExposureConfig::new(dir.path(), show, expose, sh("true"));
    let exposure = CommandExposure::new(config);
    let route = ServiceRoute::new(RouteKey::new("/a$(id)&b").unwrap(), Name::new("esb").unwrap());
    exposure.expose(LeaseEpoch::new(1), ExposeRoute::new(route.clone())).await.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("key")).unwrap(), "/a$(id)&b\n");
    assert_eq!(exposure.route(&route.key).await.unwrap()[0].value.as_deref(), Some("esb"));
}

#[test]
fn every_wrong_setting_is_named() {
    let mut component = Component::new(Name::new("command").unwrap());
    component.settings = [("home".into(), Setting::Text("relative".into()))].into();
    let error = CommandExposureConfig::from_component(&component).unwrap_err().to_string();
    for key in ["home", "show", "expose", "hide"] {
        assert!(error.contains(key), "{key}: {error}");
    }
}
