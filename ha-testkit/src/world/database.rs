use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, CloneDatabase, Database, ErrorKind, Migrate, ObserveDatabase, StepError};
use ha_core::state::{LeaseEpoch, Schema, SchemaChange, SchemaVerdict};
use tokio::time::{Instant, sleep};

use super::fault::{after, answer_late, before};
use super::model::Inner;
use super::{Controller, Fault, Operation, World};

/// The shared database of the simulated world.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Database, LeaseEpoch, Migrate};
/// use ha_core::state::Schema;
/// use ha_testkit::world::{Controller, FakeDatabase, Shape};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = Shape::active_passive().with_database().world().unwrap();
/// let database = FakeDatabase::new(world.clone(), Controller::new());
/// database.migrate(LeaseEpoch::new(1), Migrate::new(Schema::Expanded)).await.unwrap();
/// assert_eq!(world.schema(), Schema::Expanded);
/// # });
/// ```
pub struct FakeDatabase {
    pub(super) world: World,
    pub(super) controller: Controller,
}

/// The scripts of the shared database, by the states that they lead to, and what is in their way.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeScripts {
    /// Those that have taken effect, in their order.
    pub(crate) applied: Vec<Schema>,
    /// Those that fail.
    pub(crate) failing: BTreeSet<Schema>,
    /// The expansion has another text than at first.
    pub(crate) edited: bool,
    /// Somebody holds the table that they change.
    pub(crate) held: bool,
    /// A session of the old release is connected.
    pub(crate) old_session: bool,
}

/// How long one statement takes.
const STATEMENT: Duration = Duration::from_millis(120);
/// How often a table that somebody holds is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(10);

impl fmt::Debug for FakeDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeDatabase").finish_non_exhaustive()
    }
}

fn failed(kind: ErrorKind, what: &str) -> StepError {
    StepError::new(kind, "migrate", "database").with_context(what)
}

impl FakeDatabase {
    /// Makes the database as `controller` reaches it.
    pub fn new(world: World, controller: Controller) -> Self {
        Self { world, controller }
    }

    /// Runs the scripts that lead to the next state.
    async fn advance(&self, to: Schema, (began, deadline): (Instant, Duration), breaks: bool) -> Result<(), StepError> {
        let left = || deadline.saturating_sub(began.elapsed());
        while self.world.lock().scripts.held {
            if left().is_zero() {
                return Err(failed(ErrorKind::Timeout, "somebody holds the table"));
            }
            sleep(TRY_AGAIN.min(left())).await;
        }
        let next = {
            let mut inner = self.world.lock();
            let Some(next) = after_it(inner.schema).filter(|_| inner.schema < to) else { return Ok(()) };
            inner.schema = next.half_way();
            if inner.schema == to {
                return Ok(());
            }
            next
        };
        sleep(STATEMENT.min(left())).await;
        if left().is_zero() {
            return Err(failed(ErrorKind::Timeout, "the statement takes longer"));
        }
        let mut inner = self.world.lock();
        if breaks || inner.scripts.failing.contains(&next) {
            return Err(failed(ErrorKind::Conflict, "a statement failed"));
        }
        inner.reach(next);
        Ok(())
    }
}

/// The state to which the next scripts lead.
fn after_it(schema: Schema) -> Option<Schema> {
    match schema {
        Schema::Base | Schema::Expanding => Some(Schema::Expanded),
        Schema::Expanded => Some(Schema::Backfilled),
        Schema::Backfilled | Schema::Contracting => Some(Schema::Contracted),
        Schema::Contracted => None,
    }
}

impl FakeScripts {
    /// Tells whether a script is not what was run of it.
    fn contradict(&self) -> bool {
        self.edited && self.applied.contains(&Schema::Expanded)
    }
}

impl Inner {
    /// Lets all scripts take effect that lead to a state and have not.
    fn reach(&mut self, to: Schema) {
        while let Some(next) = after_it(self.schema).filter(|next| *next <= to) {
            self.schema = next;
            if self.has_scripts_to(next) {
                self.scripts.applied.push(next);
            }
        }
        self.schema = self.schema.max(to);
    }

    fn has_scripts_to(&self, to: Schema) -> bool {
        match self.schema_change.verdict {
            SchemaVerdict::Nothing => false,
            SchemaVerdict::ExpandOnly => to == Schema::Expanded,
            _ => true,
        }
    }

    /// Refuses what cannot be asked for as things are.
    fn admits(&self, to: Schema) -> Result<(), StepError> {
        let refused = |kind, what: &str| Err(failed(kind, what).without_effect());
        if self.scripts.contradict() {
            return refused(ErrorKind::Conflict, "a script was changed after it was run");
        }
        if to < self.schema {
            return refused(ErrorKind::Conflict, "nothing leads back");
        }
        if to >= Schema::Contracting && self.scripts.old_session {
            return refused(ErrorKind::Denied, "a session of the old release is connected");
        }
        Ok(())
    }
}

#[async_trait]
impl ObserveDatabase for FakeDatabase {
    async fn schema(&self) -> Result<Schema, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Schema, "schema", "database").await?;
        Ok(self.world.lock().schema)
    }

    async fn review(&self) -> Result<SchemaChange, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Review, "review", "database").await?;
        let inner = self.world.lock();
        if inner.scripts.contradict() {
            let error = StepError::new(ErrorKind::Conflict, "review", "database");
            return Err(error.with_context("a script was changed after it was run").without_effect());
        }
        let change = inner.schema_change.clone();
        let nothing_waits = match change.verdict {
            SchemaVerdict::ExpandOnly => inner.schema >= Schema::Backfilled,
            SchemaVerdict::Splittable => inner.schema == Schema::Contracted,
            _ => false,
        };
        Ok(if nothing_waits { SchemaChange::new(SchemaVerdict::Nothing, change.digest) } else { change })
    }
}

#[async_trait]
impl Database for FakeDatabase {
    fn cloning(&self) -> Option<&dyn CloneDatabase> {
        let database = self.world.topology().database()?;
        database.settings.contains_key("clone_url").then_some(self as &dyn CloneDatabase)
    }

    async fn migrate(&self, epoch: LeaseEpoch, request: Migrate) -> Result<Applied, StepError> {
        let (to, limit) = (request.to, (Instant::now(), request.deadline));
        self.controller.round_trip().await;
        self.world.fence(epoch.number(), "migrate", "database")?;
        if to >= Schema::Contracting && request.permit.is_none() {
            return Err(failed(ErrorKind::Denied, "nothing is removed without a permit").without_effect());
        }
        let fault = self.world.take_fault(Operation::Migrate, "database");
        self.world.if_late(fault, move |world| world.lock().reach(to));
        if !before(fault, "migrate", "database")? {
            return Ok(Applied::AlreadySo);
        }
        {
            let inner = self.world.lock();
            inner.admits(to)?;
            if inner.schema == to {
                return Ok(Applied::AlreadySo);
            }
        }
        if request.deadline.is_zero() {
            return Err(failed(ErrorKind::Timeout, "it is not there yet").without_effect());
        }
        while self.world.lock().schema < to {
            self.advance(to, limit, fault == Some(Fault::Half)).await?;
        }
        answer_late(fault).await;
        after(fault, "migrate", "database").map(|()| Applied::Applied)
    }
}
