//! How a plan is carried out, without I/O: the decision core, the run machine that wraps it, and the rotation of a
//! node out of its balancers and back; and how a cluster is watched.
//!
//! The explorer drives the [decision core](decide) and the engine drives the [`RunMachine`] around it, so that what is
//! proven is what runs.
//!
//! May change in any minor version: [what is stable](crate#what-is-stable).

mod decide;
mod fingerprint;
mod fold;
mod hands;
pub mod monitor;
pub mod rotation;
mod run;
mod run_state;
mod targets;
mod unread;
mod watch;
mod words;

pub(crate) use decide::without_what_leaves;
pub use decide::{Decision, Turn, decide, has_failed, newly_lost, refusal};
pub(crate) use fold::fold_with;
pub use fold::{FoldError, Folded, fold};
pub use hands::{Hands, Paused};
pub use run::RunMachine;
pub(crate) use run::{GUARD_INTERVAL, left_behind};
pub use run_state::RunState;
pub use targets::{Progress, Targets};
pub(crate) use unread::unread;
pub use words::{Command, Input, Ticket};
