//! Whether an instance is gone: its processes are seen to have ended, which no refused connection proves by itself.

use std::error::Error;
use std::fs;
use std::io;

use ha_core::backend::{ErrorKind, StepError};

use crate::backend::HaProxy;
use crate::config::Endpoint;
use crate::transport::OpContext;

/// A worker that has answered, as this machine knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Worker {
    pub(crate) pid: u64,
    /// The worker and its master; `None` where they are not processes of this machine, or there is no master.
    processes: Option<[Process; 2]>,
}

/// A process of this machine: a pid is given again, and with another start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Process {
    pid: u64,
    /// When it was started, in ticks since the machine was.
    started: u64,
}

/// What `/proc/PID/stat` tells of a process that runs.
#[derive(Debug, Eq, PartialEq)]
struct Stat {
    name: String,
    parent: u64,
    started: u64,
}

impl Worker {
    /// Looks the worker of this pid up, and its master. One of another machine, or of another process namespace, is not known
    /// here by its pid.
    pub(crate) fn find(pid: u64) -> Self {
        let processes = || {
            let (worker, parent) = haproxy(pid)?;
            let (master, _) = haproxy(parent)?;
            Some([worker, master])
        };
        Self { pid, processes: processes() }
    }

    /// Returns the worker that has answered with this pid, given the one that did before. It may have ended since it answered: then it
    /// is the one that is known, and there is nothing to look up.
    pub(crate) fn answering(last: Option<Self>, pid: u64) -> Self {
        match last {
            Some(last) if last.is(pid) => last,
            Some(last) if last.pid == pid => {
                Some(Self::find(pid)).filter(|found| found.processes.is_some()).unwrap_or(last)
            }
            Some(_) | None => Self::find(pid),
        }
    }

    /// Tells whether it is the worker of this pid, and no other one has its pid by now.
    fn is(self, pid: u64) -> bool {
        self.pid == pid && !self.processes.is_some_and(|[worker, _]| worker.has_ended())
    }

    /// Tells whether the worker and its master have ended: the master alone starts others, and older workers follow it within 50 ms
    /// (measured on 2.6). A worker by itself may be followed by one that answers elsewhere.
    fn is_last(self) -> bool {
        self.processes.is_some_and(|processes| processes.into_iter().all(Process::has_ended))
    }
}

impl Process {
    /// Tells whether it has ended for certain; what cannot be read says nothing.
    fn has_ended(self) -> bool {
        running(self.pid).is_ok_and(|stat| stat.is_none_or(|stat| stat.started != self.started))
    }
}

/// Finds an HAProxy of this machine, and the pid of its parent.
fn haproxy(pid: u64) -> Option<(Process, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let spaces = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let stat = running(pid).ok()??;
    let is_own = spaces.split_whitespace().count() == 1 && stat.name == "haproxy";
    is_own.then_some((Process { pid, started: stat.started }, stat.parent))
}

/// Looks at a process; `None` where it has ended.
fn running(pid: u64) -> io::Result<Option<Stat>> {
    /// No such process: it ended while it was read.
    const ESRCH: i32 = 3;
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => parse(&stat).ok_or_else(|| io::ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads `/proc/PID/stat`: `Some(None)` for what has ended and is only not yet reaped.
#[allow(clippy::option_option, reason = "what cannot be read is not what has ended")]
fn parse(stat: &str) -> Option<Option<Stat>> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some((!matches!(state, "Z" | "X")).then(|| Stat { name: name.to_string(), parent, started }))
}

impl HaProxy {
    /// Makes `Gone` of a refused connection where the worker that has answered last and its master are proven to have ended.
    pub(crate) fn gone_or(&self, about: OpContext<'_>, error: StepError) -> StepError {
        let worker = self.lock().worker;
        let is_here = matches!(self.admin.endpoint, Endpoint::Unix(_));
        match worker {
            Some(worker) if is_here && is_refused(&error) && worker.is_last() => {
                let words = format!(
                    "{}: nothing listens there, and process {} that did has ended, and its master: start it again, or take it out of \
                     the topology",
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
    fn a_process_is_known_by_its_name_its_parent_and_its_start_and_one_that_is_not_reaped_has_ended() {
        let stat =
            |state: &str| format!("42 (ha (x) proxy) {state} 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 9 10");
        let runs = Stat { name: "ha (x) proxy".into(), parent: 7, started: 777 };
        assert_eq!(parse(&stat("S")), Some(Some(runs)));
        assert_eq!((parse(&stat("Z")), parse("42 (haproxy) S 1"), parse("")), (Some(None), None, None));
    }

    #[test]
    fn what_is_no_haproxy_of_this_machine_is_never_proven_to_have_ended() {
        let own = u64::from(std::process::id());
        assert_eq!(Worker::find(own).processes, None, "it is another program");
        assert!(!Worker::find(u64::MAX).is_last(), "it never was a process here");
    }

    #[test]
    fn a_worker_that_ends_between_its_answer_and_the_look_at_it_is_the_one_that_was_known() {
        let ended = Process { pid: u64::MAX, started: 1 };
        let known = Worker { pid: u64::MAX, processes: Some([ended, ended]) };
        let answered = Worker::answering(Some(known), u64::MAX);
        assert!(answered == known && answered.is_last());
        assert_eq!(Worker::answering(None, u64::MAX).processes, None, "nobody knew it");
        assert_eq!(Worker::answering(Some(known), u64::MAX - 1).processes, None, "it is another one");
    }

    #[test]
    fn a_worker_is_the_last_only_with_its_master_and_one_whose_pid_was_given_again_is_another() {
        let pid = u64::from(std::process::id());
        let runs = Process { pid, started: running(pid).unwrap().unwrap().started };
        let (another, ended) = (Process { started: runs.started + 1, ..runs }, Process { pid: u64::MAX, started: 1 });
        let worker = |worker, master| Worker { pid, processes: Some([worker, master]) };
        assert!(!worker(ended, runs).is_last() && !worker(runs, ended).is_last() && worker(ended, another).is_last());
        assert!(worker(runs, ended).is(pid) && !worker(another, runs).is(pid) && !worker(runs, runs).is(pid + 1));
    }
}
