//! The procedures: each makes a plan from a topology, an observed state and a request, and proves it. Pure.

mod change;
mod error;
mod patch;
mod planned;
mod request;
mod update;
mod upgrade;

pub use error::PlanError;
pub use patch::patch;
pub use planned::Planned;
pub use request::{PatchRequest, ReleaseFacts, UpdateRequest, UpgradeRequest};
pub use update::update;
pub use upgrade::upgrade;
