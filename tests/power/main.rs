//! A ring on a disk that loses its power, fills up, fails or hangs. Each trial has a file system of its own on a loop
//! device, in a mount namespace that ends with the suite.
//!
//! Needs root, loop devices, mkfs.ext4, mkfs.xfs, strace and python3. Where one is missing the trials are ignored and say
//! so, except with `TESTS_REQUIRED=all`: then they fail. `KEKRING_TESTS=full` cuts the power a thousand times on each file
//! system; `KEKRING_SEED` repeats the instants of a run, as far as a machine repeats anything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod cuts;
mod disk;
mod faults;
#[path = "../serve/client.rs"]
#[allow(dead_code)] // another suite calls more of it
mod grpc;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/witness.rs"]
mod witness;
mod world;

use std::process::{Command, ExitCode};

use kekring_kit::{Missing, Suite, needs, trials};

const WITHIN: &str = "KEKRING_POWER_SUITE";

fn main() -> ExitCode {
    // Most of them wait.
    let mut suite = Suite::new("power").at_once(5);
    if !suite.lists() && std::env::var_os(WITHIN).is_none() && disks().is_ok() {
        return in_a_namespace();
    }
    suite.list(trials![needs disks;
        // Those that wait longest come first.
        faults::a_complaint_about_a_rotation_ends_when_an_operator_has_rotated,
        faults::a_full_disk_stops_rotations_and_neither_requests_nor_a_start,
        faults::a_disk_that_becomes_read_only_stops_rotations_and_neither_requests_nor_a_start,
        faults::a_sync_that_fails_stops_a_rotation_and_the_next_one_succeeds,
        faults::a_full_mirror_stops_rotations_and_not_requests,
        faults::a_mirror_that_is_away_stops_rotations_and_neither_requests_nor_a_start,
        faults::requests_are_answered_in_time_while_a_rotation_hangs_on_the_disk,
        faults::a_newest_generation_that_cannot_be_read_changes_nothing_in_a_running_server,
        faults::a_newest_generation_that_cannot_be_read_at_a_start_leaves_decrypt_and_no_older_key_is_reported,
        cuts::what_was_acknowledged_survives_power_cuts_of_ext4_with_ordered_data,
        cuts::what_was_acknowledged_survives_power_cuts_of_ext4_with_data_written_back,
        cuts::what_was_acknowledged_survives_power_cuts_of_xfs,
        cuts::a_writer_that_does_not_sync_its_files_is_noticed,
        cuts::a_writer_that_does_not_sync_its_directories_is_noticed,
    ]);
    suite.run()
}

/// Runs this suite again where no mount outlives it.
fn in_a_namespace() -> ExitCode {
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(std::env::args_os().skip(1))
        .env(WITHIN, "1")
        .status()
        .unwrap();
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

fn disks() -> Result<(), Missing> {
    needs::root_to("to mount file systems")?;
    needs::programs(&[
        "mkfs.ext4",
        "mkfs.xfs",
        "mount",
        "umount",
        "unshare",
        "strace",
        "python3",
    ])?;
    needs::loop_devices()
}
