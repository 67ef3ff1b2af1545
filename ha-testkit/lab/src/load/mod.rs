//! Load generators that count at the client, the only place where no failure is hidden.
//!
//! [`Load`] is an open loop: every request is due at its own moment, whatever became of the ones before it, and its
//! latency counts from that moment. [`Saturate`] is a closed loop of clients that are never idle.

mod class;
mod client;
mod executions;
mod faulty;
mod generator;
mod ledger;
mod request_log;
mod running;
mod saturate;
mod tally;
mod untested;
mod wire;

pub use class::Class;
pub use executions::double_executions;
pub use faulty::{FaultyServer, Misbehaviour};
pub use generator::Load;
pub use ledger::{LedgerLine, ledger_begins, read_ledger};
pub use request_log::RequestLog;
pub use running::{RunningLoad, has_begun};
pub use saturate::Saturate;
pub use tally::{Bucket, FailureKind, LoadReport, Series, Snapshot};
pub use untested::untested_answers;
