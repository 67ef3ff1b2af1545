//! The explorer: it drives the decision core through every reachable state of a plan, crossed with every single fault,
//! and returns a [`Proof`] or the shortest [`Counterexample`].
//!
//! Faults here: the loss of any one failure domain at any moment, and a step that does nothing, takes any of its
//! declared partial effects, or whose outcome is unknown whether or not it happened. One fault a path.

mod explore;
mod verdict;

pub use explore::prove;
pub use verdict::{Counterexample, Proof};
