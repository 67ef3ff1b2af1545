use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use super::{Applied, CloneDatabase, StepError};
use crate::state::{LeaseEpoch, Schema, SchemaChange};

/// Reads the state of the shared database's schema.
#[async_trait]
pub trait ObserveDatabase: Debug + Send + Sync + 'static {
    /// Reads the schema's state.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn schema(&self) -> Result<Schema, StepError>;

    /// Judges the scripts that wait: what they do to a release that is in use, and whether what removes something can be put off.
    /// The planner asks for it, and a run asks again before its first step: the digest must be the same then.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`, and `Conflict` where the scripts and what was recorded of them contradict
    /// each other; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn review(&self) -> Result<SchemaChange, StepError>;
}

/// Allows to remove what an old release needed: no server of it is left that could ask for it.
///
/// The engine grants it when every node of the old releases is stopped and held out, or has a release that can use the
/// contracted schema. A person can grant it by name; the database still looks for sessions of the old releases itself.
///
/// # Examples
///
/// ```
/// use ha_core::backend::ContractPermit;
///
/// let permit = ContractPermit::by_person("m.keller", "nodes replaced by hand, 4.2.0 is gone", vec!["4.2.0".into()]);
/// assert_eq!(permit.gone(), ["4.2.0"]);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContractPermit {
    gone: Vec<String>,
    granted_by: String,
}

impl ContractPermit {
    /// Grants it for a plan: its explorer, and the state at the moment, say that no server of these releases is left.
    pub(crate) fn proven(gone: Vec<String>, plan: &str) -> Self {
        Self { gone, granted_by: format!("plan {plan}") }
    }

    /// Grants it in a person's name, with a reason: for a database that is contracted outside of a run.
    pub fn by_person(name: &str, reason: &str, gone: Vec<String>) -> Self {
        Self { gone, granted_by: format!("{name}: {reason}") }
    }

    /// Lists the releases of which no server is left.
    pub fn gone(&self) -> &[String] {
        &self.gone
    }

    /// Says who granted it, and why.
    pub fn granted_by(&self) -> &str {
        &self.granted_by
    }
}

/// Asks to bring the schema of the shared database to a state.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::Migrate;
/// use ha_core::state::Schema;
///
/// let request = Migrate::new(Schema::Expanded).with_deadline(Duration::from_secs(60));
/// assert_eq!(request.to, Schema::Expanded);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Migrate {
    /// The state it is to have.
    pub to: Schema,
    /// Without it the schema is not contracted. Default none.
    pub permit: Option<ContractPermit>,
    /// How long that may take. Default 600 s; at 0 only a schema that is there already is.
    pub deadline: Duration,
}

impl Migrate {
    /// Asks to bring the schema to `to`.
    pub fn new(to: Schema) -> Self {
        Self { to, permit: None, deadline: super::DEADLINE }
    }

    /// Allows to remove what only the releases of the permit needed.
    #[must_use]
    pub fn with_permit(mut self, permit: ContractPermit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Changes the shared database's schema.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Database, LeaseEpoch, Migrate, StepError};
/// use ha_core::state::Schema;
///
/// /// Prepares the database for a new release while the old one goes on using it.
/// async fn prepare(database: &dyn Database, epoch: LeaseEpoch) -> Result<Schema, StepError> {
///     for schema in [Schema::Expanded, Schema::Backfilled] {
///         database.migrate(epoch, Migrate::new(schema)).await?;
///     }
///     database.schema().await
/// }
/// ```
#[async_trait]
pub trait Database: ObserveDatabase {
    /// Returns how it is cloned, where it is declared where to.
    fn cloning(&self) -> Option<&dyn CloneDatabase>;

    /// Brings the schema to what is asked for: runs what leads there and has not been run.
    ///
    /// # Idempotency
    /// Absolute: twice equals once; a half-run change is gone on with.
    /// # Errors
    /// `Fenced`, `Denied`, `Unsupported`, and `Denied` for a contraction without a permit: no effect. `Timeout` past the deadline of the request, `Unreachable`: unknown;
    /// read `schema`. `Conflict` when a statement failed: read `schema` to see how far it came.
    /// # Cancel safety
    /// Not cancel safe: read `schema`.
    async fn migrate(&self, epoch: LeaseEpoch, request: Migrate) -> Result<Applied, StepError>;
}
