//! Where secrets are in a running server's memory: looked for as root could, with a debugger.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[macro_use]
extern crate kekring_kit;

#[path = "../serve/client.rs"]
#[allow(dead_code)] // another suite calls more
mod client;
mod confined;
mod injected;
mod keys;
#[path = "../serve/ring.rs"]
#[allow(dead_code)]
mod ring;
mod scan;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    kekring_kit::main("memory")
}
