use serde::{Deserialize, Serialize};

use super::site::{SITE_LOSS, SiteChange, check_declared, check_members, find, not_ready};
use super::{PlanError, Procedure, Proposal, Snapshot};
use crate::plan::{ChangeCommands, Degraded, Ends, Plan};
use crate::state::{ClusterState, FenceLevel, ReplicaRole, Site};
use crate::topology::{SiteIx, SiteRole, Topology};

/// Asks for what follows the loss of a whole site: it is fenced, the database of another site takes writes with the next epoch, the
/// servers there are started in order and tested, and consumers are led there as soon as it carries what is required after a loss.
///
/// Whoever asks has decided that the site is lost: two sites alone cannot tell who of them is cut off. What changes is server
/// configuration (balancers, what leads consumers) and which copy of the database takes writes; no implementation code. It goes
/// forward only. Nobody is served until consumers are led on: the plan declares that window, computed from what the last
/// [drill](super::DrillRequest) has measured.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::SiteLossRequest;
///
/// // Nothing can reach north to fence it; m.keller has had its power cut, and accepts that no drill tells the window.
/// let request = SiteLossRequest::of("north").to("south").with_fenced_by("m.keller").with_window_accepted_by("m.keller");
/// assert_eq!(request.lost, "north");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SiteLossRequest {
    /// The site that is lost.
    pub lost: String,
    /// The site that replaces it. Default: the one that is ready soonest (the one that serves at rest, then hot, warm, cold).
    #[serde(default)]
    pub to: Option<String>,
    /// Who has made sure by other means that the lost site can no longer act. Needed where its fence does not reach its servers or
    /// its database.
    #[serde(default)]
    pub fenced_by: Option<String>,
    /// Who accepts a window that no drill and no change of sites among the cluster's last 50 runs has measured, whichever site it
    /// was of. Needed only then.
    #[serde(default)]
    pub window_accepted_by: Option<String>,
}

impl SiteLossRequest {
    /// Declares a site as lost.
    pub fn of(site: impl Into<String>) -> Self {
        Self { lost: site.into(), to: None, fenced_by: None, window_accepted_by: None }
    }

    /// Names the site that replaces it.
    #[must_use]
    pub fn to(mut self, site: impl Into<String>) -> Self {
        self.to = Some(site.into());
        self
    }

    /// Says who has made sure that the lost site can no longer act.
    #[must_use]
    pub fn with_fenced_by(mut self, person: impl Into<String>) -> Self {
        self.fenced_by = Some(person.into());
        self
    }

    /// Says who accepts a window that no drill has measured.
    #[must_use]
    pub fn with_window_accepted_by(mut self, person: impl Into<String>) -> Self {
        self.window_accepted_by = Some(person.into());
        self
    }
}

impl Procedure for SiteLossRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        let topology = seen.topology;
        let from = find(topology, &self.lost)?;
        let to = match &self.to {
            Some(name) => find(topology, name)?,
            None => soonest(topology, from)?,
        };
        if from == to {
            return Err(PlanError::Incomplete(format!("site {} cannot replace itself", self.lost)));
        }
        check_declared(topology, &[from, to])?;
        let state = lose(topology, seen.state, from)?;
        let commands = ChangeCommands::default();
        let change =
            SiteChange { topology, facts: seen.facts, state: &state, commands: &commands, from, to, discard: false };
        self.check_fence(seen, from)?;
        check_database(&change)?;
        check_members(&change, to)?;
        self.check_window(seen, to)?;
        if change.site(to) == Site::Serving {
            return Err(PlanError::NothingToDo {
                what: format!("its consumers led to site {}", topology.site(to).name),
            });
        }
        let mut draft = change.draft(SITE_LOSS, change.after_a_loss(), 0, Degraded::NoSite);
        draft.ends = Ends::new(
            format!(
                "served by site {}: site {} is fenced and stays quarantined until it is led back{}",
                topology.site(to).name,
                topology.site(from).name,
                self.vouched()
            ),
            "as found",
        );
        let advice = "bring what is named above into order; consumers are served by nobody meanwhile";
        Ok(Proposal::new(std::iter::once(Plan::from(draft)), advice))
    }
}

