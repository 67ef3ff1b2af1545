use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Applied, Database, ErrorKind, LeaseEpoch, Migrate, ObserveDatabase, StepError};
use ha_core::state::{Schema, SchemaChange};
use ha_core::telemetry::call_span;
use tokio::sync::Mutex;
use tracing::Instrument;

use crate::connect::{UrlConnect, UrlError};
use crate::{Connect, MigrateBackend, MigrateConfig};

/// The database of a `[database]` with `backend = "migrate"`.
///
/// Its scripts are read when they are needed first, and again whenever they are reviewed: a release may bring them long after the
/// controller was started.
#[derive(Debug)]
pub struct ConfiguredDatabase {
    config: MigrateConfig,
    connect: Arc<dyn Connect>,
    loaded: Mutex<Option<MigrateBackend>>,
}

impl ConfiguredDatabase {
    /// Drives the database of the configuration. Nothing is opened or read yet.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn new(config: MigrateConfig) -> Result<Self, UrlError> {
        let connect = UrlConnect::new(&config.url, config.limits)?
            .with_user(config.user.clone())
            .with_password(config.password.clone());
        Ok(Self { config, connect: Arc::new(connect), loaded: Mutex::default() })
    }

    /// Returns the backend with its scripts; `anew` reads them again.
    ///
    /// # Errors
    /// `Conflict` for scripts that cannot be used, with all that is wrong; without effect.
    pub async fn backend(&self, operation: &'static str, anew: bool) -> Result<MigrateBackend, StepError> {
        let mut loaded = self.loaded.lock().await;
        if let Some(backend) = loaded.as_ref().filter(|_| !anew) {
            return Ok(backend.clone());
        }
        let refused = |what: String| {
            StepError::new(ErrorKind::Conflict, operation, self.connect.target()).with_context(what).without_effect()
        };
        let config = self.config.clone();
        let scripts = tokio::task::spawn_blocking(move || config.load()).await;
        let scripts =
            scripts.map_err(|error| refused(error.to_string()))?.map_err(|error| refused(error.to_string()))?;
        let backend = self.config.backend(self.connect.clone(), scripts).map_err(|error| refused(error.to_string()))?;
        Ok(loaded.insert(backend).clone())
    }
}

#[async_trait]
impl ObserveDatabase for ConfiguredDatabase {
    async fn schema(&self) -> Result<Schema, StepError> {
        async { self.backend("schema", false).await?.schema().await }
            .instrument(call_span(crate::NAME, "schema", self.connect.target()))
            .await
    }

    async fn review(&self) -> Result<SchemaChange, StepError> {
        async { self.backend("review", true).await?.review().await }
            .instrument(call_span(crate::NAME, "review", self.connect.target()))
            .await
    }
}

#[async_trait]
impl Database for ConfiguredDatabase {
    async fn migrate(&self, epoch: LeaseEpoch, request: Migrate) -> Result<Applied, StepError> {
        async { self.backend("migrate", false).await?.migrate(epoch, request).await }
            .instrument(call_span(crate::NAME, "migrate", self.connect.target()))
            .await
    }
}
