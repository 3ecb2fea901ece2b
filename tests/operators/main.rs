//! Operators' mistakes, and an attacker with a backup: each ends with a clear error, and nothing is changed or lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    dead_code,
    missing_docs,
    unreachable_pub
)]

#[macro_use]
extern crate kekring_kit;

#[path = "../store/bench.rs"]
mod bench;
#[path = "../serve/client.rs"]
mod client;
#[path = "../support/forged.rs"]
mod forged;
#[path = "../support/mod.rs"]
mod support;

mod attacker;
mod clocks;
mod growth;
mod init;
mod randomness;
mod refused;
mod replaced;
mod restore;
mod root_files;
mod running;
mod tree;

use std::process::ExitCode;

fn main() -> ExitCode {
    kekring_kit::main("operators")
}
