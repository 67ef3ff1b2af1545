//! What every case begins with.

use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{Applied, ContractPermit, Database, Effect, ErrorKind, Migrate, StepError};
use ha_core::state::{LeaseEpoch, Schema, SchemaVerdict};

use super::{DatabaseFixture, DatabaseSubject, OLD_RELEASE, ScriptPhase};
use crate::conformance::balancer::scene::EPOCH;
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, Stop, breach, ensure, same};

/// How long a call may take.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// The states that can be asked for, in their order.
pub(super) const STATES: [Schema; 3] = [Schema::Expanded, Schema::Backfilled, Schema::Contracted];

/// A fresh database.
pub(super) struct Scene {
    pub(super) subject: Box<dyn DatabaseSubject>,
    pub(super) database: Arc<dyn Database>,
    /// How many rows the table has.
    rows: u64,
}

/// What a database has, by another route than the value under test.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Truth {
    pub(super) columns: Vec<String>,
    rows: u64,
    unfilled: u64,
    pub(super) applied: [u32; 3],
}

pub(super) fn permit() -> ContractPermit {
    ContractPermit::by_person("the conformance suite", "no server of it was ever started", vec![OLD_RELEASE.into()])
}

/// Asks for a state, with a permit where it needs one.
pub(super) fn to(schema: Schema) -> Migrate {
    let request = Migrate::new(schema).with_deadline(LONG);
    if schema >= Schema::Contracting { request.with_permit(permit()) } else { request }
}

/// Breaches unless the call failed with this kind, whatever it says of its effect.
pub(super) fn failed(what: &str, answer: Result<Applied, StepError>, kind: ErrorKind) -> Result<Effect, Stop> {
    match answer {
        Ok(answer) => Err(breach(format!("{what}: answered {answer:?}, and had to fail with {kind:?}"))),
        Err(error) => same(format!("{what}: {error}"), error.kind(), kind).map(|()| error.effect()),
    }
}

impl Scene {
    pub(super) async fn open(fixture: &dyn DatabaseFixture) -> Result<Self, Stop> {
        let subject = fixture.fresh().await?;
        let (database, rows) = (subject.database(), subject.rows().await?);
        ensure(rows >= 2, || format!("the fixture built a table of {rows} rows"))?;
        let scene = Self { subject, database, rows };
        same("what the fixture built", scene.truth().await?, scene.truth_of(Schema::Base))?;
        Ok(scene)
    }

    /// Opens a database whose schema has been brought to a state.
    pub(super) async fn at(fixture: &dyn DatabaseFixture, schema: Schema) -> Result<Self, Stop> {
        let scene = Self::open(fixture).await?;
        for state in STATES.into_iter().filter(|state| *state <= schema) {
            scene.database.migrate(EPOCH, to(state)).await?;
        }
        scene.is(schema).await?;
        Ok(scene)
    }

    pub(super) async fn migrate(&self, request: Migrate) -> Result<Applied, StepError> {
        self.database.migrate(EPOCH, request).await
    }

    pub(super) async fn truth(&self) -> Result<Truth, Stop> {
        let (rows, unfilled) = (self.subject.rows().await?, self.subject.unfilled().await?);
        let mut columns = self.subject.columns().await?;
        columns.sort();
        let mut applied = [0; 3];
        for (count, phase) in applied.iter_mut().zip(ScriptPhase::ALL) {
            *count = self.subject.applied(phase).await?;
        }
        Ok(Truth { columns, rows, unfilled, applied })
    }

    /// What a database has whose schema is in this state, where all three scripts wait.
    fn truth_of(&self, schema: Schema) -> Truth {
        let at_least = |state| schema >= state;
        let columns: &[&str] = match (at_least(Schema::Expanded), at_least(Schema::Contracted)) {
            (false, _) => &["amount", "id"],
            (true, false) => &["amount", "id", "total"],
            (true, true) => &["id", "total"],
        };
        Truth {
            columns: columns.iter().map(|name| (*name).into()).collect(),
            rows: self.rows,
            unfilled: if at_least(Schema::Backfilled) { 0 } else { self.rows },
            applied: STATES.map(|state| u32::from(at_least(state))),
        }
    }

    /// Checks that the database is in a state, by both routes.
    pub(super) async fn is(&self, schema: Schema) -> Done {
        same(format!("what is there of a schema that is {schema}"), self.truth().await?, self.truth_of(schema))?;
        same("the schema, as it is read", self.database.schema().await?, schema)
    }

    pub(super) async fn reviewed_is(&self, database: &dyn Database, verdict: SchemaVerdict) -> Done {
        same("the verdict of the review", database.review().await?.verdict, verdict)
    }

    /// Asks another value for a state, again as long as others are at work, and checks that it is there.
    pub(super) async fn finish(&self, schema: Schema) -> Done {
        let next = self.subject.another();
        eventually("the next controller finishes", async || match next.migrate(EPOCH, to(schema)).await {
            Ok(_) => Ok(true),
            Err(error) if is_busy(&error) => Ok(false),
            Err(error) => Err(error.into()),
        })
        .await?;
        self.is(schema).await
    }
}

/// Tells whether somebody else is at work, and nothing was done.
pub(super) fn is_busy(error: &StepError) -> bool {
    error.kind() == ErrorKind::Busy && error.effect() == Effect::None
}

/// The same epoch, so much later.
pub(super) fn later(by: u64) -> LeaseEpoch {
    LeaseEpoch::new(EPOCH.number() + by)
}
