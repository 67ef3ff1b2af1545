use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, Facets, KnownGood, Order};
use crate::law::{Invariant, Law, consumers_wait};
use crate::state::{ClusterState, Facts, LoanKind, Rejected, Site, SiteEpoch, SiteEvent, SiteState, Target};
use crate::topology::{Policy, SiteIx, Topology};

/// What is done to a site.
///
/// # Examples
///
/// ```
/// use ha_core::action::SiteAction;
/// use ha_core::topology::{SiteRole, Topology};
///
/// /// Leads consumers from one site to another: they wait meanwhile.
/// fn switch_over(topology: &Topology, from: &str, to: &str) -> Option<[SiteAction; 4]> {
///     let (from, to) = (topology.find_site(from)?, topology.find_site(to)?);
///     use SiteAction as A;
///     Some([A::Hold { site: from }, A::Demote { site: from }, A::Promote { site: to }, A::Open { site: to }])
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SiteAction {
    /// Makes sure that a lost site can no longer act: consumers are led nowhere, and its fence holds.
    Fence {
        /// The site.
        site: SiteIx,
    },
    /// Lets consumers wait in front of the site that serves, until none of their requests is in progress.
    Hold {
        /// The site.
        site: SiteIx,
    },
    /// Lets the site's database take no more writes; the other copy has all that it has.
    Demote {
        /// The site.
        site: SiteIx,
    },
    /// Lets the site's database take writes, with the next epoch.
    Promote {
        /// The site.
        site: SiteIx,
    },
    /// Leads consumers to the site.
    Open {
        /// The site.
        site: SiteIx,
    },
    /// Lets the site's database follow that of the site that takes writes, and waits until it has all of it.
    Follow {
        /// The site.
        site: SiteIx,
        /// What the site is afterwards: `Hot`, `Warm` or `Cold`.
        to: Site,
        /// Whether a person has said that writes which only this copy has may go.
        discard: bool,
    },
}

use SiteAction as A;

impl From<SiteAction> for Action {
    fn from(action: SiteAction) -> Self {
        Self::Site(action)
    }
}

impl SiteAction {
    /// Returns the site.
    pub fn site(self) -> SiteIx {
        match self {
            Self::Fence { site }
            | Self::Hold { site }
            | Self::Demote { site }
            | Self::Promote { site }
            | Self::Open { site }
            | Self::Follow { site, .. } => site,
        }
    }

    fn event(self) -> SiteEvent {
        match self {
            Self::Fence { .. } => SiteEvent::Fenced,
            Self::Hold { .. } => SiteEvent::Held,
            Self::Demote { .. } => SiteEvent::Demoted,
            Self::Promote { .. } => SiteEvent::Promoted,
            Self::Open { .. } => SiteEvent::Opened,
            Self::Follow { to, .. } => SiteEvent::Followed(to),
        }
    }

    fn known(self, state: &ClusterState) -> Option<SiteState> {
        state.sites.get(self.site().index()).copied()
    }
}

impl Facets for SiteAction {
    fn target(&self) -> Target {
        Target::Site(self.site())
    }

    fn changes(&self, target: Target) -> bool {
        self.target() == target
    }

    fn puts_under_change(&self) -> bool {
        false
    }

    fn is_command(&self) -> bool {
        false
    }

    fn needs_fresh_observation(&self) -> bool {
        true
    }

    fn precondition(&self, law: Law<'_>, state: &ClusterState) -> Result<(), String> {
        let name = |site: SiteIx| &law.topology.site(site).name;
        let site = self.site();
        let Some(known) = self.known(state) else { return Err(format!("nothing is known of site {}", name(site))) };
        if let Err(refused) = known.site.on(self.event()) {
            return Err(format!("site {} is {}", name(site), refused.state));
        }
        let others = || law.topology.sites.iter().zip(&state.sites).filter(|(other, _)| other.name != *name(site));
        let writes = others().find(|(_, other)| other.site.writes());
        match *self {
            A::Fence { .. } => {
                match law.topology.nodes().find(|(_, node)| node.site == Some(site) && !state.is_lost(node.domain)) {
                    Some((_, node)) => Err(format!("{} is not lost: a site that lives is not fenced", node.name)),
                    None => Ok(()),
                }
            }
            A::Promote { .. } => match writes {
                Some((other, _)) => Err(format!("the database of site {} takes writes", other.name)),
                None => Ok(()),
            },
            A::Open { .. } if !law.site_carries(state, site) => {
                Err(format!("site {} does not carry what is required after a loss", name(site)))
            }
            A::Follow { .. } if writes.is_none() => Err("no other site takes writes that it could follow".into()),
            A::Hold { .. } | A::Demote { .. } | A::Open { .. } | A::Follow { .. } => Ok(()),
        }
    }

    fn guards(&self) -> Invariant {
        match self {
            A::Promote { .. } | A::Fence { .. } => Invariant::OneSite,
            A::Open { .. } => Invariant::Settled,
            A::Hold { .. } | A::Demote { .. } | A::Follow { .. } => Invariant::Order,
        }
    }

