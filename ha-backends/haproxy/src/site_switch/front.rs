use std::path::{Path, PathBuf};

use ha_core::backend::{ErrorKind, StepError};
use ha_core::topology::Name;

use crate::map_on::{MapOn, OneMap, value};
use crate::transport::OpContext;
use crate::wire;

/// One HAProxy in front of the sites.
#[derive(Debug)]
pub(super) struct Front {
    one: OneMap,
    config_files: Vec<PathBuf>,
}

/// Where one front leads: in force, in each of its older workers, and after a restart.
pub(super) struct Led {
    pub(super) running: Option<String>,
    older: Vec<(u64, Option<String>)>,
    written: Option<String>,
}

pub(super) const SITE: &str = "site";
/// Where consumers were led before they were held: in the map's file only.
const BEFORE: &str = "before";

impl Led {
    pub(super) fn is(&self, to: &str) -> bool {
        let is = |value: &Option<String>| value.as_deref() == Some(to);
        is(&self.running) && is(&self.written) && self.older.iter().all(|(_, value)| is(value))
    }

    /// Names everything that it says.
    pub(super) fn said(&self) -> impl Iterator<Item = &Option<String>> {
        [&self.running, &self.written].into_iter().chain(self.older.iter().map(|(_, value)| value))
    }
}

impl Front {
    pub(super) fn new(on: MapOn) -> Self {
        let config_files = on.config.config_files.clone();
        Self { one: OneMap::new(on), config_files }
    }

    pub(super) fn name(&self) -> &str {
        &self.one.name
    }

    pub(super) async fn led(&self, about: OpContext<'_>) -> Result<Led, StepError> {
        let at = |entries: &[(String, String)]| value(entries, SITE).map(String::from);
        let running = at(&self.one.running(about).await?);
        let mut older = Vec::new();
        for pid in self.one.haproxy.older_workers(about).await? {
            if let Some(entries) = self.one.haproxy.older_map(about, pid, &self.one.map).await? {
                older.push((pid, at(&entries)));
            }
        }
        Ok(Led { running, older, written: at(&self.one.written(about).await?) })
    }

    /// Reads where consumers were led before they were held.
    pub(super) async fn before(&self, about: OpContext<'_>) -> Result<Option<String>, StepError> {
        Ok(value(&self.one.written(about).await?, BEFORE).map(String::from))
    }

    /// Counts what is in progress in the backends of the sites, in older workers too.
    pub(super) async fn in_progress(&self, about: OpContext<'_>, pools: &[Name]) -> Result<u64, StepError> {
        let mut sum = 0_u64;
        for pool in pools {
            sum = sum.saturating_add(self.one.haproxy.in_progress(about, pool).await?);
        }
        Ok(sum)
    }

    /// Refuses where there are workers that do not tell what they have in progress.
    pub(super) async fn sees_workers(&self, about: OpContext<'_>) -> Result<(), StepError> {
        self.one.haproxy.sees_workers(about).await
    }

    /// Writes down where consumers are led, for after a restart.
    pub(super) async fn write(&self, about: OpContext<'_>, to: &str) -> Result<(), StepError> {
        self.one.write(about, SITE, Some(to)).await
    }

    /// Writes down where consumers were led before they are held.
    pub(super) async fn write_before(&self, about: OpContext<'_>, before: &str) -> Result<(), StepError> {
        self.one.write(about, BEFORE, Some(before)).await
    }

    /// Brings the file to a value, then what is in force.
    pub(super) async fn bring(&self, about: OpContext<'_>, led: &Led, to: &str) -> Result<(), StepError> {
        if led.written.as_deref() != Some(to) {
            self.write(about, to).await?;
        }
        if led.running.as_deref() != Some(to) {
            let command = wire::put_map(&self.one.map, SITE, to, led.running.is_some());
            self.one.haproxy.command(about, &command).await?;
        }
        for (pid, value) in led.older.iter().filter(|(_, value)| value.as_deref() != Some(to)) {
            self.one
                .haproxy
                .command_older(about, *pid, &wire::put_map(&self.one.map, SITE, to, value.is_some()))
                .await?;
        }
        Ok(())
    }

    /// Refuses where what was read back is not what it was given.
    pub(super) fn has(&self, about: OpContext<'_>, led: &Led, to: &str) -> Result<(), StepError> {
        if led.is(to) {
            return Ok(());
        }
        let context = format!("{} does not have what it was given: look who else changes its map", self.one.name);
        Err(StepError::new(ErrorKind::Conflict, about.operation, about.target).with_context(context))
    }

    /// Refuses to hold where requests would not wait.
    pub(super) async fn can_hold(&self, about: OpContext<'_>) -> Result<(), StepError> {
        let unsupported = |what: String| {
            StepError::new(ErrorKind::Unsupported, about.operation, about.target).with_context(what).without_effect()
        };
        let loaded = self.one.haproxy.read(about, &[wire::HOLDS.to_string()]).await;
        match loaded {
            Ok(answer) if answer.trim() == wire::CAN_HOLD => {}
            Ok(_) => return Err(unsupported(format!("{} cannot hold: another ha-hold.lua is loaded", self.one.name))),
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Conflict) => {
                let context = format!("{} cannot hold: load ha-hold.lua there with lua-load", self.one.name);
                return Err(unsupported(context).caused_by(error));
            }
            Err(error) => return Err(error),
        }
        let used = self.config_files.iter().any(|file| uses_hold(file));
        if !used && !self.config_files.is_empty() {
            let context = format!("{} cannot hold: no `http-request lua.ha_hold` in its configuration", self.one.name);
            return Err(unsupported(context));
        }
        Ok(())
    }
}

fn uses_hold(file: &Path) -> bool {
    let uses = |line: &str| line.split_whitespace().take(2).eq(["http-request", "lua.ha_hold"]);
    std::fs::read_to_string(file).is_ok_and(|text| text.lines().any(uses))
}
