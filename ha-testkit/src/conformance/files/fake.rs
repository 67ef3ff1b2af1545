use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::FileSync;
use ha_core::state::{Generation, Sync, WriterEpoch};
use ha_core::topology::Name;

use super::{FilesAbility, FilesFixture, FilesSubject};
use crate::conformance::Breach;
use crate::world::{Controller, FakeFiles, World};

/// Builds nodes of the simulated world, each time another one; the truth is the world's inner state.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeFilesFixture;

impl FakeFilesFixture {
    /// Builds fakes.
    pub fn new() -> Self {
        Self
    }
}

struct FakeFilesSubject {
    world: World,
    files: Arc<FakeFiles>,
}

#[async_trait]
impl FilesFixture for FakeFilesFixture {
    fn name(&self) -> String {
        "the fake file sync".into()
    }

    fn can(&self, _ability: FilesAbility) -> bool {
        true
    }

    async fn fresh(&self, nodes: &[Name]) -> Result<Box<dyn FilesSubject>, Breach> {
        let each = |node: &Name| {
            format!(
                "[[node]]\nname = \"{node}\"\ncapacity = 1\nhost = {{ backend = \"fake\" }}\nprobe = {{ backend = \"fake\" }}\n"
            )
        };
        let text = format!(
            "[cluster]\nname = \"orders\"\n[policy]\npeak_load = 1\n[files]\nbackend = \"fake\"\n[pool]\nname = \"esb\"\nserve = 1\n\
             [[balancer]]\nname = \"lb1\"\nbackend = \"fake\"\n{}",
            nodes.iter().map(each).collect::<String>()
        );
        let world = World::from_toml_str(&text).map_err(|error| Breach::new(error.to_string()))?;
        for (place, node) in nodes.iter().enumerate() {
            let (writer, sync) =
                if place == 0 { (WriterEpoch::new(1), Sync::None) } else { (WriterEpoch::default(), Sync::Active) };
            world.with_node(node.as_str(), |node| {
                (node.writer, node.sync, node.seen_writer) = (writer, sync, WriterEpoch::new(1));
                node.generation = Some(Generation::new(1, "g1"));
            });
        }
        let files = Arc::new(FakeFiles::new(world.clone(), Controller::new()));
        Ok(Box::new(FakeFilesSubject { world, files }))
    }
}

#[async_trait]
impl FilesSubject for FakeFilesSubject {
    fn files(&self) -> Arc<dyn FileSync> {
        self.files.clone()
    }

    fn another(&self) -> Arc<dyn FileSync> {
        Arc::new(FakeFiles::new(self.world.clone(), Controller::new()))
    }

    async fn truth(&self, node: &Name) -> Result<Option<u64>, Breach> {
        Ok(self.world.generation(node.as_str()))
    }

    async fn put(&self, node: &Name, number: u64) -> Result<(), Breach> {
        let set = Generation::new(number, format!("g{number}"));
        self.world.with_node(node.as_str(), |node| node.generation = Some(set));
        Ok(())
    }

    async fn settle(&self) -> Result<(), Breach> {
        self.world.copy();
        // A transfer takes its time.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        Ok(())
    }
}
