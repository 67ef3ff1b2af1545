//! The suite for [`Exposure`]: a key that leads where its route does on every balancer instance, or on none, and still after a
//! restart.
//!
//! # For authors of an exposure
//!
//! Write an [`ExposureFixture`] that builds fresh instances for every case, two at least where the backend can drive several, with
//! the backends `esb` and `legacy` and no key that leads to them, and an [`ExposureSubject`] that sees the truth by another route: a
//! request that a consumer sends, a raw socket, the inner state of a fake; never the value under test.
//!
//! Things that authors stumble over:
//!
//! - A change that is in force and not written down, or the other way round: the next reload of the balancer undoes it. Read both.
//! - A table that matches prefixes: the key `/orders` is not there because requests to `/orders` are answered by the key `/`.
//! - A file that is written anew from what this value knows: everybody else's keys are gone.
//! - The first instance changed before it is known that the second answers, or that the key is nobody else's there.

mod cases;
mod fake;

use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::Exposure;
use ha_core::state::RouteKey;
use ha_core::topology::Name;

use super::case::suite;
use super::verdict::Breach;

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExposureAbility {
    /// Its exposure refuses lower lease epochs by itself.
    Fences,
    /// It has two instances at least.
    SeveralInstances,
    /// It can change what is in force on an instance and leave what is written down, as a run that was killed half-way does.
    Tears,
    /// It can make an instance answer nothing.
    LosesInstances,
}

impl ExposureAbility {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fences => "fixture: fences",
            Self::SeveralInstances => "fixture: several instances",
            Self::Tears => "fixture: tears",
            Self::LosesInstances => "fixture: loses instances",
        }
    }
}

/// Builds subjects: balancer instances that expose services, each time others.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::exposure::{CASES, FakeExposureFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in CASES {
///     case.run(&FakeExposureFixture::new()).await.unwrap();
/// }
/// # });
/// ```
#[async_trait]
pub trait ExposureFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: ExposureAbility) -> bool;

    /// Builds instances that nobody else uses, with the backends `esb` and `legacy` and without a key that leads to them.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self) -> Result<Box<dyn ExposureSubject>, Breach>;
}

/// Balancer instances that expose services, with their truth. Dropping it ends all that was started for it.
#[async_trait]
pub trait ExposureSubject: Send + Sync {
    /// Returns the value under test; always the same.
    fn exposure(&self) -> Arc<dyn Exposure>;

    /// Returns another value over the same instances: what the next controller has.
    fn another(&self) -> Arc<dyn Exposure>;

    /// Returns where each instance leads a key at this moment; `None` where it has no such key.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn truth(&self, key: &RouteKey) -> Result<Vec<Option<String>>, Breach>;

    /// Leads a key of one instance elsewhere by other hands, in force and written down; `None` takes it away.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn lead(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach>;

    /// The same, in force only: what is written down stays.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn tear(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach>;

    /// Restarts every instance.
    ///
    /// # Errors
    /// When one does not come back.
    async fn restart(&self) -> Result<(), Breach>;

    /// Makes the last instance answer nothing to whoever reads or changes its routes.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn lose_last(&self) -> Result<(), Breach>;
}

pub use fake::FakeExposureFixture;

suite! {
    /// One case of the suite: a sentence that must be true of every exposure.
    exposure on ExposureFixture, listed by __exposure_cases:
    cases::a_fresh_key_is_dark_on_every_instance
    cases::an_exposed_key_leads_where_its_route_does_on_every_instance
    cases::a_hidden_key_is_gone_from_every_instance
    cases::a_key_exposed_twice_is_exposed_once
    cases::a_key_hidden_twice_is_hidden_once
    cases::an_exposed_key_survives_a_restart
    cases::a_hidden_key_stays_hidden_over_a_restart
    cases::other_keys_are_left_as_they_are
    cases::a_key_is_told_from_those_that_begin_alike
    cases::a_key_that_leads_elsewhere_is_refused_without_effect
    cases::a_key_that_leads_elsewhere_on_one_instance_is_refused_on_all
    cases::what_is_exposed_on_some_instances_is_finished
    cases::what_is_hidden_on_some_instances_is_finished
    cases::a_half_change_is_told_and_finished
    cases::the_next_controller_sees_what_this_one_did
    cases::reads_change_nothing
    cases::at_a_deadline_of_zero_nothing_is_changed
    cases::an_instance_that_does_not_answer_keeps_all_from_being_changed
    cases::a_stale_epoch_changes_nothing_where_it_is_fenced
    cases::many_changes_at_once_end_in_one_state
}
