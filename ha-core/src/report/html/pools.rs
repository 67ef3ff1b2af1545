use super::super::wording::{at, grouped, latency, margin};
use super::super::{Capacity, PoolMargin, PoolTraffic, RunReport, Traffic};
use super::scale::{Percent, Scale};

/// More buckets than this are put together for a chart.
const MOST_BUCKETS: usize = 240;
const FIRST_LOOK_MS: u64 = 250;

/// What is shown of one pool.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) name: String,
    pub(super) requests: String,
    pub(super) charts: Vec<Chart>,
    pub(super) traffic_rows: Vec<TrafficRow>,
    /// How many buckets of the traffic are one row.
    pub(super) together: usize,
    pub(super) capacity_rows: Vec<CapacityRow>,
    pub(super) capacity_known: bool,
}

/// One chart over the time of the run.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) name: &'static str,
    /// The meaning of its height.
    pub(super) unit: String,
    pub(super) alt: String,
    pub(super) height: usize,
    pub(super) rects: Vec<Rect>,
    /// Horizontal and vertical lines.
    pub(super) lines: Vec<Line>,
    /// Curves, in a space of 1000 x 100.
    pub(super) curves: Vec<Curve>,
}

#[derive(Debug)]
pub(super) struct Rect {
    pub(super) class: &'static str,
    pub(super) x: Percent,
    pub(super) y: Percent,
    pub(super) width: Percent,
    pub(super) height: Percent,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) class: &'static str,
    pub(super) x1: Percent,
    pub(super) y1: Percent,
    pub(super) x2: Percent,
    pub(super) y2: Percent,
}

#[derive(Debug)]
pub(super) struct Curve {
    pub(super) class: &'static str,
    pub(super) points: String,
}

#[derive(Debug)]
pub(super) struct TrafficRow {
    pub(super) at: String,
    pub(super) requests: String,
    pub(super) failed: u64,
    pub(super) p50: String,
    pub(super) p99: String,
}

#[derive(Debug)]
pub(super) struct CapacityRow {
    pub(super) at: String,
    pub(super) serving: String,
    pub(super) required: String,
    pub(super) margin: String,
    pub(super) short: bool,
}

/// Some buckets in one.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: i128,
    to: i128,
    requests: u64,
    failed: u64,
    p50: Option<u64>,
    p99: Option<u64>,
}

/// Lists the pools that anything is known of.
pub(super) fn pools(report: &RunReport, traffic: Option<&Traffic>, scale: Scale) -> Vec<Pool> {
    let mut names: Vec<&str> = report.pools.iter().map(|pool| pool.pool.as_str()).collect();
    let proven = report.proof.iter().flat_map(|proof| &proof.pools).map(|pool| pool.pool.as_str());
    let counted = traffic.iter().flat_map(|traffic| &traffic.pools).map(|pool| pool.pool.as_str());
    for name in proven.chain(counted) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| pool(name, report, traffic, scale)).collect()
}

fn pool(name: &str, report: &RunReport, traffic: Option<&Traffic>, scale: Scale) -> Pool {
    let seen = report.pools.iter().find(|pool| pool.pool == name);
    let counted = traffic.and_then(|traffic| Some((traffic, traffic.pools.iter().find(|pool| pool.pool == name)?)));
    let (spans, together) =
        counted.map_or_else(|| (Vec::new(), 1), |(traffic, pool)| spans(report, traffic, pool, scale));
    let mut charts = Vec::new();
    if !spans.is_empty() {
        charts.extend([requests(&spans, scale), failures(&spans, scale), latencies(&spans, scale)]);
    }
    charts.extend(seen.filter(|pool| !pool.capacity.is_empty()).map(|pool| capacity(report, pool, scale)));
    let requests = match counted {
        Some((traffic, _)) => {
            let (requests, failed) = traffic.during(report, Some(name));
            format!("{} of {} requests failed during the run", grouped(failed), grouped(requests))
        }
        None => "Requests, errors and latency are not known: this report was made without the traffic".into(),
    };
    let capacity = seen.map_or(&[][..], |pool| &pool.capacity);
    Pool {
        name: name.into(),
        requests,
        charts,
        traffic_rows: spans.iter().map(traffic_row).collect(),
        together,
        capacity_rows: capacity.iter().map(capacity_row).collect(),
        capacity_known: !capacity.is_empty(),
    }
}

