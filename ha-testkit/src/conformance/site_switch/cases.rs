use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{Applied, Consumers, Effect, ErrorKind, LeadConsumers, SiteSwitch, StepError};
use ha_core::state::LeaseEpoch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{SiteSwitchAbility, SiteSwitchFixture, SiteSwitchSubject};
use crate::conformance::balancer::scene::{EPOCH, STALE};
use crate::conformance::verdict::{Done, Stop, breach, ensure, needs, refused, same};

/// How long a call may take.
const LONG: Duration = Duration::from_secs(30);
/// How long a call takes at most that need not wait for a request.
const SHORT: Duration = Duration::from_secs(1);

struct Scene {
    subject: Box<dyn SiteSwitchSubject>,
    switch: Arc<dyn SiteSwitch>,
}

fn to(site: &str) -> Consumers {
    Consumers::To(site.into())
}

fn lead_to(to: Consumers) -> LeadConsumers {
    LeadConsumers::new(to).with_deadline(LONG)
}

fn can(fixture: &dyn SiteSwitchFixture, ability: SiteSwitchAbility) -> Done {
    needs(fixture.can(ability), ability.name())
}

impl Scene {
    async fn open(fixture: &dyn SiteSwitchFixture) -> Result<Self, Stop> {
        let subject = fixture.fresh().await?;
        let switch = subject.switch();
        Ok(Self { subject, switch })
    }

    async fn lead(&self, to: Consumers) -> Result<Applied, StepError> {
        self.switch.lead(EPOCH, lead_to(to)).await
    }

    /// Checks where consumers are led, by both routes.
    async fn led(&self, wanted: &Consumers) -> Done {
        same("where consumers are led, as it is told", self.switch.consumers().await?, wanted.clone())?;
        same("where consumers are led", self.subject.truth().await?, wanted.clone())
    }
}

pub(super) async fn consumers_are_led_to_the_first_site_at_first(fixture: &dyn SiteSwitchFixture) -> Done {
    Scene::open(fixture).await?.led(&to("north")).await
}

pub(super) async fn consumers_are_led_where_it_was_asked_for(fixture: &dyn SiteSwitchFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a lead", scene.lead(to("south")).await?, Applied::Applied)?;
    scene.led(&to("south")).await
}

pub(super) async fn consumers_led_twice_are_led_once(fixture: &dyn SiteSwitchFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a lead to where they are led", scene.lead(to("north")).await?, Applied::AlreadySo)?;
    same("a lead", scene.lead(to("south")).await?, Applied::Applied)?;
    same("the same again", scene.lead(to("south")).await?, Applied::AlreadySo)?;
    scene.led(&to("south")).await
}

pub(super) async fn consumers_are_led_back(fixture: &dyn SiteSwitchFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.lead(to("south")).await?;
    same("a lead back", scene.lead(to("north")).await?, Applied::Applied)?;
    scene.led(&to("north")).await
}

pub(super) async fn a_site_that_is_not_known_is_refused_without_effect(fixture: &dyn SiteSwitchFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    refused("a lead to nobody", scene.lead(to("east")).await, ErrorKind::NotFound, Effect::None)?;
    scene.led(&to("north")).await
}

pub(super) async fn consumers_are_led_nowhere(fixture: &dyn SiteSwitchFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    if !fixture.can(SiteSwitchAbility::Refuses) {
        let asked = scene.lead(Consumers::Nowhere).await;
        refused("a lead nowhere", asked, ErrorKind::Unsupported, Effect::None)?;
        scene.led(&to("north")).await?;
        return can(fixture, SiteSwitchAbility::Refuses);
    }
    same("a lead nowhere", scene.lead(Consumers::Nowhere).await?, Applied::Applied)?;
    scene.led(&Consumers::Nowhere).await?;
    same("a lead to a site", scene.lead(to("south")).await?, Applied::Applied)?;
    scene.led(&to("south")).await
}

pub(super) async fn consumers_that_are_held_wait_and_are_answered_where_they_are_led(
    fixture: &dyn SiteSwitchFixture,
) -> Done {
    can(fixture, SiteSwitchAbility::Holds)?;
    let scene = Scene::open(fixture).await?;
    same("a hold", scene.lead(Consumers::Held).await?, Applied::Applied)?;
    let waiting = [scene.subject.wait().await?, scene.subject.wait().await?];
    scene.led(&Consumers::Held).await?;
    same("a lead", scene.lead(to("south")).await?, Applied::Applied)?;
    for waiting in waiting {
        same("who answers a request that waited", waiting.answer().await?.as_deref(), Some("south"))?;
    }
    scene.led(&to("south")).await
}

