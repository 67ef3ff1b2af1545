//! The commands: each reads, asks the library, and says what came of it.

mod doctor;
mod files;
mod generate;
mod hands;
mod plan;
mod recorded;
mod run;
mod show;

use std::ffi::OsString;
use std::panic;

use clap::{ArgMatches, FromArgMatches, error::ErrorKind};

use crate::cli::{Cli, Command, definition};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::json::NothingToDo;
use crate::out::{Out, say};

/// Does what a command line asks for, and says on the standard output and the standard error what came of it.
///
/// # Panics
/// Never: a panic of a command is told as an error of this program.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let parsed = definition().try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches: ArgMatches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    // What went wrong is told once, as every failure is, and without a trace.
    panic::set_hook(Box::new(|_| {}));
    let out = Out::new(cli.common.json);
    let ended = panic::catch_unwind(panic::AssertUnwindSafe(|| execute(&cli, &out)));
    match ended.unwrap_or_else(|payload| Err(Failure::internal(words_of(&*payload)))) {
        Ok(exit) => exit,
        Err(failure) => tell(&failure, &out),
    }
}

fn words_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    format!("this program has come upon a state that it does not know: {}", text.unwrap_or("no detail"))
}

/// Says what is wrong with the command line, or prints the help that was asked for.
fn refuse(error: &clap::Error) -> Exit {
    // Where it cannot be written there is nobody to tell.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
        _ => Exit::Usage,
    }
}

fn tell(failure: &Failure, out: &Out) -> Exit {
    // Where it cannot be written, there is nobody else to tell.
    let _ = match (out.json && !out.is_closed(), failure.exit) {
        (true, Exit::Done) => out.json_line(&NothingToDo { nothing_to_do: failure.what().into() }),
        (true, _) => out.json_line(&failure.to_json()),
        (false, Exit::Done) => out.line(failure.what()),
        (false, _) => {
            say(&failure.to_string());
            Ok(())
        }
    };
    failure.exit
}

fn execute(cli: &Cli, out: &Out) -> Result<Exit, Failure> {
    let common = &cli.common;
    match &cli.command {
        Command::Init { from, force } => files::init(common, out, from.as_deref(), *force),
        Command::Validate { changes } => files::validate(common, out, changes),
        Command::Schema { name } => generate::schema(out, name.as_deref()),
        Command::Completion { shell } => generate::completion(out, *shell),
        Command::Man { dir } => generate::man(out, dir.as_deref()),
        Command::Show { declared: true } => show::declared(common, out),
        Command::Show { declared: false } => block_on(show::seen(common, out)),
        Command::Doctor { watch, every } => block_on(doctor::doctor(common, out, watch.then_some(*every))),
        Command::Plan { change, mermaid } => block_on(plan::plan(common, out, &change.file, *mermaid)),
        Command::Prove { change } => block_on(plan::prove(common, out, &change.file)),
        Command::Run { change, start } => block_on(run::change(common, out, &change.file, start)),
        Command::Drill { site, start } => block_on(run::drill(common, out, site, start)),
        Command::Approve { run, holds, reason, confirm } => {
            block_on(hands::approve(common, out, run, *holds, reason, *confirm))
        }
        Command::Pause { run, holds, reason } => block_on(hands::pause(common, out, run, *holds, reason)),
        Command::Resume { run, skip, reason, confirm } => {
            block_on(hands::resume(common, out, run, *skip, reason, *confirm))
        }
        Command::Rollback { run, reason, confirm } => block_on(hands::roll_back(common, out, run, reason, *confirm)),
        Command::Abort { run, reason } => block_on(hands::abort(common, out, run, reason)),
        Command::Status { run } => block_on(recorded::status(common, out, run.as_deref())),
        Command::Watch { run } => block_on(recorded::watch(common, out, run.as_deref())),
        Command::Report { run, html, force, markdown } => {
            block_on(recorded::report(common, out, run.as_deref(), (html.as_deref(), *force, *markdown)))
        }
        Command::Journal { run } => block_on(recorded::journal(common, out, run.as_deref())),
    }
}

/// The command on this thread, which a reader of its output may hold up; a run that it drives on another one, which nobody may.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::internal(format!("no runtime: {error}")))?;
    let done = runtime.block_on(work);
    // What does not come back must not hold up the end.
    runtime.shutdown_background();
    done
}
