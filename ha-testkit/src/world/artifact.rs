use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, ArtifactStore, ErrorKind, Kept, ObserveArtifactStore, PruneArtifacts, PutArtifact, StepError,
};
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::topology::{Name, Topology};
use tokio::time::sleep;

use super::fault::{after, answer_late, before};
use super::{Controller, Fault, Operation, World};

/// The artifact store of the simulated world. It begins with the set that every node has.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Kept, ObserveArtifactStore};
/// use ha_core::state::Generation;
/// use ha_testkit::world::{Controller, FakeArtifacts, Shape};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = Shape::active_passive().with_files().with_artifacts().world().unwrap();
/// let store = FakeArtifacts::new(world.clone(), Controller::new());
/// assert_eq!(store.keeps(&Generation::new(1, "g1")).await.unwrap(), Kept::Whole);
/// world.damage_artifact("g1");
/// assert_ne!(store.keeps(&Generation::new(1, "g1")).await.unwrap(), Kept::Whole);
/// # });
/// ```
pub struct FakeArtifacts {
    world: World,
    controller: Controller,
}

/// What the store has, and what folders there are to put into it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Artifacts {
    pub(crate) sets: Vec<KeptSet>,
    /// Folders, each with the set that it holds; `None` where that is none.
    pub(crate) folders: Vec<(String, Option<Generation>)>,
    /// Nodes that cannot read the store.
    pub(crate) blind: Vec<String>,
    /// Whether nothing more fits in.
    pub(crate) full: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct KeptSet {
    pub(crate) set: Generation,
    pub(crate) damage: Option<String>,
}

/// How long a copy takes.
const COPY: Duration = Duration::from_millis(120);
const TARGET: &str = "artifacts";

impl fmt::Debug for FakeArtifacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeArtifacts").finish_non_exhaustive()
    }
}

impl FakeArtifacts {
    /// Makes the store as `controller` reaches it.
    pub fn new(world: World, controller: Controller) -> Self {
        Self { world, controller }
    }

    async fn read<T>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Artifacts) -> T + Send,
    ) -> Result<T, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Artifact, operation, TARGET).await?;
        Ok(read(&self.world.lock().artifacts))
    }

    async fn change(
        &self,
        operation: &'static str,
        epoch: LeaseEpoch,
        change: impl Fn(&mut Artifacts) -> Applied + Send + 'static,
        refuse: impl Fn(&Artifacts) -> Option<(ErrorKind, String)> + Send,
    ) -> Result<Applied, StepError> {
        self.controller.round_trip().await;
        self.world.fence(epoch.number(), operation, TARGET)?;
        let fault = self.world.take_fault(Operation::Keep, TARGET);
        if fault == Some(Fault::Late) {
            self.world.if_late(fault, move |world| {
                change(&mut world.lock().artifacts);
            });
            return before(fault, operation, TARGET).map(|_| Applied::Applied);
        }
        if !before(fault, operation, TARGET)? {
            return Ok(Applied::AlreadySo);
        }
        // Whatever changes under the copy is noticed at its end.
        for pause in [COPY, Duration::ZERO] {
            let refused = refuse(&self.world.lock().artifacts);
            if let Some((kind, what)) = refused {
                return Err(StepError::new(kind, operation, TARGET).with_context(what).without_effect());
            }
            sleep(pause).await;
        }
        // In half: it was interrupted before it had its place.
        if fault != Some(Fault::Half) {
            let changed = change(&mut self.world.lock().artifacts);
            answer_late(fault).await;
            return after(fault, operation, TARGET).map(|()| changed);
        }
        after(fault, operation, TARGET).map(|()| Applied::Applied)
    }
}

#[async_trait]
impl ObserveArtifactStore for FakeArtifacts {
    async fn generations(&self) -> Result<Vec<Generation>, StepError> {
        self.read("generations", Artifacts::list).await
    }

    async fn keeps(&self, generation: &Generation) -> Result<Kept, StepError> {
        let kept = |store: &Artifacts| match store.sets.iter().find(|kept| kept.set.digest == generation.digest) {
            None => Kept::Absent,
            Some(KeptSet { damage: Some(what), .. }) => Kept::Damaged(what.clone()),
            Some(kept) if kept.set == *generation => Kept::Whole,
            Some(kept) => Kept::Damaged(format!("it holds {:?}", kept.set)),
        };
        self.read("keeps", kept).await
    }

