//! The engine: the only part of ha-core that knows tokio. It observes, takes the lease, drives the run machine, and
//! streams events.
//!
//! ```text
//! observe -> plan -> prove -> lease -> observe again -> for each step: record the intent, act, read back, record the
//! outcome -> repay -> close -> release the lease
//! ```
//!
//! Beside that, [`Engine::monitor`] watches a cluster and tells what is lost.
//!
//! Every effect runs in a task of its own: dropping a [`RunHandle`] abandons the wait, not the run.

mod beforehand;
mod build;
mod clock;
mod doctor;
mod drill;
mod drive;
mod error;
mod events;

mod lease;
mod monitor;
mod observe;
mod on;
mod rotate;
mod run;
mod stale;
mod watch;

pub use crate::machine::monitor::{Loss, MonitorEvent, MonitorPolicy, OnLoss, Saw, Testimony};
pub use crate::report::Event;
pub use build::{Engine, EngineBuilder};
pub use doctor::{Check, Diagnosis, Finding, NotNeeded, Place, Severity, UnknownCheck};

pub use error::{BuildError, RunError};
pub use monitor::MonitorHandle;
pub use observe::Observed;
pub use rotate::rotate;
pub use run::RunHandle;
