use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{Applied, Effect, ErrorKind, ExposeRoute, Exposure, HideRoute, RouteOn, StepError};
use ha_core::state::{LeaseEpoch, Route, RouteKey, ServiceRoute};
use ha_core::topology::Name;
use tokio::task::JoinSet;

use super::{ExposureAbility, ExposureFixture, ExposureSubject};
use crate::conformance::balancer::scene::{EPOCH, STALE, name};
use crate::conformance::verdict::{Done, Stop, breach, ensure, needs, refused, same};

/// How long a call may take.
const LONG: Duration = Duration::from_secs(30);

struct Scene {
    subject: Box<dyn ExposureSubject>,
    exposure: Arc<dyn Exposure>,
    /// `/orders`, which leads to `esb`.
    route: ServiceRoute,
    legacy: Name,
    instances: usize,
}

fn key(text: &str) -> Result<RouteKey, Stop> {
    RouteKey::new(text).map_err(|error| breach(error.to_string()))
}

fn expose_of(route: &ServiceRoute) -> ExposeRoute {
    ExposeRoute::new(route.clone()).with_deadline(LONG)
}

fn hide_of(route: &ServiceRoute) -> HideRoute {
    HideRoute::new(route.clone()).with_deadline(LONG)
}

impl Scene {
    async fn open(fixture: &dyn ExposureFixture) -> Result<Self, Stop> {
        let subject = fixture.fresh().await?;
        let (route, exposure) = (ServiceRoute::new(key("/orders")?, name("esb")?), subject.exposure());
        let instances = exposure.route(&route.key).await?.len();
        ensure(instances > 0, || "it names no instance".into())?;
        let several = fixture.can(ExposureAbility::SeveralInstances);
        ensure((instances > 1) == several, || format!("it names {instances} instances"))?;
        Ok(Self { subject, exposure, route, legacy: name("legacy")?, instances })
    }

    async fn expose(&self) -> Result<Applied, StepError> {
        self.exposure.expose(EPOCH, expose_of(&self.route)).await
    }

    async fn hide(&self) -> Result<Applied, StepError> {
        self.exposure.hide(EPOCH, hide_of(&self.route)).await
    }

    async fn seen(&self, key: &RouteKey) -> Result<Vec<RouteOn>, Stop> {
        Ok(self.exposure.route(key).await?)
    }

    /// Checks where a key leads on each instance, by both routes.
    async fn leads(&self, key: &RouteKey, to: &[Option<&str>]) -> Done {
        let wanted: Vec<Option<String>> = to.iter().map(|to| to.map(Into::into)).collect();
        same(format!("where {key} leads"), self.subject.truth(key).await?, wanted.clone())?;
        let seen = self.seen(key).await?;
        let now: Vec<Option<String>> = seen.iter().map(|on| on.value.clone()).collect();
        let later: Vec<Option<String>> = seen.iter().map(|on| on.after_restart.clone()).collect();
        same(format!("where {key} leads, as it is told"), now, wanted.clone())?;
        same(format!("where {key} would lead after a restart, as it is told"), later, wanted)
    }

    async fn leads_everywhere(&self, key: &RouteKey, to: Option<&str>) -> Done {
        self.leads(key, &vec![to; self.instances]).await
    }

    async fn route_is(&self, wanted: Route) -> Done {
        same(format!("the route {}", self.route), Route::seen(&self.route, &self.seen(&self.route.key).await?), wanted)
    }
}

pub(super) async fn a_fresh_key_is_dark_on_every_instance(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.leads_everywhere(&scene.route.key, None).await?;
    let mut names: Vec<String> = scene.seen(&scene.route.key).await?.into_iter().map(|on| on.instance).collect();
    names.sort();
    names.dedup();
    same("different names of instances", names.len(), scene.instances)?;
    scene.route_is(Route::Dark).await
}

