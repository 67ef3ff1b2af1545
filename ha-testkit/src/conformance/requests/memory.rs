use std::sync::Arc;

use async_trait::async_trait;
use ha_core::journal::{Journal, MemoryStore};

use super::{RequestsFixture, RequestsSubject};
use crate::conformance::Breach;

/// Builds journals in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryFixture;

impl MemoryFixture {
    /// Builds journals in memory.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl RequestsFixture for MemoryFixture {
    fn name(&self) -> String {
        "MemoryStore".into()
    }

    async fn fresh(&self) -> Result<Box<dyn RequestsSubject>, Breach> {
        Ok(Box::new(MemorySubject(Arc::new(MemoryStore::new()))))
    }
}

struct MemorySubject(Arc<MemoryStore>);

impl RequestsSubject for MemorySubject {
    fn open(&self) -> Result<Arc<dyn Journal>, Breach> {
        Ok(self.0.clone())
    }
}
