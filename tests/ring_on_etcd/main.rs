//! A ring that several nodes keep on etcd: real members of etcd, real `kekring` processes, each with a configuration, a
//! machine id, a socket and a copy of its own; and what befalls them.
//!
//! Needs Go, which builds etcd once. Where there is none the trials are ignored and say so, except with
//! `TESTS_REQUIRED=all`: then they fail. Everything listens on loopback and keeps its files in temporary directories.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod beyond;
#[path = "../etcd/certificates.rs"]
#[allow(dead_code)] // another suite has members with TLS
mod certificates;
#[path = "../serve/client.rs"]
#[allow(dead_code)] // another suite needs more of it
mod client;
#[path = "../etcd/cluster.rs"]
#[allow(dead_code)] // another suite needs more of it
mod cluster;
mod doctor;
mod foreign;
mod forged;
#[path = "../support/forged.rs"]
#[allow(dead_code)] // other suites forge more
mod forging;
mod garbage;
#[path = "../support/golang.rs"]
mod golang;
mod init;
mod joining;
mod killed;
mod lab;
mod moves;
mod outage;
#[path = "../support/port.rs"]
mod port;
#[path = "../apiserver/process.rs"]
#[allow(dead_code)] // another suite needs more of it
mod process;
#[path = "../apiserver/program.rs"]
mod program;
#[path = "../etcd/proxy.rs"]
#[allow(dead_code)] // another suite breaks the wire in more ways
mod proxy;
mod pruned;
mod quoted;
mod removal;
mod replaced;
mod restored;
mod rotation;
mod second;
mod secrets;
mod silent;
mod store;
mod strange;
mod superseded;
#[path = "../support/mod.rs"]
mod support;
mod unknown;
#[path = "../apiserver/wait.rs"]
mod wait;
mod watch;
#[path = "../support/witness.rs"]
mod witness;

use std::process::ExitCode;

use kekring_kit::{Missing, Suite, trials};

use program::program;

#[allow(clippy::too_many_lines)] // a table
fn main() -> ExitCode {
    // Each has an etcd of its own, and mostly waits. Those that wait longest come first.
    let mut suite = Suite::new("ring_on_etcd").at_once(4);
    suite.list(trials![needs etcd;
        killed::a_rotate_that_is_killed_at_any_moment_leaves_a_sound_ring,
        removal::a_removed_node_is_waited_for_no_more_and_registers_again_when_it_is_back,
        second::a_second_machine_under_a_name_is_refused_until_the_first_is_removed,
        replaced::what_a_removed_root_seals_never_becomes_the_ring_by_the_heads_name,
        replaced::what_a_removed_root_seals_is_joined_by_no_node_in_a_fork_that_it_forges,
        replaced::acknowledgements_under_a_replaced_ring_key_let_no_rotation_through,
        replaced::an_older_and_longer_backup_from_before_a_removal_decrypts_on_every_node_and_undoes_nothing,
        superseded::a_removal_that_ends_without_a_node_leaves_a_record_for_it_with_what_it_deletes,
        superseded::a_node_that_was_away_while_a_root_was_removed_reports_no_key_until_it_has_another_root,
        pruned::only_what_the_newest_generation_is_proven_to_say_goes_from_etcd,
        foreign::thousands_of_foreign_names_stop_nothing,
        foreign::foreign_megabytes_under_names_that_a_ring_has_stop_nothing,
        foreign::foreign_megabytes_beside_the_ring_stop_nothing,
        foreign::a_value_that_is_longer_than_it_can_be_stops_nothing_but_itself,
        foreign::histories_are_joined_however_much_lies_beside_what_nodes_have_shown,
        foreign::another_generation_under_the_name_of_the_newest_is_put_back_and_parts_nothing,
        foreign::what_is_compacted_while_it_is_read_is_read_anew,
        garbage::what_is_in_the_way_is_named_and_served_through,
        garbage::what_is_in_nobodys_way_changes_nothing,
        garbage::a_newest_generation_that_is_damaged_in_etcd_is_put_back_by_the_nodes_that_have_it,
        garbage::a_head_that_is_damaged_for_good_and_a_fork_that_is_none_end_in_a_join,
        outage::while_etcd_is_away_every_node_serves_also_one_that_restarts,
        rotation::every_node_opens_at_once_what_any_other_encrypts_while_the_ring_rotates,
        rotation::a_rotation_that_is_due_on_every_node_at_once_is_done_once,
        restored::an_etcd_that_was_emptied_gets_the_ring_back_from_the_nodes,
        restored::an_etcd_from_before_two_rotations_loses_no_key_and_takes_none_back,
        restored::a_join_waits_for_a_node_that_is_down_and_names_it,
        silent::a_rotation_waits_for_a_frozen_node_names_it_and_then_ends_by_itself,
        doctor::the_doctor_tells_who_is_well_behind_silent_and_nobody,
        forged::a_rotation_takes_no_acknowledgement_that_the_node_did_not_give,
        strange::generations_of_strangers_stop_no_node_with_a_passphrase,
        quoted::what_others_say_of_a_node_is_shown_and_obeyed_by_no_terminal,
        quoted::a_forged_record_without_a_lease_keeps_no_node_registered,
        quoted::the_name_of_a_key_in_etcd_forges_no_line_of_a_log_and_nothing_for_systemd,
        outage::a_member_that_is_killed_and_one_that_is_frozen_stop_nobody,
        outage::an_etcd_that_takes_no_more_changes_stops_rotations_and_nothing_else,
        outage::a_first_start_without_copy_and_without_etcd_is_ready_and_names_the_cause,
        unknown::a_rotate_whose_answer_is_lost_has_rotated_once_and_says_what_is_true,
        unknown::a_rotate_that_never_arrived_has_changed_nothing,
        moves::a_ring_in_files_moves_to_etcd_under_its_server_and_back,
        moves::a_ring_that_moves_to_files_leaves_in_etcd_what_it_is_not_proven_to_have,
        moves::a_ring_does_not_move_to_where_another_one_is,
        moves::a_backup_is_joined_by_every_node_and_takes_nothing_back,
        moves::where_every_copy_is_lost_a_backup_brings_the_ring_back,
        moves::a_root_goes_once_every_node_has_opened_the_new_ring_key,
        moves::what_a_verb_changes_every_node_has_taken_when_it_ends,
        beyond::a_node_whose_disk_takes_nothing_opens_what_others_encrypt_by_what_etcd_has,
        joining::nodes_join_by_a_root_and_endpoints_alone,
        second::a_copy_that_was_taken_to_another_machine_is_another_instance,
        init::a_ring_is_made_only_where_there_is_certainly_none,
        init::of_two_rings_under_one_prefix_a_node_takes_the_one_that_it_is_told,
        init::two_who_make_a_ring_at_the_same_time_make_one,
        secrets::no_key_is_in_etcd_and_none_in_a_log,
        store::a_generation_of_a_thousand_keys_fits_and_comes_back,
        store::a_change_for_another_head_is_a_conflict_and_changes_nothing,
        store::a_change_leaves_some_generations_and_the_head_always,
        store::what_a_holder_settles_is_in_its_copy_before_anything_goes,
        store::nothing_is_removed_that_is_not_what_the_proof_is_about,
        store::a_name_in_etcd_that_is_no_generations_touches_no_file,
    ]);
    suite.run()
}

fn etcd() -> Result<(), Missing> {
    program().map(|_| ())
}