pub(super) async fn an_exposed_key_leads_where_its_route_does_on_every_instance(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("an exposure", scene.expose().await?, Applied::Applied)?;
    scene.leads_everywhere(&scene.route.key, Some("esb")).await?;
    scene.route_is(Route::Exposed).await
}

pub(super) async fn a_hidden_key_is_gone_from_every_instance(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.expose().await?;
    same("a hiding", scene.hide().await?, Applied::Applied)?;
    scene.leads_everywhere(&scene.route.key, None).await?;
    scene.route_is(Route::Dark).await
}

pub(super) async fn a_key_exposed_twice_is_exposed_once(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("an exposure", scene.expose().await?, Applied::Applied)?;
    same("the same again", scene.expose().await?, Applied::AlreadySo)?;
    scene.leads_everywhere(&scene.route.key, Some("esb")).await
}

pub(super) async fn a_key_hidden_twice_is_hidden_once(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a hiding of what is dark", scene.hide().await?, Applied::AlreadySo)?;
    scene.expose().await?;
    same("a hiding", scene.hide().await?, Applied::Applied)?;
    same("the same again", scene.hide().await?, Applied::AlreadySo)?;
    same("an exposure after it", scene.expose().await?, Applied::Applied)
}

pub(super) async fn an_exposed_key_survives_a_restart(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.expose().await?;
    scene.subject.restart().await?;
    scene.leads_everywhere(&scene.route.key, Some("esb")).await?;
    same("an exposure of what is there", scene.expose().await?, Applied::AlreadySo)
}

pub(super) async fn a_hidden_key_stays_hidden_over_a_restart(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.expose().await?;
    scene.subject.restart().await?;
    same("a hiding", scene.hide().await?, Applied::Applied)?;
    scene.subject.restart().await?;
    scene.leads_everywhere(&scene.route.key, None).await
}

pub(super) async fn other_keys_are_left_as_they_are(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (others, esb) = ([key("/legacy")?, key("/stock")?, key("shop.example.com")?], name("esb")?);
    for (place, other) in others.iter().enumerate() {
        for instance in 0..scene.instances {
            scene.subject.lead(instance, other, Some(if place == 1 { &esb } else { &scene.legacy })).await?;
        }
    }
    let as_they_were = async || {
        scene.leads_everywhere(&others[0], Some("legacy")).await?;
        scene.leads_everywhere(&others[1], Some("esb")).await?;
        scene.leads_everywhere(&others[2], Some("legacy")).await
    };
    scene.expose().await?;
    as_they_were().await?;
    scene.subject.restart().await?;
    as_they_were().await?;
    scene.hide().await?;
    as_they_were().await?;
    scene.subject.restart().await?;
    as_they_were().await
}

pub(super) async fn a_key_is_told_from_those_that_begin_alike(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (longer, shorter) = (key("/orders/v1")?, key("/order")?);
    for instance in 0..scene.instances {
        scene.subject.lead(instance, &longer, Some(&scene.legacy)).await?;
        scene.subject.lead(instance, &shorter, Some(&scene.legacy)).await?;
    }
    let told = Route::seen(&scene.route, &scene.seen(&scene.route.key).await?);
    same("a key of which only longer and shorter ones are there", told, Route::Dark)?;
    same("its exposure", scene.expose().await?, Applied::Applied)?;
    same("its hiding", scene.hide().await?, Applied::Applied)?;
    for other in [&longer, &shorter] {
        scene.leads_everywhere(other, Some("legacy")).await?;
    }
    scene.route_is(Route::Dark).await
}

pub(super) async fn a_key_that_leads_elsewhere_is_refused_without_effect(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for instance in 0..scene.instances {
        scene.subject.lead(instance, &scene.route.key, Some(&scene.legacy)).await?;
    }
    scene.route_is(Route::Unknown).await?;
    refused("an exposure", scene.expose().await, ErrorKind::Conflict, Effect::None)?;
    refused("a hiding", scene.hide().await, ErrorKind::Conflict, Effect::None)?;
    scene.leads_everywhere(&scene.route.key, Some("legacy")).await
}

