use super::super::wording::{at, counted, lasted};
use super::super::{ChainedRecord, RunReport, StepTiming};
use super::scale::{Percent, Scale};
use crate::record::OutcomeKind;

/// How many targets are shown at once; the others are folded away.
const MOST_LANES: usize = 40;
const ROW_PX: usize = 22;
const LEAST_WIDTH: f64 = 0.2;
/// Steps that follow each other within this time are in one row: an end may be told a little late.
const TOUCHING_MS: u64 = 5;

/// The steps of one target.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) alt: String,
    pub(super) height: usize,
    pub(super) bars: Vec<Bar>,
    ends: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Bar {
    pub(super) x: Percent,
    pub(super) y: usize,
    pub(super) width: Percent,
    /// The resource and the outcome, as classes.
    pub(super) class: String,
    /// How much of its label fits: `wide`, `medium` or `narrow`.
    pub(super) room: &'static str,
    pub(super) label: String,
    pub(super) title: String,
}

/// A moment at which the run left the plain order of its plan.
#[derive(Debug)]
pub(super) struct Mark<'a> {
    pub(super) number: usize,
    pub(super) x: Percent,
    pub(super) at: String,
    pub(super) record: &'a ChainedRecord,
}

/// Puts the steps into lanes, one a target in the order of their first steps: those that are shown, and those that are folded away.
pub(super) fn lanes(report: &RunReport, scale: Scale) -> (Vec<Lane>, Vec<Lane>) {
    let mut steps: Vec<&StepTiming> = report.steps.iter().collect();
    steps.sort_by_key(|step| step.start_ms);
    let mut places = std::collections::BTreeMap::new();
    let mut lanes: Vec<Lane> = Vec::new();
    for step in steps {
        let place = *places.entry(step.target.as_str()).or_insert_with(|| {
            let (name, alt) = (step.target.clone(), String::new());
            lanes.push(Lane { name, alt, height: 0, bars: Vec::new(), ends: Vec::new() });
            lanes.len() - 1
        });
        if let Some(lane) = lanes.get_mut(place) {
            lane.add(step, scale);
        }
    }
    for lane in &mut lanes {
        lane.height = lane.ends.len() * ROW_PX;
        let bad = lane.bars.iter().filter(|bar| !bar.class.ends_with(" done")).count();
        let steps = counted(lane.bars.len(), "step", "steps");
        let outcome = if bad == 0 { "all done".into() } else { format!("{bad} not done or unknown") };
        lane.alt = format!("{}: {steps}, {outcome}", lane.name);
    }
    let folded = lanes.split_off(lanes.len().min(MOST_LANES));
    (lanes, folded)
}

impl Lane {
    fn add(&mut self, step: &StepTiming, scale: Scale) {
        let end = step.start_ms.saturating_add(step.took_ms);
        let row = self.ends.iter().position(|before| *before <= step.start_ms + TOUCHING_MS);
        let row = row.unwrap_or_else(|| {
            self.ends.push(0);
            self.ends.len() - 1
        });
        self.ends[row] = end;
        let (x, width) = scale.span(step.start_ms.into(), end.into());
        // What took no time is not drawn at all without a width.
        let width = Percent(width.0.max(LEAST_WIDTH));
        let (outcome, sign) = match step.outcome {
            OutcomeKind::Done => ("done", ""),
            OutcomeKind::NotDone => ("not-done", "\u{2715} "),
            OutcomeKind::Unknown => ("unknown", "? "),
        };
        let (back, arrow) = if step.compensating { (" back", "\u{21a9} ") } else { ("", "") };
        // So thin that an edge around it would hide it.
        let thin = if width.0 < 0.4 { " thin" } else { "" };
        let room = match width.0 {
            ..4.5 => "narrow",
            4.5..16.0 => "medium",
            _ => "wide",
        };
        self.bars.push(Bar {
            x,
            y: row * ROW_PX + 2,
            width,
            class: format!("{}{thin}{back} {outcome}", step.resource.name()),
            room,
            label: format!("{sign}{arrow}{}", step.action),
            title: format!("{} {}: {}, {}", step.action, step.target, lasted(step.took_ms), step.message),
        });
    }
}

/// Lists the turns of a run.
pub(super) fn marks<'a>(report: &'a RunReport, scale: Scale) -> Vec<Mark<'a>> {
    let turns = report.records.iter().filter(|record| record.is_turn());
    let mark = |(number, record): (usize, &'a ChainedRecord)| {
        let (x, at) = (scale.x(record.at_ms.into()), at(record.at_ms));
        Mark { number, x, at, record }
    };
    (1..).zip(turns).map(mark).collect()
}
