//! Testkit.

pub mod world;
