//! The suite for exposures is proven itself: it runs on exposures with one defect each, and fails if one survives.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[macro_use]
mod proof;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, ErrorKind, ExposeRoute, Exposure, HideRoute, ObserveExposure, RouteOn, StepError};
use ha_core::state::{LeaseEpoch, RouteKey, ServiceRoute};
use ha_core::topology::Name;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::exposure::{
    CASES, ExposureAbility, ExposureFixture, ExposureSubject, FakeExposureFixture,
};
use proof::every_defect_is_caught;

defects! {
    ExposeDoesNothing ExposeSaysApplied ExposeSaysAlreadySo ExposeLivesInTheValue
    HideDoesNothing HideSaysApplied HideSaysAlreadySo
    ExposeIsInForceOnly HideIsInForceOnly ExposeIsWrittenOnly HideTakesAllKeys ExposeTakesAllOtherKeys
    FirstInstanceOnly LastInstanceIsLeftOnHide
    TakesWhatLeadsElsewhere HidesWhatLeadsElsewhere ConflictHasAnUnknownEffect ConflictIsDenied
    FirstIsChangedBeforeTheLastIsAsked
    DeadlineIsIgnored DeadlineHasAnUnknownEffect
    NoFence FencedIsConflict
    RouteIsDark RouteIsExposed RouteIsOfTheFirst RouteNamesOneInstance InstancesHaveOneName
    RouteMatchesPrefixes RouteIsInForceOnly RouteIsWrittenOnly RouteHides UnreachableIsDark UnreachableIsTimeout
}

struct Broken {
    defect: Defect,
    inner: Arc<dyn Exposure>,
    subject: Arc<dyn ExposureSubject>,
    exposed: Mutex<Vec<ServiceRoute>>,
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Broken({:?})", self.defect)
    }
}

impl Broken {
    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn epoch(&self, epoch: LeaseEpoch) -> LeaseEpoch {
        if self.is(Defect::NoFence) { LeaseEpoch::new(epoch.number().max(11)) } else { epoch }
    }

    fn deadline(&self, deadline: Duration) -> Duration {
        if self.is(Defect::DeadlineIsIgnored) { deadline.max(Duration::from_secs(1)) } else { deadline }
    }

