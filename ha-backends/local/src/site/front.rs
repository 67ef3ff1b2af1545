use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, Consumers, ErrorKind, LeadConsumers, ObserveSiteSwitch, SiteSwitch, StepError};
use ha_core::state::LeaseEpoch;
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Name, Settings, Topology};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use super::apart;
use crate::balancer::{LocalBalancer, unexpected};
use crate::wire::{LedTo, Reply, Request};
use crate::{ConfigError, NAME};

/// Leads consumers to one of the sites over every [`EmbeddedBalancer`](crate::EmbeddedBalancer) in front of them, each started
/// [`with_sites`](crate::EmbeddedBuilder::with_sites) and a pool for each site.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Consumers, LeadConsumers, SiteSwitch};
/// use ha_core::state::{LeaseEpoch, MemberKind};
/// use ha_core::topology::Name;
/// use ha_local::{EmbeddedBalancer, LocalSwitch};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let (dir, any) = (tempfile::tempdir()?, ([127, 0, 0, 1], 0).into());
/// let [north, south] = [Name::new("north")?, Name::new("south")?];
/// let front = EmbeddedBalancer::builder(Name::new("front")?)
///     .with_pool(north.clone(), any)
///     .with_member(Name::new("lb")?, ([127, 0, 0, 1], 8280).into(), MemberKind::Primary)
///     .with_pool(south.clone(), any)
///     .with_member(Name::new("lb")?, ([127, 0, 0, 1], 8281).into(), MemberKind::Primary)
///     .with_sites(dir.path().join("led"))
///     .start(any, &dir.path().join("admin.sock"))
///     .await?;
/// let switch = LocalSwitch::new(vec![front.socket().into()], vec![north, south]);
/// switch.lead(LeaseEpoch::new(1), LeadConsumers::new(Consumers::To("south".into()))).await?;
/// assert_eq!(std::fs::read_to_string(dir.path().join("led"))?, "led south\n");
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LocalSwitch {
    fronts: Vec<(String, LocalBalancer)>,
    sites: Vec<Name>,
    /// One change at a time: each begins with what it reads.
    changing: Arc<Mutex<()>>,
}

/// What one front says.
struct Led {
    name: String,
    to: LedTo,
    after_restart: LedTo,
    before: Option<Name>,
    in_progress: u64,
}

const TARGET: &str = "switch";
/// How often it is looked whether requests are in progress.
const LOOK: Duration = Duration::from_millis(10);

impl LocalSwitch {
    /// Drives the fronts behind these admin sockets: all that a consumer may come over. Nothing is touched yet.
    pub fn new(sockets: Vec<PathBuf>, sites: Vec<Name>) -> Self {
        let front = |socket: PathBuf| (socket.display().to_string(), LocalBalancer::new(socket));
        Self { fronts: sockets.into_iter().map(front).collect(), sites, changing: Arc::default() }
    }

