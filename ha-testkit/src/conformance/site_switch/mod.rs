//! The suite for [`SiteSwitch`]: consumers that are led to one site, held in front of all, or refused, and still after a restart.
//!
//! # For authors of a site switch
//!
//! Write a [`SiteSwitchFixture`] that builds for every case a fresh switch in front of the sites `north` and `south`, which leads to
//! `north`, and a [`SiteSwitchSubject`] that sees the truth by another route: the requests of a consumer.
//!
//! Things that authors stumble over:
//!
//! - A hold that is done while requests are still in progress: they write into a database that is demoted meanwhile.
//! - A hold that gives up at its deadline and leaves consumers waiting.
//! - A connection that is kept alive over the switch and goes on to the old site.
//! - What is in force and not written down, or the other way round: the next restart leads consumers back.

mod cases;
mod fake;
mod origins;

use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Consumers, SiteSwitch};

use super::case::suite;
use super::verdict::Breach;

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SiteSwitchAbility {
    /// Its switch refuses lower lease epochs by itself.
    Fences,
    /// It can hold consumers. What it cannot do it must refuse as `Unsupported`.
    Holds,
    /// It can refuse consumers. What it cannot do it must refuse as `Unsupported`.
    Refuses,
    /// It keeps what it does over a restart of what leads consumers.
    Restarts,
    /// It can leave what leads consumers in two minds, as a run that was killed half-way does.
    Tears,
    /// It can make what leads consumers answer nothing to whoever changes it.
    LosesSwitches,
}

impl SiteSwitchAbility {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fences => "fixture: fences",
            Self::Holds => "fixture: holds",
            Self::Refuses => "fixture: refuses",
            Self::Restarts => "fixture: restarts",
            Self::Tears => "fixture: tears",
            Self::LosesSwitches => "fixture: loses switches",
        }
    }
}

/// Builds subjects: switches in front of two sites, each time others.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::site_switch::{CASES, FakeSwitchFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in CASES {
///     case.run(&FakeSwitchFixture::new()).await.unwrap();
/// }
/// # });
/// ```
#[async_trait]
pub trait SiteSwitchFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: SiteSwitchAbility) -> bool;

    /// Builds a switch that nobody else uses, which leads consumers to `north`.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self) -> Result<Box<dyn SiteSwitchSubject>, Breach>;
}

/// A switch with its consumers. Dropping it ends all that was started for it.
#[async_trait]
pub trait SiteSwitchSubject: Send + Sync {
    /// Returns the value under test; always the same.
    fn switch(&self) -> Arc<dyn SiteSwitch>;

    /// Returns another value over the same switch: what the next controller has.
    fn another(&self) -> Arc<dyn SiteSwitch>;

    /// Returns where a request goes at this moment.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn truth(&self) -> Result<Consumers, Breach>;

    /// Begins a request that is in progress in the site to which consumers are led, until it is told to end.
    ///
    /// # Errors
    /// When none gets there.
    async fn begin(&self) -> Result<Box<dyn RequestInProgress>, Breach>;

    /// Sends a request while consumers are held: it waits.
    ///
    /// # Errors
    /// When it cannot be sent.
    async fn wait(&self) -> Result<Box<dyn HeldConsumer>, Breach>;

    /// Leaves what leads consumers in two minds: partly to `north`, partly to `south`.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn tear(&self) -> Result<(), Breach>;

    /// Restarts what leads consumers.
    ///
    /// # Errors
    /// When it does not come back.
    async fn restart(&self) -> Result<(), Breach>;

    /// Makes what leads consumers answer nothing to whoever reads or changes it.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn lose(&self) -> Result<(), Breach>;
}

/// A request in progress in a site.
#[async_trait]
pub trait RequestInProgress: Send {
    /// Lets it end: whether the consumer gets its whole answer.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn end(self: Box<Self>) -> Result<bool, Breach>;
}

/// A request that was sent while consumers were held.
#[async_trait]
pub trait HeldConsumer: Send {
    /// Waits for its answer: the site that gave it, or `None` where it was refused or lost.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn answer(self: Box<Self>) -> Result<Option<String>, Breach>;
}

pub use fake::FakeSwitchFixture;
pub use origins::{held, in_progress};

suite! {
    /// One case of the suite: a sentence that must be true of every site switch.
    site_switch on SiteSwitchFixture, listed by __site_switch_cases:
    cases::consumers_are_led_to_the_first_site_at_first
    cases::consumers_are_led_where_it_was_asked_for
    cases::consumers_led_twice_are_led_once
    cases::consumers_are_led_back
    cases::a_site_that_is_not_known_is_refused_without_effect
    cases::consumers_are_led_nowhere
    cases::consumers_that_are_held_wait_and_are_answered_where_they_are_led
    cases::consumers_held_twice_are_held_once
    cases::consumers_that_are_held_are_led_back_to_where_they_were
    cases::a_hold_waits_for_requests_in_progress
    cases::a_hold_that_meets_its_deadline_leads_consumers_where_they_were
    cases::requests_that_waited_for_a_hold_which_gave_up_are_answered
    cases::where_consumers_cannot_be_held_that_is_refused_without_effect
    cases::where_they_are_led_survives_a_restart
    cases::a_hold_survives_a_restart
    cases::two_minds_are_told_and_made_up
    cases::the_next_controller_sees_what_this_one_did
    cases::reads_change_nothing
    cases::at_a_deadline_of_zero_nothing_is_changed
    cases::a_switch_that_does_not_answer_is_said_and_leads_on
    cases::a_stale_epoch_changes_nothing_where_it_is_fenced
    cases::many_changes_at_once_end_in_one_state
}
