//! A server that is a service of systemd.

use std::time::Duration;

use ha_core::backend::linux::{SystemdUnit, UnitStatus};
use ha_core::backend::{Applied, ErrorKind, Incarnation, Ran, RunCommand, ServerProcess, StepError};
use tokio::time::{Instant, sleep};

use crate::host::{LocalHost, SEEN};
use crate::identity::boot_id;
use crate::runner::{self, DUMP_TIME};

/// The pause between two looks at a unit that was told to start.
const LOOK: Duration = Duration::from_millis(50);
/// How long one question to systemd may take.
const ASKED: Duration = Duration::from_secs(5);

impl LocalHost {
    async fn systemctl(
        &self,
        operation: &'static str,
        unit: &SystemdUnit,
        arguments: &[&str],
    ) -> Result<Ran, StepError> {
        runner::run(&self.config.home, operation, RunCommand::new(unit.request(arguments), ASKED)).await
    }

    /// Asks systemd to change something about the unit.
    async fn order(&self, operation: &'static str, unit: &SystemdUnit, arguments: &[&str]) -> Result<(), StepError> {
        let ran = self.systemctl(operation, unit, arguments).await?;
        if ran.is_success() { Ok(()) } else { Err(self.failed(operation, &unit.request(arguments).join(" "), &ran)) }
    }

    /// Reads the state of the unit.
    pub(crate) async fn unit_status(
        &self,
        operation: &'static str,
        unit: &SystemdUnit,
    ) -> Result<UnitStatus, StepError> {
        let properties = format!("--property={}", UnitStatus::PROPERTIES);
        let ran = self.systemctl(operation, unit, &["show", &properties]).await.map_err(StepError::without_effect)?;
        let refuse = |kind, message: String| Err(self.error(kind, operation).with_context(message).without_effect());
        match UnitStatus::parse(&ran.stdout).filter(|_| ran.is_success()) {
            None => {
                let message =
                    format!("{} does not answer ({}): {}", unit.systemctl.join(" "), ran.ended, ran.stderr.trim());
                refuse(ErrorKind::Protocol, message)
            }
            Some(status) if !status.is_known => {
                let message =
                    format!("systemd has no unit {}: correct the setting `unit`, or daemon-reload", unit.unit);
                refuse(ErrorKind::NotFound, message)
            }
            Some(status) => Ok(status),
        }
    }

    /// Looks whether the unit runs.
    pub(crate) async fn unit_process(
        &self,
        operation: &'static str,
        unit: &SystemdUnit,
    ) -> Result<ServerProcess, StepError> {
        let status = self.unit_status(operation, unit).await?;
        status.process(&boot_id().unwrap_or_default()).ok_or_else(|| {
            let message = format!("{} is active, and it is not known in which run", unit.unit);
            self.error(ErrorKind::Protocol, operation).with_context(message).without_effect()
        })
    }

    /// Starts a unit that does not run, and waits until it has begun.
    pub(crate) async fn start_unit(&self, unit: &SystemdUnit, argv: Vec<String>) -> Result<Applied, StepError> {
        // What has failed too often is not started again until that is forgotten. One that never failed may be unknown.
        self.systemctl("start", unit, &["reset-failed"]).await?;
        let said = argv.join(" ");
        let ran = runner::run(&self.config.home, "start", RunCommand::new(argv, self.config.command_deadline)).await?;
        if !ran.is_success() {
            return Err(self.failed("start", &said, &ran));
        }
        let (until, mut begun) = (Instant::now() + SEEN, false);
        loop {
            match self.unit_status("start", unit).await {
                Ok(status) if status.has_failed => {
                    let told = self.systemctl("start", unit, &["status", "--no-pager", "--lines=5"]).await;
                    return Err(self.failed("start", &said, &told.unwrap_or(ran)));
                }
                // A unit whose program cannot be run is active for a moment: one look is not believed.
                Ok(status) if status.is_active && !begun => begun = true,
                Ok(status) if status.is_active => return Ok(Applied::Applied),
                // It was asked to start; whether it does is the caller's to see.
                Ok(_) | Err(_) if Instant::now() >= until => return Ok(Applied::Applied),
                Ok(_) | Err(_) => {}
            }
            sleep(LOOK).await;
        }
    }

    /// Ends one run of the unit, behind the fence.
    pub(crate) async fn kill_unit(&self, unit: &SystemdUnit, life: &Incarnation) -> Result<Applied, StepError> {
        let lives = async || Ok(self.unit_process("kill", unit).await? == ServerProcess::Running(life.clone()));
        if !lives().await? {
            return Ok(Applied::AlreadySo);
        }
        // Without a main process there is nobody to ask.
        self.systemctl("kill", unit, &["kill", "--kill-who=main", "--signal=QUIT"]).await?;
        sleep(DUMP_TIME).await;
        // A look has no effect; what went before it has.
        let lives = async || {
            lives().await.map_err(|error: StepError| self.error(error.kind(), "kill").with_context(error.to_string()))
        };
        if !lives().await? {
            return Ok(Applied::Applied);
        }
        // Stopped first: killed alone it would be started again, as its unit says.
        self.order("kill", unit, &["stop", "--no-block"]).await?;
        if lives().await? {
            let killed = self.order("kill", unit, &["kill", "--signal=KILL"]).await;
            // One that has ended by itself in between may not be loaded any more.
            if killed.is_err() && lives().await? {
                killed?;
            }
        }
        Ok(Applied::Applied)
    }
}
