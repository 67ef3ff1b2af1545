//! Every action: its precondition, its effect and partial effects on a state, its compensation and its loan. Pure.

mod effect;
mod verb;

pub use effect::{begin, complete, holds, partial_effects, precondition};
pub use verb::{KnownGood, Order, Verb, compensation};
