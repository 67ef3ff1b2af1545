//! Faults in the middle of migrations, on real databases: what is there afterwards is what an undisturbed run makes.
#![cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod baseline;
mod chaos;
mod contract;
mod copy;
mod cut;
#[allow(dead_code, reason = "the tests of bad input use the rest of it")]
mod engine;
mod kit;
mod locks;
mod network;
mod orphans;
mod process;
mod rename;
mod resume;
mod speed;

ha_lab::roles!();
