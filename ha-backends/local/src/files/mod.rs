//! File sharing between folders of this machine: from the writer's to the readers', by the protocol that a real sync has to follow.
//! No rsync, sshd or daemon is needed: whoever embeds it lets [`LocalFiles::keep_in_step`] run.

mod gate;
pub(crate) mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ha_core::backend::{
    Applied, ErrorKind, FileSync, HandWriter, HoldFiles, ObserveFileSync, ReleaseFiles, Shared, StepError,
};
use ha_core::state::{Generation, LeaseEpoch, Sync, WriterEpoch};
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Name, Reported, Role, Setting, SettingErrors as ConfigError, Settings, Topology};
use tracing::{Instrument, Span};

use crate::fence::Fence;
use gate::{Gate, Quiet};
use tree::{Cache, Manifest};

/// Which folders are shared.
///
/// # Examples
///
/// ```
/// use ha_core::topology::Name;
/// use ha_local::LocalFilesConfig;
///
/// let homes = vec![(Name::new("esb1")?, "/srv/esb1".into()), (Name::new("esb2")?, "/srv/esb2".into())];
/// let config = LocalFilesConfig::new("deployment", homes);
/// assert_eq!(config.writer.as_str(), "esb1");
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LocalFilesConfig {
    /// The shared folder, below each home. Each set in it has its number in a file `.ha-generation`.
    pub tree: PathBuf,
    /// The node that writes until somebody hands that over.
    pub writer: Name,
    /// The nodes, each with its home.
    pub homes: Vec<(Name, PathBuf)>,
}

impl LocalFilesConfig {
    /// Shares the folder `tree` below these homes; the first node writes.
    ///
    /// # Panics
    /// Without any node: a programming error of the caller.
    pub fn new(tree: impl Into<PathBuf>, homes: Vec<(Name, PathBuf)>) -> Self {
        assert!(!homes.is_empty(), "file sharing needs a node");
        Self { tree: tree.into(), writer: homes[0].0.clone(), homes }
    }

    /// Reads the settings `tree` and `writer` (by default the first node); the homes are those of the topology's hosts, which must
    /// all be `local`.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong.
    pub fn from_component(component: &Component, topology: &Topology) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let tree = below_home(&mut settings);
        let writer = settings.text("writer");
        let read = (|| {
            let (tree, homes) = (tree?, homes(&mut settings, topology)?);
            let writer = match writer? {
                None => homes[0].0.clone(),
                Some(writer) => match homes.iter().find(|(name, _)| name.as_str() == writer) {
                    Some((name, _)) => name.clone(),
                    None => return Err(settings.wrong("writer", format!("there is no node {writer}: name one"))),
                },
            };
            Ok(Self { tree, writer, homes })
        })();
        settings.finish(read)
    }
}

fn below_home(settings: &mut Settings<'_>) -> Result<PathBuf, Reported> {
    let tree = PathBuf::from(settings.required_text("tree")?);
    let plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
    if tree.components().all(plain) {
        return Ok(tree);
    }
    Err(settings.wrong("tree", "give a folder below each home, without .. and without a leading slash"))
}

fn homes(settings: &mut Settings<'_>, topology: &Topology) -> Result<Vec<(Name, PathBuf)>, Reported> {
    let mut homes = Vec::new();
    for (_, node) in topology.nodes() {
        let host = node.component(Role::Host).filter(|host| host.backend.as_str() == crate::NAME);
        match host.and_then(|host| host.settings.get("home")) {
            Some(Setting::Text(home)) => homes.push((node.name.clone(), PathBuf::from(home))),
            Some(_) | None => {
                let what = format!(
                    "shares folders of this machine, and the host of {} is no local one with a home",
                    node.name
                );
                return Err(settings.wrong("backend", what));
            }
        }
    }
    Ok(homes)
}

/// Shares files between folders of this machine.
///
/// Each set is copied beside the live one, verified, and swapped in one step: a reader sees the old set or the new one. What a node
/// is allowed is kept below its home in `.ha-files`, durably. Cheap to clone; clones share what they remember of files.
#[derive(Clone, Debug)]
pub struct LocalFiles {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: LocalFilesConfig,
    cache: Mutex<Cache>,
}

/// Reads which set of files a folder holds; `None` where it has no `.ha-generation` with a number, and is no set.
///
/// # Errors
/// What cannot be read; what is no file, folder or link; and a link that leads out.
///
/// # Examples
///
/// ```
/// use ha_local::generation_of;
///
/// let dir = tempfile::tempdir()?;
/// assert_eq!(generation_of(dir.path())?, None); // no set: it has no number
/// std::fs::write(dir.path().join(".ha-generation"), "42\n")?;
/// assert_eq!(generation_of(dir.path())?.map(|set| set.sequence), Some(42));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn generation_of(folder: &Path) -> io::Result<Option<Generation>> {
    let Manifest { digest, sequence } = tree::read(folder, &mut Cache::default())?;
    Ok(sequence.map(|number| Generation::new(number, digest.to_string())))
}

