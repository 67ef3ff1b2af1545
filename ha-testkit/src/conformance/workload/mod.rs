//! The suite for [`Workload`]: a node that pulls work by itself, is asked to stop, ends what is in progress, and pulls again.
//!
//! # For authors of a workload
//!
//! Write a [`WorkloadFixture`] that builds a fresh node for every case, which pulls work and has none in progress, and a
//! [`WorkloadSubject`] that sees the truth by another route: what the node does; never the value under test.
//!
//! Things that authors stumble over:
//!
//! - "Off" as soon as the node was asked: what is in progress is cut when the server is stopped.
//! - A count that cannot be read, or nothing where a count should be, that becomes 0.
//! - A quiesce that lives in the server's memory: a restart lets it pull again, before its test.
//! - A quiesce that takes effect late, after the node was let pull again.

mod cases;
mod fake;

use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::Workload;

use super::case::suite;
use super::verdict::Breach;

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WorkloadAbility {
    /// It, or its node's host, refuses lower lease epochs by itself.
    Fences,
    /// It can make the node answer nothing.
    LosesNodes,
    /// It can make what counts the work in progress answer nothing.
    LosesCounts,
    /// It can restart the node's server.
    Restarts,
}

impl WorkloadAbility {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fences => "fixture: fences",
            Self::LosesNodes => "fixture: loses nodes",
            Self::LosesCounts => "fixture: loses counts",
            Self::Restarts => "fixture: restarts",
        }
    }
}

/// What a node does at this moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Pulling {
    /// Whether it pulls work.
    pub pulls: bool,
    /// How many pieces are in progress.
    pub in_progress: u64,
}

impl Pulling {
    /// States both.
    pub fn new(pulls: bool, in_progress: u64) -> Self {
        Self { pulls, in_progress }
    }
}

/// Builds subjects: nodes that pull work, each time others.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::workload::{CASES, FakeWorkloadFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in CASES {
///     case.run(&FakeWorkloadFixture::new()).await.unwrap();
/// }
/// # });
/// ```
#[async_trait]
pub trait WorkloadFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: WorkloadAbility) -> bool;

    /// Builds a node that nobody else uses: it pulls work, and none is in progress.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self) -> Result<Box<dyn WorkloadSubject>, Breach>;
}

/// A node with its work and its truth. Dropping it ends all that was started for it.
#[async_trait]
pub trait WorkloadSubject: Send + Sync {
    /// Returns the value under test; always the same.
    fn workload(&self) -> Arc<dyn Workload>;

    /// Returns another value over the same node: what the next controller has.
    fn another(&self) -> Arc<dyn Workload>;

    /// Returns what the node does at this moment.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn truth(&self) -> Result<Pulling, Breach>;

    /// Begins one piece of work that stays in progress until [`finish`](Self::finish).
    ///
    /// # Errors
    /// When that cannot be done.
    async fn begin(&self) -> Result<(), Breach>;

    /// Ends what is in progress.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn finish(&self) -> Result<(), Breach>;

    /// Restarts the node's server.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn restart(&self) -> Result<(), Breach>;

    /// Makes the node answer nothing.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn lose(&self) -> Result<(), Breach>;

    /// Makes what counts the work in progress answer nothing.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn lose_count(&self) -> Result<(), Breach>;
}

pub use fake::FakeWorkloadFixture;

suite! {
    /// One case of the suite: a sentence that must be true of every workload.
    workload on WorkloadFixture, listed by __workload_cases:
    cases::a_fresh_node_pulls_work
    cases::a_node_that_is_quiesced_pulls_none_and_is_off
    cases::what_is_in_progress_is_not_off_until_it_has_ended
    cases::work_that_begins_before_the_quiesce_is_waited_for_by_the_next_controller_too
    cases::a_node_quiesced_twice_is_quiesced_once
    cases::a_node_that_is_resumed_pulls_work
    cases::a_node_resumed_twice_is_resumed_once
    cases::a_node_that_is_resumed_while_work_is_in_progress_goes_on_pulling
    cases::a_node_is_quiesced_again_after_it_was_resumed
    cases::a_quiesced_node_stays_so_after_a_restart
    cases::a_node_that_pulls_does_so_after_a_restart
    cases::the_next_controller_sees_what_this_one_did
    cases::reads_change_nothing
    cases::a_node_that_does_not_answer_is_said_and_not_guessed
    cases::a_count_that_does_not_answer_is_no_zero
    cases::a_stale_epoch_changes_nothing_where_it_is_fenced
    cases::a_call_that_is_dropped_leaves_what_can_be_gone_on_with
    cases::many_changes_at_once_end_in_one_state
}