pub(super) async fn a_key_that_leads_elsewhere_on_one_instance_is_refused_on_all(
    fixture: &dyn ExposureFixture,
) -> Done {
    needs(fixture.can(ExposureAbility::SeveralInstances), ExposureAbility::SeveralInstances.name())?;
    let scene = Scene::open(fixture).await?;
    let mut wanted = vec![None; scene.instances];
    wanted[scene.instances - 1] = Some("legacy");
    scene.subject.lead(scene.instances - 1, &scene.route.key, Some(&scene.legacy)).await?;
    refused("an exposure", scene.expose().await, ErrorKind::Conflict, Effect::None)?;
    scene.leads(&scene.route.key, &wanted).await
}

pub(super) async fn what_is_exposed_on_some_instances_is_finished(fixture: &dyn ExposureFixture) -> Done {
    needs(fixture.can(ExposureAbility::SeveralInstances), ExposureAbility::SeveralInstances.name())?;
    let scene = Scene::open(fixture).await?;
    scene.subject.lead(0, &scene.route.key, Some(&scene.route.value)).await?;
    scene.route_is(Route::Unknown).await?;
    same("an exposure", scene.expose().await?, Applied::Applied)?;
    scene.leads_everywhere(&scene.route.key, Some("esb")).await
}

pub(super) async fn what_is_hidden_on_some_instances_is_finished(fixture: &dyn ExposureFixture) -> Done {
    needs(fixture.can(ExposureAbility::SeveralInstances), ExposureAbility::SeveralInstances.name())?;
    let scene = Scene::open(fixture).await?;
    scene.expose().await?;
    scene.subject.lead(0, &scene.route.key, None).await?;
    scene.route_is(Route::Unknown).await?;
    same("a hiding", scene.hide().await?, Applied::Applied)?;
    scene.leads_everywhere(&scene.route.key, None).await
}

pub(super) async fn a_half_change_is_told_and_finished(fixture: &dyn ExposureFixture) -> Done {
    needs(fixture.can(ExposureAbility::Tears), ExposureAbility::Tears.name())?;
    let scene = Scene::open(fixture).await?;
    for instance in 0..scene.instances {
        scene.subject.tear(instance, &scene.route.key, Some(&scene.route.value)).await?;
    }
    scene.route_is(Route::Unknown).await?;
    same("an exposure", scene.expose().await?, Applied::Applied)?;
    scene.leads_everywhere(&scene.route.key, Some("esb")).await?;
    for instance in 0..scene.instances {
        scene.subject.tear(instance, &scene.route.key, None).await?;
    }
    scene.route_is(Route::Unknown).await?;
    same("a hiding", scene.hide().await?, Applied::Applied)?;
    scene.subject.restart().await?;
    scene.leads_everywhere(&scene.route.key, None).await
}

pub(super) async fn the_next_controller_sees_what_this_one_did(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let next = scene.subject.another();
    scene.expose().await?;
    let seen = next.route(&scene.route.key).await?;
    same("the route, as the next one sees it", Route::seen(&scene.route, &seen), Route::Exposed)?;
    same("its exposure", next.expose(EPOCH, expose_of(&scene.route)).await?, Applied::AlreadySo)?;
    same("its hiding", next.hide(EPOCH, hide_of(&scene.route)).await?, Applied::Applied)?;
    scene.route_is(Route::Dark).await
}

pub(super) async fn reads_change_nothing(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for exposed in [false, true] {
        if exposed {
            scene.expose().await?;
        }
        let before = scene.seen(&scene.route.key).await?;
        for _ in 0..5 {
            same("what is read again", scene.seen(&scene.route.key).await?, before.clone())?;
        }
        scene.leads_everywhere(&scene.route.key, exposed.then_some("esb")).await?;
    }
    Ok(())
}

