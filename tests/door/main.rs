//! Hostile clients and a hostile machine against a real server: an honest client is answered throughout, memory stays
//! bounded, and everything that was taken is given back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[macro_use]
extern crate kekring_kit;

#[allow(dead_code)]
#[path = "../serve/client.rs"]
mod client;
#[path = "../support/mod.rs"]
mod support;

mod connections;
mod frames;
mod honest;
mod machine;
mod messages;
mod raw;
mod strangers;
mod telemetry;
mod unchanged;

use std::process::ExitCode;

fn main() -> ExitCode {
    kekring_kit::main("door")
}
