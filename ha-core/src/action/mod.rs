//! Everything that can be done to a cluster: one file a resource, each with all facets of its actions: precondition, begin,
//! complete, partial effects, whether it holds, inverse, loan, deadline and message. Pure.
//!
//! A new action is a variant in its resource's file. [`Order`] is the one place where the resources meet.
//!
//! May change in any minor version: [what is stable](crate#what-is-stable).

mod exposure;
mod files;
mod known_good;
mod order;
mod provision;
mod schema;
mod server;
mod site;
mod traffic;
mod work;

pub use exposure::ExposureAction;
pub use files::FilesAction;
pub use known_good::KnownGood;
pub use order::{Action, At, Order};
pub use provision::ProvisionAction;
pub use schema::SchemaAction;
pub use server::ServerAction;
pub use site::SiteAction;
pub use traffic::{Desired, TrafficAction};
pub use work::WorkAction;

use std::time::Duration;

use crate::law::{Invariant, Law};
use crate::state::{ClusterState, Facts, LoanKind, Rejected, Target};
use crate::topology::{Policy, Topology};

/// What an action is made of. Implemented once a resource, in the resource's file.
pub(crate) trait Facets {
    /// What it acts on.
    fn target(&self) -> Target;

    /// Whether it changes a resource while it is in flight: what it does not change is observed meanwhile.
    fn changes(&self, target: Target) -> bool;

    /// Whether its node is under change from its intent on, so that it needs its gate again.
    fn puts_under_change(&self) -> bool;

    /// Whether it is a command of the user's, run on the node's host.
    fn is_command(&self) -> bool;

    /// Whether it begins only after an observation of the whole cluster that is from after the step before: what takes capacity
    /// away, moves traffic or touches what nodes share. The others change a node that is out of traffic already, and the
    /// guard's last observation is enough for them if it is not older than the guard's interval.
    fn needs_fresh_observation(&self) -> bool;

    /// Checks that it may be given in this state; the error says what is in the way.
    fn precondition(&self, law: Law<'_>, state: &ClusterState) -> Result<(), String>;

    /// The invariant that a broken precondition stands for.
    fn guards(&self) -> Invariant;

    /// The loan that its intent opens.
    fn opens(&self, law: Law<'_>, state: &ClusterState) -> Option<LoanKind>;

    /// Marks what holds from its intent on, the loan apart.
    fn begin(&self, law: Law<'_>, state: &mut ClusterState);

    /// Makes its full effect hold, the loans that it repays apart.
    fn complete(&self, law: Law<'_>, state: &mut ClusterState) -> Result<(), Rejected>;

    /// Lists the states that it can leave behind when it happens in part. The intent is marked already.
    fn partial_effects(&self, law: Law<'_>, state: &ClusterState) -> Vec<ClusterState>;

    /// The loans that its full effect takes back.
    fn repays(&self) -> &'static [LoanKind];

    /// Whether its full effect holds already, loans apart.
    fn holds(&self, law: Law<'_>, state: &ClusterState) -> bool;

    /// What takes it back, in order: to how its node was at the start, where it acts on one. A node goes back into traffic only
    /// through its gate.
    fn inverse(&self, known_good: Option<KnownGood>) -> Vec<Order>;

    /// How long it may take by policy.
    fn deadline(&self, policy: &Policy) -> Duration;

    /// Its name, as reports and journals show it.
    fn name(&self) -> &'static str;

    /// What is done, with its value, as `apply 4.2.1`.
    fn what(&self, facts: &Facts) -> String;

    /// What is done to what, for people.
    fn message(&self, topology: &Topology, facts: &Facts) -> String;
}
