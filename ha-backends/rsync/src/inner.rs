use std::collections::{BTreeSet, hash_map::RandomState};
use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ha_core::backend::{Applied, ErrorKind, HandWriter, HoldFiles, ReleaseFiles, StepError};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;
use tokio::sync::MutexGuard;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use crate::config::RsyncConfig;
use crate::progress::Progress;
use crate::remote::{READ, Remote, WRITE, copy_exit, unknown};
use crate::status::Status;

/// Who holds a sync for the engine.
const OWNER: &str = "ha";
/// How often a set is brought again that changed while it was, or whose connection broke.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);
/// How often it is told how far a copy is.
const PROGRESS: Duration = Duration::from_secs(1);

/// What the calls of a value do, over its remotes.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) remotes: Vec<Remote>,
    delete_budget: u32,
    canary: Duration,
    /// One hold or release of a node at a time.
    turns: Vec<tokio::sync::Mutex<()>>,
    /// The place of the last known writer.
    writer: AtomicUsize,
    /// Where this value has put the program.
    installed: Mutex<BTreeSet<Name>>,
}

impl Inner {
    pub(crate) fn new(config: &RsyncConfig, remotes: Vec<Remote>) -> Self {
        let writer = config.nodes.iter().position(|node| node.name == config.writer).unwrap_or_default();
        Self {
            turns: remotes.iter().map(|_| tokio::sync::Mutex::default()).collect(),
            remotes,
            delete_budget: config.delete_budget,
            canary: config.canary,
            writer: AtomicUsize::new(writer),
            installed: Mutex::default(),
        }
    }

    pub(crate) fn remote(&self, op: &'static str, node: &Name) -> Result<&Remote, StepError> {
        self.remotes.iter().find(|remote| remote.node.name == *node).ok_or_else(|| unknown(op, node))
    }

