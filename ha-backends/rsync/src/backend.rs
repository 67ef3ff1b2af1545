use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, ErrorKind, FileSync, HandWriter, HoldFiles, Host, ObserveFileSync, ReleaseFiles, Shared, StepError,
};
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::telemetry::call_span;
use ha_core::topology::Name;
use tracing::{Instrument, Span};

use crate::config::{RsyncConfig, SharedNode};
use crate::difference::Difference;
use crate::inner::Inner;
use crate::remote::{READ, Remote, WRITE, unknown};
use crate::status::Hold;

/// Shares files by rsync, from one writer to the readers, through the gate of each reader.
///
/// Cheap to clone; clones share what they remember.
#[derive(Clone, Debug)]
pub struct Rsync {
    inner: Arc<Inner>,
}

impl Rsync {
    /// Shares the folders of `config`, whose nodes are driven by the hosts of their names. Nothing is touched yet.
    ///
    /// # Errors
    /// `NotFound` for a node without a host, `Unsupported` for a path or a destination that a shell would not take as it is.
    pub fn new(config: &RsyncConfig, hosts: &[(String, Arc<dyn Host>)]) -> Result<Self, StepError> {
        if let Some((key, what)) = config.odd().into_iter().next() {
            let refused = StepError::new(ErrorKind::Unsupported, "new", key).with_context(what);
            return Err(refused.without_effect());
        }
        let remote = |node: &SharedNode| {
            let host = hosts.iter().find(|(name, _)| *name == node.name.as_str()).map(|(_, host)| host.clone());
            host.map(|host| Remote::new(config, node, host)).ok_or_else(|| unknown("new", &node.name))
        };
        let remotes: Vec<Remote> = config.nodes.iter().map(remote).collect::<Result<_, _>>()?;
        Ok(Self { inner: Arc::new(Inner::new(config, remotes)) })
    }

    /// Puts the program with its settings on every node, where the gate of a key and the timer find it:
    /// `<home>/.ha-files/ha-files`. Each call of this value does so by itself before it first changes a node.
    ///
    /// # Errors
    /// What the host of the first node says where it failed, with its effect; those before it have the program.
    /// # Cancel safety
    /// Not cancel safe: some nodes may have it; call it again.
    pub async fn install(&self, epoch: LeaseEpoch) -> Result<(), StepError> {
        for remote in &self.inner.remotes {
            self.inner.prepared(epoch, "install", remote).await?;
        }
        Ok(())
    }

    /// Lists who holds the sync into a node. A hold of a controller that is gone is listed like any other.
    ///
    /// # Errors
    /// As [`ObserveFileSync::shared`].
    pub async fn holds(&self, node: &Name) -> Result<Vec<Hold>, StepError> {
        let read = async { Ok(self.inner.remote("holds", node)?.status("holds").await?.holds) };
        read.instrument(self.call("holds", node)).await
    }

