//! Plans as data: stages of steps, where they start from, their digest, and their rendering.

mod approval;
mod check;
mod digest;
mod draft;
mod mermaid;
mod model;
mod reach;
mod render;
mod window;

pub use approval::PlanApproval;
pub use check::BadPlan;
pub use digest::Digest;
pub use draft::Draft;
pub(crate) use draft::known_good_of;
pub use model::{CarriesOn, ChangeCommands, Ends, Goal, OnFailure, PLAN_FORMAT, Plan, Stage, Step};
pub use reach::Reach;
pub use window::{Degraded, DegradedWindow};
