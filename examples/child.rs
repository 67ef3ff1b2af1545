use std::process::Stdio;
use std::time::Duration;

use ha_lab::load::RunningLoad;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::{Fallible, Show};

/// A controller: this program again, as a child.
pub struct Controller {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
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
