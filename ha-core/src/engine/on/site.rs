use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::{Executor, Outcome, Shared, done, not_done, unknown};
use crate::action::SiteAction;
use crate::backend::{
    Applied, Consumers, DemoteReplica, Effect, ErrorKind, FenceSite, Fenced, FollowReplica, LeadConsumers,
    PromoteReplica, Replica, SiteSwitch, StepError,
};
use crate::record::{Evidence, OutcomeKind};
use crate::state::{ReplicaRole, ReplicaSeen, Site, SiteEpoch, SiteFacts, SiteState};
use crate::topology::{DomainIx, Name, SiteIx, SiteRole, SiteSpec};

/// A site that is lost does not answer: nobody waits long for it.
const SITE_READ: Duration = Duration::from_secs(2);
/// How long a lost site's own database is asked to take no more writes, before its fence is. It may be alive.
const ASK_THE_LOST: Duration = Duration::from_secs(2);

/// The sites as they were seen.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct SeenSites {
    /// What was seen of each: `None` where that could not be.
    pub(in crate::engine) seen: Vec<Option<SiteState>>,
    /// The same, and where it could not be seen what it is at rest.
    pub(in crate::engine) known: Vec<SiteState>,
    pub(in crate::engine) facts: Vec<SiteFacts>,
}

impl Executor {
    pub(super) async fn act_on_site(&self, action: SiteAction, deadline: Duration) -> Outcome {
        let until = Instant::now() + deadline;
        let left = || until.saturating_duration_since(Instant::now());
        let site = action.site();
        let lead = async |to: Consumers| match &self.shared.switch {
            Some(switch) => switch.lead(self.epoch, LeadConsumers::new(to).with_deadline(left())).await.map(|_| ()),
            None => Ok(()),
        };
        let name = || self.shared.topology.site(site).name.to_string();
        let asked = match action {
            SiteAction::Fence { .. } => self.fence(site, until).await,
            SiteAction::Hold { .. } => lead(Consumers::Held).await,
            SiteAction::Open { .. } => lead(Consumers::To(name())).await,
            SiteAction::Demote { .. } => {
                let Some(replica) = self.replica(site) else { return no_replica(&name()) };
                replica.demote(self.epoch, DemoteReplica::new().with_deadline(left())).await.map(|_| ())
            }
            SiteAction::Promote { .. } => return self.promote(site, until).await,
            SiteAction::Follow { discard, .. } => {
                let Some(replica) = self.replica(site) else { return no_replica(&name()) };
                let Some(of) = self.writing_site(site) else { return not_done("no other site takes writes") };
                let mut request = FollowReplica::new(of).with_deadline(left());
                request.discard = discard;
                // Consumers are not led there: what it can do again is to follow.
                let lifted = match &self.shared.fences[site.index()] {
                    Some(fence) => fence.lift(self.epoch).await.map(|_| ()),
                    None => Ok(()),
                };
                match lifted {
                    Ok(()) => replica.follow(self.epoch, request).await.map(|_| ()),
                    Err(error) => Err(error),
                }
            }
        };
        self.until_seen(until, asked, action).await
    }

    /// Leads consumers nowhere, asks the site's own database, should it live, to take no more writes, and fences the site.
    async fn fence(&self, site: SiteIx, until: Instant) -> Result<(), StepError> {
        let left = || until.saturating_duration_since(Instant::now());
        if let Some(switch) = &self.shared.switch {
            switch.lead(self.epoch, LeadConsumers::new(Consumers::Nowhere).with_deadline(left())).await?;
        }
        if let Some(replica) = self.replica(site) {
            let request = DemoteReplica::new().with_deadline(ASK_THE_LOST);
            // Nothing is expected of a lost site: the fence decides.
            let _ = timeout(ASK_THE_LOST, replica.demote(self.epoch, request)).await;
        }
        if let Some(fence) = &self.shared.fences[site.index()] {
            let request = FenceSite::new(self.highest_epoch()).with_deadline(left());
            fence.fence(self.epoch, request).await?;
        }
        Ok(())
    }

