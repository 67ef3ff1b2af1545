use std::time::Duration;

use tokio::time::timeout;

use super::schema::permit;
use super::{Executor, Outcome, READ_LIMIT, Shared, done, not_done, unknown};
use crate::action::CloneAction;
use crate::backend::{CloneDatabase, Effect, TakeCloneStep};
use crate::record::Evidence;
use crate::state::{CloneStep, Copies, Schema};

impl Executor {
    pub(super) async fn act_on_clone(&self, action: CloneAction, deadline: Duration) -> Outcome {
        let Some(database) = cloning(&self.shared) else { return not_done(NO_CLONE) };
        let CloneAction(step) = action;
        let mut request = TakeCloneStep::new(step).with_deadline(deadline);
        if step == CloneStep::Migrate {
            request = request.with_permit(permit(&self.plan, Schema::Contracted));
        }
        let taken = database.clone_step(self.epoch, request).await;
        match (taken, self.look_at_clone(action).await) {
            (Ok(cloned), (kind, Evidence::Copies { copies, .. })) => {
                (kind, Evidence::Copies { copies, tables: cloned.tables, rows: cloned.rows })
            }
            (Ok(_), outcome) => outcome,
            // A request that provably changed nothing has failed; any other failure is judged by how the copies are then.
            (Err(error), _) if error.effect() == Effect::None => not_done(error),
            (Err(error), (crate::record::OutcomeKind::Done, evidence)) => {
                tracing::debug!(%error, "the step failed, and its effect is there");
                done(evidence)
            }
            (Err(error), (kind, _)) => (kind, Evidence::failed(error)),
        }
    }

    pub(super) async fn look_at_clone(&self, action: CloneAction) -> Outcome {
        let Some(database) = cloning(&self.shared) else { return not_done(NO_CLONE) };
        match self.read(database.copies()).await {
            Ok(copies) if copies.has(action.0) => done(Evidence::Copies { copies, tables: 0, rows: 0 }),
            Ok(copies) => not_done(copies),
            Err(error) => unknown(error),
        }
    }
}

const NO_CLONE: &str = "no clone of the database is declared";

fn cloning(shared: &Shared) -> Option<&dyn CloneDatabase> {
    shared.database.as_ref().and_then(|database| database.cloning())
}

/// Observes the two copies of the database, and where the clone is; `None` where none is declared, or they could not be seen, as the
/// note says then.
pub(in crate::engine) async fn observe_copies(shared: &Shared) -> (Option<(Copies, String)>, Option<String>) {
    let Some(database) = cloning(shared) else { return (None, None) };
    match timeout(READ_LIMIT, database.copies()).await {
        Ok(Ok(copies)) => (Some((copies, database.clone_url())), None),
        Ok(Err(error)) => (None, Some(format!("the clone of the database cannot be read: {error:#}"))),
        Err(_) => (None, Some(format!("the clone of the database did not answer in {READ_LIMIT:?}"))),
    }
}