    fn spoil<T>(&self, answer: Result<T, StepError>) -> Result<T, StepError> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let again = |kind| StepError::new(kind, error.operation(), error.target());
        Err(match (self.defect, error.kind()) {
            (Defect::ConflictHasAnUnknownEffect, ErrorKind::Conflict) => again(ErrorKind::Conflict),
            (Defect::ConflictIsDenied, ErrorKind::Conflict) => again(ErrorKind::Denied).without_effect(),
            (Defect::DeadlineHasAnUnknownEffect, ErrorKind::Timeout) => again(ErrorKind::Timeout),
            (Defect::FencedIsConflict, ErrorKind::Fenced) => again(ErrorKind::Conflict).without_effect(),
            (Defect::UnreachableIsTimeout, ErrorKind::Unreachable) => again(ErrorKind::Timeout).without_effect(),
            _ => error,
        })
    }

    /// Where a key leads, without asking the value under test.
    async fn truth(&self, key: &RouteKey) -> Vec<Option<String>> {
        self.subject.truth(key).await.unwrap()
    }

    async fn lead_all(&self, key: &RouteKey, to: Option<&Name>) {
        for instance in 0..self.truth(key).await.len() {
            self.subject.lead(instance, key, to).await.unwrap();
        }
    }

    /// Does what the defect does instead of a change; `None` where it is whole.
    async fn instead(&self, route: &ServiceRoute, to: Option<&Name>) -> Option<Applied> {
        let (exposes, truth) = (to.is_some(), self.truth(&route.key).await);
        let is_so = truth.iter().all(|leads| leads.as_deref() == to.map(Name::as_str));
        let last = truth.len() - 1;
        match self.defect {
            Defect::ExposeDoesNothing if exposes => {}
            Defect::HideDoesNothing if !exposes => {}
            Defect::ExposeIsInForceOnly if exposes && !is_so => {
                for instance in 0..=last {
                    self.subject.tear(instance, &route.key, to).await.unwrap();
                }
            }
            Defect::HideIsInForceOnly if !exposes && !is_so => {
                for instance in 0..=last {
                    self.subject.tear(instance, &route.key, None).await.unwrap();
                }
            }
            Defect::ExposeIsWrittenOnly if exposes && !is_so => {
                self.lead_all(&route.key, to).await;
                for instance in 0..=last {
                    self.subject.tear(instance, &route.key, None).await.unwrap();
                }
            }
            Defect::FirstInstanceOnly if exposes && truth[0].is_none() => {
                self.subject.lead(0, &route.key, to).await.unwrap();
            }
            Defect::LastInstanceIsLeftOnHide if !exposes && !is_so => {
                for instance in 0..last {
                    self.subject.lead(instance, &route.key, None).await.unwrap();
                }
            }
            Defect::TakesWhatLeadsElsewhere | Defect::HidesWhatLeadsElsewhere => {
                let elsewhere = truth.iter().any(|leads| leads.as_deref() == Some("legacy"));
                if !elsewhere || exposes != self.is(Defect::TakesWhatLeadsElsewhere) {
                    return None;
                }
                self.lead_all(&route.key, to).await;
            }
            _ => return None,
        }
        Some(Applied::Applied)
    }

    async fn beside(&self, route: &ServiceRoute, to: Option<&Name>) {
        match self.defect {
            Defect::HideTakesAllKeys if to.is_none() => {
                for other in ["/legacy", "/stock"] {
                    self.lead_all(&RouteKey::new(other).unwrap(), None).await;
                }
            }
            Defect::ExposeTakesAllOtherKeys if to.is_some() => {
                for other in ["/legacy", "/stock"] {
                    self.lead_all(&RouteKey::new(other).unwrap(), None).await;
                }
            }
            Defect::FirstIsChangedBeforeTheLastIsAsked if to.is_some() && self.truth(&route.key).await[0].is_none() => {
                self.subject.lead(0, &route.key, to).await.unwrap();
            }
            _ => {}
        }
    }
}

#[async_trait]
impl ObserveExposure for Broken {
    async fn route(&self, key: &RouteKey) -> Result<Vec<RouteOn>, StepError> {
        let found = self.spoil(self.inner.route(key).await);
        if self.is(Defect::UnreachableIsDark) && found.is_err() {
            return Ok(vec![RouteOn::new("lb1", None), RouteOn::new("lb2", None)]);
        }
        let mut seen = found?;
        match self.defect {
            Defect::RouteIsOfTheFirst => {
                let first = seen[0].clone();
                for on in &mut seen {
                    (on.value, on.after_restart) = (first.value.clone(), first.after_restart.clone());
                }
            }
            Defect::RouteNamesOneInstance => seen.truncate(1),
            Defect::RouteHides => {
                self.lead_all(key, None).await;
            }
            _ => {}
        }
        for on in &mut seen {
            match self.defect {
                Defect::RouteIsDark => (on.value, on.after_restart) = (None, None),
                Defect::RouteIsExposed => (on.value, on.after_restart) = (Some("esb".into()), Some("esb".into())),
                Defect::InstancesHaveOneName => on.instance = "lb".into(),
                Defect::RouteIsInForceOnly => on.after_restart = on.value.clone(),
                Defect::RouteIsWrittenOnly => on.value = on.after_restart.clone(),
                Defect::ExposeLivesInTheValue => {
                    let exposed = self.exposed.lock().unwrap();
                    let leads = exposed.iter().find(|route| route.key == *key).map(|route| route.value.to_string());
                    if leads.is_some() {
                        (on.value, on.after_restart) = (leads.clone(), leads);
                    }
                }
                Defect::RouteMatchesPrefixes if on.value.is_none() => {
                    let shorter = RouteKey::new("/order").unwrap();
                    if key.as_str().starts_with("/order") && self.truth(&shorter).await[0].is_some() {
                        (on.value, on.after_restart) = (Some("legacy".into()), Some("legacy".into()));
                    }
                }
                _ => {}
            }
        }
        Ok(seen)
    }
}

