//! What people and machines get wrong: each mistake is named with its place, its effect and the next action; afterwards the state
//! is known and nothing is lost.
#![cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod drift;
#[allow(dead_code, reason = "the tests of faults use the rest of it")]
#[path = "../faults/engine.rs"]
mod engine;
mod full;
#[allow(dead_code, reason = "the tests of faults use the rest of it")]
#[path = "../faults/kit.rs"]
mod kit;
mod large;
mod others;
mod scripts;
mod servers;

ha_lab::roles!();

/// Fails where a text does not say something.
pub(crate) fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not said: {text}");
    }
}
