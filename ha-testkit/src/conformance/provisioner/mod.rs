//! The suite for [`Provisioner`]: a node has the whole installation that was asked for, by digest, or none.
//!
//! # For authors of a provisioner
//!
//! Write a [`ProvisionerFixture`] that builds a fresh node for every case, stopped and with nothing installed, and a
//! [`ProvisionerSubject`] that sees the truth by another route: the files of the installation, the inner state of a fake; never the
//! value under test.
//!
//! Things that authors stumble over:
//!
//! - A release that is compared and a configuration that is not: a node with last year's key store is "there already".
//! - An installation that is kept in the value, or in a marker file, and not read where the server reads it.
//! - Half of an installation, told as whole or told as an error for ever: the next call replaces it.
//! - A removal that takes half of an installation for nothing, and leaves it there.
//! - An installer that ended well and has installed something else: read it back.

mod cases;
mod fake;

use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Installation, Provisioner};

use super::case::suite;
use super::verdict::Breach;

/// Something that a fixture may be able to do with its subjects. What it cannot do skips the cases that need it, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProvisionerAbility {
    /// Its provisioner refuses lower lease epochs by itself.
    Fences,
    /// It can leave half of an installation, as a call that was killed does.
    Tears,
    /// It can make the node answer nothing.
    LosesNodes,
}

impl ProvisionerAbility {
    /// Names it, for the report of what was skipped.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fences => "fixture: fences",
            Self::Tears => "fixture: tears",
            Self::LosesNodes => "fixture: loses nodes",
        }
    }
}

/// Builds subjects: nodes on which something can be installed, each time others.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::provisioner::{CASES, FakeProvisionerFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in CASES {
///     case.run(&FakeProvisionerFixture::new()).await.unwrap();
/// }
/// # });
/// ```
#[async_trait]
pub trait ProvisionerFixture: Send + Sync {
    /// Names what is tested, for reports.
    fn name(&self) -> String;

    /// Tells whether subjects can do this. Constant.
    fn can(&self, ability: ProvisionerAbility) -> bool;

    /// Builds a node that nobody else uses, on which nothing is installed and nothing runs.
    ///
    /// # Errors
    /// What went wrong; the case fails.
    async fn fresh(&self) -> Result<Box<dyn ProvisionerSubject>, Breach>;
}

/// A node on which something can be installed, with its truth. Dropping it ends all that was started for it.
#[async_trait]
pub trait ProvisionerSubject: Send + Sync {
    /// Returns the value under test; always the same.
    fn provisioner(&self) -> Arc<dyn Provisioner>;

    /// Returns another value over the same node: what the next controller has.
    fn another(&self) -> Arc<dyn Provisioner>;

    /// Lists three installations that can be had here: two of one release with different configurations, and one of another release
    /// with the configuration of the first.
    fn offers(&self) -> [Installation; 3];

    /// Returns what is installed at this moment; `None` for nothing, or half of something.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn truth(&self) -> Result<Option<Installation>, Breach>;

    /// Tells whether nothing of an installation is left, not even half of one.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn is_empty(&self) -> Result<bool, Breach>;

    /// Installs something by other hands.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn install(&self, installation: &Installation) -> Result<(), Breach>;

    /// Leaves half of what is installed.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn tear(&self) -> Result<(), Breach>;

    /// Makes the node answer nothing to whoever reads or changes what is installed.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn lose(&self) -> Result<(), Breach>;
}

pub use fake::FakeProvisionerFixture;

suite! {
    /// One case of the suite: a sentence that must be true of every provisioner.
    provisioner on ProvisionerFixture, listed by __provisioner_cases:
    cases::a_fresh_node_has_nothing_installed
    cases::what_is_provisioned_is_there_by_digest
    cases::what_is_provisioned_twice_is_applied_once
    cases::another_configuration_of_the_same_release_is_another_installation
    cases::another_release_with_the_same_configuration_is_another_installation
    cases::what_is_deprovisioned_is_gone
    cases::what_is_deprovisioned_twice_is_removed_once
    cases::a_node_is_provisioned_again_after_its_removal
    cases::half_an_installation_is_none_and_is_replaced
    cases::half_an_installation_is_removed
    cases::what_other_hands_have_installed_is_seen
    cases::the_next_controller_sees_what_this_one_did
    cases::reads_change_nothing
    cases::at_a_deadline_of_zero_nothing_is_changed
    cases::a_node_that_does_not_answer_is_not_changed
    cases::a_stale_epoch_installs_and_removes_nothing_where_it_is_fenced
    cases::many_changes_at_once_end_in_one_state
}
