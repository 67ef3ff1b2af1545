//! The explorer: it drives the decision core through every reachable state of a plan, crossed with every single fault,
//! and returns a [`Proof`] or the shortest [`Counterexample`].
//!
//! Faults, at every moment: the loss of any one failure domain; a balancer instance that loses its runtime state; a step
//! that does nothing, takes any of its declared partial effects, or happens, and is reported as failed; the death of the
//! controller, or a lost answer, before, in the middle of or after the act. And from every state that no fault has
//! touched, a person may ask for the rollback.

mod check;
mod classes;
mod event;
mod explore;
mod table;
mod verdict;

pub(crate) use explore::prove_rest;
pub use explore::{prove, prove_with};
pub use table::margins;
pub use verdict::{Counterexample, Margin, Method, PoolMargins, Proof};
