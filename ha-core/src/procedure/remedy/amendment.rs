use super::{Amended, host};

use crate::action::Action;
use crate::plan::{DegradedWindow, Draft, Plan, Reach, Stage, Step, known_good_of};
use crate::state::Facts;
use crate::topology::{Name, Topology};

/// One change that a remedy asks for. Stages and steps are counted from 0 on, in the plan as the amendments before it leave it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Amendment {
    /// The request: declare that a release may serve beside another one.
    Beside {
        /// The release.
        release: String,
        /// The other one.
        other: String,
    },
    /// The topology: declare one spare more, in a failure domain of its own, at rest.
    Spare {
        /// A name that is free.
        name: Name,
        /// What it carries in each pool, in the order of the topology.
        capacities: Vec<u64>,
    },
    /// The topology: add one member more, in a failure domain of its own; it serves, or stands by, as the others do.
    Member {
        /// A name that is free.
        name: Name,
        /// What it carries in each pool, in the order of the topology.
        capacities: Vec<u64>,
    },
    /// The plan: insert a stage.
    AddStage {
        /// Its place.
        at: usize,
        /// The stage.
        stage: Stage,
        /// Whether the run goes forward only from it on, where it is inserted at the point of no return.
        forward_only: bool,
    },
    /// The plan: insert a step into a stage.
    AddStep {
        /// The stage.
        stage: usize,
        /// Its place there.
        at: usize,
        /// The step.
        step: Step,
    },
    /// The plan: move a stage.
    MoveStage {
        /// Where it is.
        from: usize,
        /// Its place afterwards.
        to: usize,
        /// The point of no return afterwards.
        point_of_no_return: usize,
    },
    /// The plan: move a step inside its stage.
    MoveStep {
        /// The stage.
        stage: usize,
        /// Where it is.
        from: usize,
        /// Its place afterwards.
        to: usize,
    },
    /// The plan: split a wave into several, one after another.
    Split {
        /// The stage.
        stage: usize,
        /// How many nodes each has at most.
        at_most: usize,
    },
    /// The plan: declare where full service is not promised.
    Window(DegradedWindow),
}

impl Amendment {
    pub(super) fn is_host(&self) -> bool {
        matches!(self, Self::Spare { .. } | Self::Member { .. })
    }

    /// Returns what a host carries in each pool.
    pub(super) fn capacities(&self) -> Option<&[u64]> {
        if let Self::Spare { capacities, .. } | Self::Member { capacities, .. } = self {
            Some(capacities)
        } else {
            None
        }
    }

    /// Changes what is declared and seen; `None` for a change of a plan.
    pub(super) fn apply(&self, to: &mut Amended) -> Option<()> {
        match self {
            Self::Beside { release, other } => declare(&mut to.facts, release, other),
            Self::Spare { name, capacities } | Self::Member { name, capacities } => {
                let spare = matches!(self, Self::Spare { .. });
                let (topology, state) = host::with_host(&to.topology, &to.state, (name.clone(), capacities, spare))?;
                (to.topology, to.state) = (topology, state);
                Some(())
            }
            Self::AddStage { .. }
            | Self::AddStep { .. }
            | Self::MoveStage { .. }
            | Self::MoveStep { .. }
            | Self::Split { .. }
            | Self::Window(_) => None,
        }
    }

