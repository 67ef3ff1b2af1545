//! The procedures: each proposes plans for a cluster that was observed, cheapest first, and the first that is proven is the one.
//! Pure. [`Procedure`] is open for procedures of your own.

mod add_node;
mod add_service;
mod change;
mod change_file;
mod change_request;
mod drill;
mod error;
mod fail_back;
mod hand_over;
mod outage;
mod patch;
mod planned;
mod propose;
mod recover;
mod rejoin;
mod remedy;
mod request;
mod retire_node;
mod site;
mod site_loss;
mod step;
mod update;
mod upgrade;

pub use add_node::AddNodeRequest;
pub use change_request::{ChangeError, ChangeRequest};
pub(crate) use drill::DRILL;
pub use drill::DrillRequest;
pub use error::PlanError;
pub use fail_back::FailBackRequest;
pub use hand_over::HandOverRequest;
pub use outage::OutageRequest;
pub use planned::Planned;
pub use propose::{Procedure, Proposal, Snapshot, plan};
pub(crate) use recover::carry_on;
pub use rejoin::RejoinRequest;
pub use remedy::{Amended, Amendment, Remedy, remedy_for};
pub use request::{AddServiceRequest, PatchRequest, ReleaseFacts, UpdateRequest, UpgradeRequest};
pub use retire_node::RetireNodeRequest;
pub(crate) use site::is_change_of_sites;
pub use site_loss::SiteLossRequest;
