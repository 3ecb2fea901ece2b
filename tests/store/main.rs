//! The file store and custody on real files: durability, damage, forks, marks, mirrors.
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

#[path = "../support/forged.rs"]
#[allow(dead_code)] // other suites forge more
mod forged;
#[path = "../support/mod.rs"]
mod support;

mod accept;
mod adopt;
mod asking;
mod backup;
mod bench;
mod between;
mod calls;
mod choice;
mod commits;
mod concurrency;
mod counted;
mod damage;
mod dear;
mod deleted;
mod expected;
mod fork;
mod growth;
mod kept;
mod mark;
mod mirrored;
mod panics;
mod parted;
mod replaced;
mod restored;
mod roots;
mod slots;
mod unmarked;
mod witness;

use std::process::ExitCode;

fn main() -> ExitCode {
    kekring_kit::main("store")
}
