//! Every single call: one call of one backend fails in one way, over the whole run of a proven plan, on virtual time. And what a
//! person asks for meanwhile.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod asked;
mod cases;
mod every;
mod tally;
