//! The suite for [`Host`](ha_core::backend::Host), its reading half, its files and its detached work.
//!
//! # For authors of a host
//!
//! Write a [`Fixture`] that builds a fresh host with an installed, stopped server for every case, and a [`Subject`] that
//! sees the truth by another route: the server's folder, `/proc` of the machine, or the state of a simulation, never the
//! value under test. Say in [`Fixture::can`] what your fixture is able to do; what it is not skips the cases that need it, and
//! every skip must be announced. Cases that a host is not made for, since it claims neither files nor work, are skipped by
//! that name as well. Then give the fixture to [`conformance!`](crate::conformance!) in a test file of its own: each
//! case is one test, and the last one prints how many held.
//!
//! Things that authors stumble over, in the order in which they were found:
//!
//! - A start is checked before it waits for the fence, and not again behind it: two starts at once are two servers.
//! - A pid is believed without its start time: the pid file of a dead server names a stranger.
//! - A command's end is taken for the end of its output: a server that the command left behind holds it for ever.
//! - A broken connection is passed on as exit code 255.
//! - A deadline ends the shell, and not what the shell has started.
//!
//! # Examples
//!
//! A host with nothing but a server, driven in the simulated world; a real one has a folder where this has a world.
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use ha_core::backend::Host;
//! use ha_testkit::conformance::Breach;
//! use ha_testkit::conformance::host::{Ability, Condition, Fixture, Found, Subject};
//! use ha_testkit::world::{Controller, FakeHost, Shape, World};
//!
//! struct MyFixture;
//!
//! struct MySubject {
//!     world: World,
//!     host: Arc<FakeHost>,
//! }
//!
//! fn drive(world: &World) -> Arc<FakeHost> {
//!     // The spare is installed and stopped: the host that is under test.
//!     Arc::new(FakeHost::new(world.clone(), Controller::new(), "spare1".into()))
//! }
//!
//! fn cannot<T>() -> Result<T, Breach> {
//!     Err(Breach::new("this fixture cannot do that"))
//! }
//!
//! #[async_trait]
//! impl Fixture for MyFixture {
//!     fn name(&self) -> String {
//!         "my host".into()
//!     }
//!     fn can(&self, ability: Ability) -> bool {
//!         ability == Ability::Fences
//!     }
//!     async fn fresh(&self) -> Result<Box<dyn Subject>, Breach> {
//!         let shape = Shape::active_passive().with_spares(&[1_000]);
//!         let world = shape.world().map_err(|error| Breach::new(error.to_string()))?;
//!         Ok(Box::new(MySubject { host: drive(&world), world }))
//!     }
//! }
//!
//! #[async_trait]
//! impl Subject for MySubject {
//!     fn host(&self) -> Arc<dyn Host> {
//!         self.host.clone()
//!     }
//!     fn another(&self) -> Arc<dyn Host> {
//!         drive(&self.world)
//!     }
//!     fn home(&self) -> String {
//!         "/srv/esb".into()
//!     }
//!     async fn lives(&self) -> Result<Vec<String>, Breach> {
//!         Ok(if self.world.runs("spare1") { vec!["it".into()] } else { Vec::new() })
//!     }
//!     async fn look(&self, _path: &str) -> Result<Option<Found>, Breach> {
//!         cannot()
//!     }
//!     async fn place(&self, _path: &str, _what: Found) -> Result<(), Breach> {
//!         cannot()
//!     }
//!     async fn be(&self, _condition: Condition) -> Result<(), Breach> {
//!         cannot()
//!     }
//!     async fn heal(&self) -> Result<(), Breach> {
//!         cannot()
//!     }
//!     async fn stranger_lives(&self) -> Result<bool, Breach> {
//!         cannot()
//!     }
//!     async fn cut_link(&self) -> Result<(), Breach> {
//!         cannot()
//!     }
//!     async fn power_cycle(&self) -> Result<(), Breach> {
//!         cannot()
//!     }
//! }
//!
//! ha_testkit::conformance!(host, MyFixture, skips = ["fixture: commands", "fixture: files", "fixture: pid file"]);
//! ```

