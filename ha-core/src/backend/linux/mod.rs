//! What the backends for Linux hosts, near and far, have in common: settings of what supervises a server, and pure parsing
//! of what the system says of processes and units. It is here since no backend may use another one; the engine uses
//! nothing of it.
//!
//! May change in any minor version: [what is stable](crate#what-is-stable).

mod needs;
mod process;
mod supervisor;
mod unit;

pub use needs::{NeededProgram, home_is_missing, pid_file_is_missing};
pub use process::{ProcessStat, has_argument, parse_pid_file};
pub use supervisor::{Scripts, Supervisor, SystemdUnit};
pub use unit::UnitStatus;
