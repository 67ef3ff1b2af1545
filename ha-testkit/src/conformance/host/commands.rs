//! Commands that run to their end.

use std::time::Duration;

use ha_core::backend::{Effect, Ended, ErrorKind, RunCommand};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::scene::{EPOCH, LONG, Scene, id, mark};
use super::{Ability, Act, Fixture};
use crate::conformance::verdict::{Done, breach, ensure, refused, same};

/// What shells, frames and encodings like to spoil.
const NASTY: [&str; 8] = [
    "",
    " two  words ",
    "it's \"quoted\"",
    "$HOME `id` $(id) \\n \\",
    "line\nline\r\n\tend\n",
    "-n --help; rm -rf * & | < > ! # ~ {a,b} [c]",
    "gr\u{fc}n \u{20ac} \u{1f600}",
    "%s %d \u{1}\u{7f}",
];

pub(super) async fn exit_codes_are_told_as_they_are(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    for code in [0, 1, 7, 127, 137, 255] {
        same("how exit code was told", scene.run(&Act::Exit(code)).await?.ended, Ended::Exited(code))?;
    }
    Ok(())
}

pub(super) async fn signals_are_told_from_exit_codes(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    for signal in [15, 9, 2] {
        same("how a signal was told", scene.run(&Act::Signal(signal)).await?.ended, Ended::Signaled(signal))?;
    }
    Ok(())
}

pub(super) async fn both_outputs_are_kept_apart_and_to_their_limit(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    let ran = scene.run(&Act::Say("out".into(), "err".into())).await?;
    same("what a command says", (ran.stdout.as_str(), ran.stderr.as_str()), ("out", "err"))?;
    let long = format!("{}the end", "x".repeat(20_000));
    let mut command = Act::Say(long.clone(), long).command(LONG);
    command.output_limit = 7;
    let ran = scene.host.run(EPOCH, command).await?;
    same("the kept end", (ran.stdout.as_str(), ran.stderr.as_str()), ("the end", "the end"))
}

pub(super) async fn arguments_are_passed_as_they_are(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    for text in NASTY {
        let ran = scene.run(&Act::Say(text.into(), text.into())).await?;
        same("an argument", (ran.stdout.as_str(), ran.stderr.as_str()), (text, text))?;
    }
    Ok(())
}

pub(super) async fn variables_are_passed_as_they_are(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    for text in NASTY {
        let command = Act::Show.command(LONG).with_env(Act::VARIABLE, text);
        same("a variable", scene.host.run(EPOCH, command).await?.stdout.as_str(), text)?;
    }
    // Whatever they are called: a host's own scripts have variables too.
    let names =
        ["a", "c", "d", "f", "G", "n", "p", "s", "code", "deadline", "dir", "epoch", "home", "pid", "seen", "wait"];
    let command = Act::Show.command(LONG).with_env(Act::VARIABLE, "shown");
    let command = names.into_iter().fold(command, |command, name| command.with_env(name, "0"));
    let ran = scene.host.run(EPOCH, command).await?;
    same("a command with many variables", (ran.ended, ran.stdout.as_str()), (Ended::Exited(0), "shown"))
}

pub(super) async fn a_missing_program_is_not_found_without_effect(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    for program in ["no-such-program", "/no/such/program", "bin/no-such-program"] {
        let command = RunCommand::new(vec![program.into(), "x".into()], LONG);
        refused(program, scene.host.run(EPOCH, command).await, ErrorKind::NotFound, Effect::None)?;
    }
    Ok(())
}

pub(super) async fn a_program_that_is_not_there_is_named_before_it_is_run(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    let there = Act::Exit(0).command(LONG).argv[0].clone();
    same("what is missing of what is there", scene.host.missing(std::slice::from_ref(&there)).await?, Vec::new())?;
    for program in ["no-such-program", "/no/such/program", "bin/no-such-program"] {
        let missing = scene.host.missing(&[there.clone(), program.into()]).await?;
        let named = missing.iter().filter(|line| line.contains(program)).count();
        ensure(named == 1 && missing.len() == 1, || format!("of {program} and {there} are missing: {missing:?}"))?;
    }
    Ok(())
}

