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
#[path = "../support/missing.rs"]
#[allow(dead_code)] // another suite asks for more
mod missing;
mod node;
mod rootfs;
mod service;
mod start;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/times.rs"]
mod times;
mod upgrade;
mod verbs;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use missing::Missing;
use times::Times;

/// What a trial cannot do without.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// The files of this repository.
    Files,
    /// systemd's tools.
    Systemd,
    /// A container.
    Machine,
    /// A container and kube-apiserver's client.
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
    // Each has a machine of its own and mostly waits. Those that wait longest come first.
    arguments.test_threads.get_or_insert(3);
    let times = Arc::new(Times::start());
    let trials = trials![
        &times,
        Machine: guide::every_command_of_the_readme_runs_in_the_order_of_the_page,
        Load: upgrade::restarts_an_upgrade_and_the_way_back_fail_no_request_and_a_pod_keeps_its_mount,
        Machine: life::a_frozen_service_is_killed_by_the_watchdog_and_serves_again,
        Machine: kubelet::a_program_that_hangs_or_dies_holds_kubelet_up_no_longer_than_its_start_may_take,
        Machine: verbs::every_verb_works_from_a_root_shell_and_a_restart_serves_what_they_left,
        Machine: credential::without_its_credential_the_service_is_ready_with_the_cause_and_serves_once_it_is_there,
        Machine: credential::a_credential_of_another_machine_stops_the_start_and_not_kubelet,
        Machine: credential::a_plain_credential_opens_the_ring_too,
        Machine: start::it_boots_before_kubelet_without_any_network_and_is_hardened,
        Machine: start::a_connection_to_either_socket_starts_it,
        Load: life::a_reload_reads_the_ring_again_and_fails_no_request,
        Machine: life::a_reboot_brings_the_same_key_back_and_what_was_encrypted,
        Machine: life::a_socket_that_was_removed_comes_back,
        Machine: life::with_the_network_drop_in_it_shares_the_network_of_the_machine,
        Systemd: exposure::the_unit_is_exposed_by_half_a_point_at_most_and_by_one_with_a_network,
        Systemd: exposure::systemd_has_nothing_to_say_against_the_units,
        Files: guide::every_task_has_its_part_of_the_page_and_no_excuse_outlives_its_command,
    ];

    times.conclude("systemd", &arguments, trials)
}

fn run(name: &'static str, needs: Needs, scenario: fn(), times: &Times) -> Result<Completion, Failed> {
    if let Err(missing) = available(needs) {
        return Missing::Tool(missing).outcome();
    }
    if needs == Needs::Load
        && let Err(missing) = load::PROGRAM.path()
    {
        return missing.outcome();
    }
    times.run(name, scenario)
}

fn available(needs: Needs) -> Result<(), String> {
    match needs {
        Needs::Files => Ok(()),
        Needs::Systemd => rootfs::tool("systemd-analyze"),
        Needs::Machine | Needs::Load => rootfs::path().map(|_| ()),
    }
}
