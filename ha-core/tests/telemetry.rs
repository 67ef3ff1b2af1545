//! Every event that a source of this workspace emits is in `telemetry::EVENTS`, every one of these is emitted, and spans are
//! made in `telemetry` alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ha_core::telemetry::{self, EVENTS};

/// What is scanned, from the root of the workspace: the folders `src` below.
const ROOTS: [&str; 3] = ["ha-core", "ha-backends", "ha-testkit"];

/// The macros that emit an event.
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "event"];

/// What makes a span, or logs in another way.
const ELSEWHERE: [&str; 8] =
    ["trace_span", "debug_span", "info_span", "warn_span", "error_span", "span", "instrument", "log"];

/// An event as a source emits it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Emitted {
    level: String,
    message: String,
    fields: BTreeSet<String>,
}

fn sources(dir: &Path, inside_src: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" {
            found.extend(sources(&path, inside_src || name == "src"));
        } else if inside_src && path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The code of a file: without comments and without its tests, which stand at the end.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or("");
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Returns what follows each call of a macro in a text, from its opening bracket on.
fn calls<'a>(code: &'a str, name: &str) -> Vec<&'a str> {
    let called = format!("{name}!");
    let after = code.match_indices(&called).filter(|(at, _)| {
        let before = code[..*at].chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    });
    after.map(|(at, _)| &code[at + called.len()..]).collect()
}

/// Splits the arguments of a call at the commas between them; `call` begins with the opening bracket.
fn arguments(call: &str) -> Vec<String> {
    let (mut arguments, mut depth, mut is_text, mut is_escaped) = (vec![String::new()], 0, false, false);
    for letter in call.chars() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_text => is_escaped = true,
            '"' => is_text = !is_text,
            _ if is_text => {}
            '(' | '[' | '{' => {
                depth += 1;
                if depth == 1 {
                    continue;
                }
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 1 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        arguments.last_mut().unwrap().push(letter);
    }
    let trimmed = arguments.iter().map(|argument| argument.trim().to_string());
    trimmed.filter(|argument| !argument.is_empty()).collect()
}

/// Reads a call of an event's macro: its message has to be one literal, the same every time.
fn emitted(level: &str, call: &str) -> Result<Emitted, String> {
    let mut arguments = arguments(call);
    let last = arguments.pop().unwrap_or_default();
    let message = last.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|text| !text.contains('{'));
    let message = message.ok_or_else(|| format!("its message is no plain literal: {last}"))?.to_string();
    let name = |argument: &String| {
        let name = argument.split('=').next().unwrap_or("").trim().trim_start_matches(['%', '?']).to_string();
        let is_plain =
            name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
        if is_plain { Ok(name) } else { Err(format!("this is no plain field: {argument}")) }
    };
    let fields = arguments.iter().map(name).collect::<Result<BTreeSet<_>, _>>()?;
    Ok(Emitted { level: level.into(), message, fields })
}

fn listed() -> BTreeSet<Emitted> {
    let one = |spec: &telemetry::EventSpec| Emitted {
        level: spec.level.as_str().to_lowercase(),
        message: spec.message.into(),
        fields: spec.fields.iter().map(ToString::to_string).collect(),
    };
    EVENTS.iter().map(one).collect()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

#[test]
fn every_event_is_listed_and_every_listed_event_is_emitted() {
    let (listed, mut found, mut wrong) = (listed(), BTreeSet::new(), Vec::new());
    let root = workspace();
    let files: Vec<PathBuf> = ROOTS.iter().flat_map(|dir| sources(&root.join(dir), false)).collect();
    assert!(files.len() > 200, "only {} sources were found: does this test still read them?", files.len());
    for file in files {
        let code = code(&fs::read_to_string(&file).unwrap());
        let place = file.strip_prefix(&root).unwrap().display();
        for level in LEVELS {
            for call in calls(&code, level) {
                match emitted(level, call) {
                    Ok(event) if listed.contains(&event) => drop(found.insert(event)),
                    Ok(event) => wrong.push(format!("{place}: is not in EVENTS: {event:?}")),
                    Err(error) => wrong.push(format!("{place}: {level}!: {error}")),
                }
            }
        }
        if !place.to_string().ends_with("ha-core/src/telemetry.rs") {
            let spans = ELSEWHERE.iter().filter(|name| !calls(&code, name).is_empty());
            wrong.extend(spans.map(|name| format!("{place}: {name}! is for telemetry.rs alone")));
            if code.contains("#[instrument") || code.contains("#[tracing::instrument") {
                wrong.push(format!("{place}: #[instrument] records every argument, secrets too"));
            }
        }
    }
    wrong.extend(listed.difference(&found).map(|event| format!("is emitted nowhere: {event:?}")));
    assert!(wrong.is_empty(), "events and telemetry::EVENTS differ:\n{}", wrong.join("\n"));
}

#[test]
fn the_docs_name_every_event_with_its_level_and_fields() {
    let docs = fs::read_to_string(workspace().join("ha-core/src/telemetry.rs")).unwrap();
    for spec in EVENTS {
        let fields: Vec<String> = spec.fields.iter().map(|field| format!("`{field}`")).collect();
        let level = spec.level.as_str().to_lowercase();
        let row = format!("//! | `{}` ({level}) | {} |", spec.message, fields.join(", "));
        assert!(docs.contains(&row), "missing in the docs: {row}");
    }
}

#[test]
fn an_event_is_read_from_its_source_whatever_its_form() {
    let read = |call| emitted("debug", call).map(|event| (event.message, event.fields.into_iter().collect::<Vec<_>>()));
    let good = [
        ("(\"connected\")", "connected", vec![]),
        ("(a = f(\"x, y\", [1, 2]), %b, ?c, d, \"it is, it is\");", "it is, it is", vec!["a", "b", "c", "d"]),
        ("(\n    error = %error,\n    \"lost\",\n)", "lost", vec!["error"]),
    ];
    for (call, message, fields) in good {
        let fields = fields.into_iter().map(String::from).collect();
        assert_eq!(read(call), Ok((message.into(), fields)), "{call}");
    }
    for bad in ["(a = 1)", "(\"{x} started\")", "(target: \"mine\", \"started\")", "(MESSAGE)"] {
        assert!(read(bad).is_err(), "{bad}");
    }
    assert_eq!(calls("tracing::warn!(x); prewarn!(y); warn!(z)", "warn"), ["(x); prewarn!(y); warn!(z)", "(z)"]);
    assert_eq!(code("a\n  // debug!(b)\nc\n#[cfg(test)]\nmod tests { info!(d) }"), "a\nc\n");
}
