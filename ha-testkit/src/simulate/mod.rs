//! Seeded whole runs of the real engine over the simulated world, on virtual time: the same seed gives the same run.
//!
//! Each seed makes a cluster, a procedure and faults of its own; what the law promises is watched from outside, on the
//! world's own state and by simulated clients, and never through the model that the proof used.

mod asks;
mod blind;
mod excuse;
mod grow;
mod loss;
mod loss_scenario;
mod loss_watch;
mod mutate;
mod random;
mod required;
mod run;
mod scenario;
mod site;
mod watch;

pub use blind::harm_of;
pub use grow::{Grow, GrowScenario, Grown, simulate_grow};
pub use loss::{Aftermath, simulate_loss};
pub use loss_scenario::{LossScenario, Return};
pub use mutate::{Mutant, mutants};
pub use random::Random;
pub use run::{Outcome, simulate, simulate_death, simulate_plan};
pub use scenario::{Asks, FaultAt, Procedure, Scenario};
pub use site::{SiteOutcome, SiteProcedure, SiteScenario, simulate_site};
pub use watch::Broken;
