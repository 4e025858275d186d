//! What a child process is promised, over every way of noticing its end: that of the BSDs by a
//! kernel queue in the process, those of all by `/proc`, so on Linux.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "process/birth.rs"]
mod birth;
#[path = "process/descriptors.rs"]
mod descriptors;
#[path = "process/end.rs"]
mod end;
#[path = "process/exhaustion.rs"]
mod exhaustion;
#[path = "process/failures.rs"]
mod failures;
#[path = "process/fixture.rs"]
mod fixture;
#[path = "process/hostile.rs"]
mod hostile;
#[path = "process/many.rs"]
mod many;
#[path = "process/notices.rs"]
mod notices;
#[path = "process/pid_reuse.rs"]
mod pid_reuse;
#[path = "process/program.rs"]
mod program;
#[path = "process/search.rs"]
mod search;
mod seccomp;
#[path = "process/signals.rs"]
mod signals;

use fixture::{Fixture, Way, run};

/// Runs each case over each way that this system has.
macro_rules! over_every_way {
    ($($module:ident: $($case:ident),+;)+) => {
        mod pidfd { $( mod $module { $(
            #[test]
            fn $case() { crate::run(crate::Way::Pidfd, crate::$module::$case) }
        )+ } )+ }
        mod kernel_queue { $( mod $module { $(
            #[test]
            fn $case() { crate::run(crate::Way::KernelQueue, crate::$module::$case) }
        )+ } )+ }
        mod child_signal { $( mod $module { $(
            #[test]
            fn $case() { crate::run(crate::Way::ChildSignal, crate::$module::$case) }
        )+ } )+ }
    };
}

over_every_way! {
    program: arguments_are_bytes, the_environment_is_what_is_given, the_environment_is_inherited,
        an_empty_environment_is_empty, the_directory_is_changed, files_lack_what_the_mask_says,
        a_program_is_looked_for_along_the_childs_path, a_script_runs;
    search: an_empty_element_is_the_childs_directory, a_name_with_a_slash_is_not_looked_for,
        what_cannot_be_run_is_passed_over, a_directory_that_is_closed_is_passed_over;
    descriptors: the_child_has_what_it_is_given_and_no_other, random_mappings_arrive,
        one_pipe_may_have_several_numbers, their_ends_block_and_ours_do_not,
        a_megabyte_comes_back, pipes_may_have_low_numbers_here,
        a_child_without_descriptors_has_none;
    failures: each_error_comes_with_its_step, another_user_needs_privilege,
        what_no_process_can_have_is_refused, the_user_and_the_groups_change,
        privilege_that_is_laid_aside_is_taken_up, a_failure_is_told_whatever_numbers_are_wanted;
    exhaustion: a_full_table_is_told_and_leaves_nothing,
        a_swap_in_a_full_table_is_told_and_leaves_nothing,
        the_highest_number_is_the_last_below_the_limit,
        nothing_beyond_a_lowered_limit_is_inherited;
    signals: what_the_parent_ignores_is_default_in_the_child, nothing_is_blocked_in_the_child,
        a_handler_of_the_parent_never_runs_in_the_child, a_group_gets_a_signal,
        a_session_is_led_by_the_child, a_child_joins_the_group_of_another, each_signal_that_ends_is_told;
    end: each_exit_code_is_told, the_end_is_told_once_and_stays,
        no_signal_reaches_a_child_that_is_gone,
        an_ended_child_takes_signals_until_it_was_waited_for,
        a_watch_reports_nothing_before_the_end,
        a_child_outlives_its_handle, every_poller_reports_the_end;
    many: nothing_is_left_of_many, others_that_wait_are_not_disturbed;
    hostile: a_host_may_ignore_child_signals, a_host_may_wait_for_children_of_ours,
        after_a_fork_a_running_child_has_not_ended,
        without_close_range_nothing_else_is_inherited,
        without_a_list_of_them_nothing_else_is_inherited,
        a_cancelled_thread_has_whole_children, a_grandchild_that_keeps_a_pipe_delays_no_end;
    birth: any_thread_may_spawn, threads_may_spawn_at_once;
}
