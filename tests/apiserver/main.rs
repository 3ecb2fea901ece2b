//! A real kube-apiserver on a real etcd, its Secrets encrypted through kekring.
//!
//! Needs Go, which builds both of them once. Where there is none the trials are ignored and say so, except with
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

mod activation;
mod another;
mod api_server;
mod at_rest;
mod blocks;
mod client;
mod control_plane;
mod entry;
mod etcd;
mod everything;
mod form;
#[path = "../support/golang.rs"]
mod golang;
#[path = "../support/kubernetes.rs"]
mod kubernetes;
mod lab;
mod load;
mod manifest;
mod metrics;
mod outage;
#[path = "../support/page.rs"]
#[allow(dead_code)] // the whole text is for another suite
mod page;
mod pair;
mod phases;
mod plugin;
#[path = "../support/port.rs"]
mod port;
mod process;
mod program;
mod ready;
mod refusal;
mod reload;
mod restart;
mod rewrite;
mod rotation;
#[path = "../memory/scan.rs"]
#[allow(dead_code)] // a process is looked through elsewhere
mod scan;
#[path = "../support/scrape.rs"]
#[allow(dead_code)] // other suites need more of it
mod scrape;
#[path = "../support/seed.rs"]
mod seed;
mod service_account;
mod shell;
mod wait;

use std::process::ExitCode;

use kekring_kit::{Missing, Suite, trials};

use program::program;

fn main() -> ExitCode {
    // Each has a control plane of its own and mostly waits. Those that wait longest come first.
    let mut suite = Suite::new("apiserver").at_once(4);
    suite.list(trials![needs programs;
        refusal::a_plugin_below_its_mark_stops_every_write_and_no_cached_read_until_it_is_mended,
        outage::writes_that_an_outage_of_minutes_stopped_resume_and_reads_never_stopped,
        activation::a_socket_that_stays_open_hides_every_restart_and_a_short_absence,
        metrics::the_series_of_both_sides_join_on_the_hash_of_the_key,
        at_rest::what_lies_in_etcd_is_encrypted_under_the_active_key_and_reads_back,
        rewrite::right_after_a_rotation_it_waits_for_each_kube_apiserver_and_leaves_nothing_under_the_old_key,
        rewrite::what_a_controller_filled_in_is_still_there_after_the_next_apply,
        rewrite::an_object_that_cannot_be_read_is_named_and_stops_no_other,
        everything::with_every_resource_named_kube_apiserver_does_not_live_without_the_plugin,
        rotation::a_rotation_under_load_fails_no_write_and_no_read,
        pair::two_api_servers_read_each_other_through_a_rotation_and_both_take_the_new_key,
        reload::a_new_configuration_is_taken_under_load_without_a_failed_request,
        entry::from_no_encryption_in_and_out_again_everything_is_readable_at_every_step,
        entry::from_aescbc_in_and_out_again_everything_is_readable_at_every_step,
        another::to_another_kms_provider_and_back_everything_is_readable_at_every_step,
        everything::with_every_resource_named_nothing_that_can_be_encrypted_lies_plain_and_all_reads_back,
        refusal::a_root_that_is_gone_at_a_restart_fails_no_request_and_is_enough_when_it_is_back,
        blocks::two_providers_on_one_socket_keep_their_names_and_a_rotation_moves_both,
        restart::after_three_rotations_an_empty_cache_still_reads_every_secret,
        outage::a_killed_plugin_stops_no_cached_read_and_resumes_with_the_same_key,
        manifest::kube_apiserver_takes_the_static_pod_and_knows_every_field_of_it,
        outage::a_plugin_that_is_away_makes_kube_apiserver_unready_and_not_dead,
    ]);
    suite.run()
}

fn programs() -> Result<(), Missing> {
    program()?;
    another::REFERENCE.path()?;
    Ok(())
}
