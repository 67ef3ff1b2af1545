//! A machine in memory: what the simulated world's hosts have not, commands, files and work.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, DetachedWork, Ended, ErrorKind, Fencing, Host, HostCapabilities, HostFiles, HostIdentity, Incarnation,
    Installed, ObserveHost, Ran, RunCommand, ServerProcess, StepError, WorkId, WorkState,
};
use ha_core::state::{LeaseEpoch, ServerDomain};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::{Act, Found};
use crate::world::{FakeHost, World};

/// Where the server is, on the machine.
pub(super) const HOME: &str = "/srv/esb";
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// A host of the simulated world on a machine in memory. Clones are the same host.
#[derive(Clone)]
pub(super) struct MachineHost {
    pub(super) world: World,
    pub(super) node: &'static str,
    pub(super) server: Arc<FakeHost>,
    pub(super) machine: Machine,
}

/// What is on the machine. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Machine {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) files: BTreeMap<String, Found>,
    pub(super) work: BTreeMap<WorkId, Piece>,
    pub(super) is_hung: bool,
    pub(super) is_uninstalled: bool,
    /// How often the link was cut.
    pub(super) cuts: u64,
    own: u64,
}

pub(super) struct Piece {
    pub(super) state: WorkState,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) running: Option<AbortHandle>,
}

impl Machine {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a command under a name, unless one was begun under it before.
    pub(super) fn begin(&self, id: &WorkId, command: RunCommand) -> Applied {
        let mut state = self.lock();
        if state.work.contains_key(id) {
            return Applied::AlreadySo;
        }
        let (machine, name) = (self.clone(), id.clone());
        let task = tokio::spawn(async move {
            let ended = timeout(command.deadline, machine.act(&command)).await;
            let (end, stdout, stderr) = ended.unwrap_or((WorkState::Overdue, String::new(), String::new()));
            if let Some(piece) = machine.lock().work.get_mut(&name) {
                piece.state = end;
                piece.stdout = last(stdout.as_bytes(), command.output_limit).to_vec();
                piece.stderr = last(stderr.as_bytes(), command.output_limit).to_vec();
            }
        });
        let running = Some(task.abort_handle());
        let piece = Piece { state: WorkState::Running, stdout: Vec::new(), stderr: Vec::new(), running };
        state.work.insert(id.clone(), piece);
        Applied::Applied
    }

    /// Ends what runs under this name, as this.
    pub(super) fn end(&self, id: &WorkId, end: WorkState) -> Applied {
        match self.lock().work.get_mut(id).filter(|piece| !piece.state.is_final()) {
            Some(piece) => {
                if let Some(running) = piece.running.take() {
                    running.abort();
                }
                piece.state = end;
                Applied::Applied
            }
            None => Applied::AlreadySo,
        }
    }

    async fn act(&self, command: &RunCommand) -> (WorkState, String, String) {
        sleep(ROUND_TRIP * 5).await;
        let well = |out: &str, err: &str| (WorkState::Exited(0), out.to_string(), err.to_string());
        match Act::parse(&command.argv) {
            Some(Act::Exit(code)) => (WorkState::Exited(code), String::new(), String::new()),
            Some(Act::Signal(signal)) => (WorkState::Signaled(signal), String::new(), String::new()),
            Some(Act::Say(out, err)) => well(&out, &err),
            Some(Act::Show) => {
                let shown = command.env.iter().find(|(name, _)| name == Act::VARIABLE);
                well(shown.map_or("", |(_, value)| value), "")
            }
            Some(Act::Mark(name, pause)) => {
                sleep(Duration::from_millis(pause)).await;
                self.add_line(&name);
                well("", "")
            }
            Some(Act::Beat(name)) => {
                self.beat(&name).await;
                well("", "")
            }
            Some(Act::LeaveBeating(name)) => {
                let machine = self.clone();
                tokio::spawn(async move { machine.beat(&name).await });
                well("begun\n", "")
            }
            None => (WorkState::Exited(127), String::new(), String::new()),
        }
    }

    async fn beat(&self, name: &str) {
        for _ in 0..200 {
            self.add_line(name);
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn add_line(&self, name: &str) {
        let mut state = self.lock();
        let found = state.files.entry(format!("{HOME}/{name}")).or_insert(Found::File(Vec::new(), 0o644));
        if let Found::File(bytes, _) = found {
            bytes.extend_from_slice(b"x\n");
        }
    }
}

pub(super) fn last(bytes: &[u8], limit: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(limit)..]
}

impl MachineHost {
    pub(super) fn error(&self, kind: ErrorKind, operation: &'static str) -> StepError {
        StepError::new(kind, operation, self.node)
    }

