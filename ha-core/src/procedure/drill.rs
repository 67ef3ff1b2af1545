use serde::{Deserialize, Serialize};

use super::site::{SiteChange, check_declared, check_members, find, known_out, not_ready};
use super::step::{reload_exposure, step};
use super::{PlanError, Procedure, Proposal, Snapshot};
use crate::action::{Action, ServerAction, SiteAction, TrafficAction};
use crate::law::is_exposed;
use crate::plan::{ChangeCommands, Draft, Ends, Goal, Plan, Stage};
use crate::state::{Process, Site};
use crate::topology::NodeIx;

/// The name of the procedure: what it measures is found in the journal by it.
pub(crate) const DRILL: &str = "drill";

/// Asks for a drill of a site that stands by: its database is brought up to date, its servers are started as they would be after the
/// loss of the other site, tested, admitted on its own balancers, and stopped again. No consumer is moved. The database of a cold
/// site is not touched: it is restored when it is promoted.
///
/// How long each step took is in the journal: the window of a [`SiteLossRequest`](super::SiteLossRequest) is computed from it. What a
/// drill cannot do beside a site that serves (fence it, promote the copy, lead consumers) counts with what the last real change of
/// sites took, or else with its deadline.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::DrillRequest;
///
/// assert_eq!(DrillRequest::of("south").site, "south");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DrillRequest {
    /// The site.
    pub site: String,
}

impl DrillRequest {
    /// Asks for a drill of a site.
    pub fn of(site: impl Into<String>) -> Self {
        Self { site: site.into() }
    }
}

impl Procedure for DrillRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        let (topology, state) = (seen.topology, seen.state);
        let site = find(topology, &self.site)?;
        check_declared(topology, &[site])?;
        let commands = ChangeCommands::default();
        let change = SiteChange {
            topology,
            facts: seen.facts,
            state,
            commands: &commands,
            from: site,
            to: site,
            discard: false,
        };
        match change.site(site) {
            Site::Hot | Site::Warm | Site::Cold => {}
            other @ (Site::Serving | Site::Held | Site::Demoted | Site::Promoted | Site::Quarantined) => {
                let fix = "drill the site that stands by";
                return Err(not_ready(topology, site, format!("it is {other}, and stands by for nobody"), fix));
            }
        }
        check_members(&change, site)?;
        let policy = topology.policy();
        let steps = |actions: &[Action]| actions.iter().map(|action| step(*action, policy)).collect::<Vec<_>>();
        let mut draft = Draft::new(DRILL, topology, state.clone(), seen.facts.clone(), Goal::unchanged());
        let to = Site::standing_by(topology.site(site).role);
        if to != Site::Cold {
            let follow = SiteAction::Follow { site, to, discard: false };
            draft.stages.push(Stage::new("bring the database up to date", Vec::new(), steps(&[follow.into()])));
        }
        let members: Vec<NodeIx> = change.living(site).collect();
        let stopped = |node: &NodeIx| state.node(*node).process == Process::Stopped;
        let (stopped, running): (Vec<NodeIx>, Vec<NodeIx>) = members.into_iter().partition(stopped);
        if !running.is_empty() {
            draft.stages.push(Stage::new("test what runs", running, steps(&[ServerAction::Gate.into()])));
        }
        let bring = [ServerAction::Start.into(), ServerAction::Gate.into(), TrafficAction::Admit.into()];
        if let Some((first, others)) = stopped.split_first() {
            draft.stages.push(Stage::new("bring the first server", vec![*first], steps(&bring)));
            if !others.is_empty() {
                draft.stages.push(Stage::new("bring the other servers", others.to_vec(), steps(&bring)));
            }
            let back = [TrafficAction::TakeOut.into(), ServerAction::Stop.into()];
            draft.stages.push(Stage::new("stop them again", stopped.clone(), steps(&back)));
        }
        for node in stopped.iter().filter(|node| !is_exposed(state, **node)) {
            draft.known_good[node.index()] = known_out(state, *node);
        }
        draft.ends = Ends::new(format!("drilled: site {} stands by as before", self.site), "as before");
        draft.windows.push(reload_exposure());
        let advice = "bring what is named above into order, then drill again";
        Ok(Proposal::new(std::iter::once(Plan::from(draft)), advice))
    }
}
