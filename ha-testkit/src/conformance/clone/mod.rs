//! The suite for [`CloneDatabase`](ha_core::backend::CloneDatabase): a database that refuses writes while it is copied, a copy that is
//! compared before it is used, and writes that are accepted in one place only.
//!
//! # For authors of a database backend
//!
//! Write a [`CloneFixture`] that builds a fresh pair of databases for every case: the source has a table `orders` with the columns `id`
//! and `amount` and two rows at least, and one table more; the other is empty. The migration scripts that wait replace `amount` by
//! `total`, in a way that the release in use does not survive. A [`CloneSubject`] sees the truth by another route.
//!
//! Things that authors stumble over:
//!
//! - A freeze that new sessions obey, and those that are open already do not.
//! - A freeze that is a setting of a session, or of the running server: a restart ends it.
//! - A transaction that has written before the freeze, and commits after the copy was begun.
//! - Half a copy that the next controller takes for a whole one, or for something that others have put there.
//! - A comparison that counts rows only.
//! - A clone that takes writes as soon as it is migrated.

mod cases;
mod fake;

use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::Database;

use super::case::suite;
use super::verdict::Breach;

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloneAbility {
    /// Its database refuses lower lease epochs by itself.
    Fences,
    /// It can restart the server of its database.
    Restarts,
}

impl CloneAbility {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fences => "fixture: fences",
            Self::Restarts => "fixture: restarts the server",
        }
    }
}

/// One of the two databases.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are two")]
pub enum Side {
    /// The one that is cloned.
    Source,
    /// The clone.
    Clone,
}

/// Builds subjects: databases that can be cloned, each time others.
#[async_trait]
pub trait CloneFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: CloneAbility) -> bool;

    /// Builds a pair of databases that nobody else uses, as the [chapter](self) describes them.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self) -> Result<Box<dyn CloneSubject>, Breach>;
}

/// Two databases with their truth. Dropping it ends all that was started for it.
#[async_trait]
pub trait CloneSubject: Send + Sync {
    /// Returns the value under test; always the same.
    fn database(&self) -> Arc<dyn Database>;

    /// Returns another value over the same databases: what the next controller has.
    fn another(&self) -> Arc<dyn Database>;

    /// Tries to insert, to update and to delete a row of `orders`, each in a session that has been open for long and in a new one; tells
    /// whether that was accepted. A row is left behind then.
    ///
    /// # Errors
    /// When some of it was accepted and some was not, or it cannot be tried.
    async fn write(&self, side: Side) -> Result<bool, Breach>;

    /// Lists the ids in `orders`, in their order; `None` where there is no such table.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn rows(&self, side: Side) -> Result<Option<Vec<u64>>, Breach>;

    /// Tells whether `orders` has the column `total`.
    ///
    /// # Errors
    /// When that cannot be read.
    async fn has_total(&self, side: Side) -> Result<bool, Breach>;

    /// Puts a table of somebody else into the database that is for the clone.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn occupy(&self) -> Result<(), Breach>;

    /// Changes what a row of `orders` holds in the clone; the number of rows stays.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn spoil(&self) -> Result<(), Breach>;

    /// Opens a transaction that has written a row to `orders` of the source, or commits it.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn hold(&self, held: bool) -> Result<(), Breach>;

    /// Restarts the server of both.
    ///
    /// # Errors
    /// When it does not come back.
    async fn restart(&self) -> Result<(), Breach>;
}

pub use fake::FakeCloneFixture;

suite! {
    /// One case of the suite: a sentence that must be true of every database that can be cloned.
    clone on CloneFixture, listed by __clone_cases:
    cases::a_database_that_nobody_clones_takes_writes
    cases::a_frozen_source_refuses_the_writes_of_every_session_and_answers_reads
    cases::a_frozen_source_refuses_writes_after_a_restart
    cases::a_thawed_source_takes_writes_again
    cases::a_transaction_that_has_written_is_waited_for
    cases::a_copy_has_every_row
    cases::a_source_that_takes_writes_is_not_copied
    cases::what_others_have_put_there_is_not_copied_over_and_not_dropped
    cases::a_copy_that_equals_the_source_is_told_with_its_rows
    cases::a_copy_that_differs_is_a_conflict_that_names_the_table
    cases::a_copy_that_was_not_compared_is_not_migrated
    cases::a_migrated_clone_has_the_new_schema_and_refuses_writes
    cases::nothing_is_migrated_without_a_permit
    cases::a_clone_that_is_open_takes_writes_and_the_source_does_not
    cases::what_takes_writes_is_not_given_up
    cases::a_dropped_clone_is_empty_and_can_be_made_again
    cases::what_is_asked_for_twice_is_done_once
    cases::the_next_controller_goes_on_where_this_one_stopped
    cases::a_dropped_call_leaves_what_the_next_finishes
    cases::a_stale_epoch_changes_nothing
    cases::reads_change_nothing
}
