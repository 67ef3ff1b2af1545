//! The suite for [`Database`]: a schema that goes from state to state, each script run once, nothing removed without a permit, and
//! never in doubt after a failure.
//!
//! # For authors of a database backend
//!
//! Write a [`DatabaseFixture`] that builds a fresh database for every case, and a [`DatabaseSubject`] that sees the truth by another
//! route: another connection, a client program, the inner state of a fake; never the value under test.
//!
//! A fresh database has a table `orders` with the columns `id` and `amount` and two rows at least, as release [`OLD_RELEASE`] uses
//! it. Three scripts wait: an expansion that adds the column `total`, a backfill that fills it from `amount`, and a contraction that
//! drops `amount`. Let each of them leave a mark that can be counted, as a row in a table of marks that the script inserts with its
//! last statement: `CREATE TABLE IF NOT EXISTS` and the like would hide that a script ran twice. What makes a script
//! [fail](DatabaseSubject::fail) is best made in the database: an object with the name of one that the script creates, a trigger that
//! refuses, a view or a constraint that needs the column; the scripts stay the same, and so do their checksums.
//!
//! A call may be refused with [`Busy`](ha_core::backend::ErrorKind::Busy), without effect, while another controller, or the session
//! of one that was dropped, is at work; the suite asks again for 10 s.
//!
//! Things that authors stumble over:
//!
//! - A lock on one connection and the scripts on another: the lock goes with its connection, and the scripts go on.
//! - A script that is noted as run before it has ended, or after it on another connection: a death in between runs it never, or twice.
//! - A call that is dropped while a server runs its statement: the statement goes on, and the next controller has to wait for it.
//! - An error of a statement that says "no effect" although the statements before it were committed.
//! - A contraction for which a permit was seen once, and that is gone on with later without one.
//! - A phase without scripts: the engine asks for it, and waits until the schema is called so.
//! - A digest of what waits that has a time, a row count or the order of a hash map in it: no plan is ever the one that was approved.

mod cases;
mod failures;
mod fake;
mod reviews;
mod scene;

use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::Database;

use super::case::suite;
use super::verdict::Breach;

/// The release that needs `amount`; the permits of the suite say that no server of it is left.
pub const OLD_RELEASE: &str = "1.0";

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DatabaseAbility {
    /// Its database refuses lower lease epochs by itself.
    Fences,
    /// It can hold the table so that no statement changes it.
    Locks,
    /// It can make the database answer nobody.
    Loses,
    /// It can connect a session of the old release that the backend can tell from others.
    OldSessions,
}

impl DatabaseAbility {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fences => "fixture: fences",
            Self::Locks => "fixture: locks",
            Self::Loses => "fixture: loses the database",
            Self::OldSessions => "fixture: old sessions",
        }
    }
}

/// What a script does to the schema.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ScriptPhase {
    /// Adds the column `total`.
    Expand,
    /// Fills `total` from `amount`.
    Backfill,
    /// Drops `amount`.
    Contract,
}

impl ScriptPhase {
    /// All phases, in their order.
    pub const ALL: [Self; 3] = [Self::Expand, Self::Backfill, Self::Contract];
}

/// Which scripts wait for a database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Waiting {
    /// An expansion, a backfill and a contraction, as for a fresh database.
    Split,
    /// None.
    Nothing,
    /// The expansion.
    Additive,
    /// One that takes from the old release what it needs, and cannot be put off: it renames `amount`.
    Breaking,
    /// Those of a fresh database, the expansion with another text.
    Edited,
}

/// Builds subjects: databases whose schema is to be migrated, each time another one.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::database::{CASES, FakeDatabaseFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in CASES {
///     case.run(&FakeDatabaseFixture::new()).await.unwrap();
/// }
/// # });
/// ```
#[async_trait]
pub trait DatabaseFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: DatabaseAbility) -> bool;

    /// Builds a database that nobody else uses, as the [chapter](self) describes it; nothing has been migrated.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self) -> Result<Box<dyn DatabaseSubject>, Breach>;
}

