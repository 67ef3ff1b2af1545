//! Older workers: after a reload they finish what they have, and only the master's socket shows what that is.

use std::path::Path;

use ha_core::backend::{Completeness, ErrorKind, MemberRef, Quiescence, StepError};
use ha_core::topology::Name;
use tokio::time::{Instant, sleep};

use crate::backend::HaProxy;
use crate::error;
use crate::transport::{OpContext, PAUSE, Socket};
use crate::wire::{self, Malformed, PoolRow, Stat};

impl HaProxy {
    /// Tells whether older workers can be asked what they do. Before 2.5 one that is asked lists no servers at all (measured on 2.4.0: a
    /// take-out that took that for nothing lost 23 of 326 requests). What the version is shows with the first answer.
    pub(crate) fn sees_older(&self) -> bool {
        self.master.is_some() && !self.lock().before_2_5
    }

    /// Completes what a worker does for a server without asking others: where it has no older ones beside it, or they cannot
    /// be seen. Otherwise `None`.
    pub(crate) fn complete(&self, pid: u64, figures: Quiescence) -> Option<Quiescence> {
        let alone = !self.sees_older() || self.lock().alone == Some(pid);
        alone.then(|| self.with_older(pid, figures, 0))
    }

    /// Adds what older workers do for a server to what the worker of this pid does.
    pub(crate) fn with_older(&self, pid: u64, figures: Quiescence, older: u64) -> Quiescence {
        let seen = if self.sees_older() { Completeness::Proven } else { Completeness::OlderGenerationsInvisible };
        figures.with_generation(pid).with_older(older, seen)
    }

    /// Counts what older workers still do for a server: all of them are asked, over the master.
    pub(crate) async fn older_sessions(
        &self,
        about: OpContext<'_>,
        member: &MemberRef,
        current: u64,
    ) -> Result<u64, StepError> {
        let Some(master) = self.master.as_ref().filter(|_| self.sees_older()) else { return Ok(0) };
        if self.lock().alone == Some(current) {
            return Ok(0);
        }
        let malformed = |malformed: Malformed| error::malformed(about, malformed);
        let answer = master.ask(about, wire::PROC).await.map_err(StepError::without_effect)?;
        let workers = wire::parse_proc(&answer).map_err(malformed)?;
        if !workers.iter().any(|worker| worker.pid == current && !worker.old) {
            // A reload is under way: the admin socket was answered by a worker that is not the current one any more.
            let words =
                format!("worker {current} answered, and the master does not call it current: a reload is under way");
            return Err(StepError::new(ErrorKind::Busy, about.operation, about.target)
                .with_context(words)
                .without_effect());
        }
        let (mut sessions, mut older) = (0_u64, false);
        for worker in workers.iter().filter(|worker| worker.pid != current) {
            let question = wire::worker_stats(worker.pid, self.scope(&member.pool));
            let Some((stats, _)) = self.ask_older(master, about, (worker.pid, &member.pool), &question).await? else {
                continue;
            };
            older = true;
            let of_member = stats.iter().filter(|stat| stat.server == member.member.as_str());
            sessions = of_member.fold(sessions, |sum, stat| sum.saturating_add(stat.quiescence.in_flight()));
        }
        if !older {
            self.lock().alone = Some(current);
        }
        Ok(sessions)
    }

    /// Lists the workers that a reload has left behind; none where there is no master to ask. Before 2.5 such a worker tells no figures,
    /// and its map all the same, which leads whoever is connected to it (measured on 2.4.0).
    pub(crate) async fn older_workers(&self, about: OpContext<'_>) -> Result<Vec<u64>, StepError> {
        let Some(master) = &self.master else { return Ok(Vec::new()) };
        old(master, about).await
    }

    /// Reads a map of an older worker; `None` when it has ended.
    pub(crate) async fn older_map(
        &self,
        about: OpContext<'_>,
        pid: u64,
        map: &Path,
    ) -> Result<Option<Vec<(String, String)>>, StepError> {
        let Some(master) = &self.master else { return Ok(None) };
        let question = wire::to_worker(pid, &wire::show_map(map));
        let read = |answer: &str| match wire::refused(answer).map(|refused| error::refused(about, &refused)) {
            // An older configuration may not have had this map: then the worker leads nobody by it.
            Some(error) if error.kind() == ErrorKind::NotFound => Ok(Ok(None)),
            Some(error) => Ok(Err(error)),
            None => wire::parse_map(answer).map(|map| Ok(Some(map))),
        };
        let map = ask_worker(master, about, pid, &question, read).await.map_err(StepError::without_effect)?;
        Ok(map.flatten())
    }

    /// Gives an older worker a changing command, which is given again where no answer comes: twice has to equal once. One that has
    /// ended needs none.
    pub(crate) async fn command_older(&self, about: OpContext<'_>, pid: u64, command: &str) -> Result<(), StepError> {
        let Some(master) = &self.master else { return Ok(()) };
        let question = wire::to_worker(pid, command);
        let read = |answer: &str| Ok(wire::changed(answer).map_err(|refused| error::refused(about, &refused)));
        ask_worker(master, about, pid, &question, read).await.map(|_| ())
    }

