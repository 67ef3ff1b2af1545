//! Whether an instance is gone: its process is seen to have ended, which no refused connection proves by itself.

use std::error::Error;
use std::fs;
use std::io;

use ha_core::backend::{ErrorKind, StepError};

use crate::backend::HaProxy;
use crate::config::Endpoint;
use crate::transport::{OpContext, Socket};

/// A worker that has answered, as this machine knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Worker {
    pub(crate) pid: u64,
    /// When it was started, in ticks since the machine was; `None` where it is not a process of this machine.
    started: Option<u64>,
}

impl Worker {
    /// Looks the process of this pid up. One of another machine, or of another process namespace, is not known here by its pid.
    pub(crate) fn find(pid: u64) -> Self {
        let is_own = || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let spaces = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            Some(spaces.split_whitespace().count() == 1)
        };
        let started = running(pid).filter(|(name, _)| name == "haproxy").map(|(_, started)| started);
        Self { pid, started: started.filter(|_| is_own() == Some(true)) }
    }

    /// Tells whether it was a process of this machine and is none any more.
    fn has_ended(self) -> bool {
        self.started.is_some_and(|started| running(self.pid).is_none_or(|(_, now)| now != started))
    }
}

/// Returns the name of a process that has not ended, and when it was started.
fn running(pid: u64) -> Option<(String, u64)> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `/proc/PID/stat`; `None` for what has ended and is only not yet reaped.
fn parse(stat: &str) -> Option<(String, u64)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then(|| (name.to_string(), started))
}

impl HaProxy {
    /// Makes `Gone` of a refused connection where the process behind the socket is proven to have ended, and no older one can be left.
    pub(crate) async fn gone_or(&self, about: OpContext<'_>, error: StepError) -> StepError {
        let worker = self.lock().worker;
        match worker {
            Some(worker) if is_refused(&error) && worker.has_ended() && self.has_left_none(about, worker).await => {
                let words = format!(
                    "{}: nothing listens there, and process {} that did has ended",
                    self.admin.endpoint, worker.pid
                );
                StepError::new(ErrorKind::Gone, about.operation, about.target)
                    .with_context(words)
                    .caused_by(error)
                    .without_effect()
            }
            _ => error,
        }
    }

    /// Tells whether no older worker can be left: there was none beside it, or the master is gone too, after which none stays.
    async fn has_left_none(&self, about: OpContext<'_>, worker: Worker) -> bool {
        let Some(master) = &self.master else { return false };
        self.lock().alone == Some(worker.pid) || is_silent(master, about).await
    }
}

async fn is_silent(master: &Socket, about: OpContext<'_>) -> bool {
    let is_here = matches!(master.endpoint, Endpoint::Unix(_));
    is_here && master.ask(about, crate::wire::PROC).await.is_err_and(|error| is_refused(&error))
}

/// Tells whether a connection was refused: nothing listens on the socket, or it is not there.
fn is_refused(error: &StepError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_name_and_its_start_and_one_that_is_not_reaped_has_ended() {
        let stat =
            |state: &str| format!("42 (ha (x) proxy) {state} 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 9 10");
        assert_eq!(parse(&stat("S")), Some(("ha (x) proxy".into(), 777)));
        assert_eq!((parse(&stat("Z")), parse("42 (haproxy) S 1"), parse("")), (None, None, None));
    }

    #[test]
    fn what_is_no_haproxy_of_this_machine_is_never_proven_to_have_ended() {
        let own = u64::from(std::process::id());
        assert_eq!(Worker::find(own).started, None, "it is another program");
        assert!(!Worker::find(u64::MAX).has_ended(), "it never was a process here");
    }
}
