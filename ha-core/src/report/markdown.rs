use std::fmt::Write as _;

use super::chain::outcome;
use super::wording::{at, counted, grouped, lasted, margin, utc};
use super::{RunReport, StepTiming, Traffic};
use crate::record::{End, OutcomeKind};

/// How many of the slowest steps are listed.
const SLOWEST: usize = 3;
/// How many turns are listed.
const MOST_TURNS: usize = 20;

impl RunReport {
    /// Renders the report as short Markdown, for a ticket: what was done, how it ended, what is left to do, what requests met, the
    /// proof, its turns, what failed, the slowest steps, and the hash that binds the journal. Names and messages cannot add markup.
    ///
    /// # Examples
    ///
    /// ```
    /// use ha_core::report::RunReport;
    ///
    /// fn comment(report: &RunReport) -> String {
    ///     format!("{}\n\n_the whole report is attached_", report.to_markdown(None))
    /// }
    /// ```
    pub fn to_markdown(&self, traffic: Option<&Traffic>) -> String {
        let mut text = String::new();
        let to = if self.goal.is_empty() { "" } else { " to " };
        let what = format!("{} {}{to}{}", self.procedure, self.cluster, self.goal);
        let _ = writeln!(text, "**{}: {}**\n", escaped(&what), escaped(&self.end_message));
        let (began, took) = (utc(self.began_unix_ms), lasted(self.took_ms));
        let _ = writeln!(text, "Run {}, {began}, {took}, {}.\n", code(self.run.as_str()), self.counts());
        for left in self.left_to_do() {
            let _ = writeln!(text, "- [ ] {}", escaped(&left));
        }
        if !self.left_to_do().is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "| | |\n|---|---|");
        for (name, value) in self.facts_for_people(traffic) {
            let _ = writeln!(text, "| {name} | {} |", escaped(&value));
        }
        let _ = writeln!(text, "| Plan | {} |", code(&self.plan));
        if let Some(hash) = self.last_hash() {
            let _ = writeln!(
                text,
                "| Hash of {} | {} |",
                counted(self.records.len(), "record", "records"),
                code(hash.as_str())
            );
        }
        self.list_turns(&mut text);
        let failed: Vec<_> = self.steps.iter().filter(|step| step.outcome != OutcomeKind::Done).collect();
        if !failed.is_empty() {
            let _ = writeln!(text, "\nNot done:\n");
        }
        for step in failed {
            let (start, what) = (at(step.start_ms), format!("{} {}", step.action, step.target));
            let (what, message) = (escaped(&what), escaped(&step.message));
            let _ = writeln!(text, "- {start}, {what}: {}: {message}", outcome(step.outcome));
        }
        let mut slowest: Vec<_> = self.steps.iter().collect();
        slowest.sort_by_key(|step| std::cmp::Reverse(step.took_ms));
        let slowest = slowest.into_iter().take(SLOWEST);
        let slowest = slowest.map(|step| format!("{} {} {}", step.action, step.target, lasted(step.took_ms)));
        let slowest: Vec<String> = slowest.map(|step| escaped(&step)).collect();
        if !slowest.is_empty() {
            let _ = writeln!(text, "\nSlowest steps: {}.", slowest.join(", "));
        }
        text
    }

    /// Lists where the run left the plain order of its plan, what was lost and what people asked.
    fn list_turns(&self, text: &mut String) {
        let turns: Vec<_> = self.records.iter().filter(|record| record.is_turn()).collect();
        if !turns.is_empty() {
            let _ = writeln!(text, "\nTurns:\n");
        }
        for turn in turns.iter().take(MOST_TURNS) {
            let _ = writeln!(text, "- {}, {}", at(turn.at_ms), escaped(&turn.message));
        }
        if let more @ 1.. = turns.len().saturating_sub(MOST_TURNS) {
            let _ = writeln!(text, "- and {} more", grouped(more as u64));
        }
    }

    /// Lists what a person has to do or decide, the first thing first; empty where nothing is.
    pub(super) fn left_to_do(&self) -> Vec<String> {
        let end = self.needs_a_person().then(|| self.end_message.clone());
        let open = self.open.iter().map(|loan| format!("still open: {loan}"));
        end.into_iter().chain(open).chain(self.notes.iter().cloned()).collect()
    }

    /// Tells whether a person has to look after the run.
    pub(super) fn needs_a_person(&self) -> bool {
        !self.ended || matches!(self.end, End::NeedsOperator(_))
    }

    fn counts(&self) -> String {
        let rolled_back = self.steps.iter().filter(|step| step.compensating).count();
        let steps = counted(self.steps.len(), "step", "steps");
        if rolled_back == 0 { steps } else { format!("{steps}, {rolled_back} of them of a rollback or a reaction") }
    }

    /// Lists the figures that are asked for first.
    pub(super) fn facts_for_people(&self, traffic: Option<&Traffic>) -> Vec<(&'static str, String)> {
        let mut facts = vec![("Failed requests", self.requests_for_people(traffic))];
        facts.push(("Cut in drains", self.drains_for_people()));
        let spare = self.lowest_margin.map_or_else(|| NO_CAPACITY.into(), margin);
        facts.push(("Capacity to spare, lowest", spare));
        let windows = self.windows.iter().map(|window| {
            let exceeded = if window.is_exceeded() { ", LONGER THAN DECLARED" } else { "" };
            format!("{}: {} of at most {}{exceeded}", window.what, lasted(window.used_ms), lasted(window.at_most_ms))
        });
        let unmeasured = self.unmeasured_windows.len();
        let unmeasured = (unmeasured > 0).then(|| format!("{} declared, not measured", grouped(unmeasured as u64)));
        let windows: Vec<String> = windows.chain(unmeasured).collect();
        facts.push(("Windows", if windows.is_empty() { "none declared".into() } else { windows.join("; ") }));
        let lent = counted(self.loans.len(), "loan", "loans");
        let open = if self.open.is_empty() { "all repaid".into() } else { format!("{} open", self.open.len()) };
        facts.push(("Loans", format!("{lent}, {open}")));
        facts.push(("Proof", self.proof_for_people()));
        facts
    }

    fn requests_for_people(&self, traffic: Option<&Traffic>) -> String {
        let Some(traffic) = traffic else { return "not known: this report was made without the traffic".into() };
        let ((requests, failed), all) = (traffic.during(self, None), traffic.failed());
        let (requests, outside) = (grouped(requests), all.saturating_sub(failed));
        let outside = if outside == 0 { String::new() } else { format!("; {} before or after it", grouped(outside)) };
        format!("{} of {requests} during the run{outside} ({})", grouped(failed), traffic.source)
    }

    fn drains_for_people(&self) -> String {
        let drains: Vec<u64> = self.steps.iter().filter_map(StepTiming::cut_requests).collect();
        let unseen = match self.unseen_drains() {
            0 => String::new(),
            unseen => format!("; of {} not known", counted(unseen, "more", "more")),
        };
        format!("{} in {}{unseen}", grouped(drains.iter().sum()), counted(drains.len(), "drain", "drains"))
    }

    fn proof_for_people(&self) -> String {
        let Some(proof) = &self.proof else { return "not in this report".into() };
        let (states, faults) = (counted(proof.states, "state", "states"), counted(proof.faults, "fault", "faults"));
        format!("the law holds in all {states} that were explored, {faults} injected")
    }
}

pub(super) const NO_CAPACITY: &str = "not known: what the guard saw is not in the journal";

/// Writes text so that it is no markup: no markup character, no new line, no HTML, no link, nothing that turns the order of letters.
fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for (at, letter) in text.char_indices() {
        let (before, rest) = text.split_at(at);
        match letter {
            // Addresses become links by themselves.
            ':' if rest.starts_with("://") => plain.push_str("&#58;"),
            '.' if before.as_bytes().last_chunk::<3>().is_some_and(|last| last.eq_ignore_ascii_case(b"www")) => {
                plain.push_str("&#46;");
            }
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '@' => plain.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => plain.extend(['\\', letter]),
            _ if is_unseen(letter) => plain.push(' '),
            _ => plain.push(letter),
        }
    }
    plain
}

/// Writes text as code, which is read as it stands.
fn code(text: &str) -> String {
    let plain: String =
        text.chars().map(|letter| if is_unseen(letter) || "`|<>@".contains(letter) { '?' } else { letter }).collect();
    format!("`{plain}`")
}

/// Tells whether a letter is none that is seen: it controls something, has no width, or turns the order of those around it.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
