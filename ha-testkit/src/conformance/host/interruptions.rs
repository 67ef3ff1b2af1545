//! Dropped futures, many callers, and hosts that do not answer.

use std::time::Duration;

use ha_core::backend::{Applied, Content, Effect, Ended, ErrorKind, PutFile, ServerProcess, StepError, WorkState};
use ha_core::state::ServerDomain;
use tokio::time::{Instant, sleep};

use super::scene::{EPOCH, LONG, Scene, id, mark};
use super::{Ability, Act, Condition, Fixture, Found};
use crate::conformance::patience::{dropped_after, eventually};
use crate::conformance::verdict::{Done, Stop, breach, ensure, needs, same};

/// No call awaits more often.
const MOST: u32 = 60;
/// What a dropped call has left on its way arrives in this time.
const ARRIVAL: Duration = Duration::from_millis(600);

pub(super) async fn a_dropped_start_leaves_no_server_or_one(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    for polls in 0..MOST {
        let ended = dropped_after(scene.start(), polls).await.transpose()?;
        if ended.is_some() {
            scene.until(true).await?;
        } else {
            sleep(ARRIVAL).await;
        }
        // More than one life is a breach.
        if scene.life().await?.is_some() {
            let life = scene.running().await?;
            scene.host.kill(EPOCH, life).await?;
            scene.until(false).await?;
        }
        if ended.is_some() {
            return Ok(());
        }
        same("what is read", scene.host.process().await?, ServerProcess::Stopped)?;
    }
    Err(breach(format!("a start did not end in {MOST} polls")))
}

pub(super) async fn a_dropped_command_ran_once_or_not_at_all(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    for polls in 0..MOST {
        let name = format!("mark-{polls}");
        let ended = dropped_after(scene.run(&mark(&name)), polls).await.transpose()?;
        if ended.is_none() {
            sleep(ARRIVAL / 3).await;
        }
        let marks = scene.marks(&name).await?;
        ensure(marks <= 1 && (ended.is_none() || marks == 1), || format!("after {polls} polls it ran {marks} times"))?;
        if ended.is_some() {
            return Ok(());
        }
    }
    Err(breach(format!("a command did not end in {MOST} polls")))
}

pub(super) async fn a_dropped_put_leaves_the_old_or_the_new_content(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Files]).await?;
    let (files, path) = (scene.files()?, scene.path("content"));
    let (old, new) = (vec![b'o'; 100_000], vec![b'n'; 100_000]);
    for polls in 0..MOST {
        scene.subject.place(&path, Found::File(old.clone(), 0o644)).await?;
        let put = files.put(EPOCH, PutFile::new(path.as_str(), Content::Bytes(new.clone())));
        let ended = dropped_after(put, polls).await.transpose()?;
        if ended.is_none() {
            sleep(ARRIVAL / 3).await;
        }
        let Some(Found::File(found, _)) = scene.subject.look(&path).await? else {
            return Err(breach("a dropped put left no file"));
        };
        ensure(found == new || (found == old && ended.is_none()), || format!("half a file after {polls} polls"))?;
        if ended.is_some() {
            return Ok(());
        }
    }
    Err(breach(format!("a put did not end in {MOST} polls")))
}

pub(super) async fn dropped_reads_change_nothing_and_block_nobody(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let life = scene.started().await?;
    for polls in 0..5 {
        let _ = dropped_after(scene.host.identify(), polls).await;
        let _ = dropped_after(scene.host.process(), polls).await;
        let _ = dropped_after(scene.host.installed(), polls).await;
    }
    same("the life after dropped reads", scene.running().await?, life)?;
    scene.stopped().await
}

pub(super) async fn many_starts_at_once_start_one_server(fixture: &dyn Fixture) -> Done {
    let scene = Scene::open(fixture).await?;
    let (one, two) = (scene.subject.another(), scene.subject.another());
    let domain = ServerDomain::Production;
    let answers = tokio::join!(scene.start(), one.start(EPOCH, domain), two.start(EPOCH, domain));
    // A server that another start began may be found beginning; a script may refuse to start it twice.
    let answers = [answers.0, answers.1, answers.2];
    ensure(answers.iter().any(|answer| matches!(answer, Ok(Applied::Applied))), || {
        format!("none of the starts was carried out: {answers:?}")
    })?;
    scene.until(true).await?;
    sleep(ARRIVAL).await;
    // More than one life is a breach.
    ensure(scene.life().await?.is_some(), || "no server runs after many starts".into())
}