    /// Counts what is in progress in a pool, and what waits for it, in older workers too.
    pub(crate) async fn in_progress(&self, about: OpContext<'_>, pool: &Name) -> Result<u64, StepError> {
        let answer = self.read(about, &[wire::pool_stats(self.scope(pool))]).await?;
        let (stats, row) = wire::parse_stats(&answer, pool).map_err(|malformed| error::malformed(about, malformed))?;
        let Some(row) = row else {
            let words = format!("backend {pool} is not there: declare one for each site");
            return Err(error::not_found(about, words));
        };
        let mut sum = busy(&stats, Some(&row));
        let Some(master) = self.master.as_ref().filter(|_| self.sees_older()) else { return Ok(sum) };
        for pid in old(master, about).await? {
            let question = wire::worker_pool_stats(pid, self.scope(pool));
            let older = self.ask_older(master, about, (pid, pool), &question).await?;
            sum = sum.saturating_add(older.map_or(0, |(stats, row)| busy(&stats, row.as_ref())));
        }
        Ok(sum)
    }

    /// Refuses where there are older workers that do not tell what they do.
    pub(crate) async fn sees_workers(&self, about: OpContext<'_>) -> Result<(), StepError> {
        let answer = self.read(about, &[wire::INFO.into()]).await?;
        let version = self.process(about, &answer)?.version;
        let Some(master) = self.master.as_ref().filter(|_| !self.sees_older()) else { return Ok(()) };
        let older = old(master, about).await?;
        if older.is_empty() {
            return Ok(());
        }
        let words = format!(
            "older workers {older:?} of {version} do not tell what they have in progress: wait until they have ended, or use 2.5 or later"
        );
        Err(StepError::new(ErrorKind::Unsupported, about.operation, about.target).with_context(words).without_effect())
    }

    /// Asks an older worker for the figures of a pool; `None` when it has ended, be it while it was asked.
    async fn ask_older(
        &self,
        master: &Socket,
        about: OpContext<'_>,
        (pid, pool): (u64, &Name),
        question: &str,
    ) -> Result<Option<(Vec<Stat>, Option<PoolRow>)>, StepError> {
        let read = |answer: &str| match wire::refused(answer).map(|refused| error::refused(about, &refused)) {
            // An older configuration may not have had this pool.
            Some(error) if error.kind() == ErrorKind::NotFound => Ok(Ok((Vec::new(), None))),
            Some(error) => Ok(Err(error)),
            None => wire::parse_stats(answer, pool).map(Ok),
        };
        ask_worker(master, about, pid, question, read).await.map_err(StepError::without_effect)
    }
}

/// Asks an older worker over the master; `None` when it has ended, be it while it was asked. Right after a reload, and when the worker
/// ends, the master gives an empty answer or none (seen on 2.6, 2.8 and 3.4): then it is asked again, as long as the deadline of one
/// question lasts.
async fn ask_worker<T>(
    master: &Socket,
    about: OpContext<'_>,
    pid: u64,
    question: &str,
    read: impl Fn(&str) -> Result<Result<T, StepError>, Malformed>,
) -> Result<Option<T>, StepError> {
    let until = master.until();
    loop {
        // Short at first, so that one lost answer does not take the time of all.
        let now = Instant::now();
        let failed = match master.ask_until(about, question, now + until.duration_since(now) / 3).await {
            Ok(answer) if wire::is_gone(&answer) => return Ok(None),
            Ok(answer) => match read(&answer) {
                Ok(read) => return read.map(Some),
                Err(malformed) => error::malformed(about, malformed),
            },
            Err(error) => error,
        };
        let passes = matches!(failed.kind(), ErrorKind::Protocol | ErrorKind::Unreachable | ErrorKind::Timeout);
        if !passes || Instant::now() + PAUSE * 2 >= until {
            let words = format!("older worker {pid} gives no answer that can be used: {failed}");
            return Err(StepError::new(failed.kind(), about.operation, about.target).with_context(words));
        }
        sleep(PAUSE).await;
    }
}

/// Lists the workers that the master calls old.
async fn old(master: &Socket, about: OpContext<'_>) -> Result<Vec<u64>, StepError> {
    let answer = master.ask(about, wire::PROC).await.map_err(StepError::without_effect)?;
    let workers = wire::parse_proc(&answer).map_err(|malformed| error::malformed(about, malformed))?;
    Ok(workers.iter().filter(|worker| worker.old).map(|worker| worker.pid).collect())
}

/// Counts what is in progress in a pool. A request that no server was chosen for yet is in the pool's own line alone.
fn busy(stats: &[Stat], row: Option<&PoolRow>) -> u64 {
    let of_servers = stats.iter().fold(0, |sum: u64, stat| sum.saturating_add(stat.quiescence.in_flight()));
    row.map_or(of_servers, |row| of_servers.saturating_add(row.queued).max(row.sessions))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use ha_lab::{ScriptedAnswer, ScriptedSocket};

    use super::*;
    use crate::config::{Endpoint, HaProxyConfig};

    /// A master whose worker 7 answers nothing at first, and then ends.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_worker_that_ends_while_its_map_is_read_or_set_is_asked_again_and_leads_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let script = move |_: &str| match count.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => ScriptedAnswer::Close,
            _ => ScriptedAnswer::text("Can't find the target PID matching the prefix '@!7'.\n"),
        };
        let _master = ScriptedSocket::on_unix(dir.path().join("master.sock"), script).unwrap();
        let config = HaProxyConfig::new(dir.path().join("admin.sock"));
        let haproxy = HaProxy::new(config.with_master(Endpoint::Unix(dir.path().join("master.sock"))));
        let about = OpContext { operation: "lead", target: "switch" };
        assert_eq!(haproxy.older_map(about, 7, Path::new("/sites.map")).await.unwrap(), None);
        haproxy.command_older(about, 7, "set map /sites.map site north").await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }
}
