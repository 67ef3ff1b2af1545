//! Faults in the middle of migrations, on real databases: what is there afterwards is what an undisturbed run makes.
#![cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chaos;
mod contract;
mod cut;
mod engine;
mod kit;
mod locks;
mod orphans;
mod rename;
mod resume;
mod speed;

ha_lab::roles!();
