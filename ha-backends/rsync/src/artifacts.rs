use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, ArtifactStore, Ended, ErrorKind, Kept, ObserveArtifactStore, PruneArtifacts, PutArtifact, Ran, StepError,
};
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Name, Setting, SettingErrors, Settings, Topology};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::backend::Rsync;
use crate::remote::{READ, Remote};

/// The releases of the nodes as an artifact store: what the file sharing by releases keeps anyway.
///
/// A set is there when one node has it among its releases, by its content and under whatever name; a node reads its own releases
/// only. A put stages a release on the host of the writer. Cheap to clone.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{ErrorKind, StepError};
/// use ha_rsync::{Rsync, RsyncArtifacts};
///
/// fn store(files: Rsync) -> Result<RsyncArtifacts, StepError> {
///     RsyncArtifacts::new(files) // refused where the sets change in place: nothing is kept then
/// }
/// ```
#[derive(Clone, Debug)]
pub struct RsyncArtifacts {
    files: Rsync,
}

const TARGET: &str = "artifacts";
/// How long reading the content of every release may take, and a put or a prune.
const CONTENT: Duration = Duration::from_secs(110);
const WRITE: Duration = Duration::from_secs(600);
/// The program's code for what failed after a change began.
const HALF: i32 = 74;

impl RsyncArtifacts {
    /// Keeps sets among the releases of `files`.
    ///
    /// # Errors
    /// `Unsupported` where the sets change in place.
    pub fn new(files: Rsync) -> Result<Self, StepError> {
        if files.inner().remotes.iter().all(Remote::keeps_releases) {
            return Ok(Self { files });
        }
        let refused = StepError::new(ErrorKind::Unsupported, "new", TARGET).without_effect();
        Err(refused.with_context("releases are kept only with publish = \"switch\""))
    }

    /// Returns the file sharing of a topology whose releases are to be the store; the store has no settings of its own.
    ///
    /// # Errors
    /// [`SettingErrors`] where files are shared otherwise, in place, or not at all.
    pub fn files_of<'a>(component: &Component, topology: &'a Topology) -> Result<&'a Component, SettingErrors> {
        let mut settings = Settings::of(component);
        let switch = Setting::Text("switch".into());
        let files = topology.files().filter(|files| files.backend.as_str() == crate::NAME);
        let read = match files {
            Some(files) if files.settings.get("publish") == Some(&switch) => Ok(files),
            Some(_) => Err(settings.wrong(
                "backend",
                "the releases of rsync are kept only with publish = \"switch\" in [files]: give that, or another store",
            )),
            None => Err(settings.wrong(
                "backend",
                "keeps the releases of rsync, and [files] is not shared by rsync: give \"local\" with a folder",
            )),
        };
        settings.finish(read)
    }

    /// Asks every node at once; the answers come in the order of the nodes.
    async fn ask_all(&self, op: &'static str, arguments: Vec<String>) -> Vec<(Name, Result<Ran, StepError>)> {
        let mut asked = JoinSet::new();
        for (place, remote) in self.files.inner().remotes.iter().cloned().enumerate() {
            let arguments = arguments.clone();
            let ask = async move {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let ran = remote.ask(op, &arguments, CONTENT).await;
                (place, remote.node.name.clone(), ran.and_then(|ran| read(&remote, op, ran)))
            };
            asked.spawn(ask.in_current_span());
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|(place, ..)| *place);
        answers.into_iter().map(|(_, name, ran)| (name, ran)).collect()
    }

    async fn list(&self) -> Result<Vec<Generation>, StepError> {
        let mut found: Vec<Generation> = Vec::new();
        for (_, answer) in self.ask_all("generations", vec!["artifacts".into()]).await {
            let release = |line: &str| {
                let (digest, number) = line.split_once(' ')?;
                Some(Generation::new(number.parse().ok()?, digest))
            };
            for set in answer?.stdout.lines().filter_map(release) {
                if !found.contains(&set) {
                    found.push(set);
                }
            }
        }
        found.sort_by(|one, other| (other.sequence, &one.digest).cmp(&(one.sequence, &other.digest)));
        Ok(found)
    }

    async fn kept(&self, set: &Generation) -> Result<Kept, StepError> {
        let Some(arguments) = arguments("artifact_kept", set) else { return Ok(Kept::Absent) };
        let (mut damaged, mut unread) = (None, None);
        for (name, answer) in self.ask_all("keeps", arguments).await {
            match answer {
                Ok(ran) if ran.stdout.starts_with("whole ") => return Ok(Kept::Whole),
                Ok(ran) => {
                    let what = ran.stdout.strip_prefix("damaged ").map(|what| format!("{name}: {}", what.trim_end()));
                    damaged = damaged.or(what);
                }
                Err(error) => unread = unread.or(Some(error)),
            }
        }
        match (unread, damaged) {
            (Some(error), _) => Err(error),
            (None, Some(what)) => Ok(Kept::Damaged(what)),
            (None, None) => Ok(Kept::Absent),
        }
    }

    async fn put_on_the_writer(&self, epoch: LeaseEpoch, request: PutArtifact) -> Result<Applied, StepError> {
        let (op, set) = ("put", &request.generation);
        let inner = self.files.inner();
        let none = || StepError::new(ErrorKind::NotFound, op, TARGET).without_effect();
        let first = inner.remotes.first().ok_or_else(none)?.node.name.clone();
        let writer = inner.writer(op, &first).await?;
        let Some(mut arguments) = arguments("artifact_put", set) else {
            let what = format!("{:?} is the digest of no set", set.digest);
            return Err(writer.error(ErrorKind::Conflict, op, what).without_effect());
        };
        arguments.push(request.source);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ran = writer.tell(epoch, op, &arguments, WRITE).await?;
        changed(writer, op, &ran)
    }

    async fn prune_all(&self, epoch: LeaseEpoch, request: PruneArtifacts) -> Result<Applied, StepError> {
        let (op, keep) = ("prune", request.keep.to_string());
        let in_use = request.in_use.iter().map(|set| &*set.digest);
        let arguments: Vec<&str> = ["artifact_prune", &keep].into_iter().chain(in_use).collect();
        let mut pruned = Applied::AlreadySo;
        for remote in &self.files.inner().remotes {
            let ran = remote.tell(epoch, op, &arguments, WRITE).await;
            match ran.and_then(|ran| changed(remote, op, &ran)) {
                Ok(Applied::Applied) => pruned = Applied::Applied,
                Ok(Applied::AlreadySo) => {}
                Err(error) if pruned == Applied::AlreadySo => return Err(error),
                // Some nodes have fewer by now.
                Err(error) => return Err(StepError::new(error.kind(), op, TARGET).caused_by(error)),
            }
        }
        Ok(pruned)
    }

    /// Runs an effect in a task of its own: a dropped future does not cut it.
    async fn apart<T: Send + 'static>(
        &self,
        op: &'static str,
        act: impl Future<Output = Result<T, StepError>> + Send + 'static,
    ) -> Result<T, StepError> {
        let task = tokio::spawn(act.instrument(call_span(crate::NAME, op, TARGET)));
        task.await.unwrap_or_else(|error| Err(StepError::new(ErrorKind::Protocol, op, TARGET).caused_by(error)))
    }
}

