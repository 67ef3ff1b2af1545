//! The renderings of a report for people: Markdown for tickets, and one HTML page.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::time::{Duration, Instant};

use ha_core::plan::{Degraded, DegradedWindow, Digest};
use ha_core::record::{Evidence, OutcomeKind, RunId};
use ha_core::report::{PoolTraffic, RunReport, Traffic, TrafficBucket};
use ha_testkit::world::{Fault, Operation, World};

async fn run(world: &World) -> RunReport {
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    engine.run("patch".into(), planned).await.unwrap().wait().await.unwrap()
}

/// The report of a patch, as if it had begun at a moment that is always the same.
async fn patched() -> RunReport {
    let mut report = run(&World::active_passive()).await;
    report.began_unix_ms = 1_796_083_200_000;
    report.records.last_mut().unwrap().hash = Digest::of(b"the journal");
    report
}

fn traffic(report: &RunReport) -> Traffic {
    let quiet = TrafficBucket::new(125, 0).with_latency(Some(800), Some(52_000));
    let mut buckets = vec![quiet; 40];
    buckets[30] = TrafficBucket::new(125, 3).with_latency(Some(900), None);
    let pool = report.pools[0].pool.clone();
    Traffic::new("the access log", report.began_unix_ms - 2_000, 250, vec![PoolTraffic::new(pool, buckets)])
}

/// Names that would be markup, in each place of a report that others fill in.
fn with_hostile_names(mut report: RunReport) -> RunReport {
    let hostile = || {
        let text = "\"'><script>alert(1)</script><img src=x onerror=alert(1)> `]]| \u{202e}\u{2067}\u{200f}\n# x @all";
        format!("{text} https://evil.example WWW.evil.example")
    };
    report.run = RunId::new(hostile());
    (report.cluster, report.procedure, report.goal) = (hostile(), hostile(), hostile());
    (report.end_message, report.plan) = (hostile(), hostile());
    report.open = vec![hostile()];
    report.notes = vec![hostile()];
    report.reached_otherwise = vec![hostile()];
    for step in &mut report.steps {
        (step.target, step.action, step.message) = (hostile(), hostile(), hostile());
        step.evidence = Evidence::failed(hostile());
    }
    report.steps[0].outcome = OutcomeKind::NotDone;
    for record in &mut report.records {
        (record.kind, record.message) = (hostile(), hostile());
    }
    report.loans.iter_mut().for_each(|loan| loan.what = hostile());
    report.pools.iter_mut().for_each(|pool| pool.pool = hostile());
    report
}

/// The names of all elements of a page that is written as this one is: every `<` in it begins a tag.
fn elements(page: &str) -> Vec<&str> {
    let tags = page.split('<').skip(1).map(|rest| rest.split([' ', '>', '/']).next().unwrap());
    tags.filter(|name| !name.is_empty()).collect()
}

const KNOWN: [&str; 42] = [
    "!DOCTYPE", "a", "body", "code", "dd", "details", "div", "dl", "dt", "g", "h1", "h2", "h3", "head", "header",
    "html", "li", "line", "main", "meta", "nav", "ol", "p", "path", "rect", "section", "small", "span", "style",
    "summary", "svg", "symbol", "table", "tbody", "td", "text", "th", "thead", "title", "tr", "ul", "use",
];

#[tokio::test(start_paused = true)]
async fn the_markdown_of_a_run_is_what_its_golden_file_says() {
    let report = patched().await;
    let text = report.to_markdown(Some(&traffic(&report)));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report_pages.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&golden).unwrap(), "meant? UPDATE_GOLDEN=1 writes it anew");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_said_to_be_not_known() {
    let mut report = patched().await;
    (report.pools, report.lowest_margin) = (Vec::new(), None);
    let (text, page) = (report.to_markdown(None), report.to_html(None));
    assert!(text.contains("| Failed requests | not known"), "{text}");
    assert!(text.contains("| Capacity to spare, lowest | not known"), "{text}");
    assert!(page.contains("Requests, errors and latency are not known"), "{page}");
    assert!(
        page.contains("are not known: this report was made without the traffic. Its capacity over time is not known"),
        "{page}"
    );
    assert!(!page.contains("failed during the run"), "{page}");
    report.proof = None;
    let (text, page) = (report.to_markdown(None), report.to_html(None));
    assert!(text.contains("| Proof | not in this report |"), "{text}");
    assert!(page.contains("<p>Not in this report."), "{page}");
}

#[tokio::test(start_paused = true)]
async fn drains_that_were_not_seen_to_their_end_are_not_taken_for_none() {
    let mut report = patched().await;
    let mut drains: Vec<_> = report.steps.iter_mut().filter(|step| step.cut_requests().is_some()).collect();
    assert_eq!(drains.len(), 3);
    for drain in &mut drains[..2] {
        (drain.outcome, drain.evidence) = (OutcomeKind::Unknown, Evidence::failed("no answer"));
    }
    let (text, page) = (report.to_markdown(None), report.to_html(None));
    assert!(text.contains("| Cut in drains | 0 in 1 drain; of 2 more not known |"), "{text}");
    assert!(page.contains("Begun and not seen to its end: 2."), "{page}");
    for step in &mut report.steps {
        step.evidence = Evidence::failed("no answer");
    }
    let page = report.to_html(None);
    assert!(page.contains("No drain was seen to its end.") && page.contains("not seen to its end: 3."), "{page}");
}

#[tokio::test(start_paused = true)]
async fn buckets_that_are_shown_together_say_what_their_median_is() {
    let report = patched().await;
    let of = |every_ms, buckets| {
        let bucket = TrafficBucket::new(5, 0).with_latency(Some(800), Some(52_000));
        let pool = PoolTraffic::new(report.pools[0].pool.clone(), vec![bucket; buckets]);
        Traffic::new("the access log", report.began_unix_ms, every_ms, vec![pool])
    };
    let note = "5 buckets of the traffic are one bar and one row";
    assert!(report.to_html(Some(&of(10, 1_200))).contains(note));
    assert!(!report.to_html(Some(&of(250, 48))).contains("buckets of the traffic"));
}

