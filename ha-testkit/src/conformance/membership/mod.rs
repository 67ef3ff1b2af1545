//! The suite for [`Membership`]: members added and removed at run time.

mod cases;
mod fake;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::Membership;
use ha_core::topology::Name;

use super::balancer::{Ability, Subject};
use super::case::suite;
use super::verdict::Breach;

/// Builds balancers to whose pools members can be added.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::membership::{CASES, FakeMembershipFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in CASES {
///     case.run(&FakeMembershipFixture::new()).await.unwrap();
/// }
/// # });
/// ```
#[async_trait]
pub trait MembershipFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: Ability) -> bool;

    /// Builds a balancer that nobody else sees, as [`Fixture::fresh`](super::balancer::Fixture::fresh), and a spare server
    /// that are in no pool.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self, pool: &Name, members: &[Name]) -> Result<Box<dyn MembershipSubject>, Breach>;
}

/// One balancer under test with its truth and a spare server.
pub trait MembershipSubject: Subject {
    /// Returns the value under test as what changes members; it is the same balancer as
    /// [`balancer`](Subject::balancer).
    fn membership(&self) -> Arc<dyn Membership>;

    /// Returns the name and the address of a server that runs, serves, and is in no pool.
    fn spare(&self) -> (Name, SocketAddr);
}

pub use fake::FakeMembershipFixture;

suite! {
    /// One case of the suite: a sentence that must be true of every balancer whose members can be changed.
    membership on MembershipFixture, listed by __membership_cases:
    cases::an_added_member_is_in_maintenance_as_it_was_asked_for
    cases::a_member_added_twice_is_applied_once
    cases::a_member_of_the_same_name_and_another_address_is_a_conflict
    cases::an_added_member_gets_requests_once_it_is_ready
    cases::a_removed_member_is_gone
    cases::a_member_that_is_not_there_is_already_removed
    cases::a_member_in_service_is_not_removed
    cases::a_member_with_a_request_in_flight_is_not_removed
    cases::a_member_is_added_again_after_its_removal
    cases::an_unknown_pool_is_refused_without_effect
    cases::a_stale_epoch_changes_no_members_where_it_is_fenced
    cases::a_restart_forgets_added_members
    cases::a_dropped_add_leaves_a_whole_member_or_none
    cases::an_unreachable_balancer_changes_no_members
    cases::a_change_that_is_not_answered_has_an_unknown_effect
}
