//! Faults in the middle of migrations, on real databases: what is there afterwards is what an undisturbed run makes.
#![cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]

mod chaos;
mod contract;
mod engine;
mod kit;
mod locks;
mod resume;

ha_lab::roles!();
