use super::{Check, Invariant, Violation};
use crate::state::LeaseEpoch;

/// Checks I10: an effect carries a lease epoch no lower than the last one seen.
///
/// # Errors
/// The violation, with both epochs.
pub fn fenced(seen: LeaseEpoch, given: LeaseEpoch) -> Check {
    if given >= seen {
        return Ok(());
    }
    let facts = format!("epoch {seen} was seen, this effect carries {given}: a newer controller acts");
    Err(Violation::new(Invariant::Fenced, facts))
}
