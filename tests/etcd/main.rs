//! The client of etcd against real ones: one member and three, with TLS and without, frozen, killed, behind a broken wire,
//! and against servers that are no etcd.
//!
//! Needs Go, which builds etcd once. Where there is none the trials that need it are ignored and say so, except with
//! `TESTS_REQUIRED=all`: then they fail. Everything listens on loopback and keeps its files in a temporary directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod certificates;
mod cluster;
mod confined;
#[path = "../support/golang.rs"]
mod golang;
mod keys;
mod leases;
mod limits;
mod members;
mod outcome;
#[path = "../support/port.rs"]
mod port;
#[path = "../apiserver/process.rs"]
#[allow(dead_code)] // another suite needs more of it
mod process;
#[path = "../apiserver/program.rs"]
mod program;
mod proxy;
mod secure;
mod strangers;
mod threads;
mod users;
#[path = "../apiserver/wait.rs"]
mod wait;
mod watches;

use std::process::ExitCode;

use kekring_kit::{Missing, Suite, needs::nothing, trials};

use program::program;

fn main() -> ExitCode {
    // Each has an etcd of its own and mostly waits. Those that wait longest come first.
    let mut suite = Suite::new("etcd").at_once(2);
    suite.list(trials![needs etcd;
        watches::a_watch_outlives_a_member_that_is_killed_and_one_that_is_frozen,
        members::without_a_quorum_every_call_ends_in_time_and_says_so,
        members::a_frozen_member_costs_a_share_of_the_time_and_no_call,
        keys::a_transaction_changes_keys_only_where_they_are_as_they_were,
        keys::a_comparison_of_a_prefix_holds_for_every_key_that_is_there,
        keys::what_etcd_does_not_do_is_refused_and_names_the_key,
        keys::keys_come_in_pages_and_as_they_were,
        leases::a_lease_ends_with_its_keys_unless_it_is_kept_alive,
        watches::a_watch_tells_of_each_change_and_of_what_is_compacted,
        limits::what_is_too_large_is_refused_on_either_side,
        limits::more_operations_and_longer_names_than_there_may_be_are_not_sent,
        members::each_member_says_what_it_is,
        outcome::a_change_whose_answer_is_lost_is_unknown_and_is_sent_once,
        outcome::a_change_that_never_left_is_made_by_another_member,
        outcome::a_connection_that_died_in_silence_is_replaced_within_the_call,
        secure::certificates_that_do_not_fit_are_denied_with_what_to_do,
        secure::a_certificate_that_is_renewed_on_disk_is_used_without_a_restart,
        users::a_user_reads_its_own_prefix_and_nothing_else,
        users::a_new_password_is_taken_from_its_file,
        threads::a_client_serves_blocking_threads_and_ends_with_its_thread,
    ]);
    suite.list(trials![needs landlock_and_etcd;
        confined::a_confined_client_reaches_etcd_by_name_and_no_other_port,
        confined::a_confined_client_uses_a_renewed_certificate_and_reads_its_neighbours_alone,
        confined::a_confined_process_that_looks_names_up_reads_what_that_takes_and_no_more,
    ]);
    suite.list(trials![needs nothing;
        strangers::whoever_is_no_etcd_is_left_in_time,
        strangers::plain_http_leaves_loopback_for_nobody,
    ]);
    suite.run()
}

fn etcd() -> Result<(), Missing> {
    program().map(|_| ())
}

fn landlock_and_etcd() -> Result<(), Missing> {
    confined::kernel()?;
    etcd()
}
