use tokio::time::Instant;

use crate::journal::MemoryStore;

/// The store on the engine's clock. It is here, since nothing outside the engine knows tokio.
impl MemoryStore {
    /// Makes an empty store on tokio's clock, so that its leases run out by virtual time where the engine's time is virtual.
    pub fn new() -> Self {
        let began = Instant::now();
        Self::with_clock(move || began.elapsed())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}
