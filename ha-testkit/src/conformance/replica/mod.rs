//! The suite for [`Replica`]: two copies of a database of which one takes writes, and what each of them has.
//!
//! # For authors of a replica
//!
//! Write a [`ReplicaFixture`] that builds for every case two fresh copies, `north` which takes writes with epoch 1 and `south` which
//! follows it, and a [`ReplicaSubject`] that writes and counts by another route: a client's session; never the value under test.
//!
//! Things that authors stumble over:
//!
//! - A promotion with the epoch that the primary has: two copies take writes, and nobody can tell whose they are.
//! - A demotion that is done while a standby lacks what was written last: the write was answered, and is lost by a plan.
//! - A demotion that a restart undoes.
//! - A copy that follows another and throws its own writes away unasked.

mod cases;
mod fake;

use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::Replica;

use super::case::suite;
use super::verdict::Breach;

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ReplicaAbility {
    /// Its copies refuse lower lease epochs by themselves.
    Fences,
    /// It can keep writes from getting into the standby, and let them again.
    Parts,
    /// It can restart a copy.
    Restarts,
    /// It can make a copy answer nothing.
    LosesCopies,
    /// Its copies have a position.
    Positions,
}

impl ReplicaAbility {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fences => "fixture: fences",
            Self::Parts => "fixture: parts",
            Self::Restarts => "fixture: restarts",
            Self::LosesCopies => "fixture: loses copies",
            Self::Positions => "fixture: positions",
        }
    }
}

/// One of the two copies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum At {
    /// The site `north`, whose copy takes writes with epoch 1 at first.
    North,
    /// The site `south`, whose copy follows it at first.
    South,
}

impl At {
    /// Names the site.
    pub fn site(self) -> &'static str {
        match self {
            Self::North => "north",
            Self::South => "south",
        }
    }
}

/// Builds subjects: a database in two copies, each time others.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::replica::{CASES, FakeReplicaFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in CASES {
///     case.run(&FakeReplicaFixture::new()).await.unwrap();
/// }
/// # });
/// ```
#[async_trait]
pub trait ReplicaFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: ReplicaAbility) -> bool;

    /// Builds two copies that nobody else uses.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self) -> Result<Box<dyn ReplicaSubject>, Breach>;
}

/// A database in two copies. Dropping it ends all that was started for it.
#[async_trait]
pub trait ReplicaSubject: Send + Sync {
    /// Returns the value under test of a site; always the same.
    fn replica(&self, at: At) -> Arc<dyn Replica>;

    /// Returns another value over the same copy: what the next controller has.
    fn another(&self, at: At) -> Arc<dyn Replica>;

    /// Writes once to a copy: whether the write was taken.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn write(&self, at: At) -> Result<bool, Breach>;

    /// Counts the writes that a copy has.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn has(&self, at: At) -> Result<u64, Breach>;

    /// Keeps writes from getting into the standby (`true`), or lets them again.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn part(&self, parted: bool) -> Result<(), Breach>;

    /// Restarts a copy.
    ///
    /// # Errors
    /// When it does not come back.
    async fn restart(&self, at: At) -> Result<(), Breach>;

    /// Makes a copy answer nothing.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn lose(&self, at: At) -> Result<(), Breach>;
}

pub use fake::FakeReplicaFixture;

suite! {
    /// One case of the suite: a sentence that must be true of every replica.
    replica on ReplicaFixture, listed by __replica_cases:
    cases::a_primary_and_its_standby_are_told_apart
    cases::a_promoted_standby_takes_writes_with_its_epoch
    cases::a_copy_promoted_twice_is_promoted_once
    cases::a_primary_takes_a_higher_epoch
    cases::a_lower_epoch_is_refused_without_effect
    cases::a_standby_is_not_promoted_with_the_epoch_of_its_primary
    cases::a_promotion_survives_a_restart
    cases::a_demoted_copy_takes_no_writes_and_its_standby_has_all_of_them
    cases::a_copy_demoted_twice_is_demoted_once
    cases::a_copy_that_takes_no_writes_needs_no_demotion
    cases::a_demotion_survives_a_restart
    cases::a_demotion_that_no_standby_keeps_up_with_is_said_and_taken_back
    cases::a_demoted_copy_follows_the_promoted_one
    cases::a_copy_that_follows_is_left_alone
    cases::writes_that_the_other_has_not_are_not_discarded_unasked
    cases::writes_that_the_other_has_not_are_discarded_where_a_person_said_so
    cases::a_site_that_is_not_known_is_not_followed
    cases::sites_change_places_and_change_them_back_without_a_lost_write
    cases::a_position_grows_with_what_is_written
    cases::the_next_controller_sees_what_this_one_did
    cases::reads_change_nothing
    cases::at_a_deadline_of_zero_nothing_is_changed
    cases::a_copy_that_does_not_answer_is_said_and_not_guessed
    cases::a_stale_epoch_changes_nothing_where_it_is_fenced
}
