//! What a run tells: its events while it lasts, and its report: what was done, what was proven, what was seen. Rendered
//! as text and, by serde, as JSON.

mod asked;
mod event;
mod run;

pub use asked::AskedFor;
pub use event::Event;
pub(crate) use run::ReportBuilder;
pub use run::{PoolMargin, Replan, RunReport, StepTiming};
