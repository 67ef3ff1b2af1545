use serde::{Deserialize, Serialize};

use super::recover::phase_of;
use super::step::{home_serves, step, without_what_is_gone};
use super::{PlanError, Procedure, Proposal, Snapshot};
use crate::action::{Action, FilesAction};
use crate::law;
use crate::plan::{Draft, Ends, Goal, Plan, Stage};
use crate::state::{ClusterState, Sync, Traffic};
use crate::topology::{NodeIx, Topology};

/// Asks that another member writes the shared files: every file sync is held once its transfer under way has ended, the node must
/// have what the writer has, by digest, and then first nobody writes and after that this node does, with a higher writer epoch. The
/// syncs come from it from then on, the one into the old writer included.
///
/// What changes is server configuration: who writes, and where files are copied from. No server is restarted and no request is
/// moved, so that no window is declared; what is deployed meanwhile has to wait. It can be rolled back from every step where the
/// node that writes at the start serves. Where it does not, or none writes, there is nothing to go back to: it goes forward only.
///
/// A writer that nobody can reach may still write. It is fenced first, or the request says who answers for it that it does not
/// ([`taking_over`](Self::taking_over)): when it is back its epoch is too low, and it is quarantined.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::HandOverRequest;
///
/// let planned_work = HandOverRequest::to("esb2");
/// let after_a_loss = HandOverRequest::to("esb2").taking_over("jane, who has pulled its cable");
/// assert!(planned_work.taken_over_by.is_none() && after_a_loss.taken_over_by.is_some());
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HandOverRequest {
    /// The member that writes from then on.
    pub to: String,
    /// Who answers for it that a writer which nobody can reach does not write any more; `None` refuses to take over from it.
    #[serde(default)]
    pub taken_over_by: Option<String>,
}

impl HandOverRequest {
    /// Asks that a member writes the shared files.
    pub fn to(node: impl Into<String>) -> Self {
        Self { to: node.into(), taken_over_by: None }
    }

    /// Takes the right to write over from a writer that nobody can reach, without a fence: a person answers for it.
    #[must_use]
    pub fn taking_over(mut self, answers: impl Into<String>) -> Self {
        self.taken_over_by = Some(answers.into());
        self
    }
}

impl Procedure for HandOverRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        home_serves(seen)?;
        let next = find_member(seen.topology, &self.to)?;
        let start = without_what_is_gone(seen, next);
        let seen = Snapshot { state: &start, ..seen };
        if let Some(plan) = release_residue(seen, next) {
            return Ok(Proposal::one(plan, ADVICE));
        }
        may_write(seen, next)?;
        let unreached = unreached_writer(seen)?;
        if let Some(node) = unreached.filter(|_| self.taken_over_by.is_none()) {
            return Err(PlanError::NotReady {
                node: seen.topology.node(node).name.to_string(),
                what: "nobody can reach it, and it may write the shared files".into(),
                fix: "fence it first, or say who answers for it that it does not write (HandOverRequest::taking_over)"
                    .into(),
            });
        }
        let (topology, state) = (seen.topology, seen.state);
        let old = law::writer(state);
        let mut draft = Draft::new("hand over", topology, state.clone(), seen.facts.clone(), Goal::unchanged());
        let name = &topology.node(next).name;
        let reached = match (&self.taken_over_by, unreached) {
            (Some(by), Some(from)) => {
                let from = &topology.node(from).name;
                format!("handed over: {name} writes the shared files, taken over from {from} without a fence by {by}")
            }
            (_, None) | (None, _) => format!("handed over: {name} writes the shared files"),
        };
        let back = old.map_or_else(
            || "as before: nobody writes the shared files".into(),
            |old| format!("as before: {} writes the shared files", topology.node(old).name),
        );
        draft.ends = Ends::new(reached, back);
        draft.phase = phase_of(topology, seen.facts, state);
        draft.stages = stages(seen, next, unreached.is_some(), None);
        // Only a node that is ready and tested is given the right to write, by a rollback too.
        let able = |old: NodeIx| state.node(old).process.is_ready() && state.node(old).is_tested();
        if !old.is_some_and(able) {
            draft.point_of_no_return = 0;
        }
        Ok(Proposal::one(Plan::from(draft), ADVICE))
    }
}

