use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{Applied, Deprovision, Effect, ErrorKind, Installation, Provision, Provisioner, StepError};
use ha_core::state::LeaseEpoch;
use tokio::task::JoinSet;

use super::{ProvisionerAbility, ProvisionerFixture, ProvisionerSubject};
use crate::conformance::balancer::scene::{EPOCH, STALE};
use crate::conformance::verdict::{Done, Stop, breach, ensure, needs, refused, same};

/// How long a call may take.
const LONG: Duration = Duration::from_secs(30);

struct Scene {
    subject: Box<dyn ProvisionerSubject>,
    provisioner: Arc<dyn Provisioner>,
    /// What is asked for first.
    wanted: Installation,
    /// The same release with another configuration.
    reconfigured: Installation,
    /// Another release with the first configuration.
    upgraded: Installation,
}

fn of(installation: &Installation) -> Provision {
    Provision::new(installation.clone()).with_deadline(LONG)
}

fn removal() -> Deprovision {
    Deprovision::new().with_deadline(LONG)
}

impl Scene {
    async fn open(fixture: &dyn ProvisionerFixture) -> Result<Self, Stop> {
        let subject = fixture.fresh().await?;
        let provisioner = subject.provisioner();
        let [wanted, reconfigured, upgraded] = subject.offers();
        Ok(Self { subject, provisioner, wanted, reconfigured, upgraded })
    }

    async fn provision(&self, installation: &Installation) -> Result<Applied, StepError> {
        self.provisioner.provision(EPOCH, of(installation)).await
    }

    async fn deprovision(&self) -> Result<Applied, StepError> {
        self.provisioner.deprovision(EPOCH, removal()).await
    }

    /// Checks that nothing is there, not even half of something.
    async fn is_empty(&self) -> Done {
        self.has(None).await?;
        same("whether nothing is left", self.subject.is_empty().await?, true)
    }

    /// Checks what is installed, by both routes.
    async fn has(&self, installation: Option<&Installation>) -> Done {
        same("what is installed", self.subject.truth().await?, installation.cloned())?;
        same("what is installed, as it is told", self.provisioner.installation().await?, installation.cloned())
    }
}

pub(super) async fn a_fresh_node_has_nothing_installed(fixture: &dyn ProvisionerFixture) -> Done {
    Scene::open(fixture).await?.has(None).await
}

pub(super) async fn what_is_provisioned_is_there_by_digest(fixture: &dyn ProvisionerFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("an installation", scene.provision(&scene.wanted).await?, Applied::Applied)?;
    scene.has(Some(&scene.wanted)).await
}

pub(super) async fn what_is_provisioned_twice_is_applied_once(fixture: &dyn ProvisionerFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("an installation", scene.provision(&scene.wanted).await?, Applied::Applied)?;
    same("the same again", scene.provision(&scene.wanted).await?, Applied::AlreadySo)?;
    let at_once = Provision::new(scene.wanted.clone()).with_deadline(Duration::ZERO);
    same("the same at once", scene.provisioner.provision(EPOCH, at_once).await?, Applied::AlreadySo)?;
    scene.has(Some(&scene.wanted)).await
}

pub(super) async fn another_configuration_of_the_same_release_is_another_installation(
    fixture: &dyn ProvisionerFixture,
) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.provision(&scene.wanted).await?;
    same("another configuration", scene.provision(&scene.reconfigured).await?, Applied::Applied)?;
    scene.has(Some(&scene.reconfigured)).await
}

pub(super) async fn another_release_with_the_same_configuration_is_another_installation(
    fixture: &dyn ProvisionerFixture,
) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.provision(&scene.wanted).await?;
    same("another release", scene.provision(&scene.upgraded).await?, Applied::Applied)?;
    scene.has(Some(&scene.upgraded)).await
}

pub(super) async fn what_is_deprovisioned_is_gone(fixture: &dyn ProvisionerFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.provision(&scene.wanted).await?;
    same("a removal", scene.deprovision().await?, Applied::Applied)?;
    scene.is_empty().await
}

pub(super) async fn what_is_deprovisioned_twice_is_removed_once(fixture: &dyn ProvisionerFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    same("a removal of nothing", scene.deprovision().await?, Applied::AlreadySo)?;
    scene.provision(&scene.wanted).await?;
    same("a removal", scene.deprovision().await?, Applied::Applied)?;
    same("the same again", scene.deprovision().await?, Applied::AlreadySo)?;
    scene.has(None).await
}

pub(super) async fn a_node_is_provisioned_again_after_its_removal(fixture: &dyn ProvisionerFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.provision(&scene.wanted).await?;
    scene.deprovision().await?;
    same("an installation after it", scene.provision(&scene.wanted).await?, Applied::Applied)?;
    scene.has(Some(&scene.wanted)).await
}

pub(super) async fn half_an_installation_is_none_and_is_replaced(fixture: &dyn ProvisionerFixture) -> Done {
    needs(fixture.can(ProvisionerAbility::Tears), ProvisionerAbility::Tears.name())?;
    let scene = Scene::open(fixture).await?;
    scene.subject.install(&scene.wanted).await?;
    scene.subject.tear().await?;
    scene.has(None).await?;
    same("an installation over half of one", scene.provision(&scene.wanted).await?, Applied::Applied)?;
    scene.has(Some(&scene.wanted)).await
}

