//! Sets of shared files in a folder of this machine, each below its digest.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, ArtifactStore, ContentDigest, ErrorKind, Kept, ObserveArtifactStore, PruneArtifacts, PutArtifact,
    StepError,
};
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Name, Role, SettingErrors as ConfigError, Settings, Topology};
use tracing::Instrument;

use crate::fence::Fence;
use crate::files::{generation_of, io_error, remove, tree};

/// Where sets of shared files are kept.
///
/// # Examples
///
/// ```
/// use ha_core::topology::Name;
/// use ha_local::LocalArtifactsConfig;
///
/// let config = LocalArtifactsConfig::new("/srv/artifacts", vec![Name::new("esb1")?, Name::new("esb2")?]);
/// assert_eq!(config.keep, 3);
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LocalArtifactsConfig {
    /// The folder, which must be there: `<folder>/<digest>/` is one set.
    pub folder: PathBuf,
    /// How many of the newest sets stay, whatever a prune asks for. Default 3; at 0 a prune alone decides.
    pub keep: u32,
    /// The nodes whose processes read the folder under the same path.
    pub readers: Vec<Name>,
}

impl LocalArtifactsConfig {
    /// Keeps sets in `folder`, which the processes of `readers` can read.
    pub fn new(folder: impl Into<PathBuf>, readers: Vec<Name>) -> Self {
        Self { folder: folder.into(), keep: 3, readers }
    }

    /// Reads the settings `folder` and `keep` (0 to 1,000, by default 3); the readers are the nodes whose hosts are `local`.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong.
    pub fn from_component(component: &Component, topology: &Topology) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let folder = settings.required_text("folder").and_then(|folder| match Path::new(&folder).is_absolute() {
            true => Ok(folder),
            false => Err(settings.wrong("folder", "give the absolute path of a folder of this machine")),
        });
        let keep = settings.integer("keep", 0, 1_000);
        let is_local = |host: &Component| host.backend.as_str() == crate::NAME;
        let nodes = topology.nodes().filter(|(_, node)| node.component(Role::Host).is_some_and(is_local));
        let readers = nodes.map(|(_, node)| node.name.clone()).collect();
        let read = (|| {
            let mut config = Self::new(folder?, readers);
            config.keep = keep?.and_then(|keep| u32::try_from(keep).ok()).unwrap_or(config.keep);
            Ok(config)
        })();
        settings.finish(read)
    }
}

/// Keeps sets of shared files in a folder of this machine.
///
/// A set is copied beside the others under a name that is none of a set, read again, brought to the disk, and renamed: whoever dies
/// meanwhile leaves no half set. Digests are those of [`generation_of`]. Cheap to clone.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{ArtifactStore, Kept, ObserveArtifactStore, PutArtifact};
/// use ha_core::state::LeaseEpoch;
/// use ha_local::{LocalArtifacts, LocalArtifactsConfig, generation_of};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let (folder, built) = (tempfile::tempdir()?, tempfile::tempdir()?);
/// std::fs::write(built.path().join(".ha-generation"), "42\n")?;
/// let set = generation_of(built.path())?.expect("it has a number");
/// let store = LocalArtifacts::new(LocalArtifactsConfig::new(folder.path(), Vec::new()));
/// store.put(LeaseEpoch::new(1), PutArtifact::new(set.clone(), built.path().display().to_string())).await?;
/// assert_eq!(store.keeps(&set).await?, Kept::Whole);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LocalArtifacts {
    config: LocalArtifactsConfig,
}

const TARGET: &str = "artifacts";
/// What is staged is below a name that no digest has.
const STAGED: &str = ".staged";
/// How long another controller's put or prune is waited for.
const FENCE_WAIT: Duration = Duration::from_secs(15);

