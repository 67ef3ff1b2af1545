use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, Consumers, ErrorKind, LeadConsumers, ObserveSiteSwitch, SiteSwitch, StepError};
use ha_core::state::LeaseEpoch;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::site_switch::{
    FakeSwitchFixture, HeldConsumer, RequestInProgress, SiteSwitchAbility, SiteSwitchFixture, SiteSwitchSubject,
};

use super::{another_kind, newest, with_unknown_effect};

defects! {
    LeadDoesNothing LeadSaysApplied LeadSaysAlreadySo LeadIsInForceOnly LeadIsWrittenOnly RestartLosesIt
    UnknownSiteIsTaken UnknownSiteIsConflict UnknownSiteHasAnUnknownEffect
    HoldDoesNothing HoldDoesNotWait HoldRefuses HoldStaysAtTheDeadline HoldOutlivesItsDeadline
    GivenUpHoldHasAnUnknownEffect GivenUpHoldIsConflict GivenUpHoldLeadsOn GivenUpHoldLeadsNowhere
    NowhereDoesNothing NowhereHolds HeldIsNotLedBack
    TwoMindsAreTheFirst TwoMindsAreTheLast TwoMindsAreLeft
    ConsumersAreTold ConsumersLead UnreachableIsTheFirst UnreachableIsLed
    DeadlineIsIgnored DeadlineHasAnUnknownEffect NoFence FencedIsConflict
}

struct Broken {
    defect: Defect,
    inner: Arc<dyn SiteSwitch>,
    subject: Arc<dyn SiteSwitchSubject>,
    torn: Arc<AtomicBool>,
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Broken({:?})", self.defect)
    }
}

fn to(site: &str) -> Consumers {
    Consumers::To(site.into())
}

impl Broken {
    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// Leads elsewhere for sure, by the whole switch.
    async fn whole(&self, to: Consumers) {
        let _ = self.inner.lead(newest(LeaseEpoch::new(0)), LeadConsumers::new(to)).await;
    }

    fn spoil<T>(&self, answer: Result<T, StepError>, holds: bool) -> Result<T, StepError> {
        match self.defect {
            Defect::FencedIsConflict => another_kind(answer, ErrorKind::Fenced, ErrorKind::Conflict),
            Defect::UnknownSiteIsConflict => another_kind(answer, ErrorKind::NotFound, ErrorKind::Conflict),
            Defect::UnknownSiteHasAnUnknownEffect => with_unknown_effect(answer, ErrorKind::NotFound),
            Defect::DeadlineHasAnUnknownEffect if !holds => with_unknown_effect(answer, ErrorKind::Timeout),
            Defect::GivenUpHoldHasAnUnknownEffect if holds => with_unknown_effect(answer, ErrorKind::Timeout),
            Defect::GivenUpHoldIsConflict if holds => another_kind(answer, ErrorKind::Timeout, ErrorKind::Conflict),
            _ => answer,
        }
    }
}

#[async_trait]
impl ObserveSiteSwitch for Broken {
    async fn consumers(&self) -> Result<Consumers, StepError> {
        let told = self.inner.consumers().await;
        let conflict = matches!(&told, Err(error) if error.kind() == ErrorKind::Conflict);
        match self.defect {
            Defect::ConsumersAreTold => Ok(to("north")),
            Defect::TwoMindsAreTheFirst if conflict => Ok(to("north")),
            Defect::TwoMindsAreTheLast if conflict => Ok(to("south")),
            Defect::UnreachableIsTheFirst if told.is_err() && !conflict => Ok(to("north")),
            Defect::ConsumersLead => {
                self.whole(to("south")).await;
                told
            }
            _ => told,
        }
    }
}

