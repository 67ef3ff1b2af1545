//! The suite for [`Probe`](ha_core::backend::Probe): readiness with identity, and business tests.

mod answers;
mod failures;
mod fake;
mod fixture;
mod interruptions;
mod scene;
mod trials;

pub use fake::FakeProbeFixture;
pub use fixture::{Ability, FAILED, ProbeFixture, ProbeSubject, STARTING, Stance};

use super::case::suite;

suite! {
    /// One case of the suite: a sentence that must be true of every probe.
    probe on ProbeFixture, listed by __probe_cases:
    answers::a_serving_server_is_ready_with_its_release
    answers::nothing_is_missing_where_it_answers
    answers::the_release_is_told_to_the_letter
    answers::a_new_release_is_told_at_once
    answers::an_old_process_that_still_answers_is_told_by_its_release
    answers::two_answers_of_an_unchanged_server_are_the_same
    answers::the_message_of_a_server_that_is_not_ready_is_passed_on
    answers::a_server_that_falls_back_is_not_ready_any_more
    answers::a_closed_server_is_closed_and_no_error
    answers::a_server_that_closes_is_closed_and_comes_back
    answers::a_ready_server_without_a_release_is_a_protocol_error
    trials::a_passed_test_returns_the_tested_release
    trials::a_failed_test_is_a_conflict_with_what_it_said
    trials::a_failing_test_leaves_readiness_alone
    trials::a_failed_test_passes_once_the_server_is_well
    trials::a_server_that_is_not_ready_fails_its_test
    trials::a_closed_server_fails_its_test
    trials::a_test_that_hangs_times_out_and_readiness_is_still_told
    trials::a_server_without_a_release_is_not_tested
    failures::an_unreachable_server_fails_without_effect
    failures::a_hung_server_times_out_inside_the_deadline
    failures::an_endless_answer_ends_inside_the_deadline
    failures::a_dribbled_answer_ends_inside_the_deadline
    failures::garbage_is_a_protocol_error
    failures::an_answer_that_breaks_off_is_never_ready
    failures::an_error_names_its_operation_and_target
    failures::after_any_trouble_the_server_is_ready_again
    interruptions::dropped_questions_change_nothing_and_block_nobody
    interruptions::a_dropped_question_leaves_nothing_open
    interruptions::a_question_that_timed_out_leaves_nothing_open
    interruptions::many_callers_at_once_get_the_same_answer
    interruptions::callers_of_ready_and_of_test_get_their_own_answers
    interruptions::many_callers_of_a_hung_server_all_end_inside_the_deadline
}