impl SiteLossRequest {
    fn check_fence(&self, seen: Snapshot<'_>, from: SiteIx) -> Result<(), PlanError> {
        let level = seen.facts.sites.get(from.index()).and_then(|facts| facts.fence);
        if level.is_some_and(|level| level >= FenceLevel::Servers) || self.fenced_by.is_some() {
            return Ok(());
        }
        let what = match level {
            Some(level) => format!("its fence reaches its {level} only, and its database may go on taking writes"),
            None => "nothing fences it, and it may go on taking writes".into(),
        };
        let fix = "declare a [site.fence] whose level is servers, database or power, or make sure by other means that it cannot act and say who did \
                   (SiteLossRequest::with_fenced_by)";
        Err(not_ready(seen.topology, from, what, fix))
    }

    /// Names who vouches for what could not be seen: it is part of the plan, and of what its approval is bound to.
    fn vouched(&self) -> String {
        let fenced = self.fenced_by.as_ref().map(|by| format!(", {by} vouches that it cannot act"));
        let window = self.window_accepted_by.as_ref().map(|by| format!(", {by} accepts a window that no drill tells"));
        [fenced, window].into_iter().flatten().collect()
    }

    fn check_window(&self, seen: Snapshot<'_>, to: SiteIx) -> Result<(), PlanError> {
        if seen.facts.drill.is_some() || self.window_accepted_by.is_some() {
            return Ok(());
        }
        let fix = "run a drill (DrillRequest) before the site is needed, or say who accepts an unknown window \
                   (SiteLossRequest::with_window_accepted_by)";
        Err(not_ready(seen.topology, to, "no drill has measured how long it takes to bring a site", fix))
    }
}

/// Makes sure that the copy of the database can be promoted.
fn check_database(change: &SiteChange<'_>) -> Result<(), PlanError> {
    let (topology, to) = (change.topology, change.to);
    let copy = change.facts.sites.get(to.index()).and_then(|facts| facts.replica);
    let Some(copy) = copy else {
        return Err(not_ready(topology, to, "its copy of the database cannot be read", "repair it, then plan again"));
    };
    let cold = topology.site(to).role == SiteRole::Cold;
    match copy.role {
        ReplicaRole::Standby => Ok(()),
        ReplicaRole::ReadOnly if cold => Ok(()),
        ReplicaRole::Primary if change.site(to).writes() => Ok(()),
        ReplicaRole::Primary | ReplicaRole::ReadOnly => {
            let what = format!(
                "its copy of the database follows nothing, and is {:?} with epoch {}",
                copy.role,
                copy.epoch.number()
            );
            Err(not_ready(
                topology,
                to,
                what,
                "find out who has changed it; let it follow again, or choose another site",
            ))
        }
    }
}

/// Finds the site that is ready soonest.
fn soonest(topology: &Topology, from: SiteIx) -> Result<SiteIx, PlanError> {
    let rank = |site: &SiteIx| match topology.site(*site).role {
        SiteRole::Serving => 0,
        SiteRole::Hot => 1,
        SiteRole::Warm => 2,
        SiteRole::Cold => 3,
    };
    let others = topology.site_indices().filter(|site| *site != from);
    others.min_by_key(rank).ok_or_else(|| PlanError::Incomplete("no other site is declared".into()))
}

/// Returns the state with all nodes of a site gone.
fn lose(topology: &Topology, state: &ClusterState, site: SiteIx) -> Result<ClusterState, PlanError> {
    let mut lost = state.clone();
    for domain in topology.domains() {
        let is_here = |node| topology.node(node).site == Some(site);
        if !topology.nodes_of(domain).any(is_here) {
            continue;
        }
        if !topology.nodes_of(domain).all(is_here) {
            let name = topology.domain_name(domain);
            let what = format!("failure domain {name} has nodes in several sites, so that a site cannot be lost alone");
            return Err(not_ready(topology, site, what, "give the nodes of each site failure domains of their own"));
        }
        lost.lose(domain, topology.nodes_of(domain));
    }
    Ok(lost)
}
