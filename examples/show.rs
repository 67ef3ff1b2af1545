use std::cell::RefCell;
use std::io::{IsTerminal, Write};

use ha_core::engine::Engine;
use ha_core::procedure::Procedure;
use ha_core::report::RunReport;
use ha_lab::load::{LoadReport, RunningLoad, Snapshot, ledger_begins};
use serde_json::Value;

use crate::Fallible;

/// Shows what happens: a live line on a terminal, plain lines elsewhere.
#[derive(Default)]
pub struct Show {
    terminal: bool,
    steps: RefCell<Vec<String>>,
}

impl Show {
    /// Makes one that writes to the standard output.
    pub fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), steps: RefCell::default() }
    }

    /// Prints a line.
    pub fn line(&self, text: &str) {
        if self.terminal {
            print!("\r\x1b[K");
        }
        println!("{text}");
    }

    /// Shows on a terminal how the load goes.
    pub fn tick(&self, counts: &Snapshot) {
        if self.terminal {
            let releases: Vec<String> =
                counts.by_release.iter().map(|(name, count)| format!("{name}: {count}")).collect();
            print!("\r\x1b[K{} sent, {} failed, answers by {}", counts.sent, counts.failures(), releases.join(", "));
            let _ = std::io::stdout().flush();
        }
    }

    /// Plans, proves and runs a procedure as the run of this name, and shows all of that; `load` is what goes on meanwhile.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn play(
        &self,
        engine: &Engine,
        load: Option<&RunningLoad>,
        name: &str,
        procedure: &dyn Procedure,
    ) -> Fallible<RunReport> {
        self.play_with(engine, load, name, procedure, async |_| Ok(())).await
    }

    /// The same, where something is to happen at what the run tells.
    ///
    /// # Errors
    /// What the engine says, and what `at` says.
    pub async fn play_with(
        &self,
        engine: &Engine,
        load: Option<&RunningLoad>,
        name: &str,
        procedure: &dyn Procedure,
        mut at: impl AsyncFnMut(&Value) -> Fallible<()>,
    ) -> Fallible<RunReport> {
        let planned = engine.plan(procedure).await?;
        self.line(planned.plan().to_text(engine.topology()).trim_end());
        self.line(&planned.proof().to_string());
        ledger_begins(name);
        let mut run = engine.run(name.into(), planned).await?;
        while let Some(event) = run.next_event().await {
            let event = serde_json::to_value(&event)?;
            self.event(&event);
            at(&event).await?;
            if let Some(load) = load {
                self.tick(&load.snapshot());
            }
        }
        Ok(run.wait().await?)
    }

    /// Shows an event of a run.
    pub fn event(&self, event: &Value) {
        let text = |key: &str| event[key].as_str().unwrap_or("").to_string();
        match event["event"].as_str().unwrap_or("") {
            "opened" => {
                let how = if event["resumed"] == true { "resumed" } else { "begun" };
                self.line(&format!("run {} {how} with lease epoch {}", text("run"), event["epoch"]));
            }
            "step-ended" => {
                let took = format!("{:>6} ms", event["took_ms"].as_u64().unwrap_or(0));
                let step = format!("{took}  {:<8} {:<9} {:<8}", text("target"), text("action"), text("outcome"));
                self.line(&format!("{step} {}", text("message")));
                self.steps.borrow_mut().push(step);
            }
            "turned" => self.line(&format!("           {}", text("message"))),
            "domain-lost" => self.line(&format!("           failure domain {} is lost", text("domain"))),
            "replanned" => {
                let what = if event["back"] == true { "to go back" } else { "to finish the change" };
                self.line(&format!("           planned anew, and proven, {what}:"));
                self.line(text("text").trim_end());
            }
            "closed" => self.line(&format!("run ended: {}", text("message"))),
            _ => {}
        }
    }

    /// Prints what the load counted, and how many requests were executed twice where that was looked at.
    pub fn counts(&self, load: &LoadReport, executed_twice: impl Into<Option<u64>>) {
        let counts = &load.counts;
        println!("requests           {:>9}", counts.sent);
        println!("failed             {:>9}", counts.failures());
        for (kind, count) in &counts.failed {
            println!("  {kind:<32} {count:>6}");
        }
        if let Some(executed_twice) = executed_twice.into() {
            println!("executed twice     {executed_twice:>9}");
        }
        for (release, count) in &counts.by_release {
            println!("answered by {release:<6} {count:>9}");
        }
        let ms = |us: u64| format!("{}.{} ms", us / 1000, us % 1000 / 100);
        println!("latency p50        {:>12}", ms(load.p50_us));
        println!("latency p99        {:>12}", ms(load.p99_us));
        println!("latency max        {:>12}", ms(load.max_us));
    }

    /// Prints what a run left open, and how long each of its steps took.
    pub fn run(&self, report: &Value) {
        for loan in report["open"].as_array().into_iter().flatten() {
            println!("open loan          {}", loan.as_str().unwrap_or(""));
        }
        for step in self.steps.borrow().iter() {
            println!("step      {}", step.trim_end());
        }
    }
}
