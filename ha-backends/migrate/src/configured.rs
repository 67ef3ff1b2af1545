use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, CloneDatabase, Cloned, Database, ErrorKind, LeaseEpoch, Migrate, ObserveDatabase, StepError, TakeCloneStep,
};
use ha_core::state::{CloneStep, Copies, Schema, SchemaChange};
use ha_core::telemetry::call_span;
use tokio::sync::Mutex;
use tracing::Instrument;

use crate::connect::UrlConnect;
use crate::{Cloning, CloningError, Connect, MigrateBackend, MigrateConfig};

/// The database of a `[database]` with `backend = "migrate"`.
///
/// Its scripts are read when they are needed first, and again whenever they are reviewed: a release may bring them long after the
/// controller was started.
pub struct ConfiguredDatabase {
    config: MigrateConfig,
    connect: Arc<dyn Connect>,
    /// Takes every step of a clone but its migration, whatever the scripts are like.
    cloning: Option<Cloning>,
    loaded: Mutex<Option<MigrateBackend>>,
}

impl fmt::Debug for ConfiguredDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs may hold passwords.
        let (target, clone) = (self.connect.target(), self.cloning.as_ref().map(Cloning::clone_url));
        f.debug_struct("ConfiguredDatabase").field("target", &target).field("clone", &clone).finish_non_exhaustive()
    }
}

impl ConfiguredDatabase {
    /// Drives the database of the configuration. Nothing is opened or read yet.
    ///
    /// # Errors
    /// [`CloningError`].
    pub fn new(config: MigrateConfig) -> Result<Self, CloningError> {
        let connect = UrlConnect::new(&config.url, config.limits)?
            .with_user(config.user.clone())
            .with_password(config.password.clone());
        let cloning = config.clone_url.as_ref().map(|_| Cloning::new(&config)).transpose()?;
        Ok(Self { config, connect: Arc::new(connect), cloning, loaded: Mutex::default() })
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
        let cloning = self.cloning.clone().map(|cloning| cloning.with_scripts(scripts.clone())).transpose();
        let cloning = cloning.map_err(|error| refused(error.to_string()))?;
        let backend = self.config.backend(self.connect.clone(), scripts).map_err(|error| refused(error.to_string()))?;
        let backend = match cloning {
            Some(cloning) => backend.with_cloning(cloning),
            None => backend,
        };
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
    fn cloning(&self) -> Option<&dyn CloneDatabase> {
        self.cloning.is_some().then_some(self as &dyn CloneDatabase)
    }

    async fn migrate(&self, epoch: LeaseEpoch, request: Migrate) -> Result<Applied, StepError> {
        async { self.backend("migrate", false).await?.migrate(epoch, request).await }
            .instrument(call_span(crate::NAME, "migrate", self.connect.target()))
            .await
    }
}

#[async_trait]
impl CloneDatabase for ConfiguredDatabase {
    fn clone_url(&self) -> String {
        self.cloning.as_ref().map(Cloning::clone_url).unwrap_or_default()
    }

    async fn copies(&self) -> Result<Copies, StepError> {
        async { declared(self.cloning.as_ref())?.copies().await }
            .instrument(call_span(crate::NAME, "copies", self.connect.target()))
            .await
    }

    async fn clone_step(&self, epoch: LeaseEpoch, request: TakeCloneStep) -> Result<Cloned, StepError> {
        async {
            // Only the migration needs scripts: no other step waits for somebody to mend them.
            if request.step == CloneStep::Migrate {
                let backend = self.backend("clone_step", false).await?;
                return declared(backend.cloning())?.clone_step(epoch, request).await;
            }
            declared(self.cloning.as_ref())?.clone_step(epoch, request).await
        }
        .instrument(call_span(crate::NAME, "clone_step", self.connect.target()))
        .await
    }
}

fn declared<C: ?Sized>(cloning: Option<&C>) -> Result<&C, StepError> {
    cloning.ok_or_else(|| StepError::new(ErrorKind::Unsupported, "clone_step", "clone").without_effect())
}
