//! A run as it goes: one line a step, and on a terminal a bar with what is under way.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::Duration;

use ha_core::record::OutcomeKind;
use ha_core::report::Event;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::{took, utc};
use crate::failure::Failure;
use crate::json::RunLine;
use crate::lines::plain;
use crate::out::{Out, Tone, say};

/// Shows the events of a run.
pub(crate) struct Shown<'o> {
    out: &'o Out,
    bar: Option<ProgressBar>,
    /// What has begun and was not seen to end: target and action.
    under_way: BTreeSet<(String, String)>,
    /// Events were lost: what is under way may be more, or less.
    missed: bool,
}

impl<'o> Shown<'o> {
    /// Shows a run of so many orders.
    pub(crate) fn new(out: &'o Out, orders: usize) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let wanted = !out.json && !dumb && std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        Self { out, bar: wanted.then(|| bar(orders)), under_way: BTreeSet::new(), missed: false }
    }

    /// Shows one event.
    ///
    /// # Errors
    /// Where the output cannot be written. The run goes on.
    pub(crate) fn event(&mut self, event: &Event) -> Result<(), Failure> {
        match event {
            Event::StepStarted { target, action, .. } => {
                self.under_way.insert((target.clone(), action.clone()));
            }
            Event::StepEnded { target, action, .. } => {
                self.under_way.remove(&(target.clone(), action.clone()));
                if let Some(bar) = &self.bar {
                    bar.inc(1);
                }
            }
            Event::Missed { .. } => self.missed = true,
            _ => {}
        }
        if self.out.json {
            return self.out.json_line(&RunLine::Event(event.clone()));
        }
        if let Some(bar) = &self.bar {
            bar.set_message(plain(&self.under_way().join(", ")));
        }
        match self.line(event) {
            Some(line) => self.print(&line),
            None => Ok(()),
        }
    }

    /// Prints a line above the bar.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.out.line(text)),
            None => self.out.line(text),
        }
    }

    /// Says something beside the results: on the standard error.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    /// Says what has begun and was not seen to end.
    pub(crate) fn unknown(&self) -> String {
        let known = match &*self.under_way() {
            [] => "nothing had begun that has not ended".into(),
            some => some.join(", "),
        };
        let missed = if self.missed { "; events were missed here, so that this may be incomplete" } else { "" };
        format!("{known}{missed}")
    }

    fn under_way(&self) -> Vec<String> {
        self.under_way.iter().map(|(target, action)| format!("{action} {target}")).collect()
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, event: &Event) -> Option<String> {
        let line = match event {
            Event::Opened { run, epoch, resumed, reached_otherwise } => {
                let how = if *resumed { "resumed" } else { "begun" };
                let otherwise: String =
                    reached_otherwise.iter().map(|one| format!("\n  reached otherwise than planned: {one}")).collect();
                format!("run {run} {how}, lease epoch {epoch}{otherwise}")
            }
            Event::StepEnded { target, action, outcome, message, took_ms, .. } => {
                let outcome = match outcome {
                    OutcomeKind::Done => self.out.toned(Tone::Good, "done"),
                    OutcomeKind::NotDone => self.out.toned(Tone::Bad, "FAILED"),
                    OutcomeKind::Unknown => self.out.toned(Tone::Bad, "UNKNOWN"),
                };
                format!("{:>9}  {target}: {action}: {outcome}: {message}", took(*took_ms))
            }
            Event::Turned { message } => format!("           {message}"),
            Event::DomainLost { domain } => {
                format!("           {}: failure domain {domain}", self.out.toned(Tone::Bad, "LOST"))
            }
            Event::Replanned { back, text, .. } => {
                let what = if *back { "to go back" } else { "to finish the change" };
                format!("           planned anew, and proven, {what}:\n{}", text.trim_end())
            }
            Event::Interrupted { reason, .. } => {
                format!("           {}: {reason}", self.out.toned(Tone::Bad, "INTERRUPTED"))
            }
            Event::Requested { by, reason, what, refused, .. } => {
                let answer = refused.as_ref().map_or("taken".into(), |why| format!("refused: {why}"));
                format!("           {what} asked by {by} ({reason}): {answer}")
            }
            Event::ApprovalAsked { point, step, differs, until_unix_ms, then, .. } => {
                let differs: String = differs.iter().map(|one| format!("\n             changed: {one}")).collect();
                let waits = self.out.toned(Tone::Strong, "waits for an approval");
                let until = utc(*until_unix_ms);
                format!("           {waits} ({point}) of step {step}, until {until}, then {then}{differs}")
            }
            Event::Continued { message } => format!("           {message}"),
            Event::Missed { events } => format!("           {events} events were not shown; the report has them"),
            // The report says how it ended.
            Event::StepStarted { .. } | Event::Observed { .. } | Event::Closed { .. } => return None,
            _ => format!("           {}", event.kind()),
        };
        Some(line)
    }
}

fn bar(orders: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(orders as u64), ProgressDrawTarget::stderr());
    // The template is a constant, and tested.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

const TEMPLATE: &str = "{elapsed} [{bar:12}] {pos}/{len} {wide_msg}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_has_its_template() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn what_has_begun_and_not_ended_is_known() {
        let out = Out::new(true);
        let mut shown = Shown::new(&out, 2);
        let started =
            |action: &str| Event::StepStarted { target: "esb1".into(), action: action.into(), compensating: false };
        shown.event(&started("stop")).unwrap();
        assert_eq!(shown.unknown(), "stop esb1");
        let ended = Event::StepEnded {
            target: "esb1".into(),
            action: "stop".into(),
            outcome: OutcomeKind::Done,
            evidence: ha_core::record::Evidence::Stopped { forced: false },
            message: "gone".into(),
            took_ms: 1,
        };
        shown.event(&ended).unwrap();
        assert_eq!(shown.unknown(), "nothing had begun that has not ended");
        shown.event(&Event::Missed { events: 3 }).unwrap();
        assert!(shown.unknown().contains("events were missed"), "{}", shown.unknown());
    }
}