pub(super) async fn half_an_installation_is_removed(fixture: &dyn ProvisionerFixture) -> Done {
    needs(fixture.can(ProvisionerAbility::Tears), ProvisionerAbility::Tears.name())?;
    let scene = Scene::open(fixture).await?;
    scene.subject.install(&scene.wanted).await?;
    scene.subject.tear().await?;
    // What shows half as nothing cannot tell whether there was any; it is gone all the same.
    scene.deprovision().await?;
    scene.is_empty().await?;
    same("the same again", scene.deprovision().await?, Applied::AlreadySo)
}

pub(super) async fn what_other_hands_have_installed_is_seen(fixture: &dyn ProvisionerFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.provision(&scene.wanted).await?;
    for other in [&scene.reconfigured, &scene.upgraded] {
        scene.subject.install(other).await?;
        scene.has(Some(other)).await?;
    }
    same("what was there once", scene.provision(&scene.wanted).await?, Applied::Applied)?;
    scene.has(Some(&scene.wanted)).await
}

pub(super) async fn the_next_controller_sees_what_this_one_did(fixture: &dyn ProvisionerFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    scene.provision(&scene.wanted).await?;
    let next = scene.subject.another();
    same("what the next one is told", next.installation().await?, Some(scene.wanted.clone()))?;
    same("the next one's", next.provision(EPOCH, of(&scene.wanted)).await?, Applied::AlreadySo)?;
    same("its removal", next.deprovision(EPOCH, removal()).await?, Applied::Applied)?;
    scene.has(None).await
}

pub(super) async fn reads_change_nothing(fixture: &dyn ProvisionerFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for installed in [None, Some(&scene.wanted)] {
        if let Some(installed) = installed {
            scene.provision(installed).await?;
        }
        for _ in 0..5 {
            scene.has(installed).await?;
            scene.provisioner.missing().await?;
        }
    }
    Ok(())
}

pub(super) async fn at_a_deadline_of_zero_nothing_is_changed(fixture: &dyn ProvisionerFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let at_once = || Provision::new(scene.wanted.clone()).with_deadline(Duration::ZERO);
    let asked = scene.provisioner.provision(EPOCH, at_once()).await;
    refused("an installation at once", asked, ErrorKind::Timeout, Effect::None)?;
    scene.has(None).await?;
    scene.provision(&scene.wanted).await?;
    let asked = scene.provisioner.deprovision(EPOCH, Deprovision::new().with_deadline(Duration::ZERO)).await;
    refused("a removal at once", asked, ErrorKind::Timeout, Effect::None)?;
    scene.has(Some(&scene.wanted)).await
}

pub(super) async fn a_node_that_does_not_answer_is_not_changed(fixture: &dyn ProvisionerFixture) -> Done {
    needs(fixture.can(ProvisionerAbility::LosesNodes), ProvisionerAbility::LosesNodes.name())?;
    let scene = Scene::open(fixture).await?;
    scene.provision(&scene.wanted).await?;
    scene.subject.lose().await?;
    refused("a read", scene.provisioner.installation().await, ErrorKind::Unreachable, Effect::None)?;
    let asked = scene.provision(&scene.upgraded).await;
    refused("an installation", asked, ErrorKind::Unreachable, Effect::None)?;
    refused("a removal", scene.deprovision().await, ErrorKind::Unreachable, Effect::None)?;
    same("what is installed", scene.subject.truth().await?, Some(scene.wanted))
}

pub(super) async fn a_stale_epoch_installs_and_removes_nothing_where_it_is_fenced(
    fixture: &dyn ProvisionerFixture,
) -> Done {
    needs(fixture.can(ProvisionerAbility::Fences), ProvisionerAbility::Fences.name())?;
    let scene = Scene::open(fixture).await?;
    scene.provision(&scene.wanted).await?;
    let stale = scene.provisioner.deprovision(STALE, removal()).await;
    refused("a stale removal", stale, ErrorKind::Fenced, Effect::None)?;
    let next = scene.subject.another();
    let stale = next.provision(STALE, of(&scene.upgraded)).await;
    refused("the next one's stale installation", stale, ErrorKind::Fenced, Effect::None)?;
    scene.has(Some(&scene.wanted)).await?;
    let higher = LeaseEpoch::new(EPOCH.number() + 1);
    let upgraded = scene.provisioner.provision(higher, of(&scene.upgraded)).await?;
    same("an installation with a higher epoch", upgraded, Applied::Applied)
}

pub(super) async fn many_changes_at_once_end_in_one_state(fixture: &dyn ProvisionerFixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (mut calls, mut took) = (JoinSet::new(), 0);
    for turn in 0..6 {
        let provisioner = scene.provisioner.clone();
        let wanted = [&scene.wanted, &scene.reconfigured, &scene.upgraded][turn % 3].clone();
        calls.spawn(async move { provisioner.provision(EPOCH, of(&wanted)).await });
    }
    while let Some(ended) = calls.join_next().await {
        // One may find what another one has put there meanwhile.
        match ended.map_err(|error| breach(error.to_string()))? {
            Ok(_) => took += 1,
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error.into()),
        }
    }
    ensure(took > 0, || "each of them was refused".into())?;
    // Whole, and one of those that were asked for: not the release of one with the configuration of another.
    let there = scene.subject.truth().await?;
    let asked = [&scene.wanted, &scene.reconfigured, &scene.upgraded];
    ensure(asked.iter().any(|one| there.as_ref() == Some(*one)), || format!("{there:?} was asked for by nobody"))?;
    scene.has(there.as_ref()).await?;
    scene.provision(&scene.wanted).await?;
    scene.has(Some(&scene.wanted)).await
}
