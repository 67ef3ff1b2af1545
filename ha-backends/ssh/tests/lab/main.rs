//! Hosts over real ssh, on the lab's machines: what is promised about commands, connections, files and servers.
//!
//! The long form of the trials runs with `HA_SSH_TRIALS=200`.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod connection;
mod controller;
mod events;
mod fence;
mod files;
mod fixture;
mod outcome;
mod reads;
mod server;
mod unit;
mod words;
mod work;

ha_lab::roles!();