#[async_trait]
impl Exposure for Broken {
    async fn expose(&self, epoch: LeaseEpoch, request: ExposeRoute) -> Result<Applied, StepError> {
        let route = request.route.clone();
        if self.is(Defect::ExposeLivesInTheValue) {
            let mut exposed = self.exposed.lock().unwrap();
            let new = !exposed.contains(&route);
            exposed.push(route);
            return Ok(if new { Applied::Applied } else { Applied::AlreadySo });
        }
        if let Some(done) = self.instead(&route, Some(&route.value)).await {
            return Ok(done);
        }
        self.beside(&route, Some(&route.value)).await;
        let deadline = self.deadline(request.deadline);
        let exposed = self.inner.expose(self.epoch(epoch), request.with_deadline(deadline)).await;
        Ok(match (self.spoil(exposed)?, self.defect) {
            (_, Defect::ExposeSaysApplied) => Applied::Applied,
            (_, Defect::ExposeSaysAlreadySo) => Applied::AlreadySo,
            (done, _) => done,
        })
    }

    async fn hide(&self, epoch: LeaseEpoch, request: HideRoute) -> Result<Applied, StepError> {
        let route = request.route.clone();
        self.exposed.lock().unwrap().retain(|known| *known != route);
        if let Some(done) = self.instead(&route, None).await {
            return Ok(done);
        }
        self.beside(&route, None).await;
        let deadline = self.deadline(request.deadline);
        let hidden = self.inner.hide(self.epoch(epoch), request.with_deadline(deadline)).await;
        Ok(match (self.spoil(hidden)?, self.defect) {
            (_, Defect::HideSaysApplied) => Applied::Applied,
            (_, Defect::HideSaysAlreadySo) => Applied::AlreadySo,
            (done, _) => done,
        })
    }
}

struct BrokenFixture(Option<Defect>);

struct BrokenSubject {
    defect: Defect,
    inner: Arc<dyn ExposureSubject>,
    exposure: Arc<dyn Exposure>,
}

fn broken(defect: Defect, inner: Arc<dyn Exposure>, subject: Arc<dyn ExposureSubject>) -> Arc<dyn Exposure> {
    Arc::new(Broken { defect, inner, subject, exposed: Mutex::default() })
}

#[async_trait]
impl ExposureFixture for BrokenFixture {
    fn name(&self) -> String {
        "an exposure in memory".into()
    }

    fn can(&self, ability: ExposureAbility) -> bool {
        FakeExposureFixture::new().can(ability)
    }

    async fn fresh(&self) -> Result<Box<dyn ExposureSubject>, Breach> {
        let inner = FakeExposureFixture::new().fresh().await?;
        let Some(defect) = self.0 else { return Ok(inner) };
        let inner: Arc<dyn ExposureSubject> = inner.into();
        let exposure = broken(defect, inner.exposure(), inner.clone());
        Ok(Box::new(BrokenSubject { defect, inner, exposure }))
    }
}

#[async_trait]
impl ExposureSubject for BrokenSubject {
    fn exposure(&self) -> Arc<dyn Exposure> {
        self.exposure.clone()
    }

    fn another(&self) -> Arc<dyn Exposure> {
        broken(self.defect, self.inner.another(), self.inner.clone())
    }

    async fn truth(&self, key: &RouteKey) -> Result<Vec<Option<String>>, Breach> {
        self.inner.truth(key).await
    }

    async fn lead(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        self.inner.lead(instance, key, to).await
    }

    async fn tear(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        self.inner.tear(instance, key, to).await
    }

    async fn restart(&self) -> Result<(), Breach> {
        self.inner.restart().await
    }

    async fn lose_last(&self) -> Result<(), Breach> {
        self.inner.lose_last().await
    }
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_an_exposure_is_caught() {
    let broken = |defect| Box::new(BrokenFixture(Some(defect))) as Box<dyn ExposureFixture>;
    every_defect_is_caught("exposures", CASES, &BrokenFixture(None), DEFECTS, broken).await;
}
