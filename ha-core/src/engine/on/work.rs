use tokio::time::{Instant, timeout};

use super::{Executor, Outcome, READ_LIMIT, Shared, done, not_done, unknown};
use crate::action::WorkAction;
use crate::record::Evidence;
use crate::state::Work;
use crate::topology::NodeIx;

impl Executor {
    pub(super) async fn act_on_work(&self, node: NodeIx, action: WorkAction, until: Instant) -> Outcome {
        let Some(workload) = &self.shared.work[node.index()] else {
            return done(Evidence::PulledWork { work: Work::None });
        };
        let asked = match action {
            WorkAction::Quiesce => workload.quiesce(self.epoch).await,
            WorkAction::Resume => workload.resume(self.epoch).await,
        };
        self.wait_until(until, asked, || self.look_at_work(node, action)).await
    }

    pub(super) async fn look_at_work(&self, node: NodeIx, action: WorkAction) -> Outcome {
        let Some(workload) = &self.shared.work[node.index()] else {
            return done(Evidence::PulledWork { work: Work::None });
        };
        let wanted = match action {
            WorkAction::Quiesce => Work::Off,
            WorkAction::Resume => Work::On,
        };
        match self.read(workload.work()).await {
            Ok(work) if work == wanted || work == Work::None => done(Evidence::PulledWork { work }),
            Ok(work) => not_done(Evidence::PulledWork { work }),
            Err(error) => unknown(error),
        }
    }
}

/// Observes the work that a node pulls; the note says why it could not be seen.
pub(in crate::engine) async fn observe_work(shared: &Shared, node: NodeIx) -> (Work, Option<String>) {
    let name = &shared.topology.node(node).name;
    let Some(workload) = &shared.work[node.index()] else { return (Work::None, None) };
    match timeout(READ_LIMIT, workload.work()).await {
        Ok(Ok(work)) => (work, None),
        Ok(Err(error)) => (Work::Unknown, Some(format!("{name}: its pulled work cannot be read: {error:#}"))),
        Err(_) => (Work::Unknown, Some(format!("{name}: its pulled work was not answered for in {READ_LIMIT:?}"))),
    }
}