/// How long another controller's effect on a node is waited for.
const FENCE_WAIT: Duration = Duration::from_secs(15);
/// How often a set that changes while it is copied is copied again.
const COPIES: u8 = 3;

impl LocalFiles {
    /// Shares the folders of `config`. Nothing is touched yet.
    pub fn new(config: LocalFilesConfig) -> Self {
        Self { inner: Arc::new(Inner { config, cache: Mutex::default() }) }
    }

    /// Brings what the writer has to every node whose sync is not held, again and again: a reader is behind by `every` and the time of
    /// a copy at most. What fails is tried again the next time, and told as a warning. Ends when the future is dropped.
    ///
    /// # Cancel safety
    /// Cancel safe: a copy under way goes to its end.
    pub async fn keep_in_step(&self, every: Duration) {
        loop {
            for (node, error) in self.bring_all().await {
                tracing::warn!(target = %node, error = %error, "files not brought");
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Brings what the writer has to every node whose sync is not held, once; returns what failed, by node.
    ///
    /// # Cancel safety
    /// Cancel safe: a copy under way goes to its end.
    pub async fn bring_all(&self) -> Vec<(Name, StepError)> {
        let mut wrong = Vec::new();
        for (node, _) in &self.inner.config.homes {
            let act = |inner: &Inner, node: &Name| inner.step(node, None).map_err(|error| failed("bring", node, error));
            if let Err(error) = self.blocking("bring", node, act).instrument(self.call("bring", node)).await {
                wrong.push((node.clone(), error));
            }
        }
        wrong
    }

    fn call(&self, op: &'static str, node: &Name) -> Span {
        call_span(crate::NAME, op, node)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        node: &Name,
        act: impl FnOnce(&Inner, &Name) -> Result<T, StepError> + Send + 'static,
    ) -> Result<T, StepError> {
        let (inner, name) = (self.inner.clone(), node.clone());
        let acted = tokio::task::spawn_blocking(move || act(&inner, &name)).await;
        acted
            .unwrap_or_else(|error| Err(StepError::new(ErrorKind::Protocol, operation, node.as_str()).caused_by(error)))
    }
}

/// What became of one copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Copied,
    Same,
    Held,
}

impl Inner {
    fn home(&self, operation: &'static str, node: &Name) -> Result<&Path, StepError> {
        let found = self.config.homes.iter().find(|(name, _)| name == node);
        let unknown = || StepError::new(ErrorKind::NotFound, operation, node.as_str()).without_effect();
        found.map(|(_, home)| home.as_path()).ok_or_else(unknown)
    }

    fn live(&self, home: &Path) -> PathBuf {
        home.join(&self.config.tree)
    }

    /// Returns the epoch with which a node may write; 0 when it may not.
    fn writer_epoch(&self, node: &Name, home: &Path) -> io::Result<WriterEpoch> {
        let first = if *node == self.config.writer { WriterEpoch::new(1) } else { WriterEpoch::default() };
        Ok(Gate::of(home).writer()?.unwrap_or(first))
    }

    fn find_writer(&self) -> io::Result<Option<(&Name, &Path)>> {
        for (node, home) in &self.config.homes {
            if self.writer_epoch(node, home)? > WriterEpoch::default() {
                return Ok(Some((node, home)));
            }
        }
        Ok(None)
    }

    fn read(&self, root: &Path) -> io::Result<Manifest> {
        tree::read(root, &mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn shared(&self, node: &Name) -> Result<Shared, StepError> {
        let home = self.home("shared", node)?;
        let failed = |error| failed("shared", node, error);
        let (gate, writer) = (Gate::of(home), self.writer_epoch(node, home).map_err(failed)?);
        let sync = if writer > WriterEpoch::default() {
            Sync::None
        } else if gate.is_running().map_err(failed)? {
            Sync::Running
        } else if gate.is_held().map_err(failed)? {
            Sync::Held
        } else {
            Sync::Active
        };
        let generation = match self.read(&self.live(home)) {
            Ok(Manifest { digest, sequence }) => sequence.map(|number| Generation::new(number, digest.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let seen = gate.seen().map_err(failed)?.max(writer);
        Ok(Shared::new(sync, generation).with_writer(writer, seen))
    }

    /// Brings what the writer has to a node, unless that is held; `released` is the lock of whoever releases it.
    fn step(&self, node: &Name, released: Option<&Quiet>) -> io::Result<Step> {
        let Some((_, home)) = self.config.homes.iter().find(|(name, _)| name == node) else { return Ok(Step::Held) };
        let gate = Gate::of(home);
        // The lock first, the gate under it: whoever closes the gate and gets the lock then knows that nothing is copied.
        let own = match released {
            Some(_) => None,
            None => match gate.quiet(FENCE_WAIT)? {
                Some(quiet) if !gate.is_held()? => Some(quiet),
                Some(_) => return Ok(Step::Held),
                None => return Err(io::Error::new(io::ErrorKind::TimedOut, "another transfer into it does not end")),
            },
        };
        let Some((writer, source)) = self.find_writer()? else { return Ok(Step::Held) };
        if writer == node {
            return Ok(Step::Same);
        }
        let step = self.bring(&self.live(source), &self.live(home), &gate);
        drop(own);
        step
    }

    fn bring(&self, source: &Path, live: &Path, gate: &Gate) -> io::Result<Step> {
        let staged = gate.staging();
        for _ in 0..COPIES {
            let wanted = self.read(source)?;
            if wanted.sequence.is_none() {
                let what = format!("{} has no {}: it is no set of files", source.display(), tree::SENTINEL);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            match self.read(live) {
                Ok(there) if there == wanted => return Ok(Step::Same),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            remove(&staged)?;
            tree::copy(source, &staged)?;
            // What changed while it was copied is copied again.
            if self.read(&staged)? == wanted && self.read(source)? == wanted {
                if let Some(parent) = live.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                tree::swap(&staged, live)?;
                remove(&gate.previous())?;
                if staged.symlink_metadata().is_ok() {
                    std::fs::rename(&staged, gate.previous())?;
                }
                return Ok(Step::Copied);
            }
        }
        remove(&staged)?;
        Err(io::Error::new(io::ErrorKind::Interrupted, format!("{} changed while it was copied", source.display())))
    }

    fn hold(&self, epoch: LeaseEpoch, node: &Name, deadline: Duration) -> Result<Applied, StepError> {
        let home = self.home("hold", node)?;
        let failed = |error| failed("hold", node, error);
        let _fence = Fence::pass(home, epoch, "hold", FENCE_WAIT)?;
        if self.writer_epoch(node, home).map_err(failed)? > WriterEpoch::default() {
            return Err(conflict("hold", node, "it writes the shared files: there is no sync into it"));
        }
        let gate = Gate::of(home);
        let was = gate.is_held().map_err(failed)? && !gate.is_running().map_err(failed)?;
        if was {
            return Ok(Applied::AlreadySo);
        }
        if deadline.is_zero() {
            return Err(StepError::new(ErrorKind::Timeout, "hold", node.as_str()).without_effect());
        }
        gate.close(&format!("lease epoch {epoch}\n")).map_err(failed)?;
        match gate.quiet(deadline).map_err(|error| with_effect("hold", node, error))? {
            Some(_) => Ok(Applied::Applied),
            None => {
                let late = StepError::new(ErrorKind::Timeout, "hold", node.as_str());
                Err(late.with_context(format!("a transfer into it did not end in {deadline:?}")))
            }
        }
    }

    fn release(&self, epoch: LeaseEpoch, node: &Name, deadline: Duration) -> Result<Applied, StepError> {
        let home = self.home("release", node)?;
        let before = |error| failed("release", node, error);
        let _fence = Fence::pass(home, epoch, "release", FENCE_WAIT)?;
        if self.writer_epoch(node, home).map_err(before)? > WriterEpoch::default() {
            return Err(conflict("release", node, "it writes the shared files: there is no sync into it"));
        }
        if self.find_writer().map_err(before)?.is_none() {
            return Err(conflict("release", node, "no node writes the shared files: hand the writer to one first"));
        }
        let (gate, began) = (Gate::of(home), Instant::now());
        let Some(quiet) = gate.quiet(deadline).map_err(before)? else {
            let late = StepError::new(ErrorKind::Timeout, "release", node.as_str()).without_effect();
            return Err(late.with_context(format!("a transfer into it did not end in {deadline:?}")));
        };
        let was_held = gate.is_held().map_err(before)?;
        let left = deadline.saturating_sub(began.elapsed());
        if deadline.is_zero() && was_held || !deadline.is_zero() && left.is_zero() {
            return Err(StepError::new(ErrorKind::Timeout, "release", node.as_str()).without_effect());
        }
        let step = self.step(node, Some(&quiet)).map_err(before)?;
        gate.open().map_err(|error| with_effect("release", node, error))?;
        Ok(if was_held || step == Step::Copied { Applied::Applied } else { Applied::AlreadySo })
    }

    fn hand_writer(&self, epoch: LeaseEpoch, node: &Name, writer: WriterEpoch) -> Result<Applied, StepError> {
        let (operation, home) = ("hand_writer", self.home("hand_writer", node)?);
        let before = |error| failed(operation, node, error);
        let _fence = Fence::pass(home, epoch, operation, FENCE_WAIT)?;
        let mut highest = WriterEpoch::default();
        for (name, home) in &self.config.homes {
            highest = highest.max(Gate::of(home).seen().map_err(before)?);
            highest = highest.max(self.writer_epoch(name, home).map_err(before)?);
        }
        if self.writer_epoch(node, home).map_err(before)? == writer && highest == writer {
            return Ok(Applied::AlreadySo);
        }
        if highest >= writer {
            return Err(conflict(operation, node, &format!("writer epoch {} was seen already", highest.number())));
        }
        let after = |error| with_effect(operation, node, error);
        // First nobody writes, then one does.
        for (name, other) in &self.config.homes {
            let gate = Gate::of(other);
            if self.writer_epoch(name, other).map_err(after)? > WriterEpoch::default() {
                let _fence = if name == node { None } else { Some(Fence::pass(other, epoch, operation, FENCE_WAIT)?) };
                gate.close(&format!("wrote until writer epoch {}\n", writer.number())).map_err(after)?;
                gate.set_writer(WriterEpoch::default()).map_err(after)?;
            }
            gate.set_seen(writer).map_err(after)?;
        }
        let gate = Gate::of(home);
        gate.set_writer(writer).map_err(after)?;
        gate.open().map_err(after)?;
        Ok(Applied::Applied)
    }
}

pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn failed(operation: &'static str, node: &Name, error: io::Error) -> StepError {
    with_effect(operation, node, error).without_effect()
}

fn with_effect(operation: &'static str, node: &Name, error: io::Error) -> StepError {
    io_error(operation, node.as_str(), error)
}

pub(crate) fn io_error(operation: &'static str, target: &str, error: io::Error) -> StepError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull => {
            ErrorKind::Denied
        }
        io::ErrorKind::InvalidData | io::ErrorKind::Interrupted => ErrorKind::Conflict,
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::Protocol,
    };
    StepError::new(kind, operation, target).with_context(error.to_string()).caused_by(error)
}

fn conflict(operation: &'static str, node: &Name, message: &str) -> StepError {
    StepError::new(ErrorKind::Conflict, operation, node.as_str()).with_context(message).without_effect()
}

#[async_trait]
impl ObserveFileSync for LocalFiles {
    async fn shared(&self, node: &Name) -> Result<Shared, StepError> {
        self.blocking("shared", node, Inner::shared).instrument(self.call("shared", node)).await
    }

    async fn missing(&self, node: &Name) -> Result<Vec<String>, StepError> {
        let look = |inner: &Inner, node: &Name| {
            let home = inner.home("missing", node)?;
            let writer = inner.writer_epoch(node, home).map_err(|error| failed("missing", node, error))?;
            let live = inner.live(home);
            if writer == WriterEpoch::default() || live.is_dir() {
                return Ok(Vec::new());
            }
            Ok(vec![format!(
                "setting tree: it writes the shared files, and {} is no folder: correct it, or put the first set there",
                live.display()
            )])
        };
        self.blocking("missing", node, look).instrument(self.call("missing", node)).await
    }
}

#[async_trait]
impl FileSync for LocalFiles {
    async fn hold(&self, epoch: LeaseEpoch, request: HoldFiles) -> Result<Applied, StepError> {
        let deadline = request.deadline;
        let act = move |inner: &Inner, node: &Name| inner.hold(epoch, node, deadline);
        self.blocking("hold", &request.node, act).instrument(self.call("hold", &request.node)).await
    }

    async fn release(&self, epoch: LeaseEpoch, request: ReleaseFiles) -> Result<Applied, StepError> {
        let deadline = request.deadline;
        let act = move |inner: &Inner, node: &Name| inner.release(epoch, node, deadline);
        self.blocking("release", &request.node, act).instrument(self.call("release", &request.node)).await
    }

    async fn hand_writer(&self, epoch: LeaseEpoch, request: HandWriter) -> Result<Applied, StepError> {
        // All homes are of one machine: none has to be passed over.
        let HandWriter { node, writer, .. } = request;
        let act = move |inner: &Inner, node: &Name| inner.hand_writer(epoch, node, writer);
        self.blocking("hand_writer", &node, act).instrument(self.call("hand_writer", &node)).await
    }
}
