//! What the fuzz targets call: parsers of what nodes print.

use ha_core::backend::{Ended, Ran};

/// Reads what rsync and the nodes' program print, and holds what must be true of it.
pub fn parse(text: &str) {
    let difference = crate::Difference::parse(text);
    assert!(difference.deletions() <= difference.changes.len());
    if let Some(status) = crate::status::Status::parse(text) {
        let _ = status.shared();
    }
    let _ = crate::progress::Progress::parse(text);
    let _ = crate::remote::copy_exit(&Ran::new(Ended::Exited(70), text, text));
}

/// Tells whether a text is what the program says of a node.
pub fn is_status(text: &str) -> bool {
    crate::status::Status::parse(text).is_some()
}