impl LocalArtifacts {
    /// Keeps sets as `config` says. Nothing is touched yet.
    pub fn new(config: LocalArtifactsConfig) -> Self {
        Self { config }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        act: impl FnOnce(&Self) -> Result<T, StepError> + Send + 'static,
    ) -> Result<T, StepError> {
        let store = self.clone();
        let task = tokio::task::spawn_blocking(move || act(&store));
        let acted = task.instrument(call_span(crate::NAME, operation, TARGET)).await;
        acted.unwrap_or_else(|error| Err(StepError::new(ErrorKind::Protocol, operation, TARGET).caused_by(error)))
    }

    /// Returns where a set is; `None` for a digest that no set here has.
    fn folder_of(&self, generation: &Generation) -> Option<PathBuf> {
        let digest = ContentDigest::from_hex(&generation.digest)?.to_string();
        (*digest == *generation.digest).then(|| self.config.folder.join(digest))
    }

    /// Lists the sets by name and number, the newest first.
    fn list(&self) -> io::Result<Vec<Generation>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.config.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(ContentDigest::from_hex).map(|digest| digest.to_string());
            let Some(digest) = digest.filter(|digest| name == digest.as_str() && entry.path().is_dir()) else {
                continue;
            };
            if let Some(number) = tree::sequence_of(&entry.path()) {
                found.push(Generation::new(number, digest));
            }
        }
        found.sort_by(|one, other| (other.sequence, &one.digest).cmp(&(one.sequence, &other.digest)));
        Ok(found)
    }

    /// Reads all content of a set.
    fn kept(&self, generation: &Generation) -> io::Result<Kept> {
        fs::read_dir(&self.config.folder)?;
        let Some(folder) = self.folder_of(generation).filter(|folder| folder.symlink_metadata().is_ok()) else {
            return Ok(Kept::Absent);
        };
        Ok(match generation_of(&folder) {
            Ok(Some(there)) if there == *generation => Kept::Whole,
            Ok(Some(there)) => Kept::Damaged(format!(
                "{} holds the set {} with the digest {}",
                folder.display(),
                there.sequence,
                there.digest
            )),
            Ok(None) => Kept::Damaged(format!("{} has no {} with a number", folder.display(), tree::SENTINEL)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            Err(error) => Kept::Damaged(format!("{} cannot be read: {error}", folder.display())),
        })
    }

    fn put(&self, epoch: LeaseEpoch, request: &PutArtifact) -> Result<Applied, StepError> {
        let operation = "put";
        let before = |error| io_error(operation, TARGET, error).without_effect();
        let conflict =
            |what: String| StepError::new(ErrorKind::Conflict, operation, TARGET).with_context(what).without_effect();
        fs::read_dir(&self.config.folder).map_err(before)?;
        let _fence = Fence::pass(&self.config.folder, epoch, operation, FENCE_WAIT)?;
        let (source, wanted) = (Path::new(&request.source), &request.generation);
        let there = generation_of(source).map_err(before)?;
        let Some(folder) = self.folder_of(wanted).filter(|_| there.as_ref() == Some(wanted)) else {
            let found = there.map_or("no set: it has no number".into(), |there| format!("{there:?}"));
            return Err(conflict(format!("{} holds {found}, not {wanted:?}", request.source)));
        };
        if self.kept(wanted).map_err(before)? == Kept::Whole {
            return Ok(Applied::AlreadySo);
        }
        let staged = self.config.folder.join(STAGED);
        remove(&staged).map_err(before)?;
        let copied = tree::copy(source, &staged).and_then(|()| generation_of(&staged));
        if copied.as_ref().ok().and_then(Option::as_ref) != Some(wanted) {
            remove(&staged).map_err(before)?;
            return Err(match copied {
                Err(error) if error.kind() != io::ErrorKind::NotFound => before(error),
                Ok(_) | Err(_) => conflict(format!("{} changed while it was copied", request.source)),
            });
        }
        tree::swap(&staged, &folder).map_err(|error| io_error(operation, TARGET, error))?;
        remove(&staged).map_err(|error| io_error(operation, TARGET, error))?;
        Ok(Applied::Applied)
    }

    fn prune(&self, epoch: LeaseEpoch, request: &PruneArtifacts) -> Result<Applied, StepError> {
        let operation = "prune";
        let before = |error| io_error(operation, TARGET, error).without_effect();
        fs::read_dir(&self.config.folder).map_err(before)?;
        let _fence = Fence::pass(&self.config.folder, epoch, operation, FENCE_WAIT)?;
        let keep = usize::try_from(request.keep.max(self.config.keep)).unwrap_or(usize::MAX);
        // By the digest alone: a set whose number was damaged is in use as before.
        let in_use = |set: &Generation| request.in_use.iter().any(|used| used.digest == set.digest);
        let old: Vec<Generation> =
            self.list().map_err(before)?.into_iter().skip(keep).filter(|set| !in_use(set)).collect();
        let staged = self.config.folder.join(STAGED);
        let after = |error| io_error(operation, TARGET, error);
        for folder in old.iter().filter_map(|set| self.folder_of(set)) {
            remove(&staged).map_err(after)?;
            fs::rename(&folder, &staged).map_err(after)?;
            File::open(&self.config.folder).and_then(|folder| folder.sync_all()).map_err(after)?;
            remove(&staged).map_err(after)?;
        }
        Ok(if old.is_empty() { Applied::AlreadySo } else { Applied::Applied })
    }

    /// Says what is wrong with the folder, if anything.
    fn wrong(&self) -> Option<String> {
        let folder = self.config.folder.display();
        match fs::metadata(&self.config.folder) {
            Ok(found) if found.is_dir() => None,
            Ok(_) => Some(format!("setting folder: {folder} of the artifact store is no folder: correct it")),
            Err(error) => Some(format!(
                "setting folder: {folder} of the artifact store cannot be read ({error}): correct it, make or mount it"
            )),
        }
    }
}