#[async_trait]
impl SiteSwitch for Broken {
    async fn lead(&self, lease: LeaseEpoch, request: LeadConsumers) -> Result<Applied, StepError> {
        let lease = if self.is(Defect::NoFence) { newest(lease) } else { lease };
        let (wanted, holds) = (request.to.clone(), request.to == Consumers::Held);
        let mut request = request;
        let back = self.is(Defect::HeldIsNotLedBack) && wanted == to("north");
        if back && self.inner.consumers().await? == Consumers::Held {
            request.to = to("south");
        }
        match (self.defect, &wanted) {
            (Defect::LeadDoesNothing, Consumers::To(_))
            | (Defect::HoldDoesNothing, Consumers::Held)
            | (Defect::NowhereDoesNothing, Consumers::Nowhere) => return Ok(Applied::Applied),
            (Defect::LeadIsWrittenOnly, Consumers::To(site)) if site == "south" => {
                // In two minds: north is in force, south is written down.
                self.subject.tear().await.unwrap();
                return Ok(Applied::Applied);
            }
            (Defect::UnknownSiteIsTaken, Consumers::To(site)) if site == "east" => return Ok(Applied::Applied),
            (Defect::HoldRefuses, Consumers::Held) => request.to = Consumers::Nowhere,
            (Defect::NowhereHolds, Consumers::Nowhere) => request.to = Consumers::Held,
            (Defect::HoldOutlivesItsDeadline, Consumers::Held) => {
                request = request.with_deadline(Duration::from_secs(3600));
            }
            (Defect::HoldDoesNotWait, Consumers::Held) => {
                let (inner, hold) = (self.inner.clone(), LeadConsumers::new(Consumers::Held));
                tokio::spawn(async move { inner.lead(newest(LeaseEpoch::new(0)), hold).await });
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Ok(Applied::Applied);
            }
            (Defect::TwoMindsAreLeft, Consumers::To(_)) if self.torn.load(Ordering::SeqCst) => {
                return Ok(Applied::Applied);
            }
            (Defect::DeadlineIsIgnored, _) => request = request.with_deadline(Duration::from_secs(60)),
            _ => {}
        }
        let at_once = request.deadline.is_zero();
        let led = self.inner.lead(lease, request).await;
        let gave_up = holds && !at_once && matches!(&led, Err(error) if error.kind() == ErrorKind::Timeout);
        match self.defect {
            Defect::UnreachableIsLed if led.is_err() => return Ok(Applied::Applied),
            Defect::HoldStaysAtTheDeadline if gave_up => {
                let (inner, hold) = (self.inner.clone(), LeadConsumers::new(Consumers::Held));
                tokio::spawn(async move { inner.lead(newest(LeaseEpoch::new(0)), hold).await });
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Defect::GivenUpHoldLeadsOn if gave_up => self.whole(to("south")).await,
            Defect::GivenUpHoldLeadsNowhere if gave_up => self.whole(Consumers::Nowhere).await,
            _ => {}
        }
        let led = self.spoil(led, holds && !at_once)?;
        Ok(match self.defect {
            Defect::LeadSaysApplied => Applied::Applied,
            Defect::LeadSaysAlreadySo => Applied::AlreadySo,
            _ => led,
        })
    }
}

pub(crate) struct Fixture(pub(crate) Option<Defect>);

struct Subject {
    defect: Defect,
    inner: Arc<dyn SiteSwitchSubject>,
    switch: Arc<dyn SiteSwitch>,
    torn: Arc<AtomicBool>,
}

impl Subject {
    fn broken(&self, inner: Arc<dyn SiteSwitch>) -> Arc<dyn SiteSwitch> {
        let (subject, torn) = (self.inner.clone(), self.torn.clone());
        Arc::new(Broken { defect: self.defect, inner, subject, torn })
    }
}

#[async_trait]
impl SiteSwitchFixture for Fixture {
    fn name(&self) -> String {
        "a site switch in memory".into()
    }

    fn can(&self, ability: SiteSwitchAbility) -> bool {
        FakeSwitchFixture::new().can(ability)
    }

    async fn fresh(&self) -> Result<Box<dyn SiteSwitchSubject>, Breach> {
        let inner = FakeSwitchFixture::new().fresh().await?;
        let Some(defect) = self.0 else { return Ok(inner) };
        let inner: Arc<dyn SiteSwitchSubject> = inner.into();
        let mut subject = Subject { defect, switch: inner.switch(), inner, torn: Arc::default() };
        subject.switch = subject.broken(subject.switch.clone());
        Ok(Box::new(subject))
    }
}

#[async_trait]
impl SiteSwitchSubject for Subject {
    fn switch(&self) -> Arc<dyn SiteSwitch> {
        self.switch.clone()
    }

    fn another(&self) -> Arc<dyn SiteSwitch> {
        self.broken(self.inner.another())
    }

    async fn truth(&self) -> Result<Consumers, Breach> {
        self.inner.truth().await
    }

    async fn begin(&self) -> Result<Box<dyn RequestInProgress>, Breach> {
        self.inner.begin().await
    }

    async fn wait(&self) -> Result<Box<dyn HeldConsumer>, Breach> {
        self.inner.wait().await
    }

    async fn tear(&self) -> Result<(), Breach> {
        self.torn.store(true, Ordering::SeqCst);
        self.inner.tear().await
    }

    async fn restart(&self) -> Result<(), Breach> {
        self.inner.restart().await?;
        let after = match self.defect {
            // What is written down is still what was there at first.
            Defect::LeadIsInForceOnly => to("north"),
            Defect::RestartLosesIt => Consumers::Nowhere,
            _ => return Ok(()),
        };
        let led = self.inner.switch().lead(newest(LeaseEpoch::new(0)), LeadConsumers::new(after)).await;
        led.map(drop).map_err(|error| Breach::new(error.to_string()))
    }

    async fn lose(&self) -> Result<(), Breach> {
        self.inner.lose().await
    }
}
