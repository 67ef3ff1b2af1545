use std::fmt;

use super::super::{RunReport, Traffic};

/// The stretch of time that the charts show, in milliseconds after the beginning of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: i128,
    to: i128,
}

/// A place or a length along a chart.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Percent(pub(super) f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}%", self.0)
    }
}

/// A mark of the axis.
#[derive(Debug)]
pub(super) struct Tick {
    pub(super) x: Percent,
    pub(super) label: String,
}

/// How far the charts show traffic before and after a short run.
const LEAD_MS: i128 = 5_000;
/// The steps between marks: 1, 2 or 5 of a power of ten up to a second, then what clocks show.
const STEPS_MS: [u64; 22] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000,
    1_800_000, 3_600_000, 14_400_000,
];
const MOST_TICKS: i128 = 6;

impl Scale {
    /// Shows a run, and so much of the traffic around it that what came before and after can be compared.
    pub(super) fn of(report: &RunReport, traffic: Option<&Traffic>) -> Self {
        let end = i128::from(report.took_ms.max(1));
        let lead = LEAD_MS.max(end / 4);
        let (mut from, mut to) = (0, end);
        let longest = |traffic: &Traffic| traffic.pools.iter().map(|pool| pool.buckets.len()).max().unwrap_or(0);
        if let Some(traffic) = traffic.filter(|traffic| longest(traffic) > 0) {
            let buckets = u64::try_from(longest(traffic)).unwrap_or(u64::MAX);
            from = traffic.begin_of(report, 0).clamp(-lead, 0);
            to = traffic.begin_of(report, buckets).clamp(end, end + lead);
        }
        Self { from, to }
    }

    /// Returns the place of a moment, from 0 to 100 %.
    pub(super) fn x(self, ms: i128) -> Percent {
        Percent((ms.clamp(self.from, self.to) - self.from) as f64 * 100.0 / (self.to - self.from) as f64)
    }

    /// Returns place and width of a span.
    pub(super) fn span(self, from: i128, to: i128) -> (Percent, Percent) {
        let (begin, end) = (self.x(from), self.x(to));
        (begin, Percent((end.0 - begin.0).max(0.0)))
    }

    pub(super) fn shows(self, from: i128, to: i128) -> bool {
        from < self.to && to > self.from
    }

    pub(super) fn ticks(self) -> Vec<Tick> {
        let length = self.to - self.from;
        let fits = |step: &u64| length / i128::from(*step) < MOST_TICKS;
        let step = STEPS_MS.into_iter().find(fits).map_or(length / MOST_TICKS + 1, i128::from);
        let first = self.from.div_euclid(step) + i128::from(self.from.rem_euclid(step) != 0);
        let moments = (first..).map(|number| number * step).take_while(|ms| *ms <= self.to);
        // The words of the last one would stick out of a phone.
        let ticks = moments.map(|ms| Tick { x: self.x(ms), label: label(ms, step) });
        ticks.filter(|tick| tick.x.0 <= 88.0).collect()
    }
}

fn label(ms: i128, step: i128) -> String {
    let (sign, size) = if ms < 0 { ("\u{2212}", -ms) } else { ("", ms) };
    let seconds = size / 1_000;
    if size == 0 {
        "0".into()
    } else if step < 1_000 {
        format!("{sign}{} ms", size)
    } else if size < 60_000 {
        format!("{sign}{seconds} s")
    } else if step < 60_000 {
        format!("{sign}{}:{:02}", seconds / 60, seconds % 60)
    } else if step < 3_600_000 {
        format!("{sign}{} min", seconds / 60)
    } else {
        format!("{sign}{} h", seconds / 3_600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(from: i128, to: i128) -> Vec<String> {
        Scale { from, to }.ticks().into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn an_axis_has_a_few_round_marks_whatever_its_length() {
        assert_eq!(labels(0, 9_000), ["0", "2 s", "4 s", "6 s"]);
        assert_eq!(labels(-5_000, 20_000), ["\u{2212}5 s", "0", "5 s", "10 s", "15 s"]);
        assert_eq!(labels(0, 130_000), ["0", "30 s", "1:00", "1:30"]);
        assert_eq!(labels(0, 7_300_000), ["0", "30 min", "60 min", "90 min"]);
        for length in [1, 7, 99, 12_345, 86_400_000, 10_000_000_000_000] {
            let ticks = labels(0, length);
            assert!((1..=6).contains(&ticks.len()), "{length}: {ticks:?}");
        }
    }

    #[test]
    fn a_span_outside_of_what_is_shown_has_no_width() {
        let scale = Scale { from: 0, to: 100 };
        assert_eq!(scale.span(25, 75), (Percent(25.0), Percent(50.0)));
        assert_eq!(scale.span(150, 175), (Percent(100.0), Percent(0.0)));
        assert_eq!(scale.span(-50, 50), (Percent(0.0), Percent(50.0)));
    }
}
