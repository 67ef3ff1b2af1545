//! The report as one HTML page: made from `templates/report.html`, without a script, and without anything from elsewhere.

mod pools;
mod scale;
mod timeline;

use std::borrow::Borrow;

use askama::Template;
use sha2::{Digest as _, Sha256};

use super::chain::outcome;
use super::wording::{at, grouped, lasted, margin, utc};
use super::{RunReport, StepTiming, Traffic};
use crate::record::{End, OutcomeKind};
use pools::{Pool, pools};
use scale::{Scale, Tick};
use timeline::{Lane, Mark, lanes, marks};

const STYLE: &str = include_str!("../../../templates/report.css");
/// A table with more rows than this is folded away at first.
const MOST_ROWS: usize = 40;

impl RunReport {
    /// Renders the report as one self-contained HTML page: the steps of each node over the traffic, the errors, the latency and the
    /// serving capacity of each pool; drains, windows, loans, proof and records. For screens from 360 pixels on, light and dark, and for
    /// paper; it needs no script, no mouse and no network, and its Content-Security-Policy allows none. Each chart is there as a table,
    /// too. All text is escaped. What is not known is said to be not known.
    ///
    /// # Examples
    ///
    /// ```
    /// use ha_core::report::{RunReport, Traffic};
    ///
    /// fn write(report: &RunReport, traffic: Option<&Traffic>) -> std::io::Result<()> {
    ///     std::fs::write(format!("{}.html", report.run), report.to_html(traffic))
    /// }
    /// ```
    pub fn to_html(&self, traffic: Option<&Traffic>) -> String {
        let page = Page::of(self, traffic);
        // Nothing in the page refuses to be written, and neither does a text.
        page.render().unwrap_or_default()
    }
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a RunReport,
    traffic: Option<&'a Traffic>,
    style: &'static str,
    /// SHA-256 of the style, as a Content-Security-Policy names it.
    style_hash: String,
    title: String,
    verdict: Verdict<'a>,
    began: String,
    ended: String,
    lasted: String,
    left_to_do: Vec<String>,
    facts: Vec<(&'static str, String)>,
    ticks: Vec<Tick>,
    /// Where the run is in what is shown.
    run_x: scale::Percent,
    run_end: scale::Percent,
    lanes: Vec<Lane>,
    folded: Vec<Lane>,
    resources: Vec<&'static str>,
    marks: Vec<Mark<'a>>,
    pools: Vec<Pool>,
    steps: Vec<Step<'a>>,
    drains: Vec<Drain<'a>>,
    unseen_drains: usize,
}

/// How the run ended, in a word and a colour.
struct Verdict<'a> {
    class: &'static str,
    sign: &'static str,
    text: &'a str,
}

struct Step<'a> {
    start: String,
    took: String,
    outcome: &'static str,
    class: &'static str,
    told: &'a StepTiming,
}

struct Drain<'a> {
    start: String,
    took: String,
    node: &'a str,
    cut: u64,
    message: &'a str,
}

impl<'a> Page<'a> {
    fn of(report: &'a RunReport, traffic: Option<&'a Traffic>) -> Self {
        let scale = Scale::of(report, traffic);
        let (lanes, folded) = lanes(report, scale);
        let to = if report.goal.is_empty() { "" } else { " to " };
        let mut resources: Vec<&str> = Vec::new();
        for name in report.steps.iter().map(|step| step.resource.name()) {
            if !resources.contains(&name) {
                resources.push(name);
            }
        }
        let (run_x, run_width) = scale.span(0, report.took_ms.max(1).into());
        Self {
            report,
            traffic,
            style: STYLE,
            style_hash: base64(&Sha256::digest(STYLE)),
            title: format!("{} {}{to}{}", report.procedure, report.cluster, report.goal),
            verdict: verdict(report),
            began: utc(report.began_unix_ms),
            ended: utc(report.began_unix_ms.saturating_add(report.took_ms)),
            lasted: lasted(report.took_ms),
            left_to_do: report.left_to_do(),
            facts: report.facts_for_people(traffic),
            ticks: scale.ticks(),
            run_x,
            run_end: scale::Percent(run_x.0 + run_width.0),
            lanes,
            folded,
            resources,
            marks: marks(report, scale),
            pools: pools(report, traffic, scale),
            steps: report.steps.iter().map(step).collect(),
            drains: report.steps.iter().filter_map(drain).collect(),
            unseen_drains: report.unseen_drains(),
        }
    }

    fn has_back(&self) -> bool {
        self.report.steps.iter().any(|step| step.compensating)
    }

    fn open(&self, rows: usize) -> &'static str {
        if rows <= MOST_ROWS { " open" } else { "" }
    }

    fn at(&self, ms: &u64) -> String {
        at(*ms)
    }

    fn lasted(&self, ms: &u64) -> String {
        lasted(*ms)
    }

    fn at_most(&self, window: &crate::plan::DegradedWindow) -> String {
        lasted(u64::try_from(window.at_most.as_millis()).unwrap_or(u64::MAX))
    }

    fn number(&self, number: impl Borrow<usize>) -> String {
        grouped(u64::try_from(*number.borrow()).unwrap_or(u64::MAX))
    }

    fn spare(&self, lowest: &Option<u64>) -> String {
        lowest.map_or_else(|| "\u{2013}".into(), grouped)
    }

    fn seen_spare(&self, pool: &str) -> String {
        let seen = self.report.pools.iter().find(|known| known.pool == pool);
        seen.map_or_else(|| "not known".into(), |known| margin(known.lowest))
    }
}

fn verdict(report: &RunReport) -> Verdict<'_> {
    let (class, sign) = match report.end {
        End::AllNew if report.ended => ("good", "\u{2713}"),
        End::AllOld if report.ended => ("back", "\u{21a9}"),
        End::AllNew | End::AllOld | End::NeedsOperator(_) => ("bad", "!"),
    };
    Verdict { class, sign, text: &report.end_message }
}

fn step(told: &StepTiming) -> Step<'_> {
    let class = match told.outcome {
        OutcomeKind::Done => "done",
        OutcomeKind::NotDone => "not-done",
        OutcomeKind::Unknown => "unknown",
    };
    Step { start: at(told.start_ms), took: lasted(told.took_ms), outcome: outcome(told.outcome), class, told }
}

fn drain(step: &StepTiming) -> Option<Drain<'_>> {
    let (start, took) = (at(step.start_ms), lasted(step.took_ms));
    let drain = |cut| Drain { start, took, node: &step.target, cut, message: &step.message };
    step.cut_requests().map(drain)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().chain([&0; 2]).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for place in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * place) & 63];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let all = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(all, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }
}