mod act;
mod commands;
mod fake;
mod fences;
mod files;
mod fixture;
mod interruptions;
mod layered;
mod machine;
mod machine_parts;
mod process;
mod scene;
mod work;

pub use act::Act;
pub use fake::FakeHostFixture;
pub use fixture::{Ability, Condition, Fixture, Found, PidFile, RELEASE, Subject};
pub use layered::LayeredHost;

use super::case::suite;

suite! {
    /// One case of the suite: a sentence that must be true of every host.
    host on Fixture, listed by __host_cases:
    process::a_fresh_server_is_stopped
    process::a_started_server_runs_until_it_is_stopped
    process::an_incarnation_is_the_same_for_everybody_while_the_server_runs
    process::a_restart_is_another_incarnation
    process::a_start_of_a_running_server_leaves_it_alone
    process::kill_ends_the_given_life
    process::kill_of_a_past_life_leaves_the_present_one_alone
    process::a_stale_pid_file_is_not_read_as_running_and_hinders_no_start
    process::a_stranger_in_the_pid_file_is_not_read_as_running_and_never_signalled
    process::a_pid_file_padded_with_nul_bytes_is_understood
    process::the_installed_release_is_read_running_or_not
    process::a_server_that_is_not_installed_is_absent
    process::a_failing_version_command_is_no_release_and_has_no_effect
    commands::exit_codes_are_told_as_they_are
    commands::signals_are_told_from_exit_codes
    commands::both_outputs_are_kept_apart_and_to_their_limit
    commands::arguments_are_passed_as_they_are
    commands::variables_are_passed_as_they_are
    commands::a_missing_program_is_not_found_without_effect
    commands::a_program_that_is_not_there_is_named_before_it_is_run
    commands::what_only_reads_is_run_whoever_leads
    commands::a_command_past_its_deadline_is_ended_with_its_children
    commands::a_daemon_that_keeps_the_output_open_does_not_hold_its_command
    commands::many_commands_at_once_each_run_once
    commands::a_command_under_one_name_runs_once_and_all_learn_its_end
    fences::a_stale_epoch_starts_nothing
    fences::a_stale_epoch_stops_nothing
    fences::a_stale_epoch_kills_nothing
    fences::a_stale_epoch_runs_nothing
    fences::a_stale_epoch_changes_no_file
    fences::a_stale_epoch_starts_and_ends_no_work
    fences::a_higher_epoch_is_taken_and_remembered
    fences::capabilities_are_constant_and_honest
    fences::the_machine_is_the_same_for_everybody
    interruptions::a_dropped_start_leaves_no_server_or_one
    interruptions::a_dropped_command_ran_once_or_not_at_all
    interruptions::a_dropped_put_leaves_the_old_or_the_new_content
    interruptions::dropped_reads_change_nothing_and_block_nobody
    interruptions::many_starts_at_once_start_one_server
    interruptions::an_unreachable_host_is_not_a_stopped_server
    interruptions::a_hung_host_is_given_up_in_time
    interruptions::a_cut_link_ends_no_command_and_is_no_exit_code
    interruptions::work_of_a_machine_that_lost_its_power_is_lost
    files::a_file_that_is_put_is_there_and_is_read_back
    files::compare_and_set_refuses_and_leaves_what_is_there
    files::a_file_is_removed_once_and_a_directory_never
    files::what_cannot_be_read_or_put_is_refused_without_effect
    files::a_link_is_switched_and_nothing_but_a_link
    files::equal_trees_and_only_they_have_one_digest
    files::a_reader_beside_writers_sees_whole_files_only
    work::work_that_never_was_is_absent
    work::work_ends_as_its_command_does_and_anybody_can_read_it
    work::a_name_is_launched_at_most_once
    work::two_launches_at_once_are_one_run
    work::cancelled_work_ends_with_its_children
}
