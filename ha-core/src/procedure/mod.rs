//! The procedures: each makes a plan from a topology, an observed state and a request, and proves it. Pure.

mod error;
mod patch;

pub use error::PlanError;
pub use patch::{PatchRequest, Planned, patch};
