//! The packages: what is in them, and what installing, upgrading, removing and purging does to a node that serves, under a
//! real systemd in a container of its own. The program in them is the one under test.
//!
//! Needs Go and `strip`, and for the containers root, systemd-nspawn and debootstrap. Where one of them is missing the trials
//! are ignored and say so, except with `TESTS_REQUIRED=all`: then they fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod beside;
#[path = "../systemd/cgroup.rs"]
mod cgroup;
#[path = "../conformance/client.rs"]
#[allow(dead_code)] // the load is one of the things that it does
mod client;
mod contents;
#[path = "../support/golang.rs"]
mod golang;
#[path = "../serve/client.rs"]
#[allow(dead_code)] // other suites call more of it
mod grpc;
mod life;
#[path = "../systemd/load.rs"]
mod load;
#[path = "../systemd/machine.rs"]
#[allow(dead_code)] // another suite asks more of it
mod machine;
mod made;
mod node;
mod removal;
#[path = "../systemd/rootfs.rs"]
mod rootfs;
#[path = "../systemd/service.rs"]
mod service;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use kekring_kit::{Missing, Suite, needs, trials};

fn main() -> ExitCode {
    // Each has a machine of its own and mostly waits.
    let mut suite = Suite::new("packages").at_once(4);
    suite.list(trials![
        load: life::a_deb_is_installed_upgraded_and_rolled_back_by_the_page_and_no_request_fails,
        load: life::an_rpm_is_installed_upgraded_rolled_back_and_erased_by_the_page_and_no_request_fails,
        machine: removal::remove_and_purge_leave_every_byte_of_ring_and_roots_and_a_new_installation_serves_them,
        machine: removal::where_no_systemd_runs_the_scripts_do_what_they_can_and_fail_nothing,
        machine: beside::a_ring_of_another_user_is_left_alone_until_it_is_handed_over,
        machine: beside::what_was_installed_by_hand_is_named_and_goes_on,
        machine: beside::a_program_that_does_not_accept_the_configuration_is_not_started,
        machine: beside::an_upgrade_that_was_broken_off_serves_and_is_finished_later,
        machine: beside::the_tarball_is_installed_by_the_page,
        packages: contents::the_packages_hold_what_they_should_with_the_rights_that_they_should_have,
        packages: contents::every_verb_has_its_page_and_is_completed_in_each_shell,
        packages: contents::another_place_and_another_hour_make_the_same_bytes,
        packages: contents::every_block_of_the_page_is_for_a_place_that_is_tried,
    ]);
    suite.run()
}

fn packages() -> Result<(), Missing> {
    needs::programs(&["strip", "gzip", "sha256sum"])?;
    made::packer()
}

/// The packages, and a container.
fn machine() -> Result<(), Missing> {
    packages()?;
    rootfs::path().map(|_| ()).map_err(Missing::Tool)
}

/// Them, and kube-apiserver's client.
fn load() -> Result<(), Missing> {
    machine()?;
    load::PROGRAM.path().map(|_| ())
}