    /// Makes the way to the machine, if there is one.
    pub(super) async fn reach(&self, operation: &'static str) -> Result<(), StepError> {
        sleep(ROUND_TRIP).await;
        if self.machine.lock().is_hung {
            sleep(Duration::from_secs(2)).await;
            return Err(self.error(ErrorKind::Timeout, operation));
        }
        if self.world.truth().nodes.get(self.node).is_none_or(|node| node.host_lost) {
            return Err(self.error(ErrorKind::Unreachable, operation).without_effect());
        }
        Ok(())
    }

    /// Makes the way to the machine and past its fence.
    pub(super) async fn pass(&self, epoch: LeaseEpoch, operation: &'static str) -> Result<(), StepError> {
        self.reach(operation).await?;
        self.world.fence(epoch.number(), operation, self.node)
    }
}

impl fmt::Debug for MachineHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineHost").field("node", &self.node).finish_non_exhaustive()
    }
}

#[async_trait]
impl ObserveHost for MachineHost {
    fn capabilities(&self) -> HostCapabilities {
        HostCapabilities::new(Fencing::Guarded, true)
    }

    async fn identify(&self) -> Result<HostIdentity, StepError> {
        self.reach("identify").await.map_err(StepError::without_effect)?;
        self.server.identify().await
    }

    async fn process(&self) -> Result<ServerProcess, StepError> {
        self.reach("process").await.map_err(StepError::without_effect)?;
        self.server.process().await
    }

    async fn installed(&self) -> Result<Installed, StepError> {
        self.reach("installed").await.map_err(StepError::without_effect)?;
        if self.machine.lock().is_uninstalled {
            return Ok(Installed::Absent);
        }
        self.server.installed().await
    }

    async fn stop_budget(&self) -> Result<Option<Duration>, StepError> {
        self.server.stop_budget().await
    }

    async fn missing(&self, programs: &[String]) -> Result<Vec<String>, StepError> {
        self.reach("missing").await.map_err(StepError::without_effect)?;
        let missing = programs.iter().filter(|program| *program != "/bin/sh");
        Ok(missing.map(|program| format!("the change: there is no program {program}")).collect())
    }

    async fn ask(&self, command: RunCommand) -> Result<Ran, StepError> {
        self.reach("ask").await.map_err(StepError::without_effect)?;
        self.execute("ask", command).await.map_err(StepError::without_effect)
    }
}

#[async_trait]
impl Host for MachineHost {
    fn files(&self) -> Option<&dyn HostFiles> {
        Some(self)
    }

    fn work(&self) -> Option<&dyn DetachedWork> {
        Some(self)
    }

    async fn start(&self, epoch: LeaseEpoch, domain: ServerDomain) -> Result<Applied, StepError> {
        self.reach("start").await?;
        self.server.start(epoch, domain).await
    }

    async fn stop(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        self.reach("stop").await?;
        self.server.stop(epoch).await
    }

    async fn kill(&self, epoch: LeaseEpoch, life: Incarnation) -> Result<Applied, StepError> {
        self.reach("kill").await?;
        self.server.kill(epoch, life).await
    }

    async fn run(&self, epoch: LeaseEpoch, command: RunCommand) -> Result<Ran, StepError> {
        self.pass(epoch, "run").await?;
        self.execute("run", command).await
    }
}

impl MachineHost {
    /// Runs a command to its end.
    async fn execute(&self, operation: &'static str, command: RunCommand) -> Result<Ran, StepError> {
        if command.argv.first().is_none_or(|program| program != "/bin/sh") {
            return Err(self.error(ErrorKind::NotFound, operation).without_effect());
        }
        let id = match &command.id {
            Some(id) => id.clone(),
            None => {
                let mut state = self.machine.lock();
                state.own += 1;
                WorkId::new(&format!("own-{}", state.own))
                    .map_err(|error| self.error(ErrorKind::Unsupported, operation).caused_by(error))?
            }
        };
        let cuts = self.machine.lock().cuts;
        self.machine.begin(&id, command);
        loop {
            sleep(ROUND_TRIP).await;
            let state = self.machine.lock();
            if state.cuts != cuts {
                return Err(self.error(ErrorKind::Unreachable, operation));
            }
            let Some(piece) = state.work.get(&id) else { continue };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let ended = match piece.state {
                WorkState::Exited(code) => Ended::Exited(code),
                WorkState::Signaled(signal) => Ended::Signaled(signal),
                WorkState::Overdue => return Err(self.error(ErrorKind::Timeout, operation)),
                WorkState::Lost => return Err(self.error(ErrorKind::Unreachable, operation)),
                _ => continue,
            };
            return Ok(Ran::new(ended, text(&piece.stdout), text(&piece.stderr)));
        }
    }
}