/// Puts the buckets that are shown together, so that a chart has not more than it has room for; and says how many in one.
fn spans(report: &RunReport, traffic: &Traffic, pool: &PoolTraffic, scale: Scale) -> (Vec<Span>, usize) {
    let every = i128::from(traffic.every());
    let shown = (0..).zip(&pool.buckets).map(|(number, bucket)| (traffic.begin_of(report, number), bucket));
    let shown: Vec<_> = shown.filter(|(from, _)| scale.shows(*from, from + every)).collect();
    let together = shown.len().div_ceil(MOST_BUCKETS).max(1);
    let spans = shown.chunks(together).filter_map(|some| {
        let ((from, _), (last, _)) = (some.first()?, some.last()?);
        Some(Span {
            from: *from,
            to: last + every,
            requests: some.iter().map(|(_, bucket)| bucket.requests).sum(),
            failed: some.iter().map(|(_, bucket)| bucket.failed).sum(),
            p50: some.iter().filter_map(|(_, bucket)| bucket.p50_us).max(),
            p99: some.iter().filter_map(|(_, bucket)| bucket.p99_us).max(),
        })
    });
    (spans.collect(), together)
}

fn requests(spans: &[Span], scale: Scale) -> Chart {
    let rate = |span: &Span| span.requests as f64 * 1_000.0 / (span.to - span.from) as f64;
    let most = spans.iter().map(rate).fold(1.0, f64::max);
    let bar = |span: &Span| bar("requests", scale.span(span.from, span.to), rate(span) / (most * 1.1));
    let unit = format!("up to {most:.0} a second");
    let alt = format!("Requests a second over time, {unit}");
    Chart { rects: spans.iter().map(bar).collect(), ..Chart::new("Requests", unit, alt, 48) }
}

fn failures(spans: &[Span], scale: Scale) -> Chart {
    let most = spans.iter().map(|span| span.failed).max().unwrap_or(0);
    let all: u64 = spans.iter().map(|span| span.failed).sum();
    let failed = spans.iter().filter(|span| span.failed > 0);
    // One failure must be seen beside a thousand.
    let height = |span: &Span| (span.failed as f64 / most.max(1) as f64).max(0.2);
    let rects = failed.map(|span| bar("failed", scale.span(span.from, span.to), height(span)));
    let unit = if all == 0 { "none".into() } else { format!("{} shown", grouped(all)) };
    let alt = format!("Failed requests over time: {unit}");
    Chart { rects: rects.collect(), ..Chart::new("Failed", unit, alt, 34) }
}

/// The latency grows with its logarithm: from a tenth of a millisecond on, a line each power of ten.
fn latencies(spans: &[Span], scale: Scale) -> Chart {
    let highest = spans.iter().filter_map(|span| span.p99.max(span.p50)).max().unwrap_or(0);
    let top = (1..8).map(|power| 100_u64 * 10_u64.pow(power)).find(|top| *top >= highest).unwrap_or(u64::MAX);
    let place = |us: u64| ((us.max(100) as f64 / 100.0).log10() / (top as f64 / 100.0).log10()).clamp(0.0, 1.0);
    let curve =
        |class, of: fn(&Span) -> Option<u64>| Curve { class, points: points(spans, scale, |span| of(span).map(place)) };
    let powers = (1..8).map(|power| 100_u64 * 10_u64.pow(power)).take_while(|us| *us < top);
    let lines = powers.map(|us| across("rule", 1.0 - place(us)));
    let unit = format!("to {}, log", latency(top));
    let alt = format!("Latency over time, median and 99th percentile, at most {}", latency(highest));
    Chart {
        lines: lines.collect(),
        curves: vec![curve("p50", |span| span.p50), curve("p99", |span| span.p99)],
        ..Chart::new("Latency", unit, alt, 64)
    }
}

