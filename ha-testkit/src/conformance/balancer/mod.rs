//! The suite for [`LoadBalancer`](ha_core::backend::LoadBalancer) and its reading half.

mod claims;
mod failures;
mod fake;
mod fixture;
mod generations;
mod interruptions;
mod layered;
mod names;
mod requests;
pub(in crate::conformance) mod scene;
mod states;
mod weights;

pub use fake::FakeFixture;
pub(in crate::conformance) use fake::FakeSubject;
pub use fixture::{Ability, Fixture, HeldRequest, Subject, Trouble, Truth, WaitingRequest};
pub use layered::Layered;

use super::case::suite;

suite! {
    /// One case of the suite: a sentence that must be true of every balancer.
    balancer on Fixture, listed by __balancer_cases:
    states::a_fresh_member_is_as_it_was_configured
    states::every_state_is_set_from_every_other_and_seen_by_another_route
    states::a_state_set_twice_is_applied_once
    states::what_is_read_back_is_the_truth
    states::members_reads_what_member_reads_of_each
    states::a_state_leaves_the_weight_and_the_other_members_alone
    states::only_a_ready_member_is_usable
    states::a_member_in_maintenance_is_not_said_to_be_up
    states::reads_change_nothing
    states::two_reads_of_an_idle_balancer_are_the_same
    weights::a_weight_is_set_and_seen_by_another_route
    weights::a_weight_set_twice_is_applied_once
    weights::a_member_of_weight_0_is_ready_and_not_usable
    weights::weight_256_is_the_greatest
    weights::a_weight_leaves_the_state_and_the_other_members_alone
    weights::a_state_leaves_a_changed_weight_alone
    names::member_refuses_unknown_names
    names::quiescence_refuses_unknown_names
    names::members_refuses_an_unknown_pool
    names::set_admin_refuses_unknown_names_without_effect
    names::set_weight_refuses_unknown_names_without_effect
    names::close_sessions_refuses_unknown_names_without_effect
    names::names_at_the_edge_of_the_grammar_are_told_apart
    names::concerns_are_read_without_effect
    claims::capabilities_are_constant
    claims::weights_are_set_where_claimed_and_unsupported_elsewhere
    claims::sessions_are_closed_where_claimed_and_unsupported_elsewhere
    claims::idle_connections_are_seen_where_claimed
    claims::older_generations_are_proven_or_admitted_to_be_invisible
    claims::a_stale_epoch_sets_no_state_where_it_is_fenced
    claims::a_stale_epoch_sets_no_weight_where_it_is_fenced
    claims::a_stale_epoch_closes_no_sessions_where_it_is_fenced
    claims::the_same_epoch_and_a_higher_one_are_taken
    claims::a_stale_epoch_is_refused_after_a_restart_where_it_is_fenced
    requests::a_request_in_flight_is_counted_until_it_ends
    requests::several_requests_in_flight_are_counted_one_by_one
    requests::a_drained_member_gets_no_new_requests
    requests::a_member_in_maintenance_gets_no_new_requests
    requests::a_member_of_weight_0_gets_no_new_requests
    requests::a_request_in_flight_survives_draining
    requests::a_request_in_flight_survives_maintenance_unless_that_cuts
    requests::after_maintenance_and_the_last_request_nothing_connects_to_a_member
    requests::closing_sessions_counts_and_cuts_them
    requests::closing_sessions_of_an_idle_member_closes_none
    requests::counters_count_requests_and_never_shrink
    requests::a_weight_lets_requests_in_flight_end
    requests::a_request_that_waits_for_room_is_counted_until_a_member_takes_it
    requests::a_drained_member_takes_nothing_that_waits
    generations::identity_stays_between_calls
    generations::readings_bear_the_generation_that_answers
    generations::a_look_tells_what_other_calls_tell
    generations::a_look_at_a_member_that_is_held_out_tells_what_still_runs_on_it
    generations::a_look_tells_what_runs_in_older_generations
    generations::a_restart_is_another_generation
    generations::a_restart_forgets_what_was_set
    generations::an_uptime_is_that_of_the_process_and_begins_anew_with_it
    generations::a_restarted_balancer_is_set_again
    generations::counters_begin_anew_with_a_generation
    generations::a_request_of_an_older_generation_is_counted_where_it_is_seen
    generations::a_member_drained_after_a_restart_is_not_idle_before_its_old_requests_end
    failures::an_unreachable_balancer_fails_without_effect
    failures::a_denied_write_fails_without_effect
    failures::a_read_without_an_answer_times_out_without_effect
    failures::a_write_to_a_hung_balancer_times_out_and_claims_no_more_than_is_true
    failures::a_write_that_is_carried_out_and_not_answered_is_a_timeout_of_unknown_effect
    failures::a_write_whose_connection_breaks_has_an_unknown_effect
    failures::a_write_that_comes_late_had_an_unknown_effect
    failures::a_write_that_is_answered_and_not_carried_out_is_noticed_by_the_read_back
    failures::an_error_names_its_operation_and_target
    interruptions::a_dropped_set_admin_leaves_the_old_or_the_new_state
    interruptions::a_dropped_set_weight_leaves_the_old_or_the_new_weight
    interruptions::a_dropped_close_sessions_leaves_states_alone
    interruptions::dropped_reads_change_nothing_and_block_nobody
    interruptions::many_callers_on_one_member_end_in_one_truth
    interruptions::many_callers_on_different_members_all_get_their_way
    interruptions::a_state_and_a_weight_set_at_once_both_hold
    interruptions::reads_beside_writes_see_the_old_or_the_new_state
}
