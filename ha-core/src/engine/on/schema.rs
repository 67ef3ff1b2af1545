use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Executor, Outcome, READ_LIMIT, Shared, done, not_done, unknown};
use crate::action::SchemaAction;
use crate::backend::Migrate;
use crate::record::Evidence;
use crate::state::Schema;

impl Executor {
    pub(super) async fn act_on_schema(&self, action: SchemaAction, deadline: Duration) -> Outcome {
        let Some(database) = &self.shared.database else { return not_done("the cluster has no database") };
        let until = Instant::now() + deadline;
        let SchemaAction::Migrate { to } = action;
        let asked = database.migrate(self.epoch, Migrate::new(to).with_deadline(deadline)).await;
        self.wait_until(until, asked, || self.look_at_schema(action)).await
    }

    pub(super) async fn look_at_schema(&self, action: SchemaAction) -> Outcome {
        let Some(database) = &self.shared.database else { return not_done("the cluster has no database") };
        let SchemaAction::Migrate { to } = action;
        match self.read(database.schema()).await {
            Ok(schema) if schema == to => done(Evidence::Schema { schema }),
            Ok(schema) => not_done(format!("the schema is {schema}, not {to}")),
            Err(error) => unknown(error),
        }
    }
}

/// Observes the schema; `None` where no database is declared, or it could not be seen, as the note says then.
pub(in crate::engine) async fn observe_schema(shared: &Shared) -> (Option<Schema>, Option<String>) {
    let Some(database) = &shared.database else { return (None, None) };
    match timeout(READ_LIMIT, database.schema()).await {
        Ok(Ok(schema)) => (Some(schema), None),
        Ok(Err(error)) => (None, Some(format!("the schema cannot be read: {error}"))),
        Err(_) => (None, Some(format!("the database did not answer in {READ_LIMIT:?}"))),
    }
}
