//! The arrows between ha-core's modules point one way. A wrong one fails with both files named.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// The house from left to right: a module may use what is left of it.
const ORDER: [&str; 11] =
    ["millis", "telemetry", "topology", "state", "law", "action", "plan", "record", "machine", "safety", "procedure"];

/// Modules beside the order, with the last module of the order that they may use. The traits know nothing of plans.
const BESIDE: [(&str, &str); 4] =
    [("backend", "state"), ("journal", "record"), ("report", "safety"), ("engine", "procedure")];

/// Arrows to modules beside the order: rotation speaks the balancer's verbs, and the engine sees everything.
const ALLOWED: [(&str, &str); 4] =
    [("machine", "backend"), ("engine", "backend"), ("engine", "journal"), ("engine", "report")];

fn may_use(from: &str, to: &str) -> bool {
    let place = |name: &str| ORDER.iter().position(|module| *module == name);
    let reach = BESIDE.iter().find(|(module, _)| *module == from).and_then(|(_, last)| place(last));
    let reach = reach.or_else(|| place(from).and_then(|place| place.checked_sub(1)));
    let in_order = place(to).is_some_and(|to| reach.is_some_and(|reach| to <= reach));
    from == to || in_order || ALLOWED.contains(&(from, to))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Lists the modules that a line of code names after `crate::`; macros are in none.
fn named(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or("");
    let code = code.replace("$crate::", "").replace("crate::forward!", "");
    let after = code.split("crate::").skip(1);
    let word = |rest: &str| rest.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect();
    after.map(word).filter(|name: &String| !name.is_empty()).collect()
}

#[test]
fn every_arrow_between_modules_points_to_the_left() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut wrong, mut arrows) = (Vec::new(), 0);
    for file in sources(&root) {
        let inside = file.strip_prefix(&root).unwrap();
        if inside == Path::new("lib.rs") {
            continue;
        }
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let from = first.trim_end_matches(".rs").to_string();
        for line in fs::read_to_string(&file).unwrap().lines() {
            for to in named(line) {
                arrows += 1;
                if !may_use(&from, &to) {
                    wrong.push(format!("src/{} uses src/{to}/mod.rs: {}", inside.display(), line.trim()));
                }
            }
        }
    }
    assert!(arrows > 100, "only {arrows} arrows were found: does this test still read the sources?");
    assert!(wrong.is_empty(), "arrows that point to the right:\n{}", wrong.join("\n"));
}

/// What only the engine may name: tokio, and clocks.
const ENGINE_ONLY: [&str; 3] = ["tokio", "Instant", "SystemTime"];

/// Lists what of the engine's own a file of another module names in its code.
fn named_of_the_engine(text: &str) -> Vec<String> {
    // Tests may: they run under tokio's clock.
    let code = text.split("#[cfg(test)]").next().unwrap_or("").lines();
    let code = code.map(|line| line.split("//").next().unwrap_or(""));
    let names = |line: &&str| {
        let mut words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        words.any(|word| ENGINE_ONLY.contains(&word))
    };
    code.filter(names).map(|line| line.trim().to_string()).collect()
}

#[test]
fn only_the_engine_names_tokio_or_a_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut wrong, mut inside_engine) = (Vec::new(), 0);
    for file in sources(&root) {
        let inside = file.strip_prefix(&root).unwrap();
        let named = named_of_the_engine(&fs::read_to_string(&file).unwrap());
        if inside.starts_with("engine") {
            inside_engine += named.len();
            continue;
        }
        wrong.extend(named.iter().map(|line| format!("src/{}: {line}", inside.display())));
    }
    assert!(
        inside_engine > 10,
        "only {inside_engine} were found in the engine: does this test still read the sources?"
    );
    assert!(wrong.is_empty(), "time is an argument outside the engine:\n{}", wrong.join("\n"));
}

#[test]
fn a_clock_is_seen_wherever_the_code_names_it() {
    assert_eq!(named_of_the_engine("use tokio::time::Instant;\n// tokio\nlet x = 1;"), ["use tokio::time::Instant;"]);
    assert_eq!(named_of_the_engine("/// Ends in an Instant.\nfn instant() {}\n#[cfg(test)]\nuse tokio::x;"), [""; 0]);
}

#[test]
fn the_order_refuses_an_arrow_to_the_right() {
    assert!(may_use("law", "topology") && may_use("report", "safety") && may_use("engine", "procedure"));
    assert!(!may_use("state", "law") && !may_use("machine", "safety") && !may_use("journal", "machine"));
    assert!(!may_use("law", "engine") && !may_use("safety", "report") && !may_use("topology", "state"));
    assert!(may_use("backend", "telemetry") && may_use("topology", "telemetry") && !may_use("telemetry", "topology"));
}

#[test]
fn an_arrow_is_seen_wherever_the_line_names_it() {
    assert_eq!(named("use crate::law::{self, Violation};"), ["law"]);
    assert_eq!(named("fn x(a: crate::state::MemberState) -> crate::plan::Plan // crate::engine"), ["state", "plan"]);
    assert_eq!(named("/// See `crate::engine`."), Vec::<String>::new());
}