pub(super) async fn what_only_reads_is_run_whoever_leads(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    for text in NASTY {
        let asked = scene.host.ask(Act::Say(text.into(), text.into()).command(LONG)).await?;
        same("what is asked", (asked.stdout.as_str(), asked.stderr.as_str()), (text, text))?;
    }
    let asked = scene.host.ask(Act::Show.command(LONG).with_env(Act::VARIABLE, NASTY[4])).await?;
    same("a variable", asked.stdout.as_str(), NASTY[4])?;
    for code in [0, 1, 7, 64] {
        same("how it ended", scene.host.ask(Act::Exit(code).command(LONG)).await?.ended, Ended::Exited(code))?;
    }
    for program in ["no-such-program", "/no/such/program"] {
        let command = RunCommand::new(vec![program.into(), "x".into()], LONG);
        refused(program, scene.host.ask(command).await, ErrorKind::NotFound, Effect::None)?;
    }
    let late = scene.host.ask(Act::Beat("asked".into()).command(Duration::from_secs(1))).await;
    refused("a question past its deadline", late, ErrorKind::Timeout, Effect::None)
}

pub(super) async fn a_command_past_its_deadline_is_ended_with_its_children(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    let began = Instant::now();
    let answer = scene.host.run(EPOCH, Act::Beat("beat".into()).command(Duration::from_secs(1))).await;
    refused("a command past its deadline", answer, ErrorKind::Timeout, Effect::Unknown)?;
    ensure(began.elapsed() < Duration::from_secs(4), || format!("a deadline of 1 s took {:?}", began.elapsed()))?;
    ensure(scene.marks("beat").await? > 0, || "the command never began".into())?;
    scene.beats_no_more("beat").await
}

pub(super) async fn a_daemon_that_keeps_the_output_open_does_not_hold_its_command(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    let began = Instant::now();
    let ran = scene.run(&Act::LeaveBeating("beat".into())).await?;
    ensure(began.elapsed() < Duration::from_secs(5), || format!("it held its command for {:?}", began.elapsed()))?;
    same("how the command ended", (ran.ended, ran.stdout.as_str()), (Ended::Exited(0), "begun\n"))?;
    let before = scene.marks("beat").await?;
    sleep(Duration::from_millis(500)).await;
    ensure(scene.marks("beat").await? > before, || "the daemon was ended with the command that left it".into())
}

pub(super) async fn many_commands_at_once_each_run_once(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    let mut callers = JoinSet::new();
    for caller in 0..6 {
        let host = if caller % 2 == 0 { scene.host.clone() } else { scene.subject.another() };
        callers.spawn(async move { host.run(EPOCH, mark(&format!("mark-{caller}")).command(LONG)).await });
    }
    while let Some(ended) = callers.join_next().await {
        let ran = ended.map_err(|error| breach(format!("a caller was lost: {error}")))??;
        same("one of many commands", ran.ended, Ended::Exited(0))?;
    }
    for caller in 0..6 {
        same("how often it ran", scene.marks(&format!("mark-{caller}")).await?, 1)?;
    }
    Ok(())
}

pub(super) async fn a_command_under_one_name_runs_once_and_all_learn_its_end(fixture: &dyn Fixture) -> Done {
    let scene = Scene::with(fixture, &[Ability::Commands]).await?;
    scene.work()?;
    let name = id("once")?;
    let command = || Act::Mark("mark".into(), 300).command(LONG).with_id(name.clone());
    let other = scene.subject.another();
    let (one, two) = tokio::join!(scene.host.run(EPOCH, command()), other.run(EPOCH, command()));
    for ran in [one?, two?, scene.host.run(EPOCH, command()).await?] {
        same("how it ended", ran.ended, Ended::Exited(0))?;
    }
    same("how often it ran", scene.marks("mark").await?, 1)
}