    async fn promote(&self, site: SiteIx, until: Instant) -> Outcome {
        let name = &self.shared.topology.site(site).name;
        let Some(replica) = self.replica(site) else { return no_replica(name.as_str()) };
        // What it has now is what is not lost.
        let before = self.read(replica.replica()).await;
        if let Ok(seen) = &before
            && let Some(lacks) = self.lacks_of_demoted(site, *seen).await
        {
            return not_done(lacks);
        }
        let epoch = self.highest_epoch().next();
        let deadline = until.saturating_duration_since(Instant::now());
        let asked = replica.promote(self.epoch, PromoteReplica::new(epoch).with_deadline(deadline)).await.map(|_| ());
        let may_come = asked.as_ref().is_err_and(|error| error.effect() == Effect::Unknown);
        let (kind, mut evidence) = self.until_seen(until, asked, SiteAction::Promote { site }).await;
        // What has not happened in time may still.
        let kind = if may_come && kind == OutcomeKind::NotDone { OutcomeKind::Unknown } else { kind };
        let was_standby = before.ok().filter(|seen| seen.role == ReplicaRole::Standby);
        if let Evidence::Site { behind_ms, .. } = &mut evidence {
            *behind_ms = was_standby.and_then(|seen| seen.behind_ms);
        }
        (kind, evidence)
    }

    /// Looks until what was asked for is seen, or the time is over.
    async fn until_seen(&self, until: Instant, asked: Result<(), StepError>, action: SiteAction) -> Outcome {
        self.wait_until(until, asked.map(|()| Applied::Applied), || self.look_at_site(action)).await
    }

    pub(super) async fn look_at_site(&self, action: SiteAction) -> Outcome {
        let site = action.site();
        match action {
            SiteAction::Fence { .. } => self.look_at_fence(site).await,
            SiteAction::Hold { .. } => self.look_at_consumers(site, Consumers::Held, Site::Held).await,
            SiteAction::Open { .. } => {
                let to = Consumers::To(self.shared.topology.site(site).name.to_string());
                self.look_at_consumers(site, to, Site::Serving).await
            }
            SiteAction::Demote { .. } => self.look_at_demoted(site).await,
            SiteAction::Promote { .. } => self.look_at_promoted(site).await,
            SiteAction::Follow { to, .. } => self.look_at_follower(site, to).await,
        }
    }

    async fn look_at_fence(&self, site: SiteIx) -> Outcome {
        let name = &self.shared.topology.site(site).name;
        if let Some(switch) = &self.shared.switch {
            match led(&**switch).await {
                Ok(Consumers::To(to)) if to == name.as_str() => {
                    return not_done(format!("consumers are led to {name}"));
                }
                Ok(Consumers::To(_) | Consumers::Held | Consumers::Nowhere) => {}
                Err(outcome) => return outcome,
            }
        }
        if let Some(fence) = &self.shared.fences[site.index()] {
            match self.read(fence.fenced()).await {
                Ok(Fenced::Yes) => {}
                Ok(Fenced::No) => return not_done(format!("the fence of site {name} does not hold")),
                Err(error) => return unknown(error),
            }
        }
        done(evidence(Site::Quarantined, self.sites[site.index()].epoch))
    }

    async fn look_at_consumers(&self, site: SiteIx, to: Consumers, state: Site) -> Outcome {
        let Some(switch) = &self.shared.switch else {
            return not_done("nothing leads consumers here: declare [switch]");
        };
        match led(&**switch).await {
            Ok(seen) if seen == to => done(evidence(state, self.sites[site.index()].epoch)),
            Ok(seen) => not_done(format!("consumers are {seen}")),
            Err(outcome) => outcome,
        }
    }

    /// A site is promoted once its database takes writes with an epoch that no other site has had.
    async fn look_at_promoted(&self, site: SiteIx) -> Outcome {
        let others = self.sites.iter().enumerate().filter(|(other, _)| *other != site.index());
        let others = others.map(|(_, known)| known.epoch).max().unwrap_or_default();
        let is_so = |seen: &ReplicaSeen| seen.role == ReplicaRole::Primary && seen.epoch > others;
        self.look_at_replica(site, Site::Promoted, is_so).await
    }