pub(super) async fn consumers_held_twice_are_held_once(fixture: &dyn SiteSwitchFixture) -> Done {
    can(fixture, SiteSwitchAbility::Holds)?;
    let scene = Scene::open(fixture).await?;
    same("a hold", scene.lead(Consumers::Held).await?, Applied::Applied)?;
    same("the same again", scene.lead(Consumers::Held).await?, Applied::AlreadySo)?;
    scene.led(&Consumers::Held).await
}

pub(super) async fn consumers_that_are_held_are_led_back_to_where_they_were(fixture: &dyn SiteSwitchFixture) -> Done {
    can(fixture, SiteSwitchAbility::Holds)?;
    let scene = Scene::open(fixture).await?;
    scene.lead(Consumers::Held).await?;
    let waiting = scene.subject.wait().await?;
    same("a lead back", scene.lead(to("north")).await?, Applied::Applied)?;
    same("who answers a request that waited", waiting.answer().await?.as_deref(), Some("north"))?;
    scene.led(&to("north")).await
}

pub(super) async fn a_hold_waits_for_requests_in_progress(fixture: &dyn SiteSwitchFixture) -> Done {
    can(fixture, SiteSwitchAbility::Holds)?;
    let scene = Scene::open(fixture).await?;
    let request = scene.subject.begin().await?;
    let switch = scene.switch.clone();
    let hold = tokio::spawn(async move { switch.lead(EPOCH, lead_to(Consumers::Held)).await });
    sleep(SHORT).await;
    ensure(!hold.is_finished(), || "consumers are held, and a request is in progress".into())?;
    let told = scene.switch.consumers().await;
    ensure(!matches!(told, Ok(Consumers::Held)), || format!("a request is in progress, and is told: {told:?}"))?;
    same("whether the request is answered", request.end().await?, true)?;
    let held = hold.await.map_err(|error| breach(error.to_string()))??;
    same("a hold", held, Applied::Applied)?;
    scene.led(&Consumers::Held).await
}

pub(super) async fn a_hold_that_meets_its_deadline_leads_consumers_where_they_were(
    fixture: &dyn SiteSwitchFixture,
) -> Done {
    can(fixture, SiteSwitchAbility::Holds)?;
    let scene = Scene::open(fixture).await?;
    let request = scene.subject.begin().await?;
    let asked = LeadConsumers::new(Consumers::Held).with_deadline(SHORT);
    refused("a hold", scene.switch.lead(EPOCH, asked).await, ErrorKind::Timeout, Effect::None)?;
    scene.led(&to("north")).await?;
    same("whether the request is answered", request.end().await?, true)?;
    same("a hold without it", scene.lead(Consumers::Held).await?, Applied::Applied)
}

pub(super) async fn requests_that_waited_for_a_hold_which_gave_up_are_answered(
    fixture: &dyn SiteSwitchFixture,
) -> Done {
    can(fixture, SiteSwitchAbility::Holds)?;
    let scene = Scene::open(fixture).await?;
    let request = scene.subject.begin().await?;
    let switch = scene.switch.clone();
    let asked = LeadConsumers::new(Consumers::Held).with_deadline(SHORT);
    let hold = tokio::spawn(async move { switch.lead(EPOCH, asked).await });
    sleep(SHORT / 4).await;
    let waiting = scene.subject.wait().await?;
    let held = hold.await.map_err(|error| breach(error.to_string()))?;
    refused("a hold", held, ErrorKind::Timeout, Effect::None)?;
    same("who answers a request that waited", waiting.answer().await?.as_deref(), Some("north"))?;
    same("whether the request in progress is answered", request.end().await?, true)
}

pub(super) async fn where_consumers_cannot_be_held_that_is_refused_without_effect(
    fixture: &dyn SiteSwitchFixture,
) -> Done {
    let scene = Scene::open(fixture).await?;
    if fixture.can(SiteSwitchAbility::Holds) {
        return same("a hold of what can hold", scene.lead(Consumers::Held).await?, Applied::Applied);
    }
    refused("a hold", scene.lead(Consumers::Held).await, ErrorKind::Unsupported, Effect::None)?;
    scene.led(&to("north")).await
}

pub(super) async fn where_they_are_led_survives_a_restart(fixture: &dyn SiteSwitchFixture) -> Done {
    can(fixture, SiteSwitchAbility::Restarts)?;
    let scene = Scene::open(fixture).await?;
    scene.lead(to("south")).await?;
    scene.subject.restart().await?;
    scene.led(&to("south")).await?;
    same("a lead to where they are led", scene.lead(to("south")).await?, Applied::AlreadySo)
}