pub(super) async fn at_a_deadline_of_zero_nothing_is_changed(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let at_once = |route: &ServiceRoute| ExposeRoute::new(route.clone()).with_deadline(Duration::ZERO);
    let asked = scene.exposure.expose(EPOCH, at_once(&scene.route)).await;
    refused("an exposure at once", asked, ErrorKind::Timeout, Effect::None)?;
    scene.leads_everywhere(&scene.route.key, None).await?;
    scene.expose().await?;
    let hide = HideRoute::new(scene.route.clone()).with_deadline(Duration::ZERO);
    refused("a hiding at once", scene.exposure.hide(EPOCH, hide).await, ErrorKind::Timeout, Effect::None)?;
    scene.leads_everywhere(&scene.route.key, Some("esb")).await
}

pub(super) async fn an_instance_that_does_not_answer_keeps_all_from_being_changed(
    fixture: &dyn ExposureFixture,
) -> Done {
    needs(fixture.can(ExposureAbility::LosesInstances), ExposureAbility::LosesInstances.name())?;
    let scene = Scene::open(fixture).await?;
    scene.subject.lose_last().await?;
    refused("a read", scene.exposure.route(&scene.route.key).await, ErrorKind::Unreachable, Effect::None)?;
    refused("an exposure", scene.expose().await, ErrorKind::Unreachable, Effect::None)?;
    let seen = scene.subject.truth(&scene.route.key).await?;
    ensure(seen.iter().all(Option::is_none), || format!("{} leads to {seen:?}", scene.route.key))
}

pub(super) async fn a_stale_epoch_changes_nothing_where_it_is_fenced(fixture: &dyn ExposureFixture) -> Done {
    needs(fixture.can(ExposureAbility::Fences), ExposureAbility::Fences.name())?;
    let scene = Scene::open(fixture).await?;
    scene.expose().await?;
    let hide = || hide_of(&scene.route);
    refused("a stale hiding", scene.exposure.hide(STALE, hide()).await, ErrorKind::Fenced, Effect::None)?;
    let next = scene.subject.another();
    refused("the next one's", next.hide(STALE, hide()).await, ErrorKind::Fenced, Effect::None)?;
    scene.leads_everywhere(&scene.route.key, Some("esb")).await?;
    scene.hide().await?;
    let stale = scene.exposure.expose(STALE, expose_of(&scene.route)).await;
    refused("a stale exposure", stale, ErrorKind::Fenced, Effect::None)?;
    scene.leads_everywhere(&scene.route.key, None).await?;
    let higher = LeaseEpoch::new(EPOCH.number() + 1);
    let exposed = scene.exposure.expose(higher, expose_of(&scene.route)).await?;
    same("an exposure with a higher epoch", exposed, Applied::Applied)
}

pub(super) async fn many_changes_at_once_end_in_one_state(fixture: &dyn ExposureFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let others = [key("/stock")?, key("/customers")?, key("/bills")?];
    let mut calls = JoinSet::new();
    for turn in 0..8 {
        let (exposure, route) = (scene.exposure.clone(), scene.route.clone());
        calls.spawn(async move {
            if turn % 2 == 0 {
                exposure.expose(EPOCH, expose_of(&route)).await
            } else {
                exposure.hide(EPOCH, hide_of(&route)).await
            }
        });
    }
    for other in &others {
        let (exposure, route) = (scene.exposure.clone(), ServiceRoute::new(other.clone(), scene.route.value.clone()));
        calls.spawn(async move { exposure.expose(EPOCH, expose_of(&route)).await });
    }
    while let Some(ended) = calls.join_next().await {
        ended.map_err(|error| breach(error.to_string()))??;
    }
    scene.expose().await?;
    scene.subject.restart().await?;
    scene.leads_everywhere(&scene.route.key, Some("esb")).await?;
    for other in &others {
        scene.leads_everywhere(other, Some("esb")).await?;
    }
    Ok(())
}
