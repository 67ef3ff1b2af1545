//! The suite for [`ArtifactStore`]: sets that are whole or not there, found by their content, and never taken while in use.
//!
//! # For authors of an artifact store
//!
//! Write an [`ArtifactsFixture`] that builds a fresh store for every case, and an [`ArtifactsSubject`] that sees the truth by another
//! route: the files of a set below the store, never the value under test; and that computes digests by other code than the store.
//!
//! Things that authors stumble over:
//!
//! - A set that is believed for its name, its size or its time: a byte that changed on the disk is found in the middle of a rollback.
//! - A copy into its final place: whoever dies meanwhile leaves half a set under a whole set's name.
//! - A source that was read before the copy and not after it: what is kept is neither the old nor the new set.
//! - A prune by age alone: the set that serves is the oldest one as soon as a few builds have failed.
//! - A place that the store's own process reads, and a node's process does not.

mod cases;
mod fake;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{ArtifactStore, PutArtifact};
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::topology::Name;

use super::case::suite;
use super::verdict::Breach;

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ArtifactsAbility {
    /// Its store refuses lower lease epochs by itself.
    Fences,
    /// It can leave no room for another set.
    Fills,
    /// It can kill whoever carries a put out.
    Kills,
}

impl ArtifactsAbility {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fences => "fixture: fences",
            Self::Fills => "fixture: full disk",
            Self::Kills => "fixture: kills",
        }
    }
}

/// Builds subjects: artifact stores, each time another one.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::artifacts::{CASES, FakeArtifactsFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in CASES {
///     case.run(&FakeArtifactsFixture::new()).await.unwrap();
/// }
/// # });
/// ```
#[async_trait]
pub trait ArtifactsFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: ArtifactsAbility) -> bool;

    /// Builds a store that nobody else sees, read by nodes of these names; a put reads its sources where the first node does. It has
    /// no set with a number of 10 or above.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self, nodes: &[Name]) -> Result<Box<dyn ArtifactsSubject>, Breach>;
}

/// What a folder is that a subject builds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Built {
    /// A set of a few files.
    Set,
    /// A set of so many files that a copy takes a while: some hundreds, on a disk.
    Large,
    /// A set whose files have names with a line end, quotes, a dash in front, and bytes that are no UTF-8.
    OddNames,
    /// Files without a number: no set.
    Numberless,
}

/// An artifact store with its truth. Dropping it ends all that was started for it.
#[async_trait]
pub trait ArtifactsSubject: Send + Sync {
    /// Returns the value under test; always the same.
    fn store(&self) -> Arc<dyn ArtifactStore>;

    /// Returns another value over the same store: what the next controller has.
    fn another(&self) -> Arc<dyn ArtifactStore>;

    /// Makes a folder outside the store, where a put reads it, and returns its path and what it holds, found by another route. Sets
    /// of two numbers differ in content as well.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn build(&self, what: Built, number: u64) -> Result<(String, Generation), Breach>;

    /// Changes the content of such a folder, its number apart; each time otherwise.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn change(&self, source: &str) -> Result<(), Breach>;

    /// Compares what a node's process reads in a folder with a set that was built: `None` where nothing is, else whether it is whole.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn truth(&self, node: &Name, place: &str, generation: &Generation) -> Result<Option<bool>, Breach>;

    /// Changes one byte of a kept set, and leaves size and time as they were.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn flip(&self, generation: &Generation) -> Result<(), Breach>;

    /// Leaves no room for another set, or makes room again.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn fill(&self, full: bool) -> Result<(), Breach>;

    /// Begins a put, and kills whoever carries it out after this time.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn put_killed(&self, epoch: LeaseEpoch, request: PutArtifact, after: Duration) -> Result<(), Breach>;
}

pub use fake::FakeArtifactsFixture;

suite! {
    /// One case of the suite: a sentence that must be true of every artifact store.
    artifacts on ArtifactsFixture, listed by __artifacts_cases:
    cases::what_was_put_is_whole_and_listed
    cases::what_was_never_put_is_absent_and_has_no_place
    cases::a_set_put_twice_is_put_once
    cases::the_next_controller_finds_what_was_put
    cases::sets_are_listed_from_the_highest_number_on
    cases::a_folder_with_another_set_is_refused_without_effect
    cases::a_folder_that_is_no_set_is_refused_without_effect
    cases::an_absent_folder_is_refused_without_effect
    cases::a_source_that_changes_meanwhile_is_never_kept_in_half
    cases::names_of_any_kind_are_kept
    cases::a_flipped_byte_with_the_old_time_is_damaged
    cases::a_set_is_not_believed_for_its_name
    cases::a_damaged_set_is_replaced
    cases::a_place_is_where_the_nodes_find_the_set
    cases::whoever_is_no_node_has_no_place
    cases::reads_change_nothing
    cases::a_put_that_is_given_up_leaves_all_or_nothing
    cases::a_put_that_is_killed_leaves_all_or_nothing
    cases::a_full_disk_is_refused_without_effect
    cases::a_stale_epoch_changes_nothing_where_it_is_fenced
    cases::a_prune_removes_the_oldest
    cases::a_prune_never_takes_what_is_in_use
    cases::a_prune_twice_is_once
    cases::many_puts_at_once_are_all_whole
}
