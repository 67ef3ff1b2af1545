use serde::{Deserialize, Serialize};

use super::site::{FAIL_BACK, SiteChange, check_declared, check_members, find, not_ready};
use super::{PlanError, Procedure, Proposal, Snapshot};
use crate::plan::{ChangeCommands, Degraded, Ends, Plan};
use crate::state::{ReplicaRole, Site};
use crate::topology::SiteIx;

/// Asks to lead consumers back to a site that was lost: its database follows the site that serves now until it has all of it, its
/// servers are brought to what the members have, tested, and consumers are led there while they wait, without a request or a write
/// lost. Then the site that has served becomes its standby again.
///
/// Nothing fails back by itself: a person, or a program in a person's name, asks. What changes is server configuration and which
/// copy of the database takes writes; and the release of the returning servers, where it differs. The point of no return is where
/// consumers are led to the returning site; until then all is as before after a failure. The plan declares how long consumers wait.
///
/// # Examples
///
/// ```
/// use ha_core::procedure::FailBackRequest;
///
/// // What north took after south had the last of it was replayed by hand, or is not needed.
/// let request = FailBackRequest::to("north").with_discarded_by("m.keller");
/// assert_eq!(request.to, "north");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FailBackRequest {
    /// The site that consumers are led to.
    pub to: String,
    /// Who has decided that writes may go which only the returning site has. Needed where it has taken some that the other has not.
    #[serde(default)]
    pub discarded_by: Option<String>,
    /// Installs the release of the site that serves, where the returning servers have another one; needed only then.
    #[serde(default)]
    pub apply: Vec<String>,
    /// Brings the release in `HA_RELEASE` back.
    #[serde(default)]
    pub restore: Vec<String>,
    /// Puts the set of shared files with the number in `HA_GENERATION` on a node; needed where the returning servers have another one.
    #[serde(default)]
    pub deploy: Vec<String>,
}

impl FailBackRequest {
    /// Asks to lead consumers back to a site.
    pub fn to(site: impl Into<String>) -> Self {
        let (apply, restore, deploy) = (Vec::new(), Vec::new(), Vec::new());
        Self { to: site.into(), discarded_by: None, apply, restore, deploy }
    }

    /// Says who has decided that writes may go which only the returning site has.
    #[must_use]
    pub fn with_discarded_by(mut self, person: impl Into<String>) -> Self {
        self.discarded_by = Some(person.into());
        self
    }

    /// Says how the returning servers get the release of the others.
    #[must_use]
    pub fn with_change(mut self, apply: Vec<String>, restore: Vec<String>) -> Self {
        (self.apply, self.restore) = (apply, restore);
        self
    }

    /// Says how the returning servers get the shared files of the others.
    #[must_use]
    pub fn with_deploy(mut self, deploy: Vec<String>) -> Self {
        self.deploy = deploy;
        self
    }
}

impl Procedure for FailBackRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        let topology = seen.topology;
        let to = find(topology, &self.to)?;
        let serving =
            |site: &SiteIx| seen.state.sites.get(site.index()).is_some_and(|known| known.site == Site::Serving);
        let Some(from) = topology.site_indices().find(serving) else {
            return Err(PlanError::Incomplete("no site serves: bring one back first (SiteLossRequest)".into()));
        };
        if from == to {
            return Err(PlanError::NothingToDo { what: format!("its consumers led to site {}", self.to) });
        }
        check_declared(topology, &[from, to])?;
        let commands =
            ChangeCommands { apply: self.apply.clone(), restore: self.restore.clone(), deploy: self.deploy.clone() };
        let discard = self.discarded_by.is_some();
        let change =
            SiteChange { topology, facts: seen.facts, state: seen.state, commands: &commands, from, to, discard };
        check_members(&change, to)?;
        self.check_divergence(&change)?;
        check_positions(&change)?;
        self.check_content(&change)?;
        let (stages, no_return) = change.back();
        let mut draft = change.draft(FAIL_BACK, stages, no_return, Degraded::ConsumersWait);
        let (back, was) = (&topology.site(to).name, &topology.site(from).name);
        draft.ends = Ends::new(
            format!("served by site {back} again: site {was} stands by"),
            format!("as before: site {was} serves"),
        );
        let advice = "bring what is named above into order, then plan again; the other site goes on serving";
        Ok(Proposal::new(std::iter::once(Plan::from(draft)), advice))
    }
}

impl FailBackRequest {
    /// What a site took that its successor never had is a person's to judge.
    fn check_divergence(&self, change: &SiteChange<'_>) -> Result<(), PlanError> {
        let of = |site: SiteIx| change.facts.sites.get(site.index()).and_then(|facts| facts.replica);
        let Some(copy) = of(change.to) else {
            return Err(not_ready(
                change.topology,
                change.to,
                "its copy of the database cannot be read",
                "start it, without consumers and with its servers stopped, then plan again",
            ));
        };
        let own = copy.role != ReplicaRole::Standby && change.site(change.to) == Site::Quarantined;
        if !own || self.discarded_by.is_some() {
            return Ok(());
        }
        let reaches = copy.position.map_or_else(String::new, |position| format!(", to position {position}"));
        let what = format!(
            "its database went its own way with epoch {}{reaches}: what it took after the last that the other site has is nowhere \
             else",
            copy.epoch.number()
        );
        let fix = "look at what it has and replay what is needed, then say who has decided that the rest may go \
                   (FailBackRequest::with_discarded_by)";
        Err(not_ready(change.topology, change.to, what, fix))
    }

    fn check_content(&self, change: &SiteChange<'_>) -> Result<(), PlanError> {
        let topology = change.topology;
        for node in change.living(change.to) {
            let (name, state) = (&topology.node(node).name, change.state.node(node));
            let release = change.members_release().filter(|release| state.release != Some(*release));
            if let Some(release) = release.filter(|_| self.apply.is_empty() || self.restore.is_empty()) {
                let release = change.facts.releases.name(release);
                let what = format!("{name} does not have release {release} of the site that serves");
                return Err(not_ready(topology, change.to, what, "say how it gets it (FailBackRequest::with_change)"));
            }
            let generation = change.members_generation().filter(|generation| state.generation != Some(*generation));
            if generation.is_some() && self.deploy.is_empty() {
                let what = format!("{name} does not have the shared files of the site that serves");
                return Err(not_ready(
                    topology,
                    change.to,
                    what,
                    "say how it gets them (FailBackRequest::with_deploy)",
                ));
            }
        }
        Ok(())
    }
}

/// Consumers are led away from a site only where it can be seen that the other copy has all that it took.
fn check_positions(change: &SiteChange<'_>) -> Result<(), PlanError> {
    for site in [change.from, change.to] {
        let copy = change.facts.sites.get(site.index()).and_then(|facts| facts.replica);
        let (what, fix) = match copy {
            None => ("its copy of the database cannot be read", "repair it, then plan again"),
            Some(copy) if copy.position.is_none() => (
                "its copy of the database says no position: nobody can tell when one copy has all that the other took",
                "let what drives it say one (ReplicaSeen::with_position), then plan again",
            ),
            Some(_) => continue,
        };
        return Err(not_ready(change.topology, site, what, fix));
    }
    Ok(())
}
