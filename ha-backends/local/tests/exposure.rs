//! Services exposed by commands: the suite on scripts that keep two gateways as files, and what each exit code means. The truth is
//! in the files.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Effect, ErrorKind, ExposeRoute, Exposure, ObserveExposure};
use ha_core::state::{LeaseEpoch, RouteKey, ServiceRoute};
use ha_core::topology::{Component, Name, Setting};
use ha_local::{CommandExposure, CommandExposureConfig};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::exposure::{ExposureAbility, ExposureFixture, ExposureSubject};
use tempfile::TempDir;

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

fn orders() -> ExposeRoute {
    ExposeRoute::new(ServiceRoute::new(RouteKey::new("/orders").unwrap(), Name::new("esb").unwrap()))
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
