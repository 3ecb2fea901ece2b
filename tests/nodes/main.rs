//! Three control-plane nodes: an etcd of three members, three kube-apiservers and three plugins with one ring, under
//! rotations, restarts, kills, a cut wire, a clock that is wrong, and a restored etcd.
//!
//! Needs Go, which builds etcd and kube-apiserver once, and a C compiler. Where one is missing the trials are ignored and say
//! so, except with `TESTS_REQUIRED=all`: then they fail. Everything listens on loopback and keeps its files in temporary directories.
//! `KEKRING_TESTS=full` makes the two long trials last for hours; `KEKRING_SEED` repeats what was drawn.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod all_off;
#[path = "../apiserver/api_server.rs"]
#[allow(dead_code)] // another suite needs more of it
mod api_server;
#[path = "../etcd/certificates.rs"]
#[allow(dead_code)] // another suite needs more of it
mod certificates;
mod chaos;
#[path = "../apiserver/client.rs"]
#[allow(dead_code)] // other suites need more of it
mod client;
mod clock;
#[path = "../etcd/cluster.rs"]
#[allow(dead_code)] // another suite needs more of it
mod cluster;
mod cut_off;
#[path = "../support/golang.rs"]
mod golang;
mod keys;
mod kubeadm;
mod lab;
mod load;
#[path = "../support/lot.rs"]
mod lot;
mod node;
mod over;
#[path = "../support/port.rs"]
mod port;
#[path = "../apiserver/process.rs"]
#[allow(dead_code)] // another suite needs more of it
mod process;
#[path = "../apiserver/program.rs"]
mod program;
#[path = "../etcd/proxy.rs"]
#[allow(dead_code)] // another suite needs more of it
mod proxy;
mod requests;
mod rotations;
mod secret;
#[path = "../apiserver/service_account.rs"]
mod service_account;
mod snapshot;
#[path = "../support/mod.rs"]
mod support;
#[path = "../apiserver/wait.rs"]
mod wait;
mod weather;

use std::process::ExitCode;

use kekring_kit::{Missing, Suite, needs, trials};

use program::program;

fn main() -> ExitCode {
    // Each has three nodes of its own and mostly waits. Those that wait longest come first.
    let mut suite = Suite::new("nodes").at_once(3);
    suite.list(trials![needs programs;
        chaos::what_was_acknowledged_reads_through_every_api_server_after_kills_freezes_and_a_wrong_clock,
        rotations::no_read_and_no_write_fails_while_keys_rotate_and_api_servers_restart,
        cut_off::a_rotation_waits_for_a_node_that_is_cut_off_and_no_read_fails_there,
        cut_off::a_node_that_was_left_behind_serves_what_it_has_and_catches_up_by_itself,
        snapshot::after_etcd_is_restored_from_a_snapshot_everything_in_it_reads_and_no_key_goes_back,
        kubeadm::the_order_of_kubeadm_leads_from_files_on_one_node_to_four_nodes_and_back_to_three,
        all_off::after_a_blackout_the_plugins_serve_without_etcd_and_everything_reads_once_it_is_back,
    ]);
    suite.run()
}

fn programs() -> Result<(), Missing> {
    needs::program("cc")?;
    program()?;
    snapshot::program()?;
    Ok(())
}
