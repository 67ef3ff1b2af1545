//! Failures: kind and effect of each, held against the truth.

use ha_core::backend::{Admin, Applied, Effect, ErrorKind, StepError, Weight};
use std::fmt::Debug;

use super::scene::{CONFIGURED, Scene};
use super::{Ability, Fixture, Trouble};
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, Stop, breach, ensure, refused, same};

async fn scene(fixture: &dyn Fixture, trouble: Trouble) -> Result<Scene, Stop> {
    let scene = Scene::with(fixture, Ability::Fail(trouble)).await?;
    // What a value learns while all is well must not hide what comes.
    scene.set(1, Admin::Drain).await?;
    scene.quiescence(0).await?;
    Ok(scene)
}

/// Asks all reads, few at once: a backend that opens a few connections only is busy with more. Each must fail like this.
async fn reads_fail(scene: &Scene, kind: ErrorKind) -> Done {
    let reference = scene.member_ref(0);
    let (identity, member, members) =
        tokio::join!(scene.balancer.identify(), scene.member(0), scene.balancer.members(&scene.pool));
    let (look, quiescence) = tokio::join!(scene.balancer.look(&reference), scene.quiescence(0));
    refused("identify", identity, kind, Effect::None)?;
    refused("member", member, kind, Effect::None)?;
    refused("look", look, kind, Effect::None)?;
    refused("members", members, kind, Effect::None)?;
    refused("quiescence", quiescence, kind, Effect::None)
}

async fn heals(scene: &Scene) -> Done {
    scene.subject.trouble(None).await?;
    eventually("the balancer answers again", || async { Ok(scene.balancer.identify().await.is_ok()) }).await?;
    scene.set(2, Admin::Maint).await?;
    scene.is_really(2, Admin::Maint, CONFIGURED).await?;
    same("what is in flight", scene.quiescence(2).await?.in_flight(), 0)
}

/// Makes every claimed write on the first member; each must fail, and the truth must bear its effect out.
async fn writes<F>(scene: &Scene, judge: F) -> Done
where
    F: Fn(&str, &StepError) -> Done,
{
    let failed = |what: &str, answer: Result<(), StepError>| match answer {
        Ok(()) => Err(breach(format!("{what} went well in trouble"))),
        Err(error) => judge(what, &error),
    };
    let old = scene.truth(0).await?;
    let admin = scene.set(0, Admin::Maint).await.map(drop);
    bears_out(scene, &admin, old).await?;
    failed("set_admin", admin)?;
    if scene.claims().sets_weights {
        let old = scene.truth(0).await?;
        let weight = scene.weigh(0, 5).await.map(drop);
        bears_out(scene, &weight, old).await?;
        failed("set_weight", weight)?;
    }
    if scene.claims().closes_sessions {
        failed("close_sessions", scene.close(0).await.map(drop))?;
    }
    Ok(())
}

/// Breaches when an error claims to be without effect and the truth has moved.
async fn bears_out<T: Debug>(scene: &Scene, answer: &Result<T, StepError>, old: super::Truth) -> Done {
    match answer {
        Err(error) if error.effect() == Effect::None => {
            same(format!("the truth after {error}"), scene.truth(0).await?, old)
        }
        Err(_) | Ok(_) => Ok(()),
    }
}

pub(super) async fn an_unreachable_balancer_fails_without_effect(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture, Trouble::Unreachable).await?;
    scene.subject.trouble(Some(Trouble::Unreachable)).await?;
    reads_fail(&scene, ErrorKind::Unreachable).await?;
    let judge = |what: &str, error: &StepError| {
        same(format!("{what}: {error}"), (error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::None))
    };
    writes(&scene, judge).await?;
    scene.is_really(0, Admin::Ready, CONFIGURED).await?;
    heals(&scene).await
}

pub(super) async fn a_denied_write_fails_without_effect(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture, Trouble::Denied).await?;
    scene.subject.trouble(Some(Trouble::Denied)).await?;
    let judge = |what: &str, error: &StepError| {
        same(format!("{what}: {error}"), (error.kind(), error.effect()), (ErrorKind::Denied, Effect::None))
    };
    writes(&scene, judge).await?;
    scene.is_really(0, Admin::Ready, CONFIGURED).await?;
    scene.member(0).await?;
    heals(&scene).await
}

pub(super) async fn a_read_without_an_answer_times_out_without_effect(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture, Trouble::Hung).await?;
    scene.subject.trouble(Some(Trouble::Hung)).await?;
    reads_fail(&scene, ErrorKind::Timeout).await?;
    heals(&scene).await
}

