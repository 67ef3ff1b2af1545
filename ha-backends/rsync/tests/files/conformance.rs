use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::FileSync;
use ha_core::topology::Name;
use ha_rsync::Publish;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::files::{FilesAbility, FilesFixture, FilesSubject};

use crate::nodes::{Nodes, Timer};

struct LocalFixture(Publish);

struct SshFixture;

struct Subject {
    _timer: Timer,
    nodes: Arc<Nodes>,
}

#[async_trait]
impl FilesFixture for LocalFixture {
    fn name(&self) -> String {
        format!("rsync on this machine, {:?}", self.0)
    }

    fn can(&self, _ability: FilesAbility) -> bool {
        true
    }

    async fn fresh(&self, nodes: &[Name]) -> Result<Box<dyn FilesSubject>, Breach> {
        let nodes = Arc::new(Nodes::new(nodes, self.0).await);
        Ok(Box::new(Subject { _timer: nodes.timer(Duration::from_millis(150)), nodes }))
    }
}

#[async_trait]
impl FilesFixture for SshFixture {
    fn name(&self) -> String {
        "rsync over ssh".into()
    }

    fn can(&self, _ability: FilesAbility) -> bool {
        true
    }

    async fn fresh(&self, nodes: &[Name]) -> Result<Box<dyn FilesSubject>, Breach> {
        let nodes = Arc::new(Nodes::over_ssh(nodes, Publish::InPlace).await);
        Ok(Box::new(Subject { _timer: nodes.timer(Duration::from_millis(300)), nodes }))
    }
}

#[async_trait]
impl FilesSubject for Subject {
    fn files(&self) -> Arc<dyn FileSync> {
        Arc::new(self.nodes.files.clone())
    }

    fn another(&self) -> Arc<dyn FileSync> {
        Arc::new(self.nodes.another())
    }

    async fn truth(&self, node: &Name) -> Result<Option<u64>, Breach> {
        Ok(self.nodes.truth(node))
    }

    async fn put(&self, node: &Name, number: u64) -> Result<(), Breach> {
        self.nodes.put(node, number);
        Ok(())
    }

    async fn settle(&self) -> Result<(), Breach> {
        let nodes = self.nodes.clone();
        let settled = tokio::task::spawn_blocking(move || nodes.settle()).await;
        settled.map_err(|error| Breach::new(error.to_string()))?.map_err(Breach::new)
    }
}

mod in_place {
    ha_testkit::conformance!(files, super::LocalFixture(ha_rsync::Publish::InPlace));
}

mod switched {
    ha_testkit::conformance!(files, super::LocalFixture(ha_rsync::Publish::Switch));
}

mod over_ssh {
    ha_testkit::conformance!(files, super::SshFixture);
}
