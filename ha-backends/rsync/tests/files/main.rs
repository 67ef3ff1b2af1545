//! File sharing over rsync between nodes of this machine, and over ssh: the conformance suite, holds under continuous syncs, whole
//! sets only, and sources and readers that are not as they should be.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod artifacts;
mod bad_input;
mod conformance;
mod holds;
mod machines;
mod nodes;
mod publishing;

ha_lab::roles!();
