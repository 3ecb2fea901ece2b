//! `deploy/etcd/README.md` is true: its commands run as they stand there, on three nodes and an etcd with certificates, and what it
//! shows of `kekring status` is what that prints.
//!
//! Needs Go, which builds etcd and etcdctl once, openssl and curl. Where one is missing the trials that need it are ignored
//! and say so, except with `TESTS_REQUIRED=all`: then they fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

mod etcd;
#[path = "../support/golang.rs"]
#[allow(dead_code)] // another suite needs more of it
mod golang;
mod node;
#[path = "../support/port.rs"]
mod port;
#[path = "../apiserver/process.rs"]
#[allow(dead_code)] // another suite needs more of it
mod process;
#[path = "../apiserver/program.rs"]
mod program;
mod story;
#[path = "../support/mod.rs"]
mod support;
#[path = "../apiserver/wait.rs"]
mod wait;
mod world;

use std::process::ExitCode;

use kekring_kit::{Missing, Suite, needs, needs::nothing, trials};

fn main() -> ExitCode {
    let mut suite = Suite::new("several_page").at_once(2);
    suite.list(trials![needs programs;
        story::the_commands_of_the_page_run_in_its_order,
        story::with_kubeadm_the_ring_begins_in_files,
    ]);
    suite.list(trials![needs nothing;
        story::every_block_is_for_somebody,
    ]);
    suite.run()
}

fn programs() -> Result<(), Missing> {
    needs::programs(&["openssl", "curl"])?;
    program::program()?;
    etcd::etcdctl()?;
    Ok(())
}
