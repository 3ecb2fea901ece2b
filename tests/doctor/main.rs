//! `kekring doctor` on good and on bad setups: real files, a real ring, a real server. Each bad setup has exactly its own
//! finding, and a remedy that is a command is run, after which the finding is gone.
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

mod anything;
#[path = "../etcd/certificates.rs"]
#[allow(dead_code)] // another suite has members with TLS
mod certificates;
#[path = "../serve/client.rs"]
#[allow(dead_code)] // another suite needs more of it
mod client;
mod compared;
mod configuration;
mod encryption;
mod machine;
mod manifest;
mod on_etcd;
mod page;
mod ring;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod whole;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    kekring_kit::main("doctor")
}