#[tokio::test(start_paused = true)]
async fn a_page_has_each_step_each_chart_as_a_table_and_nothing_from_elsewhere() {
    let report = patched().await;
    let page = report.to_html(Some(&traffic(&report)));
    for heading in ["Timeline", "Steps", "Drains", "Windows", "Loans", "Proof", "Records"] {
        assert!(page.contains(&format!(">{heading}</h2>")), "{heading}");
    }
    assert_eq!(page.matches("<rect class=\"bar ").count(), report.steps.len());
    assert_eq!(page.matches("data-label=\"Hash\"").count(), report.records.len());
    for step in &report.steps {
        assert!(
            page.contains(&step.message)
                && page.contains(&format!("data-label=\"Target\" class=\"name\">{}<", step.target))
        );
    }
    assert!(page.contains("3 of 4,000 requests failed during the run, as counted by the access log"), "{page}");
    assert!(page.contains("class=\"failed\"") && page.contains("as a table"), "{page}");
    assert!(page.contains(report.last_hash().unwrap().as_str()));
    let found = elements(&page);
    assert!(found.iter().all(|name| KNOWN.contains(name)), "{found:?}");
    for outside in ["http://", "https://", "url(", "@import", "src=", "<script", "<link", " style="] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_cannot_add_markup() {
    let report = with_hostile_names(patched().await);
    let mut traffic = traffic(&report);
    traffic.source = report.cluster.clone();
    let (page, text) = (report.to_html(Some(&traffic)), report.to_markdown(Some(&traffic)));
    let found = elements(&page);
    assert!(found.iter().all(|name| KNOWN.contains(name)), "{found:?}");
    assert!(page.contains("&#60;script&#62;"), "it is shown as text");
    assert!(!text.contains('<') && !text.contains("@all") && !text.contains("\n# x"), "{text}");
    // In code nothing becomes a link by itself.
    let prose: String = text.replace("\\`", "").split('`').step_by(2).collect();
    assert!(prose.contains("https&#58;//") && !prose.contains("://"), "{prose}");
    assert!(!prose.to_lowercase().contains("www."), "{prose}");
    assert!(!text.contains(['\u{202e}', '\u{2067}', '\u{200f}']), "{text}");
    for line in text.lines().filter(|line| line.starts_with('|')) {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 3, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_needs_a_person_says_first_what_is_left_to_do() {
    let mut report = run(&World::active_passive()).await;
    report.ended = false;
    report.end_message = "has not ended".into();
    report.open = vec!["esb1: held out of traffic".into()];
    let (text, page) = (report.to_markdown(None), report.to_html(None));
    assert!(text.contains("- [ ] has not ended\n- [ ] still open: esb1: held out of traffic"), "{text}");
    let (left, timeline) = (page.find("What is left to do").unwrap(), page.find(">Timeline</h2>").unwrap());
    assert!(left < timeline && page.contains("verdict bad"));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_marked_in_the_timeline_with_its_reason() {
    let world = World::active_passive();
    world.plan_fault(Operation::Run, "esb1", Fault::Refused);
    let report = run(&world).await;
    let page = report.to_html(None);
    assert!(report.steps.iter().any(|step| step.compensating), "{report}");
    let turn = report.records.iter().find(|record| record.is_turn()).unwrap();
    assert!(page.contains("<ol class=\"turns\">") && page.contains(&turn.message.replace('\'', "&#39;")), "{turn:?}");
    assert!(page.contains("back done") && page.contains("not-done"), "{report}");
    let failed = report.steps.iter().filter(|step| step.outcome != OutcomeKind::Done && step.target == "esb1").count();
    assert!(failed > 0 && page.contains(&format!(" steps, {failed} not done or unknown\"")), "{page}");
    assert!(report.to_markdown(None).contains("\nTurns:\n\n- "), "{}", report.to_markdown(None));
    assert!(!page.contains("width=\"0.00%\" height=\"18\""), "a step that failed at once is seen, too");
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_not_measured_says_so() {
    let mut report = patched().await;
    report.unmeasured_windows = vec![DegradedWindow::new(Degraded::ReloadExposure, Duration::from_millis(250))];
    let page = report.to_html(None);
    assert!(page.contains("250 ms, each time") && page.contains("not measured"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_run_of_a_thousand_steps_makes_a_page_that_folds_what_is_long() {
    let mut report = patched().await;
    let steps = report.steps.clone();
    report.steps = (0..1_000)
        .map(|number| {
            let mut step = steps[number % steps.len()].clone();
            step.target = format!("node{}", number / 10);
            step.start_ms = number as u64 * 100;
            step
        })
        .collect();
    report.took_ms = 101_000;
    let records = report.records.clone();
    report.records = (0..2_000).map(|number| records[number % records.len()].clone()).collect();
    for record in report.records.iter_mut().step_by(4) {
        record.kind = "turned".into();
    }
    let began = Instant::now();
    let page = report.to_html(Some(&traffic(&report)));
    println!("a page of 1,000 steps: {} bytes in {:?}", page.len(), began.elapsed());
    assert_eq!(page.matches("<rect class=\"bar ").count(), 1_000);
    assert!(page.contains("60 more nodes") && page.contains("<details><summary>1,000 steps as a table"));
    assert_eq!(page.matches("class=\"turn\"").count(), report.records.iter().filter(|record| record.is_turn()).count());
    assert!(page.len() < 2_500_000, "{}", page.len());
}