    fn opens(&self, _: Law<'_>, _: &ClusterState) -> Option<LoanKind> {
        None
    }

    fn begin(&self, _: Law<'_>, _: &mut ClusterState) {}

    fn complete(&self, law: Law<'_>, state: &mut ClusterState) -> Result<(), Rejected> {
        let (site, next, waited) = (self.site(), next_epoch(state), consumers_wait(state));
        let Some(known) = state.sites.get_mut(site.index()) else { return Ok(()) };
        let was = known.site;
        known.site = was.on(self.event())?;
        if matches!(self, A::Promote { .. }) && waited {
            known.site = known.site.on(SiteEvent::Held)?;
        }
        match *self {
            A::Promote { .. } if !was.writes() => known.epoch = next,
            A::Open { .. } => {
                // Another that was demoted for it has not what comes from now on.
                let demoted = state.sites.iter_mut().filter(|other| other.site == Site::Demoted);
                demoted.for_each(|other| other.site = Site::Quarantined);
                // What was started there for it serves from now on, and is no loan any more.
                for (index, _) in law.topology.nodes().filter(|(_, node)| node.site == Some(site) && !node.spare) {
                    let loans = &mut state.node_mut(index).loans;
                    loans.repay(LoanKind::SpareRunning);
                    loans.repay(LoanKind::SpareAdmitted);
                }
            }
            A::Fence { .. } | A::Hold { .. } | A::Demote { .. } | A::Promote { .. } | A::Follow { .. } => {}
        }
        Ok(())
    }

    fn partial_effects(&self, _: Law<'_>, state: &ClusterState) -> Vec<ClusterState> {
        let Some(known) = self.known(state) else { return Vec::new() };
        let half = match self {
            // Consumers are led nowhere, and the fence does not hold yet.
            A::Fence { .. } if known.site != Site::Quarantined => Site::Promoted,
            // It takes no writes, and the other copy may not have all of it.
            A::Demote { .. } => Site::Demoted,
            // A copy that was broken off is none.
            A::Follow { .. } => Site::Quarantined,
            A::Fence { .. } | A::Hold { .. } | A::Promote { .. } | A::Open { .. } => return Vec::new(),
        };
        let mut next = state.clone();
        if let Some(known) = next.sites.get_mut(self.site().index()) {
            known.site = half;
        }
        vec![next]
    }

    fn repays(&self) -> &'static [LoanKind] {
        &[]
    }

    fn holds(&self, _: Law<'_>, state: &ClusterState) -> bool {
        self.known(state).is_some_and(|known| match *self {
            A::Fence { .. } => known.site == Site::Quarantined,
            A::Hold { .. } => known.site == Site::Held,
            A::Demote { .. } => known.site == Site::Demoted,
            A::Promote { .. } => known.site.writes(),
            A::Open { .. } => known.site == Site::Serving,
            A::Follow { to, .. } => known.site == to,
        })
    }

    /// What leads consumers back: no site has taken a write of theirs before one is opened.
    fn inverse(&self, _: Option<KnownGood>) -> Vec<Order> {
        match *self {
            A::Hold { site } => vec![Order::Site(A::Open { site })],
            A::Demote { site } => vec![Order::Site(A::Promote { site })],
            A::Promote { site } => vec![Order::Site(A::Demote { site })],
            A::Fence { .. } | A::Open { .. } | A::Follow { .. } => Vec::new(),
        }
    }

    fn deadline(&self, policy: &Policy) -> Duration {
        match self {
            A::Hold { .. } => policy.drain_deadline,
            A::Follow { .. } => policy.migrate_deadline,
            A::Fence { .. } | A::Demote { .. } | A::Promote { .. } | A::Open { .. } => policy.command_deadline,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            A::Fence { .. } => "fence",
            A::Hold { .. } => "hold consumers",
            A::Demote { .. } => "demote",
            A::Promote { .. } => "promote",
            A::Open { .. } => "lead consumers",
            A::Follow { .. } => "follow",
        }
    }

    fn what(&self, _: &Facts) -> String {
        self.name().into()
    }

    fn message(&self, topology: &Topology, _: &Facts) -> String {
        let name = &topology.site(self.site()).name;
        match self {
            A::Fence { .. } => format!("fence site {name}"),
            A::Hold { .. } => format!("hold the consumers in front of site {name}"),
            A::Demote { .. } => format!("let the database of site {name} take no more writes"),
            A::Promote { .. } => format!("let the database of site {name} take writes"),
            A::Open { .. } => format!("lead consumers to site {name}"),
            A::Follow { .. } => format!("let the database of site {name} follow the other"),
        }
    }
}

/// The epoch that a promotion brings.
pub(crate) fn next_epoch(state: &ClusterState) -> SiteEpoch {
    state.sites.iter().map(|known| known.epoch).max().unwrap_or_default().next()
}
