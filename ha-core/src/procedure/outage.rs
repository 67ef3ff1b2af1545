use serde::{Deserialize, Serialize};

use super::recover::{Aim, Lineup, Recovery};
use super::step::home_serves;
use super::{PlanError, Procedure, Proposal, Snapshot};
use crate::action::KnownGood;
use crate::law;
use crate::plan::{ChangeCommands, Ends, Plan, known_good_of};
use crate::state::ClusterState;
use crate::topology::{Node, Role, Topology};

/// Asks for what follows the loss of nodes while no change runs: they are held out on every balancer, so that none comes back by
/// itself; those that stand by are admitted where the rest does not carry what it must; spares take the places of members until
/// one more loss is survived. Active/active and active/passive alike: what is needed follows from the pools.
///
/// Whoever asks has decided that the nodes are lost: the [monitor](crate::machine::monitor) proposes it, or a person does. Nodes
/// that fail together (one failure domain) are lost together. What changes is server configuration: the balancers and the spares,
/// nothing on the lost nodes. It goes forward only; no write is taken over, so that no window is declared.
///
/// What cannot be fenced is not moved: where the lost node wrote the shared files, or pulled work, the plan says that both stand
/// still until it is back or a person moves them.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::procedure::{OutageRequest, Snapshot, plan};
///
/// # let (topology, state, facts) = observed::cluster()?;
/// // esb1 serves alone: without it the backup esb2 carries everything, and the spare takes its place.
/// let planned = plan(&OutageRequest::of("esb1"), Snapshot::new(&topology, &state, &facts))?;
/// println!("{}", planned.plan().to_text(&topology));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OutageRequest {
    /// The nodes, or failure domains, that are lost.
    pub lost: Vec<String>,
}

impl OutageRequest {
    /// Declares one node, or failure domain, as lost. What shares the node's failure domain is lost with it.
    pub fn of(node: impl Into<String>) -> Self {
        Self { lost: vec![node.into()] }
    }

    /// Declares several as lost, as a monitor proposes them.
    pub fn of_all(lost: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { lost: lost.into_iter().map(Into::into).collect() }
    }
}

impl Procedure for OutageRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        home_serves(seen)?;
        let start = self.after_the_loss(seen)?;
        let known_good: Vec<Option<KnownGood>> =
            seen.topology.nodes().map(|(index, _)| known_good_of(seen.topology, &start, index)).collect();
        let commands = ChangeCommands::default();
        let recovery = Recovery {
            procedure: "outage",
            topology: seen.topology,
            facts: seen.facts,
            start: &start,
            known_good: &known_good,
            began: seen.state,
            commands: &commands,
            aim: Aim::GoBack,
            windows: &[],
        };
        let mut drafts = recovery.drafts();
        let mut advice = "repair what is named above";
        if drafts.is_empty() {
            // What is left does not carry what it must, whoever is brought: the proof says where, and what would help is searched.
            drafts.push(recovery.draft(&Lineup::default()));
            advice = "what is left does not carry what is required after a loss, with every usable spare: start the servers that \
                      are stopped, or lower what is required after a loss (pool.survive_one)";
        }
        let still = stands_still(seen.topology, &start);
        let plans: Vec<Plan> = drafts
            .into_iter()
            .map(|mut draft| {
                let reached =
                    format!("secured: what is lost is held out, and what is left carries the load{}", still.concat());
                draft.ends = Ends::new(reached, "as found");
                Plan::from(draft)
            })
            .collect();
        Ok(Proposal::new(plans.into_iter(), advice))
    }
}

impl OutageRequest {
    /// Returns the state of the cluster with the lost nodes gone.
    fn after_the_loss(&self, seen: Snapshot<'_>) -> Result<ClusterState, PlanError> {
        let mut state = seen.state.clone();
        if self.lost.is_empty() {
            return Err(PlanError::Incomplete("name at least one node that is lost".into()));
        }
        for name in &self.lost {
            let topology = seen.topology;
            let node = topology.find(name).map(|node| topology.node(node).domain);
            let named = || topology.domains().find(|domain| topology.domain_name(*domain).as_str() == name);
            let Some(domain) = node.or_else(named) else {
                let known: Vec<&str> = topology.nodes().map(|(_, node)| node.name.as_str()).collect();
                let what = format!("there is no node or failure domain {name}; the nodes are {}", known.join(", "));
                return Err(PlanError::Incomplete(what));
            };
            state.lose(domain, topology.nodes_of(domain));
        }
        Ok(state)
    }
}

/// Says what of a lost node nobody does in its place: it would have to be fenced first, and nobody can reach it.
fn stands_still(topology: &Topology, state: &ClusterState) -> Vec<String> {
    let mut still = Vec::new();
    let writes = law::writer(state).filter(|writer| !state.is_lost(topology.node(*writer).domain));
    if topology.files().is_some() && writes.is_none() {
        still.push(
            "; the shared files stay as they are: nobody that is left may write them until what is lost is back, or a person hands \
             them to another node"
                .to_owned(),
        );
    }
    let pulled = |node: &&Node| state.is_lost(node.domain) && node.component(Role::Work).is_some();
    let pulled: Vec<&str> =
        topology.nodes().map(|(_, node)| node).filter(pulled).map(|node| node.name.as_str()).collect();
    if !pulled.is_empty() {
        let names = pulled.join(", ");
        still.push(format!("; nobody pulls the work of {names} until it is back, or a person moves it"));
    }
    still
}