    /// Changes a plan, and the topology where it needs another; `None` where it does not fit.
    fn amend(&self, topology: &mut Topology, draft: &mut Draft) -> Option<()> {
        match self {
            Self::Beside { release, other } => declare(&mut draft.facts, release, other)?,
            Self::Spare { name, capacities } | Self::Member { name, capacities } => {
                let spare = matches!(self, Self::Spare { .. });
                if draft.carries_on.is_some() {
                    return None;
                }
                let (next, start) = host::with_host(topology, &draft.start, (name.clone(), capacities, spare))?;
                (draft.topology, draft.reach) = (Plan::digest_of(&next), Reach::of(&next));
                let added = next.find(name.as_str())?;
                draft.known_good.push((!spare).then(|| known_good_of(&next, &start, added)).flatten());
                (*topology, draft.start) = (next, start);
            }
            Self::AddStage { at, stage, forward_only } => {
                if *at > draft.stages.len() {
                    return None;
                }
                let before = *at < draft.point_of_no_return || (*at == draft.point_of_no_return && !forward_only);
                draft.point_of_no_return += usize::from(before);
                for node in &stage.nodes {
                    let known = draft.known_good.get_mut(node.index())?;
                    *known = known.or_else(|| known_good_of(topology, &draft.start, *node));
                }
                draft.stages.insert(*at, stage.clone());
            }
            Self::AddStep { stage, at, step } => {
                let steps = &mut draft.stages.get_mut(*stage)?.steps;
                (*at <= steps.len()).then(|| steps.insert(*at, *step))?;
            }
            Self::MoveStage { from, to, point_of_no_return } => {
                let last = draft.stages.len().checked_sub(1)?;
                if *from > last || *to > last || *point_of_no_return > draft.stages.len() {
                    return None;
                }
                let stage = draft.stages.remove(*from);
                draft.stages.insert(*to, stage);
                draft.point_of_no_return = *point_of_no_return;
            }
            Self::MoveStep { stage, from, to } => {
                let steps = &mut draft.stages.get_mut(*stage)?.steps;
                if *from >= steps.len() || *to >= steps.len() {
                    return None;
                }
                let step = steps.remove(*from);
                steps.insert(*to, step);
            }
            Self::Split { stage, at_most } => {
                let whole = draft.stages.get(*stage)?.clone();
                if *at_most == 0 || whole.nodes.len() <= *at_most {
                    return None;
                }
                let parts: Vec<Stage> = (whole.nodes.chunks(*at_most))
                    .map(|nodes| Stage::new(whole.name.clone(), nodes.to_vec(), whole.steps.clone()))
                    .collect();
                draft.point_of_no_return += if *stage < draft.point_of_no_return { parts.len() - 1 } else { 0 };
                draft.stages.splice(*stage..=*stage, parts);
            }
            Self::Window(window) => draft.windows.push(window.clone()),
        }
        Some(())
    }

    /// Says what is to be done, with the stages of the plan as it is before that.
    pub(super) fn message(&self, topology: &Topology, draft: &Draft) -> String {
        let named = |stage: usize| {
            let name = draft.stages.get(stage).map_or("the end", |stage| stage.name.as_str());
            if stage < draft.stages.len() { format!("stage {} ({name})", stage + 1) } else { name.to_owned() }
        };
        let place = |stage: usize, step: usize| {
            let step_at = draft.stages.get(stage).and_then(|stage| stage.steps.get(step));
            step_at.map_or_else(
                || "at its end".into(),
                |found| format!("before step {} ({})", step + 1, found.action.what(&draft.facts)),
            )
        };
        match self {
            Self::Beside { .. } | Self::Spare { .. } => together(topology, std::slice::from_ref(self)).concat(),
            Self::Member { capacities, .. } => format!(
                "add a member of capacity {} first, in a failure domain of its own (AddNodeRequest)",
                in_each_pool(topology, capacities)
            ),
            Self::AddStage { at, stage, .. } => {
                let nodes: Vec<&str> = stage.nodes.iter().map(|node| topology.node(*node).name.as_str()).collect();
                let steps: Vec<String> = stage.steps.iter().map(|step| said(step.action, topology, draft)).collect();
                let at = if *at < draft.stages.len() { format!("before {}", named(*at)) } else { "at the end".into() };
                let on = if nodes.is_empty() { String::new() } else { format!(" on {}", nodes.join(", ")) };
                format!("{at} insert a stage: {}{on}", steps.join(", "))
            }
            Self::AddStep { stage, at, step } => {
                format!("in {} insert {:?} {}", named(*stage), said(step.action, topology, draft), place(*stage, *at))
            }
            Self::MoveStage { from, to, point_of_no_return } => {
                let mut text = if to < from {
                    format!("move {} before {}", named(*from), named(*to))
                } else {
                    format!("move {} behind {}", named(*from), named(*to))
                };
                let stays = no_return_stays(draft.point_of_no_return, *from, *to);
                if point_of_no_return == to && *to != stays {
                    text.push_str(", and the point of no return with it");
                }
                text
            }
            Self::MoveStep { stage, from, to } => {
                let found = draft.stages.get(*stage).and_then(|stage| stage.steps.get(*from));
                let what = found.map_or_else(String::new, |found| found.action.what(&draft.facts));
                let to = if to > from { to + 1 } else { *to };
                format!("in {} move step {} ({what}) {}", named(*stage), from + 1, place(*stage, to))
            }
            Self::Split { stage, at_most: 1 } => format!("split {} into waves of one node each", named(*stage)),
            Self::Split { stage, at_most } => {
                format!("split {} into waves of at most {at_most} nodes", named(*stage))
            }
            Self::Window(window) => format!(
                "if it is acceptable that {}, for {:?} at most each time, declare it: Draft::with_window(DegradedWindow::new(\
                 Degraded::{:?}, ..))",
                window.what, window.at_most, window.what
            ),
        }
    }
}

