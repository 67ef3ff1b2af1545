//! A server that its own scripts start and stop.

use std::sync::PoisonError;

use ha_core::backend::linux::Scripts;
use ha_core::backend::{ErrorKind, Incarnation, RunCommand, ServerProcess, StepError};

use crate::failure::SshFailure;
use crate::host::Inner;
use crate::probe::{Processes, split};
use crate::script::{FIND, GUARD, Head, KILL, LIVES, PROCESS, START_SERVER};

impl Inner {
    /// Looks at the processes of the server.
    pub(crate) async fn processes(&self, operation: &'static str, scripts: &Scripts) -> Result<Processes, StepError> {
        let body = Head::new()
            .text("home", &self.config.home)
            .and_then(|head| head.text("pid_file", &scripts.pid_file))
            .and_then(|head| head.text("identity", &scripts.identity))
            .and_then(|head| {
                let last = self.last_seen.lock().unwrap_or_else(PoisonError::into_inner);
                let (boot, pid, start) = last.as_ref().and_then(split).unwrap_or_default();
                Ok(head.text("seen", boot)?.number("pid", pid).number("start", start))
            });
        let body = body.map_err(self.nul(operation))?.then([FIND, LIVES, PROCESS]);
        let answer = self.ask_text(operation, body, self.config.read_deadline).await?;
        if let Some(refused) = self.refusal(operation, &answer) {
            return Err(refused.without_effect());
        }
        let failed = |failure: SshFailure| failure.into_step(operation, self.target()).without_effect();
        let processes = Processes::parse(&answer.out()).map_err(failed)?;
        if let ServerProcess::Running(life) = processes.state() {
            *self.last_seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(life);
        }
        Ok(processes)
    }

    /// Returns what starts the server unless it is there, and how it is called. It is looked for once more behind the fence:
    /// another start may have come between.
    pub(crate) fn start_of_scripts(&self, scripts: &Scripts, argv: &[String]) -> (String, RunCommand) {
        let wrapper = format!("{FIND}{START_SERVER}");
        let wrapped = ["/bin/sh", "-c", &wrapper, &scripts.pid_file].map(String::from);
        let wrapped = wrapped.into_iter().chain(argv.iter().cloned()).collect();
        // Not as an argument, which would make the wrapper itself look like the server.
        let command = self.command(wrapped).with_env("HA_IDENTITY", scripts.identity.as_str());
        (argv.join(" "), command)
    }

    /// Returns what stops the server; `None` when nothing runs.
    pub(crate) async fn stop_of_scripts(&self, scripts: &Scripts) -> Result<Option<Vec<String>>, StepError> {
        let processes = self.processes("stop", scripts).await?;
        let Some(server) = processes.server() else { return Ok(None) };
        // The script signals whoever the pid file names: it must name this server.
        let other = processes.named.filter(|named| *named != server.pid).map(|named| named.to_string());
        if let Some(named) = other.or_else(|| processes.nonsense.clone()) {
            let pid = server.pid;
            let message = format!("its pid file says {named:?}, the server is {pid}: correct the file, then resume");
            return Err(self.refuse(ErrorKind::Conflict, "stop", message));
        }
        Ok(Some(scripts.stop.clone()))
    }

    /// Puts together the script that ends one life of a process.
    pub(crate) fn kill_of_process(&self, head: Head, life: &Incarnation) -> Result<String, StepError> {
        let Some((boot, pid, began)) = split(life) else {
            return Err(self.refuse(ErrorKind::Unsupported, "kill", format!("{life} is no life of a process")));
        };
        let head = head.text("boot", boot).map_err(self.nul("kill"))?.number("pid", pid).number("start", began);
        Ok(head.then([GUARD, LIVES, KILL]))
    }
}