fn failed<T: std::fmt::Debug>(what: &str, answer: Result<T, StepError>, kinds: &[ErrorKind], reads: bool) -> Done {
    match answer {
        Ok(answer) => Err(breach(format!("{what} of a host that does not answer: {answer:?}"))),
        Err(error) => {
            ensure(kinds.contains(&error.kind()), || format!("{what}: the kind of {error}"))?;
            ensure(!reads || error.effect() == Effect::None, || format!("{what} claims an effect: {error}"))?;
            ensure(!error.target().is_empty(), || format!("{what}: {error} has no target"))
        }
    }
}

async fn all_fail(scene: &Scene, kinds: &[ErrorKind]) -> Done {
    let host = scene.subject.another();
    failed("identify", host.identify().await, kinds, true)?;
    failed("process", host.process().await, kinds, true)?;
    failed("installed", host.installed().await, kinds, true)?;
    failed("stop", host.stop(EPOCH).await, kinds, false)?;
    failed("start", host.start(EPOCH, ServerDomain::Production).await, kinds, false)?;
    let run = host.run(EPOCH, mark("mark").command(Duration::from_secs(2))).await;
    failed("run", run, kinds, false)?;
    if let Some(files) = host.files() {
        failed("stat", files.stat(&scene.path("a")).await, kinds, true)?;
    }
    if let Some(work) = host.work() {
        failed("state", work.state(&id("w")?).await, kinds, true)?;
    }
    Ok(())
}

async fn as_before(scene: &Scene, truth: Option<String>) -> Done {
    same("the truth", scene.life().await?, truth)?;
    scene.subject.heal().await?;
    eventually("the host answers again", || async { Ok(scene.subject.another().process().await.is_ok()) }).await
}

pub(super) async fn an_unreachable_host_is_not_a_stopped_server(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Be(Condition::Unreachable)]).await?;
    scene.started().await?;
    let truth = scene.life().await?;
    scene.subject.be(Condition::Unreachable).await?;
    all_fail(&scene, &[ErrorKind::Unreachable]).await?;
    as_before(&scene, truth).await
}

pub(super) async fn a_hung_host_is_given_up_in_time(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Be(Condition::Hung)]).await?;
    scene.started().await?;
    let truth = scene.life().await?;
    scene.subject.be(Condition::Hung).await?;
    let began = Instant::now();
    // A connection that cannot be made in time is either.
    all_fail(&scene, &[ErrorKind::Timeout, ErrorKind::Unreachable]).await?;
    ensure(began.elapsed() < Duration::from_secs(90), || format!("it took {:?}", began.elapsed()))?;
    as_before(&scene, truth).await
}

pub(super) async fn a_cut_link_ends_no_command_and_is_no_exit_code(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands, Ability::CutLink]).await?;
    let command = Act::Mark("mark".into(), 1_500).command(LONG).with_id(id("cut")?);
    let host = scene.host.clone();
    let run = tokio::spawn(async move { host.run(EPOCH, command).await });
    sleep(Duration::from_millis(700)).await;
    scene.subject.cut_link().await?;
    match run.await.map_err(|error| breach(format!("the call was lost: {error}")))? {
        Ok(ran) => same("how a command ended whose link was cut", ran.ended, Ended::Exited(0))?,
        Err(error) => same(format!("the effect of {error}"), error.effect(), Effect::Unknown)?,
    }
    if scene.host.capabilities().survives_connection {
        eventually("the command has gone on", || async { Ok(scene.marks("mark").await? == 1) }).await?;
        same("its end, found again", scene.ended(&id("cut")?).await?, WorkState::Exited(0))?;
    }
    ensure(scene.marks("mark").await? <= 1, || "the command ran twice".into())
}

pub(super) async fn work_of_a_machine_that_lost_its_power_is_lost(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands, Ability::PowerCycle]).await?;
    needs(scene.host.capabilities().survives_connection, "capability: work")?;
    let life = scene.started().await?;
    let name = id("lost")?;
    let command = || Act::Beat("beat".into()).command(LONG);
    scene.work()?.launch(EPOCH, name.clone(), command()).await?;
    eventually("the work has begun", || async { Ok(scene.marks("beat").await? > 0) }).await?;
    scene.subject.power_cycle().await?;
    let host = scene.subject.another();
    let work = host.work().ok_or_else(|| breach("another value has no work"))?;
    eventually("the host answers again", || async { Ok(work.state(&name).await.is_ok()) }).await?;
    same("work without a result", work.state(&name).await?, WorkState::Lost)?;
    same("a launch of it", work.launch(EPOCH, name.clone(), command()).await?, Applied::AlreadySo)?;
    let run = host.run(EPOCH, command().with_id(name)).await;
    ensure(matches!(&run, Err(error) if error.effect() == Effect::Unknown), || format!("lost work ran: {run:?}"))?;
    same("the server", host.process().await?, ServerProcess::Stopped)?;
    same("a kill of its past life", host.kill(EPOCH, life).await?, Applied::AlreadySo)?;
    Ok::<(), Stop>(())
}