    /// A copy with an older epoch has not received yet what the other was promoted with.
    async fn look_at_follower(&self, site: SiteIx, to: Site) -> Outcome {
        let is_so = |seen: &ReplicaSeen| seen.role == ReplicaRole::Standby && seen.epoch >= self.highest_epoch();
        self.look_at_replica(site, to, is_so).await
    }

    async fn look_at_replica(&self, site: SiteIx, state: Site, is_so: impl Fn(&ReplicaSeen) -> bool) -> Outcome {
        let name = &self.shared.topology.site(site).name;
        let Some(replica) = self.replica(site) else { return no_replica(name.as_str()) };
        match self.read(replica.replica()).await {
            Ok(seen) if is_so(&seen) => done(evidence(state, seen.epoch)),
            Ok(seen) => {
                not_done(format!("the database of site {name} is {:?} with epoch {}", seen.role, seen.epoch.number()))
            }
            Err(error) => unknown(error),
        }
    }

    /// Says what a standby lacks, or may lack, of a site that was demoted: promoted now, it would lose that.
    async fn lacks_of_demoted(&self, to: SiteIx, standby: ReplicaSeen) -> Option<String> {
        if standby.role != ReplicaRole::Standby {
            return None;
        }
        for site in self.shared.topology.site_indices().filter(|site| self.sites[site.index()].site == Site::Demoted) {
            let name = &self.shared.topology.site(site).name;
            let unread = match self.read(self.replica(site)?.replica()).await {
                Ok(demoted) if demoted.epoch < standby.epoch => continue,
                Ok(demoted) => match (standby.position, demoted.position) {
                    (Some(has), Some(wanted)) if demoted.epoch == standby.epoch && has < wanted => {
                        return Some(lacks(name, wanted - has));
                    }
                    (Some(_), Some(_)) if demoted.epoch == standby.epoch => continue,
                    _ => {
                        format!("its epoch is {}, that of the other {}", demoted.epoch.number(), standby.epoch.number())
                    }
                },
                Err(error) => error,
            };
            if !self.has_proven(site, to) {
                return Some(format!(
                    "nobody can tell whether the other copy of the database has all of what site {name} has: {unread}"
                ));
            }
        }
        None
    }

    /// Tells whether the run itself has demoted a site and seen that a copy has all of what it has: this one, where there is no
    /// third. A site that was found so, or left so by a person, proves nothing.
    fn has_proven(&self, demoted: SiteIx, copy: SiteIx) -> bool {
        let copies =
            self.shared.topology.site_indices().filter(|site| *site != demoted && self.replica(*site).is_some());
        self.demoted.contains(&demoted) && copies.eq([copy])
    }

    /// A site is demoted once its database takes no writes and a copy that follows it reaches as far.
    async fn look_at_demoted(&self, site: SiteIx) -> Outcome {
        let name = &self.shared.topology.site(site).name;
        let Some(replica) = self.replica(site) else { return no_replica(name.as_str()) };
        let own = match self.read(replica.replica()).await {
            Ok(seen) if seen.role == ReplicaRole::Primary => {
                return not_done(format!("the database of site {name} takes writes"));
            }
            Ok(seen) => seen,
            Err(error) => return unknown(error),
        };
        let Some(position) = own.position else {
            return unknown(format!("the database of site {name} says no position: nobody can tell who has all of it"));
        };
        let mut reaches = None;
        for other in self.shared.topology.site_indices().filter(|other| *other != site) {
            let Some(copy) = self.replica(other) else { continue };
            // Positions of different epochs say nothing of each other.
            if let Ok(seen) = self.read(copy.replica()).await
                && seen.epoch == own.epoch
            {
                reaches = reaches.max(seen.position);
            }
        }
        match reaches {
            None => unknown(format!("no other copy of the database can be read that has epoch {}", own.epoch.number())),
            Some(reaches) if reaches < position => not_done(lacks(name, position - reaches)),
            Some(_) => done(evidence(Site::Demoted, own.epoch)),
        }
    }

