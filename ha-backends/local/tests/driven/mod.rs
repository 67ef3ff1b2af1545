//! A local host and its probe over a real server, built from their settings as the facade does.

use std::path::Path;
use std::time::Duration;

use ha_core::backend::{ObserveHost, Probe, Ready, ServerProcess};
use ha_core::topology::{Component, Name, Setting};
use ha_local::{LocalHost, LocalHostConfig};
use ha_probe::{HttpProbe, HttpProbeConfig};
use tokio::time::sleep;

/// A server: how it is started, stopped and asked for its release, its pid file, and what its process is known by.
pub(crate) struct Server<'a> {
    pub(crate) home: &'a Path,
    pub(crate) start: &'a [&'a str],
    pub(crate) stop: &'a [&'a str],
    pub(crate) version: &'a [&'a str],
    pub(crate) pid_file: &'a str,
    pub(crate) identity: String,
    pub(crate) port: u16,
}

impl Server<'_> {
    pub(crate) fn drive(self) -> (LocalHost, HttpProbe) {
        let text = |text: String| Setting::Text(text);
        let argv = |words: &[&str]| Setting::List(words.iter().map(|word| (*word).to_string()).collect());
        let mut host = Component::new(Name::new("local").unwrap());
        host.settings.extend([
            ("home".into(), text(self.home.display().to_string())),
            ("start".into(), argv(self.start)),
            ("stop".into(), argv(self.stop)),
            ("version".into(), argv(self.version)),
            ("pid_file".into(), text(self.pid_file.into())),
            ("identity".into(), text(self.identity)),
        ]);
        let mut probe = Component::new(Name::new("http").unwrap());
        probe.settings.extend([
            ("url".into(), text(format!("http://127.0.0.1:{}/services/Version", self.port))),
            ("test_url".into(), text(format!("http://127.0.0.1:{}/selftest", self.port))),
            ("test_expect".into(), text("ok".into())),
        ]);
        let host = LocalHost::new(LocalHostConfig::from_component(&host).unwrap());
        (host, HttpProbe::new(HttpProbeConfig::from_component(&probe).unwrap()))
    }
}

pub(crate) async fn until_ready(probe: &HttpProbe) -> Box<str> {
    for _ in 0..2_500 {
        if let Ok(Ready::Yes { release }) = probe.ready().await {
            return release;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the server never was ready");
}

pub(crate) async fn until_stopped(host: &LocalHost) {
    for _ in 0..2_500 {
        if host.process().await.unwrap() == ServerProcess::Stopped {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the server never stopped");
}