fn capacity(report: &RunReport, pool: &PoolMargin, scale: Scale) -> Chart {
    let all = pool.capacity.iter().flat_map(|look| [look.serving.unwrap_or(0), look.required]);
    let most = all.max().unwrap_or(1).max(1);
    let share = |capacity: u64| capacity as f64 / (most as f64 * 1.15);
    let ends = pool.capacity.iter().skip(1).map(|look| look.at_ms).chain([report.took_ms]);
    let (mut rects, mut lines) = (Vec::new(), Vec::new());
    for (look, end) in pool.capacity.iter().zip(ends) {
        let (x, width) = scale.span(look.at_ms.into(), end.into());
        let class = match look.serving {
            None => "unseen",
            Some(serving) if serving < look.required => "short",
            Some(_) => "serving",
        };
        rects.push(bar(class, (x, width), look.serving.map_or(1.0, share)));
        let y = Percent((1.0 - share(look.required)) * 100.0);
        lines.push(Line { class: "required", x1: x, y1: y, x2: Percent(x.0 + width.0), y2: y });
    }
    let first = pool.capacity.first().map_or(0, |first| first.at_ms);
    // The first look comes some milliseconds after the beginning; after another controller's time it comes late.
    if first > FIRST_LOOK_MS {
        rects.push(bar("unseen", scale.span(0, first.into()), 1.0));
    }
    let unit = format!("up to {}", grouped(most));
    let alt =
        format!("Serving capacity over time against what is required; to spare at the lowest: {}", margin(pool.lowest));
    Chart { rects, lines, ..Chart::new("Capacity", unit, alt, 56) }
}

impl Chart {
    fn new(name: &'static str, unit: String, alt: String, height: usize) -> Self {
        Self { name, unit, alt, height, rects: Vec::new(), lines: Vec::new(), curves: Vec::new() }
    }
}

/// Stands a bar on the ground of its chart.
fn bar(class: &'static str, (x, width): (Percent, Percent), share: f64) -> Rect {
    let share = share.clamp(0.0, 1.0) * 100.0;
    Rect { class, x, y: Percent(100.0 - share), width, height: Percent(share) }
}

fn across(class: &'static str, y: f64) -> Line {
    let y = Percent(y * 100.0);
    Line { class, x1: Percent(0.0), y1: y, x2: Percent(100.0), y2: y }
}

/// Writes a curve through the middles of spans as the data of a path; where a span has no value the curve is broken.
fn points(spans: &[Span], scale: Scale, share: impl Fn(&Span) -> Option<f64>) -> String {
    let (mut path, mut broken) = (String::new(), true);
    for span in spans {
        let Some(share) = share(span) else {
            broken = true;
            continue;
        };
        let (x, y) = (scale.x((span.from + span.to) / 2).0 * 10.0, (1.0 - share) * 100.0);
        // A span between two without a value would be a curve without a length: it is drawn as a dot, by its round ends.
        let step = if broken { format!("M{x:.1} {y:.1}l0 0") } else { format!("L{x:.1} {y:.1}") };
        path.push_str(&step);
        broken = false;
    }
    path
}

fn traffic_row(span: &Span) -> TrafficRow {
    let us = |value: Option<u64>| value.map_or_else(|| "not known".into(), latency);
    let sign = if span.from < 0 { "\u{2212}" } else { "" };
    let ms = u64::try_from(span.from.unsigned_abs()).unwrap_or(u64::MAX);
    let at = format!("{sign}{}", at(ms));
    TrafficRow { at, requests: grouped(span.requests), failed: span.failed, p50: us(span.p50), p99: us(span.p99) }
}

fn capacity_row(look: &Capacity) -> CapacityRow {
    let margin_of = |serving: u64| i64::try_from(i128::from(serving) - i128::from(look.required)).unwrap_or(i64::MAX);
    CapacityRow {
        at: at(look.at_ms),
        serving: look.serving.map_or_else(|| "not known".into(), grouped),
        required: grouped(look.required),
        margin: look.serving.map_or_else(|| "not known".into(), |serving| margin(margin_of(serving))),
        short: look.serving.is_some_and(|serving| serving < look.required),
    }
}
