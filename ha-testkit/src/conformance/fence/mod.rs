//! The suite for [`Fence`]: a site that can no longer act, whether anything in it answers or not, and still after a restart.
//!
//! # For authors of a fence
//!
//! Write a [`FenceFixture`] that builds a fresh site for every case, not fenced, and a [`FenceSubject`] that sees the truth by
//! another route: whether the site can still do what the fence's level takes from it; never the value under test.
//!
//! Things that authors stumble over:
//!
//! - A site that does not answer is taken for a fenced one. It comes back, and acts.
//! - A fence that needs the site's own help: it fails when it is needed.
//! - A fence that a restart of the site lifts.
//! - "Fenced" after half of it is done: the servers are stopped, and the database still takes writes.

mod cases;
mod fake;

use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Fence, Fenced};

use super::case::suite;
use super::verdict::Breach;

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FenceAbility {
    /// Its fence refuses lower lease epochs by itself.
    Fences,
    /// It can leave a fence that holds in half, as a run that was killed half-way does.
    Tears,
    /// It can make everything in the site answer nothing.
    LosesSites,
    /// It can make what fences the site answer nothing.
    LosesFences,
    /// It can let the site come back by itself, or restart it.
    Restarts,
}

impl FenceAbility {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fences => "fixture: fences",
            Self::Tears => "fixture: tears",
            Self::LosesSites => "fixture: loses sites",
            Self::LosesFences => "fixture: loses fences",
            Self::Restarts => "fixture: restarts",
        }
    }
}

/// Builds subjects: sites with a fence, each time others.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::fence::{CASES, FakeFenceFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in CASES {
///     case.run(&FakeFenceFixture::new()).await.unwrap();
/// }
/// # });
/// ```
#[async_trait]
pub trait FenceFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: FenceAbility) -> bool;

    /// Builds a site that nobody else uses, which can act.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self) -> Result<Box<dyn FenceSubject>, Breach>;
}

/// A site with its fence and its truth. Dropping it ends all that was started for it.
#[async_trait]
pub trait FenceSubject: Send + Sync {
    /// Returns the value under test; always the same.
    fn fence(&self) -> Arc<dyn Fence>;

    /// Returns another value over the same site: what the next controller has.
    fn another(&self) -> Arc<dyn Fence>;

    /// Returns whether the site is fenced at this moment.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn truth(&self) -> Result<Fenced, Breach>;

    /// Leaves a fence that holds in half.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn tear(&self) -> Result<(), Breach>;

    /// Makes everything in the site answer nothing.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn lose_site(&self) -> Result<(), Breach>;

    /// Lets the site come back by itself, or restarts it.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn restart_site(&self) -> Result<(), Breach>;

    /// Makes what fences the site answer nothing.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn lose_fence(&self) -> Result<(), Breach>;
}

pub use fake::FakeFenceFixture;

suite! {
    /// One case of the suite: a sentence that must be true of every fence.
    fence on FenceFixture, listed by __fence_cases:
    cases::a_fresh_site_is_not_fenced
    cases::a_fenced_site_is_fenced
    cases::a_site_fenced_twice_is_fenced_once
    cases::a_fence_is_lifted
    cases::a_fence_lifted_twice_is_lifted_once
    cases::a_site_is_fenced_again_after_its_fence_was_lifted
    cases::a_fence_survives_a_restart_of_the_site
    cases::a_site_that_does_not_answer_is_not_fenced_by_that
    cases::a_site_that_does_not_answer_is_fenced
    cases::a_site_that_was_fenced_while_it_was_lost_comes_back_fenced
    cases::a_fence_that_holds_in_half_is_no_fence_and_is_gone_on_with
    cases::the_level_is_the_same_at_all_times
    cases::the_next_controller_sees_what_this_one_did
    cases::reads_change_nothing
    cases::at_a_deadline_of_zero_nothing_is_changed
    cases::a_fence_that_does_not_answer_is_said_and_not_guessed
    cases::a_stale_epoch_changes_nothing_where_it_is_fenced
    cases::many_changes_at_once_end_in_one_state
}
