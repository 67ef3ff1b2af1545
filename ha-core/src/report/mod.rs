//! What a run tells: its events while it lasts, and its report: what was done, what was proven, what was seen. Rendered
//! as text, as Markdown, by serde as JSON, and with the feature `html` as one self-contained page.

mod asked;
mod build;
mod chain;
mod event;
#[cfg(feature = "html")]
mod html;
mod markdown;
mod recorded;
mod run;
mod traffic;
mod wording;

pub use asked::AskedFor;
pub(crate) use build::ReportBuilder;
pub use chain::{ChainError, ChainedRecord};
pub use event::Event;
pub use run::{Capacity, LoanSpan, PoolMargin, Replan, Resource, RunReport, StepTiming, WindowUse};
pub use traffic::{PoolTraffic, Traffic, TrafficBucket};