pub(super) async fn a_write_to_a_hung_balancer_times_out_and_claims_no_more_than_is_true(
    fixture: &dyn Fixture,
) -> Done {
    let scene = scene(fixture, Trouble::Hung).await?;
    scene.subject.trouble(Some(Trouble::Hung)).await?;
    writes(&scene, |what, error| same(format!("{what}: {error}"), error.kind(), ErrorKind::Timeout)).await?;
    scene.is_really(0, Admin::Ready, CONFIGURED).await?;
    heals(&scene).await
}

fn unknown(what: &str, error: &StepError) -> Done {
    same(format!("the effect of {what}, which was carried out: {error}"), error.effect(), Effect::Unknown)
}

pub(super) async fn a_write_that_is_carried_out_and_not_answered_is_a_timeout_of_unknown_effect(
    fixture: &dyn Fixture,
) -> Done {
    let scene = scene(fixture, Trouble::HungAfterWrite).await?;
    scene.subject.trouble(Some(Trouble::HungAfterWrite)).await?;
    let judge = |what: &str, error: &StepError| {
        same(format!("{what}: {error}"), error.kind(), ErrorKind::Timeout)?;
        unknown(what, error)
    };
    writes(&scene, judge).await?;
    let weight = if scene.claims().sets_weights { Weight::new(5) } else { CONFIGURED };
    scene.is_really(0, Admin::Maint, weight).await?;
    same("what is read of it", scene.member(0).await?.admin, Admin::Maint)?;
    heals(&scene).await
}

pub(super) async fn a_write_whose_connection_breaks_has_an_unknown_effect(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture, Trouble::BrokenAfterWrite).await?;
    scene.subject.trouble(Some(Trouble::BrokenAfterWrite)).await?;
    let judge = |what: &str, error: &StepError| {
        let fits = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Protocol);
        ensure(fits, || format!("{what}: the kind of {error}"))?;
        unknown(what, error)
    };
    writes(&scene, judge).await?;
    scene.subject.trouble(None).await?;
    eventually("the write that was carried out is read back", || async {
        Ok(scene.member(0).await?.admin == Admin::Maint)
    })
    .await?;
    heals(&scene).await
}

pub(super) async fn a_write_that_comes_late_had_an_unknown_effect(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture, Trouble::LateWrite).await?;
    scene.subject.trouble(Some(Trouble::LateWrite)).await?;
    match scene.set(0, Admin::Maint).await {
        Ok(applied) => return Err(breach(format!("a write that nobody carried out answered {applied:?}"))),
        Err(error) => unknown("a write that is still to come", &error)?,
    }
    scene.is_really(0, Admin::Ready, CONFIGURED).await?;
    scene.subject.trouble(None).await?;
    eventually("the late write is read back", || async { Ok(scene.member(0).await?.admin == Admin::Maint) }).await?;
    heals(&scene).await
}

pub(super) async fn a_write_that_is_answered_and_not_carried_out_is_noticed_by_the_read_back(
    fixture: &dyn Fixture,
) -> Done {
    let scene = scene(fixture, Trouble::IgnoredWrite).await?;
    scene.subject.trouble(Some(Trouble::IgnoredWrite)).await?;
    let noticed = |what: &str, answer: Result<Applied, StepError>| match answer {
        Ok(applied) => Err(breach(format!("{what} was not carried out, and answered {applied:?}"))),
        Err(error) => same(format!("{what}: {error}"), error.kind(), ErrorKind::Conflict),
    };
    noticed("set_admin", scene.set(0, Admin::Maint).await)?;
    if scene.claims().sets_weights {
        noticed("set_weight", scene.weigh(0, 5).await)?;
    }
    scene.is_really(0, Admin::Ready, CONFIGURED).await?;
    heals(&scene).await
}

pub(super) async fn an_error_names_its_operation_and_target(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture, Trouble::Unreachable).await?;
    scene.subject.trouble(Some(Trouble::Unreachable)).await?;
    let member = scene.member_ref(0).to_string();
    let answers: [(&str, Result<(), StepError>); 4] = [
        ("set_admin", scene.set(0, Admin::Drain).await.map(drop)),
        ("member", scene.member(0).await.map(drop)),
        ("quiescence", scene.quiescence(0).await.map(drop)),
        ("identify", scene.balancer.identify().await.map(drop)),
    ];
    for (operation, answer) in answers {
        let Err(error) = answer else { return Err(breach(format!("{operation} went well in trouble"))) };
        same("the operation of an error", error.operation(), operation)?;
        let named = !error.target().is_empty();
        ensure(named, || format!("{operation} on {member}: the error has no target"))?;
    }
    heals(&scene).await
}
