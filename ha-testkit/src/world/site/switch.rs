use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, Consumers, ErrorKind, LeadConsumers, ObserveSiteSwitch, SiteSwitch, StepError};
use ha_core::state::LeaseEpoch;
use tokio::time::{Instant, sleep};

use crate::world::fault::{after, answer_late, before};
use crate::world::{Controller, Fault, Operation, World};

/// What leads the simulated world's clients to one of its sites.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Consumers, LeadConsumers, LeaseEpoch, SiteSwitch};
/// use ha_core::topology::SiteRole;
/// use ha_testkit::world::{Controller, FakeSwitch, Shape};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = Shape::active_passive().with_sites(SiteRole::Hot).world().unwrap();
/// let switch = FakeSwitch::new(world.clone(), Controller::new());
/// switch.lead(LeaseEpoch::new(1), LeadConsumers::new(Consumers::Held)).await.unwrap();
/// assert_eq!(world.led().0, Consumers::Held);
/// # });
/// ```
pub struct FakeSwitch {
    world: World,
    controller: Controller,
}

const TARGET: &str = "switch";
/// How long it takes to lead consumers elsewhere.
const LEADING: Duration = Duration::from_millis(40);
/// How often it is looked whether requests are in progress.
const LOOK: Duration = Duration::from_millis(5);

impl fmt::Debug for FakeSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeSwitch").finish_non_exhaustive()
    }
}

impl FakeSwitch {
    /// Makes the switch as `controller` reaches it.
    pub fn new(world: World, controller: Controller) -> Self {
        Self { world, controller }
    }

    /// Waits until no request is in progress that the switch has led anywhere.
    async fn all_ended(&self, deadline: Duration) -> bool {
        let began = Instant::now();
        while self.world.led_in_progress() > 0 {
            if began.elapsed() >= deadline {
                return false;
            }
            sleep(LOOK).await;
            self.controller.lives().await;
        }
        true
    }
}

#[async_trait]
impl ObserveSiteSwitch for FakeSwitch {
    async fn consumers(&self) -> Result<Consumers, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Consumers, "consumers", TARGET).await?;
        let (running, written) = self.world.led();
        let conflict = |context: String| {
            Err(StepError::new(ErrorKind::Conflict, "consumers", TARGET).with_context(context).without_effect())
        };
        let left = self.world.led_in_progress();
        match &running {
            _ if running != written => conflict(format!("consumers are {running}, and after a restart {written}")),
            Consumers::Held if left > 0 => conflict(format!("consumers are held, {left} requests are in progress")),
            _ => Ok(running),
        }
    }
}

#[async_trait]
impl SiteSwitch for FakeSwitch {
    async fn lead(&self, lease: LeaseEpoch, request: LeadConsumers) -> Result<Applied, StepError> {
        self.controller.round_trip().await;
        self.world.fence(lease.number(), "lead", TARGET)?;
        let fault = self.world.take_fault(Operation::Lead, TARGET);
        let to = request.to.clone();
        self.world.if_late(fault, move |world| world.lead(&to));
        if !before(fault, "lead", TARGET)? {
            return Ok(Applied::AlreadySo);
        }
        if let Consumers::To(site) = &request.to
            && self.world.topology().find_site(site).is_none()
        {
            let context = format!("there is no site {site}");
            return Err(StepError::new(ErrorKind::NotFound, "lead", TARGET).with_context(context).without_effect());
        }
        let (running, written) = self.world.led();
        let is_so = running == request.to && written == request.to;
        if is_so && (running != Consumers::Held || self.world.led_in_progress() == 0) {
            return after(fault, "lead", TARGET).map(|()| Applied::AlreadySo);
        }
        if request.deadline.is_zero() {
            return Err(StepError::new(ErrorKind::Timeout, "lead", TARGET).without_effect());
        }
        self.world.lock().sites.written = request.to.clone();
        sleep(LEADING).await;
        self.controller.lives().await;
        if fault != Some(Fault::Half) {
            self.world.lead(&request.to);
            if request.to == Consumers::Held && !self.all_ended(request.deadline).await {
                let before = self.world.lock().sites.before.clone();
                self.world.lead(&before);
                let left = "requests were still in progress at the deadline; consumers are led where they were";
                return Err(StepError::new(ErrorKind::Timeout, "lead", TARGET).with_context(left).without_effect());
            }
        }
        answer_late(fault).await;
        after(fault, "lead", TARGET).map(|()| Applied::Applied)
    }
}

impl World {
    /// Leads consumers elsewhere, at once and durably, as somebody does it by hand.
    pub fn lead(&self, to: &Consumers) {
        let mut inner = self.lock();
        (inner.sites.running, inner.sites.written) = (to.clone(), to.clone());
        if *to != Consumers::Held {
            inner.sites.before = to.clone();
        }
    }

    /// Begins or ends a request in a site to which consumers were led.
    pub(crate) fn change_in_progress(&self, site: &str, by: i64) {
        self.with_site(site, |site| site.in_progress = site.in_progress.saturating_add_signed(by));
    }

    /// Counts the requests in progress in all sites.
    fn led_in_progress(&self) -> u64 {
        self.lock().sites.sites.values().map(|site| site.in_progress).sum()
    }
}