pub(super) async fn a_hold_survives_a_restart(fixture: &dyn SiteSwitchFixture) -> Done {
    can(fixture, SiteSwitchAbility::Restarts)?;
    can(fixture, SiteSwitchAbility::Holds)?;
    let scene = Scene::open(fixture).await?;
    scene.lead(Consumers::Held).await?;
    scene.subject.restart().await?;
    scene.led(&Consumers::Held).await?;
    same("a lead", scene.lead(to("south")).await?, Applied::Applied)?;
    scene.subject.restart().await?;
    scene.led(&to("south")).await
}

pub(super) async fn two_minds_are_told_and_made_up(fixture: &dyn SiteSwitchFixture) -> Done {
    can(fixture, SiteSwitchAbility::Tears)?;
    for site in ["north", "south"] {
        let scene = Scene::open(fixture).await?;
        scene.subject.tear().await?;
        refused("a read of two minds", scene.switch.consumers().await, ErrorKind::Conflict, Effect::None)?;
        same("a lead", scene.lead(to(site)).await?, Applied::Applied)?;
        scene.led(&to(site)).await?;
        if fixture.can(SiteSwitchAbility::Restarts) {
            scene.subject.restart().await?;
            scene.led(&to(site)).await?;
        }
    }
    Ok(())
}

pub(super) async fn the_next_controller_sees_what_this_one_did(fixture: &dyn SiteSwitchFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let next = scene.subject.another();
    scene.lead(to("south")).await?;
    same("where they are led, as the next one sees it", next.consumers().await?, to("south"))?;
    same("its lead", next.lead(EPOCH, lead_to(to("south"))).await?, Applied::AlreadySo)?;
    same("its lead back", next.lead(EPOCH, lead_to(to("north"))).await?, Applied::Applied)?;
    scene.led(&to("north")).await
}

pub(super) async fn reads_change_nothing(fixture: &dyn SiteSwitchFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for site in ["north", "south"] {
        scene.lead(to(site)).await?;
        for _ in 0..5 {
            same("what is read again", scene.switch.consumers().await?, to(site))?;
        }
        scene.led(&to(site)).await?;
    }
    Ok(())
}

pub(super) async fn at_a_deadline_of_zero_nothing_is_changed(fixture: &dyn SiteSwitchFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let mut wanted = vec![to("south")];
    wanted.extend(fixture.can(SiteSwitchAbility::Holds).then_some(Consumers::Held));
    for to in wanted {
        let asked = LeadConsumers::new(to).with_deadline(Duration::ZERO);
        refused("a lead at once", scene.switch.lead(EPOCH, asked).await, ErrorKind::Timeout, Effect::None)?;
    }
    scene.led(&to("north")).await
}

pub(super) async fn a_switch_that_does_not_answer_is_said_and_leads_on(fixture: &dyn SiteSwitchFixture) -> Done {
    can(fixture, SiteSwitchAbility::LosesSwitches)?;
    let scene = Scene::open(fixture).await?;
    scene.subject.lose().await?;
    refused("a read", scene.switch.consumers().await, ErrorKind::Unreachable, Effect::None)?;
    refused("a lead", scene.lead(to("south")).await, ErrorKind::Unreachable, Effect::None)?;
    same("where consumers are led", scene.subject.truth().await?, to("north"))
}

pub(super) async fn a_stale_epoch_changes_nothing_where_it_is_fenced(fixture: &dyn SiteSwitchFixture) -> Done {
    can(fixture, SiteSwitchAbility::Fences)?;
    let scene = Scene::open(fixture).await?;
    scene.lead(to("south")).await?;
    let back = || lead_to(to("north"));
    refused("a stale lead", scene.switch.lead(STALE, back()).await, ErrorKind::Fenced, Effect::None)?;
    let next = scene.subject.another();
    refused("the next one's", next.lead(STALE, back()).await, ErrorKind::Fenced, Effect::None)?;
    scene.led(&to("south")).await?;
    let higher = LeaseEpoch::new(EPOCH.number() + 1);
    same("a lead with a higher epoch", scene.switch.lead(higher, back()).await?, Applied::Applied)
}

pub(super) async fn many_changes_at_once_end_in_one_state(fixture: &dyn SiteSwitchFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let mut calls = JoinSet::new();
    for turn in 0..6 {
        let (switch, site) = (scene.switch.clone(), if turn % 2 == 0 { "south" } else { "north" });
        calls.spawn(async move { switch.lead(EPOCH, lead_to(to(site))).await });
    }
    while let Some(ended) = calls.join_next().await {
        ended.map_err(|error| breach(error.to_string()))??;
    }
    let told = scene.switch.consumers().await?;
    scene.led(&told).await?;
    scene.lead(to("south")).await?;
    scene.led(&to("south")).await
}
