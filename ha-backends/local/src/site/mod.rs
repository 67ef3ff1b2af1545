//! What sites need, by commands of this machine and by the embedded balancer.

mod commands;
mod fence;
mod front;
mod replica;
mod switch;

use std::future::Future;
use std::time::Duration;

pub use fence::{CommandFence, CommandFenceConfig};
pub use front::LocalSwitch;
use ha_core::backend::{Applied, ErrorKind, StepError};
use ha_core::telemetry::call_span;
pub use replica::{CommandReplica, CommandReplicaConfig};
pub use switch::{CommandSwitch, CommandSwitchConfig};
use tracing::Instrument;

const BACKEND: &str = "command";
/// How long a command may take by default.
const DEADLINE: Duration = Duration::from_secs(600);

/// Makes a change in a task of its own: a dropped future does not cut it.
async fn apart(
    backend: &'static str,
    (operation, target): (&'static str, String),
    change: impl Future<Output = Result<Applied, StepError>> + Send + 'static,
) -> Result<Applied, StepError> {
    let task = tokio::spawn(change.instrument(call_span(backend, operation, &target)));
    task.await.unwrap_or_else(|error| Err(StepError::new(ErrorKind::Protocol, operation, target).caused_by(error)))
}