const ADVICE: &str = "bring what is named above into order, then plan again";

/// Plans the end of a hand-over that was left half done: the node writes already, and syncs that were held for it are still held.
fn release_residue(seen: Snapshot<'_>, writer: NodeIx) -> Option<Plan> {
    let Snapshot { topology, state, facts } = seen;
    let held = topology.nodes().filter(|(index, node)| {
        !state.is_lost(node.domain) && law::writer(state) == Some(writer) && is_residue(seen, *index, writer)
    });
    let held: Vec<NodeIx> = held.map(|(index, _)| index).collect();
    if held.is_empty() {
        return None;
    }
    let mut draft = Draft::new("hand over", topology, state.clone(), facts.clone(), Goal::unchanged());
    let name = &topology.node(writer).name;
    draft.ends = Ends::new(format!("handed over: {name} writes the shared files"), "as before");
    draft.phase = phase_of(topology, facts, state);
    let release = step(FilesAction::Release.into(), topology.policy());
    draft.stages = vec![Stage::new("release the file syncs", held, vec![release])];
    draft.point_of_no_return = 0;
    Some(Plan::from(draft))
}

/// Finds a member by its name.
pub(super) fn find_member(topology: &Topology, name: &str) -> Result<NodeIx, PlanError> {
    topology.members().find(|(_, node)| node.name.as_str() == name).map(|(index, _)| index).ok_or_else(|| {
        let known: Vec<&str> = topology.members().map(|(_, node)| node.name.as_str()).collect();
        let what = match topology.find(name) {
            Some(_) => "is no member of the site that serves at rest: it is a spare, or in another site",
            None => "is not declared",
        };
        PlanError::Incomplete(format!("{name} {what}; the members are {}", known.join(", ")))
    })
}

/// Checks that a member can write the shared files from now on.
pub(super) fn may_write(seen: Snapshot<'_>, next: NodeIx) -> Result<(), PlanError> {
    let Snapshot { topology, state, facts } = seen;
    let name = |node: NodeIx| topology.node(node).name.to_string();
    if topology.files().is_none() {
        let what = "the topology declares no [files] that are copied from one node to the others: nobody writes them";
        return Err(PlanError::Incomplete(what.into()));
    }
    let not_ready = |what: String, fix: &str| Err(PlanError::NotReady { node: name(next), what, fix: fix.into() });
    let node = state.node(next);
    if law::writer(state) == Some(next) {
        return Err(PlanError::AlreadySo { what: format!("{} writes the shared files", name(next)) });
    }
    if state.is_lost(topology.node(next).domain) {
        return not_ready("it is lost".into(), "name a member that serves or stands by");
    }
    if !(node.process.is_ready() && node.is_tested()) {
        let what = "its server is not ready, or its test does not pass".into();
        return not_ready(what, "start or repair it, or name another member, then plan again");
    }
    if node.sync == Sync::Unknown {
        return not_ready("its file sync cannot be read".into(), "make its host reachable, then plan again");
    }
    let number = |node: NodeIx| {
        let set = state.node(node).generation;
        set.map_or_else(
            || "half a set of files".into(),
            |set| format!("generation {}", facts.generations.sequence(set)),
        )
    };
    match law::writer(state) {
        Some(last) if state.node(last).generation != node.generation || node.generation.is_none() => {
            let what = format!("it has {}, {} writes and has {}", number(next), name(last), number(last));
            not_ready(what, "let its file sync bring the writer's files, and test it with them; then plan again")
        }
        Some(_) => Ok(()),
        None => match newest(seen).filter(|newest| state.node(*newest).generation != node.generation) {
            Some(newest) => {
                let what = format!("it has {}, {} has {}", number(next), name(newest), number(newest));
                not_ready(
                    what,
                    "nobody writes: hand the writer to the node with the newest files, so that none are lost",
                )
            }
            None => Ok(()),
        },
    }
}

