use std::process::Stdio;
use std::time::Duration;

use ha_lab::load::{RunningLoad, ledger_begins};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::{Fallible, Show};

/// A controller: this program again, as a child.
pub struct Controller {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// How a change went whose controller may have been killed.
pub struct Controlled {
    /// The report of the last controller, or `{"refused": ...}`.
    pub report: Value,
    /// How many events were seen.
    pub events: u64,
    /// Whether a controller was killed.
    pub killed: bool,
}

/// How far a controller was followed.
pub enum Followed {
    /// To its end; this is its report, or `{"refused": ...}`.
    Ended(Value),
    /// To the moment that was waited for. It goes on.
    Reached,
}

impl Controller {
    /// Starts it with these arguments. It ends when this value is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(arguments: &[&str]) -> Fallible<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().ok_or("the controller has no output")?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    /// Lets a controller with these arguments do its work. With `kill_within` it is killed with -9 at a random moment: up to 300 ms
    /// after an event of the first so many, and another one goes on.
    ///
    /// # Errors
    /// When one cannot be started, or ends without a report.
    pub async fn run(
        arguments: &[&str],
        show: &Show,
        load: &RunningLoad,
        kill_within: Option<u64>,
    ) -> Fallible<Controlled> {
        let (mut controller, mut events, mut killed) = (Self::start(arguments)?, 0, false);
        let kill_at = kill_within.map(|within| fastrand::u64(1..=within.max(1)));
        loop {
            let has_come = |told: &Value| {
                events += u64::from(told["event"] != "cost" && told["event"] != "report");
                !killed && kill_at.is_some_and(|at| events >= at)
            };
            match controller.follow(show, load, has_come).await? {
                Followed::Ended(report) => return Ok(Controlled { report, events, killed }),
                Followed::Reached => {
                    killed = true;
                    let late = Duration::from_millis(fastrand::u64(0..300));
                    tokio::time::sleep(late).await;
                    controller.kill().await?;
                    show.line(&format!(
                        "the controller was killed with -9, {late:?} after event {events}; another one goes on"
                    ));
                    controller = Self::start(arguments)?;
                }
            }
        }
    }

    /// Returns its process id, until it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills it with -9.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(mut self) -> Fallible<()> {
        Ok(self.child.kill().await?)
    }

    /// Shows what it tells until it ends, or until `has_come` says so of an event of the run.
    ///
    /// # Errors
    /// When it ended without a report.
    pub async fn follow(
        &mut self,
        show: &Show,
        load: &RunningLoad,
        mut has_come: impl FnMut(&Value) -> bool,
    ) -> Fallible<Followed> {
        let mut report = Value::Null;
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                line = self.lines.next_line() => {
                    let Some(line) = line? else { break };
                    let Ok(told) = serde_json::from_str::<Value>(&line) else {
                        show.line(&line);
                        continue;
                    };
                    if told["event"] == "report" {
                        report = told["report"].clone();
                    } else if told["event"] == "cost" {
                        if report.is_object() {
                            report["controller_cpu_us"] = told["cpu_us"].clone();
                        }
                    } else if told["event"] == "refused" {
                        report = serde_json::json!({ "refused": told["message"] });
                        show.line(told["message"].as_str().unwrap_or(""));
                    } else {
                        if told["event"] == "opened" {
                            ledger_begins(told["run"].as_str().unwrap_or(""));
                        }
                        show.event(&told);
                    }
                    if has_come(&told) {
                        return Ok(Followed::Reached);
                    }
                }
                _ = tick.tick() => show.tick(&load.snapshot()),
            }
        }
        let status = self.child.wait().await?;
        if report.is_null() {
            return Err(format!("the controller ended without a report: {status}").into());
        }
        Ok(Followed::Ended(report))
    }
}
