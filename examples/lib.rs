//! What the examples in the folders beside this file share: a controller as a child process, so that killing it leaves the
//! cluster serving, a cluster that shares files, and how a run and its load are shown.

mod child;
pub mod cluster;
mod control;
mod front;
mod hosts;
mod loss;
pub mod orders;
/// The files that an example leaves.
pub mod page;
mod play;
mod seen;
mod show;

use std::error::Error;

pub use child::{Controlled, Controller, Followed};
pub use control::{Resume, control};
pub use front::{Balancing, Front, Server};
pub use hosts::Hosts;
pub use loss::Loss;
pub use play::{as_controller, demonstration};
pub use seen::Seen;
pub use show::Show;

/// What an example returns.
pub type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;
