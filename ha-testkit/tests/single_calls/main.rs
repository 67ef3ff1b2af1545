//! Every single call: one call of one backend fails in one way, over the whole run of a proven plan, on virtual time.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod every;
