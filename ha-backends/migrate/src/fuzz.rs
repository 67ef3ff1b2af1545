//! What the fuzz targets call that is not public.

use crate::script::{Allow, Phase};

/// Reads the comments at the top of a script: phase, whether it runs outside a transaction, what it allows.
pub fn header(text: &str) -> Option<(Option<Phase>, bool, Vec<Allow>)> {
    let header = crate::script::header::Header::parse(text).ok()?;
    Some((header.phase, header.no_transaction, header.allows))
}
