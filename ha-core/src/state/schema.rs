use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of the shared database's schema in a version upgrade. Ordered: each state follows the one before.
///
/// # Examples
///
/// ```
/// use ha_core::state::{Schema, SchemaEvent};
///
/// assert_eq!(Schema::Base.advance(Schema::Backfilled), Ok(Schema::Backfilled));
/// assert!(Schema::Contracted.on(SchemaEvent::ExpandBegan).is_err()); // nothing leads back
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Schema {
    /// As the old release made it.
    #[default]
    Base,
    /// Additive statements are being run.
    Expanding,
    /// Everything that the new release needs is there beside the old.
    Expanded,
    /// The new columns and tables are filled.
    Backfilled,
    /// What only the old release needed is being removed.
    Contracting,
    /// As the new release has it; the old one cannot use it.
    Contracted,
}

/// What happened to a schema.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SchemaEvent {
    /// The additive statements began.
    ExpandBegan,
    /// They ended.
    Expanded,
    /// The backfill ended.
    Backfilled,
    /// The removing statements began: the point of no return.
    ContractBegan,
    /// They ended.
    Contracted,
}

/// Refuses an event: the state is handed back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a schema that is {state:?} cannot take {event:?}")]
pub struct SchemaRejected {
    /// The unchanged state.
    pub state: Schema,
    /// The refused event.
    pub event: SchemaEvent,
}

impl Schema {
    /// Takes one event.
    ///
    /// # Errors
    /// [`SchemaRejected`] when the event cannot follow the state; the state is unchanged.
    pub fn on(self, event: SchemaEvent) -> Result<Self, SchemaRejected> {
        use SchemaEvent as E;
        Ok(match (self, event) {
            (Self::Base | Self::Expanding, E::ExpandBegan) => Self::Expanding,
            (Self::Expanding, E::Expanded) => Self::Expanded,
            (Self::Expanded, E::Backfilled) => Self::Backfilled,
            (Self::Expanded | Self::Backfilled | Self::Contracting, E::ContractBegan) => Self::Contracting,
            (Self::Contracting, E::Contracted) => Self::Contracted,
            (
                state @ (Self::Base
                | Self::Expanding
                | Self::Expanded
                | Self::Backfilled
                | Self::Contracting
                | Self::Contracted),
                event @ (E::ExpandBegan | E::Expanded | E::Backfilled | E::ContractBegan | E::Contracted),
            ) => return Err(SchemaRejected { state, event }),
        })
    }

    /// Brings the schema to `to`: takes the events that lead there, one after another.
    ///
    /// # Errors
    /// [`SchemaRejected`] when nothing leads there; the state is unchanged.
    pub fn advance(self, to: Self) -> Result<Self, SchemaRejected> {
        use SchemaEvent as E;
        let mut state = self;
        while state != to {
            state = match (state, to) {
                (Self::Base, _) => state.on(E::ExpandBegan)?,
                (Self::Expanding, _) => state.on(E::Expanded)?,
                (Self::Expanded, Self::Backfilled) => state.on(E::Backfilled)?,
                (Self::Expanded | Self::Backfilled, Self::Contracting | Self::Contracted) => {
                    state.on(E::ContractBegan)?
                }
                (Self::Contracting, Self::Contracted) => state.on(E::Contracted)?,
                (
                    Self::Expanded | Self::Backfilled | Self::Contracting | Self::Contracted,
                    Self::Base | Self::Expanding | Self::Expanded | Self::Backfilled | Self::Contracting,
                )
                | (Self::Contracted, Self::Contracted) => {
                    return Err(SchemaRejected { state: self, event: E::ExpandBegan });
                }
            };
        }
        Ok(state)
    }

    /// Returns what is found when the way to `self` was broken off in the middle.
    pub fn half_way(self) -> Self {
        match self {
            Self::Base | Self::Expanding => self,
            Self::Expanded => Self::Expanding,
            Self::Backfilled => Self::Expanded,
            Self::Contracting | Self::Contracted => Self::Contracting,
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Base => "base",
            Self::Expanding => "expanding",
            Self::Expanded => "expanded",
            Self::Backfilled => "backfilled",
            Self::Contracting => "contracting",
            Self::Contracted => "contracted",
        })
    }
}

/// The schema states that a release can read and write, both ends included.
///
/// # Examples
///
/// ```
/// use ha_core::state::{Schema, SchemaRange};
///
/// assert!(SchemaRange::OLD.contains(Schema::Expanded) && SchemaRange::NEW.contains(Schema::Expanded));
/// assert!(!SchemaRange::OLD.contains(Schema::Contracting));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct SchemaRange {
    /// The first.
    pub first: Schema,
    /// The last.
    pub last: Schema,
}

impl SchemaRange {
    /// What an old release can use while a new one is brought: everything up to the removal of what it needs.
    pub const OLD: Self = Self { first: Schema::Base, last: Schema::Backfilled };
    /// What a new release can use: everything from when its own additions are there.
    pub const NEW: Self = Self { first: Schema::Expanded, last: Schema::Contracted };

    /// Names both ends.
    pub fn new(first: Schema, last: Schema) -> Self {
        Self { first, last }
    }

    /// Tells whether a schema state is in the range.
    pub fn contains(self, schema: Schema) -> bool {
        self.first <= schema && schema <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_back_from_a_contraction() {
        for event in [SchemaEvent::ExpandBegan, SchemaEvent::Expanded, SchemaEvent::Backfilled] {
            assert!(Schema::Contracting.on(event).is_err() && Schema::Contracted.on(event).is_err());
        }
        assert!(Schema::Base.on(SchemaEvent::ContractBegan).is_err(), "nothing is removed before the new is there");
    }

    #[test]
    fn every_later_state_is_reached_by_events_and_no_earlier_one() {
        let all = [
            Schema::Base,
            Schema::Expanding,
            Schema::Expanded,
            Schema::Backfilled,
            Schema::Contracting,
            Schema::Contracted,
        ];
        for from in all {
            for to in all {
                assert_eq!(from.advance(to).ok(), (from <= to).then_some(to), "{from} to {to}");
            }
        }
    }

    #[test]
    fn both_releases_can_use_the_schema_between_expand_and_contract() {
        for schema in [Schema::Expanded, Schema::Backfilled] {
            assert!(SchemaRange::OLD.contains(schema) && SchemaRange::NEW.contains(schema));
        }
        assert!(!SchemaRange::OLD.contains(Schema::Contracting) && !SchemaRange::NEW.contains(Schema::Expanding));
    }
}
