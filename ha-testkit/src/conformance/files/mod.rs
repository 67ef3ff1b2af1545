//! The suite for [`FileSync`]: holds that hold, releases that bring what the writer has, and one writer.
//!
//! # For authors of a file sync
//!
//! Write a [`FilesFixture`] that builds fresh nodes for every case, with the sync running between them as it does in production,
//! and a [`FilesSubject`] that sees the truth by another route: the folder that a node's server reads, never the value under test.
//!
//! Things that authors stumble over:
//!
//! - A gate that the sync looks at before it takes its lock: a transfer that began a moment before goes on under the hold.
//! - A hold that lives in the value, and not on the node: the next controller finds the sync open.
//! - A release that says "released" and leaves the first transfer to the next turn of the sync.
//! - An old writer that goes on writing, or into which the sync is open at once: what it has is overwritten, or goes round.

mod cases;
mod fake;

use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::FileSync;
use ha_core::topology::Name;

use super::case::suite;
use super::verdict::Breach;

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FilesAbility {
    /// Its file sync refuses lower lease epochs by itself.
    Fences,
}

impl FilesAbility {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fences => "fixture: fences",
        }
    }
}

/// Builds subjects: nodes that share files, each time others.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::files::{CASES, FakeFilesFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in CASES {
///     case.run(&FakeFilesFixture::new()).await.unwrap();
/// }
/// # });
/// ```
#[async_trait]
pub trait FilesFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: FilesAbility) -> bool;

    /// Builds nodes of these names that nobody else sees: the first may write, each has the set of files number 1, and the sync into
    /// each other is open.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self, nodes: &[Name]) -> Result<Box<dyn FilesSubject>, Breach>;
}

/// Nodes that share files, with their truth. Dropping it ends all that was started for it.
#[async_trait]
pub trait FilesSubject: Send + Sync {
    /// Returns the value under test; always the same.
    fn files(&self) -> Arc<dyn FileSync>;

    /// Returns another value over the same nodes: what the next controller has.
    fn another(&self) -> Arc<dyn FileSync>;

    /// Reads the number of the set that a node's server finds; `None` where there is no whole one.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn truth(&self, node: &Name) -> Result<Option<u64>, Breach>;

    /// Puts the set of this number on a node, as a deployment there does.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn put(&self, node: &Name, number: u64) -> Result<(), Breach>;

    /// Lets the running sync do all that it has to do now.
    ///
    /// # Errors
    /// When it does not come to an end.
    async fn settle(&self) -> Result<(), Breach>;
}

pub use fake::FakeFilesFixture;

suite! {
    /// One case of the suite: a sentence that must be true of every file sync.
    files on FilesFixture, listed by __files_cases:
    cases::a_fresh_reader_is_in_step_and_the_writer_has_no_sync_into_it
    cases::what_the_writer_gets_comes_to_its_readers
    cases::a_held_reader_gets_nothing_and_the_others_do
    cases::a_released_reader_has_what_the_writer_has
    cases::a_sync_held_twice_is_held_once
    cases::a_sync_released_twice_is_released_once
    cases::a_hold_is_there_for_the_next_controller
    cases::a_released_sync_goes_on
    cases::equal_sets_have_one_generation_and_others_another
    cases::unknown_nodes_are_refused_without_effect
    cases::reads_change_nothing
    cases::the_writer_is_handed_over_and_the_old_one_is_held
    cases::what_the_new_writer_gets_comes_to_those_that_are_released
    cases::handing_the_writer_over_twice_is_once
    cases::a_writer_epoch_that_is_no_higher_is_refused_without_effect
    cases::a_stale_epoch_holds_and_releases_nothing_where_it_is_fenced
    cases::a_stale_epoch_hands_no_writer_over_where_it_is_fenced
    cases::many_holds_and_releases_at_once_end_in_one_state
}
