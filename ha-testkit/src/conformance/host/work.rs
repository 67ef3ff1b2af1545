//! Work that outlives its connection.

use ha_core::backend::{Applied, Effect, ErrorKind, WorkState};

use super::scene::{EPOCH, LONG, Scene, id, mark};
use super::{Ability, Act, Fixture};
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, Stop, ensure, refused, same};
use std::time::Duration;

async fn scene(fixture: &dyn Fixture) -> Result<Scene, Stop> {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    scene.work()?;
    Ok(scene)
}

pub(super) async fn work_that_never_was_is_absent(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    let (work, name) = (scene.work()?, id("never")?);
    same("its state", work.state(&name).await?, WorkState::Absent)?;
    refused("its output", work.tail(&name, 10).await, ErrorKind::NotFound, Effect::None)?;
    same("a cancel of it", work.cancel(EPOCH, &name).await?, Applied::AlreadySo)
}

pub(super) async fn work_ends_as_its_command_does_and_anybody_can_read_it(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    let work = scene.work()?;
    let cases = [
        ("w.0", Act::Exit(0), WorkState::Exited(0)),
        ("w.255", Act::Exit(255), WorkState::Exited(255)),
        ("w-term", Act::Signal(15), WorkState::Signaled(15)),
        ("w_said", Act::Say("out".into(), "err".into()), WorkState::Exited(0)),
    ];
    for (name, act, wanted) in cases {
        let name = id(name)?;
        same("a launch", work.launch(EPOCH, name.clone(), act.command(LONG)).await?, Applied::Applied)?;
        same("how it ended", scene.ended(&name).await?, wanted)?;
        let other = scene.subject.another();
        let seen = other.work().ok_or(Stop::Skipped("capability: work"))?.state(&name).await?;
        same("as another value reads it", seen, wanted)?;
    }
    let output = work.tail(&id("w_said")?, 2).await?;
    same("the end of its output", (output.stdout.as_str(), output.stderr.as_str()), ("ut", "rr"))?;
    let overdue = id("overdue")?;
    work.launch(EPOCH, overdue.clone(), Act::Beat("beat".into()).command(Duration::from_secs(1))).await?;
    same("past its deadline", scene.ended(&overdue).await?, WorkState::Overdue)?;
    scene.beats_no_more("beat").await
}

pub(super) async fn a_name_is_launched_at_most_once(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    let work = scene.work()?;
    let name = id("once")?;
    same("a launch", work.launch(EPOCH, name.clone(), mark("mark").command(LONG)).await?, Applied::Applied)?;
    scene.ended(&name).await?;
    let other = scene.subject.another();
    let other = other.work().ok_or(Stop::Skipped("capability: work"))?;
    same("a second", other.launch(EPOCH, name.clone(), mark("mark").command(LONG)).await?, Applied::AlreadySo)?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    same("how often it ran", scene.marks("mark").await?, 1)
}

pub(super) async fn two_launches_at_once_are_one_run(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    let work = scene.work()?;
    let other = scene.subject.another();
    let other = other.work().ok_or(Stop::Skipped("capability: work"))?;
    for turn in 0..3 {
        let (name, file) = (id(&format!("at-once-{turn}"))?, format!("mark-{turn}"));
        let command = || mark(&file).command(LONG);
        let (one, two) =
            tokio::join!(work.launch(EPOCH, name.clone(), command()), other.launch(EPOCH, name.clone(), command()));
        let answers = [one?, two?];
        ensure(answers.contains(&Applied::Applied), || "neither of two launches was carried out".into())?;
        same("how it ended", scene.ended(&name).await?, WorkState::Exited(0))?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        same("how often it ran", scene.marks(&file).await?, 1)?;
    }
    Ok(())
}

pub(super) async fn cancelled_work_ends_with_its_children(fixture: &dyn Fixture) -> Done {
    let scene = scene(fixture).await?;
    let (work, name) = (scene.work()?, id("cancelled")?);
    work.launch(EPOCH, name.clone(), Act::Beat("beat".into()).command(LONG)).await?;
    eventually("the work has begun", || async { Ok(scene.marks("beat").await? > 0) }).await?;
    same("its state", work.state(&name).await?, WorkState::Running)?;
    same("a cancel", work.cancel(EPOCH, &name).await?, Applied::Applied)?;
    let ended = scene.ended(&name).await?;
    ensure(matches!(ended, WorkState::Signaled(_)), || format!("cancelled work ended as {ended:?}"))?;
    scene.beats_no_more("beat").await?;
    same("a second cancel", work.cancel(EPOCH, &name).await?, Applied::AlreadySo)
}
