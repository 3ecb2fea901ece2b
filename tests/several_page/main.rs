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
#[path = "../support/missing.rs"]
#[allow(dead_code)] // another suite asks for more
mod missing;
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
#[macro_use]
#[path = "../support/times.rs"]
#[allow(dead_code)] // another suite needs more of it
mod times;
#[path = "../apiserver/wait.rs"]
mod wait;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use times::Times;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let times = Arc::new(Times::start());
    let mut trials = trials![
        &times,
        story::the_commands_of_the_page_run_in_its_order,
        story::with_kubeadm_the_ring_begins_in_files,
    ];
    trials.extend(of_files(&times));

    times.conclude("several_page", &arguments, trials)
}

fn of_files(times: &Arc<Times>) -> Vec<Trial> {
    fn run(name: &'static str, scenario: fn(), times: &Times) -> Result<Completion, Failed> {
        times.run(name, scenario)
    }
    trials![times, story::every_block_is_for_somebody,]
}

fn run(name: &'static str, scenario: fn(), times: &Times) -> Result<Completion, Failed> {
    let needed = missing::require(&["openssl", "curl"])
        .and_then(|()| program::program().map(|_| ()))
        .and_then(|()| etcd::etcdctl().map(|_| ()));
    if let Err(missing) = needed {
        return missing.outcome();
    }
    times.run(name, scenario)
}
