//! What judges plans and runs, judged: each test is a sentence of the design, on a cluster small enough to be worked out by
//! hand. `tests/mutants` breaks the judge in one place after another, and these tests have to notice it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod action_effects;
mod action_preconditions;
mod clone;
mod cluster;
mod decisions;
mod exploring;
mod exposure;
mod folding;
mod law_capacity;
mod law_invariants;
mod provisioning;
mod reactions;