/// Returns the node with the newest set of files, of those that can be asked.
fn newest(seen: Snapshot<'_>) -> Option<NodeIx> {
    let Snapshot { topology, state, facts } = seen;
    let living = topology.nodes().filter(|(_, node)| !state.is_lost(node.domain)).map(|(index, _)| index);
    let sequence = |node: &NodeIx| Some(facts.generations.sequence(state.node(*node).generation?));
    living.filter(|node| state.node(*node).sync != Sync::Unknown).max_by_key(sequence)
}

/// Returns a node that nobody can reach and that may be the writer: none of those that answer is.
fn unreached_writer(seen: Snapshot<'_>) -> Result<Option<NodeIx>, PlanError> {
    let Snapshot { topology, state, .. } = seen;
    let mut gone = None;
    for (index, node) in topology.nodes().filter(|(index, _)| state.node(*index).sync == Sync::Unknown) {
        if !state.is_lost(node.domain) {
            return Err(PlanError::NotReady {
                node: node.name.to_string(),
                what: "how it takes part in file sharing cannot be read".into(),
                fix: "make its host reachable; one that is lost is held out first (OutageRequest)".into(),
            });
        }
        gone = gone.or(Some(index));
    }
    Ok(gone.filter(|_| law::writer(state).is_none()))
}

/// Lists the stages that hand the writer over: what is not held is held, `next` writes, and what was held for that is released, but
/// for the sync into `stays_held`.
pub(super) fn stages(seen: Snapshot<'_>, next: NodeIx, takes_over: bool, stays_held: Option<NodeIx>) -> Vec<Stage> {
    let Snapshot { topology, state, .. } = seen;
    let stage = |name: &str, nodes: Vec<NodeIx>, action: FilesAction| {
        Stage::new(name, nodes, vec![step(Action::from(action), topology.policy())])
    };
    let old = law::writer(state);
    let living = || topology.nodes().filter(|(_, node)| !state.is_lost(node.domain)).map(|(index, _)| index);
    let held: Vec<NodeIx> =
        living().filter(|node| state.node(*node).sync.is_open() || is_residue(seen, *node, next)).collect();
    let released =
        |node: &NodeIx| *node != next && Some(*node) != stays_held && (held.contains(node) || Some(*node) == old);
    let released: Vec<NodeIx> = living().filter(released).collect();
    let mut stages = Vec::new();
    if !held.is_empty() {
        stages.push(stage("hold every file sync", held, FilesAction::Hold));
    }
    let hand = if takes_over { FilesAction::TakeWriter } else { FilesAction::HandWriter };
    stages.push(stage("hand the writer over", vec![next], hand));
    if !released.is_empty() {
        stages.push(stage("release the file syncs", released, FilesAction::Release));
    }
    stages
}

/// Tells whether the sync into a node was held by a run that did not release it: the node runs, and has what the writer has.
fn is_residue(seen: Snapshot<'_>, node: NodeIx, writer: NodeIx) -> bool {
    let (state, known) = (seen.state, seen.state.node(node));
    known.sync == Sync::Held && known.process.is_ready() && known.generation == state.node(writer).generation
}

/// Chooses who writes after a node: a member that stands by before one that serves.
pub(super) fn successor(topology: &Topology, state: &ClusterState, of: NodeIx) -> Option<NodeIx> {
    let able = |node: &NodeIx| {
        let known = state.node(*node);
        *node != of && known.process.is_ready() && known.is_tested() && known.sync.is_open()
    };
    let members: Vec<NodeIx> = topology.members().map(|(index, _)| index).filter(able).collect();
    let stands_by = |node: &&NodeIx| !state.members(**node).iter().any(|member| member.traffic == Traffic::In);
    members.iter().find(stands_by).or(members.first()).copied()
}
