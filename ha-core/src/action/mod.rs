//! Every action: its precondition, its effect and partial effects on a state, its compensation and its loan. Pure.

mod effect;
mod partial;
mod precondition;
mod verb;

pub use effect::{begin, complete, holds};
pub use partial::partial_effects;
pub use precondition::precondition;
pub use verb::{KnownGood, Order, Verb, compensation};
