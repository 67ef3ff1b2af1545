//! An open-loop load generator: every request is due at its own moment, whatever became of the ones before it, and its
//! latency counts from that moment. Failures are counted at the client, the only place where none is hidden.

mod executions;
mod faulty;
mod generator;
mod request;
mod request_log;
mod tally;

pub use executions::double_executions;
pub use faulty::{FaultyServer, Misbehaviour};
pub use generator::{Class, Load, RunningLoad};
pub use request_log::RequestLog;
pub use tally::{FailureKind, LoadReport, Snapshot};
