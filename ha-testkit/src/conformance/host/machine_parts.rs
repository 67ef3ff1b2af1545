//! Files and work of the machine in memory.

use std::fmt::Write as _;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, Content, ContentDigest, DetachedWork, ErrorKind, Expect, FileStat, HostFiles, ObserveDetachedWork,
    ObserveHostFiles, PutFile, RunCommand, StepError, SwitchLink, TreeDigest, WorkId, WorkOutput, WorkState,
};
use ha_core::state::LeaseEpoch;

use super::Found;
use super::machine::{MachineHost, last};

impl MachineHost {
    /// Breaches nothing: refuses unless what is there is as expected.
    fn expected(&self, found: Option<&Found>, expect: Expect, operation: &'static str) -> Result<(), StepError> {
        let fits = match (expect, found) {
            (Expect::Anything, Some(Found::Directory)) => false,
            (Expect::Anything, _) | (Expect::Absent, None) => true,
            (Expect::Content(digest), Some(Found::File(bytes, _))) => ContentDigest::of(bytes) == digest,
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.refuse(ErrorKind::Conflict, operation)) }
    }

    fn refuse(&self, kind: ErrorKind, operation: &'static str) -> StepError {
        self.error(kind, operation).without_effect()
    }

    fn has_directory(&self, path: &str, operation: &'static str) -> Result<(), StepError> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        match self.machine.lock().files.get(parent) {
            Some(Found::Directory) => Ok(()),
            Some(Found::File(..) | Found::Link(_)) | None => Err(self.refuse(ErrorKind::NotFound, operation)),
        }
    }
}

#[async_trait]
impl ObserveHostFiles for MachineHost {
    async fn stat(&self, path: &str) -> Result<FileStat, StepError> {
        self.reach("stat").await.map_err(StepError::without_effect)?;
        Ok(match self.machine.lock().files.get(path) {
            None => FileStat::Absent,
            Some(Found::Directory) => FileStat::Directory,
            Some(Found::Link(target)) => FileStat::Link { target: target.clone() },
            Some(Found::File(bytes, mode)) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                FileStat::File { length, mode: *mode, digest: ContentDigest::of(bytes) }
            }
        })
    }

    async fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, StepError> {
        self.reach("read").await.map_err(StepError::without_effect)?;
        match self.machine.lock().files.get(path) {
            Some(Found::File(bytes, _)) if bytes.len() <= limit => Ok(bytes.clone()),
            Some(Found::File(..)) => Err(self.refuse(ErrorKind::Unsupported, "read")),
            Some(Found::Directory | Found::Link(_)) | None => Err(self.refuse(ErrorKind::NotFound, "read")),
        }
    }

    async fn tree(&self, path: &str) -> Result<TreeDigest, StepError> {
        self.reach("tree").await.map_err(StepError::without_effect)?;
        let state = self.machine.lock();
        if state.files.get(path) != Some(&Found::Directory) {
            return Err(self.refuse(ErrorKind::NotFound, "tree"));
        }
        let (mut text, mut entries) = (String::new(), 0);
        for (name, found) in &state.files {
            let Some(inner) = name.strip_prefix(path).and_then(|rest| rest.strip_prefix('/')) else { continue };
            if *found != Found::Directory {
                entries += 1;
                let _ = write!(text, "{inner:?} {found:?}");
            }
        }
        Ok(TreeDigest::new(ContentDigest::of(text.as_bytes()), entries))
    }
}

#[async_trait]
impl HostFiles for MachineHost {
    async fn put(&self, epoch: LeaseEpoch, request: PutFile) -> Result<Applied, StepError> {
        self.pass(epoch, "put").await?;
        let Content::Bytes(bytes) = request.content else { return Err(self.refuse(ErrorKind::Unsupported, "put")) };
        self.has_directory(&request.path, "put")?;
        let mut state = self.machine.lock();
        let new = Found::File(bytes, request.mode);
        let found = state.files.get(&request.path);
        if found == Some(&new) {
            return Ok(Applied::AlreadySo);
        }
        self.expected(found, request.expect, "put")?;
        state.files.insert(request.path, new);
        Ok(Applied::Applied)
    }

    async fn remove(&self, epoch: LeaseEpoch, path: &str, expect: Expect) -> Result<Applied, StepError> {
        self.pass(epoch, "remove").await?;
        let mut state = self.machine.lock();
        let Some(found) = state.files.get(path) else { return Ok(Applied::AlreadySo) };
        self.expected(Some(found), expect, "remove")?;
        state.files.remove(path);
        Ok(Applied::Applied)
    }

    async fn switch(&self, epoch: LeaseEpoch, request: SwitchLink) -> Result<Applied, StepError> {
        self.pass(epoch, "switch").await?;
        self.has_directory(&request.link, "switch")?;
        let mut state = self.machine.lock();
        match state.files.get(&request.link) {
            Some(Found::Link(target)) if *target == request.target => return Ok(Applied::AlreadySo),
            Some(Found::Link(_)) | None => {}
            Some(Found::File(..) | Found::Directory) => return Err(self.refuse(ErrorKind::Conflict, "switch")),
        }
        state.files.insert(request.link, Found::Link(request.target));
        Ok(Applied::Applied)
    }
}

#[async_trait]
impl ObserveDetachedWork for MachineHost {
    async fn state(&self, id: &WorkId) -> Result<WorkState, StepError> {
        self.reach("state").await.map_err(StepError::without_effect)?;
        Ok(self.machine.lock().work.get(id).map_or(WorkState::Absent, |piece| piece.state))
    }

    async fn tail(&self, id: &WorkId, limit: usize) -> Result<WorkOutput, StepError> {
        self.reach("tail").await.map_err(StepError::without_effect)?;
        let state = self.machine.lock();
        let piece = state.work.get(id).ok_or_else(|| self.refuse(ErrorKind::NotFound, "tail"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(last(bytes, limit)).into_owned();
        Ok(WorkOutput::new(text(&piece.stdout), text(&piece.stderr)))
    }
}

#[async_trait]
impl DetachedWork for MachineHost {
    async fn launch(&self, epoch: LeaseEpoch, id: WorkId, command: RunCommand) -> Result<Applied, StepError> {
        self.pass(epoch, "launch").await?;
        Ok(self.machine.begin(&id, command))
    }

    async fn cancel(&self, epoch: LeaseEpoch, id: &WorkId) -> Result<Applied, StepError> {
        self.pass(epoch, "cancel").await?;
        Ok(self.machine.end(id, WorkState::Signaled(15)))
    }
}