    fn replica(&self, site: SiteIx) -> Option<&Arc<dyn Replica>> {
        self.shared.replicas[site.index()].as_ref()
    }

    fn highest_epoch(&self) -> SiteEpoch {
        self.sites.iter().map(|known| known.epoch).max().unwrap_or_default()
    }

    fn writing_site(&self, but: SiteIx) -> Option<String> {
        let writes = |site: &SiteIx| *site != but && self.sites[site.index()].site.writes();
        let site = self.shared.topology.site_indices().find(writes)?;
        Some(self.shared.topology.site(site).name.to_string())
    }
}

fn evidence(state: Site, epoch: SiteEpoch) -> Evidence {
    Evidence::Site { state, epoch: epoch.number(), behind_ms: None }
}

/// Reads where consumers are led. What does not agree was led in half: it is led once more.
async fn led(switch: &dyn SiteSwitch) -> Result<Consumers, Outcome> {
    match timeout(SITE_READ, switch.consumers()).await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(error)) if error.kind() == ErrorKind::Conflict => Err(not_done(error)),
        Ok(Err(error)) => Err(unknown(error)),
        Err(_) => Err(unknown(format!("what leads consumers did not answer in {SITE_READ:?}"))),
    }
}

fn lacks(site: &Name, bytes: u64) -> String {
    format!("the other copy of the database lacks {bytes} bytes of what site {site} has")
}

fn no_replica(site: &str) -> Outcome {
    not_done(format!("no copy of the database is declared for site {site}: add [site.replica]"))
}

/// Observes the sites, those that are lost for no longer than `grace`; the notes say what could not be seen.
pub(in crate::engine) async fn observe_sites(
    shared: &Arc<Shared>,
    lost: &[DomainIx],
    grace: Duration,
) -> (SeenSites, Vec<String>) {
    let mut notes = Vec::new();
    let mut reads: JoinSet<ReadSite> = JoinSet::new();
    for (index, site) in shared.topology.site_indices().enumerate() {
        let is_lost = shared.topology.is_site_lost(site, lost);
        let limit = if is_lost { grace.min(SITE_READ) } else { SITE_READ };
        let shared = shared.clone();
        reads.spawn(async move { read_site(&shared, index, limit).await }.in_current_span());
    }
    let consumers = match &shared.switch {
        Some(switch) => match within(SITE_READ, switch.consumers()).await {
            Ok(consumers) => Some(consumers),
            Err(error) => {
                notes.push(format!("where consumers are led cannot be read: {error}"));
                None
            }
        },
        None => None,
    };
    let mut sites = vec![(None, None); shared.topology.sites.len()];
    while let Some(Ok((index, replica, fenced, unseen))) = reads.join_next().await {
        sites[index] = (replica, fenced);
        notes.extend(unseen);
    }
    let highest = sites.iter().filter_map(|(replica, _)| replica.map(|seen| seen.epoch)).max().unwrap_or_default();
    let is_primary = |(replica, _): &(Option<ReplicaSeen>, Option<Fenced>)| {
        replica.is_some_and(|seen| seen.role == ReplicaRole::Primary && seen.epoch == highest)
    };
    let has_primary = sites.iter().any(is_primary);
    let mut found = SeenSites::default();
    for ((declared, (replica, fenced)), fence) in shared.topology.sites.iter().zip(&sites).zip(&shared.fences) {
        let led = consumers.as_ref().map(|to| match to {
            Consumers::To(site) if site == declared.name.as_str() => Led::Here,
            Consumers::Held => Led::Held,
            Consumers::To(_) | Consumers::Nowhere => Led::Elsewhere,
        });
        let seen = state_of(declared, *replica, *fenced, led, (highest, has_primary));
        if let (Some(replica), Some(state)) = (replica, seen)
            && replica.role == ReplicaRole::Primary
            && !state.site.writes()
        {
            notes.push(format!(
                "the database of site {} takes writes with epoch {}, which is past: fence it",
                declared.name,
                replica.epoch.number()
            ));
        }
        found.seen.push(seen);
        found.known.push(seen.unwrap_or_else(|| at_rest(declared, led, highest)));
        found.facts.push(SiteFacts { fence: fence.as_ref().map(|fence| fence.level()), replica: *replica });
    }
    (found, notes)
}

