//! What every poller promises: each case runs over each poller, with a time limit, and must leave
//! no descriptor behind.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod cases;
mod fixture;
mod subject;

use fixture::run;

/// Makes a module with a test of each case over one poller, under one condition.
macro_rules! over {
    ($subject:ident as $module:ident, #[$condition:meta], [$($case:ident),+]) => {
        mod $module {
            use crate::subject::Subject;
            $(
                #[test]
                #[$condition]
                fn $case() { crate::run(Subject::$subject, crate::cases::$case) }
            )+
        }
    };
}

macro_rules! conformance {
    ($($case:ident),+ $(,)?) => {
        over!(POLL as poll, #[cfg(unix)], [$($case),+]);
        over!(SELECT as select, #[cfg(unix)], [$($case),+]);
        over!(KQUEUE as kqueue, #[cfg(unix)], [$($case),+]);
        over!(HOSTED_KQUEUE as hosted_kqueue, #[cfg(unix)], [$($case),+]);
        over!(EPOLL as epoll,
            #[cfg_attr(not(target_os = "linux"), ignore = "needs Linux")], [$($case),+]);
        over!(HOSTED_EPOLL as hosted_epoll,
            #[cfg_attr(not(target_os = "linux"), ignore = "needs Linux")], [$($case),+]);
    };
}

conformance! {
    // readiness
    undrained_input_is_reported_again,
    an_idle_descriptor_is_not_reported,
    reading_and_writing_are_one_event,
    only_what_was_asked_for_is_reported,
    a_hang_up_is_reported_without_readability,
    a_hang_up_does_not_hide_unread_input,
    a_closed_peer_is_readable_to_its_end,
    a_pipe_without_a_reader_is_an_error_to_its_writer,
    a_half_close_is_readable_and_no_hang_up,
    a_reset_is_reported_as_an_error,
    a_reset_is_reported_to_a_writer,
    a_full_socket_is_not_writable_until_drained,
    many_descriptors_are_all_reported,
    // time
    a_wait_never_ends_before_its_timeout,
    a_positive_timeout_never_becomes_zero,
    a_deadline_is_met_with_one_wait,
    a_zero_timeout_does_not_block,
    an_event_ends_the_wait,
    an_event_ends_a_wait_longer_than_one_call_can_take,
    a_timeout_beyond_all_limits_is_accepted,
    // registration
    modify_changes_what_is_reported,
    modify_changes_the_token,
    deregistering_stops_reports_at_once,
    a_deregistered_descriptor_can_be_registered_again,
    deregistering_one_leaves_the_others,
    registering_twice_is_refused,
    what_is_not_watched_is_not_found,
    a_closed_number_is_refused,
    a_watch_without_interest_reports_no_readiness,
    a_descriptor_closed_behind_our_back_does_no_harm,
    a_wait_replaces_older_events,
    a_pollable_poller_can_be_watched,
    a_descriptor_of_any_number_is_watched_or_refused_by_its_limit,
    // closed
    a_closed_descriptor_does_not_hide_the_others,
    a_closed_descriptor_is_quiet_once_deregistered,
    a_closed_number_is_watched_again,
    a_closed_source_is_quiet_once_removed,
    // registry
    a_source_without_interest_gets_no_event_after_a_reset,
    a_source_without_interest_gets_no_event_after_a_hang_up,
    a_source_removed_during_the_batch_is_unknown,
    a_number_used_again_in_a_batch_is_not_mistaken,
    a_number_used_again_behind_our_back_reaches_its_new_source,
    a_regular_file_is_always_ready,
    a_regular_file_without_interest_is_silent,
    a_regular_file_is_ready_or_refused_by_the_poller_itself,
    a_file_that_is_always_ready_does_not_hide_the_others,
    a_device_that_cannot_be_watched_is_always_ready,
    everything_is_registered_again_with_a_new_poller,
    a_deferred_removal_is_done_by_the_next_apply,
    a_deferred_removal_comes_before_new_registrations,
    a_refused_source_is_told_and_can_try_again,
    // waking
    a_wake_from_another_thread_ends_the_wait,
    a_wake_before_the_wait_is_not_lost,
    many_wakes_are_one_event,
    no_wake_is_lost_under_a_storm,
    a_wake_is_not_lost_between_two_looks,
    a_signal_handler_can_wake,
    no_signal_of_a_storm_goes_unnoticed,
    a_signal_ends_the_wait_without_an_error,
    // sockets
    a_listener_is_readable_while_a_peer_waits,
    a_finished_connect_is_writable,
    a_refused_connect_is_reported,
}
