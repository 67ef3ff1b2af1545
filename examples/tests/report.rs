//! The page of a report in a real browser: it is read, clicked and typed at, on a desk, on a phone and on paper, light and dark.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod browser;

use std::path::PathBuf;

use browser::Browser;
use ha_core::report::{PoolTraffic, RunReport, Traffic, TrafficBucket};
use ha_testkit::world::{Fault, Operation, Shape, World};
use serde_json::{Value, json};

const ENTER: char = '\u{e007}';
const TAB: char = '\u{e004}';

/// The report of a run on a simulated cluster, with traffic beside it: a patch that fails its test on the second node and is taken
/// back, so that each kind of thing is on its page.
async fn rolled_back() -> (RunReport, Traffic) {
    let world: World = Shape::active_passive().with_second_pool(1).with_work().world().unwrap();
    world.plan_fault(Operation::Run, "esb1", Fault::Refused);
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let mut report = engine.run("patch-2.0".into(), planned).await.unwrap().wait().await.unwrap();
    // A name as long as names get, which must not make the page wider.
    report.open = vec!["a-host-with-a-rather-long-name.in-some-rack.in-some-data-centre.example.org: held out".into()];
    let bucket = |number: u64| {
        let failed = if number == 20 { 2 } else { 0 };
        TrafficBucket::new(120 + number % 7, failed).with_latency(Some(900 + number), Some(50_000 + number * 1_000))
    };
    let buckets = report.took_ms / 250 + 20;
    let pools = report.pools.iter().map(|pool| PoolTraffic::new(pool.pool.clone(), (0..buckets).map(bucket).collect()));
    let traffic = Traffic::new("the access log", report.began_unix_ms - 2_000, 250, pools.collect());
    (report, traffic)
}

fn written(name: &str, page: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, page).unwrap();
    file
}

/// What sticks out of the page: the right edges of everything that is seen, against the width of the window.
const STICKS_OUT: &str = r#"
    const width = document.documentElement.clientWidth;
    const wide = [...document.querySelectorAll('body *:not(svg *)')].filter(e => {
        const box = e.getBoundingClientRect();
        return box.width > 1 && box.right > width + 1;
    });
    return [document.documentElement.scrollWidth - width, wide.map(e => e.tagName + '.' + e.className + ': ' + e.textContent.slice(0, 40))];
"#;

/// What is hard to read: the contrast of each text with what is behind it, where it is below the 4.5 of WCAG AA.
const HARD_TO_READ: &str = r#"
    const numbers = color => (color.match(/[\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = e => {
        if (e.tagName === 'text') {
            const bar = e.closest('g') && e.closest('g').querySelector('rect');
            if (bar) return numbers(getComputedStyle(bar).fill);
        }
        for (; e; e = e.parentElement) {
            const color = numbers(getComputedStyle(e).backgroundColor);
            if (color.length && color[3] !== 0) return color;
        }
        return [255, 255, 255];
    };
    const texts = [...document.querySelectorAll('body *')].filter(e =>
        e.tagName !== 'title' && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.checkVisibility());
    const bad = texts.map(e => {
        const style = getComputedStyle(e);
        const ink = light(numbers(e instanceof SVGElement ? style.fill : style.color)), paper = light(behind(e));
        const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        return [ratio, e.tagName + '.' + (e.getAttribute('class') || '') + ': ' + e.textContent.slice(0, 30)];
    }).filter(([ratio]) => ratio < 4.5);
    return [texts.length, bad];
"#;

const SEEN: &str = "return document.querySelector('#records ~ details td').checkVisibility()";

#[tokio::test(start_paused = true)]
async fn the_page_of_a_report_is_read_clicked_and_printed_in_a_browser() {
    let (report, traffic) = rolled_back().await;
    let file = written("report.html", &report.to_html(Some(&traffic)));
    let browser = Browser::start();
    browser.show(1_200, "light", false);
    browser.open(&file);

    // Read.
    assert!(browser.title().contains(&report.end_message), "{}", browser.title());
    assert_eq!(browser.text("h1"), format!("patch {} to {}", report.cluster, report.goal));
    assert!(browser.text(".verdict").contains(&report.end_message));
    assert_eq!(browser.text(".facts .hash code"), report.last_hash().unwrap().as_str());
    let rows = browser.look("return document.querySelectorAll('#steps ~ details tbody tr').length");
    assert_eq!(rows, json!(report.steps.len()));
    let unnamed = browser.look("return [...document.querySelectorAll('[role=img]')].filter(e => !e.ariaLabel).length");
    assert_eq!(unnamed, json!(0), "each chart says what it shows");
    assert_eq!(browser.look("return document.querySelectorAll('h1').length"), json!(1));

    // Clicked, and opened by keys alone.
    assert_eq!(browser.look(SEEN), json!(false), "records are folded away");
    browser.click("#records ~ details summary");
    assert_eq!(browser.look(SEEN), json!(true));
    let last = browser.text("#records ~ details tbody tr:last-child td:last-child");
    assert_eq!(last, report.last_hash().unwrap().as_str());
    browser.press(ENTER);
    assert_eq!(browser.look(SEEN), json!(false), "the focus is where it was clicked");
    browser.look("document.activeElement.blur(); window.getSelection().removeAllRanges(); window.scrollTo(0, 0)");
    browser.click("h1");
    for _ in 0..40 {
        if browser.look("return document.activeElement.matches('#records ~ details summary')") == json!(true) {
            break;
        }
        browser.press(TAB);
    }
    browser.press(ENTER);
    assert_eq!(browser.look(SEEN), json!(true), "tabs lead to it");

    // On a phone and on a desk, light and dark, with all of it open.
    browser.look("document.querySelectorAll('details').forEach(e => e.open = true)");
    for width in [320, 360, 768, 1_200] {
        for scheme in ["light", "dark"] {
            browser.show(width, scheme, false);
            assert_eq!(browser.look(STICKS_OUT), json!([0, []]), "{width} {scheme}");
            let (texts, hard) = pair(&browser.look(HARD_TO_READ));
            assert!(texts.as_u64() > Some(100) && hard == json!([]), "{width} {scheme}: of {texts} texts {hard}");
        }
    }
    browser.look("document.querySelectorAll('details').forEach(e => e.open = e.matches('#steps ~ *'))");
    for (width, scheme) in [(360, "light"), (1_200, "dark")] {
        browser.show(width, scheme, false);
        let picture = browser.picture();
        assert!(picture.starts_with("iVBORw0KGgo") && picture.len() > 20_000, "{}", picture.len());
        written(&format!("report-{width}-{scheme}.png.base64"), &picture);
    }

    // On paper everything is open, and light.
    browser.look("document.querySelectorAll('details').forEach(e => e.open = false)");
    browser.show(720, "dark", true);
    assert_eq!(browser.look(SEEN), json!(true), "what is folded away on a screen is printed");
    let paper = browser.look("return getComputedStyle(document.body).backgroundColor");
    assert_eq!(paper, json!("rgb(255, 255, 255)"));
    assert_eq!(browser.look(STICKS_OUT), json!([0, []]));
    assert_eq!(browser.complaints(), json!([]), "nothing is loaded, and the policy lets the page's own style be");
}

fn pair(value: &Value) -> (Value, Value) {
    (value[0].clone(), value[1].clone())
}