    async fn place(&self, node: &Name, generation: &Generation) -> Result<Option<String>, StepError> {
        let is_node = self.world.topology().find(node.as_str()).is_some();
        let place = |store: &Artifacts| {
            let there = store.sets.iter().any(|kept| kept.set.digest == generation.digest);
            let readable = is_node && !store.blind.iter().any(|blind| blind == node.as_str());
            (there && readable).then(|| format!("/artifacts/{}", generation.digest))
        };
        self.read("place", place).await
    }

    async fn missing(&self, _node: &Name) -> Result<Vec<String>, StepError> {
        self.read("missing", |_| Vec::new()).await
    }
}

#[async_trait]
impl ArtifactStore for FakeArtifacts {
    async fn put(&self, epoch: LeaseEpoch, request: PutArtifact) -> Result<Applied, StepError> {
        let set = request.generation.clone();
        let put = move |store: &mut Artifacts| {
            if store.sets.iter().any(|kept| kept.set == set && kept.damage.is_none()) {
                return Applied::AlreadySo;
            }
            store.sets.retain(|kept| kept.set.digest != set.digest);
            store.sets.push(KeptSet { set: set.clone(), damage: None });
            Applied::Applied
        };
        let refuse = |store: &Artifacts| match store.folders.iter().find(|(folder, _)| *folder == request.source) {
            None => Some((ErrorKind::NotFound, format!("there is no folder {}", request.source))),
            Some((_, found)) if found.as_ref() != Some(&request.generation) => {
                Some((ErrorKind::Conflict, format!("{} holds {found:?}", request.source)))
            }
            Some(_) if store.full => Some((ErrorKind::Denied, "no space left on device".into())),
            Some(_) => None,
        };
        self.change("put", epoch, put, refuse).await
    }

    async fn prune(&self, epoch: LeaseEpoch, request: PruneArtifacts) -> Result<Applied, StepError> {
        let keep = usize::try_from(request.keep).unwrap_or(usize::MAX);
        let prune = move |store: &mut Artifacts| {
            let old = store.list().into_iter().skip(keep);
            let old: Vec<Generation> =
                old.filter(|set| !request.in_use.iter().any(|used| used.digest == set.digest)).collect();
            store.sets.retain(|kept| !old.contains(&kept.set));
            if old.is_empty() { Applied::AlreadySo } else { Applied::Applied }
        };
        self.change("prune", epoch, prune, |_| None).await
    }
}

impl Artifacts {
    /// The store of a fresh world: it has the set that every node has, where a store is declared.
    pub(crate) fn of(topology: &Topology) -> Self {
        let first = topology.artifacts().map(|_| KeptSet { set: Generation::new(1, "g1"), damage: None });
        Self { sets: first.into_iter().collect(), ..Self::default() }
    }

    fn list(&self) -> Vec<Generation> {
        let mut sets: Vec<Generation> = self.sets.iter().map(|kept| kept.set.clone()).collect();
        sets.sort_by(|one, other| (other.sequence, &one.digest).cmp(&(one.sequence, &other.digest)));
        sets
    }
}

impl World {
    /// Puts a set into the artifact store, whole.
    pub fn keep_artifact(&self, set: Generation) {
        let mut inner = self.lock();
        inner.artifacts.sets.retain(|kept| kept.set.digest != set.digest);
        inner.artifacts.sets.push(KeptSet { set, damage: None });
    }

    /// Damages the set with this digest in the artifact store.
    pub fn damage_artifact(&self, digest: &str) {
        for kept in self.lock().artifacts.sets.iter_mut().filter(|kept| &*kept.set.digest == digest) {
            kept.damage = Some("its content has the digest g0".into());
        }
    }

    /// Removes the set with this digest from the artifact store by hand.
    pub fn lose_artifact(&self, digest: &str) {
        self.lock().artifacts.sets.retain(|kept| &*kept.set.digest != digest);
    }

    /// Lets the commands of a node not see the artifact store.
    pub fn hide_artifacts_from(&self, node: &str) {
        self.lock().artifacts.blind.push(node.into());
    }

    /// Lists the deployments that were carried out: the node, the number of the set, and where the artifact store had it for them.
    pub fn deployed(&self) -> Vec<(String, u64, Option<String>)> {
        self.lock().deployed.clone()
    }
}
