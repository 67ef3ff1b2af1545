use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, Facets, KnownGood, Order};
use crate::law::{Invariant, Law};
use crate::state::{ClusterState, Facts, LoanKind, Rejected, Schema, Target};
use crate::topology::{Policy, Topology};

/// What is done to the shared database's schema.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SchemaAction {
    /// Brings the schema to this state.
    Migrate {
        /// The state that it has afterwards.
        to: Schema,
    },
}

use SchemaAction as A;

impl From<SchemaAction> for Action {
    fn from(action: SchemaAction) -> Self {
        Self::Schema(action)
    }
}

impl Facets for SchemaAction {
    fn target(&self) -> Target {
        Target::Database
    }

    fn changes(&self, target: Target) -> bool {
        self.target() == target
    }

    fn puts_under_change(&self) -> bool {
        false
    }

    fn is_command(&self) -> bool {
        false
    }

    fn needs_fresh_observation(&self) -> bool {
        true
    }

    /// Nothing is removed while a server runs, or may run, that could ask for it, whether it is in traffic or not.
    fn precondition(&self, law: Law<'_>, state: &ClusterState) -> Result<(), String> {
        let Self::Migrate { to } = *self;
        if to >= Schema::Contracting
            && let Some(node) = law.may_use_less_than(state, to)
        {
            let name = &law.topology.node(node).name;
            let process = state.node(node).process;
            return Err(format!("{name} is {process:?}, and its release cannot use a schema that is {to}"));
        }
        match state.schema.advance(to) {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("the schema is {}, nothing leads back to {to}", state.schema)),
        }
    }

    fn guards(&self) -> Invariant {
        let Self::Migrate { to } = *self;
        if to >= Schema::Contracting { Invariant::Schema } else { Invariant::Order }
    }

    fn opens(&self, _: Law<'_>, _: &ClusterState) -> Option<LoanKind> {
        None
    }

    fn begin(&self, _: Law<'_>, _: &mut ClusterState) {}

    fn complete(&self, _: Law<'_>, state: &mut ClusterState) -> Result<(), Rejected> {
        let Self::Migrate { to } = *self;
        state.schema = state.schema.advance(to)?;
        Ok(())
    }

    fn partial_effects(&self, _: Law<'_>, state: &ClusterState) -> Vec<ClusterState> {
        let Self::Migrate { to } = *self;
        let mut half = state.clone();
        half.schema = to.half_way().max(state.schema);
        vec![half]
    }

    fn repays(&self) -> &'static [LoanKind] {
        &[]
    }

    fn holds(&self, _: Law<'_>, state: &ClusterState) -> bool {
        let Self::Migrate { to } = *self;
        state.schema == to
    }

    /// Additive changes of a schema stay: old releases can use it.
    fn inverse(&self, _: Option<KnownGood>) -> Vec<Order> {
        Vec::new()
    }

    fn deadline(&self, policy: &Policy) -> Duration {
        policy.migrate_deadline
    }

    fn name(&self) -> &'static str {
        match *self {
            A::Migrate { to: Schema::Base } => "migrate to base",
            A::Migrate { to: Schema::Expanding | Schema::Expanded } => "expand",
            A::Migrate { to: Schema::Backfilled } => "backfill",
            A::Migrate { to: Schema::Contracting | Schema::Contracted } => "contract",
        }
    }

    fn what(&self, _: &Facts) -> String {
        let Self::Migrate { to } = *self;
        format!("bring the schema to {to}")
    }

    fn message(&self, _: &Topology, facts: &Facts) -> String {
        self.what(facts)
    }
}
