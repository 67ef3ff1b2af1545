#![doc = include_str!("../README.md")]

mod cli;
mod clock;
mod cluster;
mod command;
mod exit;
mod failure;
mod follow;
mod init;
pub mod json;
mod lines;
mod out;
mod store;

pub use cli::{Cli, definition};
pub use command::main;
pub use exit::Exit;
pub use init::{Draft, draft};
