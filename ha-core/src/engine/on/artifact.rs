use std::time::Duration;

use tokio::time::timeout;

use super::{Executor, Shared};
use crate::action::{FilesAction, Order};
use crate::backend::Kept;
use crate::plan::Plan;
use crate::state::{Generation, GenerationId};
use crate::topology::NodeIx;

/// A look at all content of a set that takes longer is given up.
const CONTENT_LIMIT: Duration = Duration::from_secs(120);

impl Executor {
    /// Finds where a node's commands read a set; `None` where no store is declared, or it has no place for that node.
    pub(super) async fn place_of(&self, node: NodeIx, set: GenerationId) -> Result<Option<String>, String> {
        let Some((store, set)) = self.shared.artifacts.as_ref().zip(self.plan.facts.generations.get(set)) else {
            return Ok(None);
        };
        self.read(store.place(&self.shared.topology.node(node).name, set)).await
    }
}

/// Lists the sets that a plan deploys, or goes back to, and that the artifact store does not have whole, one line each. Empty where
/// no store is declared, and for a plan that deploys nothing.
pub(in crate::engine) async fn unkept(shared: &Shared, plan: &Plan) -> Vec<String> {
    let Some(store) = &shared.artifacts else { return Vec::new() };
    let mut lines = Vec::new();
    for (set, use_of_it) in sets(plan) {
        let name = format!("{} ({})", set.sequence, set.digest);
        let why = match timeout(CONTENT_LIMIT, store.keeps(set)).await {
            Ok(Ok(Kept::Whole)) => continue,
            Ok(Ok(Kept::Absent)) => "is not in the store: put a folder that holds it there".into(),
            Ok(Ok(Kept::Damaged(what))) => format!("is damaged there ({what}): put a whole one in its place"),
            Ok(Err(error)) => format!("cannot be read there, make it readable: {error:#}"),
            Err(_) => format!("was not read there in {CONTENT_LIMIT:?}: make the store answer"),
        };
        lines.push(format!("artifacts: the set {name}, which {use_of_it}, {why}"));
    }
    lines
}

/// Lists the sets that a plan with a deployment needs, each once, with what for: first what it goes back to.
fn sets(plan: &Plan) -> Vec<(&Generation, &'static str)> {
    let steps = plan.stages.iter().flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)));
    let orders = steps.flat_map(|(stage, step)| stage.orders(step.action));
    let deployed: Vec<GenerationId> = orders
        .filter_map(|order| match order {
            Order::Files(at) => match at.action {
                FilesAction::Deploy { to } => Some(to),
                FilesAction::Hold | FilesAction::Release | FilesAction::HandWriter | FilesAction::TakeWriter => None,
            },
            Order::Server(_)
            | Order::Traffic(_)
            | Order::Work(_)
            | Order::Schema(_)
            | Order::Clone(_)
            | Order::Exposure(_)
            | Order::Site(_)
            | Order::Provision(_) => None,
        })
        .collect();
    if deployed.is_empty() {
        return Vec::new();
    }
    let back = plan.known_good.iter().flatten().map(|known| (known.generation, "a rollback deploys"));
    let mut needed: Vec<(GenerationId, &'static str)> = Vec::new();
    for (set, what) in back.chain(deployed.into_iter().map(|set| (set, "is to be deployed"))) {
        if !needed.iter().any(|(known, _)| *known == set) {
            needed.push((set, what));
        }
    }
    needed.into_iter().filter_map(|(set, what)| Some((plan.facts.generations.get(set)?, what))).collect()
}
