//! A server that is a service of systemd.

use ha_core::backend::linux::{SystemdUnit, UnitStatus};
use ha_core::backend::{ErrorKind, Incarnation, RunCommand, ServerProcess, StepError};

use crate::host::Inner;
use crate::quote::{HoldsNul, quote_all};
use crate::script::{GUARD, Head, KILL_UNIT, START_UNIT, seconds};

impl Inner {
    /// Adds the function that asks systemd about the unit. What is started by it never holds the guard's lock.
    fn systemctl(&self, head: Head, unit: &SystemdUnit) -> Result<Head, HoldsNul> {
        let (argv, name) = (quote_all(unit.systemctl.iter().map(String::as_str))?, quote_all([unit.unit.as_str()])?);
        let limit = seconds(self.config.read_deadline);
        let function =
            format!("ha_systemctl() {{ timeout -s KILL {limit} {argv} \"$@\" -- {name} </dev/null 9>&-; }}\n");
        Ok(head.raw(&function))
    }

    /// Reads the boot of the machine and the state of the unit.
    pub(crate) async fn unit_status(
        &self,
        operation: &'static str,
        unit: &SystemdUnit,
    ) -> Result<(String, UnitStatus), StepError> {
        let show = format!(
            "IFS= read -r boot </proc/sys/kernel/random/boot_id\nprintf '%s\\n' \"$boot\"\nha_systemctl show --property={}\nexit $?\n",
            UnitStatus::PROPERTIES
        );
        let body = self.systemctl(Head::new(), unit).map_err(self.nul(operation))?.then([show.as_str()]);
        let answer = self.ask_text(operation, body, self.config.read_deadline).await?;
        if answer.code != 0 {
            let message =
                format!("{} does not answer ({}): {}", unit.systemctl.join(" "), answer.code, answer.message());
            return Err(self.refuse(ErrorKind::Protocol, operation, message));
        }
        let text = answer.out();
        let (boot, shown) = text.split_once('\n').unwrap_or_default();
        let Some(status) = UnitStatus::parse(shown) else {
            let message = format!("what systemd says of {} is not understood: {text:?}", unit.unit);
            return Err(self.refuse(ErrorKind::Protocol, operation, message));
        };
        if !status.is_known {
            let message =
                format!("systemd has no unit {}: correct the setting `unit`, or daemon-reload there", unit.unit);
            return Err(self.refuse(ErrorKind::NotFound, operation, message));
        }
        Ok((boot.trim().into(), status))
    }

    /// Looks whether the unit runs.
    pub(crate) async fn unit_process(
        &self,
        operation: &'static str,
        unit: &SystemdUnit,
    ) -> Result<ServerProcess, StepError> {
        let (boot, status) = self.unit_status(operation, unit).await?;
        status.process(&boot).ok_or_else(|| {
            let message = format!("{} is active, and systemd does not say in which run", unit.unit);
            self.refuse(ErrorKind::Protocol, operation, message)
        })
    }

    /// Returns what starts the unit unless it is active, and how it is called.
    pub(crate) fn start_of_unit(&self, unit: &SystemdUnit) -> (String, RunCommand) {
        let wrapped = ["/bin/sh", "-c", START_UNIT, &unit.unit].map(String::from);
        let wrapped = wrapped.into_iter().chain(unit.systemctl.iter().cloned()).collect();
        (unit.request(&["start"]).join(" "), self.command(wrapped))
    }

    /// Returns what stops the unit; `None` when nothing of it runs.
    pub(crate) async fn stop_of_unit(&self, unit: &SystemdUnit) -> Result<Option<Vec<String>>, StepError> {
        let process = self.unit_process("stop", unit).await?;
        Ok((process != ServerProcess::Stopped).then(|| unit.request(&["stop", "--no-block"])))
    }

    /// Puts together the script that ends one run of the unit.
    pub(crate) fn kill_of_unit(&self, head: Head, unit: &SystemdUnit, life: &Incarnation) -> Result<String, StepError> {
        let Some((boot, run)) = life.as_str().split_once(':') else {
            return Err(self.refuse(ErrorKind::Unsupported, "kill", format!("{life} is no run of a unit")));
        };
        let head = head.text("boot", boot).and_then(|head| self.systemctl(head.text("run", run)?, unit));
        Ok(head.map_err(self.nul("kill"))?.then([GUARD, KILL_UNIT]))
    }
}
