use async_trait::async_trait;
use ha_core::backend::{
    Applied, Content, ContentDigest, DetachedWork, Expect, FileStat, HostFiles, ObserveDetachedWork, ObserveHostFiles,
    PutFile, RunCommand, StepError, SwitchLink, TreeDigest, WorkId, WorkOutput, WorkState,
};
use ha_core::state::LeaseEpoch;
use tokio::time::sleep;

use super::{BETWEEN, Broken, Defect, other};

impl Broken {
    fn inner_files(&self) -> &dyn HostFiles {
        self.inner.files().unwrap()
    }

    fn inner_work(&self) -> &dyn DetachedWork {
        self.inner.work().unwrap()
    }
}

#[async_trait]
impl ObserveHostFiles for Broken {
    async fn stat(&self, path: &str) -> Result<FileStat, StepError> {
        match self.spoil(self.inner_files().stat(path).await)? {
            FileStat::File { mode, digest, .. } if self.is(Defect::StatHasNoLength) => {
                Ok(FileStat::File { length: 0, mode, digest })
            }
            found => Ok(found),
        }
    }

    async fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, StepError> {
        if !self.is(Defect::ReadIsCut) {
            return self.spoil(self.inner_files().read(path, limit).await);
        }
        let mut all = self.inner_files().read(path, usize::MAX).await?;
        all.truncate(limit);
        Ok(all)
    }

    async fn tree(&self, path: &str) -> Result<TreeDigest, StepError> {
        let found = self.spoil(self.inner_files().tree(path).await)?;
        let constant = self.is(Defect::TreeIsConstant);
        Ok(if constant { TreeDigest::new(ContentDigest::of(b"tree"), found.entries) } else { found })
    }
}

#[async_trait]
impl HostFiles for Broken {
    async fn put(&self, epoch: LeaseEpoch, mut request: PutFile) -> Result<Applied, StepError> {
        let epoch = self.epoch(epoch, Defect::NoFenceForFiles);
        match (self.defect, &request.content) {
            (Defect::PutIgnoresExpect, _) => request.expect = Expect::Anything,
            (Defect::PutIgnoresMode, _) => request.mode = 0o644,
            (Defect::PutInHalves, Content::Bytes(bytes)) => {
                let half = Content::Bytes(bytes[..bytes.len() / 2].to_vec());
                self.inner_files().put(epoch, PutFile::new(request.path.as_str(), half)).await?;
                sleep(BETWEEN).await;
                request.expect = Expect::Anything;
            }
            _ => {}
        }
        let answer = self.spoil(self.inner_files().put(epoch, request).await)?;
        Ok(if self.is(Defect::PutAlwaysApplied) { Applied::Applied } else { answer })
    }

    async fn remove(&self, epoch: LeaseEpoch, path: &str, expect: Expect) -> Result<Applied, StepError> {
        let expect = if self.is(Defect::RemoveIgnoresExpect) { Expect::Anything } else { expect };
        let epoch = self.epoch(epoch, Defect::NoFenceForFiles);
        let answer = self.spoil(self.inner_files().remove(epoch, path, expect).await)?;
        Ok(if self.is(Defect::RemoveAlwaysApplied) { Applied::Applied } else { answer })
    }

    async fn switch(&self, epoch: LeaseEpoch, request: SwitchLink) -> Result<Applied, StepError> {
        let epoch = self.epoch(epoch, Defect::NoFenceForFiles);
        match self.defect {
            Defect::SwitchIsNoSwitch => return Ok(Applied::Applied),
            Defect::SwitchReplacesFiles => {
                if matches!(self.inner_files().stat(&request.link).await?, FileStat::File { .. }) {
                    self.inner_files().remove(epoch, &request.link, Expect::Anything).await?;
                }
            }
            _ => {}
        }
        self.spoil(self.inner_files().switch(epoch, request).await)
    }
}

#[async_trait]
impl ObserveDetachedWork for Broken {
    async fn state(&self, id: &WorkId) -> Result<WorkState, StepError> {
        Ok(match (self.defect, self.spoil(self.inner_work().state(id).await)?) {
            (Defect::LostIsExited, WorkState::Lost) => WorkState::Exited(1),
            (Defect::AbsentIsLost, WorkState::Absent) => WorkState::Lost,
            (Defect::OverdueIsSignaled, WorkState::Overdue) => WorkState::Signaled(9),
            (_, found) => found,
        })
    }

    async fn tail(&self, id: &WorkId, limit: usize) -> Result<WorkOutput, StepError> {
        let limit = if self.is(Defect::TailIsWhole) { usize::MAX } else { limit };
        self.spoil(self.inner_work().tail(id, limit).await)
    }
}

#[async_trait]
impl DetachedWork for Broken {
    async fn launch(&self, epoch: LeaseEpoch, id: WorkId, command: RunCommand) -> Result<Applied, StepError> {
        let epoch = self.epoch(epoch, Defect::NoFenceForWork);
        let answer = self.spoil(self.inner_work().launch(epoch, id.clone(), command.clone()).await)?;
        if answer == Applied::AlreadySo && self.is(Defect::LaunchesAgain) {
            self.inner_work().launch(epoch, other(&id), command).await?;
        }
        Ok(answer)
    }

    async fn cancel(&self, epoch: LeaseEpoch, id: &WorkId) -> Result<Applied, StepError> {
        if self.is(Defect::CancelDoesNothing) {
            return Ok(Applied::Applied);
        }
        self.spoil(self.inner_work().cancel(self.epoch(epoch, Defect::NoFenceForWork), id).await)
    }
}