#[async_trait]
impl ObserveArtifactStore for LocalArtifacts {
    async fn generations(&self) -> Result<Vec<Generation>, StepError> {
        let operation = "generations";
        let list =
            move |store: &Self| store.list().map_err(|error| io_error(operation, TARGET, error).without_effect());
        self.blocking(operation, list).await
    }

    async fn keeps(&self, generation: &Generation) -> Result<Kept, StepError> {
        let (operation, generation) = ("keeps", generation.clone());
        let read = move |store: &Self| {
            store.kept(&generation).map_err(|error| io_error(operation, TARGET, error).without_effect())
        };
        self.blocking(operation, read).await
    }

    async fn place(&self, node: &Name, generation: &Generation) -> Result<Option<String>, StepError> {
        let (operation, generation, reads) = ("place", generation.clone(), self.config.readers.contains(node));
        let find = move |store: &Self| {
            let failed = |error| io_error(operation, TARGET, error).without_effect();
            fs::read_dir(&store.config.folder).map_err(failed)?;
            let folder = store.folder_of(&generation).filter(|folder| reads && folder.is_dir());
            Ok(folder.map(|folder| folder.display().to_string()))
        };
        self.blocking(operation, find).await
    }

    async fn missing(&self, node: &Name) -> Result<Vec<String>, StepError> {
        let reads = self.config.readers.contains(node);
        self.blocking("missing", move |store| Ok(store.wrong().filter(|_| reads).into_iter().collect())).await
    }
}

#[async_trait]
impl ArtifactStore for LocalArtifacts {
    async fn put(&self, epoch: LeaseEpoch, request: PutArtifact) -> Result<Applied, StepError> {
        self.blocking("put", move |store| store.put(epoch, &request)).await
    }

    async fn prune(&self, epoch: LeaseEpoch, request: PruneArtifacts) -> Result<Applied, StepError> {
        self.blocking("prune", move |store| store.prune(epoch, &request)).await
    }
}