    /// Compares what a node has with what the writer has, content by content, as rsync's dry run sees it.
    ///
    /// # Errors
    /// `NotFound`, `Unreachable`, `Timeout`; `Busy` while the sync is held or another transfer is under way; `Conflict` while no
    /// node may write; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn difference(&self, node: &Name) -> Result<Difference, StepError> {
        let op = "difference";
        let read = async {
            let writer = self.inner.writer(op, node).await?;
            let ran = writer.ask(op, &["changes", node.as_str()], READ * 6).await?;
            if ran.is_success() {
                Ok(Difference::parse(&ran.stdout))
            } else {
                Err(writer.refused(op, &ran).without_effect())
            }
        };
        read.instrument(self.call(op, node)).await
    }

    /// Lists the releases that a node keeps, the current one first, then the newest; none with [`Publish::InPlace`].
    ///
    /// # Errors
    /// As [`ObserveFileSync::shared`].
    /// # Cancel safety
    /// Cancel safe: it only reads.
    ///
    /// [`Publish::InPlace`]: crate::Publish::InPlace
    pub async fn releases(&self, node: &Name) -> Result<Vec<Generation>, StepError> {
        let op = "releases";
        let read = async {
            let remote = self.inner.remote(op, node)?;
            let ran = remote.ask(op, &["releases"], READ).await?;
            let release = |line: &str| {
                let (digest, number) = line.split_once(' ')?;
                Some(Generation::new(number.parse().ok()?, digest))
            };
            Ok(ran.stdout.lines().filter_map(release).collect())
        };
        read.instrument(self.call(op, node)).await
    }

    /// Tells which generation a folder of a node is, wherever it is: of a set that is to be deployed, for the request of an update.
    /// What belongs to each node alone does not count.
    ///
    /// # Errors
    /// `NotFound` where there is no such folder, `Conflict` where it holds no whole set: no `.ha-generation`, or a link that leads
    /// out of it; without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn generation_in(&self, node: &Name, folder: &str) -> Result<Generation, StepError> {
        let op = "generation_in";
        let read = async {
            let remote = self.inner.remote(op, node)?;
            let ran = remote.ask(op, &["generation_in", folder], READ * 6).await?;
            if !ran.is_success() {
                return Err(remote.refused(op, &ran).without_effect());
            }
            let set = ran.stdout.trim().split_once(' ');
            let set = set.and_then(|(number, digest)| Some(Generation::new(number.parse().ok()?, digest)));
            set.ok_or_else(|| remote.error(ErrorKind::Protocol, op, format!("unexpected answer {:?}", ran.stdout)))
        };
        read.instrument(self.call(op, node)).await
    }

    /// Switches a node back to a release that it keeps, after a look that it is what it was: one rename.
    ///
    /// # Idempotency
    /// Absolute: twice equals once.
    /// # Errors
    /// `Fenced`, `NotFound` (no such release), `Conflict` (its content has changed): no effect. `Timeout`, `Unreachable`: unknown;
    /// read `shared`.
    /// # Cancel safety
    /// Not cancel safe: read `shared`.
    pub async fn switch_back(&self, epoch: LeaseEpoch, node: &Name, to: &Generation) -> Result<Applied, StepError> {
        let (inner, name, digest) = (self.inner.clone(), node.clone(), to.digest.to_string());
        let act = async move {
            let op = "switch_back";
            let remote = inner.remote(op, &name)?;
            let ran = remote.tell(epoch, op, &["switch_back", &digest], WRITE).await?;
            let early = |error: StepError| match error.kind() {
                ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Timeout => error.without_effect(),
                _ => error,
            };
            if ran.is_success() { Ok(Applied::Applied) } else { Err(early(remote.refused(op, &ran))) }
        };
        self.apart("switch_back", node, act).await
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    fn call(&self, op: &'static str, node: &Name) -> Span {
        call_span("rsync", op, node)
    }

    /// Runs an effect in a task of its own: a dropped future does not cut it.
    async fn apart<T: Send + 'static>(
        &self,
        op: &'static str,
        node: &Name,
        act: impl Future<Output = Result<T, StepError>> + Send + 'static,
    ) -> Result<T, StepError> {
        let task = tokio::spawn(act.instrument(self.call(op, node)));
        task.await.unwrap_or_else(|error| Err(StepError::new(ErrorKind::Protocol, op, node.as_str()).caused_by(error)))
    }
}

#[async_trait]
impl ObserveFileSync for Rsync {
    async fn shared(&self, node: &Name) -> Result<Shared, StepError> {
        let read = async { Ok(self.inner.remote("shared", node)?.status("shared").await?.shared()) };
        read.instrument(self.call("shared", node)).await
    }

    async fn missing(&self, node: &Name) -> Result<Vec<String>, StepError> {
        self.inner.missing(node).instrument(self.call("missing", node)).await
    }
}

#[async_trait]
impl FileSync for Rsync {
    async fn hold(&self, epoch: LeaseEpoch, request: HoldFiles) -> Result<Applied, StepError> {
        let (inner, node) = (self.inner.clone(), request.node.clone());
        self.apart("hold", &node, async move { inner.hold(epoch, request).await }).await
    }

    async fn release(&self, epoch: LeaseEpoch, request: ReleaseFiles) -> Result<Applied, StepError> {
        let (inner, node) = (self.inner.clone(), request.node.clone());
        self.apart("release", &node, async move { inner.release(epoch, request).await }).await
    }

    async fn hand_writer(&self, epoch: LeaseEpoch, request: HandWriter) -> Result<Applied, StepError> {
        let (inner, node) = (self.inner.clone(), request.node.clone());
        self.apart("hand_writer", &node, async move { inner.hand_writer(epoch, request).await }).await
    }
}
