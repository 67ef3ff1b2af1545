//! A cluster is watched: by the real engine over the simulated cluster, and for hours of noise by the monitor alone.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod engine;
mod hour;
mod noise;
