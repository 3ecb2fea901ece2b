//! kekring under a real systemd, which is process 1 of a container of its own: started, activated, upgraded and broken as
//! on a control-plane node, with the unit files of `deploy/systemd` and the commands of its README.
//!
//! Needs root, systemd-nspawn and debootstrap, which makes the container's files once, and Go for the load. Where one of
//! them is missing the trials are ignored and say so, except with `TESTS_REQUIRED=all`: then they fail. A container has
//! no network but a loopback of its own, and keeps its files in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod cgroup;
#[path = "../conformance/client.rs"]
#[allow(dead_code)] // the load is one of the things that it does
mod client;
mod credential;
mod document;
mod exposure;
#[path = "../support/golang.rs"]
mod golang;
#[path = "../serve/client.rs"]
#[allow(dead_code)] // other suites call more of it
mod grpc;
mod guide;
mod kubelet;
mod life;
mod load;
mod machine;
mod node;
mod rootfs;
mod service;
mod start;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;
mod verbs;

use std::process::ExitCode;

use kekring_kit::{Missing, Suite, needs::nothing, trials};

fn main() -> ExitCode {
    // Each has a machine of its own and mostly waits. Those that wait longest come first.
    let mut suite = Suite::new("systemd").at_once(3);
    suite.list(trials![
        machine: guide::every_command_of_the_readme_runs_in_the_order_of_the_page,
        load: upgrade::restarts_an_upgrade_and_the_way_back_fail_no_request_and_a_pod_keeps_its_mount,
        machine: life::a_frozen_service_is_killed_by_the_watchdog_and_serves_again,
        machine: kubelet::a_program_that_hangs_or_dies_holds_kubelet_up_no_longer_than_its_start_may_take,
        machine: verbs::every_verb_works_from_a_root_shell_and_a_restart_serves_what_they_left,
        machine: credential::without_its_credential_the_service_is_ready_with_the_cause_and_serves_once_it_is_there,
        machine: credential::a_credential_of_another_machine_stops_the_start_and_not_kubelet,
        machine: credential::a_plain_credential_opens_the_ring_too,
        machine: start::it_boots_before_kubelet_without_any_network_and_is_hardened,
        machine: start::a_connection_to_either_socket_starts_it,
        load: life::a_reload_reads_the_ring_again_and_fails_no_request,
        machine: life::a_reboot_brings_the_same_key_back_and_what_was_encrypted,
        machine: life::a_socket_that_was_removed_comes_back,
        machine: life::with_the_network_drop_in_it_shares_the_network_of_the_machine,
        systemd: exposure::the_unit_is_exposed_by_half_a_point_at_most_and_by_one_with_a_network,
        systemd: exposure::systemd_has_nothing_to_say_against_the_units,
        nothing: guide::every_task_has_its_part_of_the_page_and_no_excuse_outlives_its_command,
    ]);
    suite.run()
}

/// systemd's tools.
fn systemd() -> Result<(), Missing> {
    rootfs::tool("systemd-analyze").map_err(Missing::Tool)
}

/// A container.
fn machine() -> Result<(), Missing> {
    rootfs::path().map(|_| ()).map_err(Missing::Tool)
}

/// A container and kube-apiserver's client.
fn load() -> Result<(), Missing> {
    machine()?;
    load::PROGRAM.path().map(|_| ())
}