    /// Reads the setting `sockets`: the admin socket of the embedded balancer in front of the sites, or a list of them. Its pools
    /// have the names of the sites.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong.
    pub fn from_component(component: &Component, topology: &Topology) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let sockets = settings.texts("sockets").and_then(|sockets| {
            let plain = |path: &PathBuf| path.is_absolute() && path.components().all(|part| part.as_os_str() != "..");
            let sockets: Vec<PathBuf> = sockets.into_iter().map(PathBuf::from).collect();
            match sockets.iter().find(|path| !plain(path)) {
                Some(path) => {
                    Err(settings.wrong("sockets", format!("give absolute paths: {} is none", path.display())))
                }
                None if sockets.is_empty() => Err(settings.wrong("sockets", "is missing: add it")),
                None => Ok(sockets),
            }
        });
        let sites = topology.sites().iter().map(|site| site.name.clone()).collect();
        settings.finish(sockets.map(|sockets| Self::new(sockets, sites)))
    }

    async fn read(&self, operation: &'static str) -> Result<Vec<Led>, StepError> {
        let mut seen = Vec::with_capacity(self.fronts.len());
        for front in &self.fronts {
            seen.push(self.read_one(operation, front).await?);
        }
        Ok(seen)
    }

    async fn read_one(
        &self,
        operation: &'static str,
        (name, front): &(String, LocalBalancer),
    ) -> Result<Led, StepError> {
        match front.ask(operation, TARGET.into(), Request::Led).await? {
            Reply::Led { to, after_restart, before, in_progress } => {
                Ok(Led { name: name.clone(), to, after_restart, before, in_progress })
            }
            _ => Err(unexpected(operation, TARGET.into(), false)),
        }
    }

    async fn lead_one(
        &self,
        lease: LeaseEpoch,
        (_, front): &(String, LocalBalancer),
        to: &LedTo,
    ) -> Result<Applied, StepError> {
        match front.ask("lead", TARGET.into(), Request::Lead { to: to.clone(), epoch: lease.number() }).await? {
            Reply::Applied(applied) => Ok(applied),
            _ => Err(unexpected("lead", TARGET.into(), true)),
        }
    }

    async fn lead_all(&self, lease: LeaseEpoch, to: &LedTo) -> Result<Applied, StepError> {
        let mut applied = Applied::AlreadySo;
        for front in &self.fronts {
            match self.lead_one(lease, front, to).await {
                Ok(Applied::AlreadySo) => {}
                Ok(Applied::Applied) => applied = Applied::Applied,
                Err(error) if applied == Applied::AlreadySo => return Err(error),
                Err(error) => {
                    let context = format!("others were changed before {}: read where consumers are led", front.0);
                    return Err(fail(error.kind(), context).caused_by(error));
                }
            }
        }
        Ok(applied)
    }

    /// Reads where consumers were led before they were held, of the first front that still knows it.
    async fn before(&self) -> Result<Name, StepError> {
        let mut failed = None;
        for front in &self.fronts {
            match self.read_one("lead", front).await {
                Ok(Led { before: Some(before), .. }) => return Ok(before),
                Ok(_) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| fail(ErrorKind::Conflict, "where they were led is not known".into())))
    }

    /// Leads consumers back over every front that answers; the error is the first one's.
    async fn lead_back(&self, lease: LeaseEpoch, to: &LedTo) -> Result<(), StepError> {
        let mut failed = None;
        for front in &self.fronts {
            if let Err(error) = self.lead_one(lease, front, to).await {
                failed = failed.or(Some(error));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Waits until nothing is in progress in any site; `false` where something is at the deadline.
    async fn empty(&self, until: Instant) -> Result<bool, StepError> {
        while self.read("lead").await?.iter().any(|led| led.in_progress > 0) {
            if Instant::now() >= until {
                return Ok(false);
            }
            sleep(LOOK).await;
        }
        Ok(true)
    }

    async fn hold(&self, lease: LeaseEpoch, until: Instant) -> Result<Applied, StepError> {
        let held = match self.lead_all(lease, &LedTo::Held).await {
            Err(error) if error.effect() == ha_core::backend::Effect::None => return Err(error),
            Err(error) => Err(error),
            Ok(_) => self.empty(until).await,
        };
        let failed = match held {
            Ok(true) => return Ok(Applied::Applied),
            Ok(false) => fail(ErrorKind::Timeout, "requests were still in progress at the deadline".into()),
            Err(error) => error,
        };
        // They must not wait for what does not come.
        let back = async {
            let before = self.before().await?;
            self.lead_back(lease, &LedTo::Site(before.clone())).await.map(|()| before)
        };
        match back.await {
            Ok(before) => {
                let context = format!("they could not be held, and are led to {before} again: {failed}");
                Err(fail(failed.kind(), context).caused_by(failed).without_effect())
            }
            Err(back) => {
                let context = format!("they could not be held, nor led back everywhere: {back}");
                Err(fail(failed.kind(), context).caused_by(failed))
            }
        }
    }

    async fn change(&self, lease: LeaseEpoch, request: LeadConsumers, until: Instant) -> Result<Applied, StepError> {
        let to = match &request.to {
            Consumers::To(site) => match self.sites.iter().find(|known| known.as_str() == site) {
                Some(site) => LedTo::Site(site.clone()),
                None => return Err(fail(ErrorKind::NotFound, format!("there is no site {site}")).without_effect()),
            },
            Consumers::Held => LedTo::Held,
            Consumers::Nowhere => LedTo::Nowhere,
            _ => return Err(fail(ErrorKind::Unsupported, "this is not known here".into()).without_effect()),
        };
        let Ok(_one_at_a_time) = timeout_at(until, self.changing.lock()).await else {
            let context = "another change of this switch did not end before the deadline";
            return Err(fail(ErrorKind::Timeout, context.into()).without_effect());
        };
        let seen = self.read("lead").await?;
        let is_so = seen
            .iter()
            .all(|led| led.to == to && led.after_restart == to && (to != LedTo::Held || led.in_progress == 0));
        if is_so {
            // The fronts refuse a lower epoch where nothing is to be changed, too.
            return self.lead_all(lease, &to).await;
        }
        if Instant::now() >= until {
            return Err(fail(ErrorKind::Timeout, "no time was left to change anything".into()).without_effect());
        }
        if to == LedTo::Held {
            return self.hold(lease, until).await;
        }
        self.lead_all(lease, &to).await
    }
}

fn fail(kind: ErrorKind, context: String) -> StepError {
    StepError::new(kind, "lead", TARGET).with_context(context)
}

/// What all fronts say; an error where they do not agree.
fn agreed(seen: &[Led]) -> Result<Consumers, StepError> {
    let conflict = |context: String| {
        Err(StepError::new(ErrorKind::Conflict, "consumers", TARGET).with_context(context).without_effect())
    };
    let Some(first) = seen.first() else { return conflict("there is no front".into()) };
    let agrees = |led: &&Led| led.to == first.to && led.after_restart == first.to;
    if let Some(other) = seen.iter().find(|led| !agrees(led)) {
        let (to, later) = (Consumers::from(other.to.clone()), Consumers::from(other.after_restart.clone()));
        return conflict(format!("by {} consumers are {to}, and {later} after a restart", other.name));
    }
    let left: u64 = seen.iter().map(|led| led.in_progress).sum();
    match &first.to {
        LedTo::Held if left > 0 => conflict(format!("consumers are held, and {left} requests are in progress")),
        to => Ok(to.clone().into()),
    }
}

#[async_trait]
impl ObserveSiteSwitch for LocalSwitch {
    async fn consumers(&self) -> Result<Consumers, StepError> {
        async { agreed(&self.read("consumers").await?) }.instrument(call_span(NAME, "consumers", TARGET)).await
    }
}

#[async_trait]
impl SiteSwitch for LocalSwitch {
    async fn lead(&self, lease: LeaseEpoch, request: LeadConsumers) -> Result<Applied, StepError> {
        let (switch, until) = (self.clone(), Instant::now() + request.deadline);
        apart(NAME, ("lead", TARGET.into()), async move { switch.change(lease, request, until).await }).await
    }
}
