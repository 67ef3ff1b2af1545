//! Conformance suites.

pub mod balancer;
mod patience;
mod tally;
mod verdict;

pub use tally::Tally;
pub use verdict::{Breach, Verdict};