/// Says an action: with what it acts on, where that is no node of the stage.
fn said(action: Action, topology: &Topology, draft: &Draft) -> String {
    match action.shared() {
        Some(order) => order.message(topology, &draft.facts),
        None => action.what(&draft.facts),
    }
}

/// Returns where the point of no return is once a stage was moved and the same others are before it.
pub(super) fn no_return_stays(no_return: usize, from: usize, to: usize) -> usize {
    let without = no_return - usize::from(from < no_return);
    without + usize::from(to < without || (to == without && from < no_return))
}

/// Makes all of them, one after another.
pub(super) fn amend(topology: &Topology, plan: &Plan, amendments: &[Amendment]) -> Option<(Topology, Plan)> {
    let (mut topology, mut draft) = (topology.clone(), Draft::from(plan.clone()));
    amendments.iter().try_for_each(|amendment| amendment.amend(&mut topology, &mut draft))?;
    // What carries a run on asks for what its run has said.
    let carries_on = draft.carries_on.is_some();
    let plan = Plan::from(draft);
    let plan = if carries_on { plan } else { plan.with_approvals(&topology) };
    Some((topology, plan))
}

/// Says all of them, one after another; what is alike in one.
pub(super) fn message(topology: &Topology, plan: &Plan, amendments: &[Amendment]) -> String {
    let (mut amended, mut draft) = (topology.clone(), Draft::from(plan.clone()));
    let mut parts: Vec<String> = together(topology, amendments);
    let alone = |amendment: &&Amendment| !matches!(amendment, Amendment::Beside { .. } | Amendment::Spare { .. });
    for amendment in amendments {
        parts.extend(Some(amendment).filter(alone).map(|amendment| amendment.message(&amended, &draft)));
        // All of them fit: they were proven.
        if amendment.amend(&mut amended, &mut draft).is_none() && !amendment.is_host() {
            break;
        }
    }
    parts.join("; and ")
}

/// Says the declarations in one, and the spares.
fn together(topology: &Topology, amendments: &[Amendment]) -> Vec<String> {
    let mut parts = Vec::new();
    let declared = amendments.iter().filter_map(|amendment| match amendment {
        Amendment::Beside { release, other } => Some((release, other)),
        Amendment::Spare { .. }
        | Amendment::Member { .. }
        | Amendment::AddStage { .. }
        | Amendment::AddStep { .. }
        | Amendment::MoveStage { .. }
        | Amendment::MoveStep { .. }
        | Amendment::Split { .. }
        | Amendment::Window(_) => None,
    });
    let declared: Vec<_> = declared.collect();
    if let Some((release, _)) = declared.first() {
        let others: Vec<&str> = declared.iter().map(|(_, other)| other.as_str()).collect();
        parts.push(format!(
            "if {release} may serve beside {} (they share sessions, messages and caches), declare it: beside = {others:?} among \
             the facts of {release} (with_beside on the request)",
            others.join(" and ")
        ));
    }
    let spares: Vec<&Amendment> = amendments.iter().filter(|one| matches!(one, Amendment::Spare { .. })).collect();
    if let Some(Amendment::Spare { capacities, .. }) = spares.first() {
        let more = if topology.spares().next().is_none() { "" } else { " more" };
        let (number, s, each) = if spares.len() == 1 { ("one", "", "") } else { ("two", "s", "each ") };
        parts.push(format!(
            "add {number}{more} spare{s} of capacity {}, {each}in a failure domain of its own (node.spare = true), as the members \
             are now",
            in_each_pool(topology, capacities)
        ));
    }
    parts
}

fn declare(facts: &mut Facts, release: &str, other: &str) -> Option<()> {
    let (one, other) = (facts.releases.enter(release).ok()?, facts.releases.enter(other).ok()?);
    facts.releases.declare_beside(one, other);
    Some(())
}

fn in_each_pool(topology: &Topology, capacities: &[u64]) -> String {
    let each: Vec<_> = topology.pools().zip(capacities).filter(|(_, capacity)| **capacity > 0).collect();
    match each[..] {
        [(_, one)] => one.to_string(),
        _ => {
            let of = |((_, pool), capacity): &((_, &crate::topology::Pool), &u64)| {
                format!("{capacity} in pool {}", pool.name)
            };
            each.iter().map(of).collect::<Vec<_>>().join(", ")
        }
    }
}
