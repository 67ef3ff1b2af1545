//! How a cluster is watched, rule by rule, on a clock that is a number: nothing here waits.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod desk;
mod holds;
mod losses;
mod properties;
mod sites;
