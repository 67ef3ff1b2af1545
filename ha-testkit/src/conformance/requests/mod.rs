//! The suite for [`Requests`](ha_core::journal::Requests): what people ask of runs, beside the records of the runs.

mod cases;
mod memory;

use std::sync::Arc;

use async_trait::async_trait;
use ha_core::journal::Journal;

use super::case::suite;
use super::verdict::Breach;

/// Builds journals, each empty and nobody else's.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::requests::{CASES, MemoryFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in CASES {
///     case.run(&MemoryFixture::new()).await.unwrap();
/// }
/// # });
/// ```
#[async_trait]
pub trait RequestsFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Builds a journal.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self) -> Result<Box<dyn RequestsSubject>, Breach>;
}

/// One journal under test.
pub trait RequestsSubject: Send + Sync {
    /// Returns a way to it, another one each time: as processes have them.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    fn open(&self) -> Result<Arc<dyn Journal>, Breach>;
}

pub use memory::MemoryFixture;

suite! {
    /// One case of the suite: a sentence that must be true of every journal.
    requests on RequestsFixture, listed by __requests_cases:
    cases::requests_are_numbered_from_1_on_in_the_order_in_which_they_were_put
    cases::only_what_comes_after_a_number_is_listed
    cases::a_request_is_read_back_as_it_was_put_by_whoever_opens_the_journal_next
    cases::each_run_has_its_own_requests
    cases::a_request_to_a_run_that_has_not_begun_waits_for_it
    cases::the_same_request_put_twice_is_two
    cases::what_several_put_at_once_is_all_there_once
    cases::a_request_leaves_the_records_of_the_run_and_their_writer_alone
}
