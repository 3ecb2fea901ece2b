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
#[path = "../support/missing.rs"]
#[allow(dead_code)] // another suite asks for more
mod missing;
mod node;
mod removal;
#[path = "../systemd/rootfs.rs"]
mod rootfs;
#[path = "../systemd/service.rs"]
mod service;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/times.rs"]
mod times;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use missing::Missing;
use times::Times;

/// What a trial cannot do without.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// The packages.
    Packages,
    /// Them, and a container.
    Machine,
    /// And kube-apiserver's client.
    Load,
}

/// One trial for each scenario, called by the scenario's own name.
macro_rules! trials {
    ($times:expr, $($needs:ident: $module:ident::$scenario:ident,)*) => {
        vec![$({
            let times = Arc::clone($times);
            let name = stringify!($scenario);
            Trial::ignorable_test(name, move || run(name, Needs::$needs, $module::$scenario, &times))
        }),*]
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each has a machine of its own and mostly waits.
    arguments.test_threads.get_or_insert(4);
    let times = Arc::new(Times::start());
    let trials = trials![
        &times,
        Load: life::a_deb_is_installed_upgraded_and_rolled_back_by_the_page_and_no_request_fails,
        Load: life::an_rpm_is_installed_upgraded_rolled_back_and_erased_by_the_page_and_no_request_fails,
        Machine: removal::remove_and_purge_leave_every_byte_of_ring_and_roots_and_a_new_installation_serves_them,
        Machine: removal::where_no_systemd_runs_the_scripts_do_what_they_can_and_fail_nothing,
        Machine: beside::a_ring_of_another_user_is_left_alone_until_it_is_handed_over,
        Machine: beside::what_was_installed_by_hand_is_named_and_goes_on,
        Machine: beside::a_program_that_does_not_accept_the_configuration_is_not_started,
        Machine: beside::an_upgrade_that_was_broken_off_serves_and_is_finished_later,
        Machine: beside::the_tarball_is_installed_by_the_page,
        Packages: contents::the_packages_hold_what_they_should_with_the_rights_that_they_should_have,
        Packages: contents::every_verb_has_its_page_and_is_completed_in_each_shell,
        Packages: contents::another_place_and_another_hour_make_the_same_bytes,
        Packages: contents::every_block_of_the_page_is_for_a_place_that_is_tried,
    ];

    times.conclude("packages", &arguments, trials)
}

fn run(name: &'static str, needs: Needs, scenario: fn(), times: &Times) -> Result<Completion, Failed> {
    if let Err(missing) = available(needs) {
        return missing.outcome();
    }
    times.run(name, scenario)
}

fn available(needs: Needs) -> Result<(), Missing> {
    missing::require(&["strip", "gzip", "sha256sum"])?;
    made::packer()?;
    if needs != Needs::Packages {
        rootfs::path().map_err(Missing::Tool)?;
    }
    if needs == Needs::Load {
        load::PROGRAM.path()?;
    }
    Ok(())
}
