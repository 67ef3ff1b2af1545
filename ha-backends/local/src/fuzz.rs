//! The parsers of what others write, for the fuzz targets alone: `fuzz/` at the root of the repository.

pub use crate::embedded::fuzz::{Embedded, question, reply};

/// Reads a pid file.
pub fn pid(bytes: &[u8]) -> Option<u32> {
    ha_core::backend::linux::parse_pid_file(bytes)
}