/// The arguments of a question about one set; `None` for what is no digest.
fn arguments(command: &str, set: &Generation) -> Option<Vec<String>> {
    let digest = ha_core::backend::ContentDigest::from_hex(&set.digest)?.to_string();
    (*digest == *set.digest).then(|| vec![command.into(), digest, set.sequence.to_string()])
}

fn read(remote: &Remote, op: &'static str, ran: Ran) -> Result<Ran, StepError> {
    if ran.is_success() { Ok(ran) } else { Err(remote.refused(op, &ran).without_effect()) }
}

/// Reads what became of a change. Whatever the program refuses it refuses before it changes anything, but for [`HALF`].
fn changed(remote: &Remote, op: &'static str, ran: &Ran) -> Result<Applied, StepError> {
    if ran.is_success() {
        return Ok(if ran.stdout.lines().any(|line| line == "same") { Applied::AlreadySo } else { Applied::Applied });
    }
    let refused = remote.refused(op, ran);
    match ran.ended {
        Ended::Exited(HALF) => Err(remote.error(ErrorKind::Denied, op, refused.to_string())),
        Ended::Exited(64..=79) => Err(refused.without_effect()),
        Ended::Exited(_) | Ended::Signaled(_) => Err(refused),
    }
}

#[async_trait]
impl ObserveArtifactStore for RsyncArtifacts {
    async fn generations(&self) -> Result<Vec<Generation>, StepError> {
        self.list().instrument(call_span(crate::NAME, "generations", TARGET)).await
    }

    async fn keeps(&self, generation: &Generation) -> Result<Kept, StepError> {
        self.kept(generation).instrument(call_span(crate::NAME, "keeps", TARGET)).await
    }

    async fn place(&self, node: &Name, generation: &Generation) -> Result<Option<String>, StepError> {
        let op = "place";
        let find = async {
            let remote = self.files.inner().remotes.iter().find(|remote| remote.node.name == *node);
            let Some((remote, arguments)) = remote.zip(arguments("artifact_place", generation)) else {
                return Ok(None);
            };
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let ran = remote.ask(op, &arguments, READ).await.and_then(|ran| read(remote, op, ran))?;
            Ok(ran.stdout.strip_suffix('\n').filter(|place| !place.is_empty()).map(String::from))
        };
        find.instrument(call_span(crate::NAME, op, TARGET)).await
    }

    async fn missing(&self, _node: &Name) -> Result<Vec<String>, StepError> {
        // The file sync tells what its releases lack.
        Ok(Vec::new())
    }
}

#[async_trait]
impl ArtifactStore for RsyncArtifacts {
    async fn put(&self, epoch: LeaseEpoch, request: PutArtifact) -> Result<Applied, StepError> {
        let store = self.clone();
        self.apart("put", async move { store.put_on_the_writer(epoch, request).await }).await
    }

    async fn prune(&self, epoch: LeaseEpoch, request: PruneArtifacts) -> Result<Applied, StepError> {
        let store = self.clone();
        self.apart("prune", async move { store.prune_all(epoch, request).await }).await
    }
}
