use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Executor, Outcome, READ_AGAIN, READ_LIMIT, Shared, done, not_done, read_again, unknown};
use crate::action::SchemaAction;
use crate::backend::{ContractPermit, Migrate};
use crate::engine::error::RunError;
use crate::plan::Plan;
use crate::record::Evidence;
use crate::state::{Schema, SchemaChange};

impl Executor {
    pub(super) async fn act_on_schema(&self, action: SchemaAction, deadline: Duration) -> Outcome {
        let Some(database) = &self.shared.database else { return not_done("the cluster has no database") };
        let until = Instant::now() + deadline;
        let SchemaAction::Migrate { to } = action;
        let mut request = Migrate::new(to).with_deadline(deadline);
        if to >= Schema::Contracting {
            // That none of them is left is the precondition of the action, which holds now.
            request = request.with_permit(permit(&self.plan, to));
        }
        let asked = database.migrate(self.epoch, request).await;
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

/// Permits a contraction to the releases that can use the schema then.
pub(super) fn permit(plan: &Plan, to: Schema) -> ContractPermit {
    let gone = plan.facts.releases.iter().filter(|(_, range)| !range.is_some_and(|range| range.contains(to)));
    ContractPermit::proven(gone.map(|(name, _)| name.to_string()).collect(), plan.digest().short())
}

/// How long the scripts may take to be judged: catalogues of large databases are read for it.
const REVIEW_LIMIT: Duration = Duration::from_secs(60);

/// Reviews the scripts that wait, and again where that failed; `None` where no database is declared, or they could not be judged, as
/// the note says then.
pub(in crate::engine) async fn review_schema(shared: &Shared) -> (Option<SchemaChange>, Option<String>) {
    read_again(READ_AGAIN, || review_once(shared), |(_, note)| note.is_none()).await
}

async fn review_once(shared: &Shared) -> (Option<SchemaChange>, Option<String>) {
    let Some(database) = &shared.database else { return (None, None) };
    match timeout(REVIEW_LIMIT, database.review()).await {
        Ok(Ok(change)) => (Some(change), None),
        Ok(Err(error)) => (None, Some(format!("the migration scripts cannot be reviewed: {error:#}"))),
        Err(_) => (None, Some(format!("the migration scripts were not reviewed in {REVIEW_LIMIT:?}"))),
    }
}

/// Holds the scripts that wait against those that a plan was made for.
pub(in crate::engine) async fn compare_scripts(shared: &Shared, plan: &Plan) -> Result<(), RunError> {
    let Some(planned) = plan.facts.schema_change.as_ref() else { return Ok(()) };
    match review_schema(shared).await {
        (Some(now), _) if now.digest == planned.digest => Ok(()),
        (Some(now), _) => Err(RunError::StalePlan(format!(
            "the migration scripts, or what they are judged by, are not those of the plan ({}, now {})",
            planned.verdict, now.verdict
        ))),
        (None, note) => {
            Err(RunError::Unread { unread: vec!["the migration scripts".into()], notes: note.into_iter().collect() })
        }
    }
}

/// Observes the schema; `None` where no database is declared, or it could not be seen, as the note says then.
pub(in crate::engine) async fn observe_schema(shared: &Shared) -> (Option<Schema>, Option<String>) {
    let Some(database) = &shared.database else { return (None, None) };
    match timeout(READ_LIMIT, database.schema()).await {
        Ok(Ok(schema)) => (Some(schema), None),
        Ok(Err(error)) => (None, Some(format!("the schema cannot be read: {error:#}"))),
        Err(_) => (None, Some(format!("the database did not answer in {READ_LIMIT:?}"))),
    }
}