/// A database with its truth. Dropping it ends all that was started for it.
#[async_trait]
pub trait DatabaseSubject: Send + Sync {
    /// Returns the value under test, with the scripts of a fresh database; always the same.
    fn database(&self) -> Arc<dyn Database>;

    /// Returns another value over the same database, with the scripts that wait now: what the next controller has.
    fn another(&self) -> Arc<dyn Database>;

    /// Lists the columns of `orders`, in any order.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn columns(&self) -> Result<Vec<String>, Breach>;

    /// Counts the rows of `orders`.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn rows(&self) -> Result<u64, Breach>;

    /// Counts the rows of `orders` whose `total` is not filled; where there is no such column, all.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn unfilled(&self) -> Result<u64, Breach>;

    /// Counts how often the script of a phase has taken effect.
    ///
    /// # Errors
    /// When that cannot be told.
    async fn applied(&self, phase: ScriptPhase) -> Result<u32, Breach>;

    /// Makes other scripts wait, for the values that [`another`](Self::another) returns from then on.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn scripts(&self, waiting: Waiting) -> Result<(), Breach>;

    /// Makes a statement of a phase fail until it is mended.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn fail(&self, phase: ScriptPhase) -> Result<(), Breach>;

    /// Lets every statement go well again.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn mend(&self) -> Result<(), Breach>;

    /// Connects a session of [`OLD_RELEASE`], or ends it; returns when the server has seen that.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn use_old_release(&self, connected: bool) -> Result<(), Breach>;

    /// Holds the table `orders` so that no statement changes it, or lets it go.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn lock(&self, held: bool) -> Result<(), Breach>;

    /// Makes the database answer nobody, until it is restarted.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn lose(&self) -> Result<(), Breach>;

    /// Restarts the database. Where others use the same server, it ends every session of this database, and where it was lost it
    /// brings it back.
    ///
    /// # Errors
    /// When it does not come back.
    async fn restart(&self) -> Result<(), Breach>;
}

pub use fake::FakeDatabaseFixture;

suite! {
    /// One case of the suite: a sentence that must be true of every database.
    database on DatabaseFixture, listed by __database_cases:
    cases::a_fresh_schema_is_base
    cases::expanding_adds_and_removes_nothing
    cases::a_backfill_fills_every_row
    cases::with_a_permit_what_only_the_old_release_needed_is_gone
    cases::nothing_is_contracted_without_a_permit
    cases::a_permit_removes_nothing_that_was_not_asked_for
    cases::all_that_leads_to_a_later_state_is_run
    cases::what_is_asked_for_twice_is_done_once
    cases::a_state_that_nothing_leads_back_to_is_refused_without_effect
    cases::the_next_controller_sees_what_this_one_did
    cases::what_was_run_survives_a_restart
    cases::reads_change_nothing
    cases::at_a_deadline_of_zero_nothing_is_changed
    cases::many_controllers_at_once_run_each_script_once
    reviews::a_review_is_the_same_until_the_scripts_are_others
    reviews::scripts_that_only_add_are_told_from_those_that_can_be_split
    reviews::scripts_that_break_the_old_release_need_a_window
    reviews::after_the_contraction_nothing_waits
    reviews::a_phase_without_scripts_is_reached
    reviews::a_script_that_was_changed_after_it_was_run_is_a_conflict
    failures::an_expansion_that_fails_is_half_way_and_finished_once_mended
    failures::a_backfill_that_fails_is_half_way_and_finished_once_mended
    failures::a_contraction_that_fails_is_half_way_and_finished_once_mended
    failures::what_follows_a_script_that_failed_is_not_run
    failures::a_contraction_needs_the_permit_again_on_a_retry
    failures::a_dropped_call_leaves_nothing_that_the_next_does_not_finish
    failures::a_stale_epoch_changes_nothing_where_it_is_fenced
    failures::the_epoch_is_kept_by_another_value_over_the_same_database
    failures::a_database_that_does_not_answer_is_unreachable_without_effect
    failures::a_session_of_the_old_release_keeps_the_schema_from_being_contracted
    failures::a_held_table_is_waited_for_no_longer_than_the_deadline
    failures::a_table_that_is_let_go_in_time_is_changed
}
