//! Conformance suites.

pub mod balancer;
pub mod host;
pub mod membership;
mod origins;
mod patience;
mod tally;
mod verdict;
mod wire;

pub use origins::Origins;
pub use tally::Tally;
pub use verdict::{Breach, Verdict};
pub use wire::{Wire, WireEnd};