    /// Waits for the holds and releases of a node that were asked for before, until a moment.
    async fn turn(&self, op: &'static str, node: &Name, until: Instant) -> Result<MutexGuard<'_, ()>, StepError> {
        let place = self.remotes.iter().position(|remote| remote.node.name == *node);
        let turn = place.and_then(|place| self.turns.get(place)).ok_or_else(|| unknown(op, node))?;
        timeout_at(until, turn.lock()).await.map_err(|_| {
            let what = "another hold or release of this node did not end before the deadline";
            StepError::new(ErrorKind::Timeout, op, node.as_str()).with_context(what).without_effect()
        })
    }

    /// Puts the program on a node, once.
    pub(crate) async fn prepared(&self, epoch: LeaseEpoch, op: &'static str, remote: &Remote) -> Result<(), StepError> {
        let known =
            |inner: &Self| inner.installed.lock().unwrap_or_else(PoisonError::into_inner).contains(&remote.node.name);
        if !known(self) {
            remote.install(epoch, op).await?;
            self.installed.lock().unwrap_or_else(PoisonError::into_inner).insert(remote.node.name.clone());
        }
        Ok(())
    }

    /// Reads the state of every node, at once.
    async fn statuses(&self, op: &'static str) -> Vec<Result<Status, StepError>> {
        let mut asked = JoinSet::new();
        for (place, remote) in self.remotes.iter().cloned().enumerate() {
            asked.spawn(async move { (place, remote.status(op).await) }.in_current_span());
        }
        let mut statuses: Vec<(usize, Result<Status, StepError>)> = asked.join_all().await;
        statuses.sort_by_key(|(place, _)| *place);
        statuses.into_iter().map(|(_, status)| status).collect()
    }

    /// Finds the node that may write; `node` is what the call is about.
    pub(crate) async fn writer(&self, op: &'static str, node: &Name) -> Result<&Remote, StepError> {
        self.remote(op, node)?;
        // Mostly it is the one that it was.
        if let Some(last) = self.remotes.get(self.writer.load(Ordering::Relaxed))
            && last.status(op).await.is_ok_and(|status| status.is_writer())
        {
            return Ok(last);
        }
        let mut unread = None;
        for (place, status) in self.statuses(op).await.into_iter().enumerate() {
            match status {
                Ok(status) if status.is_writer() => {
                    self.writer.store(place, Ordering::Relaxed);
                    return Ok(&self.remotes[place]);
                }
                Ok(_) => {}
                Err(error) => unread = unread.or(Some(error)),
            }
        }
        let none = || {
            let error = StepError::new(ErrorKind::Conflict, op, node.as_str());
            error.with_context("no node writes the shared files: hand the writer to one first")
        };
        Err(unread.unwrap_or_else(none).without_effect())
    }

    pub(crate) async fn hold(&self, epoch: LeaseEpoch, request: HoldFiles) -> Result<Applied, StepError> {
        let op = "hold";
        let remote = self.remote(op, &request.node)?;
        let until = Instant::now() + request.deadline;
        let _turn = self.turn(op, &request.node, until).await?;
        self.prepared(epoch, op, remote).await.map_err(StepError::without_effect)?;
        if !self.canary.is_zero() && !request.deadline.is_zero() && request.deadline <= self.canary {
            let what = format!("a hold waits {:?} for its canary, and may take {:?}", self.canary, request.deadline);
            return Err(remote.error(ErrorKind::Unsupported, op, what).without_effect());
        }
        let left = until.saturating_duration_since(Instant::now());
        let (seconds, reason) = (whole_seconds(left), format!("lease epoch {epoch}"));
        let canary = if self.canary.is_zero() { "none" } else { "canary" };
        let ran = remote.tell(epoch, op, &["hold", OWNER, &seconds, &reason, canary], left + WRITE).await?;
        if ran.is_success() {
            if ran.stdout.contains("unproven") {
                self.prove(epoch, remote, until.saturating_duration_since(Instant::now())).await?;
            }
            return Ok(if ran.stdout.contains("same") { Applied::AlreadySo } else { Applied::Applied });
        }
        let refused = remote.refused(op, &ran);
        let is_early = refused.kind() == ErrorKind::Conflict || left.is_zero();
        Err(if is_early { refused.without_effect() } else { refused })
    }

    /// Waits whether what the writer has still comes to a node that is held.
    async fn prove(&self, epoch: LeaseEpoch, remote: &Remote, left: Duration) -> Result<(), StepError> {
        let op = "hold";
        if left <= self.canary {
            let what = "transfers that were under way took the time that its canary needs: hold it again";
            return Err(remote.error(ErrorKind::Timeout, op, what));
        }
        let writer = self.writer(op, &remote.node.name).await?;
        let name = format!("{:016x}", RandomState::new().build_hasher().finish());
        let (put, waits) = (["canary", &name], ["await_canary", &name, &whole_seconds(self.canary)]);
        let mut ended = writer.tell(epoch, op, &put, WRITE).await.map(|ran| (writer, ran));
        if let Ok((_, ran)) = &ended
            && ran.is_success()
        {
            ended = remote.tell(epoch, op, &waits, self.canary + WRITE).await.map(|ran| (remote, ran));
        }
        // One that is left counts as no file of the set, and goes with the next one.
        let _ = writer.tell(epoch, op, &["canary"], WRITE).await;
        let (one, ran) = ended?;
        if ran.is_success() { Ok(()) } else { Err(one.refused(op, &ran)) }
    }

    pub(crate) async fn release(&self, epoch: LeaseEpoch, request: ReleaseFiles) -> Result<Applied, StepError> {
        let (op, node, until) = ("release", &request.node, Instant::now() + request.deadline);
        let remote = self.remote(op, node)?;
        let _turn = self.turn(op, node, until).await?;
        let writer = self.writer(op, node).await?;
        let before = remote.status(op).await?;
        if request.deadline.is_zero() {
            let there = writer.status(op).await?.generation;
            let is_done = before.holds.is_empty() && there.is_some() && before.generation == there;
            let late = || StepError::new(ErrorKind::Timeout, op, node.as_str()).without_effect();
            return if is_done { Ok(Applied::AlreadySo) } else { Err(late()) };
        }
        for one in [remote, writer] {
            self.prepared(epoch, op, one).await.map_err(StepError::without_effect)?;
        }
        let pass = format!("{epoch}-{:016x}", RandomState::new().build_hasher().finish());
        let permitted = remote.tell(epoch, op, &["permit", OWNER, &pass], WRITE).await?;
        if !permitted.is_success() {
            return Err(remote.refused(op, &permitted).without_effect());
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let left = until.saturating_duration_since(Instant::now());
            match self.bring(epoch, writer, remote, &pass, left).await {
                Ok(opened) => {
                    let was_so = !before.held_by(OWNER) && opened == Applied::AlreadySo;
                    return Ok(if was_so { Applied::AlreadySo } else { Applied::Applied });
                }
                Err((error, true)) if tries < TRIES && Instant::now() + PAUSE < until => {
                    tracing::warn!(target = %node, error = %error, "files not brought");
                    sleep(PAUSE).await;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Brings what the writer has to a reader whose gate knows the pass, and opens its sync. An error says whether another try may
    /// go well.
    async fn bring(
        &self,
        epoch: LeaseEpoch,
        writer: &Remote,
        reader: &Remote,
        pass: &str,
        left: Duration,
    ) -> Result<Applied, (StepError, bool)> {
        let (op, node) = ("release", reader.node.name.as_str());
        let sends = ["send", node, pass];
        let sent = tokio::select! {
            sent = writer.tell(epoch, op, &sends, left) => sent.map_err(|error| (error, false))?,
            never = tell_progress(writer, node) => match never {},
        };
        if !sent.is_success() {
            let refused = writer.refused(op, &sent);
            let may_pass = copy_exit(&sent).is_transient() || sent.stderr.contains("while it");
            return Err((refused, may_pass));
        }
        let figure =
            |name: &str| sent.stdout.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_string()));
        let Some(digest) = figure("digest ") else {
            return Err((writer.error(ErrorKind::Protocol, op, format!("unexpected answer {:?}", sent.stdout)), false));
        };
        let (files, bytes) = (figure("Number of regular files transferred:"), figure("Total transferred file size:"));
        tracing::debug!(
            target = node,
            files = files.as_deref().unwrap_or("0"),
            bytes = bytes.as_deref().and_then(|text| text.split(' ').next()).unwrap_or("0"),
            deletions_at_most = self.delete_budget,
            "files brought"
        );
        let opened = reader.tell(epoch, op, &["open", OWNER, &digest], WRITE).await.map_err(|error| (error, false))?;
        if !opened.is_success() {
            let refused = reader.refused(op, &opened);
            let may_pass = matches!(refused.kind(), ErrorKind::Conflict | ErrorKind::Timeout);
            return Err((refused, may_pass));
        }
        let same = opened.stdout.contains("same") && files.is_none_or(|files| files == "0");
        Ok(if same { Applied::AlreadySo } else { Applied::Applied })
    }

    pub(crate) async fn hand_writer(&self, epoch: LeaseEpoch, request: HandWriter) -> Result<Applied, StepError> {
        let HandWriter { node, writer, passed_over, .. } = request;
        let op = "hand_writer";
        let remote = self.remote(op, &node)?;
        let (mut read, mut unread) = (Vec::new(), None);
        for (one, status) in self.remotes.iter().zip(self.statuses(op).await) {
            match status {
                Ok(status) => read.push((one, status)),
                Err(error) if one.node.name == node => return Err(error),
                Err(_) if passed_over.contains(&one.node.name) => {}
                Err(error) => unread = unread.or(Some(error)),
            }
        }
        let highest = read.iter().map(|(_, status)| status.seen).max().unwrap_or_default();
        let has_it = read.iter().any(|(one, status)| one.node.name == node && status.writer == writer);
        if has_it && highest == writer {
            return Ok(Applied::AlreadySo);
        }
        if highest >= writer {
            let message = format!("writer epoch {} was seen already", highest.number());
            return Err(remote.error(ErrorKind::Conflict, op, message).without_effect());
        }
        // A node that cannot be asked may be passed over only where another one is known to write: there is one writer.
        if let Some(error) = unread
            && !read.iter().any(|(_, status)| status.is_writer())
        {
            return Err(error);
        }
        self.prepared(epoch, op, remote).await.map_err(StepError::without_effect)?;
        // Before anything is taken from anybody: no host may have seen a higher epoch.
        for (one, _) in &read {
            one.tell(epoch, op, &["status"], WRITE).await.map_err(StepError::without_effect)?;
        }
        let number = writer.number().to_string();
        // First nobody writes, then one does.
        read.sort_by_key(|(_, status)| !status.is_writer());
        for (other, _) in read.into_iter().filter(|(one, _)| one.node.name != node) {
            let ran = other.tell(epoch, op, &["demote", OWNER, &number], WRITE).await?;
            if !ran.is_success() {
                return Err(other.refused(op, &ran));
            }
        }
        let ran = remote.tell(epoch, op, &["promote", OWNER, &number], WRITE).await?;
        if ran.is_success() { Ok(Applied::Applied) } else { Err(remote.refused(op, &ran)) }
    }
}

/// Tells again and again how far the copy to a reader is. Never ends by itself.
async fn tell_progress(writer: &Remote, node: &str) -> Infallible {
    loop {
        sleep(PROGRESS).await;
        let Ok(told) = writer.ask("progress", &["progress", node], READ).await else { continue };
        if let Some(Progress { files, of, bytes }) = Progress::parse(&told.stdout) {
            tracing::debug!(target = node, files, of, bytes, "files on their way");
        }
    }
}

/// Whole seconds, at least one where there is any time.
fn whole_seconds(time: Duration) -> String {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).to_string()
}