/// A site's number, its copy of the database, its fence, and what is to be noted.
type ReadSite = (usize, Option<ReplicaSeen>, Option<Fenced>, Vec<String>);

async fn read_site(shared: &Shared, index: usize, limit: Duration) -> ReadSite {
    let name = &shared.topology.sites[index].name;
    // Both at once: of a lost site neither may answer.
    let copy = async {
        match &shared.replicas[index] {
            Some(copy) => Some(within(limit, copy.replica()).await),
            None => None,
        }
    };
    let fence = async {
        match &shared.fences[index] {
            Some(fence) => Some(within(limit, fence.fenced()).await),
            None => None,
        }
    };
    let (copy, mut fence) = tokio::join!(copy, fence);
    // One that answers is not silent, and its fence tells what its database may do: then the fence has its time.
    if let (Some(Ok(_)), Some(Err(_)), Some(slow)) = (&copy, &fence, &shared.fences[index])
        && limit < SITE_READ
    {
        fence = Some(within(SITE_READ, slow.fenced()).await);
    }
    let mut notes = Vec::new();
    let mut note = |what: &str, why: &String| notes.push(format!("the {what} of site {name} cannot be read: {why}"));
    let replica = copy.and_then(|seen| seen.inspect_err(|why| note("database", why)).ok());
    let fenced = fence.and_then(|seen| seen.inspect_err(|why| note("fence", why)).ok());
    (index, replica, fenced, notes)
}

async fn within<T>(limit: Duration, read: impl Future<Output = Result<T, StepError>>) -> Result<T, String> {
    match timeout(limit, read).await {
        Ok(answer) => answer.map_err(|error| format!("{error:#}")),
        Err(_) => Err(format!("it did not answer in {limit:?}")),
    }
}

/// Where consumers are led, as one site sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Led {
    Here,
    Held,
    Elsewhere,
}

/// Returns the state of a site as it was seen; `None` where what was seen does not tell.
fn state_of(
    declared: &SiteSpec,
    replica: Option<ReplicaSeen>,
    fenced: Option<Fenced>,
    led: Option<Led>,
    (highest, has_primary): (SiteEpoch, bool),
) -> Option<SiteState> {
    let replica = replica?;
    let epoch = replica.epoch;
    if fenced == Some(Fenced::Yes) {
        return Some(SiteState::new(Site::Quarantined, epoch));
    }
    let site = match replica.role {
        ReplicaRole::Primary if epoch < highest => Site::Quarantined,
        ReplicaRole::Primary => match led? {
            Led::Here => Site::Serving,
            Led::Held => Site::Held,
            Led::Elsewhere => Site::Promoted,
        },
        ReplicaRole::ReadOnly if declared.role == SiteRole::Cold && led? == Led::Elsewhere => Site::Cold,
        ReplicaRole::ReadOnly if !has_primary && epoch == highest => Site::Demoted,
        ReplicaRole::ReadOnly => Site::Quarantined,
        ReplicaRole::Standby => Site::standing_by(declared.role),
    };
    Some(SiteState::new(site, epoch))
}

/// Returns what a site is taken for whose database cannot be read, or has none.
fn at_rest(declared: &SiteSpec, led: Option<Led>, highest: SiteEpoch) -> SiteState {
    match (led, declared.role) {
        // A standby elsewhere has the epoch of the one that it followed.
        (Some(Led::Here), _) | (None, SiteRole::Serving) => {
            SiteState::new(Site::Serving, highest.max(SiteEpoch::new(1)))
        }
        (_, SiteRole::Serving) => SiteState::new(Site::Quarantined, SiteEpoch::new(0)),
        (_, role @ (SiteRole::Hot | SiteRole::Warm | SiteRole::Cold)) => {
            SiteState::new(Site::standing_by(role), SiteEpoch::new(0))
        }
    }
}
