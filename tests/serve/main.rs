//! The served socket: real processes, real files, a real gRPC client.
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

#[path = "../support/mod.rs"]
mod support;

mod causes;
mod client;
mod door;
mod life;
mod limits;
mod metrics;
mod path;
mod peers;
mod quoted;
mod reload;
mod ring;
mod roots;
mod rotation;
mod secrets;
mod service_user;
mod slow_roots;
mod telemetry;

use std::process::ExitCode;

fn main() -> ExitCode {
    kekring_kit::main("serve")
}
